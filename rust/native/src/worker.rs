//! One serving thread: waits for events and acts on them.
//!
//! It holds the GIL throughout, but while it waits with nothing to do: the calls in between don't
//! block, and giving the GIL away around each of them costs more than it gives to the other threads.

use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use pyo3::prelude::*;

use crate::ahead::ReadAhead;
use crate::connection::Connection;
use crate::drive::{CONNECTION_EVENTS, Driver, Scratch};
use crate::engine::{self, CONTROL_EVENTS, Engine};
use crate::kernel::{self, Event, SignalMask};
use crate::listener::Accepted;
use crate::log::Level;
use crate::peer;
use crate::slots::Token;
use crate::timers::CLOCK_STEP_MS;

/// How many events one thread takes at once.
const BATCH: usize = 64;

/// How long the main thread waits without being deaf to a signal that comes just before.
const INEXACT_WAIT: Duration = Duration::from_millis(100);

pub struct Worker<'a, 'py> {
    py: Python<'py>,
    engine: &'a Arc<Engine>,
    /// The main thread's usual signal mask; `None` in the other threads.
    signals: Option<&'a SignalMask>,
    driver: Driver<'a, 'py>,
    scratch: Scratch,
    ahead: ReadAhead<'a>,
    /// Whether the last wait ended with nothing to do.
    was_quiet: bool,
}

impl<'a, 'py> Worker<'a, 'py> {
    /// # Errors
    ///
    /// What the interpreter says when it can't make an object.
    pub fn new(
        py: Python<'py>,
        engine: &'a Arc<Engine>,
        signals: Option<&'a SignalMask>,
    ) -> PyResult<Self> {
        Ok(Self {
            py,
            engine,
            signals,
            driver: Driver::new(py, engine)?,
            scratch: Scratch::new(),
            ahead: ReadAhead::new(),
            was_quiet: false,
        })
    }

    /// # Errors
    ///
    /// What a Python signal handler raised.
    pub fn run(&mut self) -> PyResult<()> {
        let mut events = [Event { events: 0, u64: 0 }; BATCH];
        let is_threaded = self.engine.flags.is_threaded();
        loop {
            let has_more = self.tick()?;
            if self.engine.flags.is_stopped() {
                return Ok(());
            }
            let count = self.wait(&mut events, has_more)?;
            self.driver.now_ms = kernel::now_ms();
            let mut listener_flags = None;
            for event in &events[..count] {
                let (flags, data) = (event.events, event.u64);
                match (Token::from_event(data), data) {
                    (Some(token), _) if is_threaded => {
                        self.engine.turns.push(self.py, (token, flags));
                    }
                    (Some(token), _) => {
                        if let Some(claim) = self.engine.slots.claim(token) {
                            self.ahead.add(claim, flags);
                        }
                    }
                    // Last, so that a connection is taken only when those at hand are served.
                    (None, engine::LISTENER) => listener_flags = Some(flags),
                    (None, engine::CONTROL) => self.control(flags),
                    (None, _) => {}
                }
            }
            if is_threaded {
                self.take_turns();
            } else {
                self.ahead.serve(&mut self.driver, &mut self.scratch);
            }
            if let Some(flags) = listener_flags {
                let may_be_hung_up = flags & libc::EPOLLHUP.cast_unsigned() != 0;
                let now_ms = self.driver.now_ms;
                let mut listener = self.engine.listener();
                let accepted = listener.accept(&self.engine.epoll, now_ms, may_be_hung_up);
                drop(listener);
                self.adopt(accepted);
            }
        }
    }

    /// Serve connections that have an event, as many as there are now, unless others take them.
    fn take_turns(&mut self) {
        let engine = self.engine;
        for _ in 0..engine.turns.len(self.py) {
            let Some((token, flags)) = engine.next_turn(self.py, self.driver.now_ms) else {
                return;
            };
            if let Some(claim) = engine.slots.claim(token) {
                self.driver.drive(&mut self.scratch, claim, flags);
            }
            if engine.flags.is_stopped() {
                return;
            }
            self.driver.now_ms = kernel::now_ms();
        }
    }

