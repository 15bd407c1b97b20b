//! Field lines: the one scanner for heads and trailers.
//!
//! The scanner goes from left to right and judges each byte by those before it alone. That is why
//! a line that arrives in pieces has the same outcome, error included, as one that arrives whole.

use crate::error::FieldError;
use crate::octets::{BLOCK, LANES, TOKEN, first, no_letters, run, stops, trimmed, value_run};

/// What stands at the start of some bytes that begin a line.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Line {
    /// The line has no end yet.
    Incomplete,
    /// The blank line that ends the fields: two bytes.
    Blank,
    Field(FieldLine),
}

/// A field line, all positions relative to its start.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct FieldLine {
    pub(crate) name_end: usize,
    pub(crate) value_start: usize,
    pub(crate) value_end: usize,
    /// Bytes of the line, CRLF included.
    pub(crate) len: usize,
    pub(crate) has_underscore: bool,
}

/// How much more a section of field lines may hold: what is left of the limits of a head or of
/// trailers.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Room {
    pub(crate) fields: usize,
    pub(crate) field_size: usize,
    pub(crate) bytes: usize,
}

/// Take the line at the start of `bytes` apart, which begin a line of a section with this room.
pub(crate) fn next_line(bytes: &[u8], room: Room) -> Result<Line, FieldError> {
    let line = within(&bytes[..bytes.len().min(room.bytes)], room.field_size);
    if room.fields == 0 && line.first().is_some_and(|&byte| byte != b'\r') {
        return Err(FieldError::TooMany);
    }
    match scan(line) {
        Ok(Line::Incomplete) if is_beyond(line, room.field_size) => Err(FieldError::TooLarge),
        Ok(Line::Incomplete) if bytes.len() >= room.bytes => Err(FieldError::SectionTooLarge),
        scanned => scanned,
    }
}

/// The part of `bytes` in which a line of at most `limit` bytes and its CRLF must end.
///
/// A scanner that sees no more than this stops at the first byte with which the line is certainly
/// too long, so that it finds the same whether the rest is there already or not.
#[inline]
pub(crate) fn within(bytes: &[u8], limit: usize) -> &[u8] {
    match bytes.get(limit) {
        None => bytes,
        Some(b'\r') => &bytes[..bytes.len().min(limit + 2)],
        Some(_) => &bytes[..=limit],
    }
}

/// Whether a line without an end, cut by [`within`], is too long.
#[inline]
pub(crate) fn is_beyond(line: &[u8], limit: usize) -> bool {
    line.get(limit).is_some_and(|&byte| byte != b'\r')
}

/// Take the field line at the start of `line` apart. RFC 9112 5, without its leniencies.
fn scan(line: &[u8]) -> Result<Line, FieldError> {
    let name_end = run(line, TOKEN);
    match line.get(name_end) {
        None => return Ok(Line::Incomplete),
        Some(b':') if name_end > 0 => {}
        Some(_) => return not_a_field(line, name_end),
    }
    let stop = name_end + 1 + value_run(&line[name_end + 1..]);
    match (line.get(stop), line.get(stop + 1)) {
        (Some(b'\r'), Some(b'\n')) => {}
        (None, _) | (Some(b'\r'), None) => return Ok(Line::Incomplete),
        (Some(b'\r'), Some(_)) => return Err(FieldError::BareCarriageReturn),
        (Some(_), _) => return Err(FieldError::Value),
    }
    let (value_start, value_end) = trimmed(line, name_end + 1, stop);
    Ok(Line::Field(FieldLine {
        name_end,
        value_start,
        value_end,
        len: stop + 2,
        has_underscore: line[..name_end].contains(&b'_'),
    }))
}

/// What it is when the byte at `at` is the first that no name holds, and it is not a colon after
/// one.
#[cold]
fn not_a_field(line: &[u8], at: usize) -> Result<Line, FieldError> {
    match (at, line[at], line.get(1)) {
        (0, b'\r', Some(b'\n')) => Ok(Line::Blank),
        (0, b'\r', None) => Ok(Line::Incomplete),
        (_, b'\r', _) => Err(FieldError::BareCarriageReturn),
        (0, b' ' | b'\t', _) => Err(FieldError::Folded),
        _ => Err(FieldError::Name),
    }
}

/// What [`next_line`] says of a line that is as most are: a name of letters and dashes, one space, a
/// value without others around it, and room for it. `stop` is where `bytes` have the first byte that no
/// value may hold.
#[inline]
fn usual_line(bytes: &[u8], stop: usize, field_size: usize) -> Option<FieldLine> {
    let mut name_end = 0;
    loop {
        let chunk = bytes.get(name_end..)?.first_chunk()?;
        if let Some(end) = first(no_letters(*chunk)) {
            name_end += end;
            break;
        }
        name_end += LANES;
    }
    let (line, after) = bytes.split_at_checked(stop)?;
    // Of what a value may hold only spaces and tabs are not above the space.
    let is_usual = matches!(line.get(name_end..)?, [b':', b' ', first, ..] if *first > b' ')
        && line.last().is_some_and(|&last| last > b' ')
        && after.starts_with(b"\r\n")
        && name_end > 0
        && stop <= field_size;
    is_usual.then_some(FieldLine {
        name_end,
        value_start: name_end + 2,
        value_end: stop,
        len: stop + 2,
        has_underscore: false,
    })
}

