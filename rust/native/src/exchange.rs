//! One request and its answer between the application and the socket.
//!
//! The application may keep what it gets for a request and use it at any time from any thread. So all
//! that it can reach is behind the GIL, and the link to the connection is cut when the request is over.

use std::mem;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use http1::Version;
use pyo3::exceptions::{
    PyAssertionError, PyBrokenPipeError, PyOSError, PyRuntimeError, PyTimeoutError, PyValueError,
};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::PyBytes;

use crate::config::DRAIN_BYTES;
use crate::connection::{FileBody, Remainder};
use crate::engine::{Engine, Flags, INTERVAL};
use crate::file::Part;
use crate::gil_cell::{GilCell, Taken};
use crate::input::{HANDOVER, Input};
use crate::kernel::{self, Sent, Waited};
use crate::reply::{Failure, Fault, Piece, Reply, Terms};
use crate::response::{Answer, Mistake};

/// Bodies below this are copied behind the head; from here on one `sendmsg` of both is cheaper.
const COPIED_BODY_BYTES: usize = 4096;

/// Files up to this size are read, to go out with the head: the peer then has all of it at once.
const COPIED_FILE_BYTES: usize = 16 * 1024;

/// Sends from this size on are worth letting another thread have the GIL.
const RELEASING_SEND_BYTES: usize = 16 * 1024;

#[pyclass(frozen, name = "Exchange", module = "udsrv._native")]
pub struct Exchange {
    engine: Arc<Engine>,
    state: GilCell<State>,
}

struct State {
    link: Option<Link>,
    reply: Reply,
    /// A thread is sending without the GIL.
    is_sending: bool,
}

/// The way to the connection of a request, for as long as that lasts.
pub struct Link {
    pub fd: RawFd,
    pub request: Request,
    /// A body that was not complete when the application was called.
    pub input: Option<Py<Input>>,
    /// What `start_response` returns. Only here while the request lasts: it refers to the exchange.
    pub write: Py<PyAny>,
}

#[derive(Clone, Copy)]
pub struct Request {
    pub is_head: bool,
    pub version: Version,
    pub keep_alive: bool,
}

impl Link {
    /// What the head of the answer depends on.
    fn terms(&self, py: Python<'_>, flags: &Flags) -> Terms {
        let input = self.input.as_ref().map(|input| input.bind(py).get());
        Terms {
            is_head: self.request.is_head,
            version: self.request.version,
            keep_alive: self.request.keep_alive
                && !flags.is_draining()
                && !input.is_some_and(|input| input.holds_up(DRAIN_BYTES)),
            refusal: input.and_then(Input::refusal),
        }
    }

    /// The answer begins: nothing else may be said to the peer.
    fn withdraw_continue(&self, py: Python<'_>) {
        if let Some(input) = &self.input {
            input.bind(py).get().withdraw_continue();
        }
    }
}

/// Why a piece was not sent.
pub enum Trouble {
    Fault(Fault),
    /// Another thread is sending, or a signal handler raised, or the request is over.
    Python(PyErr),
}

impl From<Fault> for Trouble {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
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
            Self::Fault(Fault::Mistake(mistake)) => raised(&mistake),
            Self::Fault(Fault::Failure(failure)) => match failure {
                Failure::Gone => PyBrokenPipeError::new_err("the peer has closed"),
                Failure::TimedOut => PyTimeoutError::new_err("the peer does not read the response"),
                Failure::Broken => PyRuntimeError::new_err("the response is broken already"),
                Failure::Stopped => PyRuntimeError::new_err("the server stops"),
            },
            Self::Fault(Fault::Refused(refusal)) => PyOSError::new_err(refusal.to_string()),
            Self::Python(error) => error,
        }
    }
}

/// The exception for a mistake of the application's.
fn raised(mistake: &Mistake) -> PyErr {
    match mistake {
        Mistake::NotStarted => PyAssertionError::new_err(mistake.to_string()),
        _ => PyValueError::new_err(mistake.to_string()),
    }
}

/// How an answer ended.
pub struct Ended {
    pub is_head_sent: bool,
    pub keeps_alive: bool,
    pub failure: Option<Failure>,
    pub status: u16,
    pub body_bytes: u64,
    /// The head, if it was to be kept.
    pub head: Vec<u8>,
    pub write: Option<Py<PyAny>>,
}

