//! The line of one request in the access log: what is in it. No I/O, no Python.
//!
//! A format is a list of pieces, parsed once by `udsrv.config.access`. What a peer sends is escaped, so
//! that it can neither end a line nor a quoted part of it: as `\xNN` in text, which is then ASCII, and
//! as JSON strings of valid UTF-8 in JSON. What is not known is `-` in text and `null` in JSON.

mod escape;
mod line;
mod raw;
mod value;

use std::time::Duration;

use http1::{Head, Version};

use self::escape::Escaped;
use self::line::{Put, Text, is_plain};
use self::raw::Raw;
use self::value::Values;
use crate::environ::client_address;
use crate::kernel::LocalTime;

/// What a peer can make of a line that has to fit a pipe's atomic write (pipe(7), `PIPE_BUF`).
pub const ATOMIC_LINE_BYTES: usize = libc::PIPE_BUF;

/// The most that a number, a date or the pid takes.
const FIXED_BYTES: usize = 32;

/// What one place of a line shows.
#[derive(Debug, Eq, PartialEq)]
enum Piece {
    /// Nothing beside the text before it.
    Nothing,
    /// The client, as a trusted peer names it.
    Address,
    /// The user of `Authorization: Basic`, one of [`Format::fields`].
    User(usize),
    Time,
    RequestLine,
    Method,
    Path,
    Query,
    Protocol,
    Status,
    BodyBytes,
    /// The same with nothing for 0, as the Common Log Format has it.
    BodyBytesIfAny,
    Seconds,
    Milliseconds,
    Microseconds,
    DecimalSeconds,
    /// A field of the request: one of [`Format::fields`].
    Field(usize),
    /// A field of the answer, named in lower case.
    AnswerField(Box<[u8]>),
    /// One of [`Format::variables`].
    Variable(usize),
}

impl Piece {
    /// Whether it comes from outside. All else is short, and never cut.
    fn is_foreign(&self) -> bool {
        !self.is_number() && !matches!(self, Self::Nothing | Self::Time | Self::Protocol)
    }

    fn is_number(&self) -> bool {
        matches!(
            self,
            Self::Status
                | Self::BodyBytes
                | Self::BodyBytesIfAny
                | Self::Seconds
                | Self::Milliseconds
                | Self::Microseconds
                | Self::DecimalSeconds
        )
    }
}

/// A piece and the text before it.
#[derive(Debug)]
struct Column {
    text: Text,
    piece: Piece,
    /// Its value is a string of JSON.
    is_quoted: bool,
    is_foreign: bool,
}

/// A field of the request that lines show.
#[derive(Debug)]
struct Wanted {
    /// In lower case.
    name: Box<[u8]>,
    /// It is believed, and shown, only if the peer is trusted.
    is_forwarded: bool,
}

/// How many of the wanted fields are looked for in one pass; others cost a pass each.
const PLACES: usize = 8;

/// Where the wanted fields are among those of a request: the first [`PLACES`] of [`Format::fields`].
#[derive(Clone, Copy)]
pub struct Places([Place; PLACES]);

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Place(u32);

impl Place {
    const NOWHERE: Self = Self(u32::MAX);
    const SEVERAL: Self = Self(u32::MAX - 1);

    /// The field's index; beyond all of them if there are several.
    fn index(self) -> usize {
        self.0 as usize
    }
}

impl Places {
    pub const fn new() -> Self {
        Self([Place::NOWHERE; PLACES])
    }

    #[inline]
    fn get(&self, wanted: usize) -> Option<Place> {
        self.0.get(wanted).copied()
    }

    /// The request's field `index` has the name of a wanted one.
    #[inline]
    pub fn note(&mut self, wanted: u8, index: usize) {
        if let Some(place) = self.0.get_mut(usize::from(wanted)) {
            *place = match (*place, u32::try_from(index)) {
                (Place::NOWHERE, Ok(index)) => Place(index),
                _ => Place::SEVERAL,
            };
        }
    }
}

