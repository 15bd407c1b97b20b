//! What happens on a connection: reads, parses, has requests served, and sends what is left over.
//!
//! Events are edge-triggered: whoever owns a connection reads until there is nothing, where a short
//! read says so already, unless the peer has closed or an event came meanwhile.

use std::io;
use std::mem;
use std::os::fd::RawFd;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use http1::{BodyFraming, Head, HeadParser, Progress};
use pyo3::prelude::*;

use crate::access::Request;
use crate::body::Incoming;
use crate::config::{LINGER, LINGER_BYTES};
use crate::connection::{Discarding, FileBody, Phase, Receiving, Remainder, Sending, Then};
use crate::engine::Engine;
use crate::input::{CONTINUE, Stream, receive_body};
use crate::kernel::{self, Received, Sent, SentFile};
use crate::log::Level;
use crate::response::{self, Refusal};
use crate::serve::{Body, Served, Server};
use crate::slots::Claim;

/// What is watched of every connection. Room for sending is watched only while something is queued:
/// each read of the peer makes room.
pub const CONNECTION_EVENTS: i32 = libc::EPOLLIN | libc::EPOLLRDHUP | libc::EPOLLET;

const SENDING_EVENTS: i32 = CONNECTION_EVENTS | libc::EPOLLOUT;

/// The peer has closed its side, or both.
const END_EVENTS: u32 = (libc::EPOLLRDHUP | libc::EPOLLHUP | libc::EPOLLERR).cast_unsigned();

/// The size of a thread's read buffers: what nginx sends at once.
pub const BUFFER_BYTES: usize = 64 * 1024;

/// How much of a file is sent before other connections have their turn.
const FILE_TURN_BYTES: usize = 2 * 1024 * 1024;

/// How much of a file is read at a time where the kernel can't send it.
const FILE_READ_BYTES: usize = 64 * 1024;

/// How much is read at a time behind a head that has come in part.
const HEAD_READ_BYTES: usize = 16 * 1024;

/// How often a connection is read before others get their turn, however much it sends.
const TURNS: u32 = 16;

/// What one thread reads and parses with. A connection has a buffer of its own only while a request
/// has come in part.
pub struct Scratch {
    buf: Box<[u8]>,
    parser: HeadParser,
}

impl Scratch {
    pub fn new() -> Self {
        Self {
            buf: vec![0; BUFFER_BYTES].into(),
            parser: HeadParser::new(),
        }
    }
}

/// Where to go on.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Next {
    /// There may be more to do.
    Loop,
    /// Nothing until the next event.
    Wait,
    /// There may be more, but others have waited long enough.
    Yield,
    Close,
}

/// What became of a request whose head is complete.
enum Taken {
    /// Answered; so many bytes were its own, and the next request may follow.
    Served(usize),
    /// More of its body is needed.
    Incomplete(Incoming),
    /// The connection is in another phase.
    Left(Next),
}

pub struct Driver<'a, 'py> {
    py: Python<'py>,
    engine: &'a Engine,
    server: Server<'a, 'py>,
    pub now_ms: u64,
}

impl<'a, 'py> Driver<'a, 'py> {
    /// # Errors
    ///
    /// What the interpreter says when it can't make an object.
    pub fn new(py: Python<'py>, engine: &'a Arc<Engine>) -> PyResult<Self> {
        Ok(Self {
            py,
            engine,
            server: Server::new(py, engine)?,
            now_ms: kernel::now_ms(),
        })
    }

    /// Do all that can be done on a connection now.
    pub fn drive(&mut self, scratch: &mut Scratch, claim: Claim<'a>, events: u32) {
        self.go_on(scratch, claim, events, Next::Loop);
    }

    /// Do all that can be done on a connection that was read: what has come is at the start of `buf`.
    pub fn drive_read(
        &mut self,
        scratch: &mut Scratch,
        mut claim: Claim<'a>,
        events: u32,
        received: Received,
        buf: &[u8],
    ) {
        let reads_to_end = is_last(events);
        let parser = &mut scratch.parser;
        let next = self.take_in(parser, &mut claim, received, buf, reads_to_end);
        self.go_on(scratch, claim, events, next);
    }

