//! What an application is given to call: `start_response` and `write` (PEP 3333), and `wsgi.early_hints`
//! (RFC 8297).

use std::os::fd::RawFd;
use std::sync::Arc;

use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyString, PyTuple};

use crate::engine::Engine;
use crate::exchange::{Ended, Exchange, Link, Request, Trouble};
use crate::input::Input;
use crate::python::{self, Arguments, Definition};
use crate::reply::{Failure, Fault};
use crate::response::{Answer, Mistake};

/// An exchange and the callables that the application gets for it.
///
/// They serve one request after the other for as long as nobody else has kept one of them.
pub struct Callables {
    pub exchange: Py<Exchange>,
    pub start_response: Py<PyAny>,
    /// Where it is wanted.
    pub early_hints: Option<Py<PyAny>>,
    write: Option<Py<PyAny>>,
}

impl Callables {
    pub fn new(py: Python<'_>, engine: &Arc<Engine>) -> PyResult<Self> {
        let exchange = Bound::new(py, Exchange::new(Arc::clone(engine)))?;
        let has_early_hints = engine.config.early_hints;
        let early_hints = has_early_hints
            .then(|| EARLY_HINTS.bind(&exchange).map(Bound::unbind))
            .transpose()?;
        Ok(Self {
            start_response: START_RESPONSE.bind(&exchange)?.unbind(),
            early_hints,
            write: Some(WRITE.bind(&exchange)?.unbind()),
            exchange: exchange.unbind(),
        })
    }

    /// A request begins.
    pub fn begin(
        &mut self,
        py: Python<'_>,
        fd: RawFd,
        request: Request,
        input: Option<Py<Input>>,
    ) -> PyResult<()> {
        let write = match self.write.take() {
            Some(write) => write,
            None => WRITE.bind(self.exchange.bind(py))?.unbind(),
        };
        self.exchange.get().begin(
            py,
            Link {
                fd,
                request,
                input,
                write,
            },
        );
        Ok(())
    }

    /// The request is over.
    pub fn finish(&mut self, py: Python<'_>) -> Ended {
        let mut ended = self.exchange.get().finish(py);
        self.write = ended.write.take();
        ended
    }

    /// Whether nobody else can call them any more.
    pub fn are_ours_alone(&self, py: Python<'_>) -> bool {
        let is_alone = |function: &Py<PyAny>| python::references(function.bind(py)) == 1;
        let hints = self.early_hints.as_ref();
        // Each of the functions refers to the exchange.
        python::references(self.exchange.bind(py)) == 3 + isize::from(hints.is_some())
            && is_alone(&self.start_response)
            && hints.is_none_or(is_alone)
            && self.write.as_ref().is_some_and(is_alone)
    }
}

/// One of the callables: what it does with what the application gives it.
trait Callable {
    fn call(exchange: &Exchange, arguments: &Arguments<'_, '_>) -> PyResult<Py<PyAny>>;
}

/// `start_response`: the status, the headers, and maybe why they replace others.
struct StartResponse;

impl Callable for StartResponse {
    fn call(exchange: &Exchange, arguments: &Arguments<'_, '_>) -> PyResult<Py<PyAny>> {
        let exc_info = arguments.get(2).or_else(|| arguments.named("exc_info"));
        let (Some(status), Some(headers), 2..=3) =
            (arguments.get(0), arguments.get(1), arguments.len())
        else {
            return Err(PyTypeError::new_err(
                "start_response takes a status, a list of headers and maybe exc_info",
            ));
        };
        let exc_info = exc_info.filter(|info| !info.is_none());
        exchange.start(arguments.py(), exc_info, |answer| {
            render(answer, status, headers)
        })
    }
}

/// `write`: a part of the body.
struct Write;

impl Callable for Write {
    fn call(exchange: &Exchange, arguments: &Arguments<'_, '_>) -> PyResult<Py<PyAny>> {
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
            exchange.listen(py);
            exchange.send_part(py, &data).map_err(Trouble::into_error)?;
        }
        Ok(py.None())
    }
}

/// `wsgi.early_hints`: a 103, or nothing once the peer is gone.
struct EarlyHints;

