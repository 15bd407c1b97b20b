//! An answer on its way from the application to the wire: what may be sent of it, and in which form.
//!
//! Decides only. Sending is `exchange`, rendering is `response`.

use std::mem;

use http1::Version;
use http1::response::{self as rules, ResponseFraming};

use crate::response::{Answer, Mistake, Refusal, push_hex};

#[derive(Debug)]
pub struct Reply {
    stage: Stage,
    answer: Answer,
    framing: ResponseFraming,
    /// Body bytes that are sent, or left out because the answer has no body.
    sent: u64,
    keeps_alive: bool,
    failure: Option<Failure>,
    /// The head that was sent, if somebody wants to see it when the request is over.
    kept_head: Option<Vec<u8>>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Stage {
    /// `start_response` has not been called.
    Silent,
    /// It has, and nothing is sent: the answer can still become another one.
    Prepared,
    Sent,
}

/// Why an answer can't be completed once its head is sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Failure {
    /// The peer has closed.
    Gone,
    /// The peer does not read.
    TimedOut,
    /// The application broke its own framing.
    Broken,
    /// The server stops in the middle of a body.
    Stopped,
}

/// Why a piece is not sent.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Fault {
    Mistake(Mistake),
    Failure(Failure),
    /// The request's body turned out to be none, before anything was answered.
    Refused(Refusal),
}

impl From<Mistake> for Fault {
    fn from(mistake: Mistake) -> Self {
        Self::Mistake(mistake)
    }
}

/// What is to be sent.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Piece {
    /// A part of the body; more may follow.
    Part,
    /// The whole body, its length known.
    Whole,
}

/// What an answer needs to know of its request.
#[derive(Clone, Copy, Debug)]
pub struct Terms {
    pub is_head: bool,
    pub version: Version,
    /// Whether the connection can go on after this answer.
    pub keep_alive: bool,
    /// Why the request's body is refused, if it is.
    pub refusal: Option<Refusal>,
}

/// How the bytes of a piece go on the wire, behind what [`Reply::out`] holds.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Plan {
    /// Whether they do at all: some answers have no body.
    pub is_sent: bool,
    /// What comes behind them.
    pub after: &'static [u8],
}

impl Plan {
    const LEFT_OUT: Self = Self {
        is_sent: false,
        after: b"",
    };
    const AS_IT_IS: Self = Self {
        is_sent: true,
        after: b"",
    };
    const AS_CHUNK: Self = Self {
        is_sent: true,
        after: b"\r\n",
    };
}

impl Reply {
    pub fn new() -> Self {
        Self {
            stage: Stage::Silent,
            answer: Answer::default(),
            framing: ResponseFraming::NoBody,
            sent: 0,
            keeps_alive: false,
            failure: None,
            kept_head: None,
        }
    }

    /// Keep the head of each answer.
    pub fn keep_heads(&mut self) {
        self.kept_head = Some(Vec::new());
    }

    /// A request begins. The memory is kept.
    pub fn begin(&mut self) {
        self.stage = Stage::Silent;
        self.answer.clear();
        self.framing = ResponseFraming::NoBody;
        self.sent = 0;
        self.keeps_alive = false;
        self.failure = None;
    }

    /// Whether `start_response` has yet to be called.
    pub fn is_silent(&self) -> bool {
        self.stage == Stage::Silent
    }

    pub fn is_head_sent(&self) -> bool {
        self.stage == Stage::Sent
    }

    /// Whether the connection can have another request after this answer.
    pub fn keeps_alive(&self) -> bool {
        self.keeps_alive
    }

    pub fn failure(&self) -> Option<Failure> {
        self.failure
    }

    /// The status of the head.
    pub fn status(&self) -> u16 {
        self.answer.status
    }

    /// The body's bytes that were sent.
    pub fn body_bytes(&self) -> u64 {
        match self.framing {
            ResponseFraming::NoBody => 0,
            _ => self.sent,
        }
    }

