//! The compiled module `udsrv._native`: the event loop, the connections and the way to the application.
//!
//! Runs as: the app's user, in supervisors (which only seal themselves with it) and workers.
//!
//! One engine is shared by the threads of a worker. Everything in it that Python code could reach while
//! a call is in progress is atomic, or behind a mutex that is never held while Python code could run.

mod access;
mod access_log;
mod ahead;
mod body;
mod config;
mod connection;
mod date;
mod drive;
mod engine;
mod environ;
mod exchange;
mod file;
mod gil_cell;
mod header_names;
mod input;
mod kernel;
mod listener;
mod log;
mod peer;
mod process;
mod python;
mod reply;
mod response;
mod serve;
mod server;
mod slots;
mod start_response;
mod template;
mod timers;
mod turns;
mod worker;

use pyo3::exceptions::PyImportError;
use pyo3::prelude::*;

/// The part of a worker that is not Python.
// The engine relies on the GIL for its order of events, so a free-threaded interpreter keeps it.
#[pymodule(gil_used = true)]
fn _native(module: &Bound<'_, PyModule>) -> PyResult<()> {
    // Types and interned names of this module would be shared with other interpreters.
    if !python::is_main_interpreter(module.py()) {
        return Err(PyImportError::new_err(
            "udsrv._native works in the main interpreter only",
        ));
    }
    module.add_class::<server::Server>()?;
    process::register(module)
}
