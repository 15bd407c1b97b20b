//! What the serving threads share, and what other threads ask of them.

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use pyo3::prelude::*;
use pyo3::sync::MutexExt;

use crate::access_log::AccessLog;
use crate::config::Config;
use crate::kernel::{self, Alarm, Bell, Epoll, SignalMask};
use crate::listener::Listener;
use crate::log::{Level, Log};
use crate::slots::Slots;
use crate::timers::Timers;
use crate::turns::{Turn, Turns};
use crate::worker::Worker;

/// The epoll tokens of the engine's own descriptors; a connection's are larger.
pub const LISTENER: u64 = 1;
pub const CONTROL: u64 = 2;
pub const BELL: u64 = 3;

const SERVING: u8 = 0;
const DRAINING: u8 = 1;
const STOPPED: u8 = 2;

/// How far the engine is on its way to its end.
pub struct Flags {
    phase: AtomicU8,
    is_threaded: bool,
}

impl Flags {
    /// Whether answers end their connections.
    #[inline]
    pub fn is_draining(&self) -> bool {
        self.phase.load(Ordering::Acquire) != SERVING
    }

    #[inline]
    pub fn is_stopped(&self) -> bool {
        self.phase.load(Ordering::Acquire) == STOPPED
    }

    #[inline]
    pub fn is_threaded(&self) -> bool {
        self.is_threaded
    }
}

/// The Python side of the engine.
pub struct Hooks {
    pub application: Py<PyAny>,
    pub on_control: Py<PyAny>,
    pub on_exception: Py<PyAny>,
    pub on_spent: Py<PyAny>,
    pub errors: Py<PyAny>,
    pub log: Log,
}

pub struct Engine {
    pub config: Config,
    pub hooks: Hooks,
    pub flags: Flags,
    pub access: Option<AccessLog>,
    pub epoll: Epoll,
    pub slots: Slots,
    pub turns: Turns,
    pub control: OwnedFd,
    /// Held while the worker looks at `control`, which it does in one thread at a time.
    looking: Mutex<()>,
    listener: Mutex<Listener>,
    bell: Bell,
    /// The listener wants a look without an event: it retires, or rests.
    pub has_listener_chores: AtomicBool,
    /// A descriptor was closed while the listener rests.
    pub has_room: AtomicBool,
    /// What is to be logged by a thread that may run Python.
    notes: Mutex<Vec<String>>,
    has_notes: AtomicBool,
    closes_idle: AtomicBool,
    /// When somebody has to look for idle connections to close.
    idle_check_ms: AtomicU64,
    drain_deadline_ms: AtomicU64,
    /// How many requests the application has been called for, if anybody wants to know.
    called: AtomicU64,
}

impl Engine {
    /// # Errors
    ///
    /// The system has no descriptor left, or the descriptors are not what they should be.
    pub fn new(
        config: Config,
        hooks: Hooks,
        listener: OwnedFd,
        control: OwnedFd,
        access: Option<AccessLog>,
    ) -> io::Result<Self> {
        let epoll = Epoll::new()?;
        let bell = Bell::new()?;
        let listener = Listener::new(listener);
        listener.watch(&epoll, LISTENER)?;
        epoll.add(control.as_raw_fd(), CONTROL_EVENTS, CONTROL)?;
        epoll.add(bell.fd(), libc::EPOLLIN | libc::EPOLLET, BELL)?;
        let flags = Flags {
            phase: AtomicU8::new(SERVING),
            is_threaded: config.threads > 1,
        };
        let alarm = flags.is_threaded.then(Alarm::new).transpose()?;
        if let Some(alarm) = &alarm {
            epoll.add(alarm.fd(), libc::EPOLLIN | libc::EPOLLET, BELL)?;
        }
        Ok(Self {
            config,
            hooks,
            flags,
            access,
            epoll,
            slots: Slots::new(Timers::new(alarm)),
            turns: Turns::new(),
            control,
            looking: Mutex::new(()),
            listener: Mutex::new(listener),
            bell,
            has_listener_chores: AtomicBool::new(false),
            has_room: AtomicBool::new(false),
            notes: Mutex::default(),
            has_notes: AtomicBool::new(false),
            closes_idle: AtomicBool::new(false),
            idle_check_ms: AtomicU64::new(u64::MAX),
            drain_deadline_ms: AtomicU64::new(u64::MAX),
            called: AtomicU64::new(0),
        })
    }

