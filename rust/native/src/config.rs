//! The settings of the engine, as plain values that never change.

use std::time::Duration;

use http1::Limits;

#[derive(Debug)]
pub struct Config {
    pub threads: usize,
    pub multiprocess: bool,
    pub keep_alive: Duration,
    pub head_timeout: Duration,
    pub body_timeout: Duration,
    pub send_timeout: Duration,
    pub limits: Limits,
    /// Bodies up to this size are complete and valid before the application is called.
    pub body_buffer: usize,
    pub trusted_uids: Vec<u32>,
    pub trusted_gids: Vec<u32>,
    /// Whether trusted peers handle a 103.
    pub early_hints: bool,
}

/// How much of what a peer has sent too much is read before its connection is closed or used again.
///
/// Enough for what is on its way when a request is refused: RFC 9112 9.6.
pub const DRAIN_BYTES: usize = 64 * 1024;

/// How long a peer may take to close after an answer that ends its connection.
pub const LINGER: Duration = Duration::from_secs(1);