    /// Do all that can be done, where `next` is what came of the first step.
    fn go_on(
        &mut self,
        scratch: &mut Scratch,
        mut claim: Claim<'a>,
        mut events: u32,
        mut next: Next,
    ) {
        let mut reads_to_end = is_last(events);
        loop {
            if next == Next::Loop {
                next = self.advance(scratch, &mut claim, events, reads_to_end);
            }
            match next {
                Next::Close => return self.close(claim),
                // The event comes again, behind those of others.
                Next::Yield => {
                    let token = claim.token().to_event();
                    let epoll = &self.engine.epoll;
                    if epoll.modify(claim.fd(), CONNECTION_EVENTS, token).is_err() {
                        return self.close(claim);
                    }
                }
                Next::Loop | Next::Wait => {}
            }
            next = Next::Loop;
            if self.is_unwanted(&mut claim) {
                kernel::shut_down(claim.fd(), libc::SHUT_RD);
                if kernel::waiting_bytes(claim.fd()) == 0 {
                    return self.close(claim);
                }
                reads_to_end = true;
                continue;
            }
            match claim.release() {
                None => return,
                Some(again) => claim = again,
            }
            events = 0;
            reads_to_end = true;
        }
    }

    /// Whether the connection waits for another request although the engine is draining.
    fn is_unwanted(&self, claim: &mut Claim<'_>) -> bool {
        self.engine.closes_idle() && {
            let connection = claim.connection();
            connection.is_used && matches!(connection.phase, Phase::Idle)
        }
    }

    /// Close a connection that waits for a request after it has had an answer, unless one is there.
    ///
    /// What the peer sends from here on fails on its side instead of being lost on ours.
    pub fn close_if_idle(&mut self, scratch: &mut Scratch, mut claim: Claim<'a>) {
        if self.is_unwanted(&mut claim) {
            self.drive(scratch, claim, 0);
        } else if let Some(claim) = claim.release() {
            self.drive(scratch, claim, 0);
        }
    }

    /// The deadline of a connection has passed.
    pub fn expire(&mut self, scratch: &mut Scratch, mut claim: Claim<'a>) {
        let fd = claim.fd();
        let connection = claim.connection();
        let request = match &connection.phase {
            // What has come is taken: it may have waited for this thread, and not for its peer.
            Phase::Idle | Phase::Held(_) | Phase::Receiving(_) if kernel::waiting_bytes(fd) > 0 => {
                // The application may keep this thread: another one goes on with the others' deadlines.
                self.engine.slots.timers.note(self.now_ms);
                return self.drive(scratch, claim, 0);
            }
            Phase::Receiving(_) => match mem::replace(&mut connection.phase, Phase::Idle) {
                Phase::Receiving(request) => request,
                _ => return self.close(claim),
            },
            _ => return self.close(claim),
        };
        let refusal = if request.body.is_some() {
            Refusal::BodyTimeout
        } else {
            Refusal::HeadTimeout
        };
        let known = known(&request.parser, &request.buf);
        self.refuse(&mut claim, refusal, known);
        self.drive(scratch, claim, 0);
    }

    fn close(&mut self, claim: Claim<'_>) {
        claim.close();
        if self.engine.has_listener_chores.load(Ordering::Relaxed) {
            self.engine.has_room.store(true, Ordering::Release);
        }
    }

    fn advance(
        &mut self,
        scratch: &mut Scratch,
        claim: &mut Claim<'_>,
        events: u32,
        mut reads_to_end: bool,
    ) -> Next {
        let mut turns = 0;
        loop {
            let next = match &mut claim.connection().phase {
                Phase::Idle if turns == TURNS => Next::Yield,
                Phase::Idle => {
                    turns += 1;
                    self.read(scratch, claim, reads_to_end)
                }
                Phase::Held(bytes) => {
                    let bytes = mem::take(bytes);
                    claim.connection().phase = Phase::Idle;
                    reads_to_end = true;
                    after_feed(self.feed(&mut scratch.parser, claim, &bytes))
                }
                Phase::Receiving(_) => self.receive(scratch, claim),
                Phase::Sending(_) => {
                    reads_to_end = true;
                    self.send_rest(claim)
                }
                Phase::Discarding(_) => {
                    reads_to_end = true;
                    self.discard(scratch, claim)
                }
                Phase::Lingering { .. } => linger(scratch, claim, events),
            };
            if next != Next::Loop {
                return next;
            }
        }
    }

    /// Read the start of a request.
    fn read(&mut self, scratch: &mut Scratch, claim: &mut Claim<'_>, reads_to_end: bool) -> Next {
        let Scratch { buf, parser } = scratch;
        let received = kernel::receive(claim.fd(), buf);
        self.take_in(parser, claim, received, buf, reads_to_end)
    }