    /// Wait for events. Waits only when there are none already, and then without the GIL.
    fn wait(&mut self, events: &mut [Event; BATCH], has_more: bool) -> PyResult<usize> {
        let (py, turns, epoll) = (self.py, &self.engine.turns, &self.engine.epoll);
        let count = epoll.wait(events, Some(Duration::ZERO), None);
        if count > 0 || has_more || self.must_go_on() {
            self.was_quiet = false;
            return Ok(count);
        }
        // What a thread takes without the GIL nobody else can serve until it has that.
        let room = if self.engine.flags.is_threaded() {
            1
        } else {
            BATCH
        };
        let events = &mut events[..room];
        let timeout = self.timeout();
        let count = match self.signals {
            // The others have all signals blocked.
            None => turns.wait(py, || epoll.wait(events, timeout, None)),
            // A busy server saves two system calls: a signal in the instant before the wait is seen
            // after it, which is soon.
            Some(_) if !self.was_quiet => {
                let timeout = timeout.map_or(INEXACT_WAIT, |timeout| timeout.min(INEXACT_WAIT));
                turns.wait(py, || epoll.wait(events, Some(timeout), None))
            }
            Some(usual) => {
                // No signal can come between the look for one and the wait that it ends.
                let _blocked = SignalMask::block_all();
                let checked = py.check_signals();
                let count = match checked {
                    // While a handler ran another thread may have taken what is for this one too.
                    Ok(()) if !self.must_go_on() => {
                        turns.wait(py, || epoll.wait(events, timeout, Some(usual)))
                    }
                    _ => 0,
                };
                usual.restore();
                checked?;
                count
            }
        };
        self.was_quiet = count == 0;
        Ok(count)
    }

    /// Whether there is something to do whose event may have been taken.
    fn must_go_on(&self) -> bool {
        !self.engine.turns.is_empty(self.py) || self.engine.flags.is_stopped()
    }

    /// How long nothing has to be done.
    fn timeout(&self) -> Option<Duration> {
        let next_ms = self.engine.slots.timers.next_ms();
        (next_ms != u64::MAX).then(|| {
            let left_ms = next_ms.saturating_sub(kernel::now_ms());
            Duration::from_millis(left_ms + CLOCK_STEP_MS)
        })
    }

    /// Do what is due without an event. Returns whether there is more of it at once.
    fn tick(&mut self) -> PyResult<bool> {
        if self.signals.is_some() {
            self.py.check_signals()?;
        }
        let engine = self.engine;
        engine.say_notes(self.py);
        let now_ms = self.driver.now_ms;
        if engine.slots.timers.is_due(now_ms) {
            self.look_for_overdue(now_ms);
        }
        let mut has_more = false;
        if engine.has_listener_chores.load(Ordering::Acquire) {
            has_more = self.listener_chores(now_ms);
        }
        if engine.flags.is_draining() {
            if engine.must_close_idle(now_ms) {
                self.for_each_unowned(|driver, scratch, claim| {
                    driver.close_if_idle(scratch, claim);
                });
            }
            let is_done = engine.slots.open() == 0 && engine.listener().is_done();
            if is_done || engine.is_past_drain(now_ms) {
                engine.stop();
            }
        }
        Ok(has_more)
    }

    /// Close, or answer, every connection whose deadline has passed.
    fn look_for_overdue(&mut self, now_ms: u64) {
        let slots = &self.engine.slots;
        let mut next_ms = u64::MAX;
        for index in 0..slots.used() {
            let deadline_ms = slots.deadline_ms(index);
            if deadline_ms > now_ms {
                next_ms = next_ms.min(deadline_ms);
            } else if let Some(claim) = slots.claim_unowned(index) {
                self.driver.expire(&mut self.scratch, claim);
            }
        }
        slots.timers.note(next_ms);
        if self.engine.flags.is_draining() {
            slots.timers.note(self.engine.drain_deadline_ms());
        }
        if self.engine.has_listener_chores.load(Ordering::Acquire) {
            slots.timers.note(self.engine.listener().paused_until_ms());
        }
    }

