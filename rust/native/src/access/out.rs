//! Room that a line is written to, without a call for each short piece.

use wide::u8x16;

use crate::response::decimal;

/// How many bytes are looked at, or written, together.
const LANES: usize = 16;

/// Where a line is written. What does not fit is left out, and then the line has no length.
pub struct Out<'o> {
    room: &'o mut [u8],
    /// Beyond the end when something did not fit.
    at: usize,
}

/// A text of the format, or a part of it.
#[derive(Debug, Eq, PartialEq)]
pub struct Text {
    bytes: [u8; LANES],
    len: u8,
}

impl Text {
    /// The texts that `bytes` are when they are written one after the other.
    pub fn split(bytes: &[u8]) -> impl Iterator<Item = Self> {
        bytes.chunks(LANES).map(|part| Self {
            bytes: padded(part),
            len: u8::try_from(part.len()).unwrap_or(0),
        })
    }

    pub fn len(&self) -> usize {
        usize::from(self.len)
    }
}

fn padded(part: &[u8]) -> [u8; LANES] {
    let mut padded = [b' '; LANES];
    padded[..part.len()].copy_from_slice(part);
    padded
}

impl<'o> Out<'o> {
    pub fn new(room: &'o mut [u8]) -> Self {
        Self { room, at: 0 }
    }

    /// The length of what is written, if all of it is there.
    pub fn len(&self) -> Option<usize> {
        (self.at <= self.room.len()).then_some(self.at)
    }

    #[inline]
    pub fn put(&mut self, bytes: &[u8]) {
        let end = self.at + bytes.len();
        if let Some(room) = self.room.get_mut(self.at..end) {
            room.copy_from_slice(bytes);
        }
        self.at = end;
    }

    /// Write the first `len` of `bytes`.
    #[inline]
    fn put_start(&mut self, bytes: [u8; LANES], len: usize) {
        let room = self.room.get_mut(self.at..);
        match room.and_then(<[u8]>::first_chunk_mut) {
            // What is written behind it is written over.
            Some(room) => {
                *room = bytes;
                self.at += len;
            }
            None => self.put(&bytes[..len]),
        }
    }

    #[inline]
    pub fn put_text(&mut self, text: &Text) {
        self.put_start(text.bytes, text.len());
    }

    /// Write `part` if every byte is plain. Returns whether that is so; without room nobody looks.
    #[inline]
    pub fn put_plain(&mut self, part: &[u8]) -> bool {
        let Some(last) = part.last_chunk::<LANES>() else {
            let bytes = padded(part);
            let is_plain = !odd(bytes).any();
            if is_plain {
                self.put_start(bytes, part.len());
            }
            return is_plain;
        };
        let end = self.at + part.len();
        let Some(room) = self.room.get_mut(self.at..end) else {
            self.at = end;
            return true;
        };
        // The last chunk may overlap the one before.
        if let Some(room) = room.last_chunk_mut() {
            *room = *last;
        }
        let mut seen = odd(*last);
        let (chunks, _) = part.as_chunks();
        let (rooms, _) = room.as_chunks_mut();
        for (chunk, room) in chunks.iter().zip(rooms) {
            *room = *chunk;
            // Without a way out: how long a value is can't be predicted anyway.
            seen |= odd(*chunk);
        }
        let is_plain = !seen.any();
        if is_plain {
            self.at = end;
        }
        is_plain
    }

    pub fn put_decimal(&mut self, value: u64) {
        let (digits, start) = decimal(value);
        self.put(&digits[start..]);
    }

    /// The last `COUNT` digits of `value`.
    pub fn put_digits<const COUNT: usize>(&mut self, mut value: u32) {
        let mut digits = [0; COUNT];
        for digit in digits.iter_mut().rev() {
            *digit = b'0' + u8::try_from(value % 10).unwrap_or(0);
            value /= 10;
        }
        self.put(&digits);
    }
}

/// Whether a byte stands for itself in both forms.
pub fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\'
}

/// Which bytes are not plain.
#[inline]
fn odd(chunk: [u8; LANES]) -> u8x16 {
    let bytes = u8x16::new(chunk);
    let is = |byte| bytes.simd_eq(u8x16::splat(byte));
    let is_printable = bytes.simd_ge(u8x16::splat(b' ')) & bytes.simd_le(u8x16::splat(b'~'));
    !is_printable | is(b'"') | is(b'\\')
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The first and the last plain byte in turn, some chunks of them.
    fn plain() -> Vec<u8> {
        b" ~".repeat(35)
    }

    /// What `write` puts into a room of `len` bytes, if it has room.
    fn written(len: usize, write: impl FnOnce(&mut Out<'_>)) -> Option<Vec<u8>> {
        let mut room = vec![b'#'; len];
        let mut out = Out::new(&mut room);
        write(&mut out);
        let len = out.len()?;
        Some(room[..len].to_vec())
    }

    #[test]
    fn plain_is_what_has_no_odd_byte_anywhere() {
        for len in 0..=plain().len() {
            let plain = &plain()[..len];
            for room in [len, len + 1, len + LANES] {
                let found = written(room, |out| assert!(out.put_plain(plain)));
                assert_eq!(found.as_deref(), Some(plain));
            }
            for at in 0..len {
                for byte in (0..=u8::MAX).filter(|&byte| !is_plain(byte)) {
                    let mut odd = plain.to_vec();
                    odd[at] = byte;
                    let found = written(100, |out| {
                        assert!(!out.put_plain(&odd), "{byte} at {at} of {len}");
                        out.put(b"as it was");
                    });
                    assert_eq!(found.as_deref(), Some(&b"as it was"[..]));
                }
            }
        }
    }

    #[test]
    fn texts_of_any_length_are_written_whole() {
        for len in 0..=plain().len() {
            let text = &plain()[..len];
            for room in [len, len + 1, len + LANES] {
                let found = written(room, |out| {
                    Text::split(text).for_each(|part| out.put_text(&part));
                });
                assert_eq!(found.as_deref(), Some(text));
            }
        }
    }

    #[test]
    fn what_does_not_fit_has_no_length_whatever_follows() {
        for len in 1..=plain().len() {
            let value = &plain()[..len];
            let parts = || Text::split(value);
            assert_eq!(written(len - 1, |out| out.put(value)), None);
            assert_eq!(written(len - 1, |out| assert!(out.put_plain(value))), None);
            assert_eq!(
                written(len - 1, |out| {
                    parts().for_each(|part| out.put_text(&part));
                    out.put(b"");
                    out.put_decimal(7);
                }),
                None
            );
        }
    }

    #[test]
    fn numbers_have_all_their_digits_or_as_many_as_are_asked_for() {
        let found = written(100, |out| {
            for value in [0, 9, 10, u64::MAX] {
                out.put_decimal(value);
                out.put(b" ");
            }
            out.put_digits::<3>(42);
            out.put_digits::<3>(1204);
        });
        assert_eq!(
            found.as_deref(),
            Some(&b"0 9 10 18446744073709551615 042204"[..])
        );
    }
}
