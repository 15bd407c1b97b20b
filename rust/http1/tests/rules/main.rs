//! The rules of HTTP/1 as tables: bytes, what they mean, and where that is written.

mod chunked;
mod connection;
mod framing;
mod heads;
mod properties;
mod responses;
mod targets;
mod vectors;
