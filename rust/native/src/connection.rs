//! One connection and what is happening on it.

use std::os::fd::OwnedFd;

use http1::HeadParser;
use pyo3::Py;
use pyo3::types::PyBytes;

use crate::body::Incoming;
use crate::file::Part;

#[derive(Debug)]
pub struct Connection {
    pub fd: OwnedFd,
    /// Whether the forwarded headers of this peer are believed.
    pub is_trusted: bool,
    /// Whether it has had an answer, so that its peer knows it as one to use again.
    pub is_used: bool,
    pub phase: Phase,
}

/// What a connection that nobody owns is waiting for.
///
/// A connection between two requests holds no buffer.
#[derive(Debug)]
pub enum Phase {
    /// The first byte of a request.
    Idle,
    /// Nothing: these bytes are read and nobody has looked at them yet.
    Held(Vec<u8>),
    /// The rest of a head or of a body.
    Receiving(Box<Receiving>),
    /// Room for the rest of an answer.
    Sending(Box<Sending>),
    /// The rest of a body that the application did not read; then comes the next request.
    Discarding(Box<Discarding>),
    /// The peer's end, after an answer that ends the connection. At most so many bytes are read.
    Lingering { left: usize },
}

#[derive(Debug)]
pub struct Receiving {
    /// The head as far as it has come; nothing else once `body` is there.
    pub buf: Vec<u8>,
    pub parser: HeadParser,
    pub body: Option<Incoming>,
}

/// The rest of an answer that is complete but for its sending.
#[derive(Debug)]
pub struct Sending {
    pub remainder: Remainder,
    /// What was read behind the request and is not looked at before the answer is sent.
    pub leftover: Vec<u8>,
    pub then: Then,
    /// Whether room for sending makes an event.
    pub is_watched: bool,
}

#[derive(Debug)]
pub struct Remainder {
    pub bytes: Vec<u8>,
    /// Comes after `bytes`.
    pub body: Option<Py<PyBytes>>,
    /// How much of both is sent.
    pub sent: usize,
    /// Comes after both.
    pub file: Option<FileBody>,
}

/// The body of an answer that is in a file.
#[derive(Debug)]
pub struct FileBody {
    pub part: Part,
    /// What the head says.
    pub length: u64,
    /// The request as it is named in the log.
    pub place: String,
}

#[derive(Debug)]
pub struct Discarding {
    pub body: Incoming,
    pub left: usize,
}

/// What follows an answer.
#[derive(Debug)]
pub enum Then {
    NextRequest,
    Discard(Box<Discarding>),
    /// Half-close and read to the end, because closing with bytes unread would take the answer back.
    Linger,
    Close,
}

impl Connection {
    pub fn new(fd: OwnedFd, is_trusted: bool) -> Self {
        Self {
            fd,
            is_trusted,
            is_used: false,
            phase: Phase::Idle,
        }
    }
}