/// How lines look.
#[derive(Debug)]
pub struct Format {
    columns: Vec<Column>,
    fields: Vec<Wanted>,
    is_json: bool,
    /// What stands for a value that is not known.
    unknown: Text,
    quote: Text,
    /// How many bytes of its texts are not plain.
    odd_bytes: usize,
    /// What is wanted of the application's `environ`, by name.
    pub variables: Vec<String>,
    pub needs_clock: bool,
    pub needs_answer_head: bool,
    /// How much of each value an atomic line has room for.
    atomic_value_bytes: usize,
}

/// What is known of a request.
#[derive(Clone, Copy)]
pub struct Request<'a> {
    pub bytes: &'a [u8],
    /// Its request line is complete; its fields are those that have come.
    pub head: &'a Head,
}

/// What is known of a request that has had an answer.
pub struct Record<'a> {
    pub request: Option<Request<'a>>,
    /// Where the fields of the request are that the format wants, if that is known.
    pub places: Option<Places>,
    pub is_trusted: bool,
    /// The client, as a trusted peer names it.
    pub address: Option<&'a [u8]>,
    pub status: u16,
    pub body_bytes: u64,
    pub duration: Option<Duration>,
    /// The answer's status line and fields, if the format needs them.
    pub answer_head: &'a [u8],
    /// As many as [`Format::variables`], or none.
    pub variables: &'a [Option<String>],
}

impl Format {
    /// The format of `pieces`: kind and name of each, in the words of `udsrv.config.access`.
    ///
    /// # Errors
    ///
    /// The kind that does not exist.
    pub fn new(pieces: &[(String, String)], is_json: bool) -> Result<Self, String> {
        let mut format = Self {
            columns: Vec::new(),
            fields: Vec::new(),
            is_json,
            unknown: Text::new(if is_json { b"null" } else { b"-" }),
            quote: Text::new(b"\""),
            odd_bytes: 0,
            variables: Vec::new(),
            needs_clock: false,
            needs_answer_head: false,
            atomic_value_bytes: 0,
        };
        // Texts that meet are one.
        let mut text = Vec::new();
        for (kind, name) in pieces {
            if let Some(part) = format.text(kind, name) {
                text.extend_from_slice(part.as_bytes());
                continue;
            }
            let piece = format.piece(kind, name).ok_or_else(|| kind.clone())?;
            format.push(&text, piece);
            text.clear();
        }
        text.push(b'\n');
        format.push(&text, Piece::Nothing);
        format.atomic_value_bytes = format.room_for_values();
        Ok(format)
    }

    /// Append `piece` and the text before it.
    fn push(&mut self, text: &[u8], piece: Piece) {
        self.odd_bytes += text.iter().filter(|&&byte| !is_plain(byte)).count();
        let (before, last) = Text::split(text);
        let before = before.into_iter().map(|text| (text, Piece::Nothing));
        for (text, piece) in before.chain([(last, piece)]) {
            self.columns.push(Column {
                text,
                is_quoted: self.is_json && !piece.is_number() && piece != Piece::Nothing,
                is_foreign: piece.is_foreign(),
                piece,
            });
        }
    }

    /// What is the same in every line.
    fn text(&self, kind: &str, name: &str) -> Option<String> {
        match kind {
            "text" => Some(name.to_owned()),
            // Only ident (RFC 1413) could tell.
            "l" if self.is_json => Some("null".to_owned()),
            "l" => Some("-".to_owned()),
            // It is this process that writes the lines.
            "p" if self.is_json => Some(std::process::id().to_string()),
            "p" => Some(format!("<{}>", std::process::id())),
            _ => None,
        }
    }

    fn piece(&mut self, kind: &str, name: &str) -> Option<Piece> {
        self.needs_clock |= matches!(kind, "T" | "M" | "D" | "L");
        Some(match kind {
            "h" => Piece::Address,
            "u" => Piece::User(self.field("authorization")),
            "t" => Piece::Time,
            "r" => Piece::RequestLine,
            "m" => Piece::Method,
            "U" => Piece::Path,
            "q" => Piece::Query,
            "H" => Piece::Protocol,
            "s" => Piece::Status,
            "B" => Piece::BodyBytes,
            "b" => Piece::BodyBytesIfAny,
            "f" => Piece::Field(self.field("referer")),
            "a" => Piece::Field(self.field("user-agent")),
            "T" => Piece::Seconds,
            "M" => Piece::Milliseconds,
            "D" => Piece::Microseconds,
            "L" => Piece::DecimalSeconds,
            "i" => Piece::Field(self.field(name)),
            "o" => {
                self.needs_answer_head = true;
                Piece::AnswerField(name.as_bytes().into())
            }
            "e" => {
                self.variables.push(name.to_owned());
                Piece::Variable(self.variables.len() - 1)
            }
            _ => return None,
        })
    }

