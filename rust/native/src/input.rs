//! `wsgi.input`: the body of a request as the application reads it.
//!
//! A small body is here completely. Of a larger one the rest is read from the socket when it is asked
//! for, without the GIL. An error in it raises `OSError` and never looks like the end of the body. When
//! the request is over the socket is taken away; what the application kept then reads no more of it.

use std::mem;
use std::os::fd::RawFd;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use pyo3::exceptions::{PyOSError, PyRuntimeError, PyTimeoutError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use crate::body::Incoming;
use crate::kernel::{self, Received, Waited};
use crate::response::Refusal;

/// How much is asked of the socket at a time.
const READ_BYTES: usize = 64 * 1024;

#[pyclass(frozen, name = "Input", module = "udsrv._native")]
pub struct Input {
    state: Mutex<State>,
}

struct State {
    /// What is decoded, and how much of it is read.
    data: Vec<u8>,
    at: usize,
    source: Source,
}

enum Source {
    /// Nothing follows `data`.
    Nothing,
    Stream(Box<Stream>),
    /// A thread is waiting for the rest.
    Taken,
    /// The request is over, or about to be.
    Closed,
}

/// The part of a body that has not been read from the socket yet.
pub struct Stream {
    /// Open for as long as the request lasts.
    fd: RawFd,
    pub body: Incoming,
    /// What came behind the body.
    pub leftover: Vec<u8>,
    /// `100 Continue` is still to be sent.
    pub owes_continue: bool,
    pub refusal: Option<Refusal>,
    timeout: Duration,
}

impl Stream {
    pub fn new(fd: RawFd, body: Incoming, owes_continue: bool, timeout: Duration) -> Self {
        Self {
            fd,
            body,
            leftover: Vec::new(),
            owes_continue,
            refusal: None,
            timeout,
        }
    }

    /// Wait for more of the body. `true` when a signal ended the wait.
    fn receive(&mut self) -> Result<bool, Refusal> {
        if self.owes_continue {
            self.owes_continue = false;
            kernel::send(self.fd, CONTINUE);
        }
        loop {
            match receive_body(self.fd, &mut self.body, &mut self.leftover)? {
                Received::Bytes(_) => return Ok(false),
                Received::Eof | Received::Gone => return Err(Refusal::BodyCut),
                Received::WouldBlock => {}
            }
            match kernel::wait_for(self.fd, libc::POLLIN, self.timeout) {
                Waited::Ready => {}
                Waited::TimedOut => return Err(Refusal::BodyTimeout),
                Waited::Interrupted => return Ok(true),
            }
        }
    }
}

/// How long a thread gets to let go of a connection that has been ended. It needs the GIL for that.
pub const HANDOVER: Duration = Duration::from_millis(1);

pub const CONTINUE: &[u8] = b"HTTP/1.1 100 Continue\r\n\r\n";

/// Read more of `body`, without waiting; what comes behind it goes into `leftover`.
///
/// # Errors
///
/// The body is not what its framing says.
pub fn receive_body(
    fd: RawFd,
    body: &mut Incoming,
    leftover: &mut Vec<u8>,
) -> Result<Received, Refusal> {
    let room = body.plain_room(READ_BYTES);
    if room > 0 {
        let received = kernel::receive_after(fd, &mut body.data, room);
        if let Received::Bytes(count) = received {
            body.count_plain(count);
        }
        return Ok(received);
    }
    let mut raw = Vec::new();
    let received = kernel::receive_after(fd, &mut raw, READ_BYTES);
    if let Received::Bytes(_) = received {
        let count = body.push(&raw).map_err(Refusal::Body)?;
        leftover.extend_from_slice(&raw[count..]);
    }
    Ok(received)
}

impl Input {
    /// A body that is here completely.
    pub fn complete(data: Vec<u8>) -> Self {
        Self::new(data, Source::Nothing)
    }

    /// A body of which the rest is still to be read.
    pub fn streaming(mut stream: Box<Stream>) -> Self {
        let data = mem::take(&mut stream.body.data);
        Self::new(data, Source::Stream(stream))
    }

    fn new(data: Vec<u8>, source: Source) -> Self {
        let state = State {
            data,
            at: 0,
            source,
        };
        Self {
            state: Mutex::new(state),
        }
    }

    /// Whether the connection can't go on to another request unless the application reads on.
    ///
    /// So it is when more than `limit` is missing, or may be, or the peer waits to be told to send.
    pub fn holds_up(&self, limit: usize) -> bool {
        match &self.lock().source {
            Source::Stream(stream) if stream.body.is_complete() => false,
            Source::Stream(stream) => {
                stream.owes_continue
                    || stream.refusal.is_some()
                    || stream
                        .body
                        .missing()
                        .is_none_or(|missing| missing > limit as u64)
            }
            Source::Nothing => false,
            Source::Taken | Source::Closed => true,
        }
    }

    /// Why the body is refused, if it is.
    pub fn refusal(&self) -> Option<Refusal> {
        match &self.lock().source {
            Source::Stream(stream) => stream.refusal,
            _ => None,
        }
    }

    /// The request is over: take the socket away from the application.
    ///
    /// Returns what is left of a body that was not complete at the start; `None` also when a thread of
    /// the application was still reading it, whose wait has been ended together with the connection.
    pub fn finish(&self, py: Python<'_>, fd: RawFd) -> Option<Box<Stream>> {
        let mut is_ended = false;
        loop {
            let mut state = self.lock();
            match mem::replace(&mut state.source, Source::Closed) {
                Source::Stream(stream) if !is_ended => return Some(stream),
                Source::Taken => state.source = Source::Taken,
                Source::Nothing => {
                    state.source = Source::Nothing;
                    return None;
                }
                Source::Stream(_) | Source::Closed => return None,
            }
            drop(state);
            kernel::shut_down(fd, libc::SHUT_RDWR);
            is_ended = true;
            py.detach(|| thread::sleep(HANDOVER));
        }
    }

    /// Nothing of Python happens while this is held, so it is never waited for long.
    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Make `is_enough` true of what is unread, or have all that there is.
    fn fill(&self, py: Python<'_>, is_enough: impl Fn(&[u8]) -> bool) -> PyResult<()> {
        loop {
            let mut state = self.lock();
            let mut stream = match mem::replace(&mut state.source, Source::Taken) {
                Source::Stream(stream) => stream,
                Source::Nothing => {
                    state.source = Source::Nothing;
                    return Ok(());
                }
                Source::Closed => {
                    state.source = Source::Closed;
                    return Err(PyOSError::new_err("the request is over"));
                }
                Source::Taken => {
                    return Err(PyRuntimeError::new_err("another thread is reading"));
                }
            };
            let unread = &state.data[state.at..];
            if stream.body.is_complete() || (stream.refusal.is_none() && is_enough(unread)) {
                state.source = Source::Stream(stream);
                return Ok(());
            }
            if let Some(refusal) = stream.refusal {
                state.source = Source::Stream(stream);
                return Err(raised(refusal));
            }
            drop(state);
            let (mut stream, outcome) = py.detach(move || {
                let outcome = stream.receive();
                (stream, outcome)
            });
            let mut state = self.lock();
            let data = mem::take(&mut stream.body.data);
            if state.at == state.data.len() {
                state.data = data;
                state.at = 0;
            } else {
                state.data.extend_from_slice(&data);
            }
            if let Err(refusal) = outcome {
                stream.refusal = Some(refusal);
            }
            state.source = Source::Stream(stream);
            drop(state);
            if matches!(outcome, Ok(true)) {
                py.check_signals()?;
            }
        }
    }

    /// Take the first `limit` of the unread bytes, or all of them.
    fn take<'py>(&self, py: Python<'py>, limit: usize) -> Bound<'py, PyBytes> {
        let mut state = self.lock();
        let end = state.data.len().min(state.at.saturating_add(limit));
        let bytes = PyBytes::new(py, &state.data[state.at..end]);
        state.at = end;
        if state.at == state.data.len() {
            state.data = Vec::new();
            state.at = 0;
        }
        bytes
    }

    fn next_line<'py>(&self, py: Python<'py>, limit: usize) -> PyResult<Bound<'py, PyBytes>> {
        self.fill(py, |unread| {
            unread.len() >= limit || unread.contains(&b'\n')
        })?;
        let len = {
            let state = self.lock();
            let unread = &state.data[state.at..];
            let line = unread.iter().position(|&byte| byte == b'\n');
            line.map_or(limit, |at| (at + 1).min(limit))
        };
        Ok(self.take(py, len))
    }
}