    /// The head, if it was to be kept, for the last time.
    pub fn take_head(&mut self) -> Vec<u8> {
        self.kept_head.as_mut().map(mem::take).unwrap_or_default()
    }

    /// Whether what the application still has of the body can go anywhere.
    pub fn wants_more(&self) -> bool {
        self.framing != ResponseFraming::NoBody
    }

    /// How many body bytes the application's `Content-Length` leaves.
    pub fn room(&self) -> u64 {
        match (self.stage, self.answer.declared) {
            (Stage::Prepared | Stage::Sent, Some(declared)) => declared.saturating_sub(self.sent),
            _ => u64::MAX,
        }
    }

    /// The answer can't be completed. The first reason counts.
    pub fn fail(&mut self, failure: Failure) {
        self.failure.get_or_insert(failure);
    }

    /// Let the application, or us in its place, render a head in place of one that isn't sent.
    ///
    /// # Errors
    ///
    /// That of `render`; there is no head then.
    pub fn prepare<E>(
        &mut self,
        render: impl FnOnce(&mut Answer) -> Result<(), E>,
    ) -> Result<(), E> {
        self.stage = Stage::Silent;
        render(&mut self.answer)?;
        self.stage = Stage::Prepared;
        Ok(())
    }

    /// What goes on the wire next.
    pub fn out(&mut self) -> &mut Vec<u8> {
        &mut self.answer.out
    }

    /// Take that away to send it.
    pub fn take_out(&mut self) -> Vec<u8> {
        mem::take(&mut self.answer.out)
    }

    /// It is sent; the memory is used again.
    pub fn put_back(&mut self, mut out: Vec<u8>) {
        out.clear();
        self.answer.out = out;
    }

    /// Decide how a piece of `len` body bytes is sent; what comes before it is behind `out` then.
    ///
    /// # Errors
    ///
    /// It must not be sent. If no head is sent, another answer still can be.
    pub fn plan(&mut self, piece: Piece, len: usize, terms: Terms) -> Result<Plan, Fault> {
        if let Some(failure) = self.failure {
            return Err(Fault::Failure(failure));
        }
        let len = len as u64;
        match self.stage {
            Stage::Silent => return Err(Mistake::NotStarted.into()),
            Stage::Prepared => self.begin_body(piece, len, terms)?,
            Stage::Sent => {
                if let ResponseFraming::Length(length) = self.framing
                    && self.sent + len > length
                {
                    self.failure = Some(Failure::Broken);
                    return Err(Mistake::TooLong { declared: length }.into());
                }
            }
        }
        self.sent += len;
        Ok(match self.framing {
            ResponseFraming::NoBody => Plan::LEFT_OUT,
            ResponseFraming::UntilClose | ResponseFraming::Length(_) => Plan::AS_IT_IS,
            // An empty chunk would be the last one.
            ResponseFraming::Chunked if len == 0 => Plan::LEFT_OUT,
            ResponseFraming::Chunked => {
                push_hex(&mut self.answer.out, len);
                self.answer.out.extend_from_slice(b"\r\n");
                Plan::AS_CHUNK
            }
        })
    }

    fn begin_body(&mut self, piece: Piece, len: u64, terms: Terms) -> Result<(), Fault> {
        if let Some(refusal) = terms.refusal {
            return Err(Fault::Refused(refusal));
        }
        // An empty body of HEAD says nothing about the length of the other answer's.
        let known = (piece == Piece::Whole && !(terms.is_head && len == 0)).then_some(len);
        let length = self.answer.declared.or(known);
        let framing = rules::framing(self.answer.status, terms.is_head, terms.version, length);
        if let ResponseFraming::Length(declared) = framing {
            if len > declared {
                return Err(Mistake::TooLong { declared }.into());
            }
            if piece == Piece::Whole && len < declared {
                return Err(Mistake::TooShort {
                    declared,
                    sent: len,
                }
                .into());
            }
        }
        self.framing = framing;
        self.keeps_alive = terms.keep_alive && framing != ResponseFraming::UntilClose;
        self.answer
            .finish(framing, length, terms.version, self.keeps_alive);
        if let Some(kept) = &mut self.kept_head {
            kept.clone_from(&self.answer.out);
        }
        self.stage = Stage::Sent;
        Ok(())
    }

