//! One request: call the application, send what it answers, and see what is left.

use std::mem;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::time::{Duration, Instant};

use http1::Head;
use pyo3::exceptions::{PyOSError, PyTypeError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString, PyTuple};

use crate::access::{self, Record};
use crate::access_log::{AccessLog, Pen};
use crate::config::DRAIN_BYTES;
use crate::connection::{Discarding, Remainder, Then};
use crate::engine::{Engine, INTERVAL};
use crate::environ::Environ;
use crate::exchange::{Ended, Exchange, Request, Trouble};
use crate::file::FileWrapper;
use crate::input::{Input, Stream};
use crate::kernel;
use crate::python;
use crate::reply::{Failure, Fault};
use crate::response::Refusal;
use crate::start_response::Callables;
use crate::template::Common;

/// A body in several pieces up to this size is put together and sent at once.
const JOINED_BODY_BYTES: usize = 64 * 1024;

/// The body of a request when the application is called.
pub enum Body {
    None,
    Complete(Vec<u8>),
    Streaming(Box<Stream>),
}

/// What became of a request.
pub enum Served {
    /// Answered; the next request may follow at once.
    Done,
    /// Answered, but for `remainder`.
    Ends {
        then: Then,
        remainder: Option<Remainder>,
        /// What was read behind the body.
        leftover: Vec<u8>,
    },
    /// Nothing is answered: its body is none.
    Refused(Refusal),
}

/// What one thread serves requests with.
pub struct Server<'a, 'py> {
    py: Python<'py>,
    engine: &'a Arc<Engine>,
    application: Bound<'py, PyAny>,
    environ: Environ,
    callables: Callables,
    pen: Option<Pen<'a>>,
}

impl<'a, 'py> Server<'a, 'py> {
    /// # Errors
    ///
    /// What the interpreter says when it can't make an object.
    pub fn new(py: Python<'py>, engine: &'a Arc<Engine>) -> PyResult<Self> {
        let common = Common {
            errors: engine.hooks.errors.bind(py),
            multithread: engine.flags.is_threaded(),
            multiprocess: engine.config.multiprocess,
        };
        let pen = engine.access.as_ref().map(AccessLog::pen);
        let wanted = pen.as_ref().map(|pen| pen.format().wanted());
        Ok(Self {
            py,
            engine,
            application: engine.hooks.application.bind(py).clone(),
            environ: Environ::new(py, &common, wanted.unwrap_or_default())?,
            callables: Callables::new(py, engine)?,
            pen,
        })
    }