    fn for_each_unowned(
        &mut self,
        act: impl Fn(&mut Driver<'a, 'py>, &mut Scratch, crate::slots::Claim<'a>),
    ) {
        let engine: &'a Engine = self.engine;
        for index in 0..engine.slots.used() {
            if let Some(claim) = engine.slots.claim_unowned(index) {
                act(&mut self.driver, &mut self.scratch, claim);
            }
        }
    }

    /// Serve a retiring listener, or end the rest of one. Returns whether there is more at once.
    fn listener_chores(&mut self, now_ms: u64) -> bool {
        let engine = self.engine;
        let has_room = engine.has_room.swap(false, Ordering::AcqRel);
        let mut listener = engine.listener();
        let resumed = listener.resume(&engine.epoll, engine::LISTENER, now_ms, has_room);
        let accepted = listener.accept_retiring(now_ms);
        let is_busy = listener.has_chores();
        engine.has_listener_chores.store(is_busy, Ordering::Release);
        drop(listener);
        if let Err(error) = resumed {
            let text = format!("the listener can't be watched again: {error}");
            engine.say(self.py, Level::Error, &text);
        }
        let has_more = matches!(accepted, Accepted::Connection(_));
        self.adopt(accepted);
        has_more
    }

    /// Take what was accepted into the table and watch it.
    fn adopt(&mut self, accepted: Accepted) {
        match accepted {
            Accepted::Nothing => {}
            Accepted::Connection(fd) => self.watch(fd),
            Accepted::Paused { until_ms, is_news } => {
                let engine = self.engine;
                engine.has_room.store(false, Ordering::Release);
                engine.has_listener_chores.store(true, Ordering::Release);
                engine.slots.timers.note(until_ms);
                if is_news {
                    engine.say(
                        self.py,
                        Level::Warning,
                        "no descriptor left for another connection: accepting rests until one is closed",
                    );
                }
            }
            Accepted::HungUp => self.engine.say(
                self.py,
                Level::Error,
                "the listener was hung up: nobody can connect until it is replaced",
            ),
        }
    }

    fn watch(&mut self, fd: OwnedFd) {
        let engine: &'a Engine = self.engine;
        let number = fd.as_raw_fd();
        let is_trusted = peer::is_trusted(number, &engine.config);
        let Ok(claim) = engine.slots.insert(Connection::new(fd, is_trusted)) else {
            let text = format!("a connection got descriptor {number}, which is beyond the table");
            engine.say(self.py, Level::Error, &text);
            return;
        };
        let token = claim.token().to_event();
        if let Err(error) = engine.epoll.add(number, CONNECTION_EVENTS, token) {
            let text = format!("a connection can't be watched: {error}");
            engine.say(self.py, Level::Error, &text);
            return claim.close();
        }
        // Its first bytes have made an event by now, or will.
        let patience = kernel::millis(engine.config.head_timeout);
        claim.set_deadline_ms(self.driver.now_ms + patience);
        if let Some(claim) = claim.release() {
            self.driver.drive(&mut self.scratch, claim, 0);
        }
    }

    /// Let the worker look at its control descriptor.
    fn control(&mut self, flags: u32) {
        let engine = self.engine;
        engine.look_at_control(self.py);
        let fd = engine.control.as_raw_fd();
        let is_over = flags & (libc::EPOLLHUP | libc::EPOLLRDHUP).cast_unsigned() != 0
            && kernel::waiting_bytes(fd) == 0;
        // At its end it would be readable for ever.
        if !is_over && let Err(error) = engine.epoll.modify(fd, CONTROL_EVENTS, engine::CONTROL) {
            let text = format!("the control descriptor can't be watched: {error}");
            engine.say(self.py, Level::Error, &text);
        }
    }
}
