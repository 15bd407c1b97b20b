//! A connection without a socket: what a server does with this crate, on bytes that come in pieces.

use http1::{
    BodyFraming, ChunkedDecoder, FieldError, FramingError, HeadParser, Limits, ParseError,
    Progress, Span, Version,
};

/// The defaults of the settings.
pub const LIMITS: Limits = Limits {
    request_line: 8192,
    fields: 100,
    field_size: 8192,
    head: 65536,
    body: 10 << 20,
};

/// A request as the application would get it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Request {
    pub method: String,
    pub path: String,
    pub query: String,
    pub version: Version,
    /// Latin-1, so that every byte shows.
    pub fields: Vec<(String, String)>,
    pub host: Option<String>,
    pub body: Vec<u8>,
    pub keep_alive: bool,
    pub expect_continue: bool,
}

/// Why a request was refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Refusal {
    Head(ParseError),
    Body(FramingError),
}

impl Refusal {
    pub fn status(self) -> u16 {
        match self {
            Self::Head(error) => error.status(),
            Self::Body(error) => error.status(),
        }
    }
}

/// What the bytes so far have led to.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Outcome {
    /// The complete requests, in order: one call of the application each.
    pub requests: Vec<Request>,
    /// The refusal after which nothing was read any more.
    pub refusal: Option<Refusal>,
    /// The start of a request has come, and more is needed.
    pub is_waiting: bool,
}

enum Stage {
    Head,
    Length(u64),
    Chunked(ChunkedDecoder),
    Closed,
}

pub struct Connection<'a> {
    limits: Limits,
    /// All that the peer will ever send.
    stream: &'a [u8],
    /// How much of the stream is done with.
    position: usize,
    stage: Stage,
    parser: HeadParser,
    request: Option<Request>,
    outcome: Outcome,
}

impl<'a> Connection<'a> {
    pub fn new(stream: &'a [u8], limits: Limits) -> Self {
        Self {
            limits,
            stream,
            position: 0,
            stage: Stage::Head,
            parser: HeadParser::new(),
            request: None,
            outcome: Outcome::default(),
        }
    }

    /// Act on the stream's first `len` bytes having arrived.
    pub fn receive(&mut self, len: usize) {
        let arrived = &self.stream[..len];
        while self.step(&arrived[self.position..]) {}
    }

    /// Do the next thing that `input` allows. False when there is none.
    fn step(&mut self, input: &[u8]) -> bool {
        match &mut self.stage {
            Stage::Closed => false,
            Stage::Head => match self.parser.advance(input, &self.limits) {
                Ok(Progress::Partial) => false,
                Ok(Progress::Complete) => {
                    let head = self.parser.head();
                    self.position += head.len;
                    self.stage = match head.framing {
                        BodyFraming::None => Stage::Length(0),
                        BodyFraming::Length(length) => Stage::Length(length),
                        BodyFraming::Chunked => Stage::Chunked(ChunkedDecoder::new(&self.limits)),
                    };
                    self.request = Some(request(&self.parser, input));
                    true
                }
                Err(error) => self.refuse(Refusal::Head(error)),
            },
            Stage::Length(length) => {
                let length = usize::try_from(*length).expect("below the body limit");
                let Some(body) = input.get(..length) else {
                    return false;
                };
                self.position += length;
                self.finish(body)
            }
            Stage::Chunked(decoder) => match decoder.decode(input) {
                Ok(part) => {
                    assert!(part.consumed <= input.len());
                    assert!(part.data.end <= part.consumed);
                    self.position += part.consumed;
                    let body = &input[part.data];
                    if part.done {
                        return self.finish(body);
                    }
                    let request = self.request.as_mut().expect("a head came before");
                    request.body.extend_from_slice(body);
                    part.consumed > 0
                }
                Err(error) => self.refuse(Refusal::Body(error)),
            },
        }
    }

    fn refuse(&mut self, refusal: Refusal) -> bool {
        self.outcome.refusal = Some(refusal);
        self.stage = Stage::Closed;
        false
    }