impl Exchange {
    pub fn new(engine: Arc<Engine>) -> Self {
        let mut reply = Reply::new();
        let access = engine.access.as_ref();
        if access.is_some_and(|access| access.format.needs_answer_head) {
            reply.keep_heads();
        }
        let state = State {
            link: None,
            reply,
            is_sending: false,
        };
        Self {
            engine,
            state: GilCell::new(state),
        }
    }

    /// A request begins.
    pub fn begin(&self, py: Python<'_>, link: Link) {
        let mut state = self.state.take(py);
        state.link = Some(link);
        state.reply.begin();
    }

    /// The request is over: nothing of it can be reached through this object any more.
    ///
    /// A thread of the application that is still in the middle of a piece is made to let go of the
    /// connection, which can't be used any more then.
    pub fn finish(&self, py: Python<'_>) -> Ended {
        let mut state = self.state.take(py);
        let link = state.link.take();
        while state.is_sending {
            if let Some(link) = &link {
                kernel::shut_down(link.fd, libc::SHUT_RDWR);
            }
            state.reply.fail(Failure::Broken);
            drop(state);
            py.detach(|| thread::sleep(HANDOVER));
            state = self.state.take(py);
        }
        let reply = &mut state.reply;
        let ended = Ended {
            is_head_sent: reply.is_head_sent(),
            keeps_alive: reply.keeps_alive(),
            failure: reply.failure(),
            status: reply.status(),
            body_bytes: reply.body_bytes(),
            head: reply.take_head(),
            write: None,
        };
        drop(state);
        Ended {
            write: link.map(|link| link.write),
            ..ended
        }
    }

    pub fn is_head_sent(&self, py: Python<'_>) -> bool {
        self.state.take(py).reply.is_head_sent()
    }

    pub fn is_peer_gone(&self, py: Python<'_>) -> bool {
        matches!(
            self.state.take(py).reply.failure(),
            Some(Failure::Gone | Failure::TimedOut)
        )
    }

    /// Whether nothing that the application still has to say would be sent: the head is out, and it
    /// was all (HEAD, 204, 304).
    pub fn is_complete(&self, py: Python<'_>) -> bool {
        let state = self.state.take(py);
        state.reply.is_head_sent() && !state.reply.wants_more()
    }

    /// Whether the peer has closed. Looks at the socket.
    pub fn has_hung_up(&self, py: Python<'_>) -> bool {
        let mut state = self.state.take(py);
        let fd = state.link.as_ref().map(|link| link.fd);
        if fd.is_some_and(kernel::is_hung_up) {
            state.reply.fail(Failure::Gone);
        }
        state.reply.failure() == Some(Failure::Gone)
    }

    /// How many bytes the application's `Content-Length` leaves for what follows.
    pub fn room(&self, py: Python<'_>) -> u64 {
        self.state.take(py).reply.room()
    }

    /// The answer can't be completed: the connection is not used again.
    pub fn break_off(&self, py: Python<'_>) {
        self.state.take(py).reply.fail(Failure::Broken);
    }

    /// Prepare a head, in place of one that is not sent if `exc_info` tells why. Returns `write`.
    pub fn start(
        &self,
        py: Python<'_>,
        exc_info: Option<Borrowed<'_, '_, PyAny>>,
        render: impl FnOnce(&mut Answer) -> PyResult<()>,
    ) -> PyResult<Py<PyAny>> {
        let mut state = self.state.take(py);
        let Some(link) = &state.link else {
            return Err(is_over());
        };
        let write = link.write.clone_ref(py);
        match exc_info {
            Some(exc_info) if state.reply.is_head_sent() => {
                drop(state);
                return Err(raised_again(exc_info)?);
            }
            None if !state.reply.is_silent() => {
                return Err(PyAssertionError::new_err(
                    "start_response called again without exc_info",
                ));
            }
            _ => {}
        }
        state.reply.prepare(render)?;
        Ok(write)
    }

    /// Answer 500 in place of what the application has prepared.
    pub fn send_error(&self, py: Python<'_>) -> Option<Remainder> {
        const BODY: &[u8] = b"Internal Server Error\n";
        let prepared = self.state.take(py).reply.prepare(|answer| {
            answer.start(b"500 Internal Server Error")?;
            answer.field(b"Content-Type", b"text/plain")
        });
        if prepared.is_err() {
            unreachable!("this answer is a valid one");
        }
        self.send_whole(py, BODY, None).unwrap_or_else(|_| {
            self.break_off(py);
            None
        })
    }

