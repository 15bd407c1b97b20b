//! The bytes of an answer: what the application may say in it, and what we add.
//!
//! `Connection`, `Content-Length` and `Transfer-Encoding` are ours alone: the application's length is
//! taken as a claim about its body, checked, and written again by us.

use std::fmt;

use http1::response::{self as rules, ResponseFraming};
use http1::{ParseError, Version};

use crate::date::Date;

/// What an application does wrong in its answer.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Mistake {
    Status,
    FieldName,
    /// The value of this field.
    FieldValue(String),
    /// A field that belongs to the connection, which is not the application's.
    HopByHop(String),
    /// `Content-Length` is no decimal number.
    Length,
    /// Two `Content-Length`.
    SecondLength,
    /// `Content-Length` in early hints, which have no body.
    LengthOfHints,
    /// More body than it declared.
    TooLong {
        declared: u64,
    },
    /// Less body than it declared.
    TooShort {
        declared: u64,
        sent: u64,
    },
    /// No `start_response` before the first part of the body.
    NotStarted,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Status => f.write_str(
                "the status is three digits from 200 to 999, alone or with a space and a reason \
                 without control characters",
            ),
            Self::FieldName => f.write_str("a header's name is not a token"),
            Self::FieldValue(name) => write!(f, "control character in the value of {name}"),
            Self::HopByHop(name) => {
                write!(f, "{name} is the server's, not the application's")
            }
            Self::Length => f.write_str("Content-Length is not a decimal number"),
            Self::SecondLength => f.write_str("Content-Length twice"),
            Self::LengthOfHints => f.write_str("Content-Length is for the answer that follows"),
            Self::TooLong { declared } => write!(
                f,
                "the application's body is longer than its Content-Length of {declared}"
            ),
            Self::TooShort { declared, sent } => write!(
                f,
                "the application's body ended after {sent} bytes, its Content-Length is {declared}"
            ),
            Self::NotStarted => {
                f.write_str("the application returned a body without calling start_response")
            }
        }
    }
}

/// A head as the application gave it, rendered but for what we add.
#[derive(Debug, Default)]
pub struct Answer {
    /// The status line and the fields so far; nothing before `start`.
    pub out: Vec<u8>,
    pub status: u16,
    /// The application's `Content-Length`.
    pub declared: Option<u64>,
    has_date: bool,
    has_server: bool,
    date: Date,
}

impl Answer {
    /// Begin with an empty head; the memory is kept.
    pub fn clear(&mut self) {
        self.out.clear();
        self.declared = None;
        self.has_date = false;
        self.has_server = false;
    }

    /// # Errors
    ///
    /// [`Mistake::Status`]; also for 1xx, which is no final answer (RFC 9110 15.2).
    pub fn start(&mut self, status: &[u8]) -> Result<(), Mistake> {
        self.clear();
        let (code, reason) = rules::parse_status(status).map_err(|_| Mistake::Status)?;
        if code < 200 {
            return Err(Mistake::Status);
        }
        self.status = code;
        self.out.extend_from_slice(b"HTTP/1.1 ");
        // Its code, as it has been given.
        self.out.extend_from_slice(&status[..3]);
        self.out.push(b' ');
        self.out.extend_from_slice(reason);
        self.out.extend_from_slice(b"\r\n");
        Ok(())
    }

    /// Begin an interim answer, which is sent as it is: RFC 8297.
    pub fn start_hints(&mut self) {
        self.clear();
        self.out.extend_from_slice(b"HTTP/1.1 103 Early Hints\r\n");
    }

    /// End an interim answer.
    ///
    /// # Errors
    ///
    /// [`Mistake::LengthOfHints`]
    pub fn finish_hints(&mut self) -> Result<(), Mistake> {
        if self.declared.is_some() {
            return Err(Mistake::LengthOfHints);
        }
        self.out.extend_from_slice(b"\r\n");
        Ok(())
    }

