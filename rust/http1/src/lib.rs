//! HTTP/1 as bytes and values: what a request is, where it ends, and what a response may say.
//!
//! Runs as: the app's user, in a worker. No I/O, no Python, no `unsafe` of its own.
//!
//! The rule it keeps: anything on which two parsers could differ is refused (RFC 9110, RFC 9112).
//! Incomplete input is a value ([`Progress::Partial`]), not an error, and where a message was cut
//! into pieces on its way never changes what it means.

#![forbid(unsafe_code)]

mod chunked;
mod error;
mod field;
mod framing;
mod head;
mod limits;
mod octets;
pub mod response;
mod target;

pub use chunked::{ChunkedDecoder, Decoded};
pub use error::{FieldError, FramingError, ParseError};
pub use framing::BodyFraming;
pub use head::{Field, Head, HeadParser, Progress, Span, Version};
pub use limits::Limits;
pub use target::{percent_decode, split_host};