    /// Serve the request whose head is in `bytes`. `now_ms` is the time before, and then after it.
    pub fn serve(
        &mut self,
        fd: RawFd,
        bytes: &[u8],
        head: &Head,
        body: Body,
        is_trusted: bool,
        now_ms: &mut u64,
    ) -> Served {
        let py = self.py;
        let mut watch = Watch::new(self.engine, *now_ms);
        let format = self.pen.as_ref().map(Pen::format);
        let started = format
            .is_some_and(|format| format.needs_clock)
            .then(Instant::now);
        let wants_environ = format.is_some_and(|format| !format.variables.is_empty());
        let mut kept_environ = None;
        let request = Request {
            is_head: head.method.of(bytes) == b"HEAD",
            version: head.version,
            keep_alive: head.keep_alive,
        };
        let is_streaming = matches!(body, Body::Streaming(_));
        let began = input(py, body).and_then(|input| {
            let streaming = input.as_ref().filter(|_| is_streaming);
            let streaming = streaming.map(|input| input.clone().unbind());
            self.callables.begin(py, fd, request, streaming)?;
            Ok(input)
        });
        let input = match began {
            Ok(input) => input,
            Err(error) => {
                // There is no memory to answer with.
                self.engine.report(py, &place(bytes, head), error);
                return ends(Then::Close);
            }
        };
        let early_hints = self
            .callables
            .early_hints
            .as_ref()
            .map(|hints| hints.bind(py));
        let outcome = self
            .environ
            .build(py, bytes, head, input.as_ref(), is_trusted, early_hints)
            .map_err(Trouble::from)
            .and_then(|environ| {
                if wants_environ {
                    kept_environ = Some(environ.clone());
                }
                let start_response = self.callables.start_response.bind(py);
                let result = python::call(&self.application, &environ, start_response)?;
                let outcome = respond(&result, self.callables.exchange.get(), &mut watch);
                if let Err(error) = close(&result) {
                    self.engine.report(py, &place(bytes, head), error);
                }
                outcome
            });
        let streaming = input.as_ref().filter(|_| is_streaming);
        let remainder = match outcome {
            Ok(remainder) => remainder.map(|remainder| name_file(remainder, bytes, head)),
            Err(trouble) => {
                watch.listen(py);
                self.recover(trouble, bytes, head, streaming)
            }
        };
        *now_ms = watch.now_ms();
        if self.engine.config.max_requests > 0 {
            self.engine.count_request(py);
        }
        let ended = self.callables.finish(py);
        if self.pen.is_some() && ended.is_head_sent {
            let request = access::Request { bytes, head };
            let duration = started.map(|started| started.elapsed());
            self.log_answer(request, is_trusted, &ended, duration, kept_environ.as_ref());
        }
        if !self.callables.are_ours_alone(py) {
            match Callables::new(py, self.engine) {
                Ok(callables) => self.callables = callables,
                Err(error) => self.engine.report(py, &place(bytes, head), error),
            }
        }
        let Some(streaming) = streaming else {
            return match (then(&ended, None), remainder) {
                (Then::NextRequest, None) => Served::Done,
                (then, remainder) => Served::Ends {
                    then,
                    remainder,
                    leftover: Vec::new(),
                },
            };
        };
        let Some(mut stream) = streaming.get().finish(py, fd) else {
            return ends(Then::Close);
        };
        match stream.refusal {
            Some(refusal) if !ended.is_head_sent => Served::Refused(refusal),
            _ => {
                let leftover = mem::take(&mut stream.leftover);
                Served::Ends {
                    then: then(&ended, Some(stream)),
                    remainder,
                    leftover,
                }
            }
        }
    }

    /// Write the line of a request that has had an answer.
    #[inline]
    fn log_answer(
        &mut self,
        request: access::Request<'_>,
        is_trusted: bool,
        ended: &Ended,
        duration: Option<Duration>,
        environ: Option<&Bound<'py, PyDict>>,
    ) {
        let Some(pen) = &mut self.pen else { return };
        let variables = environ.map_or(Vec::new(), |environ| {
            let names = &pen.format().variables;
            names.iter().map(|name| variable(environ, name)).collect()
        });
        pen.write(&Record {
            request: Some(request),
            places: self.environ.places(),
            is_trusted,
            address: self.environ.client(request.bytes),
            status: ended.status,
            body_bytes: ended.body_bytes,
            duration,
            answer_head: &ended.head,
            variables: &variables,
        });
    }

    /// Write the line of a request that is refused. What is known of it may be nothing.
    #[cold]
    pub fn log_refusal(
        &mut self,
        request: Option<access::Request<'_>>,
        is_trusted: bool,
        answer: &[u8],
        refusal: Refusal,
    ) {
        let Some(pen) = &mut self.pen else { return };
        let head_len = answer.windows(4).position(|part| part == b"\r\n\r\n");
        let head_len = head_len.map_or(answer.len(), |at| at + 4);
        let believed = request.filter(|_| is_trusted);
        pen.write(&Record {
            request,
            places: None,
            is_trusted,
            address: believed.and_then(access::Request::address),
            status: refusal.status(),
            body_bytes: (answer.len() - head_len) as u64,
            duration: None,
            answer_head: &answer[..head_len],
            variables: &[],
        });
    }

