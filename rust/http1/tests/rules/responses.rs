//! What an application may send.

use http1::Version::{self, Http10, Http11};
use http1::response::{
    ResponseError, ResponseFraming, check_field_name, check_field_value, framing, is_hop_by_hop,
    parse_content_length, parse_status,
};

#[test]
fn field_names_are_tokens() {
    for name in [&b"X"[..], b"Content-Type", b"x_y", b"!#$%&'*+-.^_`|~09"] {
        assert_eq!(check_field_name(name), Ok(()), "{}", name.escape_ascii());
    }
    let refused: [&[u8]; 11] = [
        b"", b" X", b"X ", b"X:", b"X Y", b"X\r\nY", b"X\n", b"X\0", b"X\x7f", b"caf\xe9", b"a\"b",
    ];
    for name in refused {
        assert_eq!(
            check_field_name(name),
            Err(ResponseError::FieldName),
            "{}",
            name.escape_ascii()
        );
    }
}

#[test]
fn field_values_stay_in_their_line() {
    for value in [
        &b""[..],
        b"a",
        b" a\tb ",
        b"caf\xe9",
        b"a, b; c=\"d\"",
        b"0123456789abcdef0123456789",
    ] {
        assert_eq!(check_field_value(value), Ok(()), "{}", value.escape_ascii());
    }
    let refused: [&[u8]; 8] = [
        b"a\r\nSet-Cookie: b",
        b"a\n",
        b"a\r",
        b"\0",
        b"a\x0bb",
        b"a\x7f",
        b"\x1b[31m",
        b"0123456789abcdef0123456789\n",
    ];
    for value in refused {
        assert_eq!(
            check_field_value(value),
            Err(ResponseError::FieldValue),
            "{}",
            value.escape_ascii()
        );
    }
}

#[test]
fn a_status_is_three_digits_and_a_reason() {
    #[rustfmt::skip]
    let valid: [(&[u8], u16, &[u8]); 7] = [
        (b"200 OK", 200, b"OK"),
        (b"404 Not Found", 404, b"Not Found"),
        (b"100 Continue", 100, b"Continue"),
        (b"999 x", 999, b"x"),
        (b"200 ", 200, b""),
        (b"200", 200, b""),
        (b"200  caf\xe9", 200, b" caf\xe9"),
    ];
    for (status, code, reason) in valid {
        assert_eq!(
            parse_status(status),
            Ok((code, reason)),
            "{}",
            status.escape_ascii()
        );
    }
    let refused: [&[u8]; 13] = [
        b"",
        b"2",
        b"20",
        b"2000",
        b"2000 OK",
        b"099 x",
        b"000 x",
        b"+20 x",
        b" 200 OK",
        b"200OK",
        b"200\tOK",
        b"200 OK\r\nX: y",
        b"200 \0",
    ];
    for status in refused {
        assert_eq!(
            parse_status(status),
            Err(ResponseError::Status),
            "{}",
            status.escape_ascii()
        );
    }
}

#[test]
fn connection_fields_are_the_servers() {
    let theirs: [&[u8]; 12] = [
        b"connection",
        b"Connection",
        b"KEEP-ALIVE",
        b"Proxy-Authenticate",
        b"proxy-authorization",
        b"Proxy-Connection",
        b"TE",
        b"Trailer",
        b"trailers",
        b"Transfer-Encoding",
        b"Upgrade",
        b"uPGRADE",
    ];
    for name in theirs {
        assert!(is_hop_by_hop(name), "{}", name.escape_ascii());
    }
    let others: [&[u8]; 9] = [
        b"",
        b"et",
        b"content-length",
        b"set-cookie",
        b"connexion!",
        b"transfer-encodinh",
        b"upgrader",
        b"unicode",
        b"x-trailer",
    ];
    for name in others {
        assert!(!is_hop_by_hop(name), "{}", name.escape_ascii());
    }
}

#[test]
fn a_declared_length_is_a_plain_number() {
    assert_eq!(parse_content_length(b"0"), Some(0));
    assert_eq!(parse_content_length(b"13"), Some(13));
    assert_eq!(
        parse_content_length(b"9999999999999999999"),
        Some(9_999_999_999_999_999_999)
    );
    let refused: [&[u8]; 8] = [
        b"",
        b"-1",
        b"+1",
        b" 1",
        b"1 ",
        b"01",
        b"1,1",
        b"99999999999999999999",
    ];
    for value in refused {
        assert_eq!(
            parse_content_length(value),
            None,
            "{}",
            value.escape_ascii()
        );
    }
}

type Row = (
    &'static str,
    u16,
    bool,
    Version,
    Option<u64>,
    ResponseFraming,
);

#[test]
fn a_response_ends_where_its_status_and_its_request_say() {
    use ResponseFraming::{Chunked, Length, NoBody, UntilClose};
    #[rustfmt::skip]
    let rows: [Row; 16] = [
        ("RFC 9112 6.3", 200, false, Http11, Some(5), Length(5)),
        ("RFC 9112 6.3", 200, false, Http10, Some(5), Length(5)),
        ("RFC 9112 6.3", 200, false, Http11, Some(0), Length(0)),
        ("RFC 9112 6.3", 404, false, Http11, None, Chunked),
        ("RFC 9112 6.1: no coding in HTTP/1.0", 200, false, Http10, None, UntilClose),
        ("RFC 9110 9.3.2", 200, true, Http11, Some(5), NoBody),
        ("RFC 9110 9.3.2", 200, true, Http11, None, NoBody),
        ("RFC 9110 9.3.2", 200, true, Http10, None, NoBody),
        ("RFC 9110 15.2", 103, false, Http11, None, NoBody),
        ("RFC 9110 15.3.5", 204, false, Http11, Some(5), NoBody),
        ("RFC 9110 15.3.5", 204, false, Http10, None, NoBody),
        ("RFC 9110 15.4.5", 304, false, Http11, Some(5), NoBody),
        ("RFC 9110 15.3.6", 205, false, Http11, None, Length(0)),
        ("RFC 9110 15.3.6", 205, false, Http10, Some(5), Length(0)),
        ("RFC 9110 15.3.6", 205, true, Http11, None, NoBody),
        ("RFC 9110 15", 999, false, Http11, None, Chunked),
    ];
    for (source, status, request_is_head, version, declared, expected) in rows {
        let framed = framing(status, request_is_head, version, declared);
        assert_eq!(framed, expected, "{source}: {status}");
    }
}