    /// Decide how the body ends after its parts.
    ///
    /// # Errors
    ///
    /// It must not: the application has sent less than it declared.
    pub fn plan_end(&mut self, terms: Terms) -> Result<(), Fault> {
        if self.stage != Stage::Sent {
            // No part had any bytes in it.
            self.plan(Piece::Whole, 0, terms)?;
        }
        if let Some(failure) = self.failure {
            return Err(Fault::Failure(failure));
        }
        match self.framing {
            ResponseFraming::Length(declared) if self.sent < declared => {
                self.failure = Some(Failure::Broken);
                Err(Mistake::TooShort {
                    declared,
                    sent: self.sent,
                }
                .into())
            }
            ResponseFraming::Chunked => {
                self.answer.out.extend_from_slice(b"0\r\n\r\n");
                Ok(())
            }
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const GET: Terms = Terms {
        is_head: false,
        version: Version::Http11,
        keep_alive: true,
        refusal: None,
    };
    const HEAD: Terms = Terms {
        is_head: true,
        ..GET
    };
    const OLD: Terms = Terms {
        version: Version::Http10,
        ..GET
    };

    fn prepared(status: &str, declared: Option<u64>) -> Reply {
        let mut reply = Reply::new();
        let rendered = reply.prepare(|answer| {
            answer.start(status.as_bytes())?;
            match declared {
                Some(length) => answer.field(b"Content-Length", length.to_string().as_bytes()),
                None => Ok(()),
            }
        });
        assert_eq!(rendered, Ok(()));
        reply
    }

    /// What `reply` puts on the wire for these parts and the end.
    fn wire(reply: &mut Reply, parts: &[&str], terms: Terms) -> Result<String, Fault> {
        let mut wire = Vec::new();
        for part in parts {
            let plan = reply.plan(Piece::Part, part.len(), terms)?;
            wire.append(&mut reply.take_out());
            if plan.is_sent {
                wire.extend_from_slice(part.as_bytes());
                wire.extend_from_slice(plan.after);
            }
        }
        reply.plan_end(terms)?;
        wire.append(&mut reply.take_out());
        Ok(String::from_utf8(wire).unwrap())
    }

    #[test]
    fn a_body_of_unknown_length_is_chunked_or_ended_by_closing() {
        let mut reply = prepared("200 OK", None);
        let sent = wire(&mut reply, &["hello", "0123456789abcdef"], GET).unwrap();
        assert!(
            sent.contains("\r\nTransfer-Encoding: chunked\r\n"),
            "{sent}"
        );
        assert!(sent.ends_with("\r\n\r\n5\r\nhello\r\n10\r\n0123456789abcdef\r\n0\r\n\r\n"));
        assert!(reply.keeps_alive());

        let mut reply = prepared("200 OK", None);
        let sent = wire(&mut reply, &["a", "b"], OLD).unwrap();
        assert!(sent.ends_with("Connection: close\r\n\r\nab"), "{sent}");
        assert!(!reply.keeps_alive());
    }

    #[test]
    fn a_body_that_is_known_or_absent_has_a_length() {
        for (piece, len, expected) in [(Piece::Whole, 5, "5"), (Piece::Whole, 0, "0")] {
            let mut reply = prepared("200 OK", None);
            assert_eq!(reply.plan(piece, len, GET), Ok(Plan::AS_IT_IS));
            let head = String::from_utf8(reply.take_out()).unwrap();
            assert!(head.contains(&format!("\r\nContent-Length: {expected}\r\n")));
        }
        let sent = wire(&mut prepared("200 OK", None), &[], GET).unwrap();
        assert!(sent.contains("\r\nContent-Length: 0\r\n"), "{sent}");
    }

    #[test]
    fn head_204_and_304_have_no_body_and_want_none() {
        for (status, terms, length) in [
            ("200 OK", HEAD, Some("Content-Length: 9")),
            ("304 Not Modified", GET, Some("Content-Length: 9")),
            ("204 No Content", GET, None),
        ] {
            let mut reply = prepared(status, Some(9));
            let sent = wire(&mut reply, &["too long a body"], terms).unwrap();
            assert!(sent.ends_with("\r\n\r\n"), "{sent}");
            assert_eq!(sent.contains("Content-Length"), length.is_some(), "{sent}");
            assert!(!reply.wants_more());
            assert!(reply.keeps_alive());
        }
        let sent = wire(&mut prepared("200 OK", None), &[], HEAD).unwrap();
        assert!(!sent.contains("Content-Length"), "{sent}");
    }

    #[test]
    fn what_was_declared_is_kept_to() {
        let too_long = Fault::Mistake(Mistake::TooLong { declared: 3 });
        let too_short = |sent| Fault::Mistake(Mistake::TooShort { declared: 3, sent });

        let mut reply = prepared("200 OK", Some(3));
        assert_eq!(reply.plan(Piece::Part, 4, GET), Err(too_long.clone()));
        assert_eq!(reply.plan(Piece::Whole, 2, GET), Err(too_short(2)));
        assert!(!reply.is_head_sent(), "another answer is still possible");
        assert_eq!(reply.plan(Piece::Part, 2, GET), Ok(Plan::AS_IT_IS));
        assert_eq!(reply.plan(Piece::Part, 2, GET), Err(too_long));
        assert_eq!(reply.failure(), Some(Failure::Broken));
        assert_eq!(
            reply.plan(Piece::Part, 1, GET),
            Err(Fault::Failure(Failure::Broken)),
            "nothing follows what is broken"
        );

        let mut reply = prepared("200 OK", Some(3));
        assert_eq!(reply.plan(Piece::Part, 2, GET), Ok(Plan::AS_IT_IS));
        assert_eq!(reply.plan_end(GET), Err(too_short(2)));
        assert_eq!(reply.failure(), Some(Failure::Broken));
    }

    #[test]
    fn the_declared_length_is_the_room_there_is() {
        assert_eq!(Reply::new().room(), u64::MAX);
        assert_eq!(prepared("200 OK", None).room(), u64::MAX);
        let mut reply = prepared("200 OK", Some(3));
        assert_eq!(reply.room(), 3);
        assert!(reply.plan(Piece::Part, 2, GET).is_ok());
        assert_eq!(reply.room(), 1);
    }

    #[test]
    fn nothing_is_sent_before_a_head_is_there() {
        let mut reply = Reply::new();
        let not_started = Fault::Mistake(Mistake::NotStarted);
        assert_eq!(reply.plan(Piece::Part, 1, GET), Err(not_started.clone()));
        assert_eq!(reply.plan_end(GET), Err(not_started));
        assert_eq!(
            reply.prepare(|_| Err(Mistake::Status)),
            Err(Mistake::Status)
        );
        assert!(reply.is_silent());
    }

    #[test]
    fn a_refused_request_gets_no_answer_of_the_application() {
        let terms = Terms {
            refusal: Some(Refusal::BodyTimeout),
            ..GET
        };
        let mut reply = prepared("200 OK", None);
        let refused = Err(Fault::Refused(Refusal::BodyTimeout));
        assert_eq!(reply.plan(Piece::Whole, 1, terms), refused);
        assert!(!reply.is_head_sent());
    }

    #[test]
    fn a_reply_is_used_for_one_request_after_the_other() {
        let mut reply = prepared("200 OK", Some(3));
        assert!(reply.plan(Piece::Whole, 3, GET).is_ok());
        reply.fail(Failure::Gone);
        reply.fail(Failure::Broken);
        assert_eq!(reply.failure(), Some(Failure::Gone));
        reply.begin();
        assert!(reply.is_silent() && !reply.keeps_alive());
        assert_eq!(reply.failure(), None);
        assert!(reply.out().is_empty());
    }
}