    /// Report what went wrong if it is the application's, and answer 500 if nothing is answered yet.
    #[cold]
    fn recover(
        &self,
        trouble: Trouble,
        bytes: &[u8],
        head: &Head,
        streaming: Option<&Bound<'py, Input>>,
    ) -> Option<Remainder> {
        let py = self.py;
        let exchange = self.callables.exchange.get();
        let refusal = streaming.and_then(|input| input.get().refusal());
        let is_not_the_applications = match &trouble {
            Trouble::Fault(Fault::Failure(Failure::Broken) | Fault::Mistake(_)) => false,
            Trouble::Fault(Fault::Failure(_) | Fault::Refused(_)) => true,
            // The application may let through what `write` or `wsgi.input` raised.
            Trouble::Python(error) => {
                (exchange.is_peer_gone(py) || refusal.is_some())
                    && error.is_instance_of::<PyOSError>(py)
            }
        };
        if !is_not_the_applications {
            self.engine
                .report(py, &place(bytes, head), trouble.into_error());
        }
        if exchange.is_head_sent(py) {
            exchange.break_off(py);
            return None;
        }
        if refusal.is_some() {
            return None;
        }
        exchange.send_error(py)
    }
}

/// What a thread sees of the outside while a request keeps it: an endless answer must not keep its
/// server, and one that begins after the server was told to finish ends its connection.
struct Watch<'a> {
    engine: &'a Engine,
    now_ms: u64,
    next_ms: u64,
    /// The application has made the answer in parts, and time may have passed unseen.
    has_parts: bool,
}

impl<'a> Watch<'a> {
    fn new(engine: &'a Engine, now_ms: u64) -> Self {
        Self {
            engine,
            now_ms,
            next_ms: now_ms + kernel::millis(INTERVAL),
            has_parts: false,
        }
    }

    /// The head of the answer comes next: see whether the server was told to finish meanwhile. Looks
    /// only if the clock has moved, which it does every few milliseconds.
    #[inline]
    fn listen(&mut self, py: Python<'_>) {
        let now_ms = kernel::now_ms();
        if now_ms != self.now_ms {
            self.now_ms = now_ms;
            self.engine.look_at_control(py);
        }
    }

    /// Whether the answer has to end. All threads may be kept like this one.
    fn must_stop(&mut self, py: Python<'_>) -> bool {
        let now_ms = kernel::now_ms();
        if now_ms < self.next_ms {
            return self.engine.flags.is_stopped();
        }
        self.next_ms = now_ms + kernel::millis(INTERVAL);
        self.engine.must_stop(py)
    }

    /// The time when the request is over.
    fn now_ms(&self) -> u64 {
        if self.has_parts {
            kernel::now_ms()
        } else {
            self.now_ms
        }
    }
}

