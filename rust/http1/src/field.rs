//! Field lines: which bytes may stand where, and the one scanner for heads and trailers.
//!
//! The scanner goes from left to right and judges each byte by those before it alone. That is why
//! a line that arrives in pieces has the same outcome, error included, as one that arrives whole.

use wide::u8x16;

use crate::error::FieldError;

/// `tchar`, RFC 9110 5.6.2.
pub(crate) const TOKEN: u8 = 1;
/// What a field value may hold: HTAB, SP, VCHAR and obs-text, RFC 9110 5.5.
pub(crate) const VALUE: u8 = 1 << 1;
/// Visible ASCII that stands for itself in a path: all but `#`, `%` and `?`.
///
/// RFC 3986 has a few bytes less (`"<>\^{|}` and the backtick). Browsers send them and nginx passes
/// them on, and no two parsers end a target at them.
pub(crate) const PATH: u8 = 1 << 2;
/// Visible ASCII but `#`: a query.
pub(crate) const QUERY: u8 = 1 << 3;
/// `unreserved` and `sub-delims` but the comma: a host name, RFC 3986 3.2.2.
///
/// The comma is left out because a list of two hosts would pass for one.
pub(crate) const HOST: u8 = 1 << 4;
/// `HEXDIG` in either case.
pub(crate) const HEX: u8 = 1 << 5;
/// `qdtext`, RFC 9110 5.6.4.
pub(crate) const QUOTED: u8 = 1 << 6;

static CLASSES: [u8; 256] = classes();

const fn classes() -> [u8; 256] {
    let mut table = [0; 256];
    let mut byte: u8 = 0;
    loop {
        let mut class = 0;
        if byte.is_ascii_alphanumeric() {
            class |= TOKEN | HOST;
        }
        if matches!(
            byte,
            b'!' | b'#'..=b'\'' | b'*' | b'+' | b'-' | b'.' | b'^' | b'_' | b'`' | b'|' | b'~'
        ) {
            class |= TOKEN;
        }
        if matches!(byte, b'\t' | b' '..=b'~' | 0x80..) {
            class |= VALUE;
            if byte != b'"' && byte != b'\\' {
                class |= QUOTED;
            }
        }
        if byte.is_ascii_graphic() && byte != b'#' {
            class |= QUERY;
            if byte != b'%' && byte != b'?' {
                class |= PATH;
            }
        }
        if matches!(
            byte,
            b'-' | b'.' | b'_' | b'~' | b'!' | b'$' | b'&'..=b'+' | b';' | b'='
        ) {
            class |= HOST;
        }
        if byte.is_ascii_hexdigit() {
            class |= HEX;
        }
        table[byte as usize] = class;
        if byte == u8::MAX {
            return table;
        }
        byte += 1;
    }
}

/// The classes of `byte`.
#[inline]
pub(crate) fn class(byte: u8) -> u8 {
    CLASSES[usize::from(byte)]
}

/// Whether `byte` belongs to `wanted`.
#[inline]
pub(crate) fn is(byte: u8, wanted: u8) -> bool {
    class(byte) & wanted != 0
}

/// How many bytes at the start of `bytes` belong to `wanted`.
#[inline]
pub(crate) fn run(bytes: &[u8], wanted: u8) -> usize {
    bytes
        .iter()
        .position(|&byte| !is(byte, wanted))
        .unwrap_or(bytes.len())
}

/// How many bytes are looked at together. How long names and values are is what a processor can't
/// predict, and a wrong guess costs it as much as a dozen additions.
const LANES: usize = 16;

/// As many as the bits of a word.
const BLOCK: usize = 64;

/// Which bytes of `chunk` may not stand in a field value.
#[inline]
fn no_values(chunk: [u8; LANES]) -> u16 {
    let bytes = u8x16::new(chunk);
    let is = |byte| bytes.simd_eq(u8x16::splat(byte));
    mask((bytes.simd_lt(u8x16::splat(b' ')) & !is(b'\t')) | is(0x7f))
}

/// Which bytes of `chunk` are neither letters nor dashes.
#[inline]
fn no_letters(chunk: [u8; LANES]) -> u16 {
    let bytes = u8x16::new(chunk);
    let lower = bytes | u8x16::splat(0x20);
    let is_other = lower.simd_lt(u8x16::splat(b'a')) | lower.simd_gt(u8x16::splat(b'z'));
    mask(is_other & !bytes.simd_eq(u8x16::splat(b'-')))
}

/// A bit for each lane of a comparison's result, the first one lowest.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "there are 16 lanes")]
fn mask(lanes: u8x16) -> u16 {
    lanes.to_bitmask() as u16
}

/// How many bytes of a chunk come before the first that has a bit, if any.
#[inline]
fn first(mask: u16) -> Option<usize> {
    (mask != 0).then_some(mask.trailing_zeros() as usize)
}

/// How many bytes come before the first that `ends` the run.
#[inline]
fn run_in_chunks(bytes: &[u8], ends: impl Fn([u8; LANES]) -> u16) -> usize {
    let mut at = 0;
    while let Some(chunk) = bytes[at..].first_chunk() {
        if let Some(end) = first(ends(*chunk)) {
            return at + end;
        }
        at += LANES;
    }
    let rest = &bytes[at..];
    at + first(ends(padded(rest))).unwrap_or(rest.len())
}

