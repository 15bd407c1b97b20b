//! The access log of a worker: lines are gathered by the serving threads, each in a buffer of its own.
//!
//! To a file that takes them at once, a thread writes its batch itself: handing it to another processor
//! costs more than the write. All else is done by a thread of the log's own: what is there after a moment,
//! and whatever may wait or fail. So neither a full pipe nor a disk that has become slow holds up requests.
//! Lines that find no room, or can't be written, are lost and counted, and the error log says so.
//!
//! Lines never mix: every write ends at a line's end; to a file it is an append, which is atomic
//! (open(2), `O_APPEND`), and to anything else at most `PIPE_BUF` bytes (pipe(7)).

use std::io;
use std::mem;
use std::os::fd::{AsRawFd, OwnedFd, RawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::access::{ATOMIC_LINE_BYTES, Format, Record};
use crate::kernel::{self, Waited};

/// A batch of this size is written at once; a smaller one waits for company.
const BATCH_BYTES: usize = 64 * 1024;

/// The longest that a line waits for company.
const GATHERING: Duration = Duration::from_millis(100);

/// What a thread gathers while nothing can be written; further lines are lost.
const BUFFER_BYTES: usize = 256 * 1024;

/// How often losses are spoken of.
const SILENCE: Duration = Duration::from_secs(10);

/// A file that takes longer for a batch is left to the log's own thread until it is faster.
const SLOW: Duration = Duration::from_millis(2);

/// How long the last lines may hold up the end of a worker.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// How long a full pipe is waited for until it is seen whether the worker is to end.
const PATIENCE: Duration = Duration::from_millis(100);

/// Why a full pipe or socket takes no lines.
const NOT_READ: &str = "the other end is not read";

pub struct AccessLog {
    pub format: Format,
    fd: OwnedFd,
    /// Whether `fd` is a file, which takes a batch in one piece.
    is_file: bool,
    /// Serving threads may write: it is a file, and the last write was fast and complete.
    is_direct: AtomicBool,
    buffers: Mutex<Vec<Arc<Mutex<Buffer>>>>,
    order: Mutex<Order>,
    /// The order has changed.
    changed: Condvar,
}

struct Buffer {
    /// Of [`BUFFER_BYTES`]; the first `len` of them are lines.
    bytes: Box<[u8]>,
    len: usize,
    lost: u64,
}

impl Buffer {
    fn new() -> Self {
        Self {
            // The kernel gives memory for a page when it is written to.
            bytes: vec![0; BUFFER_BYTES].into(),
            len: 0,
            lost: 0,
        }
    }

    fn lines(&self) -> &[u8] {
        &self.bytes[..self.len]
    }

    /// Leave out the first `count` bytes.
    fn drop_start(&mut self, count: usize) {
        self.bytes.copy_within(count..self.len, 0);
        self.len -= count;
    }
}

/// What the writing thread is to do.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Order {
    Rest,
    /// There are lines; more may come.
    WriteSoon,
    WriteNow,
    /// Write what there is and end.
    End,
    /// That is done.
    Ended,
}

