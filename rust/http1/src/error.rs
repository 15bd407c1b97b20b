//! What a peer can do wrong, and the status that answers it.
//!
//! The texts are for the log. They never repeat what the peer sent.

use std::error::Error;
use std::fmt;

/// A field line, of a head or of trailers, that is not `name ":" OWS value OWS CRLF`.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FieldError {
    /// The name is empty, holds a byte that no token has, or is not followed by a colon.
    Name,
    /// The line starts with a space or tab: obsolete folding, or space before the first field.
    Folded,
    /// A control byte in the value, or a line that does not end in exactly CRLF.
    Value,
    /// A CR that no LF follows.
    BareCarriageReturn,
    /// More bytes than [`crate::Limits::field_size`].
    TooLarge,
    /// More lines than [`crate::Limits::fields`].
    TooMany,
    /// More bytes than [`crate::Limits::head`] in the head, or in the trailers.
    SectionTooLarge,
}

impl FieldError {
    /// The status that the peer gets before the connection closes.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::Name | Self::Folded | Self::Value | Self::BareCarriageReturn => 400,
            Self::TooLarge | Self::TooMany | Self::SectionTooLarge => 431,
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::Name => "field name is not a token followed by a colon",
            Self::Folded => "field line starts with white space",
            Self::Value => "control character in a field value",
            Self::BareCarriageReturn => "CR without LF",
            Self::TooLarge => "field line too large",
            Self::TooMany => "too many fields",
            Self::SectionTooLarge => "fields too large altogether",
        }
    }
}

/// A message whose body two parsers could see end at different places.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum FramingError {
    /// `Content-Length` is not one decimal number without sign, space or leading zero.
    Length,
    /// `Content-Length` or `Transfer-Encoding` twice, whether they agree or not.
    Repeated,
    /// `Content-Length` and `Transfer-Encoding` together.
    BothLengthAndCoding,
    /// `Transfer-Encoding` is no list of codings, or `chunked` is not its last member, once.
    Coding,
    /// A coding other than `chunked`.
    UnsupportedCoding,
    /// `Transfer-Encoding` in HTTP/1.0.
    CodingInHttp10,
    /// More body than [`crate::Limits::body`].
    BodyTooLarge,
    /// A chunk size that is not 1 to 16 hexadecimal digits followed by CRLF or an extension.
    ChunkSize,
    /// A chunk extension outside its grammar.
    ChunkExtension,
    /// More than 1 KiB of chunk extensions in one body.
    ChunkExtensionsTooLarge,
    /// A chunk's data that is not followed by exactly CRLF.
    ChunkEnd,
    /// A trailer that is no field line, or beyond the limits.
    Trailer(FieldError),
    /// A trailer whose name must not be used in trailers (RFC 9110 6.5.1).
    ForbiddenTrailer,
}

impl FramingError {
    /// The status that the peer gets before the connection closes.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::Length
            | Self::Repeated
            | Self::BothLengthAndCoding
            | Self::Coding
            | Self::CodingInHttp10
            | Self::ChunkSize
            | Self::ChunkExtension
            | Self::ChunkEnd
            | Self::ForbiddenTrailer => 400,
            Self::BodyTooLarge | Self::ChunkExtensionsTooLarge => 413,
            Self::UnsupportedCoding => 501,
            Self::Trailer(error) => error.status(),
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::Length => "Content-Length is not a plain decimal number",
            Self::Repeated => "repeated Content-Length or Transfer-Encoding",
            Self::BothLengthAndCoding => "both Content-Length and Transfer-Encoding",
            Self::Coding => "malformed Transfer-Encoding",
            Self::UnsupportedCoding => "transfer coding other than chunked",
            Self::CodingInHttp10 => "Transfer-Encoding in HTTP/1.0",
            Self::BodyTooLarge => "request body too large",
            Self::ChunkSize => "malformed chunk size",
            Self::ChunkExtension => "malformed chunk extension",
            Self::ChunkExtensionsTooLarge => "chunk extensions too large",
            Self::ChunkEnd => "chunk data not followed by CRLF",
            Self::Trailer(error) => error.text(),
            Self::ForbiddenTrailer => "field that must not be a trailer",
        }
    }
}

/// A head that is refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ParseError {
    /// The method is not a token, or not followed by one space.
    Method,
    /// The method has more than 20 bytes.
    MethodTooLong,
    /// `CONNECT`, which only proxies serve.
    MethodNotSupported,
    /// The target is not of a form that its method may have, or holds a byte that needs escaping.
    Target,
    /// A `%` in the path without two hexadecimal digits after it.
    PercentEncoding,
    /// No `HTTP/` DIGIT `.` DIGIT CRLF after the target.
    Version,
    /// A well-formed version other than 1.0 and 1.1.
    VersionNotSupported,
    /// More bytes than [`crate::Limits::request_line`].
    RequestLineTooLong,
    /// A field line that is none, or fields beyond the limits.
    Field(FieldError),
    /// A second `Host` or `Content-Type`. (The framing fields are [`FramingError::Repeated`].)
    DuplicateField,
    /// No `Host` where there must be one.
    MissingHost,
    /// `Host` is not a host with an optional port.
    Host,
    /// The authority of an absolute target is not the one in `Host`.
    HostMismatch,
    /// An expectation other than `100-continue`.
    Expectation,
    /// The length of the body is in doubt, or the body is too large.
    Framing(FramingError),
}

impl ParseError {
    /// The status that the peer gets before the connection closes.
    #[must_use]
    pub fn status(self) -> u16 {
        match self {
            Self::Method
            | Self::Target
            | Self::PercentEncoding
            | Self::Version
            | Self::DuplicateField
            | Self::MissingHost
            | Self::Host
            | Self::HostMismatch => 400,
            Self::RequestLineTooLong => 414,
            Self::Expectation => 417,
            Self::MethodTooLong | Self::MethodNotSupported => 501,
            Self::VersionNotSupported => 505,
            Self::Field(error) => error.status(),
            Self::Framing(error) => error.status(),
        }
    }

    fn text(self) -> &'static str {
        match self {
            Self::Method => "method is not a token followed by one space",
            Self::MethodTooLong => "method too long",
            Self::MethodNotSupported => "method not supported",
            Self::Target => "malformed request target",
            Self::PercentEncoding => "malformed percent-encoding in the path",
            Self::Version => "malformed HTTP version or end of the request line",
            Self::VersionNotSupported => "HTTP version not supported",
            Self::RequestLineTooLong => "request line too long",
            Self::Field(error) => error.text(),
            Self::DuplicateField => "repeated field that may occur once",
            Self::MissingHost => "no Host",
            Self::Host => "malformed Host",
            Self::HostMismatch => "target and Host name different authorities",
            Self::Expectation => "expectation other than 100-continue",
            Self::Framing(error) => error.text(),
        }
    }
}

impl From<FieldError> for ParseError {
    fn from(error: FieldError) -> Self {
        Self::Field(error)
    }
}

impl From<FramingError> for ParseError {
    fn from(error: FramingError) -> Self {
        Self::Framing(error)
    }
}

macro_rules! displayed {
    ($($error:ty),*) => {$(
        impl fmt::Display for $error {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.text())
            }
        }
        impl Error for $error {}
    )*};
}
displayed!(FieldError, FramingError, ParseError);