    /// The request is complete, with this end of its body.
    fn finish(&mut self, body: &[u8]) -> bool {
        let mut request = self.request.take().expect("a head came before");
        request.body.extend_from_slice(body);
        self.stage = if request.keep_alive {
            Stage::Head
        } else {
            Stage::Closed
        };
        self.parser.reset();
        self.outcome.requests.push(request);
        true
    }

    pub fn outcome(mut self) -> Outcome {
        self.outcome.is_waiting = match self.stage {
            Stage::Closed => false,
            Stage::Head => self.position < self.stream.len(),
            Stage::Length(_) | Stage::Chunked(_) => true,
        };
        self.outcome
    }
}

fn request(parser: &HeadParser, buf: &[u8]) -> Request {
    let head = parser.head();
    let text = |span: Span| span.of(buf).iter().map(|&byte| char::from(byte)).collect();
    Request {
        method: text(head.method),
        path: text(head.path),
        query: text(head.query),
        version: head.version,
        fields: head
            .fields
            .iter()
            .map(|field| (text(field.name), text(field.value)))
            .collect(),
        host: head.host.map(text),
        body: Vec::new(),
        keep_alive: head.keep_alive,
        expect_continue: head.expect_continue,
    }
}

/// What `stream` leads to when it arrives in pieces that end at `ends`.
pub fn outcome_of(stream: &[u8], ends: impl IntoIterator<Item = usize>, limits: Limits) -> Outcome {
    let mut connection = Connection::new(stream, limits);
    for end in ends {
        connection.receive(end);
    }
    connection.outcome()
}

/// What `stream` leads to, checked to be the same whole, in two pieces split anywhere, and byte by
/// byte.
pub fn outcome_in_any_pieces(stream: &[u8], limits: Limits) -> Outcome {
    let len = stream.len();
    let whole = outcome_of(stream, [len], limits);
    for split in 0..len {
        let in_two = outcome_of(stream, [split, len], limits);
        assert_eq!(in_two, whole, "split at {split}: {}", stream.escape_ascii());
    }
    let in_bytes = outcome_of(stream, 0..=len, limits);
    assert_eq!(in_bytes, whole, "byte by byte: {}", stream.escape_ascii());
    whole
}

/// The one request that `stream` holds.
pub fn accepted(stream: &[u8], limits: Limits) -> Request {
    let mut outcome = outcome_in_any_pieces(stream, limits);
    let shown = stream.escape_ascii();
    assert_eq!(outcome.refusal, None, "{shown}");
    assert!(!outcome.is_waiting, "{shown}");
    assert_eq!(outcome.requests.len(), 1, "{shown}");
    outcome.requests.remove(0)
}

/// Check that `stream` is refused for `expected` with its last byte, and not before.
pub fn assert_refused_at_the_last_byte(stream: &[u8], expected: Refusal, limits: Limits) {
    let outcome = outcome_in_any_pieces(stream, limits);
    let shown = stream.escape_ascii();
    assert_eq!(outcome.refusal, Some(expected), "{shown}");
    assert_eq!(outcome.requests, [], "{shown}");
    let before = outcome_of(stream, [stream.len() - 1], limits);
    assert_eq!(
        before.refusal, None,
        "refused too early to be sure: {shown}"
    );
    // What follows can't change it.
    for more in [
        "\r\n",
        "\r\n\r\n",
        "0\r\n\r\n",
        "\r\nConnection: close\r\n\r\n",
        " HTTP/1.1\r\nHost: a\r\n\r\n",
    ] {
        let longer = [stream, more.as_bytes()].concat();
        assert_eq!(
            outcome_of(&longer, [longer.len()], limits),
            outcome,
            "{shown}"
        );
    }
}

/// [`assert_refused_at_the_last_byte`] for errors of field lines in a head.
pub fn field_error(error: FieldError) -> Refusal {
    Refusal::Head(ParseError::Field(error))
}
