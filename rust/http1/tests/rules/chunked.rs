//! The chunked coding.

use http1::{ChunkedDecoder, Decoded, FieldError, FramingError, Limits};

use crate::connection::{LIMITS, Refusal, accepted, assert_refused_at_the_last_byte};

const HEAD: &[u8] = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n";

/// Each row ends with the byte that makes its error certain.
#[test]
fn chunks_are_refused_at_the_first_byte_that_breaks_a_rule() {
    use FramingError::{BodyTooLarge, ChunkEnd, ChunkExtension, ChunkSize};
    #[rustfmt::skip]
    let rows: [(&str, &[u8], FramingError); 44] = [
        ("RFC 9112 7.1: no size", b"\r", ChunkSize),
        ("RFC 9112 7.1: no size", b"\n", ChunkSize),
        ("RFC 9112 7.1: no size", b";", ChunkSize),
        ("RFC 9112 7.1: a space", b" ", ChunkSize),
        ("RFC 9112 7.1: a sign", b"+", ChunkSize),
        ("RFC 9112 7.1: a sign", b"-", ChunkSize),
        ("RFC 9112 7.1: no digit", b"g", ChunkSize),
        ("RFC 9112 7.1: a prefix", b"0x", ChunkSize),
        ("RFC 9112 7.1: an underscore", b"0_", ChunkSize),
        ("RFC 9112 7.1: a space", b"5 ", ChunkSize),
        ("RFC 9112 7.1: a tab", b"5\t", ChunkSize),
        ("RFC 9112 7.1: no digit", b"5z", ChunkSize),
        ("RFC 9112 7.1: not ASCII", b"5\xb2", ChunkSize),
        ("RFC 9112 7.1: bare LF", b"5\n", ChunkSize),
        ("RFC 9112 7.1: bare CR", b"5\rh", ChunkSize),
        ("RFC 9112 7.1: bare CR", b"5\r\r", ChunkSize),
        ("RFC 9112 7.1: bare LF", b"0\n", ChunkSize),
        ("16 digits", b"00000000000000000", ChunkSize),
        ("the limit", b"A00001", BodyTooLarge),
        ("more than 64 bits", b"FFFFFF", BodyTooLarge),
        ("RFC 9112 7.1: bare LF", b"1\r\na\n", ChunkEnd),
        ("RFC 9112 7.1: bare CR", b"1\r\na\ra", ChunkEnd),
        ("RFC 9112 7.1: two other bytes", b"1\r\naX", ChunkEnd),
        ("RFC 9112 7.1: two other bytes", b"1\r\na0", ChunkEnd),
        ("RFC 9112 7.1: in the second chunk", b"1\r\na\r\n2\r\nbc1", ChunkEnd),
        ("RFC 9112 7.1: an empty line", b"1\r\na\r\n\r", ChunkSize),
        ("RFC 9112 7.1.1: no name", b"5;\r", ChunkExtension),
        ("RFC 9112 7.1.1: no name", b"5;;", ChunkExtension),
        ("RFC 9112 7.1.1: no name", b"5;=", ChunkExtension),
        ("RFC 9112 7.1.1: no name", b"5;a;\r", ChunkExtension),
        ("RFC 9112 7.1.1: a space", b"5; ", ChunkExtension),
        ("RFC 9112 7.1.1: a space", b"5;a ", ChunkExtension),
        ("RFC 9112 7.1.1: a space", b"5;a= ", ChunkExtension),
        ("RFC 9112 7.1.1: a token", b"5;a[", ChunkExtension),
        ("RFC 9112 7.1.1: a token", b"5;a\0", ChunkExtension),
        ("RFC 9112 7.1.1: a token", b"5;a=\0", ChunkExtension),
        ("RFC 9112 7.1.1: a token", b"5;a=b\"", ChunkExtension),
        ("RFC 9112 7.1.1: no value", b"5;a=\r", ChunkExtension),
        ("RFC 9112 7.1.1: bare LF", b"5;a\n", ChunkExtension),
        ("RFC 9112 7.1.1: bare LF", b"5;a=\"\n", ChunkExtension),
        ("RFC 9112 7.1.1: bare CR", b"5;a\rX", ChunkSize),
        ("RFC 9110 5.6.4: control", b"5;a=\"\x7f", ChunkExtension),
        ("RFC 9110 5.6.4: quoted pair", b"5;a=\"\\\r", ChunkExtension),
        ("RFC 9112 7.1.1: after a quoted string", b"5;a=\"b\"c", ChunkExtension),
    ];
    for (_, body, error) in rows {
        let stream = [HEAD, body].concat();
        assert_refused_at_the_last_byte(&stream, Refusal::Body(error), LIMITS);
    }
}