    /// See whether the server was told to finish, if the head of the answer comes next.
    pub fn listen(&self, py: Python<'_>) {
        if !self.is_head_sent(py) {
            self.engine.look_at_control(py);
        }
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

    /// Send the whole answer, whose body is a file's. What is not copied into the head is returned.
    pub fn send_file(&self, py: Python<'_>, mut part: Part) -> Result<Option<Remainder>, Trouble> {
        let (mut state, terms) = self.ready(py)?;
        part.limit(state.reply.room());
        let length = part.left();
        let len = usize::try_from(length).unwrap_or(usize::MAX);
        if len <= COPIED_FILE_BYTES && !terms.is_head {
            drop(state);
            let data = py.detach(|| part.read(len)).map_err(PyErr::from)?;
            return self.send_whole(py, &data, None);
        }
        let plan = state.reply.plan(Piece::Whole, len, terms)?;
        if !plan.is_sent {
            return self.transmit(py, state, [b"", b""], true, None);
        }
        if let Some(link) = &state.link {
            link.withdraw_continue(py);
        }
        Ok(Some(Remainder {
            bytes: state.reply.take_out(),
            body: None,
            sent: 0,
            file: Some(FileBody {
                part,
                length,
                place: String::new(),
            }),
        }))
    }

    fn send(
        &self,
        py: Python<'_>,
        piece: Piece,
        data: &[u8],
        owner: Option<&Bound<'_, PyBytes>>,
    ) -> Result<Option<Remainder>, Trouble> {
        let (mut state, terms) = self.ready(py)?;
        let plan = state.reply.plan(piece, data.len(), terms)?;
        let mut body = if plan.is_sent { data } else { b"" };
        let mut after = plan.after;
        let is_last = piece == Piece::Whole;
        // What nobody owns can't be sent later.
        if body.len() < COPIED_BODY_BYTES || (is_last && owner.is_none()) {
            let out = state.reply.out();
            out.extend_from_slice(body);
            out.extend_from_slice(after);
            (body, after) = (b"", b"");
        }
        self.transmit(py, state, [body, after], is_last, owner)
    }

    /// End the body after its parts. What the socket doesn't take now is returned.
    pub fn send_end(&self, py: Python<'_>) -> Result<Option<Remainder>, Trouble> {
        let (mut state, terms) = self.ready(py)?;
        state.reply.plan_end(terms)?;
        self.transmit(py, state, [b"", b""], true, None)
    }

    /// The state, if a piece can be sent now.
    fn ready<'py>(&self, py: Python<'py>) -> Result<(Taken<'_, 'py, State>, Terms), Trouble> {
        let state = self.state.take(py);
        if state.is_sending {
            return Err(PyRuntimeError::new_err("another thread is sending").into());
        }
        let terms = match &state.link {
            Some(link) => link.terms(py, &self.engine.flags),
            None => return Err(is_over().into()),
        };
        Ok((state, terms))
    }

    /// Send what the reply has to say, `body` and what comes after that.
    ///
    /// When the socket is full and this is the last piece, return what is left; else wait, without
    /// the GIL.
    fn transmit(
        &self,
        py: Python<'_>,
        mut state: Taken<'_, '_, State>,
        [body, after]: [&[u8]; 2],
        is_last: bool,
        owner: Option<&Bound<'_, PyBytes>>,
    ) -> Result<Option<Remainder>, Trouble> {
        let Some(link) = &state.link else {
            return Err(is_over().into());
        };
        link.withdraw_continue(py);
        let fd = link.fd;
        let total = state.reply.out().len() + body.len() + after.len();
        if total == 0 {
            return Ok(None);
        }
        let mut out = state.reply.take_out();
        let mut sent = 0;
        // The usual case: it fits, and the GIL isn't given away in between.
        if !(self.engine.flags.is_threaded() && total >= RELEASING_SEND_BYTES) {
            match kernel::send_pieces(fd, [&out, body, after], 0) {
                Sent::Bytes(count) => sent = count,
                Sent::WouldBlock => {}
                Sent::Gone => {
                    state.reply.fail(Failure::Gone);
                    return Err(Fault::Failure(Failure::Gone).into());
                }
            }
        }
        if sent == total {
            state.reply.put_back(out);
            return Ok(None);
        }
        state.is_sending = true;
        drop(state);
        let pieces = [&out[..], body, after];
        let outcome = self.send_rest(py, fd, pieces, &mut sent, is_last);
        let is_left = outcome.as_ref().is_ok_and(|()| sent < total);
        let remainder = is_left.then(|| Remainder {
            bytes: mem::take(&mut out),
            body: owner
                .filter(|_| !body.is_empty())
                .map(|owner| owner.clone().unbind()),
            sent,
            file: None,
        });
        let mut state = self.state.take(py);
        state.reply.put_back(out);
        state.is_sending = false;
        match &outcome {
            Ok(()) => {}
            Err(Trouble::Fault(Fault::Failure(failure))) => state.reply.fail(*failure),
            Err(_) => state.reply.fail(Failure::Broken),
        }
        outcome.map(|()| remainder)
    }