    /// Serve the requests that a read has brought to `buf`.
    fn take_in(
        &mut self,
        parser: &mut HeadParser,
        claim: &mut Claim<'_>,
        received: Received,
        buf: &[u8],
        reads_to_end: bool,
    ) -> Next {
        let count = match received {
            Received::Bytes(count) => count,
            Received::WouldBlock => return Next::Wait,
            Received::Eof | Received::Gone => return Next::Close,
        };
        match self.feed(parser, claim, &buf[..count]) {
            Next::Wait if reads_to_end || count == buf.len() => Next::Loop,
            next => next,
        }
    }

    /// Serve the requests in `bytes`, one after the other, and keep what is incomplete.
    fn feed(&mut self, parser: &mut HeadParser, claim: &mut Claim<'_>, mut bytes: &[u8]) -> Next {
        while !bytes.is_empty() {
            parser.reset();
            let body = match parser.advance(bytes, &self.engine.config.limits) {
                Err(error) => {
                    let request = known(parser, bytes);
                    return self.refuse(claim, Refusal::Head(error), request);
                }
                Ok(Progress::Partial) => {
                    self.set_deadline(claim, self.engine.config.head_timeout);
                    None
                }
                Ok(Progress::Complete) => match self.take_up(claim, parser.head(), bytes) {
                    Taken::Served(count) => {
                        bytes = &bytes[count..];
                        continue;
                    }
                    Taken::Left(next) => return next,
                    Taken::Incomplete(body) => {
                        bytes = &bytes[..parser.head().len];
                        Some(body)
                    }
                },
            };
            claim.connection().phase = Phase::Receiving(Box::new(Receiving {
                buf: bytes.to_vec(),
                parser: mem::replace(parser, HeadParser::new()),
                body,
            }));
            return Next::Wait;
        }
        Next::Wait
    }

    /// Read more of a request that has come in part.
    fn receive(&mut self, scratch: &mut Scratch, claim: &mut Claim<'_>) -> Next {
        let phase = mem::replace(&mut claim.connection().phase, Phase::Idle);
        let Phase::Receiving(mut request) = phase else {
            return Next::Loop;
        };
        match request.body.take() {
            Some(body) => self.receive_body(scratch, claim, request, body),
            None => self.receive_head(scratch, claim, request),
        }
    }

    fn receive_head(
        &mut self,
        scratch: &mut Scratch,
        claim: &mut Claim<'_>,
        mut request: Box<Receiving>,
    ) -> Next {
        match kernel::receive_after(claim.fd(), &mut request.buf, HEAD_READ_BYTES) {
            Received::Bytes(_) => {}
            Received::WouldBlock => {
                claim.connection().phase = Phase::Receiving(request);
                return Next::Wait;
            }
            Received::Eof | Received::Gone => return Next::Close,
        }
        let limits = &self.engine.config.limits;
        match request.parser.advance(&request.buf, limits) {
            Err(error) => {
                let known = known(&request.parser, &request.buf);
                return self.refuse(claim, Refusal::Head(error), known);
            }
            Ok(Progress::Partial) => {}
            Ok(Progress::Complete) => {
                match self.take_up(claim, request.parser.head(), &request.buf) {
                    Taken::Served(count) => {
                        let rest = &request.buf[count..];
                        return after_feed(self.feed(&mut scratch.parser, claim, rest));
                    }
                    Taken::Left(next) => return next,
                    Taken::Incomplete(body) => {
                        request.buf.truncate(request.parser.head().len);
                        request.body = Some(body);
                    }
                }
            }
        }
        claim.connection().phase = Phase::Receiving(request);
        Next::Loop
    }

    fn receive_body(
        &mut self,
        scratch: &mut Scratch,
        claim: &mut Claim<'_>,
        mut request: Box<Receiving>,
        mut body: Incoming,
    ) -> Next {
        let mut leftover = Vec::new();
        let received = match receive_body(claim.fd(), &mut body, &mut leftover) {
            Err(refusal) => {
                let known = known(&request.parser, &request.buf);
                return self.refuse(claim, refusal, known);
            }
            Ok(received) => received,
        };
        let next = match received {
            Received::Eof | Received::Gone => return Next::Close,
            Received::WouldBlock => Next::Wait,
            Received::Bytes(_) if self.is_enough(&body) => {
                let body = self.body(claim.fd(), body, false);
                let head = request.parser.head();
                return match self.serve(claim, head, &request.buf, body, &leftover, 0) {
                    Taken::Served(_) => {
                        after_feed(self.feed(&mut scratch.parser, claim, &leftover))
                    }
                    Taken::Left(next) => next,
                    Taken::Incomplete(_) => Next::Close,
                };
            }
            Received::Bytes(_) => {
                self.set_deadline(claim, self.engine.config.body_timeout);
                Next::Loop
            }
        };
        request.body = Some(body);
        claim.connection().phase = Phase::Receiving(request);
        next
    }

