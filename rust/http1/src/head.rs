//! The head of a request: from bytes to spans, in one pass.
//!
//! Every error is found at the first byte that makes it certain, whatever follows. So nobody waits
//! for the end of a head that is refused already, and how a head was cut into pieces can't change
//! what it means.

use crate::error::ParseError;
use crate::field::{self, FieldLine, Line, Lines, Room};
use crate::framing::{BodyFraming, RequestFraming};
use crate::limits::Limits;
use crate::octets::{TOKEN, run, trim};
use crate::target::{self, Target};

/// The longest method. The longest registered one has 17 bytes.
const METHOD_MAX: usize = 20;

/// A part of the buffer that was given to [`HeadParser::advance`].
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Span {
    pub start: u32,
    pub end: u32,
}

impl Span {
    #[inline]
    fn new(start: usize, end: usize) -> Self {
        Self {
            start: offset(start),
            end: offset(end),
        }
    }

    /// The bytes of this span in `buf`, the buffer that was parsed.
    ///
    /// # Panics
    ///
    /// If `buf` is shorter than what was parsed.
    #[must_use]
    #[inline]
    pub fn of(self, buf: &[u8]) -> &[u8] {
        &buf[self.start as usize..self.end as usize]
    }

    /// Whether there are no bytes in it.
    #[must_use]
    pub fn is_empty(self) -> bool {
        self.start == self.end
    }
}

/// A position in a head, which is never longer than [`HEAD_MAX`].
#[inline]
#[expect(
    clippy::cast_possible_truncation,
    reason = "HEAD_MAX bounds every position"
)]
fn offset(position: usize) -> u32 {
    position as u32
}

/// The most that spans can address; a larger [`Limits::head`] counts as this.
const HEAD_MAX: usize = u32::MAX as usize;

/// One field line; the value is without the spaces and tabs around it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Field {
    pub name: Span,
    pub value: Span,
}

/// The versions that are served.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Version {
    Http10,
    Http11,
}

/// A complete head.
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts about a request, not states of one"
)]
pub struct Head {
    pub method: Span,
    /// The target as it was sent.
    pub target: Span,
    /// The path, still percent-encoded. It starts with a slash, or is `*` for the server as a whole
    /// (only with `OPTIONS`). The empty path of an absolute target is a slash.
    pub path: Span,
    /// What follows the first question mark, or empty.
    pub query: Span,
    /// Whether there is a question mark, with or without something behind it.
    pub has_query: bool,
    /// The path has no percent-encodings.
    pub path_is_plain: bool,
    pub version: Version,
    /// All fields in their order, except those named `Proxy` (it would become `HTTP_PROXY`,
    /// CVE-2016-5385) and those with an underscore in their name, which an `environ` can't tell
    /// from a dash.
    pub fields: Vec<Field>,
    /// The one `Host`; HTTP/1.0 may have none.
    pub host: Option<Span>,
    pub framing: BodyFraming,
    /// The peer expects another response on this connection to be possible. RFC 9112 9.3.
    pub keep_alive: bool,
    /// There is a body, and the peer may wait for `100 Continue` before it sends it.
    pub expect_continue: bool,
    /// Bytes of the head, a tolerated CRLF before it and the blank line after it included.
    pub len: usize,
}

/// How far a head has come.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Progress {
    /// Nothing is wrong, but there is no end yet.
    Partial,
    /// [`HeadParser::head`] holds the head.
    Complete,
}

/// Which line comes next.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stage {
    Start,
    RequestLine,
    Fields,
    Complete,
}

/// The parser of one connection's heads, one after the other. It allocates nothing once it has seen
/// the largest number of fields.
#[derive(Debug)]
pub struct HeadParser {
    head: Head,
    stage: Stage,
    /// Where the first line starts that has no end yet.
    resume: usize,
    seen: Seen,
}

/// What the lines so far have said that is not in the head yet.
#[derive(Debug, Default)]
struct Seen {
    /// Field lines that the head leaves out.
    left_out: usize,
    framing: RequestFraming,
    /// The authority of an absolute target, which `Host` must repeat.
    authority: Option<Span>,
    content_type: bool,
    close: bool,
    keep_alive: bool,
}

