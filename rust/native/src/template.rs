//! What every request has in its `environ`, and the headers that lately came with every request.
//!
//! A copy of this dict is much cheaper than a new one that is filled entry by entry. So a header that has
//! come with every request for a while is put into it: with its value, if that is kept, or else with a
//! placeholder, since a dict sets a key that it has faster than a new one. A request without the header,
//! which has to take it out of its copy, takes it out of here too.
//!
//! The lines that say what is in it are known too: to compare a whole line is cheaper than to look its name
//! up, and then its value.

use std::ops::Range;

use pyo3::prelude::*;
use pyo3::types::{PyBool, PyDict, PyString};

use crate::file::FileWrapper;
use crate::header_names::{NameEntry, Role, USUAL};
use crate::input::Input;
use crate::python;

/// What all requests of a worker have in common.
pub struct Common<'a, 'py> {
    pub errors: &'a Bound<'py, PyAny>,
    pub multithread: bool,
    pub multiprocess: bool,
}

/// So many requests in a row must have had a header before it is in the template.
const STREAK: u8 = 64;

/// So many requests must have had a line that is not known but could be, and lines are learnt again.
const UNKNOWN: u8 = 200;

pub struct Template {
    dict: Py<PyDict>,
    len: usize,
    /// The headers that are in it, by their places in [`USUAL`], and a bit for each that is.
    headers: [Option<Header>; USUAL.len()],
    present: u64,
    placeholder: Py<PyString>,
    /// How many copies have been made.
    turn: u32,
    streaks: [Streak; USUAL.len()],
    /// The known lines, in the order in which they came when they were learnt, and their texts.
    lines: Vec<Line>,
    texts: Vec<u8>,
    /// How many requests since then have had other lines for what is in it.
    unknown: u8,
}

struct Header {
    key: Py<PyString>,
    value: Py<PyString>,
}

/// How many requests in a row have had a header that could be taken in.
#[derive(Clone, Copy, Default)]
struct Streak {
    length: u8,
    /// That of the last one.
    turn: u32,
}

impl Streak {
    /// The request at `turn` has the header. Returns whether that makes the streak long enough.
    fn goes_on(&mut self, turn: u32) -> bool {
        self.length = match turn.wrapping_sub(self.turn) {
            0 => self.length,
            1 => self.length + 1,
            _ => 1,
        };
        self.turn = turn;
        let is_long = self.length >= STREAK;
        if is_long {
            self.length = 0;
        }
        is_long
    }
}

/// A line that says what the template says.
struct Line {
    /// From the start of the name to the end of the value: where that is in [`Template::texts`]. What
    /// is read in a row lies in a row.
    text: Range<usize>,
    place: usize,
    role: Role,
}

/// A copy for one request, and which headers are in it that the request has not confirmed yet.
pub struct Copy<'py> {
    pub environ: Bound<'py, PyDict>,
    /// How many keys it must have if no header came twice.
    pub expected_len: usize,
    present: u64,
    confirmed: u64,
    has_repeated: bool,
    /// Which of the known lines is expected.
    next_line: usize,
    has_unknown: bool,
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
            placeholder: PyString::intern(py, "").unbind(),
            turn: 0,
            streaks: [Streak::default(); USUAL.len()],
            lines: Vec::new(),
            texts: Vec::new(),
            unknown: 0,
        })
    }

    #[inline]
    pub fn copy<'py>(&mut self, py: Python<'py>) -> PyResult<Copy<'py>> {
        self.turn = self.turn.wrapping_add(1);
        Ok(Copy {
            environ: python::copy(self.dict.bind(py))?,
            expected_len: self.len,
            present: self.present,
            confirmed: 0,
            has_repeated: false,
            next_line: 0,
            has_unknown: false,
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
        let is_present = copy.present & 1 << place != 0;
        if is_present {
            copy.confirm(place);
            copy.has_unknown |= USUAL[place].1;
            // Whatever its value, the line that was expected has come.
            let line = self.lines.get(copy.next_line);
            copy.next_line += usize::from(line.is_some_and(|line| line.place == place));
            let header = self.headers[place].as_ref();
            if header.is_some_and(|header| header.value.is(value)) {
                return Ok(());
            }
        } else {
            copy.expected_len += 1;
        }
        let is_kept = entry.keeps(value);
        if (is_kept || !is_present) && self.streaks[place].goes_on(self.turn) {
            self.take_in(place, key, is_kept.then_some(value))?;
        }
        python::set(&copy.environ, key, value)
    }

    /// Have a header of the request in its `environ` by its line alone, if that is the known one that is
    /// expected. Returns its role then.
    #[inline]
    pub fn put_line(&self, copy: &mut Copy<'_>, line: &[u8]) -> Option<Role> {
        let known = self.lines.get(copy.next_line)?;
        if self.texts[known.text.clone()] != *line {
            return None;
        }
        copy.next_line += 1;
        copy.confirm(known.place);
        Some(known.role)
    }

    /// Whether lines should be learnt.
    #[inline]
    pub fn should_learn(&self) -> bool {
        self.unknown >= UNKNOWN
    }

    /// Know those `lines` of a request that say what the template says. Each comes as what is known of its
    /// name, its value, and all from the start of the one to the end of the other.
    #[cold]
    pub fn learn<'a>(
        &mut self,
        py: Python<'_>,
        lines: impl Iterator<Item = (&'a NameEntry, &'a [u8], &'a [u8])>,
    ) {
        self.forget_lines();
        for (entry, value, line) in lines {
            // One that the access log wants has to be looked up.
            if let (None, Some(place)) = (entry.wanted, entry.place)
                && USUAL[place].1
                && let Some(header) = &self.headers[place]
                && python::latin1_bytes(&header.value.bind(py).as_any().as_borrowed())
                    == Some(value)
            {
                let start = self.texts.len();
                self.texts.extend_from_slice(line);
                self.lines.push(Line {
                    text: start..self.texts.len(),
                    place,
                    role: entry.role,
                });
            }
        }
    }

    fn forget_lines(&mut self) {
        self.lines.clear();
        self.texts.clear();
        self.unknown = 0;
    }

    /// All headers have been put: take out those that the request does not have. Returns whether it has
    /// one several times.
    #[inline]
    pub fn finish(&mut self, copy: &mut Copy<'_>) -> PyResult<bool> {
        self.unknown = self.unknown.saturating_add(u8::from(copy.has_unknown));
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
        value: Option<&Bound<'_, PyString>>,
    ) -> PyResult<()> {
        let py = key.py();
        let value = value.unwrap_or_else(|| self.placeholder.bind(py));
        let dict = self.dict.bind(py);
        python::set(dict, key, value)?;
        self.len = dict.len();
        self.present |= 1 << place;
        self.headers[place] = Some(Header {
            key: key.clone().unbind(),
            value: value.clone().unbind(),
        });
        self.forget_lines();
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
        self.forget_lines();
        Ok(())
    }
}

impl Copy<'_> {
    /// The request has the header at `place`, which is in the copy.
    #[inline]
    fn confirm(&mut self, place: usize) {
        let bit = 1 << place;
        self.has_repeated |= self.confirmed & bit != 0;
        self.confirmed |= bit;
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
