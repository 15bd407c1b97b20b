//! What a line is put together from.

use super::Column;

/// The longest text.
pub const LANES: usize = 16;

/// A text of the format, or a part of it: so short that all of it is written at once.
#[derive(Debug)]
pub struct Text {
    pub bytes: [u8; LANES],
    len: u8,
}

/// Where a line is written.
pub trait Put {
    fn put_text(&mut self, text: &Text);

    /// Write the value of `column`.
    fn put_value(&mut self, value: &[u8], column: &Column);
}

impl Text {
    /// A text of at most [`LANES`] bytes.
    pub fn new(part: &[u8]) -> Self {
        let mut bytes = [b' '; LANES];
        bytes[..part.len()].copy_from_slice(part);
        Self {
            bytes,
            len: u8::try_from(part.len()).unwrap_or(0),
        }
    }

    /// The texts that `bytes` are when they are written one after the other; the last may be empty.
    pub fn split(bytes: &[u8]) -> (Vec<Self>, Self) {
        let (whole, rest) = bytes.as_chunks::<LANES>();
        let whole = whole.iter().map(|chunk| Self::new(chunk));
        (whole.collect(), Self::new(rest))
    }

    #[inline]
    pub fn len(&self) -> usize {
        usize::from(self.len)
    }

    pub fn as_bytes(&self) -> &[u8] {
        &self.bytes[..self.len()]
    }
}

/// Whether a byte stands for itself, in text and in JSON.
pub fn is_plain(byte: u8) -> bool {
    matches!(byte, b' '..=b'~') && byte != b'"' && byte != b'\\'
}
