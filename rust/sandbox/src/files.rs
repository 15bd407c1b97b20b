//! Landlock: what the process may do with files, ports and its neighbours.

use std::io;
use std::path::PathBuf;

use landlock::{
    ABI, Access, AccessFs, AccessNet, BitFlags, CompatLevel, Compatible, LandlockStatus,
    PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreatedAttr, RulesetError, Scope,
};

/// The rights that this crate asks for: those of the newest ABI that was read and understood.
///
/// A kernel that knows fewer enforces fewer, and `restrict` says which ABI it was.
const UNDERSTOOD: ABI = ABI::V9;

/// The name of a right as the kernel's header has it, in lower case and without the prefix.
///
/// Source: landlock(7), `LANDLOCK_ACCESS_FS_*`.
fn right(name: &str) -> Option<AccessFs> {
    Some(match name {
        "execute" => AccessFs::Execute,
        "write_file" => AccessFs::WriteFile,
        "read_file" => AccessFs::ReadFile,
        "read_dir" => AccessFs::ReadDir,
        "remove_dir" => AccessFs::RemoveDir,
        "remove_file" => AccessFs::RemoveFile,
        "make_dir" => AccessFs::MakeDir,
        "make_reg" => AccessFs::MakeReg,
        "make_sock" => AccessFs::MakeSock,
        "make_fifo" => AccessFs::MakeFifo,
        "make_sym" => AccessFs::MakeSym,
        "refer" => AccessFs::Refer,
        "truncate" => AccessFs::Truncate,
        "ioctl_dev" => AccessFs::IoctlDev,
        "resolve_unix" => AccessFs::ResolveUnix,
        _ => return None,
    })
}

/// A path, and the names of the rights that hold there and below.
pub struct Grant {
    pub path: PathBuf,
    pub rights: Vec<String>,
}

/// Take from the calling thread, and from all that it starts, every right on files but `grants`, the
/// right to bind TCP ports (without `connect_tcp`, to connect to them too), and the right to signal and
/// to reach by abstract socket whatever is not below this restriction.
///
/// For a process that can gain no privileges, `PR_SET_NO_NEW_PRIVS`. Returns the ABI of the kernel, 0 where it has no Landlock; what an ABI lacks is not enforced. Paths
/// that don't exist or can't be reached are left out. Source: landlock(7).
///
/// # Errors
/// `InvalidInput` when a right has an unknown name; or the kernel refused.
pub fn restrict(grants: &[Grant], connect_tcp: bool) -> io::Result<i32> {
    let mut ports = BitFlags::from(AccessNet::BindTcp);
    if !connect_tcp {
        ports |= AccessNet::ConnectTcp;
    }
    let mut rules: Vec<Result<_, RulesetError>> = Vec::with_capacity(grants.len());
    for grant in grants {
        let mut rights = BitFlags::<AccessFs>::EMPTY;
        for name in &grant.rights {
            rights |= right(name).ok_or_else(|| {
                io::Error::new(io::ErrorKind::InvalidInput, format!("no right {name:?}"))
            })?;
        }
        if let Ok(fd) = PathFd::new(&grant.path) {
            rules.push(Ok(PathBeneath::new(fd, rights)));
        }
    }
    let enforce = || -> Result<LandlockStatus, RulesetError> {
        let restricted = Ruleset::default()
            .set_compatibility(CompatLevel::BestEffort)
            .handle_access(AccessFs::from_all(UNDERSTOOD))?
            .handle_access(ports)?
            .scope(Scope::from_all(UNDERSTOOD))?
            .create()?
            .add_rules(rules)?
            .no_new_privs(false)
            .restrict_self()?;
        Ok(restricted.landlock)
    };
    match enforce().map_err(io::Error::other)? {
        LandlockStatus::Available {
            effective_abi,
            kernel_abi,
        } => Ok(kernel_abi.unwrap_or(effective_abi as i32)),
        LandlockStatus::NotEnabled | LandlockStatus::NotImplemented => Ok(0),
    }
}