    /// Serve with all threads, this one among them, until the engine is drained or stopped.
    ///
    /// # Errors
    ///
    /// What a Python signal handler raised, or why a thread could not be started.
    ///
    /// # Panics
    ///
    /// When a thread did.
    pub fn run(self: &Arc<Self>, py: Python<'_>) -> PyResult<()> {
        // Signals are the main thread's: the others inherit a mask without any.
        let mask = SignalMask::block_all();
        let mut helpers = Vec::new();
        let mut failure = None;
        for number in 1..self.config.threads {
            let engine = Arc::clone(self);
            let thread = thread::Builder::new()
                .name(format!("udsrv-{number}"))
                .spawn(move || Python::attach(|py| serve(py, &engine, None)));
            match thread {
                Ok(thread) => helpers.push(thread),
                Err(error) => failure = Some(PyErr::from(error)),
            }
        }
        if self.access.is_some() {
            let engine = Arc::clone(self);
            let thread = thread::Builder::new()
                .name("udsrv-access".to_owned())
                .spawn(move || engine.write_access_log());
            // It is told to end, but not waited for without limit: its disk may hang.
            if let Err(error) = thread {
                failure = Some(PyErr::from(error));
            }
        }
        mask.restore();
        let has_failed = failure.is_some();
        let outcome = match failure {
            Some(error) => {
                self.stop();
                Err(error)
            }
            None => serve(py, self, Some(&mask)),
        };
        self.stop();
        let (outcomes, panics): (Vec<_>, Vec<_>) = py
            .detach(|| {
                helpers
                    .into_iter()
                    .map(thread::JoinHandle::join)
                    .collect::<Vec<_>>()
            })
            .into_iter()
            .partition(Result::is_ok);
        if let Some(Err(panic)) = panics.into_iter().next() {
            std::panic::resume_unwind(panic);
        }
        self.close_all();
        if let Some(access) = &self.access
            && !has_failed
        {
            py.detach(|| access.end());
        }
        self.say_notes(py);
        outcomes.into_iter().flatten().fold(outcome, PyResult::and)
    }

    /// The thread of the access log. It runs nothing of Python's.
    fn write_access_log(&self) {
        let Some(access) = &self.access else { return };
        // With two threads on one table of descriptors the kernel counts the users of each with every
        // call. If it refuses, that is the price.
        let _ = kernel::keep_descriptors([access.fd(), self.bell.fd()]);
        access.write(|text| {
            lock(&self.notes).push(text.to_owned());
            self.has_notes.store(true, Ordering::Release);
            self.bell.ring();
        });
    }

    /// Log what the thread of the access log had to say.
    pub fn say_notes(&self, py: Python<'_>) {
        if self.has_notes.load(Ordering::Acquire) && self.has_notes.swap(false, Ordering::AcqRel) {
            let notes = mem::take(&mut *lock(&self.notes));
            for note in notes {
                self.say(py, Level::Warning, &note);
            }
        }
    }

    /// Close every connection that nobody owns, whatever it waits for.
    fn close_all(&self) {
        for index in 0..self.slots.used() {
            if let Some(claim) = self.slots.claim_unowned(index) {
                claim.close();
            }
        }
    }

    /// The next turn. If this one keeps its thread for long, there is another for what else is to do.
    pub fn next_turn(&self, py: Python<'_>, now_ms: u64) -> Option<Turn> {
        let turn = self.turns.next(py)?;
        // The alarm has told that something is due, but perhaps this thread.
        let has_more = !self.turns.is_empty(py) || self.slots.timers.next_ms() <= now_ms;
        if has_more && self.turns.all_rest() {
            self.bell.ring();
        }
        Some(turn)
    }

    /// Answer what is there and take no more; be done at the deadline.
    pub fn drain(&self, deadline: Duration, close_idle: bool) {
        let deadline_ms = kernel::now_ms().saturating_add(kernel::millis(deadline));
        self.drain_deadline_ms
            .fetch_min(deadline_ms, Ordering::AcqRel);
        let began = self.flags.phase.compare_exchange(
            SERVING,
            DRAINING,
            Ordering::AcqRel,
            Ordering::Acquire,
        );
        if began.is_ok() {
            self.listener().retire(&self.epoll);
            self.has_listener_chores.store(true, Ordering::Release);
        }
        if close_idle {
            self.closes_idle.store(true, Ordering::Release);
            self.idle_check_ms.store(0, Ordering::Release);
        }
        self.slots.timers.note(deadline_ms);
        self.bell.ring();
    }

