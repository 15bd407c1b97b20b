//! A value that is reached with the GIL only, which takes the place of a lock.
//!
//! A lock costs two atomic operations each time. The module says `gil_used`, so that an interpreter which
//! can do without the GIL has it nevertheless.

use std::cell::{Cell, UnsafeCell};
use std::ops::{Deref, DerefMut};

use pyo3::Python;

pub struct GilCell<T> {
    is_taken: Cell<bool>,
    value: UnsafeCell<T>,
}

// SAFETY: `take` and the end of what it returns are the only ways to both fields, and each needs the
// GIL: the token can't leave its thread, nor be kept where the GIL is given away. A thread that takes
// the value while another one has it, and has given the GIL away, panics.
unsafe impl<T: Send> Sync for GilCell<T> {}

/// The value, until this is dropped.
pub struct Taken<'a, 'py, T> {
    cell: &'a GilCell<T>,
    _py: Python<'py>,
}

impl<T> GilCell<T> {
    pub fn new(value: T) -> Self {
        Self {
            is_taken: Cell::new(false),
            value: UnsafeCell::new(value),
        }
    }

    /// Take the value. Nobody may give the GIL away, or run Python code, before it is given back.
    ///
    /// # Panics
    ///
    /// Somebody did.
    #[inline]
    pub fn take<'a, 'py>(&'a self, py: Python<'py>) -> Taken<'a, 'py, T> {
        assert!(!self.is_taken.replace(true), "taken twice");
        Taken {
            cell: self,
            _py: py,
        }
    }
}

impl<T> Drop for Taken<'_, '_, T> {
    #[inline]
    fn drop(&mut self) {
        self.cell.is_taken.set(false);
    }
}

impl<T> Deref for Taken<'_, '_, T> {
    type Target = T;

    #[inline]
    fn deref(&self) -> &T {
        // SAFETY: only one `Taken` of a cell exists at a time.
        unsafe { &*self.cell.value.get() }
    }
}

impl<T> DerefMut for Taken<'_, '_, T> {
    #[inline]
    fn deref_mut(&mut self) -> &mut T {
        // SAFETY: only one `Taken` of a cell exists at a time, and it is borrowed here for itself.
        unsafe { &mut *self.cell.value.get() }
    }
}
