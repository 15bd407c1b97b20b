//! The sandbox crate's calls as functions of the module.

use std::io::{Error, ErrorKind};
use std::path::PathBuf;

use pyo3::exceptions::{PyOSError, PyValueError};
use pyo3::prelude::*;
use sandbox::{Comparison, Condition, Denial, Grant};

/// Keep other processes of the same user out of this one's memory.
#[pyfunction]
fn not_dumpable() -> PyResult<()> {
    Ok(sandbox::not_dumpable()?)
}

/// Be the parent of every orphan among the descendants.
#[pyfunction]
fn child_subreaper() -> PyResult<()> {
    Ok(sandbox::child_subreaper()?)
}

/// Die when the thread that forked this process ends.
#[pyfunction]
fn die_with_parent() -> PyResult<()> {
    Ok(sandbox::die_with_parent()?)
}

/// Take every right on files but those given, and what else Landlock knows; return the kernel's ABI.
#[pyfunction]
#[pyo3(signature = (grants, *, connect_tcp))]
fn restrict(grants: Vec<(PathBuf, Vec<String>)>, connect_tcp: bool) -> PyResult<i32> {
    let grants: Vec<_> = grants
        .into_iter()
        .map(|(path, rights)| Grant { path, rights })
        .collect();
    sandbox::restrict(&grants, connect_tcp).map_err(mistake_or_refusal)
}

/// Tell a policy that says nonsense from a kernel that refuses.
#[allow(
    clippy::needless_pass_by_value,
    reason = "it is what `map_err` hands over"
)]
fn mistake_or_refusal(error: Error) -> PyErr {
    match error.raw_os_error() {
        Some(number) => PyOSError::new_err((number, error.to_string())),
        None if error.kind() == ErrorKind::InvalidInput => PyValueError::new_err(error.to_string()),
        None => error.into(),
    }
}

/// Argument, comparison, value.
#[derive(FromPyObject)]
struct PyCondition(u8, String, u32);

/// Name, errno, conditions.
#[derive(FromPyObject)]
struct PyDenial(String, u32, Vec<PyCondition>);

/// Let system calls fail from now on; return how many filters that took.
#[pyfunction]
fn deny(denials: Vec<PyDenial>, first_unknown: u32) -> PyResult<usize> {
    let denials = denials
        .into_iter()
        .map(|PyDenial(call, errno, when)| {
            let when = when.into_iter().map(condition).collect::<PyResult<_>>()?;
            Ok(Denial { call, errno, when })
        })
        .collect::<PyResult<Vec<_>>>()?;
    sandbox::deny(&denials, first_unknown).map_err(mistake_or_refusal)
}

fn condition(PyCondition(argument, word, value): PyCondition) -> PyResult<Condition> {
    let comparison = match word.as_str() {
        "==" => Comparison::Equal,
        "!=" => Comparison::NotEqual,
        "has" => Comparison::HasBits,
        other => return Err(PyValueError::new_err(format!("no comparison {other:?}"))),
    };
    Ok(Condition {
        argument,
        comparison,
        value,
    })
}

/// Add this file's functions to `module`.
///
/// # Errors
/// The interpreter is out of memory.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(not_dumpable, module)?)?;
    module.add_function(wrap_pyfunction!(child_subreaper, module)?)?;
    module.add_function(wrap_pyfunction!(die_with_parent, module)?)?;
    module.add_function(wrap_pyfunction!(restrict, module)?)?;
    module.add_function(wrap_pyfunction!(deny, module)?)
}
