//! What a piece of a line shows of one request.

use std::time::Duration;

use super::{Format, Piece, Place, Places, Record, Request};

/// The values of one request, and room for those that are made.
pub struct Values<'r> {
    format: &'r Format,
    record: &'r Record<'r>,
    places: Places,
    time: &'r [u8],
    digits: itoa::Buffer,
    text: Vec<u8>,
}

/// What there is of a wanted field.
enum Found<'r> {
    Nothing,
    One(&'r [u8]),
    /// More than one, or nobody has looked for it yet.
    Several,
}

impl<'r> Values<'r> {
    #[inline]
    pub fn new(format: &'r Format, record: &'r Record<'r>, places: Places, time: &'r [u8]) -> Self {
        Self {
            format,
            record,
            places,
            time,
            digits: itoa::Buffer::new(),
            text: Vec::new(),
        }
    }

    /// The value of `piece`, if it is known.
    #[expect(clippy::inline_always, reason = "one of its two callers is hot")]
    #[inline(always)]
    pub fn get(&mut self, piece: &Piece) -> Option<&[u8]> {
        let record = self.record;
        let request = record.request;
        match piece {
            Piece::Nothing => Some(b""),
            Piece::Address => record.address,
            Piece::User(index) => {
                let value = self.last(*index)?;
                self.user(value)
            }
            Piece::Time => Some(self.time),
            Piece::RequestLine => request.map(Request::line),
            Piece::Status => Some(self.number(record.status)),
            Piece::BodyBytesIfAny if record.body_bytes == 0 => None,
            Piece::BodyBytes | Piece::BodyBytesIfAny => Some(self.number(record.body_bytes)),
            Piece::Field(index) => match self.found(*index) {
                Found::Nothing => None,
                Found::One(value) => Some(value),
                Found::Several => self.joined(all_values(self.format, record, *index)),
            },
            _ => self.uncommon(piece),
        }
    }

    /// The value of what is not in the usual formats.
    #[inline(never)]
    fn uncommon(&mut self, piece: &Piece) -> Option<&[u8]> {
        let record = self.record;
        let request = record.request;
        match piece {
            Piece::Method => request.map(|request| request.head.method.of(request.bytes)),
            Piece::Path => request.map(|request| request.head.path.of(request.bytes)),
            Piece::Query => request.map(|request| request.head.query.of(request.bytes)),
            Piece::Protocol => request.map(Request::protocol),
            Piece::Seconds => Some(self.number(record.duration?.as_secs())),
            Piece::Milliseconds => Some(self.number(clamped(record.duration?.as_millis()))),
            Piece::Microseconds => Some(self.number(clamped(record.duration?.as_micros()))),
            Piece::DecimalSeconds => Some(self.decimal_seconds(record.duration?)),
            Piece::AnswerField(name) => self.joined(answer_values(record.answer_head, name)),
            Piece::Variable(index) => {
                let variable = record.variables.get(*index).and_then(Option::as_ref);
                variable.map(String::as_bytes)
            }
            // Those that `get` knows.
            Piece::Nothing
            | Piece::Address
            | Piece::User(_)
            | Piece::Time
            | Piece::RequestLine
            | Piece::Status
            | Piece::BodyBytes
            | Piece::BodyBytesIfAny
            | Piece::Field(_) => None,
        }
    }

    /// `value` in decimal.
    #[inline]
    fn number(&mut self, value: impl Into<u64>) -> &[u8] {
        self.digits.format(value.into()).as_bytes()
    }

    fn decimal_seconds(&mut self, duration: Duration) -> &[u8] {
        let (seconds, micros) = (duration.as_secs(), duration.subsec_micros());
        self.text = format!("{seconds}.{micros:06}").into_bytes();
        &self.text
    }

    #[inline]
    fn found(&self, index: usize) -> Found<'r> {
        let Some(request) = self.record.request else {
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
    fn last(&self, index: usize) -> Option<&'r [u8]> {
        match self.found(index) {
            Found::Nothing => None,
            Found::One(value) => Some(value),
            Found::Several => all_values(self.format, self.record, index).last(),
        }
    }

    #[cold]
    fn user(&mut self, value: &[u8]) -> Option<&[u8]> {
        self.text.clear();
        let is_known = push_basic_user(&mut self.text, value) && !self.text.is_empty();
        is_known.then_some(&self.text)
    }

    /// The values of a field that may have come more than once, as the application sees them.
    #[cold]
    fn joined<'v>(&mut self, mut values: impl Iterator<Item = &'v [u8]>) -> Option<&[u8]> {
        self.text.clear();
        self.text.extend_from_slice(values.next()?);
        for value in values {
            self.text.push(b',');
            self.text.extend_from_slice(value);
        }
        Some(&self.text)
    }
}

fn clamped(count: u128) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
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
