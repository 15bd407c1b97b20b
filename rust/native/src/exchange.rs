//! One request and its answer between the application and the socket: `start_response`, `write` and
//! the sending of the body.
//!
//! The application may keep the two callables and call them at any time from any thread. So all they
//! can reach is behind a mutex, and the link to the connection is cut when the request is over. The
//! mutex is never held while Python code could run or the GIL is released.

use std::mem;
use std::os::fd::RawFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http1::Version;
use http1::response::{self as rules, ResponseFraming};
use pyo3::exceptions::{
    PyAssertionError, PyBrokenPipeError, PyOSError, PyRuntimeError, PyTimeoutError, PyTypeError,
    PyValueError,
};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString, PyTuple};

use crate::config::DRAIN_BYTES;
use crate::connection::Remainder;
use crate::engine::Flags;
use crate::input::Input;
use crate::kernel::{self, Sent, Waited};
use crate::python::{self, Arguments, Definition};
use crate::response::{Answer, Mistake, Refusal, push_hex};

/// Bodies below this are copied behind the head; from here on one `sendmsg` of both is cheaper.
const COPIED_BODY_BYTES: usize = 4096;

/// Sends from this size on are worth letting another thread have the GIL.
const RELEASING_SEND_BYTES: usize = 16 * 1024;

#[pyclass(frozen, name = "Exchange", module = "udsrv._native")]
pub struct Exchange {
    flags: Arc<Flags>,
    send_timeout: Duration,
    state: Mutex<State>,
}

struct State {
    link: Option<Link>,
    stage: Stage,
    answer: Answer,
    framing: ResponseFraming,
    /// Body bytes that are sent, or left out because the answer has no body.
    sent: u64,
    keeps_alive: bool,
    is_sending: bool,
    failure: Option<Failure>,
    /// The head that was sent, if somebody wants to see it when the request is over.
    kept_head: Option<Vec<u8>>,
}

/// What an answer needs to know of its request.
#[derive(Clone, Copy)]
pub struct Terms {
    pub fd: RawFd,
    pub is_head: bool,
    pub version: Version,
    pub keep_alive: bool,
}

struct Link {
    terms: Terms,
    /// A body that is not read completely yet.
    input: Option<Py<Input>>,
    /// What `start_response` returns. Only here while the request lasts: it refers to the exchange.
    write: Py<PyAny>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stage {
    /// `start_response` has not been called.
    Silent,
    /// It has, and nothing is sent: the answer can still become another one.
    Prepared,
    Sent,
}

/// Why an answer can't be completed once its head is sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Failure {
    /// The peer has closed.
    Gone,
    /// The peer does not read.
    TimedOut,
    /// The application broke its own framing.
    Broken,
}

/// What is to be sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Piece {
    /// A part of the body; more may follow.
    Part,
    /// The whole body, its length known.
    Whole,
}

/// What went wrong with a piece.
pub enum Trouble {
    Mistake(Mistake),
    Failure(Failure),
    /// The request's body turned out to be none, before anything was answered.
    Refused(Refusal),
    /// Another thread is sending, or a signal handler raised, or the request is over.
    Python(PyErr),
}

impl From<Mistake> for Trouble {
    fn from(mistake: Mistake) -> Self {
        Self::Mistake(mistake)
    }
}

impl From<PyErr> for Trouble {
    fn from(error: PyErr) -> Self {
        Self::Python(error)
    }
}

impl Trouble {
    pub fn into_error(self) -> PyErr {
        match self {
            Self::Mistake(mistake @ Mistake::NotStarted) => {
                PyAssertionError::new_err(mistake.to_string())
            }
            Self::Mistake(mistake) => PyValueError::new_err(mistake.to_string()),
            Self::Failure(Failure::Gone) => PyBrokenPipeError::new_err("the peer has closed"),
            Self::Failure(Failure::TimedOut) => {
                PyTimeoutError::new_err("the peer does not read the response")
            }
            Self::Failure(Failure::Broken) => {
                PyRuntimeError::new_err("the response is broken already")
            }
            Self::Refused(refusal) => PyOSError::new_err(refusal.to_string()),
            Self::Python(error) => error,
        }
    }
}

/// How an answer ended.
pub struct Ended {
    pub is_head_sent: bool,
    pub keeps_alive: bool,
    pub failure: Option<Failure>,
    pub status: u16,
    /// The body's bytes that were given to the connection.
    pub body_bytes: u64,
    /// The head, if it was to be kept.
    pub head: Vec<u8>,
    pub write: Option<Py<PyAny>>,
}

