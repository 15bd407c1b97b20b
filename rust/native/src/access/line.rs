//! One line: its pieces one after the other, and what came from outside escaped.

use std::time::Duration;

use super::out::{Out, is_plain};
use super::{Format, Piece, Place, Places, Record, Request};

/// Where a line's pieces go.
pub struct Sink<'o> {
    format: &'o Format,
    places: Places,
    out: Out<'o>,
    is_json: bool,
    value_bytes: usize,
    /// What is left of it for the value at hand.
    room: usize,
    /// It had no more, and that is said.
    is_cut: bool,
}

/// What there is of a wanted field.
enum Found<'r> {
    Nothing,
    One(&'r [u8]),
    /// More than one, or nobody has looked for it yet.
    Several,
}

impl<'o> Sink<'o> {
    #[inline]
    pub fn new(format: &'o Format, places: Places, room: &'o mut [u8], value_bytes: usize) -> Self {
        Self {
            is_json: format.is_json,
            format,
            places,
            out: Out::new(room),
            value_bytes,
            room: value_bytes,
            is_cut: false,
        }
    }

    /// The length of what is written, unless it had no room.
    pub fn len(&self) -> Option<usize> {
        self.out.len()
    }

    #[inline]
    pub fn piece(&mut self, piece: &Piece, record: &Record<'_>, time: &[u8]) {
        let request = record.request;
        match piece {
            Piece::Text(text) => self.out.put_text(text),
            Piece::Address => self.value(record.address),
            Piece::User(index) => match self.last(record, *index) {
                None => self.value(None),
                Some(value) => self.user(value),
            },
            Piece::Time => self.out.put(time),
            Piece::RequestLine => self.value(request.map(Request::line)),
            Piece::Method => self.value(request.map(Request::method)),
            Piece::Path => {
                self.value(request.map(|request| request.head.path.of(request.bytes)));
            }
            Piece::Query => {
                self.value(request.map(|request| request.head.query.of(request.bytes)));
            }
            Piece::Protocol => self.value(request.map(Request::protocol)),
            Piece::Status => self.out.put_digits::<3>(u32::from(record.status)),
            Piece::BodyBytes => self.out.put_decimal(record.body_bytes),
            Piece::BodyBytesIfAny => {
                self.number(Some(record.body_bytes).filter(|&bytes| bytes > 0));
            }
            Piece::Seconds => self.number(record.duration.map(|duration| duration.as_secs())),
            Piece::Milliseconds => self.duration(record, Duration::as_millis),
            Piece::Microseconds => self.duration(record, Duration::as_micros),
            Piece::DecimalSeconds => {
                self.number(record.duration.map(|duration| duration.as_secs()));
                if let Some(duration) = record.duration {
                    self.out.put(b".");
                    self.out.put_digits::<6>(duration.subsec_micros());
                }
            }
            Piece::Field(index) => match self.found(record, *index) {
                Found::Nothing => self.value(None),
                Found::One(value) => self.value(Some(value)),
                Found::Several => self.joined(all_values(self.format, record, *index)),
            },
            Piece::AnswerField(name) => self.joined(answer_values(record.answer_head, name)),
            Piece::Variable(index) => {
                let variable = record.variables.get(*index).and_then(Option::as_ref);
                self.value(variable.map(String::as_bytes));
            }
        }
    }

    fn number(&mut self, number: Option<u64>) {
        match number {
            Some(number) => self.out.put_decimal(number),
            None => self.value(None),
        }
    }

    fn duration(&mut self, record: &Record<'_>, unit: impl Fn(&Duration) -> u128) {
        let count = record.duration.as_ref().map(unit);
        self.number(count.map(|count| u64::try_from(count).unwrap_or(u64::MAX)));
    }