/// The lines of a section, one after the other.
///
/// Where they end is found for many bytes at once, more than most lines have. So it takes few loops
/// whose lengths a processor can't predict.
pub(crate) struct Lines<'b> {
    bytes: &'b [u8],
    /// Where the next line starts, and the room from there on.
    at: usize,
    room: Room,
    /// Where the block starts that was looked at last, and a bit for each of its bytes that no value may
    /// hold.
    block: usize,
    stops: u64,
}

impl<'b> Lines<'b> {
    /// Those of `bytes` from `at` on, which are no more than the room has bytes: a usual line is not
    /// measured against that again.
    #[inline]
    pub(crate) fn new(bytes: &'b [u8], at: usize, room: Room) -> Self {
        Self {
            bytes,
            at,
            room,
            block: at,
            stops: stops(bytes, at),
        }
    }

    /// Where the next line starts.
    #[inline]
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// Take the next line apart, as [`next_line`] does.
    #[inline]
    pub(crate) fn next(&mut self) -> Result<Line, FieldError> {
        let stop = self.next_stop() - self.at;
        let bytes = &self.bytes[self.at..];
        let usual = usual_line(bytes, stop, self.room.field_size);
        let line = match usual {
            Some(line) if self.room.fields > 0 => line,
            _ => match next_line(bytes, self.room)? {
                Line::Field(line) => line,
                other => return Ok(other),
            },
        };
        self.at += line.len;
        self.room.bytes -= line.len;
        self.room.fields -= 1;
        Ok(Line::Field(line))
    }

    /// Where the first byte is from the next line's start on that no value may hold, or the end of all.
    #[inline]
    fn next_stop(&mut self) -> usize {
        loop {
            let passed = self.at.saturating_sub(self.block);
            if passed < BLOCK {
                let left = self.stops >> passed;
                if left != 0 {
                    return self.block + passed + left.trailing_zeros() as usize;
                }
            }
            self.block += BLOCK;
            self.stops = stops(self.bytes, self.block);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines of `section` as [`next_line`] finds them, to the first that is none, and as [`Lines`] does.
    fn check_lines(section: &[u8], mut room: Room) {
        let mut lines = Lines::new(section, 0, room);
        let mut at = 0;
        loop {
            let expected = next_line(&section[at..], room);
            assert_eq!(lines.at(), at);
            assert_eq!(lines.next(), expected, "{:?}", &section[at..]);
            let Ok(Line::Field(line)) = expected else {
                return;
            };
            at += line.len;
            room.bytes -= line.len;
            room.fields -= 1;
        }
    }

    const ROOM: Room = Room {
        fields: 1000,
        field_size: 1000,
        bytes: 1 << 20,
    };

    #[test]
    fn a_usual_line_is_what_the_scanner_says() {
        for line in [
            &b"X-Forwarded-Proto: https\r\n\r\nEnough-For-A-Chunk: of bytes\r\n"[..],
            b"A: b\r\n\r\nEnough-For-A-Chunk: of bytes\r\n",
            b"A:b\r\n\r\nEnough-For-A-Chunk: of bytes\r\n",
            b"A: \r\n\r\nEnough-For-A-Chunk: of bytes\r\n",
            b"A: more bytes than a block has, so that the next one is what is left of all\r\n\
              Of-The-Last-Block: b\r\n\r\n",
        ] {
            for at in 0..line.len() {
                check_lines(&line[..at], ROOM);
                for byte in 0..=u8::MAX {
                    let mut line = line.to_vec();
                    line[at] = byte;
                    check_lines(&line, ROOM);
                }
                for fields in 0..3 {
                    let bytes = at;
                    let field_size = at;
                    check_lines(line, Room { fields, ..ROOM });
                    check_lines(line, Room { field_size, ..ROOM });
                    check_lines(&line[..at], Room { bytes, ..ROOM });
                }
            }
        }
    }

    #[test]
    fn lines_of_any_lengths_follow_each_other() {
        for first in 0..200 {
            let mut section = Vec::new();
            for len in [first, 0, 1, 61, 62, 63, 64, 130, 0, 500] {
                section.extend_from_slice(b"Name: ");
                section.resize(section.len() + len, b'v');
                section.extend_from_slice(b"\r\n");
            }
            section.extend_from_slice(b"\r\n");
            check_lines(&section, ROOM);
        }
    }
}