    /// The index of the field with this name in `fields`.
    fn field(&mut self, name: &str) -> usize {
        let known = |wanted: &Wanted| *wanted.name == *name.as_bytes();
        if let Some(index) = self.fields.iter().position(known) {
            return index;
        }
        self.fields.push(Wanted {
            name: name.as_bytes().into(),
            is_forwarded: matches!(name, "forwarded" | "x-real-ip")
                || name.starts_with("x-forwarded-"),
        });
        self.fields.len() - 1
    }

    /// The names that [`Places`] are noted for, in lower case, by their number.
    pub fn wanted(&self) -> Vec<Box<[u8]>> {
        let fields = self.fields.iter().take(PLACES);
        fields.map(|wanted| wanted.name.clone()).collect()
    }

    /// Look for the wanted fields of a request that has no `environ`.
    #[cold]
    fn places(&self, record: &Record<'_>) -> Places {
        let mut places = Places::new();
        let Some(request) = record.request else {
            return places;
        };
        for (index, field) in request.head.fields.iter().enumerate() {
            let name = field.name.of(request.bytes);
            for (number, wanted) in (0..).zip(self.fields.iter().take(PLACES)) {
                if (record.is_trusted || !wanted.is_forwarded)
                    && name.eq_ignore_ascii_case(&wanted.name)
                {
                    places.note(number, index);
                }
            }
        }
        places
    }

    fn room_for_values(&self) -> usize {
        let (mut fixed, mut values) = (0, 0);
        for Column {
            text,
            piece,
            is_foreign,
            ..
        } in &self.columns
        {
            fixed += text.len();
            match (is_foreign, piece) {
                (true, _) => values += 1,
                (false, Piece::Nothing) => {}
                (false, _) => fixed += FIXED_BYTES,
            }
        }
        // Quotes, and the mark of what was cut off.
        (ATOMIC_LINE_BYTES.saturating_sub(fixed) / values.max(1)).saturating_sub(8)
    }

    /// `time` as this format writes it.
    pub fn render_time(&self, time: &LocalTime, out: &mut Vec<u8>) {
        const MONTHS: [&str; 12] = [
            "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec",
        ];
        let LocalTime {
            year,
            month,
            day,
            hour,
            minute,
            second,
            offset_s,
        } = *time;
        let sign = if offset_s < 0 { '-' } else { '+' };
        let (east_h, east_m) = (
            offset_s.unsigned_abs() / 3600,
            offset_s.unsigned_abs() / 60 % 60,
        );
        out.clear();
        let text = if self.is_json {
            format!(
                "{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}\
                 {sign}{east_h:02}:{east_m:02}"
            )
        } else {
            let name = MONTHS
                .get(usize::from(month).wrapping_sub(1))
                .unwrap_or(&"-");
            format!(
                "[{day:02}/{name}/{year:04}:{hour:02}:{minute:02}:{second:02} \
                 {sign}{east_h:02}{east_m:02}]"
            )
        };
        out.extend_from_slice(text.as_bytes());
    }

    /// Write the line of `record`, with its end, to the start of `room`. Returns its length, if it fits.
    /// With `is_atomic` it is at most [`ATOMIC_LINE_BYTES`] long: what would be longer has its values
    /// cut, and says so with `...`.
    pub fn line(
        &self,
        room: &mut [u8],
        record: &Record<'_>,
        time: &[u8],
        is_atomic: bool,
    ) -> Option<usize> {
        let places = record.places.unwrap_or_else(|| self.places(record));
        let mut values = Values::new(self, record, places, time);
        if let Some(len) = self.raw(room, &mut values) {
            return Some(len);
        }
        let mut line = self.escaped(&mut values, usize::MAX);
        if is_atomic && line.len() > ATOMIC_LINE_BYTES {
            line = self.escaped(&mut values, self.atomic_value_bytes);
            // The format alone may have no room in it.
            line.truncate(ATOMIC_LINE_BYTES);
            *line.last_mut()? = b'\n';
        }
        room.get_mut(..line.len())?.copy_from_slice(&line);
        Some(line.len())
    }

