//! The chunked coding of a request's body. RFC 9112 7.1.

use std::ops::Range;

use crate::error::FramingError;
use crate::field::{self, Line, Room};
use crate::limits::Limits;
use crate::octets::{QUOTED, TOKEN, VALUE, is};
use crate::target::hex;

/// Bytes of extensions in one body, semicolons included.
const EXTENSIONS_MAX: usize = 1024;

/// Hexadecimal digits of a chunk size; more would not fit 64 bits.
const SIZE_DIGITS_MAX: u32 = 16;

/// Fields that must not come after the body, because they say how to treat the message or who sent
/// it. RFC 9110 6.5.1, with the list that RFC 7230 4.1.2 gives.
const FORBIDDEN_TRAILERS: [&[u8]; 37] = [
    b"age",
    b"authorization",
    b"cache-control",
    b"connection",
    b"content-encoding",
    b"content-length",
    b"content-range",
    b"content-type",
    b"cookie",
    b"date",
    b"expect",
    b"expires",
    b"forwarded",
    b"host",
    b"if-match",
    b"if-modified-since",
    b"if-none-match",
    b"if-range",
    b"if-unmodified-since",
    b"keep-alive",
    b"location",
    b"max-forwards",
    b"pragma",
    b"proxy-authenticate",
    b"proxy-authorization",
    b"proxy-connection",
    b"range",
    b"retry-after",
    b"set-cookie",
    b"te",
    b"trailer",
    b"transfer-encoding",
    b"upgrade",
    b"vary",
    b"via",
    b"warning",
    b"www-authenticate",
];

/// What [`ChunkedDecoder::decode`] found at the start of its input.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Decoded {
    /// How much of the input is done with, the data included.
    pub consumed: usize,
    /// Where in the input data of the body stands; empty when there is none.
    pub data: Range<usize>,
    /// The body and its trailers are complete; what follows belongs to the next request.
    pub done: bool,
}

/// What the next byte is part of.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum State {
    SizeStart,
    Size,
    ExtensionNameStart,
    ExtensionName,
    ExtensionValueStart,
    ExtensionToken,
    ExtensionQuoted,
    ExtensionEscape,
    ExtensionQuotedEnd,
    SizeLf,
    Data,
    DataCr,
    DataLf,
    Trailers,
    Done,
}

/// The decoder of one body.
#[derive(Clone, Debug)]
pub struct ChunkedDecoder {
    state: State,
    size_digits: u32,
    /// Bytes of the current chunk that have not come yet.
    chunk_left: u64,
    body_left: u64,
    extensions_left: usize,
    trailers: Room,
}

impl ChunkedDecoder {
    /// A decoder for a body that is about to start.
    #[must_use]
    pub fn new(limits: &Limits) -> Self {
        Self {
            state: State::SizeStart,
            size_digits: 0,
            chunk_left: 0,
            body_left: limits.body,
            extensions_left: EXTENSIONS_MAX,
            trailers: Room {
                fields: limits.fields,
                field_size: limits.field_size,
                bytes: limits.head,
            },
        }
    }

    /// Decode the start of `input`, which follows what earlier calls consumed.
    ///
    /// Returns with the first run of data. When nothing was consumed and the body is not done, more
    /// input is needed: only a trailer line that has no end yet stays unconsumed, so that a buffer
    /// of the field limit and two bytes is always enough. Trailers are checked and dropped.
    ///
    /// # Errors
    ///
    /// As early as the bytes say for certain that the body is malformed or beyond a limit. The
    /// decoder must not be used again then.
    pub fn decode(&mut self, input: &[u8]) -> Result<Decoded, FramingError> {
        let mut at = 0;
        loop {
            match self.state {
                State::Data => {
                    let data = at..at + self.take_data(input.len() - at);
                    if data.is_empty() {
                        break;
                    }
                    return Ok(Decoded {
                        consumed: data.end,
                        data,
                        done: false,
                    });
                }
                State::Trailers => {
                    let len = self.take_trailer(&input[at..])?;
                    if len == 0 {
                        break;
                    }
                    at += len;
                }
                State::Done => break,
                _ => {
                    let Some(&byte) = input.get(at) else { break };
                    self.state = self.after(byte)?;
                    at += 1;
                }
            }
        }
        Ok(Decoded {
            consumed: at,
            data: at..at,
            done: self.state == State::Done,
        })
    }