/// The `wsgi.input` of a request with a body; that of the others is in the template.
fn input(py: Python<'_>, body: Body) -> PyResult<Option<Bound<'_, Input>>> {
    let input = match body {
        Body::None => return Ok(None),
        Body::Complete(data) => Input::complete(data),
        Body::Streaming(stream) => Input::streaming(stream),
    };
    Bound::new(py, input).map(Some)
}

/// A variable of the application's `environ` as text, in whichever case it is named.
fn variable(environ: &Bound<'_, PyDict>, name: &str) -> Option<String> {
    let names = [
        name.to_owned(),
        name.to_ascii_uppercase(),
        name.to_ascii_lowercase(),
    ];
    let found = |name: &String| environ.get_item(name).ok().flatten();
    let value = names.iter().find_map(found)?;
    Some(value.str().ok()?.to_string_lossy().into_owned())
}

/// Say for which request a file is sent, for the log.
fn name_file(mut remainder: Remainder, bytes: &[u8], head: &Head) -> Remainder {
    if let Some(file) = &mut remainder.file {
        file.place = place(bytes, head);
    }
    remainder
}

fn ends(then: Then) -> Served {
    Served::Ends {
        then,
        remainder: None,
        leftover: Vec::new(),
    }
}

/// The request as it is named in the log.
#[cold]
fn place(bytes: &[u8], head: &Head) -> String {
    let text = |bytes| String::from_utf8_lossy(bytes).into_owned();
    text(head.method.of(bytes)) + " " + &text(head.path.of(bytes))
}

/// What follows an answer, with `stream` for a body that was not complete at the start.
fn then(ended: &Ended, stream: Option<Box<Stream>>) -> Then {
    let Some(stream) = stream else {
        return match ended {
            Ended {
                failure: None,
                keeps_alive: true,
                ..
            } => Then::NextRequest,
            _ => Then::Close,
        };
    };
    let missing = match stream.refusal {
        Some(_) => None,
        None => stream.body.missing(),
    };
    match (missing, ended) {
        (
            _,
            Ended {
                failure: Some(_), ..
            },
        ) => Then::Close,
        (
            Some(0),
            Ended {
                keeps_alive: true, ..
            },
        ) => Then::NextRequest,
        (Some(0), _) => Then::Close,
        (
            Some(missing),
            Ended {
                keeps_alive: true, ..
            },
        ) if missing <= DRAIN_BYTES as u64 => Then::Discard(Box::new(Discarding {
            body: stream.body,
            left: DRAIN_BYTES,
        })),
        _ => Then::Linger,
    }
}

/// Send what the application returned.
fn respond(
    result: &Bound<'_, PyAny>,
    exchange: &Exchange,
    watch: &mut Watch<'_>,
) -> Result<Option<Remainder>, Trouble> {
    let py = result.py();
    watch.listen(py);
    if !exchange.is_head_sent(py) {
        // What can't be a subclass with an iteration of its own is known as a whole.
        if let Ok(list) = result.cast_exact::<PyList>() {
            if list.len() == 1 {
                let item = list.get_item(0)?;
                let data = bytes_of(&item)?;
                return exchange.send_whole(py, data.as_bytes(), Some(data));
            }
            if let Some(joined) = joined(list.iter())? {
                return exchange.send_whole(py, &joined, None);
            }
        } else if let Ok(tuple) = result.cast_exact::<PyTuple>()
            && let Some(joined) = joined(tuple.iter())?
        {
            return exchange.send_whole(py, &joined, None);
        }
    }
    watch.has_parts = true;
    if let Ok(file) = result.cast_exact::<FileWrapper>() {
        return respond_file(py, file.get(), exchange, watch);
    }
    let is_single = !exchange.is_head_sent(py) && has_one_item(result);
    let iterator = iterator(result)?;
    let mut is_idle = false;
    while let Some(item) = next_part(&iterator, exchange, watch, is_idle)? {
        let data = bytes_of(&item)?;
        is_idle = data.as_bytes().is_empty();
        if !is_idle && !exchange.is_head_sent(py) {
            watch.listen(py);
        }
        // PEP 3333: such an iterable has no other item, so this one's length is the body's. But the
        // head may have gone out with write() meanwhile.
        if is_single && !exchange.is_head_sent(py) {
            return exchange.send_whole(py, data.as_bytes(), Some(data));
        }
        send_part(py, data, exchange)?;
    }
    exchange.send_end(py)
}

/// Send a file that the application returned: the kernel does, or it is read in blocks.
fn respond_file(
    py: Python<'_>,
    file: &FileWrapper,
    exchange: &Exchange,
    watch: &mut Watch<'_>,
) -> Result<Option<Remainder>, Trouble> {
    if !exchange.is_head_sent(py)
        && let Some(part) = file.part(py)?
    {
        return exchange.send_file(py, part);
    }
    // Whichever way it is sent, a declared length ends it.
    while !exchange.is_complete(py) {
        if exchange.is_head_sent(py) && watch.must_stop(py) {
            return Err(Fault::Failure(Failure::Stopped).into());
        }
        let block = file.read(py)?;
        let data = bytes_of(&block)?;
        if !exchange.is_head_sent(py) {
            watch.listen(py);
        }
        let len = data.as_bytes().len();
        let room = usize::try_from(exchange.room(py)).unwrap_or(usize::MAX);
        if len == 0 || room == 0 {
            break;
        }
        if len > room {
            send_part(py, &PyBytes::new(py, &data.as_bytes()[..room]), exchange)?;
        } else {
            send_part(py, data, exchange)?;
        }
    }
    exchange.send_end(py)
}

/// Send a part of the body; look whether anybody is there still when it is an empty one.
fn send_part(
    py: Python<'_>,
    data: &Bound<'_, PyBytes>,
    exchange: &Exchange,
) -> Result<(), Trouble> {
    if !data.as_bytes().is_empty() {
        exchange.send_part(py, data)
    } else if exchange.has_hung_up(py) {
        Err(Fault::Failure(Failure::Gone).into())
    } else {
        Ok(())
    }
}

/// The next part of a body, if there is one and it is of use. `is_idle` when the one before was empty.
///
/// PEP 3333 lets a server stop asking when nothing more would be sent; who asks on for the end of an
/// endless answer to HEAD has a thread less.
fn next_part<'py>(
    iterator: &Bound<'py, PyAny>,
    exchange: &Exchange,
    watch: &mut Watch<'_>,
    is_idle: bool,
) -> Result<Option<Bound<'py, PyAny>>, Trouble> {
    let py = iterator.py();
    if exchange.is_complete(py) {
        return Ok(None);
    }
    if (is_idle || exchange.is_head_sent(py)) && watch.must_stop(py) {
        return Err(Fault::Failure(Failure::Stopped).into());
    }
    Ok(python::next(iterator)?)
}

