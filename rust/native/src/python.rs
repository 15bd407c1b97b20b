//! The few raw calls into Python that a request needs, behind safe functions.
//!
//! Invariants, so that every reference count can be checked here:
//! - whoever calls holds the GIL, proved by a `Python` token or a `Bound`;
//! - a pointer that Python gives as a new reference becomes a `Bound` in the same expression;
//! - a borrowed pointer never outlives the object it was borrowed from, and nothing that could run
//!   Python code happens while it is used.

use std::panic::{self, AssertUnwindSafe};
use std::{ptr, slice};

use pyo3::exceptions::PySystemError;
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

/// A `str` of the characters U+0000 to U+00FF, one for each byte.
#[inline]
pub fn latin1<'py>(py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyString>> {
    let highest = if bytes.is_ascii() { 0x7f } else { 0xff };
    let len = ffi::Py_ssize_t::try_from(bytes.len()).unwrap_or(ffi::Py_ssize_t::MAX);
    // SAFETY: a new `str` has room for `len` bytes, as its highest character needs one byte; nobody
    // else has seen it yet. The empty one is shared and nothing is written to it.
    unsafe {
        let string = Bound::from_owned_ptr_or_err(py, ffi::PyUnicode_New(len, highest))?;
        let data = ffi::PyUnicode_DATA(string.as_ptr()).cast::<u8>();
        ptr::copy_nonoverlapping(bytes.as_ptr(), data, bytes.len());
        Ok(string.cast_into_unchecked())
    }
}

/// The bytes of a `str` whose characters are all below U+0100; `None` for any other object.
#[inline]
pub fn latin1_bytes<'a>(object: &'a Borrowed<'_, '_, PyAny>) -> Option<&'a [u8]> {
    let object = object.as_ptr();
    // SAFETY: the checks that Python's documentation asks for come before each access. A `str` never
    // changes, and it lives as long as the borrow.
    unsafe {
        if ffi::PyUnicode_Check(object) == 0 {
            return None;
        }
        if ffi::PyUnicode_READY(object) < 0 {
            ffi::PyErr_Clear();
            return None;
        }
        if ffi::PyUnicode_KIND(object) != ffi::PyUnicode_1BYTE_KIND {
            return None;
        }
        let len = usize::try_from(ffi::PyUnicode_GET_LENGTH(object)).ok()?;
        Some(slice::from_raw_parts(
            ffi::PyUnicode_DATA(object).cast::<u8>(),
            len,
        ))
    }
}

/// The items of a list or a tuple; `None` for any other object.
///
/// # Safety
///
/// Nothing runs Python code while an item is used: it could be taken out of the list and freed.
#[inline]
pub unsafe fn items<'a, 'py>(
    object: &'a Borrowed<'_, 'py, PyAny>,
) -> Option<impl Iterator<Item = Borrowed<'a, 'py, PyAny>>> {
    let (py, object) = (object.py(), object.as_ptr());
    // SAFETY: the types are checked before their fields are read. An index is below the length that the
    // object has at that time.
    unsafe {
        let is_list = ffi::PyList_Check(object) != 0;
        if !is_list && ffi::PyTuple_Check(object) == 0 {
            return None;
        }
        let mut index = 0;
        Some(std::iter::from_fn(move || {
            let (len, get): (_, unsafe fn(_, _) -> _) = if is_list {
                (ffi::PyList_GET_SIZE(object), ffi::PyList_GET_ITEM)
            } else {
                (ffi::PyTuple_GET_SIZE(object), ffi::PyTuple_GET_ITEM)
            };
            (index < len).then(|| {
                index += 1;
                Borrowed::from_ptr(py, get(object, index - 1))
            })
        }))
    }
}

/// The two items of a pair; `None` for any other object.
///
/// # Safety
///
/// As for [`items`].
#[inline]
pub unsafe fn pair<'a, 'py>(
    object: &Borrowed<'a, 'py, PyAny>,
) -> Option<(Borrowed<'a, 'py, PyAny>, Borrowed<'a, 'py, PyAny>)> {
    let (py, object) = (object.py(), object.as_ptr());
    // SAFETY: a tuple of two has two items.
    unsafe {
        if ffi::PyTuple_Check(object) == 0 || ffi::PyTuple_GET_SIZE(object) != 2 {
            return None;
        }
        Some((
            Borrowed::from_ptr(py, ffi::PyTuple_GET_ITEM(object, 0)),
            Borrowed::from_ptr(py, ffi::PyTuple_GET_ITEM(object, 1)),
        ))
    }
}

