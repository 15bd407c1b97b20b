//! Who has connected, and whether what it says about its own client is believed.
//!
//! The kernel says who it is: the ids that the peer had when it connected. Its pid decides nothing.

use std::os::fd::RawFd;

use crate::config::Config;
use crate::kernel;

/// Whether the forwarded headers of the peer behind `fd` are believed.
///
/// A peer that the kernel tells nothing about is nobody.
pub fn is_trusted(fd: RawFd, config: &Config) -> bool {
    let Ok((uid, gid)) = kernel::peer_ids(fd) else {
        return false;
    };
    if config.trusted_uids.contains(&uid) {
        return true;
    }
    if config.trusted_gids.is_empty() {
        return false;
    }
    config.trusted_gids.contains(&gid)
        || kernel::peer_groups(fd)
            .is_ok_and(|groups| groups.iter().any(|gid| config.trusted_gids.contains(gid)))
}
