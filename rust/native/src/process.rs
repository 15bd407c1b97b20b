//! The sandbox crate's calls as functions of the module.

use pyo3::prelude::*;

/// Make set-user-id files and file capabilities inert.
#[pyfunction]
fn no_new_privileges() -> PyResult<()> {
    Ok(sandbox::no_new_privileges()?)
}

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

/// Add this file's functions to `module`.
///
/// # Errors
/// The interpreter is out of memory.
pub fn register(module: &Bound<'_, PyModule>) -> PyResult<()> {
    module.add_function(wrap_pyfunction!(no_new_privileges, module)?)?;
    module.add_function(wrap_pyfunction!(not_dumpable, module)?)?;
    module.add_function(wrap_pyfunction!(child_subreaper, module)?)?;
    module.add_function(wrap_pyfunction!(die_with_parent, module)?)
}