    /// A head is complete: have the request served if enough of its body is there.
    fn take_up(&mut self, claim: &mut Claim<'_>, head: &Head, bytes: &[u8]) -> Taken {
        if head.framing == BodyFraming::None {
            return self.serve(claim, head, bytes, Body::None, &bytes[head.len..], head.len);
        }
        let config = &self.engine.config;
        let after = &bytes[head.len..];
        let mut body = Incoming::new(head.framing, &config.limits);
        let count = match body.push(after) {
            Ok(count) => count,
            Err(error) => {
                let request = Some(Request { bytes, head });
                return Taken::Left(self.refuse(claim, Refusal::Body(error), request));
            }
        };
        // RFC 9110 10.1.1: whoever has begun to send its body does not wait to be told.
        let waits = head.expect_continue && after.is_empty();
        let is_larger = body
            .missing()
            .is_some_and(|missing| missing > config.body_buffer as u64);
        if self.is_enough(&body) || (waits && is_larger) {
            let body = self.body(claim.fd(), body, waits);
            let own = head.len + count;
            return self.serve(claim, head, bytes, body, &after[count..], own);
        }
        if waits {
            kernel::send(claim.fd(), CONTINUE);
        }
        self.set_deadline(claim, config.body_timeout);
        Taken::Incomplete(body)
    }

    /// Whether the application can be called: with all of the body, or with the start of a large one.
    fn is_enough(&self, body: &Incoming) -> bool {
        let enough = self.engine.config.body_buffer;
        match body.missing() {
            Some(0) => true,
            Some(_) => body.data.len() >= enough,
            // As long as the end may still come within the buffer, it is waited for.
            None => body.data.len() > enough,
        }
    }

    fn body(&self, fd: RawFd, mut body: Incoming, owes_continue: bool) -> Body {
        if body.is_complete() {
            Body::Complete(mem::take(&mut body.data))
        } else {
            let timeout = self.engine.config.body_timeout;
            Body::Streaming(Box::new(Stream::new(fd, body, owes_continue, timeout)))
        }
    }

    /// Call the application and answer. `rest` is what was read behind the request, whose own bytes,
    /// head and body, are `own` many.
    fn serve(
        &mut self,
        claim: &mut Claim<'_>,
        head: &Head,
        bytes: &[u8],
        body: Body,
        rest: &[u8],
        own: usize,
    ) -> Taken {
        let fd = claim.fd();
        let is_trusted = claim.connection().is_trusted;
        let now_ms = &mut self.now_ms;
        let served = self.server.serve(fd, bytes, head, body, is_trusted, now_ms);
        claim.connection().is_used = true;
        match served {
            Served::Done => {
                self.set_deadline(claim, self.engine.config.keep_alive);
                Taken::Served(own)
            }
            Served::Refused(refusal) => {
                let request = Some(Request { bytes, head });
                Taken::Left(self.refuse(claim, refusal, request))
            }
            Served::Ends {
                then,
                remainder,
                mut leftover,
            } => {
                leftover.extend_from_slice(rest);
                let then = match then {
                    Then::Close if !leftover.is_empty() => Then::Linger,
                    then => then,
                };
                Taken::Left(match remainder {
                    Some(remainder) => self.queue(claim, remainder, then, leftover),
                    None => self.follow(claim, then, leftover),
                })
            }
        }
    }

    /// Send the rest of an answer as far as there is room for it, and then when there is.
    fn queue(
        &mut self,
        claim: &mut Claim<'_>,
        remainder: Remainder,
        then: Then,
        leftover: Vec<u8>,
    ) -> Next {
        claim.connection().phase = Phase::Sending(Box::new(Sending {
            remainder,
            leftover,
            then,
            is_watched: false,
        }));
        self.set_deadline(claim, self.engine.config.send_timeout);
        Next::Loop
    }