/// What a serving thread writes its lines with.
pub struct Pen<'a> {
    log: &'a AccessLog,
    buffer: Arc<Mutex<Buffer>>,
    /// The time of the last line, and how it is written.
    second: i64,
    time: Vec<u8>,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl AccessLog {
    /// # Errors
    ///
    /// `fd` can't be looked at.
    pub fn new(format: Format, fd: OwnedFd) -> io::Result<Self> {
        let is_file = kernel::is_file(fd.as_raw_fd())?;
        Ok(Self {
            format,
            is_file,
            is_direct: AtomicBool::new(is_file),
            fd,
            buffers: Mutex::default(),
            order: Mutex::new(Order::Rest),
            changed: Condvar::new(),
        })
    }

    pub fn pen(&self) -> Pen<'_> {
        let buffer = Arc::new(Mutex::new(Buffer::new()));
        lock(&self.buffers).push(Arc::clone(&buffer));
        Pen {
            log: self,
            buffer,
            second: i64::MIN,
            time: Vec::new(),
        }
    }

    /// Write a serving thread's batch. What is left is for the log's own thread.
    fn write_directly(&self, buffer: &mut Buffer) {
        let began = Instant::now();
        let count = kernel::write(self.fd.as_raw_fd(), buffer.lines()).unwrap_or(0);
        buffer.drop_start(count);
        if buffer.len > 0 || began.elapsed() > SLOW {
            self.is_direct.store(false, Ordering::Release);
        }
    }

    fn ask(&self, wanted: Order) {
        let mut order = lock(&self.order);
        if matches!(
            (*order, wanted),
            (Order::Rest, _) | (Order::WriteSoon, Order::WriteNow)
        ) {
            *order = wanted;
            self.changed.notify_all();
        }
    }

    /// Have the last lines written. Returns when that is done, or can't be in good time.
    pub fn end(&self) {
        let mut order = lock(&self.order);
        *order = Order::End;
        self.changed.notify_all();
        let outcome = self
            .changed
            .wait_timeout_while(order, LAST_WORDS, |order| *order != Order::Ended);
        drop(outcome);
    }

    fn is_ending(&self) -> bool {
        *lock(&self.order) == Order::End
    }

    /// Wait until there is something to write. Returns whether it is the last.
    fn wait(&self) -> bool {
        let order = lock(&self.order);
        let order = self
            .changed
            .wait_while(order, |order| *order == Order::Rest)
            .unwrap_or_else(PoisonError::into_inner);
        let (mut order, _) = self
            .changed
            .wait_timeout_while(order, GATHERING, |order| *order == Order::WriteSoon)
            .unwrap_or_else(PoisonError::into_inner);
        let is_last = *order == Order::End;
        if !is_last {
            *order = Order::Rest;
        }
        is_last
    }

    pub fn fd(&self) -> RawFd {
        self.fd.as_raw_fd()
    }

    /// Whether lines have found no room that nobody has counted yet.
    fn is_losing(&self) -> bool {
        lock(&self.buffers)
            .iter()
            .any(|buffer| lock(buffer).lost > 0)
    }

    /// Write lines until the end, and `say` what is lost.
    pub fn write(&self, say: impl Fn(&str)) {
        let mut writer = Writer {
            log: self,
            losses: Losses::default(),
            is_damaged: false,
        };
        let mut taken = Buffer::new();
        loop {
            let is_last = self.wait();
            let buffers = lock(&self.buffers).clone();
            for buffer in buffers {
                (taken.len, taken.lost) = (0, 0);
                mem::swap(&mut *lock(&buffer), &mut taken);
                let lines = taken.lines();
                if taken.lost > 0 {
                    writer
                        .losses
                        .add(taken.lost, "they came faster than they could be written");
                }
                let began = Instant::now();
                writer.write_batch(lines, &say);
                if self.is_file && !lines.is_empty() {
                    let is_direct = !writer.is_damaged && began.elapsed() < SLOW;
                    self.is_direct.store(is_direct, Ordering::Release);
                }
                if let Some(text) = writer.losses.next_text(Instant::now(), is_last) {
                    say(&text);
                }
            }
            if is_last {
                *lock(&self.order) = Order::Ended;
                self.changed.notify_all();
                return;
            }
        }
    }
}

impl Pen<'_> {
    pub fn format(&self) -> &Format {
        &self.log.format
    }

    /// Add the line of one request.
    pub fn write(&mut self, record: &Record<'_>) {
        let second = kernel::wall_seconds();
        if second != self.second {
            self.second = second;
            let time = kernel::local_time(second);
            self.log.format.render_time(&time, &mut self.time);
        }
        let mut buffer = lock(&self.buffer);
        let before = buffer.len;
        let is_atomic = !self.log.is_file;
        let room = &mut buffer.bytes[before..];
        let line = self.log.format.line(room, record, &self.time, is_atomic);
        match line {
            Some(count) => buffer.len += count,
            None => buffer.lost += 1,
        }
        if buffer.len >= BATCH_BYTES && self.log.is_direct.load(Ordering::Acquire) {
            self.log.write_directly(&mut buffer);
            if buffer.len == 0 {
                return;
            }
        }
        let after = buffer.len;
        drop(buffer);
        if before == 0 {
            self.log.ask(Order::WriteSoon);
        } else if after >= BATCH_BYTES {
            self.log.ask(Order::WriteNow);
        }
    }
}