    /// How many of `available` bytes are the current chunk's, which are taken as seen.
    fn take_data(&mut self, available: usize) -> usize {
        let len = usize::try_from(self.chunk_left).map_or(available, |left| left.min(available));
        self.chunk_left -= len as u64;
        if self.chunk_left == 0 {
            self.state = State::DataCr;
        }
        len
    }

    /// The length of the complete trailer line at the start of `input`, 0 when it has no end yet.
    fn take_trailer(&mut self, input: &[u8]) -> Result<usize, FramingError> {
        match field::next_line(input, self.trailers).map_err(FramingError::Trailer)? {
            Line::Incomplete => Ok(0),
            Line::Blank => {
                self.state = State::Done;
                Ok(2)
            }
            Line::Field(line) => {
                let name = &input[..line.name_end];
                let is_forbidden = |forbidden: &&[u8]| name.eq_ignore_ascii_case(forbidden);
                if FORBIDDEN_TRAILERS.iter().any(is_forbidden) {
                    return Err(FramingError::ForbiddenTrailer);
                }
                self.trailers.fields -= 1;
                self.trailers.bytes -= line.len;
                Ok(line.len)
            }
        }
    }

    /// The state after `byte`, which is part of the coding and not of the data.
    ///
    /// No white space anywhere: RFC 9112 7.1.1 lets recipients read "bad" white space in
    /// extensions, and requests were smuggled through the difference.
    fn after(&mut self, byte: u8) -> Result<State, FramingError> {
        match (self.state, byte) {
            (State::SizeStart | State::Size, b'0'..=b'9' | b'a'..=b'f' | b'A'..=b'F') => {
                self.add_size_digit(byte)
            }
            (
                State::Size
                | State::ExtensionName
                | State::ExtensionToken
                | State::ExtensionQuotedEnd,
                b'\r',
            ) => Ok(State::SizeLf),
            (State::SizeLf, b'\n') => {
                self.size_digits = 0;
                self.body_left -= self.chunk_left;
                if self.chunk_left == 0 {
                    Ok(State::Trailers)
                } else {
                    Ok(State::Data)
                }
            }
            (State::DataCr, b'\r') => Ok(State::DataLf),
            (State::DataLf, b'\n') => Ok(State::SizeStart),
            (State::DataCr | State::DataLf, _) => Err(FramingError::ChunkEnd),
            (State::Size, b';') => self.extend(State::ExtensionNameStart),
            (State::SizeStart | State::Size | State::SizeLf, _) => Err(FramingError::ChunkSize),
            (state, _) => {
                let next = extension_after(state, byte).ok_or(FramingError::ChunkExtension)?;
                self.extend(next)
            }
        }
    }

    fn add_size_digit(&mut self, digit: u8) -> Result<State, FramingError> {
        self.size_digits += 1;
        if self.size_digits > SIZE_DIGITS_MAX {
            return Err(FramingError::ChunkSize);
        }
        self.chunk_left = self.chunk_left << 4 | u64::from(hex(digit).unwrap_or(0));
        if self.chunk_left > self.body_left {
            return Err(FramingError::BodyTooLarge);
        }
        Ok(State::Size)
    }

    /// Count a byte of extensions.
    fn extend(&mut self, next: State) -> Result<State, FramingError> {
        self.extensions_left = self
            .extensions_left
            .checked_sub(1)
            .ok_or(FramingError::ChunkExtensionsTooLarge)?;
        Ok(next)
    }
}

/// The state after `byte` of an extension: `*( ";" token [ "=" ( token / quoted-string ) ] )`.
fn extension_after(state: State, byte: u8) -> Option<State> {
    match (state, byte) {
        (State::ExtensionName | State::ExtensionToken | State::ExtensionQuotedEnd, b';') => {
            Some(State::ExtensionNameStart)
        }
        (State::ExtensionName, b'=') => Some(State::ExtensionValueStart),
        (State::ExtensionValueStart, b'"') => Some(State::ExtensionQuoted),
        (State::ExtensionNameStart | State::ExtensionName, _) if is(byte, TOKEN) => {
            Some(State::ExtensionName)
        }
        (State::ExtensionValueStart | State::ExtensionToken, _) if is(byte, TOKEN) => {
            Some(State::ExtensionToken)
        }
        (State::ExtensionQuoted, b'"') => Some(State::ExtensionQuotedEnd),
        (State::ExtensionQuoted, b'\\') => Some(State::ExtensionEscape),
        (State::ExtensionQuoted, _) if is(byte, QUOTED) => Some(State::ExtensionQuoted),
        (State::ExtensionEscape, _) if is(byte, VALUE) => Some(State::ExtensionQuoted),
        _ => None,
    }
}