    /// # Errors
    ///
    /// The field is not one that an application may send.
    #[inline]
    pub fn field(&mut self, name: &[u8], value: &[u8]) -> Result<(), Mistake> {
        rules::check_field_name(name).map_err(|_| Mistake::FieldName)?;
        rules::check_field_value(value).map_err(|_| Mistake::FieldValue(text(name)))?;
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"date") => self.has_date = true,
            6 if name.eq_ignore_ascii_case(b"server") => self.has_server = true,
            14 if name.eq_ignore_ascii_case(b"content-length") => return self.length(value),
            _ if rules::is_hop_by_hop(name) => return Err(Mistake::HopByHop(text(name))),
            _ => {}
        }
        self.out.extend_from_slice(name);
        self.out.extend_from_slice(b": ");
        self.out.extend_from_slice(value);
        self.out.extend_from_slice(b"\r\n");
        Ok(())
    }

    fn length(&mut self, value: &[u8]) -> Result<(), Mistake> {
        if self.declared.is_some() {
            return Err(Mistake::SecondLength);
        }
        self.declared = Some(rules::parse_content_length(value).ok_or(Mistake::Length)?);
        Ok(())
    }

    /// Add what is ours and the blank line.
    ///
    /// `length` is what `Content-Length` says; only a body that has one of its own is framed by it.
    pub fn finish(
        &mut self,
        framing: ResponseFraming,
        length: Option<u64>,
        version: Version,
        keep_alive: bool,
    ) {
        let out = &mut self.out;
        if !self.has_server {
            out.extend_from_slice(b"Server: udsrv\r\n");
        }
        if !self.has_date {
            out.extend_from_slice(b"Date: ");
            out.extend_from_slice(self.date.now());
            out.extend_from_slice(b"\r\n");
        }
        match (framing, length) {
            (ResponseFraming::Chunked, _) => {
                out.extend_from_slice(b"Transfer-Encoding: chunked\r\n");
            }
            // RFC 9110 8.6: none with 204. HEAD and 304 say what the other answer would have had.
            (ResponseFraming::NoBody, _) if self.status == 204 => {}
            (ResponseFraming::Length(length), _) | (ResponseFraming::NoBody, Some(length)) => {
                out.extend_from_slice(b"Content-Length: ");
                push_decimal(out, length);
                out.extend_from_slice(b"\r\n");
            }
            (ResponseFraming::NoBody | ResponseFraming::UntilClose, _) => {}
        }
        match (version, keep_alive) {
            (Version::Http11, true) => {}
            (Version::Http10, true) => out.extend_from_slice(b"Connection: keep-alive\r\n"),
            (_, false) => out.extend_from_slice(b"Connection: close\r\n"),
        }
        out.extend_from_slice(b"\r\n");
    }
}

fn text(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}

/// The answer of the server itself: a status and its name as text, and the end of the connection.
pub fn refusal(status: u16) -> Vec<u8> {
    let reason = reason(status);
    let mut answer = Answer {
        status,
        ..Answer::default()
    };
    answer.out.extend_from_slice(b"HTTP/1.1 ");
    push_decimal(&mut answer.out, u64::from(status));
    answer.out.push(b' ');
    answer.out.extend_from_slice(reason.as_bytes());
    answer
        .out
        .extend_from_slice(b"\r\nContent-Type: text/plain\r\n");
    let length = reason.len() as u64 + 1;
    let framing = ResponseFraming::Length(length);
    answer.finish(framing, Some(length), Version::Http11, false);
    answer.out.extend_from_slice(reason.as_bytes());
    answer.out.push(b'\n');
    answer.out
}

/// The name of a status that the server itself answers with (RFC 9110 15, RFC 6585).
pub fn reason(status: u16) -> &'static str {
    match status {
        400 => "Bad Request",
        408 => "Request Timeout",
        411 => "Length Required",
        413 => "Content Too Large",
        414 => "URI Too Long",
        417 => "Expectation Failed",
        431 => "Request Header Fields Too Large",
        500 => "Internal Server Error",
        501 => "Not Implemented",
        503 => "Service Unavailable",
        505 => "HTTP Version Not Supported",
        _ => "Error",
    }
}

/// Why a request was refused, for the log.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Refusal {
    Head(ParseError),
    Body(http1::FramingError),
    HeadTimeout,
    BodyTimeout,
    /// The peer ended the body before its end.
    BodyCut,
}

impl Refusal {
    pub fn status(self) -> u16 {
        match self {
            Self::Head(error) => error.status(),
            Self::Body(error) => error.status(),
            Self::HeadTimeout | Self::BodyTimeout => 408,
            Self::BodyCut => 400,
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Head(error) => error.fmt(f),
            Self::Body(error) => error.fmt(f),
            Self::HeadTimeout => f.write_str("the head did not come in time"),
            Self::BodyTimeout => f.write_str("the body did not come in time"),
            Self::BodyCut => f.write_str("the connection ended within the body"),
        }
    }
}

/// Append `value` in decimal.
fn push_decimal(out: &mut Vec<u8>, value: u64) {
    out.extend_from_slice(itoa::Buffer::new().format(value).as_bytes());
}