impl Default for HeadParser {
    fn default() -> Self {
        Self::new()
    }
}

impl HeadParser {
    /// A parser for a head that is about to start.
    #[must_use]
    pub fn new() -> Self {
        Self {
            head: Head {
                method: Span::default(),
                target: Span::default(),
                path: Span::default(),
                query: Span::default(),
                has_query: false,
                path_is_plain: true,
                version: Version::Http11,
                fields: Vec::new(),
                host: None,
                framing: BodyFraming::None,
                keep_alive: false,
                expect_continue: false,
                len: 0,
            },
            stage: Stage::Start,
            resume: 0,
            seen: Seen::default(),
        }
    }

    /// Be ready for the next head.
    #[inline]
    pub fn reset(&mut self) {
        self.head.fields.clear();
        self.head.host = None;
        self.head.expect_continue = false;
        self.stage = Stage::Start;
        self.resume = 0;
        self.seen = Seen::default();
    }

    /// Whether the request line is complete. [`Self::head`] then has its parts and the fields so far,
    /// also after an error.
    #[must_use]
    pub fn has_request_line(&self) -> bool {
        matches!(self.stage, Stage::Fields | Stage::Complete)
    }

    /// The head, once [`Self::advance`] has returned [`Progress::Complete`]; unspecified before, but
    /// for what [`Self::has_request_line`] tells.
    #[must_use]
    #[inline]
    pub fn head(&self) -> &Head {
        &self.head
    }

    /// Parse the head at the start of `buf`, which holds all that earlier calls were given and what
    /// has come since. Lines that were complete in an earlier call are not looked at again.
    ///
    /// # Errors
    ///
    /// As early as the bytes say for certain that the head is malformed or beyond a limit. The
    /// parser must be reset then, and the connection closed.
    pub fn advance(&mut self, buf: &[u8], limits: &Limits) -> Result<Progress, ParseError> {
        let head_max = limits.head.min(HEAD_MAX);
        if self.stage == Stage::Start && !self.skip_blank_line(buf)? {
            return Ok(Progress::Partial);
        }
        if self.stage == Stage::RequestLine && !self.request_line(buf, head_max, limits)? {
            return Ok(Progress::Partial);
        }
        if self.stage == Stage::Fields && !self.fields(buf, head_max, limits)? {
            return Ok(Progress::Partial);
        }
        Ok(Progress::Complete)
    }

    /// Skip one CRLF in front of the request line, as RFC 9112 2.2 asks for the sake of old clients
    /// that end a body with one too many. False when that needs more bytes.
    #[inline]
    fn skip_blank_line(&mut self, buf: &[u8]) -> Result<bool, ParseError> {
        match buf {
            [] | [b'\r'] => return Ok(false),
            [b'\r', b'\n', ..] => self.resume = 2,
            [b'\r', ..] => return Err(ParseError::Method),
            _ => {}
        }
        self.stage = Stage::RequestLine;
        Ok(true)
    }

    /// Take the request line, or return false when it has no end yet.
    #[inline]
    fn request_line(
        &mut self,
        buf: &[u8],
        head_max: usize,
        limits: &Limits,
    ) -> Result<bool, ParseError> {
        let start = self.resume;
        let line = field::within(
            &buf[start..buf.len().min(head_max).max(start)],
            limits.request_line,
        );
        let Some(parsed) = scan_request_line(line)? else {
            if field::is_beyond(line, limits.request_line) || buf.len() >= head_max {
                return Err(ParseError::RequestLineTooLong);
            }
            return Ok(false);
        };
        let span = |(from, to): (usize, usize)| Span::new(start + from, start + to);
        let head = &mut self.head;
        head.method = span((0, parsed.method_end));
        head.target = span((parsed.method_end + 1, parsed.target.end));
        head.path = span(parsed.target.path);
        head.query = span(parsed.target.query.unwrap_or_default());
        head.has_query = parsed.target.query.is_some();
        head.path_is_plain = parsed.target.path_is_plain;
        head.version = parsed.version;
        self.seen.authority = parsed.target.authority.map(span);
        self.resume = start + parsed.len;
        self.stage = Stage::Fields;
        Ok(true)
    }