/// The name of an object's type, for messages.
#[cold]
pub fn type_name(object: &Bound<'_, PyAny>) -> String {
    object.get_type().name().map_or_else(
        |_| "an object".to_owned(),
        |name| name.to_string_lossy().into_owned(),
    )
}

/// A shallow copy; much faster than filling a new dict.
#[inline]
pub fn copy<'py>(dict: &Bound<'py, PyDict>) -> PyResult<Bound<'py, PyDict>> {
    // SAFETY: `dict` is a dict; PyDict_Copy returns a new reference or null with an exception.
    unsafe {
        let copy = ffi::PyDict_Copy(dict.as_ptr());
        Ok(Bound::from_owned_ptr_or_err(dict.py(), copy)?.cast_into_unchecked())
    }
}

/// `dict[key] = value`.
#[inline]
pub fn set<K, V>(
    dict: &Bound<'_, PyDict>,
    key: &Bound<'_, K>,
    value: &Bound<'_, V>,
) -> PyResult<()> {
    // SAFETY: all three are valid objects; PyDict_SetItem takes references of its own.
    let result = unsafe { ffi::PyDict_SetItem(dict.as_ptr(), key.as_ptr(), value.as_ptr()) };
    if result < 0 {
        return Err(PyErr::fetch(dict.py()));
    }
    Ok(())
}

/// `callable(first, second)`.
#[inline]
pub fn call<'py, A, B>(
    callable: &Bound<'py, PyAny>,
    first: &Bound<'py, A>,
    second: &Bound<'py, B>,
) -> PyResult<Bound<'py, PyAny>> {
    let args = [ptr::null_mut(), first.as_ptr(), second.as_ptr()];
    // SAFETY: two arguments follow the first slot, which the flag lends to the callee.
    unsafe {
        let result = ffi::PyObject_Vectorcall(
            callable.as_ptr(),
            args.as_ptr().add(1),
            2 | ffi::PY_VECTORCALL_ARGUMENTS_OFFSET,
            ptr::null_mut(),
        );
        Bound::from_owned_ptr_or_err(callable.py(), result)
    }
}

/// The next element of an iterator, `None` at its end.
#[inline]
pub fn next<'py>(iterator: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
    // SAFETY: the caller got it from `iter()`; a null without an exception is the end.
    unsafe {
        let item = ffi::PyIter_Next(iterator.as_ptr());
        match Bound::from_owned_ptr_or_opt(iterator.py(), item) {
            Some(item) => Ok(Some(item)),
            // Mostly there is none, and to take it would take a while to find that out.
            None if ffi::PyErr_Occurred().is_null() => Ok(None),
            None => Err(PyErr::fetch(iterator.py())),
        }
    }
}

/// Whether `len()` can be asked of an object. To ask in vain would cost an exception.
pub fn has_length(object: &Bound<'_, PyAny>) -> bool {
    // SAFETY: the type of a valid object; a slot is null or a function.
    unsafe {
        let kind = ffi::Py_TYPE(object.as_ptr());
        !ffi::PyType_GetSlot(kind, ffi::Py_sq_length).is_null()
            || !ffi::PyType_GetSlot(kind, ffi::Py_mp_length).is_null()
    }
}

/// How many references there are to an object.
pub fn references<T>(object: &Bound<'_, T>) -> isize {
    // SAFETY: a valid object.
    unsafe { ffi::Py_REFCNT(object.as_ptr()) }
}

/// A function that Python calls with its arguments in an array.
pub type FastFunction = ffi::PyCFunctionFastWithKeywords;

/// What Python reads for as long as functions made of it live.
pub struct Definition(ffi::PyMethodDef);

// SAFETY: never written after it is made, and its pointers are to static text.
unsafe impl Sync for Definition {}

impl Definition {
    pub const fn new(name: &'static std::ffi::CStr, function: FastFunction) -> Self {
        Self(ffi::PyMethodDef {
            ml_name: name.as_ptr(),
            ml_meth: ffi::PyMethodDefPointer {
                PyCFunctionFastWithKeywords: function,
            },
            ml_flags: ffi::METH_FASTCALL | ffi::METH_KEYWORDS,
            ml_doc: ptr::null(),
        })
    }