    /// Send the pieces from byte `sent` on; wait for room, without the GIL, unless they are the last.
    ///
    /// A peer that reads nothing must not keep a server that stops.
    fn send_rest(
        &self,
        py: Python<'_>,
        fd: RawFd,
        pieces: [&[u8]; 3],
        sent: &mut usize,
        is_last: bool,
    ) -> Result<(), Trouble> {
        let total = pieces.map(<[u8]>::len).iter().sum::<usize>();
        let timeout = self.engine.config.send_timeout;
        let patience_ms = kernel::millis(timeout);
        let mut deadline_ms = kernel::now_ms().saturating_add(patience_ms);
        while *sent < total {
            let step =
                py.detach(|| send_or_wait(fd, pieces, *sent, is_last, timeout.min(INTERVAL)));
            match step {
                Step::Sent(count) => {
                    *sent += count;
                    deadline_ms = kernel::now_ms().saturating_add(patience_ms);
                }
                Step::Full => break,
                Step::Interrupted => py.check_signals()?,
                Step::Waited if self.engine.must_stop(py) => {
                    return Err(Fault::Failure(Failure::Stopped).into());
                }
                Step::Waited if kernel::now_ms() >= deadline_ms => {
                    return Err(Fault::Failure(Failure::TimedOut).into());
                }
                Step::Waited => {}
                Step::Gone => return Err(Fault::Failure(Failure::Gone).into()),
            }
        }
        Ok(())
    }

    /// Send an interim answer, whole, before the head of the final one.
    pub fn send_hints(&self, py: Python<'_>, hints: &[u8]) -> Result<(), Trouble> {
        let (mut state, _) = self.ready(py)?;
        if let Some(failure) = state.reply.failure() {
            return Err(Fault::Failure(failure).into());
        }
        if state.reply.is_head_sent() {
            let text = "wsgi.early_hints: the answer's head is sent already";
            return Err(PyAssertionError::new_err(text).into());
        }
        let Some(fd) = state.link.as_ref().map(|link| link.fd) else {
            return Err(is_over().into());
        };
        state.is_sending = true;
        drop(state);
        let mut sent = 0;
        let outcome = self.send_rest(py, fd, [hints, b"", b""], &mut sent, false);
        let mut state = self.state.take(py);
        state.is_sending = false;
        match &outcome {
            Err(Trouble::Fault(Fault::Failure(failure))) => state.reply.fail(*failure),
            // A part of the hints is sent, and nothing else can follow it.
            Err(_) if sent > 0 => state.reply.fail(Failure::Broken),
            Ok(()) | Err(_) => {}
        }
        outcome
    }
}

/// What `exc_info` holds, as it was raised: PEP 3333, "The `start_response()` Callable".
#[cold]
fn raised_again(info: Borrowed<'_, '_, PyAny>) -> PyResult<PyErr> {
    let py = info.py();
    let error = info.get_item(1)?;
    let traceback = info.get_item(2)?;
    Ok(PyErr::from_value(error.call_method1(
        intern!(py, "with_traceback"),
        (traceback,),
    )?))
}

fn is_over() -> PyErr {
    PyRuntimeError::new_err("the request is over")
}

/// What came of one attempt to send.
enum Step {
    Sent(usize),
    Interrupted,
    /// The socket is full.
    Full,
    /// It still is, after a while.
    Waited,
    Gone,
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
        Sent::Gone => return Step::Gone,
        Sent::WouldBlock if is_last => return Step::Full,
        Sent::WouldBlock => {}
    }
    match kernel::wait_for(fd, libc::POLLOUT, timeout) {
        Waited::Ready => Step::Sent(0),
        Waited::Interrupted => Step::Interrupted,
        Waited::TimedOut => Step::Waited,
    }
}
