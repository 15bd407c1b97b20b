//! How much a peer may send before it is refused.

/// The limits of one request. The defaults are the settings' (`config/model.py`), not this crate's.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Limits {
    /// Bytes of the request line without its CRLF; more is 414.
    pub request_line: usize,
    /// Field lines of a head, dropped ones included; more is 431. Trailers have as many again.
    pub fields: usize,
    /// Bytes of one field line without its CRLF; more is 431.
    pub field_size: usize,
    /// Bytes of the whole head, the blank line included; more is 431. Also the trailers' limit.
    pub head: usize,
    /// Bytes of the decoded body; more is 413.
    pub body: u64,
}