    /// Take the field lines that are complete, or return false when more have to come.
    #[inline]
    fn fields(&mut self, buf: &[u8], head_max: usize, limits: &Limits) -> Result<bool, ParseError> {
        let start = self.resume;
        let seen = self.head.fields.len() + self.seen.left_out;
        let room = Room {
            fields: limits.fields.saturating_sub(seen),
            field_size: limits.field_size,
            bytes: head_max.saturating_sub(start),
        };
        let mut lines = Lines::new(&buf[..buf.len().min(head_max).max(start)], start, room);
        loop {
            let start = lines.at();
            self.resume = start;
            match lines.next()? {
                Line::Incomplete => return Ok(false),
                Line::Field(line) => self.field(buf, start, line, limits)?,
                Line::Blank => {
                    self.complete()?;
                    return Ok(true);
                }
            }
        }
    }

    /// Take the field line at `start`.
    #[inline]
    fn field(
        &mut self,
        buf: &[u8],
        start: usize,
        line: FieldLine,
        limits: &Limits,
    ) -> Result<(), ParseError> {
        let field = Field {
            name: Span::new(start, start + line.name_end),
            value: Span::new(start + line.value_start, start + line.value_end),
        };
        let may_be_known = KNOWN_INITIALS.get(line.name_end) == Some(&(buf[start] | 0x20));
        if !line.has_underscore && (!may_be_known || self.note(buf, field, limits)?) {
            self.head.fields.push(field);
        } else {
            self.seen.left_out += 1;
        }
        Ok(())
    }

    /// Act on a field that this crate knows. Whether to keep it.
    #[inline]
    fn note(&mut self, buf: &[u8], field: Field, limits: &Limits) -> Result<bool, ParseError> {
        let name = field.name.of(buf);
        let value = field.value.of(buf);
        match name.len() {
            4 if name.eq_ignore_ascii_case(b"host") => self.host(buf, field.value)?,
            5 if name.eq_ignore_ascii_case(b"proxy") => return Ok(false),
            6 if name.eq_ignore_ascii_case(b"expect") => self.expect(value)?,
            10 if name.eq_ignore_ascii_case(b"connection") => self.connection(value),
            12 if name.eq_ignore_ascii_case(b"content-type") => {
                if self.seen.content_type {
                    return Err(ParseError::DuplicateField);
                }
                self.seen.content_type = true;
            }
            14 if name.eq_ignore_ascii_case(b"content-length") => {
                self.seen.framing.content_length(value, limits.body)?;
            }
            17 if name.eq_ignore_ascii_case(b"transfer-encoding") => {
                self.seen
                    .framing
                    .transfer_encoding(value, self.head.version)?;
            }
            _ => {}
        }
        Ok(true)
    }

    /// RFC 9112 3.2: exactly one, and valid. 3.2.2 would let an absolute target win over it; what
    /// two readers could take for two different hosts is refused instead.
    fn host(&mut self, buf: &[u8], value: Span) -> Result<(), ParseError> {
        if self.head.host.is_some() {
            return Err(ParseError::DuplicateField);
        }
        let host = value.of(buf);
        if !target::is_host(host) {
            return Err(ParseError::Host);
        }
        if let Some(authority) = self.seen.authority
            && !authority.of(buf).eq_ignore_ascii_case(host)
        {
            return Err(ParseError::HostMismatch);
        }
        self.head.host = Some(value);
        Ok(())
    }

    /// RFC 9110 10.1.1: ignored in HTTP/1.0.
    fn expect(&mut self, value: &[u8]) -> Result<(), ParseError> {
        if self.head.version == Version::Http11 {
            if !value.eq_ignore_ascii_case(b"100-continue") {
                return Err(ParseError::Expectation);
            }
            self.head.expect_continue = true;
        }
        Ok(())
    }

    /// RFC 9110 7.6.1. Other connection options, `Upgrade` among them, have no meaning here.
    fn connection(&mut self, value: &[u8]) {
        for option in value.split(|&byte| byte == b',').map(trim) {
            self.seen.close |= option.eq_ignore_ascii_case(b"close");
            self.seen.keep_alive |= option.eq_ignore_ascii_case(b"keep-alive");
        }
    }

