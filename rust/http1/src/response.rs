//! What an application may send: the checks that keep a response from breaking its own framing.

use std::error::Error;
use std::fmt;

use crate::framing::parse_length;
use crate::octets::{is_token, value_run};

pub use crate::framing::{ResponseFraming, response_framing as framing};

/// What an application's response does wrong.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ResponseError {
    /// Not three digits from 100 to 999, alone or followed by a space and a reason.
    Status,
    /// A field name that is not a token.
    FieldName,
    /// A field value with a control character other than the tab.
    FieldValue,
}

impl fmt::Display for ResponseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Status => "status is not three digits, a space and a reason",
            Self::FieldName => "header name is not a token",
            Self::FieldValue => "control character in a header value",
        })
    }
}

impl Error for ResponseError {}

/// Check that `name` is a token. RFC 9110 5.1.
///
/// # Errors
///
/// [`ResponseError::FieldName`]
#[inline]
pub fn check_field_name(name: &[u8]) -> Result<(), ResponseError> {
    if is_token(name) {
        Ok(())
    } else {
        Err(ResponseError::FieldName)
    }
}

/// Check that `value` stays inside its line. RFC 9110 5.5.
///
/// # Errors
///
/// [`ResponseError::FieldValue`]
#[inline]
pub fn check_field_value(value: &[u8]) -> Result<(), ResponseError> {
    if value_run(value) == value.len() {
        Ok(())
    } else {
        Err(ResponseError::FieldValue)
    }
}

/// Whether a field of this name is about the connection, which is the server's alone.
///
/// RFC 9110 7.6.1 and the two that RFC 2616 13.5.1 had besides; PEP 3333 forbids them to
/// applications.
#[must_use]
#[inline]
pub fn is_hop_by_hop(name: &[u8]) -> bool {
    let candidate: &[u8] = match name.len() {
        2 => b"te",
        7 if name[0] | 0x20 == b'u' => b"upgrade",
        7 => b"trailer",
        8 => b"trailers",
        10 if name[0] | 0x20 == b'k' => b"keep-alive",
        10 => b"connection",
        16 => b"proxy-connection",
        17 => b"transfer-encoding",
        18 => b"proxy-authenticate",
        19 => b"proxy-authorization",
        _ => return false,
    };
    name.eq_ignore_ascii_case(candidate)
}

/// The length that a `Content-Length` declares, if it is a plain decimal number.
#[must_use]
pub fn parse_content_length(value: &[u8]) -> Option<u64> {
    parse_length(value).ok()
}

/// The code and the reason of a status such as `200 OK`.
///
/// # Errors
///
/// [`ResponseError::Status`]
#[inline]
pub fn parse_status(status: &[u8]) -> Result<(u16, &[u8]), ResponseError> {
    let (code, reason) = match status {
        [
            hundreds @ b'1'..=b'9',
            tens @ b'0'..=b'9',
            ones @ b'0'..=b'9',
            rest @ ..,
        ] => (
            u16::from(hundreds - b'0') * 100 + u16::from(tens - b'0') * 10 + u16::from(ones - b'0'),
            rest,
        ),
        _ => return Err(ResponseError::Status),
    };
    match reason {
        [] => Ok((code, reason)),
        [b' ', reason @ ..] if check_field_value(reason).is_ok() => Ok((code, reason)),
        _ => Err(ResponseError::Status),
    }
}
