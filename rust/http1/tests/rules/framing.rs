//! Where the body of a request ends.

use http1::FramingError::{
    self, BodyTooLarge, BothLengthAndCoding, Coding, CodingInHttp10, Length, Repeated,
    UnsupportedCoding,
};
use http1::{Limits, ParseError};

use crate::connection::{LIMITS, Refusal, accepted, assert_refused_at_the_last_byte};

/// Lines of fields, and why the last one is refused.
#[rustfmt::skip]
const IN_DOUBT: [(&str, &[u8], FramingError); 48] = [
    ("RFC 9110 8.6: empty", b"Content-Length:", Length),
    ("RFC 9110 8.6: a sign", b"Content-Length: +5", Length),
    ("RFC 9110 8.6: a sign", b"Content-Length: -5", Length),
    ("RFC 9110 8.6: a sign", b"Content-Length: -0", Length),
    ("RFC 9110 8.6: hexadecimal", b"Content-Length: 0x5", Length),
    ("RFC 9110 8.6: hexadecimal", b"Content-Length: a", Length),
    ("RFC 9110 8.6: an underscore", b"Content-Length: 1_0", Length),
    ("RFC 9110 8.6: a space", b"Content-Length: 5 5", Length),
    ("RFC 9110 8.6: a point", b"Content-Length: 5.0", Length),
    ("RFC 9110 8.6: a list", b"Content-Length: 5,5", Length),
    ("RFC 9110 8.6: a list", b"Content-Length: 5, 6", Length),
    ("RFC 9110 8.6: not ASCII", b"Content-Length: \xb2", Length),
    ("RFC 9110 5.6.3: 0xa0 is no white space", b"Content-Length: \xa05", Length),
    ("octal to some", b"Content-Length: 05", Length),
    ("octal to some", b"Content-Length: 00", Length),
    ("octal to some", b"Content-Length: 00000000000000000000000005", Length),
    ("the limit", b"Content-Length: 10485761", BodyTooLarge),
    ("the limit", b"Content-Length: 9999999999999999999", BodyTooLarge),
    ("more than 64 bits", b"Content-Length: 18446744073709551617", BodyTooLarge),
    ("more than 64 bits", b"Content-Length: 99999999999999999999999", BodyTooLarge),
    ("RFC 9112 6.3", b"Content-Length: 5\r\nContent-Length: 6", Repeated),
    ("RFC 9112 6.3", b"Content-Length: 5\r\nContent-Length: 5", Repeated),
    ("RFC 9112 6.3", b"Content-Length: 0\r\ncontent-length: 0", Repeated),
    ("RFC 9112 6.3", b"Content-Length: 5\r\nTransfer-Encoding: chunked", BothLengthAndCoding),
    ("RFC 9112 6.3", b"Content-Length: 0\r\nTransfer-Encoding: chunked", BothLengthAndCoding),
    ("RFC 9112 6.3", b"Transfer-Encoding: chunked\r\nContent-Length: 5", BothLengthAndCoding),
    ("RFC 9112 6.3", b"Transfer-Encoding: chunked\r\nContent-Length: x", BothLengthAndCoding),
    ("RFC 9112 6.1", b"Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", Repeated),
    ("RFC 9112 6.1", b"Transfer-Encoding: chunked\r\ntransfer-encoding: gzip", Repeated),
    ("RFC 9112 6.1: empty", b"Transfer-Encoding:", Coding),
    ("RFC 9110 5.6.1: an empty member", b"Transfer-Encoding: ,chunked", Coding),
    ("RFC 9110 5.6.1: an empty member", b"Transfer-Encoding: chunked,", Coding),
    ("RFC 9110 5.6.1: an empty member", b"Transfer-Encoding: gzip,,chunked", Coding),
    ("RFC 9112 6.3: chunked is not last", b"Transfer-Encoding: chunked, gzip", Coding),
    ("RFC 9112 6.3: chunked is not last", b"Transfer-Encoding: CHUNKED,identity", Coding),
    ("RFC 9112 6.1: chunked twice", b"Transfer-Encoding: chunked, chunked", Coding),
    ("RFC 9112 6.1: chunked twice", b"Transfer-Encoding: chunked, gzip, chunked", Coding),
    ("RFC 9112 7.1: no parameters", b"Transfer-Encoding: chunked;a=b", Coding),
    ("RFC 9112 7.1: no parameters", b"Transfer-Encoding: gzip, chunked ; a", Coding),
    ("RFC 9112 7: a token", b"Transfer-Encoding: \"chunked\"", Coding),
    ("RFC 9112 7: a token", b"Transfer-Encoding: chunked chunked", Coding),
    ("RFC 9110 5.6.3: no white space", b"Transfer-Encoding: \xa0chunked\xa0", Coding),
    ("RFC 9112 6.1", b"Transfer-Encoding: gzip, chunked", UnsupportedCoding),
    ("RFC 9112 6.1", b"Transfer-Encoding: gzip;q=1, chunked", UnsupportedCoding),
    ("RFC 9112 6.1", b"Transfer-Encoding: gzip", UnsupportedCoding),
    ("RFC 9112 6.1", b"Transfer-Encoding: xchunked", UnsupportedCoding),
    ("RFC 9112 6.1", b"Transfer-Encoding: chunkedx", UnsupportedCoding),
    ("RFC 9112 7: no coding any more", b"Transfer-Encoding: identity", UnsupportedCoding),
];