    /// Return from `run` as soon as the calls in progress return.
    pub fn stop(&self) {
        self.flags.phase.store(STOPPED, Ordering::Release);
        self.bell.ring();
    }

    /// Accept from `fd` from now on.
    ///
    /// # Errors
    ///
    /// It can't be watched.
    pub fn replace_listener(&self, fd: OwnedFd) -> io::Result<()> {
        if self.flags.is_draining() {
            return Ok(());
        }
        self.listener().replace(&self.epoll, LISTENER, fd)?;
        self.has_listener_chores.store(true, Ordering::Release);
        self.bell.ring();
        Ok(())
    }

    /// Held for a system call or two, and never while Python code could run.
    pub fn listener(&self) -> MutexGuard<'_, Listener> {
        lock(&self.listener)
    }

    /// Whether a connection that has had an answer is closed instead of waiting for another request.
    pub fn closes_idle(&self) -> bool {
        self.flags.is_draining() && self.closes_idle.load(Ordering::Acquire)
    }

    /// Whether the caller is the one thread that has to close the idle connections now.
    ///
    /// Again and again: another thread may be just about to let go of one that nobody has closed.
    pub fn must_close_idle(&self, now_ms: u64) -> bool {
        const INTERVAL_MS: u64 = 100;
        let check_ms = self.idle_check_ms.load(Ordering::Acquire);
        let next_ms = now_ms + INTERVAL_MS;
        let is_due = now_ms >= check_ms
            && self
                .idle_check_ms
                .compare_exchange(check_ms, next_ms, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok();
        if is_due {
            self.slots.timers.note(next_ms);
        }
        is_due
    }

    pub fn is_past_drain(&self, now_ms: u64) -> bool {
        now_ms >= self.drain_deadline_ms.load(Ordering::Acquire)
    }

    pub fn drain_deadline_ms(&self) -> u64 {
        self.drain_deadline_ms.load(Ordering::Acquire)
    }

    pub fn say(&self, py: Python<'_>, level: Level, text: &str) {
        self.hooks.log.write(py, level, text);
    }

    /// Let the worker look at its control descriptor if there is something in it.
    ///
    /// What another thread is just reading there has been obeyed when this returns.
    #[cold]
    pub fn look_at_control(&self, py: Python<'_>) {
        let looking = self.looking.lock_py_attached(py);
        let outcome = if kernel::is_readable(self.control.as_raw_fd()) {
            self.hooks.on_control.call0(py).map(drop)
        } else {
            Ok(())
        };
        drop(looking);
        if let Err(error) = outcome {
            self.report(py, "the control descriptor", error);
        }
    }

    /// Whether answers in progress have to end: looks for an order, and at the time to drain.
    pub fn must_stop(&self, py: Python<'_>) -> bool {
        self.look_at_control(py);
        if self.flags.is_draining() && self.is_past_drain(kernel::now_ms()) {
            self.stop();
        }
        self.flags.is_stopped()
    }

    /// Count a request, and let the worker know when it is the last that it wants.
    pub fn count_request(&self, py: Python<'_>) {
        let count = self.called.fetch_add(1, Ordering::Relaxed) + 1;
        if count == self.config.max_requests
            && let Err(error) = self.hooks.on_spent.call0(py)
        {
            self.report(py, "the number of requests", error);
        }
    }

    /// Tell the worker about an exception of the application's.
    pub fn report(&self, py: Python<'_>, place: &str, error: PyErr) {
        let exception = error.into_value(py);
        if let Err(error) = self.hooks.on_exception.call1(py, (place, exception)) {
            error.write_unraisable(py, None);
        }
    }
}

/// How often a thread that an answer keeps sees whether it must end.
pub const INTERVAL: Duration = Duration::from_millis(100);

/// One event at a time and then none until it is asked for again: one thread is enough.
pub const CONTROL_EVENTS: i32 = libc::EPOLLIN | libc::EPOLLRDHUP | libc::EPOLLONESHOT;

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Run one thread. If it ends for any reason, all end.
fn serve(py: Python<'_>, engine: &Arc<Engine>, signals: Option<&SignalMask>) -> PyResult<()> {
    struct StopAll<'a>(&'a Engine);
    impl Drop for StopAll<'_> {
        fn drop(&mut self) {
            self.0.stop();
        }
    }
    let _stop_all = StopAll(engine);
    Worker::new(py, engine, signals)?.run()
}