    fn send_rest(&mut self, claim: &mut Claim<'_>) -> Next {
        let (fd, token) = (claim.fd(), claim.token().to_event());
        let epoll = &self.engine.epoll;
        let Phase::Sending(sending) = &mut claim.connection().phase else {
            return Next::Loop;
        };
        let turn = send_remainder(self.py, fd, &mut sending.remainder);
        let was_watched = sending.is_watched;
        match turn {
            Turn::Wait { has_sent, is_full } => {
                sending.is_watched = true;
                // Asking again makes an event of the room that there is now.
                let asks = !was_watched || !is_full;
                if asks && epoll.modify(fd, SENDING_EVENTS, token).is_err() {
                    return Next::Close;
                }
                if has_sent {
                    self.set_deadline(claim, self.engine.config.send_timeout);
                }
                return Next::Wait;
            }
            Turn::Gone => return Next::Close,
            Turn::Cut { file, error } => {
                self.say_cut(&file, error);
                return Next::Close;
            }
            Turn::Done => {}
        }
        if was_watched && epoll.modify(fd, CONNECTION_EVENTS, token).is_err() {
            return Next::Close;
        }
        match mem::replace(&mut claim.connection().phase, Phase::Idle) {
            Phase::Sending(sending) => self.follow(claim, sending.then, sending.leftover),
            _ => Next::Loop,
        }
    }

    /// Name the mistake of an application whose file is not what it was when it was returned.
    fn say_cut(&self, file: &FileBody, error: Option<io::Error>) {
        let FileBody {
            part,
            length,
            place,
        } = file;
        let sent = length - part.left();
        let reason = match error {
            Some(error) => format!("can't be read: {error}"),
            None => "was made shorter meanwhile".to_owned(),
        };
        let text = format!(
            "{place}: the application's file {reason}; {sent} of {length} bytes are sent, and the \
             connection is closed"
        );
        self.engine.say(self.py, Level::Error, &text);
    }

    /// An answer is sent: go on as it said.
    fn follow(&mut self, claim: &mut Claim<'_>, then: Then, leftover: Vec<u8>) -> Next {
        match then {
            Then::NextRequest => {
                self.set_deadline(claim, self.engine.config.keep_alive);
                claim.connection().phase = if leftover.is_empty() {
                    Phase::Idle
                } else {
                    Phase::Held(leftover)
                };
                Next::Loop
            }
            Then::Discard(discarding) => {
                self.set_deadline(claim, self.engine.config.body_timeout);
                claim.connection().phase = Phase::Discarding(discarding);
                Next::Loop
            }
            Then::Linger => self.begin_to_linger(claim),
            Then::Close => Next::Close,
        }
    }

    /// Read what is left of a body that the application did not want.
    fn discard(&mut self, scratch: &mut Scratch, claim: &mut Claim<'_>) -> Next {
        let fd = claim.fd();
        let Phase::Discarding(discarding) = &mut claim.connection().phase else {
            return Next::Loop;
        };
        let Discarding { body, left } = &mut **discarding;
        let count = match kernel::receive(fd, &mut scratch.buf) {
            Received::Bytes(count) => count,
            Received::WouldBlock => return Next::Wait,
            Received::Eof | Received::Gone => return Next::Close,
        };
        let Ok(own) = body.push(&scratch.buf[..count]) else {
            return self.begin_to_linger(claim);
        };
        body.data.clear();
        *left = left.saturating_sub(own);
        if body.is_complete() {
            let leftover = scratch.buf[own..count].to_vec();
            return self.follow(claim, Then::NextRequest, leftover);
        }
        if *left == 0 {
            return self.begin_to_linger(claim);
        }
        self.set_deadline(claim, self.engine.config.body_timeout);
        Next::Loop
    }

    /// Answer a request that is none, and read nothing of this connection as a request any more.
    fn refuse(
        &mut self,
        claim: &mut Claim<'_>,
        refusal: Refusal,
        request: Option<Request<'_>>,
    ) -> Next {
        let status = refusal.status();
        // A peer may go away; nobody has to look into that.
        if refusal != Refusal::BodyCut {
            let log = &self.engine.hooks.log;
            log.refused(self.py, self.now_ms, status, &refusal.to_string());
        }
        // A peer that has no room even for this does not read.
        let answer = response::refusal(status);
        kernel::send(claim.fd(), &answer);
        let is_trusted = claim.connection().is_trusted;
        self.server
            .log_refusal(request, is_trusted, &answer, refusal);
        self.begin_to_linger(claim)
    }