/// `iter(result)`, or an error that says what is wrong with it.
fn iterator<'py>(result: &Bound<'py, PyAny>) -> Result<Bound<'py, PyAny>, Trouble> {
    if result.is_instance_of::<PyBytes>() || result.is_instance_of::<PyString>() {
        let name = python::type_name(result);
        let text = format!("the application returned {name} itself, not an iterable of bytes");
        return Err(PyTypeError::new_err(text).into());
    }
    let py = result.py();
    match result.try_iter() {
        Ok(iterator) => Ok(iterator.into_any()),
        Err(error) if error.is_instance_of::<PyTypeError>(py) => {
            let reason = error.value(py);
            let text = format!("the application returned no iterable of bytes: {reason}");
            let named = PyTypeError::new_err(text);
            named.set_cause(py, Some(error));
            Err(named.into())
        }
        Err(error) => Err(error.into()),
    }
}

fn bytes_of<'a, 'py>(item: &'a Bound<'py, PyAny>) -> Result<&'a Bound<'py, PyBytes>, Trouble> {
    item.cast::<PyBytes>().map_err(|_| {
        let name = python::type_name(item);
        PyTypeError::new_err(format!("the application's body is of bytes, not of {name}")).into()
    })
}

/// All items together, unless they are so large that copying them does not pay.
fn joined<'py>(items: impl Iterator<Item = Bound<'py, PyAny>>) -> Result<Option<Vec<u8>>, Trouble> {
    let mut joined = Vec::new();
    for item in items {
        let data = bytes_of(&item)?.as_bytes();
        if joined.len() + data.len() > JOINED_BODY_BYTES {
            return Ok(None);
        }
        joined.extend_from_slice(data);
    }
    Ok(Some(joined))
}

/// Whether `len()` of the result is 1, if it has one.
fn has_one_item(result: &Bound<'_, PyAny>) -> bool {
    python::has_length(result) && result.len().is_ok_and(|len| len == 1)
}

/// Call the result's `close`, if it has one: PEP 3333 wants that however the request ends.
fn close(result: &Bound<'_, PyAny>) -> PyResult<()> {
    if result.is_exact_instance_of::<PyList>() || result.is_exact_instance_of::<PyTuple>() {
        return Ok(());
    }
    match result.getattr_opt(intern!(result.py(), "close"))? {
        Some(close) => close.call0().map(drop),
        None => Ok(()),
    }
}