    /// Write a line as it is, if there is room for any and no value needs an escape. They are looked at
    /// when they are in it, all at once.
    #[inline]
    fn raw(&self, room: &mut [u8], values: &mut Values<'_>) -> Option<usize> {
        let mut raw = Raw::new(room)?;
        let quoted = self.put_columns(&mut raw, values);
        raw.len(self.odd_bytes + 2 * quoted)
    }

    /// A line of escaped values, of which each that comes from outside takes at most `value_bytes`.
    #[cold]
    fn escaped(&self, values: &mut Values<'_>, value_bytes: usize) -> Vec<u8> {
        let mut escaped = Escaped::new(self.is_json, value_bytes);
        self.put_columns(&mut escaped, values);
        escaped.line
    }

    /// Returns how many values have quotes.
    #[inline]
    fn put_columns(&self, line: &mut impl Put, values: &mut Values<'_>) -> usize {
        let mut quoted = 0;
        for column in &self.columns {
            line.put_text(&column.text);
            match values.get(&column.piece) {
                None => line.put_text(&self.unknown),
                Some(value) if column.is_quoted => {
                    quoted += 1;
                    line.put_text(&self.quote);
                    line.put_value(value, column);
                    line.put_text(&self.quote);
                }
                Some(value) => line.put_value(value, column),
            }
        }
        quoted
    }
}

impl<'a> Request<'a> {
    /// The request line without its end; there is one space between its parts.
    fn line(self) -> &'a [u8] {
        let (method, target) = (self.head.method, self.head.target);
        let end = target.end as usize + b" HTTP/1.1".len();
        &self.bytes[method.start as usize..end]
    }

    /// The client, if it is named as one.
    pub fn address(self) -> Option<&'a [u8]> {
        let last = self.values(b"x-forwarded-for").last();
        last.and_then(client_address).map(str::as_bytes)
    }

    fn protocol(self) -> &'static [u8] {
        match self.head.version {
            Version::Http10 => b"HTTP/1.0",
            Version::Http11 => b"HTTP/1.1",
        }
    }

    /// The values of all fields with this name, which is in lower case.
    fn values<'n>(self, name: &'n [u8]) -> impl Iterator<Item = &'a [u8]> + use<'a, 'n> {
        self.head.fields.iter().filter_map(move |field| {
            let found = field.name.of(self.bytes);
            (found.len() == name.len() && found.eq_ignore_ascii_case(name))
                .then(|| field.value.of(self.bytes))
        })
    }
}

#[cfg(test)]
mod tests {
    use http1::{HeadParser, Limits, Progress};

    use super::*;

    const HEAD: &[u8] =
        b"GET /a?b=c HTTP/1.0\r\nHost: x\r\nX: 1\r\nx: 2\r\nUser-Agent: \"\xff\t\"\r\n\
        X-Forwarded-For: 10.0.0.1\r\nX-Forwarded-Host: shop\r\n\r\n";