#[test]
fn chunks_make_a_body() {
    #[rustfmt::skip]
    let rows: [(&str, &[u8], &[u8]); 15] = [
        ("RFC 9112 7.1: the last chunk", b"0\r\n\r\n", b""),
        ("RFC 9112 7.1: zeros", b"0000000000000000\r\n\r\n", b""),
        ("RFC 9112 7.1: zeros", b"0000000000000001\r\na\r\n00\r\n\r\n", b"a"),
        ("RFC 9112 7.1", b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
        ("RFC 9112 7.1: case", b"a\r\n0123456789\r\n0\r\n\r\n", b"0123456789"),
        ("RFC 9112 7.1: case", b"A\r\n0123456789\r\n0\r\n\r\n", b"0123456789"),
        ("RFC 9112 7.1: several", b"2\r\nhe\r\n1\r\nl\r\n02\r\nlo\r\n0\r\n\r\n", b"hello"),
        ("RFC 9112 7.1: data is opaque", b"7\r\n0\r\n\r\n\0\xff\r\n0\r\n\r\n", b"0\r\n\r\n\0\xff"),
        ("RFC 9112 7.1.1: a name", b"5;a\r\nhello\r\n0;b\r\n\r\n", b"hello"),
        ("RFC 9112 7.1.1: a token", b"5;a=b;c=!#$\r\nhello\r\n0\r\n\r\n", b"hello"),
        ("RFC 9112 7.1.1: quoted", b"5;a=\"b ;\tc\xe9\";d\r\nhello\r\n0\r\n\r\n", b"hello"),
        ("RFC 9110 5.6.4: empty", b"5;a=\"\"\r\nhello\r\n0\r\n\r\n", b"hello"),
        ("RFC 9110 5.6.4: quoted pair", b"5;a=\"\\\"\\\\\\\t\"\r\nhello\r\n0\r\n\r\n", b"hello"),
        ("RFC 9112 7.1.2: trailers", b"1\r\na\r\n0\r\nX: y\r\nZ:\r\n\r\n", b"a"),
        ("RFC 9112 7.1.2: no request", b"1\r\na\r\n0\r\nX: GET / HTTP/1.1\r\n\r\n", b"a"),
    ];
    for (_, body, expected) in rows {
        let request = accepted(&[HEAD, body].concat(), LIMITS);
        assert_eq!(request.body, expected, "{}", body.escape_ascii());
        assert_eq!(request.fields.len(), 2, "trailers are dropped");
    }
}

/// Each row ends with the byte that makes its error certain.
#[test]
fn trailers_are_field_lines_that_may_come_late() {
    use FieldError::{BareCarriageReturn, Folded, Name, Value};
    use FramingError::{ForbiddenTrailer, Trailer};
    #[rustfmt::skip]
    let rows: [(&str, &[u8], FramingError); 22] = [
        ("RFC 9112 7.1.2: no colon", b"bad ", Trailer(Name)),
        ("RFC 9112 7.1.2: no colon", b"XX\r", Trailer(BareCarriageReturn)),
        ("RFC 9110 5.1: no name", b":", Trailer(Name)),
        ("RFC 9110 5.5: bare LF", b"X: a\n", Trailer(Value)),
        ("RFC 9110 5.5: bare CR", b"X: a\rb", Trailer(BareCarriageReturn)),
        ("RFC 9110 5.5: NUL", b"X: \0", Trailer(Value)),
        ("RFC 9112 5.2: obsolete folding", b" ", Trailer(Folded)),
        ("RFC 9112 5.2: obsolete folding", b"X: a\r\n ", Trailer(Folded)),
        ("RFC 9112 7.1: bare LF", b"\n", Trailer(Name)),
        ("RFC 9112 7.1: bare CR", b"\rX", Trailer(BareCarriageReturn)),
        ("RFC 9110 6.5.1: framing", b"Content-Length: 99\r\n", ForbiddenTrailer),
        ("RFC 9110 6.5.1: framing", b"TRANSFER-ENCODING: chunked\r\n", ForbiddenTrailer),
        ("RFC 9110 6.5.1: routing", b"Host: evil\r\n", ForbiddenTrailer),
        ("RFC 9110 6.5.1: authentication", b"authorization: x\r\n", ForbiddenTrailer),
        ("RFC 9110 6.5.1: authentication", b"Cookie: x\r\n", ForbiddenTrailer),
        ("RFC 9110 6.5.1: modifiers", b"Expect: 100-continue\r\n", ForbiddenTrailer),
        ("RFC 9110 6.5.1: modifiers", b"If-None-Match: x\r\n", ForbiddenTrailer),
        ("RFC 9110 6.5.1: modifiers", b"TE: trailers\r\n", ForbiddenTrailer),
        ("RFC 9110 6.5.1: content", b"Content-Type: a/b\r\n", ForbiddenTrailer),
        ("RFC 9110 6.5.1: content", b"Content-Encoding: gzip\r\n", ForbiddenTrailer),
        ("RFC 9110 6.5.1: connection", b"Connection: close\r\n", ForbiddenTrailer),
        ("RFC 9110 6.5.1: after others", b"X: y\r\nTrailer: X\r\n", ForbiddenTrailer),
    ];
    for (_, trailers, error) in rows {
        let stream = [HEAD, b"0\r\n", trailers].concat();
        assert_refused_at_the_last_byte(&stream, Refusal::Body(error), LIMITS);
    }
}

#[test]
fn the_limits_of_a_chunked_body_are_exact() {
    use FieldError::{SectionTooLarge, TooLarge, TooMany};
    use FramingError::{BodyTooLarge, ChunkExtensionsTooLarge, Trailer};
    let limits = Limits {
        body: 9,
        fields: 2,
        field_size: 10,
        head: 25,
        ..LIMITS
    };
    let kept: [&[u8]; 5] = [
        b"9\r\n012345678\r\n0\r\n\r\n",
        b"5\r\nhello\r\n4\r\nhell\r\n0\r\n\r\n",
        b"0\r\nA:\r\nB:\r\n\r\n",
        b"0\r\nA: 4567890\r\n\r\n",
        b"0\r\nA: 4567890\r\nB: 456789\r\n\r\n",
    ];
    #[rustfmt::skip]
    let refused: [(&[u8], FramingError); 8] = [
        (b"A", BodyTooLarge),
        (b"10", BodyTooLarge),
        (b"5\r\nhello\r\n5", BodyTooLarge),
        (b"9\r\n012345678\r\n1", BodyTooLarge),
        (b"0\r\nA:\r\nB:\r\nC", Trailer(TooMany)),
        (b"0\r\nA: 4567890x", Trailer(TooLarge)),
        (b"0\r\nEleven-Long", Trailer(TooLarge)),
        (b"0\r\nA: 4567890\r\nB: 4567890\r\n\r", Trailer(SectionTooLarge)),
    ];
    for body in kept {
        assert!(decode(body, limits).is_ok(), "{}", body.escape_ascii());
    }
    for (body, error) in refused {
        assert_eq!(decode(body, limits), Err(error), "{}", body.escape_ascii());
        assert_eq!(
            decode(&body[..body.len() - 1], limits),
            Ok(false),
            "{}",
            body.escape_ascii()
        );
    }

    // RFC 9112 7.1.1: the extensions of all chunks together.
    let extension = |len: usize| format!(";{}", "x".repeat(len - 1));
    let chunks = |last: usize| format!("1{}\r\na\r\n0{}", extension(1000), extension(last));
    assert_eq!(
        decode(format!("{}\r\n\r\n", chunks(24)).as_bytes(), LIMITS),
        Ok(true)
    );
    assert_refused_at_the_last_byte(
        &[HEAD, chunks(25).as_bytes()].concat(),
        Refusal::Body(ChunkExtensionsTooLarge),
        LIMITS,
    );
}

/// Whether `body` is complete.
fn decode(body: &[u8], limits: Limits) -> Result<bool, FramingError> {
    let mut decoder = ChunkedDecoder::new(&limits);
    let mut at = 0;
    loop {
        let part = decoder.decode(&body[at..])?;
        at += part.consumed;
        if part.done || part.consumed == 0 {
            return Ok(part.done);
        }
    }
}

#[test]
fn each_call_returns_at_most_one_run_of_data() {
    let mut decoder = ChunkedDecoder::new(&LIMITS);
    let mut next = |input: &[u8]| decoder.decode(input).expect("valid");
    let found = |consumed, data, done| Decoded {
        consumed,
        data,
        done,
    };
    assert_eq!(next(b""), found(0, 0..0, false));
    assert_eq!(next(b"5"), found(1, 1..1, false));
    assert_eq!(next(b";a\r\nhel"), found(7, 4..7, false));
    assert_eq!(next(b"lo\r\n1\r\n!"), found(2, 0..2, false));
    assert_eq!(next(b"\r\n1\r\n!\r\n0\r\n"), found(6, 5..6, false));
    assert_eq!(next(b"\r\n0\r\nX: y\r\nZ:"), found(11, 11..11, false));
    // Only an incomplete trailer line stays.
    assert_eq!(next(b"Z:"), found(0, 0..0, false));
    assert_eq!(next(b"Z: 1\r\n\r\nGET"), found(8, 8..8, true));
    assert_eq!(next(b"GET"), found(0, 0..0, true));
}