    /// A built-in function whose `self` is `owner`.
    pub fn bind<'py, T>(&'static self, owner: &Bound<'py, T>) -> PyResult<Bound<'py, PyAny>> {
        let definition = ptr::from_ref(&self.0).cast_mut();
        // SAFETY: Python only reads the definition, which is static.
        unsafe {
            let function = ffi::PyCFunction_NewEx(definition, owner.as_ptr(), ptr::null_mut());
            Bound::from_owned_ptr_or_err(owner.py(), function)
        }
    }
}

/// The arguments of a [`FastFunction`].
pub struct Arguments<'a, 'py> {
    positional: &'a [*mut ffi::PyObject],
    /// The values of the keyword arguments, and the tuple of their names.
    by_name: &'a [*mut ffi::PyObject],
    names: *mut ffi::PyObject,
    py: Python<'py>,
}

impl<'a, 'py> Arguments<'a, 'py> {
    pub fn py(&self) -> Python<'py> {
        self.py
    }

    /// How many there are, whichever way they were given.
    pub fn len(&self) -> usize {
        self.positional.len() + self.by_name.len()
    }

    pub fn get(&self, index: usize) -> Option<Borrowed<'a, 'py, PyAny>> {
        let object = *self.positional.get(index)?;
        // SAFETY: the caller of the function keeps its arguments alive until it returns.
        Some(unsafe { Borrowed::from_ptr(self.py, object) })
    }

    pub fn named(&self, name: &str) -> Option<Borrowed<'a, 'py, PyAny>> {
        for (index, &value) in self.by_name.iter().enumerate() {
            let index = ffi::Py_ssize_t::try_from(index).ok()?;
            // SAFETY: `names` is a tuple of as many `str` as there are values, and like them it lives
            // until the function returns.
            let (key, value) = unsafe {
                (
                    Borrowed::from_ptr(self.py, ffi::PyTuple_GET_ITEM(self.names, index)),
                    Borrowed::from_ptr(self.py, value),
                )
            };
            if latin1_bytes(&key) == Some(name.as_bytes()) {
                return Some(value);
            }
        }
        None
    }
}

/// The body of a [`FastFunction`]: run `function`, and raise what it returns as error. A panic becomes
/// an exception, since it must not unwind through C.
///
/// # Safety
///
/// The arguments are those that Python called with, so it holds the GIL.
pub unsafe fn entered(
    args: *const *mut ffi::PyObject,
    count: ffi::Py_ssize_t,
    names: *mut ffi::PyObject,
    function: impl FnOnce(&Arguments<'_, '_>) -> PyResult<Py<PyAny>>,
) -> *mut ffi::PyObject {
    // SAFETY: the caller's promise.
    let py = unsafe { Python::assume_attached() };
    let outcome = panic::catch_unwind(AssertUnwindSafe(|| {
        let positional = usize::try_from(count).unwrap_or(0);
        let by_name = if names.is_null() {
            0
        } else {
            // SAFETY: not null, so a tuple.
            usize::try_from(unsafe { ffi::PyTuple_GET_SIZE(names) }).unwrap_or(0)
        };
        let all: &[*mut ffi::PyObject] = if positional + by_name == 0 {
            &[]
        } else {
            // SAFETY: Python passes this many valid objects, the named ones last.
            unsafe { slice::from_raw_parts(args, positional + by_name) }
        };
        let (positional, by_name) = all.split_at(positional);
        function(&Arguments {
            positional,
            by_name,
            names,
            py,
        })
    }));
    match outcome {
        Ok(Ok(object)) => object.into_ptr(),
        Ok(Err(error)) => {
            error.restore(py);
            ptr::null_mut()
        }
        Err(_) => {
            PySystemError::new_err("udsrv panicked, see the lines above").restore(py);
            ptr::null_mut()
        }
    }
}

/// Whether this is the interpreter that the process started with.
pub fn is_main_interpreter(_py: Python<'_>) -> bool {
    // SAFETY: the GIL is held.
    unsafe { ffi::PyInterpreterState_Get() == ffi::PyInterpreterState_Main() }
}
