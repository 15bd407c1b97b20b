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
    /// After so many requests the worker is told; 0 never are.
    pub max_requests: u64,
}

/// How much of a body that the application did not want is read so that the connection can go on.
pub const DRAIN_BYTES: usize = 64 * 1024;

/// How much is read after an answer that ends the connection: RFC 9112 9.6.
///
/// What nginx lets a client send by default. A peer that writes without reading gets it all off its
/// hands and then sees the answer; from here on its writes wait until `LINGER` is over.
pub const LINGER_BYTES: usize = 1024 * 1024;

/// How long a peer may take to close after an answer that ends its connection.
pub const LINGER: Duration = Duration::from_secs(1);