    const NOBODY: Record<'_> = Record {
        request: None,
        places: None,
        is_trusted: true,
        address: None,
        status: 400,
        body_bytes: 0,
        duration: None,
        answer_head: b"",
        variables: &[],
    };

    fn parser(head: &[u8]) -> HeadParser {
        let limits = Limits {
            request_line: 8192,
            fields: 100,
            field_size: 8192,
            head: 65536,
            body: 0,
        };
        let mut parser = HeadParser::new();
        assert_eq!(parser.advance(head, &limits), Ok(Progress::Complete));
        parser
    }

    /// The record of a request, and what is the same in all of them.
    fn asked<'a>(bytes: &'a [u8], parser: &'a HeadParser) -> Record<'a> {
        let head = parser.head();
        Record {
            request: Some(Request { bytes, head }),
            ..NOBODY
        }
    }

    /// Pieces separated by spaces: an atom, or an atom and a name with a colon between.
    fn format(pieces: &str, is_json: bool) -> Format {
        let mut list = Vec::new();
        for piece in pieces.split(' ') {
            let (kind, name) = piece.split_once(':').unwrap_or((piece, ""));
            if !list.is_empty() {
                list.push(("text".to_owned(), " ".to_owned()));
            }
            list.push((kind.to_owned(), name.to_owned()));
        }
        Format::new(&list, is_json).unwrap()
    }

    fn line(format: &Format, record: &Record<'_>, is_atomic: bool) -> String {
        let mut room = vec![b'#'; 1 << 20];
        let line = |room: &mut [u8]| {
            let len = format.line(room, record, b"[now]", is_atomic)?;
            String::from_utf8(room[..len].to_vec()).ok()
        };
        let text = line(&mut room).unwrap();
        // The same where the room is narrow, if it is enough.
        assert_eq!(line(&mut room[..text.len()]).as_ref(), Some(&text));
        assert_eq!(line(&mut room[..text.len() - 1]), None);
        text
    }

    #[test]
    fn what_a_peer_sends_can_end_neither_a_line_nor_its_quotes() {
        let parser = parser(HEAD);
        let record = Record {
            address: Some(b"10.0.0.1"),
            ..asked(HEAD, &parser)
        };
        assert_eq!(record.request.and_then(Request::address), record.address);
        assert_eq!(
            line(&format("h r i:x a q", false), &record, false),
            "10.0.0.1 GET /a?b=c HTTP/1.0 1,2 \\x22\\xff\\x09\\x22 b=c\n"
        );
        assert_eq!(
            line(&format("h r i:x a i:y", true), &record, false),
            "\"10.0.0.1\" \"GET /a?b=c HTTP/1.0\" \"1,2\" \"\\\"\u{fffd}\\u0009\\\"\" null\n"
        );
    }

    #[test]
    fn what_needs_no_escape_is_written_as_it_is() {
        let parser = parser(HEAD);
        let record = Record {
            address: Some(b"10.0.0.1"),
            ..asked(HEAD, &parser)
        };
        let mut room = [0; 8192];
        for (pieces, is_raw) in [("h u t r s b i:host", true), ("i:user-agent", false)] {
            for is_json in [false, true] {
                let format = format(pieces, is_json);
                let places = format.places(&record);
                let mut values = Values::new(&format, &record, places, b"[now]");
                let len = format.raw(&mut room, &mut values);
                assert_eq!(len.is_some(), is_raw, "{pieces} {is_json}");
            }
        }
    }

    #[test]
    fn what_a_stranger_says_of_its_client_is_not_shown() {
        let parser = parser(HEAD);
        let record = Record {
            is_trusted: false,
            ..asked(HEAD, &parser)
        };
        let format = format("h i:x-forwarded-for i:x-forwarded-host i:host", false);
        assert_eq!(line(&format, &record, false), "- - - x\n");
    }

    #[test]
    fn any_number_of_fields_can_be_shown() {
        let mut head = b"GET / HTTP/1.0\r\n".to_vec();
        for index in 0..12 {
            head.extend_from_slice(format!("X-{index}: a{index}\r\n").as_bytes());
        }
        head.extend_from_slice(b"x-11: more\r\nX-3: more\r\n\r\n");
        let parser = parser(&head);
        let record = asked(&head, &parser);
        let names = (0..13).map(|index| format!("i:x-{index}"));
        let format = format(&names.collect::<Vec<_>>().join(" "), false);
        assert_eq!(
            line(&format, &record, false),
            "a0 a1 a2 a3,more a4 a5 a6 a7 a8 a9 a10 a11,more -\n"
        );
    }

    #[test]
    fn what_is_not_known_is_said_so() {
        let pieces = "h l u t r m U q H s B b f a T D M L i:x o:x e:x";
        let unknown = "- - - [now] - - - - - 400 0 - - - - - - - - - -\n";
        assert_eq!(line(&format(pieces, false), &NOBODY, false), unknown);
        let json = unknown.replace(" -", " null").replacen('-', "null", 1);
        let json = json.replace("[now]", "\"[now]\"");
        assert_eq!(line(&format(pieces, true), &NOBODY, false), json);
    }

    #[test]
    fn durations_are_rounded_down_and_keep_their_zeros() {
        let record = Record {
            duration: Some(Duration::from_micros(2_000_345)),
            ..NOBODY
        };
        assert_eq!(
            line(&format("T M D L", false), &record, false),
            "2 2000 2000345 2.000345\n"
        );
    }

    #[test]
    fn fields_of_the_answer_are_found_by_their_whole_name() {
        let record = Record {
            answer_head: b"HTTP/1.1 200 OK\r\nX-Y: no\r\nx: yes\r\nX: too\r\n\r\n",
            ..NOBODY
        };
        assert_eq!(
            line(&format("o:x o:x-y o:x-", false), &record, false),
            "yes,too no -\n"
        );
    }

    #[test]
    fn a_line_that_must_not_be_split_is_short_enough_and_stays_well_formed() {
        for value in [&b"a"[..], b"\"", b"\xff", "\u{1f600}".as_bytes()] {
            let name = value.repeat(4000);
            let head = [b"GET / HTTP/1.0\r\nUser-Agent: ", &name[..], b"\r\n\r\n"].concat();
            let limits = Limits {
                request_line: 8192,
                fields: 100,
                field_size: 1 << 20,
                head: 1 << 20,
                body: 0,
            };
            let mut parser = HeadParser::new();
            assert_eq!(parser.advance(&head, &limits), Ok(Progress::Complete));
            let record = asked(&head, &parser);
            for is_json in [false, true] {
                let format = format("a r s", is_json);
                let text = line(&format, &record, true);
                assert!(text.len() <= ATOMIC_LINE_BYTES, "{}", text.len());
                assert!(text.contains("GET / HTTP/1.0"), "{text}");
                assert!(text.ends_with(" 400\n"), "{text}");
                let is_cut = line(&format, &record, false).len() > ATOMIC_LINE_BYTES;
                assert_eq!(text.contains("..."), is_cut);
            }
        }
    }

    #[test]
    fn what_does_not_come_from_outside_is_never_cut() {
        let head = format!("GET / HTTP/1.0\r\nUser-Agent: {}\r\n\r\n", "a".repeat(4000));
        let parser = parser(head.as_bytes());
        let record = asked(head.as_bytes(), &parser);
        for is_json in [false, true] {
            let format = format(&["H t s a"; 50].join(" "), is_json);
            let text = line(&format, &record, true);
            for own in ["HTTP/1.0", "[now]", " 400 "] {
                assert_eq!(text.matches(own).count(), 50, "{own} {text}");
            }
        }
    }

    #[test]
    fn a_format_without_room_is_cut_at_the_end_of_a_line() {
        let text = "x".repeat(5000);
        let format = Format::new(&[("text".to_owned(), text)], false).unwrap();
        let text = line(&format, &NOBODY, true);
        assert_eq!(text.len(), ATOMIC_LINE_BYTES);
        assert!(text.ends_with("x\n"));
    }

    #[test]
    fn times_say_how_far_they_are_from_utc() {
        let mut out = Vec::new();
        let time = LocalTime {
            year: 2026,
            month: 3,
            day: 9,
            hour: 4,
            minute: 5,
            second: 6,
            offset_s: -12_600,
        };
        format("t", false).render_time(&time, &mut out);
        assert_eq!(out, b"[09/Mar/2026:04:05:06 -0330]");
        format("t", true).render_time(&time, &mut out);
        assert_eq!(out, b"2026-03-09T04:05:06-03:30");
    }

    #[test]
    fn only_known_kinds_are_taken_and_needs_are_known() {
        let unknown = Format::new(&[("x".to_owned(), String::new())], false);
        assert_eq!(unknown.err(), Some("x".to_owned()));
        let plain = format("h r s", false);
        assert!(!plain.needs_clock && !plain.needs_answer_head && plain.variables.is_empty());
        let all = format("L o:x e:REMOTE_USER e:y", false);
        assert!(all.needs_clock && all.needs_answer_head);
        assert_eq!(all.variables, ["REMOTE_USER", "y"]);
    }
}
