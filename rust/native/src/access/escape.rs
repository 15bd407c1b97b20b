//! A line whose values end neither it nor a quoted part of it, whatever they are.

use super::Column;
use super::line::{Put, Text, is_plain};

/// Most lines are no longer.
const USUAL_BYTES: usize = 1024;

/// A line with escaped values.
pub struct Escaped {
    pub line: Vec<u8>,
    is_json: bool,
    value_bytes: usize,
}

impl Escaped {
    /// A value that comes from outside may take `value_bytes`; what is more is left out, and that is said.
    pub fn new(is_json: bool, value_bytes: usize) -> Self {
        Self {
            line: Vec::with_capacity(USUAL_BYTES),
            is_json,
            value_bytes,
        }
    }

    /// Append what stands for characters, as long as `room` is enough. Returns what is left of it, if it was.
    fn put_odd(
        &mut self,
        characters: impl Iterator<Item = Written>,
        mut room: usize,
    ) -> Option<usize> {
        for Written { bytes, len } in characters {
            room = room.checked_sub(len)?;
            self.line.extend_from_slice(&bytes[..len]);
        }
        Some(room)
    }

    /// Append bytes of which all are plain, or none is. Returns the same.
    fn put_run(&mut self, run: &[u8], room: usize) -> Option<usize> {
        if run.first().copied().is_some_and(is_plain) {
            self.line.extend_from_slice(&run[..run.len().min(room)]);
            return room.checked_sub(run.len());
        }
        if self.is_json {
            // No character is in two runs: all bytes of one are odd that is not ASCII.
            let characters = run.utf8_chunks().flat_map(|chunk| {
                let broken = (!chunk.invalid().is_empty()).then_some(char::REPLACEMENT_CHARACTER);
                chunk.valid().chars().chain(broken)
            });
            self.put_odd(characters.map(in_json), room)
        } else {
            self.put_odd(run.iter().copied().map(in_text), room)
        }
    }
}

impl Put for Escaped {
    fn put_text(&mut self, text: &Text) {
        self.line.extend_from_slice(text.as_bytes());
    }

    fn put_value(&mut self, value: &[u8], column: &Column) {
        let mut room = if column.is_foreign {
            self.value_bytes
        } else {
            usize::MAX
        };
        // Without a way out, so that the compiler makes vectors of it.
        let are_plain = value.iter().fold(true, |all, byte| all & is_plain(*byte));
        if are_plain && value.len() <= room {
            return self.line.extend_from_slice(value);
        }
        for run in value.chunk_by(|one, next| is_plain(*one) == is_plain(*next)) {
            match self.put_run(run, room) {
                Some(left) => room = left,
                None => return self.line.extend_from_slice(b"..."),
            }
        }
    }
}

/// What stands for one character.
struct Written {
    bytes: [u8; 6],
    len: usize,
}

impl Written {
    fn new(written: &[u8]) -> Self {
        let mut bytes = [0; 6];
        bytes[..written.len()].copy_from_slice(written);
        Self {
            bytes,
            len: written.len(),
        }
    }
}

fn in_text(byte: u8) -> Written {
    let [high, low] = hex(byte);
    Written::new(&[b'\\', b'x', high, low])
}

fn in_json(character: char) -> Written {
    match character {
        '"' => Written::new(b"\\\""),
        '\\' => Written::new(b"\\\\"),
        // With the C1 controls, which some terminals obey.
        control if control.is_control() => {
            let [high, low] = hex(u8::try_from(u32::from(control)).unwrap_or(0));
            Written::new(&[b'\\', b'u', b'0', b'0', high, low])
        }
        other => Written::new(other.encode_utf8(&mut [0; 4]).as_bytes()),
    }
}

fn hex(byte: u8) -> [u8; 2] {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    [
        DIGITS[usize::from(byte >> 4)],
        DIGITS[usize::from(byte & 15)],
    ]
}