impl State {
    /// Decide what goes on the wire for a piece of `len` body bytes: put what comes before it into
    /// `answer.out`, and return whether the bytes themselves are sent, and what comes after them.
    fn plan(
        &mut self,
        piece: Piece,
        len: usize,
        flags: &Flags,
        py: Python<'_>,
    ) -> Result<(bool, &'static [u8]), Trouble> {
        let len = len as u64;
        let Some(link) = &self.link else {
            return Err(PyRuntimeError::new_err("the request is over").into());
        };
        if let Some(failure) = self.failure {
            return Err(Trouble::Failure(failure));
        }
        if self.stage == Stage::Silent {
            return Err(Mistake::NotStarted.into());
        }
        let is_first = self.stage == Stage::Prepared;
        let terms = link.terms;
        if is_first {
            let input = link.input.as_ref().map(|input| input.bind(py).get());
            if let Some(refusal) = input.and_then(Input::refusal) {
                return Err(Trouble::Refused(refusal));
            }
            let declared = self.answer.declared;
            // An empty body of HEAD says nothing about the length of the other answer's.
            let known = match piece {
                Piece::Whole if len > 0 || !terms.is_head => Some(len),
                _ => None,
            };
            let length = declared.or(known);
            self.framing = rules::framing(self.answer.status, terms.is_head, terms.version, length);
            if let ResponseFraming::Length(length) = self.framing {
                check_length(length, len, piece)?;
            }
            self.keeps_alive = terms.keep_alive
                && self.framing != ResponseFraming::UntilClose
                && !flags.is_draining()
                && !input.is_some_and(|input| input.holds_up(DRAIN_BYTES));
            self.answer
                .finish(self.framing, length, terms.version, self.keeps_alive);
            if let Some(kept) = &mut self.kept_head {
                kept.clone_from(&self.answer.out);
            }
            self.stage = Stage::Sent;
        }
        let plan: (bool, &[u8]) = match self.framing {
            ResponseFraming::NoBody => (false, b""),
            ResponseFraming::UntilClose => (true, b""),
            ResponseFraming::Length(length) => {
                if !is_first && self.sent + len > length {
                    self.failure = Some(Failure::Broken);
                    return Err(Mistake::TooLong { declared: length }.into());
                }
                (true, b"")
            }
            ResponseFraming::Chunked if len == 0 => (false, b""),
            ResponseFraming::Chunked => {
                push_hex(&mut self.answer.out, len);
                self.answer.out.extend_from_slice(b"\r\n");
                (true, b"\r\n")
            }
        };
        self.sent += len;
        Ok(plan)
    }

