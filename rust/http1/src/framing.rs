//! Where a message ends: every rule by which a request or a response is framed.
//!
//! RFC 9112 6, with each freedom it leaves to a recipient taken on the side of refusal. Smuggling a
//! request past nginx or a log means that two readers disagree on the content of this file.
//! What is inside the chunked coding is in [`crate::chunked`].

use crate::error::FramingError;
use crate::head::Version;
use crate::octets::{is_token, trim};

/// How the body of a request is framed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum BodyFraming {
    /// No body, which is also what `Content-Length: 0` says.
    None,
    /// This many bytes, never 0.
    Length(u64),
    /// The chunked coding: see [`crate::ChunkedDecoder`].
    Chunked,
}

/// What the framing fields of a head have said so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct RequestFraming {
    length: Option<u64>,
    is_chunked: bool,
}

impl RequestFraming {
    /// Take the value of a `Content-Length`.
    pub(crate) fn content_length(
        &mut self,
        value: &[u8],
        body_limit: u64,
    ) -> Result<(), FramingError> {
        if self.length.is_some() {
            return Err(FramingError::Repeated);
        }
        if self.is_chunked {
            return Err(FramingError::BothLengthAndCoding);
        }
        let length = parse_length(value)?;
        if length > body_limit {
            return Err(FramingError::BodyTooLarge);
        }
        self.length = Some(length);
        Ok(())
    }

    /// Take the value of a `Transfer-Encoding`.
    pub(crate) fn transfer_encoding(
        &mut self,
        value: &[u8],
        version: Version,
    ) -> Result<(), FramingError> {
        if self.is_chunked {
            return Err(FramingError::Repeated);
        }
        if self.length.is_some() {
            return Err(FramingError::BothLengthAndCoding);
        }
        // RFC 9112 6.1: "MUST treat the message as if the framing is faulty".
        if version == Version::Http10 {
            return Err(FramingError::CodingInHttp10);
        }
        check_codings(value)?;
        self.is_chunked = true;
        Ok(())
    }

    /// How the body is framed, once all fields have been seen.
    pub(crate) fn body(self) -> BodyFraming {
        match self.length {
            None if self.is_chunked => BodyFraming::Chunked,
            // RFC 9112 6.3: without either field a request has no body.
            None | Some(0) => BodyFraming::None,
            Some(length) => BodyFraming::Length(length),
        }
    }
}

/// The value of a `Content-Length`: decimal digits, RFC 9110 8.6.
///
/// Departures from the grammar `1*DIGIT`: no leading zeros, which some read as octal, and no list
/// of equal values. More than 19 digits are more than any limit.
pub(crate) fn parse_length(value: &[u8]) -> Result<u64, FramingError> {
    let is_plain = match value {
        [] => false,
        [first, rest @ ..] => {
            value.iter().all(u8::is_ascii_digit) && (*first != b'0' || rest.is_empty())
        }
    };
    if !is_plain {
        return Err(FramingError::Length);
    }
    if value.len() > 19 {
        return Err(FramingError::BodyTooLarge);
    }
    Ok(value
        .iter()
        .fold(0, |length, digit| length * 10 + u64::from(digit - b'0')))
}

/// Accept exactly `chunked`, in any case.
///
/// # Errors
///
/// `Coding` for what is no list of codings and for lists in which `chunked` is not the last member,
/// or not the only one of its name (RFC 9112 6.3: the body's end cannot be told), or has
/// parameters; `UnsupportedCoding` for other codings.
fn check_codings(value: &[u8]) -> Result<(), FramingError> {
    if value.eq_ignore_ascii_case(b"chunked") {
        return Ok(());
    }
    let mut chunked = 0;
    let mut ends_in_chunked = false;
    for member in value.split(|&byte| byte == b',') {
        let has_parameters = member.contains(&b';');
        let name = trim(member.split(|&byte| byte == b';').next().unwrap_or(member));
        ends_in_chunked = name.eq_ignore_ascii_case(b"chunked");
        chunked += u32::from(ends_in_chunked);
        if !is_token(name) || ends_in_chunked && has_parameters {
            return Err(FramingError::Coding);
        }
    }
    if chunked > 1 || chunked == 1 && !ends_in_chunked {
        return Err(FramingError::Coding);
    }
    Err(FramingError::UnsupportedCoding)
}

/// How the body of a response is framed.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ResponseFraming {
    /// Nothing after the head, whatever `Content-Length` it may have.
    NoBody,
    /// Exactly this many bytes.
    Length(u64),
    /// The chunked coding.
    Chunked,
    /// All bytes until the connection closes.
    UntilClose,
}

/// How to frame the body of a response with this status to a request of this version, given the
/// length that the application declared. RFC 9112 6.3.
#[must_use]
pub fn response_framing(
    status: u16,
    request_is_head: bool,
    version: Version,
    declared: Option<u64>,
) -> ResponseFraming {
    match (status, declared) {
        (100..=199 | 204 | 304, _) => ResponseFraming::NoBody,
        _ if request_is_head => ResponseFraming::NoBody,
        // RFC 9110 15.3.6: no content, but framed like a response that could have some.
        (205, _) => ResponseFraming::Length(0),
        (_, Some(length)) => ResponseFraming::Length(length),
        (_, None) if version == Version::Http11 => ResponseFraming::Chunked,
        (_, None) => ResponseFraming::UntilClose,
    }
}
