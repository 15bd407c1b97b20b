//! What an unprivileged process can give up for good: prctl, Landlock, seccomp.
//!
//! Runs as: the application's user. Every function acts on the calling process. What is given up stands
//! in `udsrv/sandbox/policy.py`; nothing here decides.

mod calls;
mod files;
mod numbers;

use std::io;

pub use calls::{Comparison, Condition, Denial, deny};
pub use files::{Grant, restrict};

fn prctl(option: libc::c_int, argument: libc::c_ulong) -> io::Result<()> {
    let unused: libc::c_ulong = 0;
    // SAFETY: prctl with these options reads integers only.
    let result = unsafe { libc::prctl(option, argument, unused, unused, unused) };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(())
}

/// Keep other processes of the same user out of this one's memory, and its core off the disk.
///
/// Source: prctl(2), `PR_SET_DUMPABLE`. exec sets it back.
///
/// # Errors
/// The kernel refused.
pub fn not_dumpable() -> io::Result<()> {
    prctl(libc::PR_SET_DUMPABLE, 0)
}

/// Be the parent of every orphan among the descendants.
///
/// Source: prctl(2), `PR_SET_CHILD_SUBREAPER`.
///
/// # Errors
/// The kernel refused.
pub fn child_subreaper() -> io::Result<()> {
    prctl(libc::PR_SET_CHILD_SUBREAPER, 1)
}

/// Die when the thread that forked this process ends. The caller must check its parent afterwards.
///
/// Source: prctl(2), `PR_SET_PDEATHSIG`. Cleared by fork and by a change of ids.
///
/// # Errors
/// The kernel refused.
pub fn die_with_parent() -> io::Result<()> {
    prctl(
        libc::PR_SET_PDEATHSIG,
        libc::c_ulong::from(libc::SIGKILL.unsigned_abs()),
    )
}