/// `rest` and NULs behind it, which end every run.
fn padded<const LEN: usize>(rest: &[u8]) -> [u8; LEN] {
    let mut padded = [0; LEN];
    padded[..rest.len()].copy_from_slice(rest);
    padded
}

/// How many bytes at the start of `bytes` may stand in a field value: what `run(bytes, VALUE)`
/// says.
#[inline]
pub(crate) fn value_run(bytes: &[u8]) -> usize {
    run_in_chunks(bytes, no_values)
}

/// How many bytes at the start of `bytes` are letters and dashes.
#[inline]
fn letter_run(bytes: &[u8]) -> usize {
    run_in_chunks(bytes, no_letters)
}

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

/// A bit for each of the 64 bytes from `at` on that no value may hold. What is beyond their end has one
/// too.
#[inline]
fn stops(bytes: &[u8], at: usize) -> u64 {
    let rest = bytes.get(at..).unwrap_or_default();
    if let Some(block) = rest.first_chunk() {
        return stops_in(block);
    }
    match bytes.last_chunk() {
        Some(block) if !rest.is_empty() => {
            // Those before `at` are shifted out.
            stops_in(block) >> (BLOCK - rest.len()) | u64::MAX << rest.len()
        }
        _ => stops_in(&padded(rest)),
    }
}

#[inline]
fn stops_in(block: &[u8; BLOCK]) -> u64 {
    let (chunks, _) = block.as_chunks();
    chunks.iter().rev().fold(0, |mask, &chunk| {
        mask << LANES | u64::from(no_values(chunk))
    })
}

/// Whether `bytes` is a token.
pub(crate) fn is_token(bytes: &[u8]) -> bool {
    let letters = letter_run(bytes);
    !bytes.is_empty() && letters + run(&bytes[letters..], TOKEN) == bytes.len()
}

/// `bytes` without spaces and tabs around it, and without any other byte being taken for one.
pub(crate) fn trim(bytes: &[u8]) -> &[u8] {
    let (start, end) = trimmed(bytes, 0, bytes.len());
    &bytes[start..end]
}

/// Where what is left of `bytes[start..end]` starts and ends without spaces and tabs around it.
fn trimmed(bytes: &[u8], start: usize, end: usize) -> (usize, usize) {
    let is_content = |byte: &u8| !matches!(byte, b' ' | b'\t');
    let bytes = &bytes[start..end];
    let first = bytes.iter().position(is_content).unwrap_or(bytes.len());
    let last = bytes.iter().rposition(is_content);
    (start + first, start + last.map_or(first, |last| last + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each byte at each of the first 40 positions, between two kinds of bytes that never stop a
    /// run.
    fn each_placement(check: impl Fn(&[u8])) {
        for filler in [b'a', b'-'] {
            for len in 0..40 {
                for at in 0..len {
                    for byte in 0..=u8::MAX {
                        let mut bytes = vec![filler; len];
                        bytes[at] = byte;
                        check(&bytes);
                        bytes[len - 1] = 0;
                        check(&bytes);
                    }
                }
            }
        }
    }

    #[test]
    fn value_run_is_the_run_of_value_bytes() {
        each_placement(|bytes| assert_eq!(value_run(bytes), run(bytes, VALUE), "{bytes:?}"));
    }

    #[test]
    fn letter_run_is_the_run_of_letters_and_dashes() {
        each_placement(|bytes| {
            let is_letter = |byte: &&u8| byte.is_ascii_alphabetic() || **byte == b'-';
            let letters = bytes.iter().take_while(is_letter).count();
            assert_eq!(letter_run(bytes), letters, "{bytes:?}");
        });
    }

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
    fn stops_are_where_no_value_goes_on() {
        for len in 0..140 {
            for stop in 0..=len {
                let mut bytes = vec![b'v'; len];
                if let Some(byte) = bytes.get_mut(stop) {
                    *byte = 0x7f;
                }
                for at in 0..=len {
                    let goes_on = |at| bytes.get(at).is_some_and(|&byte| is(byte, VALUE));
                    let expected = (0..BLOCK)
                        .filter(|bit| !goes_on(at + bit))
                        .fold(0, |mask, bit| mask | 1 << bit);
                    assert_eq!(stops(&bytes, at), expected, "{stop} of {len} from {at}");
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

    #[test]
    fn classes_are_those_of_the_rfcs() {
        for byte in 0..=u8::MAX {
            let is_in = |set: &[u8]| set.contains(&byte);
            let alphanumeric = byte.is_ascii_alphanumeric();
            let visible = (0x21..=0x7e).contains(&byte);
            let value = byte == b'\t' || byte == b' ' || visible || byte >= 0x80;
            let expected = [
                (TOKEN, alphanumeric || is_in(b"!#$%&'*+-.^_`|~")),
                (VALUE, value),
                (PATH, visible && !is_in(b"#%?")),
                (QUERY, visible && byte != b'#'),
                (HOST, alphanumeric || is_in(b"-._~!$&'()*+;=")),
                (HEX, is_in(b"0123456789abcdefABCDEF")),
                (QUOTED, value && !is_in(b"\"\\")),
            ];
            for (wanted, expected) in expected {
                assert_eq!(is(byte, wanted), expected, "{byte:#x} in {wanted}");
            }
        }
    }
}