    /// The blank line has come: conclude what only the whole head can say.
    #[inline]
    fn complete(&mut self) -> Result<(), ParseError> {
        let is_http11 = self.head.version == Version::Http11;
        if self.head.host.is_none() && (is_http11 || self.seen.authority.is_some()) {
            return Err(ParseError::MissingHost);
        }
        self.head.framing = self.seen.framing.body();
        self.head.expect_continue &= self.head.framing != BodyFraming::None;
        self.head.keep_alive = !self.seen.close && (is_http11 || self.seen.keep_alive);
        self.head.len = self.resume + 2;
        self.stage = Stage::Complete;
        Ok(())
    }
}

/// The initial of the fields of each length that [`HeadParser::note`] acts on, 0 where there are
/// none. One comparison with it, which is easy to predict, tells most other fields from them.
const KNOWN_INITIALS: [u8; 18] = {
    let mut initials = [0; 18];
    initials[b"host".len()] = b'h';
    initials[b"proxy".len()] = b'p';
    initials[b"expect".len()] = b'e';
    initials[b"connection".len()] = b'c';
    initials[b"content-type".len()] = b'c';
    initials[b"content-length".len()] = b'c';
    initials[b"transfer-encoding".len()] = b't';
    initials
};

/// A request line, all positions relative to its start.
struct RequestLine {
    method_end: usize,
    target: Target,
    version: Version,
    /// Bytes of the line, CRLF included.
    len: usize,
}

/// `method SP request-target SP HTTP-version CRLF`, RFC 9112 3, without its leniencies; `None` when
/// `line` ends before it does.
#[inline]
fn scan_request_line(line: &[u8]) -> Result<Option<RequestLine>, ParseError> {
    let Some(method_end) = scan_method(line)? else {
        return Ok(None);
    };
    let is_options = &line[..method_end] == b"OPTIONS";
    let Some(target) = target::scan(line, method_end + 1, is_options)? else {
        return Ok(None);
    };
    let Some(version) = scan_version(&line[target.end + 1..])? else {
        return Ok(None);
    };
    Ok(Some(RequestLine {
        method_end,
        version,
        len: target.end + 1 + VERSION.len(),
        target,
    }))
}

/// Where the method ends.
#[inline]
fn scan_method(line: &[u8]) -> Result<Option<usize>, ParseError> {
    let end = run(&line[..line.len().min(METHOD_MAX + 1)], TOKEN);
    if end > METHOD_MAX {
        return Err(ParseError::MethodTooLong);
    }
    match line.get(end) {
        None => Ok(None),
        Some(b' ') if end > 0 => {
            if &line[..end] == b"CONNECT" {
                return Err(ParseError::MethodNotSupported);
            }
            Ok(Some(end))
        }
        Some(_) => Err(ParseError::Method),
    }
}

/// The end of a request line, with a zero for each digit.
const VERSION: &[u8; 10] = b"HTTP/0.0\r\n";

#[inline]
fn scan_version(bytes: &[u8]) -> Result<Option<Version>, ParseError> {
    match bytes.first_chunk() {
        Some(b"HTTP/1.1\r\n") => Ok(Some(Version::Http11)),
        Some(b"HTTP/1.0\r\n") => Ok(Some(Version::Http10)),
        _ => other_version(bytes).map(|()| None),
    }
}

/// Judge the end of a request line that is incomplete or names another version.
#[cold]
fn other_version(bytes: &[u8]) -> Result<(), ParseError> {
    for (at, (&byte, &expected)) in bytes.iter().zip(VERSION).enumerate() {
        let fits = match expected {
            b'0' => byte.is_ascii_digit(),
            _ => byte == expected,
        };
        if !fits {
            return Err(ParseError::Version);
        }
        // The CR has come: the version is well-formed.
        if byte == b'\r' && !matches!(&bytes[..at], b"HTTP/1.0" | b"HTTP/1.1") {
            return Err(ParseError::VersionNotSupported);
        }
    }
    Ok(())
}
