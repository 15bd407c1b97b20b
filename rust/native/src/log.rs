//! What the engine says, through the worker's Python logger.

use std::sync::atomic::{AtomicU64, Ordering};

use pyo3::prelude::*;

/// The levels of Python's `logging`.
#[derive(Clone, Copy, Debug)]
pub enum Level {
    Info = 20,
    Warning = 30,
    Error = 40,
}

pub struct Log {
    function: Py<PyAny>,
    /// When the next line about a refused request may be written, and how many were not.
    next_refusal_ms: AtomicU64,
    unsaid: AtomicU64,
}

impl Log {
    /// How often a peer can make us write a line.
    const REFUSAL_INTERVAL_MS: u64 = 1000;

    pub fn new(function: Py<PyAny>) -> Self {
        Self {
            function,
            next_refusal_ms: AtomicU64::new(0),
            unsaid: AtomicU64::new(0),
        }
    }

    pub fn write(&self, py: Python<'_>, level: Level, text: &str) {
        if let Err(error) = self.function.call1(py, (level as i32, text)) {
            error.write_unraisable(py, None);
        }
    }

    /// Say that a request was refused and why, at most once a second.
    pub fn refused(&self, py: Python<'_>, now_ms: u64, status: u16, reason: &str) {
        let next_ms = self.next_refusal_ms.load(Ordering::Relaxed);
        let after_ms = now_ms + Self::REFUSAL_INTERVAL_MS;
        let may_speak = now_ms >= next_ms
            && self
                .next_refusal_ms
                .compare_exchange(next_ms, after_ms, Ordering::Relaxed, Ordering::Relaxed)
                .is_ok();
        if !may_speak {
            self.unsaid.fetch_add(1, Ordering::Relaxed);
            return;
        }
        let more = match self.unsaid.swap(0, Ordering::Relaxed) {
            0 => String::new(),
            count => format!(" ({count} more since the last such line)"),
        };
        let text = format!("refused a request with {status}: {reason}{more}");
        self.write(py, Level::Info, &text);
    }
}