/// The writing thread's side.
struct Writer<'a> {
    log: &'a AccessLog,
    losses: Losses,
    /// The last write failed, and may have left the start of a line.
    is_damaged: bool,
}

impl Writer<'_> {
    fn write_batch(&mut self, mut lines: &[u8], say: &impl Fn(&str)) {
        while !lines.is_empty() {
            let piece = if self.log.is_file {
                lines
            } else {
                &lines[..whole_lines(lines, ATOMIC_LINE_BYTES)]
            };
            match self.write_piece(piece, say) {
                Ok(()) => {
                    lines = &lines[piece.len()..];
                    self.losses.is_failing = false;
                }
                Err((error, written)) => {
                    let lost = count_lines(after_whole_lines(lines, written));
                    let reason = if error.kind() == io::ErrorKind::WouldBlock {
                        NOT_READ.to_owned()
                    } else {
                        error.to_string()
                    };
                    self.losses.add(lost, &reason);
                    self.losses.is_failing = true;
                    if let Some(text) = self.losses.first_text(Instant::now(), &reason) {
                        say(&text);
                    }
                    return;
                }
            }
        }
    }

    /// Write `piece`, or say why not, and how much of it is written all the same.
    fn write_piece(&mut self, piece: &[u8], say: &impl Fn(&str)) -> Result<(), (io::Error, usize)> {
        let fd = self.log.fd.as_raw_fd();
        let repaired;
        let mut rest = piece;
        if self.is_damaged && self.log.is_file {
            // Ends a line that was cut off. Every worker does so, since another one's could be last.
            repaired = [b"\n", piece].concat();
            rest = &repaired;
        }
        let written = |rest: &[u8]| piece.len().saturating_sub(rest.len());
        while !rest.is_empty() {
            // A descriptor that others share stays as it is, so that it may be one whose writes wait.
            while !self.log.is_file
                && !matches!(kernel::wait_for(fd, libc::POLLOUT, PATIENCE), Waited::Ready)
            {
                if self.log.is_ending() {
                    let error = io::Error::from(io::ErrorKind::WouldBlock);
                    return Err((error, written(rest)));
                }
                // Said now: the pipe may stay full for ever.
                if self.log.is_losing()
                    && let Some(text) = self.losses.first_text(Instant::now(), NOT_READ)
                {
                    say(&text);
                }
            }
            match kernel::write(fd, rest) {
                Ok(count) => rest = &rest[count..],
                Err(error)
                    if error.kind() == io::ErrorKind::WouldBlock && !self.log.is_ending() => {}
                Err(error) => {
                    self.is_damaged = true;
                    return Err((error, written(rest)));
                }
            }
        }
        self.is_damaged = false;
        Ok(())
    }
}

/// The length of the lines at the start of `lines` that are together at most `limit` long.
fn whole_lines(lines: &[u8], limit: usize) -> usize {
    if lines.len() <= limit {
        return lines.len();
    }
    let end = lines[..limit].iter().rposition(|&byte| byte == b'\n');
    end.map_or(limit, |end| end + 1)
}

/// What follows the lines of which the first `written` bytes are the start. A line that lacks nothing
/// but its end counts as one: the next write ends it.
fn after_whole_lines(lines: &[u8], written: usize) -> &[u8] {
    let rest = &lines[written.min(lines.len())..];
    if written > 0 {
        rest.strip_prefix(b"\n").unwrap_or(rest)
    } else {
        rest
    }
}

fn count_lines(lines: &[u8]) -> u64 {
    lines.split_inclusive(|&byte| byte == b'\n').count() as u64
}

