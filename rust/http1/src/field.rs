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
/// The underscore, which no field may have that reaches an application.
pub(crate) const UNDERSCORE: u8 = 1 << 6;
/// `qdtext`, RFC 9110 5.6.4.
pub(crate) const QUOTED: u8 = 1 << 7;

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
        if byte == b'_' {
            class |= UNDERSCORE;
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

/// How many bytes of `chunk` come before the first that may not stand in a field value, if any.
#[inline]
fn value_end(chunk: [u8; LANES]) -> Option<usize> {
    let bytes = u8x16::new(chunk);
    let is = |byte| bytes.simd_eq(u8x16::splat(byte));
    first((bytes.simd_lt(u8x16::splat(b' ')) & !is(b'\t')) | is(0x7f))
}

/// How many bytes of `chunk` come before the first that is neither a letter nor a dash, if any.
#[inline]
fn letters_end(chunk: [u8; LANES]) -> Option<usize> {
    let bytes = u8x16::new(chunk);
    let lower = bytes | u8x16::splat(0x20);
    let is_other = lower.simd_lt(u8x16::splat(b'a')) | lower.simd_gt(u8x16::splat(b'z'));
    first(is_other & !bytes.simd_eq(u8x16::splat(b'-')))
}

/// The first lane that is set in a comparison's result.
#[inline]
fn first(lanes: u8x16) -> Option<usize> {
    match lanes.to_bitmask() {
        0 => None,
        mask => Some(mask.trailing_zeros() as usize),
    }
}

/// How many bytes come before the first where `end_in` a chunk is.
#[inline]
fn run_in_chunks(bytes: &[u8], end_in: impl Fn([u8; LANES]) -> Option<usize>) -> usize {
    let mut at = 0;
    while let Some(chunk) = bytes[at..].first_chunk() {
        if let Some(end) = end_in(*chunk) {
            return at + end;
        }
        at += LANES;
    }
    // NUL is the end of every run.
    let rest = &bytes[at..];
    let mut chunk = [0; LANES];
    chunk[..rest.len()].copy_from_slice(rest);
    at + end_in(chunk).unwrap_or(rest.len())
}

/// How many bytes at the start of `bytes` may stand in a field value: what `run(bytes, VALUE)`
/// says.
#[inline]
pub(crate) fn value_run(bytes: &[u8]) -> usize {
    run_in_chunks(bytes, value_end)
}

/// How many bytes at the start of `bytes` are letters and dashes.
#[inline]
fn letter_run(bytes: &[u8]) -> usize {
    run_in_chunks(bytes, letters_end)
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
#[inline]
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
#[inline]
fn scan(line: &[u8]) -> Result<Line, FieldError> {
    // What a name holds, a value may hold too: where the value ends can be found from here. The next line
    // does not have to wait until the end of the name is known.
    let stop = value_run(line);
    let mut classes = 0;
    let mut name_end = letter_run(line);
    let after_name = loop {
        let Some(&byte) = line.get(name_end) else {
            return Ok(Line::Incomplete);
        };
        let class = class(byte);
        if class & TOKEN == 0 {
            break byte;
        }
        classes |= class;
        name_end += 1;
    };
    if after_name != b':' || name_end == 0 {
        return not_a_field(line, name_end);
    }

    let mut value_start = name_end + 1;
    while let Some(b' ' | b'\t') = line.get(value_start) {
        value_start += 1;
    }
    match (line.get(stop), line.get(stop + 1)) {
        (Some(b'\r'), Some(b'\n')) => {}
        (None, _) | (Some(b'\r'), None) => return Ok(Line::Incomplete),
        (Some(b'\r'), Some(_)) => return Err(FieldError::BareCarriageReturn),
        (Some(_), _) => return Err(FieldError::Value),
    }
    let mut value_end = stop;
    while value_end > value_start && matches!(line[value_end - 1], b' ' | b'\t') {
        value_end -= 1;
    }
    Ok(Line::Field(FieldLine {
        name_end,
        value_start,
        value_end,
        len: stop + 2,
        has_underscore: classes & UNDERSCORE != 0,
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

/// Whether `bytes` is a token.
pub(crate) fn is_token(bytes: &[u8]) -> bool {
    let letters = letter_run(bytes);
    !bytes.is_empty() && letters + run(&bytes[letters..], TOKEN) == bytes.len()
}

/// `bytes` without spaces and tabs around it, and without any other byte being taken for one.
pub(crate) fn trim(bytes: &[u8]) -> &[u8] {
    let is_content = |byte: &u8| !matches!(byte, b' ' | b'\t');
    let start = bytes.iter().position(is_content).unwrap_or(bytes.len());
    let end = bytes
        .iter()
        .rposition(is_content)
        .map_or(start, |last| last + 1);
    &bytes[start..end]
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
                (UNDERSCORE, byte == b'_'),
                (QUOTED, value && !is_in(b"\"\\")),
            ];
            for (wanted, expected) in expected {
                assert_eq!(is(byte, wanted), expected, "{byte:#x} in {wanted}");
            }
        }
    }
}
