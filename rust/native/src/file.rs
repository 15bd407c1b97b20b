//! `wsgi.file_wrapper`: a file as an answer, which the kernel sends without a copy where it can.
//!
//! It can when the bytes that `read` would give are those of a regular file. What looks like a file
//! and is not, such as a `GzipFile`, has a descriptor too; so only Python's own file types are taken,
//! and everything else is read in blocks: PEP 3333, "Optional Platform-Specific File Handling".

use std::io;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};

use pyo3::PyTraverseError;
use pyo3::PyVisit;
use pyo3::exceptions::{PyAttributeError, PyOSError, PyTypeError, PyValueError};
use pyo3::intern;
use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::{PyCFunction, PyType};

use crate::kernel;
use crate::python;

#[pyclass(frozen, name = "FileWrapper", module = "udsrv._native")]
pub struct FileWrapper {
    file: Py<PyAny>,
    block_bytes: isize,
}

/// A part of a regular file that is still to be sent.
#[derive(Debug)]
pub struct Part {
    /// Our own, so that the application may close its file meanwhile.
    fd: OwnedFd,
    offset: u64,
    left: u64,
}

impl Part {
    pub fn fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    pub fn offset(&self) -> u64 {
        self.offset
    }

    pub fn left(&self) -> u64 {
        self.left
    }

    /// The file may grow meanwhile, and the application may want less of it.
    pub fn limit(&mut self, limit: u64) {
        self.left = self.left.min(limit);
    }

    /// `count` bytes more are on their way.
    pub fn advance(&mut self, count: usize) {
        self.offset += count as u64;
        self.left = self.left.saturating_sub(count as u64);
    }

    /// Read the next bytes, at most `limit`; fewer only at the end of the file.
    ///
    /// # Errors
    ///
    /// What the file system says.
    pub fn read(&mut self, limit: usize) -> io::Result<Vec<u8>> {
        let wanted = usize::try_from(self.left).unwrap_or(limit).min(limit);
        let mut data = Vec::new();
        while data.len() < wanted {
            let left = wanted - data.len();
            let count = kernel::read_file(self.fd(), self.offset, &mut data, left)?;
            if count == 0 {
                break;
            }
            self.advance(count);
        }
        Ok(data)
    }
}

impl FileWrapper {
    /// From where to where the kernel can send the file itself; `None` if it has to be read.
    ///
    /// # Errors
    ///
    /// What the file's methods raise, but for what reading it would raise too.
    pub fn part(&self, py: Python<'_>) -> PyResult<Option<Part>> {
        match self.find_part(py) {
            Err(error)
                if error.is_instance_of::<PyOSError>(py)
                    || error.is_instance_of::<PyValueError>(py)
                    || error.is_instance_of::<PyAttributeError>(py) =>
            {
                Ok(None)
            }
            found => found,
        }
    }

    fn find_part(&self, py: Python<'_>) -> PyResult<Option<Part>> {
        let Some(file) = reader(self.file.bind(py))? else {
            return Ok(None);
        };
        if !file.call_method0(intern!(py, "readable"))?.is_truthy()? {
            return Ok(None);
        }
        let offset: u64 = file.call_method0(intern!(py, "tell"))?.extract()?;
        let number: RawFd = file.call_method0(intern!(py, "fileno"))?.extract()?;
        let fd = kernel::duplicate(number)?;
        // A size of 0 is also what files of /proc say, which have to be read.
        Ok(kernel::regular_size(fd.as_raw_fd())?
            .filter(|size| *size > offset)
            .map(|size| Part {
                fd,
                offset,
                left: size - offset,
            }))
    }

    /// The next block, as the file gives it.
    ///
    /// # Errors
    ///
    /// What the file raises.
    pub fn read<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.file
            .bind(py)
            .call_method1(intern!(py, "read"), (self.block_bytes,))
    }
}

/// The file that answers `file.read`, if it is one of Python's own: `file`, or what it stands for.
fn reader<'py>(file: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
    static RAW: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    static READER: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    static RANDOM: PyOnceLock<Py<PyType>> = PyOnceLock::new();
    let py = file.py();
    let read = file.getattr(intern!(py, "read"))?;
    if !read.is_exact_instance_of::<PyCFunction>() {
        return Ok(None);
    }
    let owner = read.getattr(intern!(py, "__self__"))?;
    let kind = owner.get_type();
    let raw = RAW.import(py, "io", "FileIO")?;
    if kind.is(raw) {
        return Ok(Some(owner));
    }
    let is_buffered = kind.is(READER.import(py, "io", "BufferedReader")?)
        || kind.is(RANDOM.import(py, "io", "BufferedRandom")?);
    Ok((is_buffered && owner.getattr(intern!(py, "raw"))?.get_type().is(raw)).then_some(owner))
}

#[pymethods]
impl FileWrapper {
    /// Wrap what has a `read(size)`; `blksize` is how much is asked of it at a time.
    #[new]
    #[pyo3(signature = (filelike, blksize=8192))]
    fn new(filelike: &Bound<'_, PyAny>, blksize: isize) -> PyResult<Self> {
        // Said here, where a traceback leads to the mistake.
        if !filelike.hasattr(intern!(filelike.py(), "read"))? {
            let name = python::type_name(filelike);
            let text = format!("wsgi.file_wrapper: a file has a read method, {name} has none");
            return Err(PyTypeError::new_err(text));
        }
        Ok(Self {
            file: filelike.clone().unbind(),
            block_bytes: blksize,
        })
    }

    fn __iter__(slf: PyRef<'_, Self>) -> PyRef<'_, Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        let block = self.read(py)?;
        Ok(block.is_truthy()?.then_some(block))
    }

    /// Close the file, if it can be closed.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        match self.file.bind(py).getattr_opt(intern!(py, "close"))? {
            Some(close) => close.call0().map(drop),
            None => Ok(()),
        }
    }

    // Frameworks that serve ranges move within the file, where they can.

    fn seekable<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        match self.file.bind(py).getattr_opt(intern!(py, "seekable"))? {
            Some(seekable) => seekable.call0(),
            None => Ok(pyo3::types::PyBool::new(py, false).to_owned().into_any()),
        }
    }

    #[pyo3(signature = (*args))]
    fn seek<'py>(
        &self,
        py: Python<'py>,
        args: &Bound<'py, pyo3::types::PyTuple>,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.file.bind(py).call_method1(intern!(py, "seek"), args)
    }

    fn tell<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        self.file.bind(py).call_method0(intern!(py, "tell"))
    }

    // The file may refer to the answer that holds this wrapper. There is nothing to clear in what
    // never changes: the cycle ends at the file.
    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.file)
    }
}