    /// Decide what ends the body when no piece follows.
    fn plan_end(&mut self) -> Result<(), Trouble> {
        if let Some(failure) = self.failure {
            return Err(Trouble::Failure(failure));
        }
        match self.framing {
            ResponseFraming::Length(length) if self.sent < length => {
                self.failure = Some(Failure::Broken);
                Err(Mistake::TooShort {
                    declared: length,
                    sent: self.sent,
                }
                .into())
            }
            ResponseFraming::Chunked => {
                self.answer.out.extend_from_slice(b"0\r\n\r\n");
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

/// Whether a first piece of `len` bytes fits an answer of `length`.
fn check_length(length: u64, len: u64, piece: Piece) -> Result<(), Mistake> {
    match piece {
        _ if len > length => Err(Mistake::TooLong { declared: length }),
        Piece::Whole if len < length => Err(Mistake::TooShort {
            declared: length,
            sent: len,
        }),
        _ => Ok(()),
    }
}

impl Exchange {
    pub fn new(flags: Arc<Flags>, send_timeout: Duration, keeps_head: bool) -> Self {
        let state = State {
            link: None,
            stage: Stage::Silent,
            answer: Answer::default(),
            framing: ResponseFraming::NoBody,
            sent: 0,
            keeps_alive: false,
            is_sending: false,
            failure: None,
            kept_head: keeps_head.then(Vec::new),
        };
        Self {
            flags,
            send_timeout,
            state: Mutex::new(state),
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A request begins.
    fn begin(&self, link: Link) {
        let mut state = self.lock();
        state.link = Some(link);
        state.stage = Stage::Silent;
        state.answer.clear();
        state.sent = 0;
        state.is_sending = false;
        state.failure = None;
    }

    /// The request is over: nothing of it can be reached through this object any more.
    fn finish(&self) -> Ended {
        let mut state = self.lock();
        let link = state.link.take();
        if state.is_sending {
            // A thread of the application is still in the middle of a piece.
            state.failure = Some(Failure::Broken);
        }
        let ended = Ended {
            is_head_sent: state.stage == Stage::Sent,
            keeps_alive: state.keeps_alive,
            failure: state.failure,
            status: state.answer.status,
            body_bytes: match state.framing {
                ResponseFraming::NoBody => 0,
                _ => state.sent,
            },
            head: state.kept_head.as_mut().map(mem::take).unwrap_or_default(),
            write: None,
        };
        drop(state);
        Ended {
            write: link.map(|link| link.write),
            ..ended
        }
    }

    pub fn is_head_sent(&self) -> bool {
        self.lock().stage == Stage::Sent
    }

    pub fn is_peer_gone(&self) -> bool {
        matches!(self.lock().failure, Some(Failure::Gone | Failure::TimedOut))
    }

    /// The answer can't be completed: the connection is not used again.
    pub fn break_off(&self) {
        self.lock().failure.get_or_insert(Failure::Broken);
    }

    /// Answer 500 in place of what the application has prepared.
    pub fn send_error(&self, py: Python<'_>) -> Option<Remainder> {
        const BODY: &[u8] = b"Internal Server Error\n";
        let mut state = self.lock();
        let prepared = state
            .answer
            .start(b"500 Internal Server Error")
            .and_then(|()| state.answer.field(b"Content-Type", b"text/plain"));
        if prepared.is_err() {
            unreachable!("this answer is a valid one");
        }
        state.stage = Stage::Prepared;
        state.failure = None;
        drop(state);
        self.send_whole(py, BODY, None).unwrap_or_else(|_| {
            self.break_off();
            None
        })
    }

    /// Send a part of the body, and the head before the first one.
    pub fn send_part(&self, py: Python<'_>, data: &Bound<'_, PyBytes>) -> Result<(), Trouble> {
        self.send(py, Piece::Part, data.as_bytes(), None).map(drop)
    }

    /// Send the whole answer. What the socket doesn't take now is returned.
    pub fn send_whole(
        &self,
        py: Python<'_>,
        data: &[u8],
        owner: Option<&Bound<'_, PyBytes>>,
    ) -> Result<Option<Remainder>, Trouble> {
        self.send(py, Piece::Whole, data, owner)
    }

    fn send(
        &self,
        py: Python<'_>,
        piece: Piece,
        data: &[u8],
        owner: Option<&Bound<'_, PyBytes>>,
    ) -> Result<Option<Remainder>, Trouble> {
        let mut state = self.lock();
        if state.is_sending {
            return Err(busy());
        }
        let (is_sent, after) = state.plan(piece, data.len(), &self.flags, py)?;
        let mut body = if is_sent { data } else { b"" };
        if body.len() < COPIED_BODY_BYTES || (piece == Piece::Whole && owner.is_none()) {
            let out = &mut state.answer.out;
            out.extend_from_slice(body);
            out.extend_from_slice(after);
            body = b"";
        }
        let after = if body.is_empty() { b"" } else { after };
        let is_last = piece == Piece::Whole;
        self.transmit(py, state, body, after, is_last, owner)
    }

    /// End the body after its parts. What the socket doesn't take now is returned.
    pub fn send_end(&self, py: Python<'_>) -> Result<Option<Remainder>, Trouble> {
        let mut state = self.lock();
        if state.is_sending {
            return Err(busy());
        }
        if state.stage != Stage::Sent {
            // No part had any bytes in it.
            state.plan(Piece::Whole, 0, &self.flags, py)?;
        }
        state.plan_end()?;
        self.transmit(py, state, b"", b"", true, None)
    }

    /// Send `answer.out`, `body` and `after`.
    ///
    /// When the socket is full and this is the last piece, return what is left; else wait, without
    /// the GIL.
    fn transmit(
        &self,
        py: Python<'_>,
        mut state: MutexGuard<'_, State>,
        body: &[u8],
        after: &[u8],
        is_last: bool,
        owner: Option<&Bound<'_, PyBytes>>,
    ) -> Result<Option<Remainder>, Trouble> {
        let Some(fd) = state.link.as_ref().map(|link| link.terms.fd) else {
            return Ok(None);
        };
        let mut out = mem::take(&mut state.answer.out);
        let pieces = [&out[..], body, after];
        let total = out.len() + body.len() + after.len();
        let mut sent = 0;
        // The usual case: it fits, and the lock isn't given up in between.
        if !(self.flags.is_threaded() && total >= RELEASING_SEND_BYTES) {
            match kernel::send_pieces(fd, pieces, 0) {
                Sent::Bytes(count) => sent = count,
                Sent::WouldBlock => {}
                Sent::Gone => {
                    state.failure = Some(Failure::Gone);
                    return Err(Trouble::Failure(Failure::Gone));
                }
            }
        }
        if sent == total {
            out.clear();
            state.answer.out = out;
            return Ok(None);
        }
        state.is_sending = true;
        drop(state);
        let mut outcome = Ok(());
        let mut is_left = false;
        while sent < total && outcome.is_ok() && !is_left {
            let timeout = self.send_timeout;
            match py.detach(|| send_or_wait(fd, pieces, sent, is_last, timeout)) {
                Step::Sent(count) => sent += count,
                Step::Interrupted => outcome = py.check_signals().map_err(Trouble::from),
                Step::Full => is_left = true,
                Step::Failed(failure) => outcome = Err(Trouble::Failure(failure)),
            }
        }
        let remainder = is_left.then(|| Remainder {
            bytes: mem::take(&mut out),
            body: owner
                .filter(|_| !body.is_empty())
                .map(|owner| owner.clone().unbind()),
            sent,
        });
        let mut state = self.lock();
        out.clear();
        state.answer.out = out;
        state.is_sending = false;
        state.failure = match &outcome {
            Ok(()) => state.failure,
            Err(Trouble::Failure(failure)) => Some(*failure),
            Err(_) => Some(Failure::Broken),
        };
        outcome.map(|()| remainder)
    }

    /// `start_response(status, headers, exc_info=None)`: PEP 3333.
    fn start(&self, arguments: &Arguments<'_, '_>) -> PyResult<Py<PyAny>> {
        let exc_info = arguments.get(2).or_else(|| arguments.named("exc_info"));
        let (Some(status), Some(headers), 2..=3) =
            (arguments.get(0), arguments.get(1), arguments.len())
        else {
            return Err(PyTypeError::new_err(
                "start_response takes a status, a list of headers and maybe exc_info",
            ));
        };
        let exc_info = exc_info.filter(|info| !info.is_none());
        let mut state = self.lock();
        let Some(link) = &state.link else {
            return Err(PyRuntimeError::new_err("the request is over"));
        };
        let write = link.write.clone_ref(arguments.py());
        match (state.stage, exc_info) {
            (Stage::Silent | Stage::Prepared, Some(_)) | (Stage::Silent, None) => {}
            (Stage::Sent, Some(info)) => {
                drop(state);
                return Err(PyErr::from_value(info.get_item(1)?));
            }
            (_, None) => {
                return Err(PyAssertionError::new_err(
                    "start_response called again without exc_info",
                ));
            }
        }
        state.stage = Stage::Silent;
        prepare(&mut state.answer, status, headers)?;
        state.stage = Stage::Prepared;
        Ok(write)
    }

    /// What `start_response` returns: PEP 3333.
    fn write(&self, arguments: &Arguments<'_, '_>) -> PyResult<Py<PyAny>> {
        let py = arguments.py();
        let (Some(data), 1) = (arguments.get(0), arguments.len()) else {
            return Err(PyTypeError::new_err("write takes the bytes to send"));
        };
        let Ok(data) = data.cast::<PyBytes>() else {
            return Err(PyTypeError::new_err(format!(
                "write takes bytes, not {}",
                python::type_name(&data)
            )));
        };
        if !data.as_bytes().is_empty() {
            self.send_part(py, &data).map_err(Trouble::into_error)?;
        }
        Ok(py.None())
    }
}

/// An exchange and the two callables that the application gets for it.
///
/// They serve one request after the other for as long as nobody else has kept one of them.
pub struct Callables {
    pub exchange: Py<Exchange>,
    pub start_response: Py<PyAny>,
    write: Option<Py<PyAny>>,
}

impl Callables {
    pub fn new(
        py: Python<'_>,
        flags: Arc<Flags>,
        send_timeout: Duration,
        keeps_head: bool,
    ) -> PyResult<Self> {
        let exchange = Bound::new(py, Exchange::new(flags, send_timeout, keeps_head))?;
        Ok(Self {
            start_response: START_RESPONSE.bind(&exchange)?.unbind(),
            write: Some(WRITE.bind(&exchange)?.unbind()),
            exchange: exchange.unbind(),
        })
    }

    /// A request begins.
    pub fn begin(
        &mut self,
        py: Python<'_>,
        terms: Terms,
        input: Option<Py<Input>>,
    ) -> PyResult<()> {
        let write = match self.write.take() {
            Some(write) => write,
            None => WRITE.bind(self.exchange.bind(py))?.unbind(),
        };
        self.exchange.get().begin(Link {
            terms,
            input,
            write,
        });
        Ok(())
    }

    /// The request is over.
    pub fn finish(&mut self) -> Ended {
        let mut ended = self.exchange.get().finish();
        self.write = ended.write.take();
        ended
    }

    /// Whether nobody else can call them any more.
    pub fn are_ours_alone(&self, py: Python<'_>) -> bool {
        let is_alone = |function: &Py<PyAny>| python::references(function.bind(py)) == 1;
        // Each of the two functions refers to the exchange.
        python::references(self.exchange.bind(py)) == 3
            && is_alone(&self.start_response)
            && self.write.as_ref().is_some_and(is_alone)
    }
}

/// Render what the application gave to `start_response`. Runs no Python code.
fn prepare(
    answer: &mut Answer,
    status: Borrowed<'_, '_, PyAny>,
    headers: Borrowed<'_, '_, PyAny>,
) -> PyResult<()> {
    let status = python::latin1_bytes(&status).ok_or_else(|| not_text("the status", status))?;
    answer.start(status).map_err(raised)?;
    // SAFETY: nothing below runs Python code, but for an error, which ends the use of the items.
    let Some(items) = (unsafe { python::items(&headers) }) else {
        return Err(wrong_type("the headers are a list", headers));
    };
    for header in items {
        // SAFETY: as above.
        let Some((name, value)) = (unsafe { python::pair(&header) }) else {
            return Err(wrong_type(
                "a header is a tuple of a name and a value",
                header,
            ));
        };
        let name = python::latin1_bytes(&name).ok_or_else(|| not_text("a header's name", name))?;
        let value =
            python::latin1_bytes(&value).ok_or_else(|| not_text("a header's value", value))?;
        answer.field(name, value).map_err(raised)?;
    }
    Ok(())
}

fn raised(mistake: Mistake) -> PyErr {
    Trouble::Mistake(mistake).into_error()
}

#[cold]
fn not_text(what: &str, got: Borrowed<'_, '_, PyAny>) -> PyErr {
    if got.is_instance_of::<PyString>() {
        PyValueError::new_err(format!(
            "start_response: {what} has a character outside Latin-1"
        ))
    } else {
        wrong_type(&format!("{what} is a str"), got)
    }
}

#[cold]
fn wrong_type(expected: &str, got: Borrowed<'_, '_, PyAny>) -> PyErr {
    let got = match got.cast::<PyTuple>() {
        Ok(tuple) => format!("a tuple of {}", tuple.len()),
        Err(_) => python::type_name(&got),
    };
    PyTypeError::new_err(format!("start_response: {expected}, not {got}"))
}

fn busy() -> Trouble {
    PyRuntimeError::new_err("another thread is sending").into()
}

/// What came of one attempt to send.
enum Step {
    Sent(usize),
    Interrupted,
    /// The socket is full.
    Full,
    Failed(Failure),
}

/// Send some more of the pieces from byte `sent` on, or wait until that is possible.
fn send_or_wait(
    fd: RawFd,
    pieces: [&[u8]; 3],
    sent: usize,
    is_last: bool,
    timeout: Duration,
) -> Step {
    match kernel::send_pieces(fd, pieces, sent) {
        Sent::Bytes(count) => return Step::Sent(count),
        Sent::Gone => return Step::Failed(Failure::Gone),
        Sent::WouldBlock if is_last => return Step::Full,
        Sent::WouldBlock => {}
    }
    match kernel::wait_for(fd, libc::POLLOUT, timeout) {
        Waited::Ready => Step::Sent(0),
        Waited::Interrupted => Step::Interrupted,
        Waited::TimedOut => Step::Failed(Failure::TimedOut),
    }
}

static START_RESPONSE: Definition = Definition::new(c"start_response", start_response);
static WRITE: Definition = Definition::new(c"write", write);

unsafe extern "C" fn start_response(
    slf: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: CPython called.
    unsafe {
        python::entered(args, count, names, |arguments| {
            // SAFETY: `Callables` binds this function to an `Exchange` only.
            let exchange = Borrowed::from_ptr(arguments.py(), slf).cast_unchecked::<Exchange>();
            exchange.get().start(arguments)
        })
    }
}

unsafe extern "C" fn write(
    slf: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: CPython called.
    unsafe {
        python::entered(args, count, names, |arguments| {
            // SAFETY: `Callables` binds this function to an `Exchange` only.
            let exchange = Borrowed::from_ptr(arguments.py(), slf).cast_unchecked::<Exchange>();
            exchange.get().write(arguments)
        })
    }
}