/// Append `value` in hexadecimal, as a chunk's size.
pub fn push_hex(out: &mut Vec<u8>, value: u64) {
    let digits = (64 - value.leading_zeros()).div_ceil(4).max(1);
    for digit in (0..digits).rev() {
        let nibble = usize::try_from(value >> (4 * digit) & 15).unwrap_or(0);
        out.push(b"0123456789abcdef"[nibble]);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(status: &[u8], fields: &[(&str, &str)]) -> Result<Answer, Mistake> {
        let mut answer = Answer::default();
        answer.start(status)?;
        for (name, value) in fields {
            answer.field(name.as_bytes(), value.as_bytes())?;
        }
        Ok(answer)
    }

    #[test]
    fn numbers_are_written_whole() {
        for value in [0, 9, 10, 15, 16, 255, 4096, 65_535, u64::MAX] {
            let (mut decimal, mut hex) = (Vec::new(), Vec::new());
            push_decimal(&mut decimal, value);
            push_hex(&mut hex, value);
            assert_eq!(decimal, value.to_string().as_bytes());
            assert_eq!(hex, format!("{value:x}").as_bytes());
        }
    }

    #[test]
    fn what_is_missing_is_added_and_what_is_there_is_kept() {
        let fields = [
            ("Date", "today"),
            ("sErVeR", "mine"),
            ("Content-Length", "3"),
        ];
        let mut answer = answer(b"200 OK", &fields).unwrap();
        assert_eq!(answer.declared, Some(3));
        answer.finish(ResponseFraming::Length(3), Some(3), Version::Http11, true);
        assert_eq!(
            String::from_utf8(answer.out).unwrap(),
            "HTTP/1.1 200 OK\r\nDate: today\r\nsErVeR: mine\r\nContent-Length: 3\r\n\r\n"
        );
    }

    #[test]
    fn the_connection_is_said_where_the_version_would_not_tell() {
        for (version, keep_alive, expected) in [
            (Version::Http11, true, None),
            (Version::Http11, false, Some("Connection: close\r\n")),
            (Version::Http10, true, Some("Connection: keep-alive\r\n")),
            (Version::Http10, false, Some("Connection: close\r\n")),
        ] {
            let mut answer = answer(b"200 OK", &[]).unwrap();
            answer.finish(ResponseFraming::Length(0), None, version, keep_alive);
            let head = String::from_utf8(answer.out).unwrap();
            match expected {
                Some(line) => assert!(head.contains(line), "{head}"),
                None => assert!(!head.contains("Connection"), "{head}"),
            }
            assert!(head.ends_with("\r\n\r\n"));
        }
    }

    #[test]
    fn an_answer_without_body_keeps_the_length_except_204() {
        for (status, expected) in [(&b"304 Not Modified"[..], true), (b"204 No Content", false)] {
            let mut answer = answer(status, &[("Content-Length", "7")]).unwrap();
            answer.finish(ResponseFraming::NoBody, Some(7), Version::Http11, true);
            let head = String::from_utf8(answer.out).unwrap();
            assert_eq!(head.contains("Content-Length: 7"), expected, "{head}");
        }
    }

    #[test]
    fn mistakes_of_the_application_are_named() {
        let fields: [(&str, &str, Mistake); 7] = [
            ("a b", "1", Mistake::FieldName),
            ("", "1", Mistake::FieldName),
            ("X", "a\r\nb", Mistake::FieldValue("X".into())),
            (
                "Connection",
                "close",
                Mistake::HopByHop("Connection".into()),
            ),
            (
                "transfer-encoding",
                "chunked",
                Mistake::HopByHop("transfer-encoding".into()),
            ),
            ("Content-Length", "+5", Mistake::Length),
            ("Content-Length", "", Mistake::Length),
        ];
        for (name, value, expected) in fields {
            assert_eq!(
                answer(b"200 OK", &[(name, value)]).err(),
                Some(expected.clone()),
                "{name}"
            );
            assert!(!expected.to_string().is_empty());
        }
        let twice = [("Content-Length", "5"), ("content-length", "5")];
        assert_eq!(answer(b"200 OK", &twice).err(), Some(Mistake::SecondLength));
        for status in [&b"100 Continue"[..], b"20 OK", b"200 a\r\nb", b"OK", b""] {
            assert_eq!(answer(status, &[]).err(), Some(Mistake::Status));
        }
        for status in [&b"200"[..], b"200 ", b"999 Odd"] {
            assert!(answer(status, &[]).is_ok());
        }
    }

    #[test]
    fn a_refusal_is_complete_and_ends_the_connection() {
        let text = String::from_utf8(refusal(413)).unwrap();
        assert!(text.starts_with("HTTP/1.1 413 Content Too Large\r\n"));
        assert!(text.contains("Content-Length: 18\r\n"));
        assert!(text.contains("Connection: close\r\n"));
        assert!(text.ends_with("\r\n\r\nContent Too Large\n"));
    }
}