    #[inline]
    fn found<'r>(&self, record: &Record<'r>, index: usize) -> Found<'r> {
        let Some(request) = record.request else {
            return Found::Nothing;
        };
        match self.places.get(index) {
            Some(Place::NOWHERE) => Found::Nothing,
            Some(place) => match request.head.fields.get(place.index()) {
                Some(field) => Found::One(field.value.of(request.bytes)),
                None => Found::Several,
            },
            None => Found::Several,
        }
    }

    /// The last value of a wanted field.
    #[inline]
    fn last<'r>(&self, record: &Record<'r>, index: usize) -> Option<&'r [u8]> {
        match self.found(record, index) {
            Found::Nothing => None,
            Found::One(value) => Some(value),
            Found::Several => all_values(self.format, record, index).last(),
        }
    }

    fn user(&mut self, value: &[u8]) {
        let mut user = Vec::new();
        let is_known = push_basic_user(&mut user, value);
        self.value(
            is_known
                .then_some(&user[..])
                .filter(|user| !user.is_empty()),
        );
    }

    /// The values of a field that may have come more than once, as the application sees them.
    fn joined<'v>(&mut self, mut values: impl Iterator<Item = &'v [u8]>) {
        let Some(first) = values.next() else {
            return self.value(None);
        };
        self.open();
        self.push(first);
        for value in values {
            self.push(b",");
            self.push(value);
        }
        self.close();
    }

    #[inline]
    fn value(&mut self, value: Option<&[u8]>) {
        match value {
            Some(value) => {
                self.open();
                self.push(value);
                self.close();
            }
            None if self.is_json => self.out.put(b"null"),
            None => self.out.put(b"-"),
        }
    }

    #[inline]
    fn open(&mut self) {
        self.room = self.value_bytes;
        self.is_cut = false;
        if self.is_json {
            self.out.put(b"\"");
        }
    }

    #[inline]
    fn close(&mut self) {
        if self.is_json {
            self.out.put(b"\"");
        }
    }

    /// Append a part of a value, escaped.
    #[inline]
    fn push(&mut self, part: &[u8]) {
        if part.len() <= self.room && !self.is_cut && self.out.put_plain(part) {
            self.room -= part.len();
        } else if self.is_json {
            self.push_json(part);
        } else {
            self.push_text(part);
        }
    }

    /// Append what stands for one character. False when there is no room, which is said once.
    fn push_character(&mut self, written: &[u8]) -> bool {
        if self.is_cut {
            return false;
        }
        if written.len() > self.room {
            self.out.put(b"...");
            self.is_cut = true;
            return false;
        }
        self.out.put(written);
        self.room -= written.len();
        true
    }

    #[cold]
    fn push_text(&mut self, part: &[u8]) {
        for byte in part {
            let written = *byte;
            let fits = if is_plain(written) {
                self.push_character(&[written])
            } else {
                let [high, low] = hex(written);
                self.push_character(&[b'\\', b'x', high, low])
            };
            if !fits {
                return;
            }
        }
    }

    #[cold]
    fn push_json(&mut self, part: &[u8]) {
        let mut utf8 = [0; 4];
        for chunk in part.utf8_chunks() {
            let broken = (!chunk.invalid().is_empty()).then_some(char::REPLACEMENT_CHARACTER);
            for character in chunk.valid().chars().chain(broken) {
                let fits = match character {
                    '"' => self.push_character(b"\\\""),
                    '\\' => self.push_character(b"\\\\"),
                    // With the C1 controls, which some terminals obey.
                    control if control.is_control() => {
                        let [high, low] = hex(u8::try_from(u32::from(control)).unwrap_or(0));
                        self.push_character(&[b'\\', b'u', b'0', b'0', high, low])
                    }
                    other => self.push_character(other.encode_utf8(&mut utf8).as_bytes()),
                };
                if !fits {
                    return;
                }
            }
        }
    }
}

/// All values of a wanted field, by a pass of their own.
fn all_values<'r, 'f>(
    format: &'f Format,
    record: &Record<'r>,
    index: usize,
) -> impl Iterator<Item = &'r [u8]> + use<'r, 'f> {
    let wanted = &format.fields[index];
    let is_shown = record.is_trusted || !wanted.is_forwarded;
    let request = record.request.filter(|_| is_shown);
    request
        .into_iter()
        .flat_map(|request| request.values(&wanted.name))
}

fn hex(byte: u8) -> [u8; 2] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    [
        DIGITS[usize::from(byte >> 4)],
        DIGITS[usize::from(byte & 15)],
    ]
}

/// The values of a field in the head of an answer that we have rendered.
fn answer_values<'a>(head: &'a [u8], name: &[u8]) -> impl Iterator<Item = &'a [u8]> {
    head.split(|&byte| byte == b'\n')
        .skip(1)
        .filter_map(move |line| {
            let line = line.strip_suffix(b"\r")?;
            let (found, value) = line.split_at_checked(name.len())?;
            let value = value.strip_prefix(b": ")?;
            found.eq_ignore_ascii_case(name).then_some(value)
        })
}

/// Append the user of an `Authorization` field's value. Whether it is one of RFC 7617.
#[cold]
fn push_basic_user(user: &mut Vec<u8>, value: &[u8]) -> bool {
    let Some((scheme, rest)) = value.split_at_checked(6) else {
        return false;
    };
    if !scheme.eq_ignore_ascii_case(b"basic ") {
        return false;
    }
    let (mut bits, mut count) = (0_u32, 0);
    for byte in rest.trim_ascii() {
        let six = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return false,
        };
        bits = bits << 6 | u32::from(six);
        count += 6;
        if count >= 8 {
            count -= 8;
            let byte = u8::try_from(bits >> count & 255).unwrap_or(0);
            if byte == b':' {
                // The password never is in the log, nor in our memory.
                return true;
            }
            user.push(byte);
        }
    }
    false
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn users_are_those_of_basic_authentication() {
        for (value, expected) in [
            (&b"Basic QWxhZGRpbjpvcGVuIHNlc2FtZQ=="[..], Some("Aladdin")), // RFC 7617 2
            (b"bASIC  Og==", Some("")),
            (b"Basic QWxhZGRpbg==", None),
            (b"Basic !", None),
            (b"Bearer QWxhZGRpbjo=", None),
            (b"Basic", None),
        ] {
            let mut user = Vec::new();
            let is_known = push_basic_user(&mut user, value);
            let user = String::from_utf8(user).unwrap();
            assert_eq!(is_known.then_some(&user[..]), expected, "{value:?}");
        }
    }
}
