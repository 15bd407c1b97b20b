//! What every request has in its `environ`, and the headers that lately came with every request.
//!
//! A copy of this dict is much cheaper than a new one that is filled entry by entry. So a header whose
//! value has been the same for a while is put into it, and a request without the header, which has to
//! take it out of its copy, takes it out of here too.

use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyString};

use crate::file::FileWrapper;
use crate::header_names::{NameEntry, USUAL};
use crate::input::Input;
use crate::python;

/// What all requests of a worker have in common.
pub struct Common<'a, 'py> {
    pub errors: &'a Bound<'py, PyAny>,
    pub multithread: bool,
    pub multiprocess: bool,
}

/// So often a header must have had its value before it is in the template.
const HITS: u8 = 64;

pub struct Template {
    dict: Py<PyDict>,
    len: usize,
    /// The headers that are in it, by their places in [`USUAL`], and a bit for each that is.
    headers: [Option<Header>; USUAL.len()],
    present: u64,
    /// How often each other one had the value that is kept of it.
    hits: [u8; USUAL.len()],
}

struct Header {
    key: Py<PyString>,
    value: Py<PyString>,
}

/// A copy for one request, and which headers are in it that the request has not confirmed yet.
pub struct Copy<'py> {
    pub environ: Bound<'py, PyDict>,
    /// How many keys it must have if no header came twice.
    pub expected_len: usize,
    present: u64,
    confirmed: u64,
    has_repeated: bool,
}

const _: () = assert!(USUAL.len() <= u64::BITS as usize, "a bit for each");

impl Template {
    /// # Errors
    ///
    /// What the interpreter says when it can't make an object.
    pub fn new(py: Python<'_>, common: &Common<'_, '_>) -> PyResult<Self> {
        let dict = base(py, common)?;
        Ok(Self {
            len: dict.len(),
            dict: dict.unbind(),
            headers: [const { None }; USUAL.len()],
            present: 0,
            hits: [0; USUAL.len()],
        })
    }

    #[inline]
    pub fn copy<'py>(&self, py: Python<'py>) -> PyResult<Copy<'py>> {
        Ok(Copy {
            environ: python::copy(self.dict.bind(py))?,
            expected_len: self.len,
            present: self.present,
            confirmed: 0,
            has_repeated: false,
        })
    }

    /// The dict itself, to change the value of a key that every request has.
    pub fn dict<'a, 'py>(&'a self, py: Python<'py>) -> &'a Bound<'py, PyDict> {
        self.dict.bind(py)
    }

    /// Have a header of the request in its `environ`.
    #[inline]
    pub fn put(
        &mut self,
        copy: &mut Copy<'_>,
        entry: &NameEntry,
        value: &Bound<'_, PyString>,
    ) -> PyResult<()> {
        let key = entry.key.bind(value.py());
        let Some(place) = entry.place else {
            copy.expected_len += 1;
            return python::set(&copy.environ, key, value);
        };
        let bit = 1 << place;
        if copy.present & bit == 0 {
            copy.expected_len += 1;
        } else {
            copy.has_repeated |= copy.confirmed & bit != 0;
            copy.confirmed |= bit;
            let header = self.headers[place].as_ref();
            if header.is_some_and(|header| header.value.is(value)) {
                return Ok(());
            }
        }
        if entry.keeps(value) {
            self.hits[place] += 1;
            if self.hits[place] == HITS {
                self.take_in(place, key, value)?;
            }
        }
        python::set(&copy.environ, key, value)
    }

    /// All headers have been put: take out those that the request does not have. Returns whether it has
    /// one several times.
    #[inline]
    pub fn finish(&mut self, copy: &mut Copy<'_>) -> PyResult<bool> {
        let absent = copy.present & !copy.confirmed;
        if absent != 0 {
            self.remove(copy, absent)?;
        }
        Ok(copy.has_repeated || copy.environ.len() != copy.expected_len)
    }

    #[cold]
    fn take_in(
        &mut self,
        place: usize,
        key: &Bound<'_, PyString>,
        value: &Bound<'_, PyString>,
    ) -> PyResult<()> {
        let dict = self.dict.bind(value.py());
        python::set(dict, key, value)?;
        self.len = dict.len();
        self.present |= 1 << place;
        self.hits[place] = 0;
        self.headers[place] = Some(Header {
            key: key.clone().unbind(),
            value: value.clone().unbind(),
        });
        Ok(())
    }

    #[cold]
    fn remove(&mut self, copy: &mut Copy<'_>, absent: u64) -> PyResult<()> {
        let py = copy.environ.py();
        let dict = self.dict.bind(py);
        for (place, header) in self.headers.iter_mut().enumerate() {
            if absent & 1 << place == 0 {
                continue;
            }
            if let Some(header) = header.take() {
                copy.environ.del_item(&header.key)?;
                copy.expected_len -= 1;
                dict.del_item(&header.key)?;
            }
        }
        self.present &= !absent;
        // A dict with holes is copied entry by entry.
        let whole = PyDict::new(py);
        whole.update(dict.as_mapping())?;
        make_room(&whole)?;
        self.len = whole.len();
        self.dict = whole.unbind();
        Ok(())
    }
}

/// What every request has, and a place for what is set in every request.
fn base<'py>(py: Python<'py>, common: &Common<'_, 'py>) -> PyResult<Bound<'py, PyDict>> {
    let template = PyDict::new(py);
    let text = |key: &str, value: &str| {
        let key = PyString::intern(py, key);
        template.set_item(key, PyString::intern(py, value))
    };
    text("REQUEST_METHOD", "GET")?;
    text("SCRIPT_NAME", "")?;
    text("PATH_INFO", "")?;
    text("QUERY_STRING", "")?;
    text("REQUEST_URI", "")?;
    text("SERVER_PROTOCOL", "HTTP/1.1")?;
    text("SERVER_NAME", "localhost")?;
    text("SERVER_PORT", "80")?;
    text("SERVER_SOFTWARE", "udsrv")?;
    text("REMOTE_ADDR", "")?;
    text("wsgi.url_scheme", "http")?;
    let object =
        |key: &str, value: Bound<'py, PyAny>| template.set_item(PyString::intern(py, key), value);
    let truth = |value: bool| PyBool::new(py, value).to_owned().into_any();
    object("wsgi.version", (1, 0).into_pyobject(py)?.into_any())?;
    // An empty body has no state, so that all requests without one can share it.
    let nothing = Bound::new(py, Input::complete(Vec::new()))?;
    object("wsgi.input", nothing.into_any())?;
    object("wsgi.errors", common.errors.clone())?;
    object("wsgi.multithread", truth(common.multithread))?;
    object("wsgi.multiprocess", truth(common.multiprocess))?;
    object("wsgi.run_once", truth(false))?;
    object("wsgi.input_terminated", truth(true))?;
    object("wsgi.file_wrapper", py.get_type::<FileWrapper>().into_any())?;
    make_room(&template)?;
    Ok(template)
}

/// Let the template's table, and with it that of every copy, have room for the usual headers too.
///
/// A dict's table grows when keys are added and stays when they are removed. The added ones are few
/// enough that `PyDict_Copy` still copies the table as it is.
fn make_room(template: &Bound<'_, PyDict>) -> PyResult<()> {
    let names = ["a", "b", "c", "d", "e", "f"];
    for name in names {
        template.set_item(name, ())?;
    }
    for name in names {
        template.del_item(name)?;
    }
    Ok(())
}
