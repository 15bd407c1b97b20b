//! The body of a request while it arrives.

use http1::{BodyFraming, ChunkedDecoder, FramingError, Limits};

/// What has come of a body, decoded, and how much of it is missing.
#[derive(Debug)]
pub struct Incoming {
    framing: Framing,
    /// What is decoded and nobody has taken yet.
    pub data: Vec<u8>,
}

#[derive(Debug)]
enum Framing {
    Length {
        left: u64,
    },
    Chunked {
        decoder: Box<ChunkedDecoder>,
        /// The start of something the decoder wants to see whole.
        raw: Vec<u8>,
        done: bool,
    },
}

impl Incoming {
    pub fn new(framing: BodyFraming, limits: &Limits) -> Self {
        let framing = match framing {
            BodyFraming::None => Framing::Length { left: 0 },
            BodyFraming::Length(left) => Framing::Length { left },
            BodyFraming::Chunked => Framing::Chunked {
                decoder: Box::new(ChunkedDecoder::new(limits)),
                raw: Vec::new(),
                done: false,
            },
        };
        Self {
            framing,
            data: Vec::new(),
        }
    }

    pub fn is_complete(&self) -> bool {
        match &self.framing {
            Framing::Length { left } => *left == 0,
            Framing::Chunked { done, .. } => *done,
        }
    }

    /// How many bytes are missing; `None` when only the end will tell.
    pub fn missing(&self) -> Option<u64> {
        match &self.framing {
            Framing::Length { left } => Some(*left),
            Framing::Chunked { done: true, .. } => Some(0),
            Framing::Chunked { .. } => None,
        }
    }

    /// How many of the next bytes on the wire are the body's own and need no decoding, at most `limit`.
    ///
    /// They may be put behind `data` directly; [`Self::count_plain`] then has to be told. 0 means that
    /// they must go through [`Self::push`].
    pub fn plain_room(&self, limit: usize) -> usize {
        match &self.framing {
            Framing::Length { left } => usize::try_from(*left).unwrap_or(limit).min(limit),
            Framing::Chunked { .. } => 0,
        }
    }

    /// `count` bytes have been put behind `data`.
    pub fn count_plain(&mut self, count: usize) {
        if let Framing::Length { left } = &mut self.framing {
            *left = left.saturating_sub(count as u64);
        }
    }

    /// Take in what has come, and tell how much of it belongs to this body; what is behind that is the
    /// start of the next request.
    ///
    /// # Errors
    ///
    /// The body is not what its framing says; nothing behind it can be understood.
    pub fn push(&mut self, bytes: &[u8]) -> Result<usize, FramingError> {
        match &mut self.framing {
            Framing::Length { left } => {
                let count = usize::try_from(*left)
                    .unwrap_or(usize::MAX)
                    .min(bytes.len());
                self.data.extend_from_slice(&bytes[..count]);
                *left -= count as u64;
                Ok(count)
            }
            Framing::Chunked { done: true, .. } => Ok(0),
            Framing::Chunked { decoder, raw, done } => {
                let held = raw.len();
                let (consumed, is_done) = if held == 0 {
                    decode(decoder, bytes, &mut self.data)?
                } else {
                    raw.extend_from_slice(bytes);
                    decode(decoder, raw, &mut self.data)?
                };
                if is_done {
                    *done = true;
                    raw.clear();
                    return Ok(consumed.saturating_sub(held));
                }
                if held == 0 {
                    raw.extend_from_slice(&bytes[consumed..]);
                } else {
                    raw.drain(..consumed);
                }
                Ok(bytes.len())
            }
        }
    }
}

/// Decode as much of `input` as can be, and tell how much that was and whether the body ended there.
fn decode(
    decoder: &mut ChunkedDecoder,
    input: &[u8],
    data: &mut Vec<u8>,
) -> Result<(usize, bool), FramingError> {
    let mut at = 0;
    loop {
        let step = decoder.decode(&input[at..])?;
        data.extend_from_slice(&input[at..][step.data]);
        at += step.consumed;
        if step.done || step.consumed == 0 {
            return Ok((at, step.done));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: Limits = Limits {
        request_line: 8192,
        fields: 100,
        field_size: 8192,
        head: 65536,
        body: 1000,
    };

    #[test]
    fn a_length_takes_exactly_its_bytes() {
        let mut body = Incoming::new(BodyFraming::Length(5), &LIMITS);
        assert_eq!(body.push(b"he"), Ok(2));
        assert_eq!((body.is_complete(), body.missing()), (false, Some(3)));
        assert_eq!(body.plain_room(2), 2);
        assert_eq!(body.push(b"lloGET"), Ok(3));
        assert!(body.is_complete());
        assert_eq!(body.data, b"hello");
        assert_eq!(body.push(b"GET"), Ok(0));
    }

    #[test]
    fn plain_bytes_are_counted() {
        let mut body = Incoming::new(BodyFraming::Length(5), &LIMITS);
        assert_eq!(body.plain_room(100), 5);
        body.data.extend_from_slice(b"hello");
        body.count_plain(5);
        assert!(body.is_complete());
    }

    #[test]
    fn chunks_cut_anywhere_are_the_same_body() {
        let wire = b"5;a=\"b c\"\r\nhello\r\n1\r\n!\r\n0\r\nX: y\r\n\r\nGET / HTTP/1.1\r\n";
        let end = wire.len() - 16;
        for first in 0..wire.len() {
            for second in first..wire.len() {
                let mut body = Incoming::new(BodyFraming::Chunked, &LIMITS);
                let mut consumed = 0;
                for piece in [&wire[..first], &wire[first..second], &wire[second..]] {
                    if !body.is_complete() {
                        consumed += body.push(piece).unwrap();
                    }
                }
                assert!(body.is_complete());
                assert_eq!(body.data, b"hello!");
                assert_eq!(consumed, end, "cut at {first} and {second}");
            }
        }
    }

    #[test]
    fn a_broken_chunk_is_an_error_and_never_an_end() {
        let mut body = Incoming::new(BodyFraming::Chunked, &LIMITS);
        assert_eq!(body.push(b"5\r\nhel"), Ok(6));
        assert!(body.push(b"loXX0\r\n\r\n").is_err());
        assert!(!body.is_complete());
    }
}