/// The lines that are lost, and what has been said about them.
#[derive(Debug, Default)]
struct Losses {
    /// Not spoken of yet.
    count: u64,
    reason: String,
    /// The last write failed.
    is_failing: bool,
    /// It was said that lines are being lost.
    is_known: bool,
    said: Option<Instant>,
}

impl Losses {
    fn add(&mut self, count: u64, reason: &str) {
        self.count += count;
        if self.reason != reason {
            reason.clone_into(&mut self.reason);
        }
    }

    fn may_speak(&self, now: Instant) -> bool {
        self.said
            .is_none_or(|said| now.duration_since(said) >= SILENCE)
    }

    /// What to say when writing fails for this `reason`.
    fn first_text(&mut self, now: Instant, reason: &str) -> Option<String> {
        if self.is_known || !self.may_speak(now) {
            return None;
        }
        self.is_known = true;
        self.said = Some(now);
        Some(format!(
            "the access log can't be written, its lines are lost: {reason}"
        ))
    }

    /// What to say after a batch: how many were lost, when it was written or is the last.
    fn next_text(&mut self, now: Instant, is_last: bool) -> Option<String> {
        let is_over = !self.is_failing || is_last;
        if self.count == 0 || !is_over || !(self.is_known || is_last || self.may_speak(now)) {
            return None;
        }
        self.is_known = false;
        self.said = Some(now);
        let count = mem::take(&mut self.count);
        Some(format!(
            "the access log has lost {count} {}: {}",
            if count == 1 { "line" } else { "lines" },
            self.reason
        ))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_piece_ends_at_a_line() {
        assert_eq!(whole_lines(b"one\ntwo\n", 100), 8);
        assert_eq!(whole_lines(b"one\ntwo\n", 7), 4);
        assert_eq!(whole_lines(b"one\ntwo\n", 4), 4);
        assert_eq!(count_lines(b"one\ntwo\n"), 2);
        assert_eq!(count_lines(b""), 0);
    }

    #[test]
    fn a_line_is_lost_unless_all_of_it_is_written() {
        for (written, lost) in [
            (0, 2),
            (1, 2),
            (2, 2),
            (3, 1),
            (4, 1),
            (6, 1),
            (7, 0),
            (8, 0),
        ] {
            let rest = after_whole_lines(b"one\ntwo\n", written);
            assert_eq!(count_lines(rest), lost, "{written}");
        }
    }

    #[test]
    fn losses_are_said_when_they_begin_and_counted_when_they_end() {
        let mut losses = Losses::default();
        let now = Instant::now();
        losses.is_failing = true;
        losses.add(3, "no space");
        let text = losses.first_text(now, "no space").unwrap();
        assert_eq!(
            text,
            "the access log can't be written, its lines are lost: no space"
        );
        assert_eq!(losses.next_text(now, false), None);
        losses.add(4, "no space");
        assert_eq!(losses.first_text(now + SILENCE, "no space"), None);
        losses.is_failing = false;
        let text = losses.next_text(now, false).unwrap();
        assert_eq!(text, "the access log has lost 7 lines: no space");
        assert_eq!(losses.next_text(now + SILENCE, true), None);
    }

    #[test]
    fn losses_that_come_and_go_are_said_rarely_and_none_is_forgotten() {
        let mut losses = Losses::default();
        let now = Instant::now();
        losses.add(1, "slow");
        let text = losses.next_text(now, false).unwrap();
        assert_eq!(text, "the access log has lost 1 line: slow");
        losses.add(1, "slow");
        assert_eq!(losses.next_text(now, false), None);
        losses.is_failing = true;
        losses.add(1, "slow");
        assert_eq!(losses.first_text(now, "slow"), None);
        losses.is_failing = false;
        let text = losses.next_text(now + SILENCE, false).unwrap();
        assert_eq!(text, "the access log has lost 2 lines: slow");
        losses.add(1, "slow");
        let text = losses.next_text(now + SILENCE, true).unwrap();
        assert_eq!(text, "the access log has lost 1 line: slow");
    }
}
