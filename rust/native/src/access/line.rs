//! One line: its pieces one after the other, and what came from outside escaped.

use std::time::Duration;

use super::{Format, Piece, Place, Places, Record, Request};
use crate::response::push_decimal;

/// Where a line's pieces go.
pub struct Sink<'o> {
    format: &'o Format,
    places: Places,
    out: &'o mut Vec<u8>,
    is_json: bool,
    value_bytes: usize,
    /// What is left of it for the value at hand.
    room: usize,
    /// It had no more, and that is said.
    is_cut: bool,
}

impl<'o> Sink<'o> {
    #[inline]
    pub fn new(
        format: &'o Format,
        places: Places,
        out: &'o mut Vec<u8>,
        value_bytes: usize,
    ) -> Self {
        Self {
            is_json: format.is_json,
            format,
            places,
            out,
            value_bytes,
            room: value_bytes,
            is_cut: false,
        }
    }

    #[inline]
    pub fn piece(&mut self, piece: &Piece, record: &Record<'_>, time: &[u8]) {
        let request = record.request;
        match piece {
            Piece::Text(text) => self.out.extend_from_slice(text),
            Piece::Address => self.value(record.address),
            Piece::User(index) => match self.last(record, *index) {
                None => self.value(None),
                Some(value) => self.user(value),
            },
            Piece::Time => self.out.extend_from_slice(time),
            Piece::RequestLine => self.value(request.map(Request::line)),
            Piece::Method => self.value(request.map(Request::method)),
            Piece::Path => {
                self.value(request.map(|request| request.head.path.of(request.bytes)));
            }
            Piece::Query => {
                self.value(request.map(|request| request.head.query.of(request.bytes)));
            }
            Piece::Protocol => self.value(request.map(Request::protocol)),
            Piece::Status => {
                let digit = |unit: u16| b'0' + u8::try_from(record.status / unit % 10).unwrap_or(0);
                self.out
                    .extend_from_slice(&[digit(100), digit(10), digit(1)]);
            }
            Piece::BodyBytes => push_decimal(self.out, record.body_bytes),
            Piece::BodyBytesIfAny => {
                self.number(Some(record.body_bytes).filter(|&bytes| bytes > 0));
            }
            Piece::Seconds => self.number(record.duration.map(|duration| duration.as_secs())),
            Piece::Milliseconds => self.duration(record, Duration::as_millis),
            Piece::Microseconds => self.duration(record, Duration::as_micros),
            Piece::DecimalSeconds => {
                self.number(record.duration.map(|duration| duration.as_secs()));
                if let Some(duration) = record.duration {
                    // A one in front keeps the zeros, and becomes the point.
                    let at = self.out.len();
                    push_decimal(self.out, 1_000_000 + u64::from(duration.subsec_micros()));
                    self.out[at] = b'.';
                }
            }
            Piece::Field(index) => match (self.place(*index), request) {
                (Some(Place::At(at)), Some(request)) => {
                    self.value(Some(request.head.fields[at].value.of(request.bytes)));
                }
                (Some(Place::Nowhere), _) | (_, None) => self.value(None),
                _ => self.joined(all_values(self.format, record, *index)),
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
            Some(number) => push_decimal(self.out, number),
            None => self.value(None),
        }
    }

    fn duration(&mut self, record: &Record<'_>, unit: impl Fn(&Duration) -> u128) {
        let count = record.duration.as_ref().map(unit);
        self.number(count.map(|count| u64::try_from(count).unwrap_or(u64::MAX)));
    }

    #[inline]
    fn place(&self, index: usize) -> Option<Place> {
        self.places.0.get(index).copied()
    }

    /// The last value of a wanted field.
    #[inline]
    fn last<'r>(&self, record: &Record<'r>, index: usize) -> Option<&'r [u8]> {
        let request = record.request?;
        match self.place(index) {
            Some(Place::Nowhere) => None,
            Some(Place::At(at)) => Some(request.head.fields[at].value.of(request.bytes)),
            _ => all_values(self.format, record, index).last(),
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
            None if self.is_json => self.out.extend_from_slice(b"null"),
            None => self.out.push(b'-'),
        }
    }

    #[inline]
    fn open(&mut self) {
        self.room = self.value_bytes;
        self.is_cut = false;
        if self.is_json {
            self.out.push(b'"');
        }
    }

    #[inline]
    fn close(&mut self) {
        if self.is_json {
            self.out.push(b'"');
        }
    }

    /// Append a part of a value, escaped.
    #[inline]
    fn push(&mut self, part: &[u8]) {
        if part.len() <= self.room && !self.is_cut && is_plain(part) {
            self.out.extend_from_slice(part);
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
            self.out.extend_from_slice(b"...");
            self.is_cut = true;
            return false;
        }
        self.out.extend_from_slice(written);
        self.room -= written.len();
        true
    }

    #[cold]
    fn push_text(&mut self, part: &[u8]) {
        for byte in part {
            let written = *byte;
            let fits = if is_plain(&[written]) {
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

/// Whether every byte stands for itself in both forms: printable ASCII but for quote and backslash.
#[inline]
fn is_plain(part: &[u8]) -> bool {
    const CHUNK: usize = 16;
    // Without a way out, so that several bytes are looked at together.
    let odd = |chunk: &[u8; CHUNK]| {
        chunk.iter().fold(0, |odd, &byte| {
            let is_printable = byte.wrapping_sub(0x20) < 0x5f;
            odd | u8::from(!is_printable) | u8::from(byte == b'"') | u8::from(byte == b'\\')
        })
    };
    let Some(last) = part.last_chunk() else {
        let mut padded = [b' '; CHUNK];
        padded[..part.len()].copy_from_slice(part);
        return odd(&padded) == 0;
    };
    // The last chunk may overlap the one before.
    let (chunks, _) = part.as_chunks();
    chunks
        .iter()
        .fold(odd(last), |seen, chunk| seen | odd(chunk))
        == 0
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