/// The exception that the application gets for a body that is refused.
fn raised(refusal: Refusal) -> PyErr {
    match refusal {
        Refusal::BodyTimeout => PyTimeoutError::new_err(refusal.to_string()),
        _ => PyOSError::new_err(refusal.to_string()),
    }
}

/// A size as Python's files take it: none and negative mean everything.
fn limit(size: Option<isize>) -> usize {
    size.and_then(|size| usize::try_from(size).ok())
        .unwrap_or(usize::MAX)
}

#[pymethods]
impl Input {
    /// Read `size` bytes, or all that there are.
    #[pyo3(signature = (size=None, /))]
    fn read<'py>(&self, py: Python<'py>, size: Option<isize>) -> PyResult<Bound<'py, PyBytes>> {
        let limit = limit(size);
        if limit > 0 {
            self.fill(py, |unread| unread.len() >= limit)?;
        }
        Ok(self.take(py, limit))
    }

    /// Read to the end of a line, or `size` bytes of it.
    #[pyo3(signature = (size=None, /))]
    fn readline<'py>(&self, py: Python<'py>, size: Option<isize>) -> PyResult<Bound<'py, PyBytes>> {
        self.next_line(py, limit(size))
    }

    /// Read lines until they have `hint` bytes together, or all of them.
    #[pyo3(signature = (hint=None, /))]
    fn readlines<'py>(&self, py: Python<'py>, hint: Option<isize>) -> PyResult<Bound<'py, PyList>> {
        let hint = match limit(hint) {
            0 => usize::MAX,
            hint => hint,
        };
        let lines = PyList::empty(py);
        let mut total = 0;
        while total < hint {
            let line = self.next_line(py, usize::MAX)?;
            let len = line.as_bytes().len();
            if len == 0 {
                break;
            }
            total += len;
            lines.append(line)?;
        }
        Ok(lines)
    }

    fn __iter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let line = self.next_line(py, usize::MAX)?;
        Ok((!line.as_bytes().is_empty()).then_some(line))
    }
}
