//! A line as it is mostly: values that need no escape, and room enough.

use wide::i8x16;

use super::line::{LANES, Put, Text};
use super::{ATOMIC_LINE_BYTES, Column};

/// The longest line that is written this way.
const MOST: usize = 4096;

const _: () = assert!(MOST <= ATOMIC_LINE_BYTES);

/// Where a line is written, as long as it may become.
pub struct Raw<'o> {
    /// What a line has too much of is all written behind the longest one, so that each piece has room.
    room: &'o mut [u8; MOST + LANES],
    at: usize,
}

impl<'o> Raw<'o> {
    /// Write to the start of `room`, if it is large enough for any line.
    #[inline]
    pub fn new(room: &'o mut [u8]) -> Option<Self> {
        let room = room.first_chunk_mut()?;
        Some(Self { room, at: 0 })
    }

    /// The length of the line, if it was not too long and `odd` of its bytes are not plain.
    #[inline]
    pub fn len(self, odd: usize) -> Option<usize> {
        if self.at > MOST {
            return None;
        }
        // Bytes that are plain end the last chunk.
        self.room[self.at..self.at + LANES].fill(b' ');
        let (chunks, _) = self.room.as_chunks();
        (count_odd(&chunks[..self.at.div_ceil(LANES)]) == odd).then_some(self.at)
    }

    /// Write a chunk, of which `len` bytes count. What is behind them is written over.
    #[inline]
    fn put_chunk<const N: usize>(&mut self, chunk: [u8; N], len: usize) {
        const { assert!(N <= LANES) }
        let at = self.at.min(MOST);
        self.room[at..at + N].copy_from_slice(&chunk);
        self.at += len;
    }
}

impl Put for Raw<'_> {
    #[inline]
    fn put_text(&mut self, text: &Text) {
        self.put_chunk(text.bytes, text.len());
    }

    #[inline]
    fn put_value(&mut self, value: &[u8], _column: &Column) {
        let (chunks, _) = value.as_chunks::<LANES>();
        for chunk in chunks {
            self.put_chunk(*chunk, LANES);
        }
        let rest = value.len() % LANES;
        if let Some(last) = value.last_chunk::<LANES>() {
            // It overlaps the one before.
            self.at = self.at.wrapping_sub(LANES - rest);
            self.put_chunk(*last, LANES);
        } else if let (Some(first), Some(last)) = (value.first_chunk::<8>(), value.last_chunk()) {
            self.put_chunk(*first, rest - 8);
            self.put_chunk::<8>(*last, 8);
        } else if let (Some(first), Some(last)) = (value.first_chunk::<4>(), value.last_chunk()) {
            self.put_chunk(*first, rest - 4);
            self.put_chunk::<4>(*last, 4);
        } else {
            for byte in value {
                self.put_chunk([*byte], 1);
            }
        }
    }
}

/// How many bytes are not plain.
#[inline]
fn count_odd(chunks: &[[u8; LANES]]) -> usize {
    let mut odd = chunks.len() * LANES;
    // Each lane counts up to this.
    for chunks in chunks.chunks(usize::from(u8::MAX)) {
        let mut plain = i8x16::ZERO;
        for chunk in chunks {
            // A lane is -1 where its byte is plain.
            plain -= are_plain(*chunk);
        }
        let lanes = plain.to_array().into_iter();
        odd -= lanes
            .map(|lane| usize::from(lane.cast_unsigned()))
            .sum::<usize>();
    }
    odd
}

/// Which bytes are plain.
#[inline]
fn are_plain(chunk: [u8; LANES]) -> i8x16 {
    let bytes = i8x16::new(chunk.map(u8::cast_signed));
    let is = |byte: u8| bytes.simd_eq(i8x16::splat(byte.cast_signed()));
    // With one more, what is behind `~` is negative, as what is above ASCII already is.
    let is_printable = (bytes + i8x16::splat(1)).simd_gt(i8x16::splat(b' '.cast_signed()));
    is_printable & !(is(b'"') | is(b'\\'))
}

#[cfg(test)]
mod tests {
    use super::super::line::is_plain;
    use super::super::{Column, Piece};
    use super::*;

    fn column() -> Column {
        Column {
            text: Text::new(b""),
            piece: Piece::Nothing,
            is_quoted: false,
            is_foreign: true,
        }
    }

    /// The line that `write` makes, if it has a length.
    fn line(odd: usize, write: impl FnOnce(&mut Raw<'_>)) -> Option<Vec<u8>> {
        let mut room = vec![b'"'; MOST + LANES];
        let mut raw = Raw::new(&mut room)?;
        write(&mut raw);
        let len = raw.len(odd)?;
        Some(room[..len].to_vec())
    }

    /// The first and the last plain byte in turn.
    fn plain(len: usize) -> Vec<u8> {
        b" ~".iter().copied().cycle().take(len).collect()
    }

    #[test]
    fn texts_and_values_of_any_length_are_written_whole() {
        let distinct: Vec<u8> = (b'#'..b'[').chain(b'a'..=b'z').collect();
        for len in 0..=distinct.len() {
            let (before, last) = Text::split(&distinct[..len]);
            let texts = || before.iter().chain([&last]);
            let value = &distinct[distinct.len() - len..];
            let found = line(0, |raw| {
                for _ in 0..2 {
                    texts().for_each(|text| raw.put_text(text));
                    raw.put_value(value, &column());
                }
            });
            let expected = [&distinct[..len], value].concat().repeat(2);
            assert_eq!(found, Some(expected), "{len}");
        }
    }

    #[test]
    fn every_byte_that_is_not_plain_is_counted() {
        for len in (1..40).chain([4079, 4080, 4081, MOST]) {
            let value = plain(len);
            assert_eq!(
                line(0, |raw| raw.put_value(&value, &column())),
                Some(value.clone())
            );
            for at in (0..len).filter(|at| *at < 20 || len - at < 20) {
                let odd_bytes = (0..=u8::MAX).filter(|&byte| !is_plain(byte));
                for byte in odd_bytes.step_by(if len < 40 { 1 } else { 50 }) {
                    let mut odd = value.clone();
                    odd[at] = byte;
                    let found = |count| line(count, |raw| raw.put_value(&odd, &column()));
                    assert_eq!(found(0), None, "{byte} at {at} of {len}");
                    assert_eq!(found(1).as_ref(), Some(&odd), "{byte} at {at} of {len}");
                }
            }
        }
        let odd = vec![0xff; MOST];
        let found = |count| line(count, |raw| raw.put_value(&odd, &column()));
        assert_eq!((found(0), found(MOST).as_ref()), (None, Some(&odd)));
    }

    #[test]
    fn a_line_that_is_too_long_has_no_length() {
        for (first, second) in [
            (MOST, 1),
            (1, MOST),
            (MOST - 1, 2),
            (5 * MOST, 0),
            (MOST, 17),
        ] {
            let found = line(0, |raw| {
                raw.put_value(&plain(first), &column());
                raw.put_value(&plain(second), &column());
            });
            assert_eq!(found, None, "{first}, {second}");
        }
        assert!(Raw::new(&mut vec![0; MOST + LANES - 1]).is_none());
    }
}
