//! When the next connection may be overdue.
//!
//! Every connection holds its own deadline. Here is only a lower bound of all of them: a look at the
//! clock against one number per tick, and a walk over the connections when that is reached. Deadlines
//! that move into the future, as they do with every request, cost nothing.

use std::sync::atomic::{AtomicU64, Ordering};

use crate::kernel::Alarm;

/// The coarse clock is up to this much behind.
pub const CLOCK_STEP_MS: u64 = 5;

pub struct Timers {
    next_ms: AtomicU64,
    /// Ends a wait that began when the bound was later. Whoever has moved the bound may be kept by the
    /// application when it is reached. One thread alone needs none.
    alarm: Option<Alarm>,
}

impl Timers {
    pub fn new(alarm: Option<Alarm>) -> Self {
        Self {
            next_ms: AtomicU64::new(u64::MAX),
            alarm,
        }
    }

    /// There is something to do at `at_ms`.
    #[inline]
    pub fn note(&self, at_ms: u64) {
        if at_ms < self.next_ms.load(Ordering::Acquire) {
            self.lower(at_ms);
        }
    }

    #[cold]
    fn lower(&self, at_ms: u64) {
        self.next_ms.fetch_min(at_ms, Ordering::AcqRel);
        if let Some(alarm) = &self.alarm {
            alarm.set(self.next_ms().saturating_add(CLOCK_STEP_MS));
        }
    }

    /// No deadline is earlier than this.
    pub fn next_ms(&self) -> u64 {
        self.next_ms.load(Ordering::Acquire)
    }

    /// Whether the caller is the one thread that has to look for what is overdue now.
    ///
    /// It has to `note` the earliest deadline that it finds; those that come meanwhile note themselves.
    #[inline]
    pub fn is_due(&self, now_ms: u64) -> bool {
        let next_ms = self.next_ms.load(Ordering::Acquire);
        now_ms >= next_ms
            && self
                .next_ms
                .compare_exchange(next_ms, u64::MAX, Ordering::AcqRel, Ordering::Acquire)
                .is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_an_earlier_deadline_moves_the_bound() {
        let timers = Timers::new(None);
        assert!(!timers.is_due(1_000_000));
        timers.note(500);
        timers.note(900);
        assert_eq!(timers.next_ms(), 500);
        assert!(!timers.is_due(499));
        assert!(timers.is_due(500));
        assert!(!timers.is_due(500), "one thread looks");
        timers.note(900);
        assert_eq!(timers.next_ms(), 900);
    }
}