#[test]
fn what_leaves_the_end_of_a_body_in_doubt_is_refused() {
    for (_, lines, error) in IN_DOUBT {
        let head = [b"POST / HTTP/1.1\r\n", lines, b"\r\n"].concat();
        let refusal = Refusal::Head(ParseError::Framing(error));
        assert_refused_at_the_last_byte(&head, refusal, LIMITS);
    }
    // RFC 9112 6.1: faulty, whatever it says.
    for coding in ["chunked", "gzip"] {
        let head = format!("POST / HTTP/1.0\r\nTransfer-Encoding: {coding}\r\n");
        let refusal = Refusal::Head(ParseError::Framing(CodingInHttp10));
        assert_refused_at_the_last_byte(head.as_bytes(), refusal, LIMITS);
    }
}

#[test]
fn a_body_has_its_declared_length() {
    #[rustfmt::skip]
    let http10: [(&str, &[u8], &[u8]); 6] = [
        ("RFC 9112 6.3: none", b"\r\n", b""),
        ("RFC 9110 8.6", b"Content-Length: 0\r\n\r\n", b""),
        ("RFC 9110 8.6", b"Content-Length: 5\r\n\r\nhello", b"hello"),
        ("RFC 9110 5.1: in any case", b"content-LENGTH: 1\r\n\r\na", b"a"),
        ("RFC 9110 5.6.3", b"Content-Length:\t10 \r\n\r\n0123456789", b"0123456789"),
        ("RFC 9110 9.3.1: GET too", b"Content-Length: 2\r\n\r\n\r\n", b"\r\n"),
    ];
    for (_, rest, body) in http10 {
        let stream = [b"GET / HTTP/1.0\r\n", rest].concat();
        assert_eq!(
            accepted(&stream, LIMITS).body,
            body,
            "{}",
            rest.escape_ascii()
        );
    }
    #[rustfmt::skip]
    let http11: [(&str, &[u8], &[u8]); 5] = [
        ("RFC 9112 6.3: none", b"\r\n", b""),
        ("RFC 9112 7.1", b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n", b""),
        ("RFC 9112 7", b"transfer-encoding:\tCHUNKED \r\n\r\n1\r\na\r\n0\r\n\r\n", b"a"),
        ("other lengths", b"Content-Lengths: 5\r\nTransfer-Encodin: x\r\n\r\n", b""),
        ("other letters", b"Content-Lengtg: 5\r\nTransfer-Encodinf: x\r\n\r\n", b""),
    ];
    for (_, rest, body) in http11 {
        let stream = [b"DELETE / HTTP/1.1\r\nHost: a\r\n", rest].concat();
        assert_eq!(
            accepted(&stream, LIMITS).body,
            body,
            "{}",
            rest.escape_ascii()
        );
    }
}

#[test]
fn the_limit_of_a_body_is_exact() {
    let limits = Limits { body: 5, ..LIMITS };
    let head = "POST / HTTP/1.0\r\nContent-Length:";
    accepted(format!("{head} 5\r\n\r\nhello").as_bytes(), limits);
    let too_large = Refusal::Head(ParseError::Framing(FramingError::BodyTooLarge));
    assert_refused_at_the_last_byte(format!("{head} 6\r\n").as_bytes(), too_large, limits);
}
