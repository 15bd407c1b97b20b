//! Connections that have an event, shared by several threads: whichever is free takes the next one.
//!
//! One thread takes the events of many connections at once, which is much cheaper than one at a time.
//! An application may then keep that thread for long, so another one must be on its way for what is left:
//! it looks here as soon as it has the GIL.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};

use pyo3::prelude::*;

use crate::gil_cell::GilCell;
use crate::slots::Token;

/// A connection, and the flags of its event.
pub type Turn = (Token, u32);

pub struct Turns {
    queue: GilCell<VecDeque<Turn>>,
    /// How many threads wait for events.
    waiting: AtomicUsize,
    /// How many have waited, and wait for the GIL now.
    coming: AtomicUsize,
}

impl Turns {
    pub fn new() -> Self {
        Self {
            queue: GilCell::new(VecDeque::new()),
            waiting: AtomicUsize::new(0),
            coming: AtomicUsize::new(0),
        }
    }

    pub fn len(&self, py: Python<'_>) -> usize {
        self.queue.take(py).len()
    }

    pub fn is_empty(&self, py: Python<'_>) -> bool {
        self.queue.take(py).is_empty()
    }

    pub fn push(&self, py: Python<'_>, turn: Turn) {
        self.queue.take(py).push_back(turn);
    }

    pub fn next(&self, py: Python<'_>) -> Option<Turn> {
        self.queue.take(py).pop_front()
    }

    /// Whether threads wait, and none of them is on its way.
    pub fn all_rest(&self) -> bool {
        // In this order: a thread is coming before it stops waiting.
        self.coming.load(Ordering::SeqCst) == 0 && self.waiting.load(Ordering::SeqCst) > 0
    }

    /// Give the GIL away and `wait` for events.
    pub fn wait<R: Send>(&self, py: Python<'_>, wait: impl FnOnce() -> R + Send) -> R {
        self.waiting.fetch_add(1, Ordering::SeqCst);
        let outcome = py.detach(|| {
            let outcome = wait();
            self.coming.fetch_add(1, Ordering::SeqCst);
            self.waiting.fetch_sub(1, Ordering::SeqCst);
            outcome
        });
        self.coming.fetch_sub(1, Ordering::SeqCst);
        outcome
    }
}