    /// Half-close and wait for the peer to close: closing with bytes unread would take back an answer
    /// that it has not read yet. RFC 9112 9.6.
    fn begin_to_linger(&mut self, claim: &mut Claim<'_>) -> Next {
        kernel::shut_down(claim.fd(), libc::SHUT_WR);
        claim.connection().phase = Phase::Lingering { left: LINGER_BYTES };
        self.set_deadline(claim, LINGER);
        Next::Loop
    }

    fn set_deadline(&self, claim: &Claim<'_>, patience: Duration) {
        claim.set_deadline_ms(self.now_ms.saturating_add(kernel::millis(patience)));
    }
}

/// How far the rest of an answer has come.
enum Turn {
    Done,
    /// The socket `is_full`, or others have their turn.
    Wait {
        has_sent: bool,
        is_full: bool,
    },
    Gone,
    /// The file ended before its time, or can't be read.
    Cut {
        file: FileBody,
        error: Option<io::Error>,
    },
}

/// Send what there is room for.
fn send_remainder(py: Python<'_>, fd: RawFd, remainder: &mut Remainder) -> Turn {
    let mut has_sent = false;
    let mut turn_left = FILE_TURN_BYTES;
    loop {
        let Remainder {
            bytes, body, sent, ..
        } = remainder;
        let body = body.as_ref().map_or(&b""[..], |body| body.as_bytes(py));
        while *sent < bytes.len() + body.len() {
            match kernel::send_pieces(fd, [bytes, body, b""], *sent) {
                Sent::Bytes(count) => {
                    *sent += count;
                    has_sent = true;
                }
                Sent::Gone => return Turn::Gone,
                Sent::WouldBlock => {
                    return Turn::Wait {
                        has_sent,
                        is_full: true,
                    };
                }
            }
        }
        let Some(file) = &mut remainder.file else {
            return Turn::Done;
        };
        let part = &mut file.part;
        if part.left() == 0 {
            return Turn::Done;
        }
        if turn_left == 0 {
            return Turn::Wait {
                has_sent,
                is_full: false,
            };
        }
        let limit = usize::try_from(part.left())
            .unwrap_or(turn_left)
            .min(turn_left);
        // The file may be on a slow disk.
        let result = py.detach(|| kernel::send_file(fd, part.fd(), part.offset(), limit));
        let error = match result {
            SentFile::Bytes(count) => {
                part.advance(count);
                turn_left -= count;
                has_sent = true;
                continue;
            }
            SentFile::WouldBlock => {
                return Turn::Wait {
                    has_sent,
                    is_full: true,
                };
            }
            SentFile::Gone => return Turn::Gone,
            SentFile::Ended => None,
            SentFile::Unsupported => match py.detach(|| part.read(limit.min(FILE_READ_BYTES))) {
                Ok(data) if !data.is_empty() => {
                    turn_left -= data.len();
                    (remainder.bytes, remainder.body, remainder.sent) = (data, None, 0);
                    continue;
                }
                outcome => outcome.err(),
            },
        };
        return match remainder.file.take() {
            Some(file) => Turn::Cut { file, error },
            None => Turn::Done,
        };
    }
}

/// Whether no event may follow that says what there is to read: then it is read to its end. Without
/// flags the event is unknown.
fn is_last(events: u32) -> bool {
    events & END_EVENTS != 0 || events == 0
}

/// What is known of a request whose head may not have come in full.
fn known<'b>(parser: &'b HeadParser, bytes: &'b [u8]) -> Option<Request<'b>> {
    let head = parser.head();
    parser.has_request_line().then_some(Request { bytes, head })
}

/// Read on after the requests that were in a buffer.
fn after_feed(next: Next) -> Next {
    match next {
        Next::Wait => Next::Loop,
        next => next,
    }
}

/// Read until the peer closes. When too much has come nothing more is read: its sends then wait
/// instead of failing, so it still sees the answer.
fn linger(scratch: &mut Scratch, claim: &mut Claim<'_>, events: u32) -> Next {
    let fd = claim.fd();
    let Phase::Lingering { left } = &mut claim.connection().phase else {
        return Next::Loop;
    };
    if *left == 0 {
        let is_over = events & END_EVENTS != 0;
        return if is_over { Next::Close } else { Next::Wait };
    }
    let room = scratch.buf.len().min(*left);
    match kernel::receive(fd, &mut scratch.buf[..room]) {
        Received::Bytes(count) => {
            *left -= count;
            Next::Loop
        }
        Received::WouldBlock => Next::Wait,
        Received::Eof | Received::Gone => Next::Close,
    }
}
