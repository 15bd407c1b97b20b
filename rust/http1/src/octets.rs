//! Bytes of a head: which may stand where, and where a run of them ends.

use wide::u8x16;

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
pub(crate) const LANES: usize = 16;

/// As many as the bits of a word.
pub(crate) const BLOCK: usize = 64;

/// Which bytes of `chunk` may not stand in a field value.
#[inline]
fn no_values(chunk: [u8; LANES]) -> u16 {
    let bytes = u8x16::new(chunk);
    let is = |byte| bytes.simd_eq(u8x16::splat(byte));
    mask((bytes.simd_lt(u8x16::splat(b' ')) & !is(b'\t')) | is(0x7f))
}

/// Which bytes of `chunk` are neither letters nor dashes.
#[inline]
pub(crate) fn no_letters(chunk: [u8; LANES]) -> u16 {
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
pub(crate) fn first(mask: u16) -> Option<usize> {
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

/// A bit for each of the 64 bytes from `at` on that no value may hold. What is beyond their end has one
/// too.
#[inline]
pub(crate) fn stops(bytes: &[u8], at: usize) -> u64 {
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
pub(crate) fn trimmed(bytes: &[u8], start: usize, end: usize) -> (usize, usize) {
    let is_content = |byte: &u8| !matches!(byte, b' ' | b'\t');
    let bytes = &bytes[start..end];
    let first = bytes.iter().position(is_content).unwrap_or(bytes.len());
    let last = bytes.iter().rposition(is_content);
    (start + first, start + last.map_or(first, |last| last + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