impl Callable for EarlyHints {
    fn call(exchange: &Exchange, arguments: &Arguments<'_, '_>) -> PyResult<Py<PyAny>> {
        const CALLER: &str = "wsgi.early_hints";
        let py = arguments.py();
        let (Some(headers), 1) = (arguments.get(0), arguments.len()) else {
            return Err(PyTypeError::new_err(
                "wsgi.early_hints takes a list of headers",
            ));
        };
        let mut hints = Answer::default();
        hints.start_hints();
        render_fields(&mut hints, headers, CALLER)?;
        hints
            .finish_hints()
            .map_err(|mistake| raised(CALLER, &mistake))?;
        match exchange.send_hints(py, &hints.out) {
            Ok(()) | Err(Trouble::Fault(Fault::Failure(Failure::Gone | Failure::TimedOut))) => {
                Ok(py.None())
            }
            Err(trouble) => Err(trouble.into_error()),
        }
    }
}

/// Render what the application gave to `start_response`. Runs no Python code.
fn render(
    answer: &mut Answer,
    status: Borrowed<'_, '_, PyAny>,
    headers: Borrowed<'_, '_, PyAny>,
) -> PyResult<()> {
    const CALLER: &str = "start_response";
    let status =
        python::latin1_bytes(&status).ok_or_else(|| not_text(CALLER, "the status", status))?;
    answer
        .start(status)
        .map_err(|mistake| raised(CALLER, &mistake))?;
    render_fields(answer, headers, CALLER)
}

/// Render a list of headers. Runs no Python code.
fn render_fields(
    answer: &mut Answer,
    headers: Borrowed<'_, '_, PyAny>,
    caller: &str,
) -> PyResult<()> {
    // SAFETY: nothing below runs Python code, but for an error, which ends the use of the items.
    let Some(items) = (unsafe { python::items(&headers) }) else {
        return Err(wrong_type(caller, "the headers are a list", headers));
    };
    for header in items {
        // SAFETY: as above.
        let Some((name, value)) = (unsafe { python::pair(&header) }) else {
            return Err(wrong_type(
                caller,
                "a header is a tuple of a name and a value",
                header,
            ));
        };
        let name =
            python::latin1_bytes(&name).ok_or_else(|| not_text(caller, "a header's name", name))?;
        let value = python::latin1_bytes(&value)
            .ok_or_else(|| not_text(caller, "a header's value", value))?;
        answer
            .field(name, value)
            .map_err(|mistake| raised(caller, &mistake))?;
    }
    Ok(())
}

#[cold]
fn raised(caller: &str, mistake: &Mistake) -> PyErr {
    PyValueError::new_err(format!("{caller}: {mistake}"))
}

#[cold]
fn not_text(caller: &str, what: &str, got: Borrowed<'_, '_, PyAny>) -> PyErr {
    if got.is_instance_of::<PyString>() {
        PyValueError::new_err(format!("{caller}: {what} has a character outside Latin-1"))
    } else {
        wrong_type(caller, &format!("{what} is a str"), got)
    }
}

#[cold]
fn wrong_type(caller: &str, expected: &str, got: Borrowed<'_, '_, PyAny>) -> PyErr {
    let got = match got.cast::<PyTuple>() {
        Ok(tuple) => format!("a tuple of {}", tuple.len()),
        Err(_) => python::type_name(&got),
    };
    PyTypeError::new_err(format!("{caller}: {expected}, not {got}"))
}

static START_RESPONSE: Definition = Definition::new(c"start_response", called::<StartResponse>);
static WRITE: Definition = Definition::new(c"write", called::<Write>);
static EARLY_HINTS: Definition = Definition::new(c"early_hints", called::<EarlyHints>);

unsafe extern "C" fn called<C: Callable>(
    slf: *mut ffi::PyObject,
    args: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
) -> *mut ffi::PyObject {
    // SAFETY: Python called.
    unsafe {
        python::entered(args, count, names, |arguments| {
            // SAFETY: `Callables` binds these functions to an `Exchange` only.
            let exchange = Borrowed::from_ptr(arguments.py(), slf).cast_unchecked::<Exchange>();
            C::call(exchange.get(), arguments)
        })
    }
}
