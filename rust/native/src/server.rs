//! The class that a worker runs.

use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use http1::Limits;
use pyo3::exceptions::{PyRuntimeError, PyValueError};
use pyo3::prelude::*;

use crate::access::Format;
use crate::access_log::AccessLog;
use crate::config::Config;
use crate::engine::{Engine, Hooks};
use crate::kernel;
use crate::log::Log;

/// Serves one application on one listener.
///
/// All methods may be called from any thread, and from within `run` by signal handlers and hooks.
#[pyclass(frozen, module = "udsrv._native")]
pub struct Server {
    engine: Arc<Engine>,
    has_run: AtomicBool,
}

#[pymethods]
impl Server {
    #[new]
    #[pyo3(signature = (
        application, *, listener_fd, control_fd, on_control, on_exception, log, threads,
        multiprocess, keep_alive_s, head_timeout_s, body_timeout_s, send_timeout_s,
        limit_request_line, limit_request_fields, limit_request_field_size, limit_request_head,
        limit_request_body, body_buffer, trusted_uids, trusted_gids, early_hints,
        max_requests, on_spent, errors,
        access_fd=None, access_format=vec![], access_json=false
    ))]
    // Keywords, which are named where they are given.
    #[allow(clippy::too_many_arguments, clippy::similar_names)]
    #[allow(clippy::needless_pass_by_value)] // what is not kept is made for this call
    fn new(
        application: Py<PyAny>,
        listener_fd: RawFd,
        control_fd: RawFd,
        on_control: Py<PyAny>,
        on_exception: Py<PyAny>,
        log: Py<PyAny>,
        threads: usize,
        multiprocess: bool,
        keep_alive_s: f64,
        head_timeout_s: f64,
        body_timeout_s: f64,
        send_timeout_s: f64,
        limit_request_line: usize,
        limit_request_fields: usize,
        limit_request_field_size: usize,
        limit_request_head: usize,
        limit_request_body: u64,
        body_buffer: usize,
        trusted_uids: Vec<u32>,
        trusted_gids: Vec<u32>,
        early_hints: bool,
        max_requests: u64,
        on_spent: Py<PyAny>,
        errors: Py<PyAny>,
        access_fd: Option<RawFd>,
        access_format: Vec<(String, String)>,
        access_json: bool,
    ) -> PyResult<Self> {
        if threads == 0 {
            return Err(PyValueError::new_err("threads: at least 1"));
        }
        let config = Config {
            threads,
            multiprocess,
            keep_alive: duration("keep_alive_s", keep_alive_s)?,
            head_timeout: duration("head_timeout_s", head_timeout_s)?,
            body_timeout: duration("body_timeout_s", body_timeout_s)?,
            send_timeout: duration("send_timeout_s", send_timeout_s)?,
            limits: Limits {
                request_line: limit_request_line,
                fields: limit_request_fields,
                field_size: limit_request_field_size,
                head: limit_request_head,
                body: limit_request_body,
            },
            body_buffer,
            trusted_uids,
            trusted_gids,
            early_hints,
            max_requests,
        };
        let hooks = Hooks {
            application,
            on_control,
            on_exception,
            on_spent,
            errors,
            log: Log::new(log),
        };
        let access = match access_fd {
            None => None,
            Some(fd) => {
                let format = Format::new(&access_format, access_json)
                    .map_err(|kind| PyValueError::new_err(format!("access_format: {kind}")))?;
                Some(AccessLog::new(format, kernel::duplicate(fd)?)?)
            }
        };
        // The caller may close its own ones.
        let listener = kernel::duplicate(listener_fd)?;
        let control = kernel::duplicate(control_fd)?;
        Ok(Self {
            engine: Arc::new(Engine::new(config, hooks, listener, control, access)?),
            has_run: AtomicBool::new(false),
        })
    }

    /// Serve until drained or stopped; once, and on the main thread, which is one of those that serve.
    fn run(&self, py: Python<'_>) -> PyResult<()> {
        if self.has_run.swap(true, Ordering::AcqRel) {
            return Err(PyRuntimeError::new_err("a Server runs once"));
        }
        self.engine.run(py)
    }

    /// Answer what is there, take no more, and return from `run` when that is done or at the deadline.
    ///
    /// Idle connections are closed at once with `close_idle`, unless a request is on its way, else at
    /// the deadline.
    fn drain(&self, deadline_s: f64, close_idle: bool) -> PyResult<()> {
        self.engine
            .drain(duration("deadline_s", deadline_s)?, close_idle);
        Ok(())
    }

    /// Return from `run` as soon as the calls in progress return.
    fn stop(&self) {
        self.engine.stop();
    }

    /// Accept from `fd` from now on; the queue of the one before is served until it is empty.
    fn replace_listener(&self, fd: RawFd) -> PyResult<()> {
        self.engine.replace_listener(kernel::duplicate(fd)?)?;
        Ok(())
    }
}

fn duration(name: &str, seconds: f64) -> PyResult<Duration> {
    Duration::try_from_secs_f64(seconds)
        .map_err(|error| PyValueError::new_err(format!("{name}: {seconds}: {error}")))
}
