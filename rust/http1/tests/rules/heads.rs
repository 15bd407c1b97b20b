//! Request lines and fields.

use http1::{FieldError, HeadParser, Limits, ParseError, Progress, Version};

use crate::connection::{
    LIMITS, Refusal, accepted, assert_refused_at_the_last_byte, field_error, outcome_in_any_pieces,
};

/// Each row ends with the byte that makes its error certain.
#[test]
fn request_lines_are_refused_at_the_first_byte_that_breaks_a_rule() {
    use ParseError::{Method, MethodNotSupported, MethodTooLong, Version, VersionNotSupported};
    #[rustfmt::skip]
    let rows: [(&str, &[u8], ParseError); 37] = [
        ("RFC 9110 9.1: a token", b" ", Method),
        ("RFC 9110 9.1: a token", b"\t", Method),
        ("RFC 9110 9.1: a token", b"\0", Method),
        ("RFC 9110 9.1: a token", b"G@", Method),
        ("RFC 9110 9.1: a token", b"GET\0", Method),
        ("RFC 9110 9.1: a token", b"GET\xc3", Method),
        ("RFC 9112 3: followed by a space", b"GET\t", Method),
        ("RFC 9112 3: followed by a space", b"GET\r", Method),
        ("RFC 9112 3: followed by a space", b"GET\n", Method),
        ("RFC 8446 4.1.2: a ClientHello", b"\x16", Method),
        ("RFC 9112 2.2: bare LF", b"\n", Method),
        ("RFC 9112 2.2: bare CR", b"\rG", Method),
        ("one empty line is tolerated, not two", b"\r\n\r", Method),
        ("one empty line is tolerated, not two", b"\r\n\n", Method),
        ("at most 20 bytes", b"AAAAAAAAAAAAAAAAAAAAA", MethodTooLong),
        ("RFC 9110 9.3.6", b"CONNECT ", MethodNotSupported),
        ("RFC 9112 2.3: no version", b"GET / \r", Version),
        ("RFC 9112 2.3: no version", b"GET / \n", Version),
        ("RFC 9112 3: one space", b"GET /  ", Version),
        ("RFC 9112 3.2: space in the target", b"GET / f", Version),
        ("RFC 9112 2.3: upper case", b"GET / h", Version),
        ("RFC 9112 2.3: the name", b"GET / HTTQ", Version),
        ("RFC 9112 2.3: a slash", b"GET / HTTP ", Version),
        ("RFC 9112 2.3: one digit", b"GET / HTTP/\r", Version),
        ("RFC 9112 2.3: one digit", b"GET / HTTP/11", Version),
        ("RFC 9112 2.3: a dot", b"GET / HTTP/1\r", Version),
        ("RFC 9112 2.3: a dot", b"GET / HTTP/1,", Version),
        ("RFC 9112 2.3: one digit", b"GET / HTTP/1.\r", Version),
        ("RFC 9112 2.3: one digit", b"GET / HTTP/1.01", Version),
        ("RFC 9112 3: no space after it", b"GET / HTTP/1.1 ", Version),
        ("RFC 9112 2.2: bare LF", b"GET / HTTP/1.1\n", Version),
        ("RFC 9112 2.2: bare CR", b"GET / HTTP/1.1\rH", Version),
        ("RFC 9112 2.2: bare CR", b"GET / HTTP/1.0\r\r", Version),
        ("RFC 9110 15.6.6", b"GET / HTTP/0.9\r", VersionNotSupported),
        ("RFC 9110 15.6.6", b"GET / HTTP/1.2\r", VersionNotSupported),
        ("RFC 9110 15.6.6", b"GET / HTTP/2.0\r", VersionNotSupported),
        ("RFC 9110 15.6.6", b"GET / HTTP/9.9\r", VersionNotSupported),
    ];
    for (_, bytes, error) in rows {
        assert_refused_at_the_last_byte(bytes, Refusal::Head(error), LIMITS);
    }
}

#[test]
fn request_lines_have_a_method_a_target_and_a_version() {
    #[rustfmt::skip]
    let rows: [(&[u8], &str, &str, &str, Version); 7] = [
        (b"GET / HTTP/1.1\r\n", "GET", "/", "", Version::Http11),
        (b"GET / HTTP/1.0\r\n", "GET", "/", "", Version::Http10),
        (b"\r\nGET / HTTP/1.1\r\n", "GET", "/", "", Version::Http11),
        (b"get / HTTP/1.1\r\n", "get", "/", "", Version::Http11),
        (b"M-SEARCH /a?b=c HTTP/1.1\r\n", "M-SEARCH", "/a", "b=c", Version::Http11),
        (b"AAAAAAAAAAAAAAAAAAAA / HTTP/1.1\r\n", "AAAAAAAAAAAAAAAAAAAA", "/", "", Version::Http11),
        (b"!#$%&'*+-.^_`|~09 / HTTP/1.1\r\n", "!#$%&'*+-.^_`|~09", "/", "", Version::Http11),
    ];
    for (line, method, path, query, version) in rows {
        let request = accepted(&[line, b"Host: a\r\n\r\n"].concat(), LIMITS);
        assert_eq!(request.method, method);
        assert_eq!(request.path, path);
        assert_eq!(request.query, query);
        assert_eq!(request.version, version);
    }
}

/// Each row follows a request line and ends with the byte that makes its error certain.
#[test]
fn field_lines_are_refused_at_the_first_byte_that_breaks_a_rule() {
    use FieldError::{BareCarriageReturn, Folded, Name, Value};
    #[rustfmt::skip]
    let rows: [(&str, &[u8], FieldError); 29] = [
        ("RFC 9112 2.2: space before the first field", b" ", Folded),
        ("RFC 9112 2.2: space before the first field", b"\t", Folded),
        ("RFC 9112 5.2: obsolete folding", b"X: a\r\n ", Folded),
        ("RFC 9112 5.2: obsolete folding", b"X: a\r\n\t", Folded),
        ("RFC 9112 5.2: obsolete folding", b"X:\r\n ", Folded),
        ("RFC 9110 5.1: an empty name", b":", Name),
        ("RFC 9112 5: no colon", b"X\r", BareCarriageReturn),
        ("RFC 9112 5: no colon", b"X\n", Name),
        ("RFC 9112 5.1: space before the colon", b"X ", Name),
        ("RFC 9112 5.1: tab before the colon", b"X\t", Name),
        ("RFC 9110 5.1: a token", b"X[", Name),
        ("RFC 9110 5.1: a token", b"X\x0b", Name),
        ("RFC 9110 5.1: a token", b"X\0", Name),
        ("RFC 9110 5.1: a token", b"X\x7f", Name),
        ("RFC 9110 5.1: a token", b"X\xef", Name),
        ("RFC 9110 5.1: a token, however long", b"Long-Enough-For-Words(", Name),
        ("RFC 9110 5.1: a token, however long", b"Long-Enough-For-Word\xe9", Name),
        ("RFC 9112 2.2: bare LF", b"\n", Name),
        ("RFC 9112 2.2: bare CR", b"\rX", BareCarriageReturn),
        ("RFC 9112 2.2: bare CR", b"\r\r", BareCarriageReturn),
        ("RFC 9110 5.5: NUL", b"X: a\0", Value),
        ("RFC 9110 5.5: BEL", b"X: a\x07", Value),
        ("RFC 9110 5.5: DEL", b"X: a\x7f", Value),
        ("RFC 9110 5.5: at any distance", b"X: 0123456789012345678901\x1f", Value),
        ("RFC 9110 5.5: at any distance", b"X: 012345678901\t34567890\x7f", Value),
        ("RFC 9112 2.2: bare LF", b"X: a\n", Value),
        ("RFC 9112 2.2: bare LF", b"X:\n", Value),
        ("RFC 9112 2.2: bare CR", b"X: a\rb", BareCarriageReturn),
        ("RFC 9112 2.2: bare CR", b"X: a\r\r", BareCarriageReturn),
    ];
    for (_, bytes, error) in rows {
        let head = [b"GET / HTTP/1.1\r\nHost: a\r\n", bytes].concat();
        assert_refused_at_the_last_byte(&head, field_error(error), LIMITS);
    }
}

#[test]
fn field_values_lose_the_white_space_around_them_and_nothing_else() {
    #[rustfmt::skip]
    let rows: [(&str, &[u8], &str, &str); 12] = [
        ("RFC 9112 5.1", b"X: a", "X", "a"),
        ("RFC 9112 5.1", b"X:a", "X", "a"),
        ("RFC 9110 5.6.3: OWS", b"X: \t a \t ", "X", "a"),
        ("RFC 9110 5.5: white space inside", b"X: a \t b", "X", "a \t b"),
        ("RFC 9110 5.5: empty", b"X:", "X", ""),
        ("RFC 9110 5.5: empty", b"X: \t ", "X", ""),
        ("RFC 9110 5.5: a colon", b"X: a:b: c", "X", "a:b: c"),
        ("RFC 9110 5.5: obs-text", b"X: caf\xc3\xa9", "X", "caf\u{c3}\u{a9}"),
        ("RFC 9110 5.6.3: 0xa0 is no white space", b"X:\xa0v\xa0", "X", "\u{a0}v\u{a0}"),
        ("RFC 9110 5.6.3: 0x85 is no white space", b"X: \x85v\x85 ", "X", "\u{85}v\u{85}"),
        ("RFC 9110 5.1: any token", b"!#$%&'*+-.^`|~0aZ: v", "!#$%&'*+-.^`|~0aZ", "v"),
        ("RFC 9110 5.1: case is kept", b"x-Forwarded-FOR: v", "x-Forwarded-FOR", "v"),
    ];
    for (_, line, name, value) in rows {
        let head = [b"GET / HTTP/1.1\r\nHost: a\r\n", line, b"\r\n\r\n"].concat();
        let request = accepted(&head, LIMITS);
        let expected = (name.to_owned(), value.to_owned());
        assert_eq!(request.fields[1], expected);
    }
}

#[test]
fn fields_that_could_pass_for_others_in_an_environ_are_dropped() {
    #[rustfmt::skip]
    let rows: [(&str, &[u8]); 7] = [
        ("CVE-2016-5385", b"Proxy: http://evil"),
        ("CVE-2016-5385", b"PROXY: http://evil"),
        ("CVE-2024-45614", b"X_Forwarded_For: 6.6.6.6"),
        ("CVE-2024-45614", b"_: a"),
        ("CVE-2024-45614", b"Content_Length: 5"),
        ("CVE-2024-45614", b"Transfer_Encoding: chunked"),
        ("CVE-2024-45614", b"X-Forwarded-For-And-More_: 1"),
    ];
    for (_, line) in rows {
        let head = [b"GET / HTTP/1.1\r\nHost: a\r\n", line, b"\r\n\r\n"].concat();
        let host = ("Host".to_owned(), "a".to_owned());
        assert_eq!(accepted(&head, LIMITS).fields, [host]);
    }
}

#[test]
fn one_valid_host_is_needed() {
    use ParseError::{DuplicateField, Host, HostMismatch, MissingHost};
    #[rustfmt::skip]
    let rows: [(&str, &[u8], ParseError); 11] = [
        ("RFC 9112 3.2", b"GET / HTTP/1.1\r\n\r\n", MissingHost),
        ("RFC 9112 3.2.2", b"GET http://a/ HTTP/1.0\r\n\r\n", MissingHost),
        ("RFC 9112 3.2", b"GET / HTTP/1.1\r\nHost: a\r\nhost: a\r\n", DuplicateField),
        ("RFC 9112 3.2", b"GET / HTTP/1.0\r\nHost: a\r\nHOST: b\r\n", DuplicateField),
        ("RFC 9110 4.2.1", b"GET / HTTP/1.1\r\nHost: \r\n", Host),
        ("RFC 9110 7.2", b"GET / HTTP/1.0\r\nHost: a/b\r\n", Host),
        ("RFC 9112 3.2.2", b"GET http://b/ HTTP/1.1\r\nHost: a\r\n", HostMismatch),
        ("RFC 9112 3.2.2", b"GET http://a:80/ HTTP/1.1\r\nHost: a\r\n", HostMismatch),
        ("RFC 9112 3.2.2", b"GET http://a/ HTTP/1.0\r\nHost: a:80\r\n", HostMismatch),
        (
            "RFC 9110 8.3",
            b"GET / HTTP/1.1\r\nHost: a\r\nContent-Type: a/b\r\ncontent-type: a/b\r\n",
            DuplicateField,
        ),
        ("RFC 9110 8.3", b"GET / HTTP/1.0\r\nContent-Type: \r\nContent-Type: \r\n", DuplicateField),
    ];
    for (_, bytes, error) in rows {
        assert_refused_at_the_last_byte(bytes, Refusal::Head(error), LIMITS);
    }
    assert_eq!(accepted(b"GET / HTTP/1.0\r\n\r\n", LIMITS).host, None);
}

#[test]
fn only_the_expectation_of_100_continue_can_be_met() {
    use ParseError::Expectation;
    #[rustfmt::skip]
    let refused: [(&str, &[u8]); 3] = [
        ("RFC 9110 10.1.1", b"Expect: 200-ok\r\n"),
        ("RFC 9110 10.1.1", b"Expect: 100-continue, 200-ok\r\n"),
        ("RFC 9110 10.1.1", b"Expect:\r\n"),
    ];
    for (_, line) in refused {
        let head = [b"GET / HTTP/1.1\r\n", line].concat();
        assert_refused_at_the_last_byte(&head, Refusal::Head(Expectation), LIMITS);
    }
    #[rustfmt::skip]
    let rows: [(&str, &[u8], &[u8], bool); 6] = [
        ("in any case", b"1.1\r\nExpect: 100-Continue\r\nContent-Length: 1\r\n", b"x", true),
        ("in any order", b"1.1\r\nContent-Length: 1\r\nexpect:100-continue\r\n", b"x", true),
        ("no body to wait for", b"1.1\r\nExpect: 100-continue\r\n", b"", false),
        ("no body", b"1.1\r\nExpect: 100-continue\r\nContent-Length: 0\r\n", b"", false),
        ("HTTP/1.0", b"1.0\r\nExpect: 100-continue\r\nContent-Length: 1\r\n", b"x", false),
        ("HTTP/1.0", b"1.0\r\nExpect: 200-ok\r\nContent-Length: 1\r\n", b"x", false),
    ];
    for (_, rest, body, expected) in rows {
        let stream = [b"POST / HTTP/", rest, b"Host: a\r\n\r\n", body].concat();
        assert_eq!(accepted(&stream, LIMITS).expect_continue, expected);
    }
}

#[test]
fn the_connection_persists_as_its_options_say() {
    #[rustfmt::skip]
    let rows: [(&str, &[u8], bool); 14] = [
        ("RFC 9112 9.3", b"1.1\r\n", true),
        ("RFC 9112 9.3", b"1.0\r\n", false),
        ("RFC 9112 9.6", b"1.1\r\nConnection: close\r\n", false),
        ("RFC 9110 7.6.1: case", b"1.1\r\nconnection: CLOSE\r\n", false),
        ("RFC 9110 7.6.1: a list", b"1.1\r\nConnection: upgrade,\tclose , x\r\n", false),
        ("RFC 9110 7.6.1: two lines", b"1.1\r\nConnection: x\r\nConnection: close\r\n", false),
        ("RFC 9110 7.6.1: a token", b"1.1\r\nConnection: closed, not-close\r\n", true),
        ("RFC 9110 7.6.1: empty", b"1.1\r\nConnection:\r\n", true),
        ("RFC 9112 9.3", b"1.1\r\nConnection: keep-alive\r\n", true),
        ("RFC 9112 9.3: close wins", b"1.1\r\nConnection: keep-alive, close\r\n", false),
        ("RFC 9112 9.3", b"1.0\r\nConnection: keep-alive\r\n", true),
        ("RFC 9112 9.3: case", b"1.0\r\nConnection: Keep-Alive\r\n", true),
        ("RFC 9112 9.3: close wins", b"1.0\r\nConnection: close, keep-alive\r\n", false),
        ("RFC 9112 9.3: only a token", b"1.0\r\nKeep-Alive: timeout=5\r\n", false),
    ];
    for (_, rest, expected) in rows {
        let head = [b"GET / HTTP/", rest, b"Host: a\r\n\r\n"].concat();
        assert_eq!(
            accepted(&head, LIMITS).keep_alive,
            expected,
            "{}",
            head.escape_ascii()
        );
    }
}

#[test]
fn limits_are_exact_and_felt_as_soon_as_they_are_passed() {
    use FieldError::{SectionTooLarge, TooLarge, TooMany};
    let limits = Limits {
        request_line: 16,
        fields: 3,
        field_size: 10,
        head: 48,
        body: 9,
    };
    let kept: [&[u8]; 8] = [
        b"GET /56 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"\r\nGET /56 HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.0\r\nA: 4567890\r\n\r\n",
        b"GET / HTTP/1.0\r\nA:34567 \t \r\n\r\n",
        b"GET / HTTP/1.0\r\nNine-Long:\r\n\r\n",
        b"GET / HTTP/1.0\r\nA:\r\n_:\r\nProxy:\r\n\r\n",
        // 48 bytes.
        b"GET / HTTP/1.0\r\nA: 4567890\r\nB: 4567890\r\nC: 4\r\n\r\n",
        b"\r\nGET / HTTP/1.0\r\nA: 4567890\r\nB: 4567890\r\nC:\r\n\r\n",
    ];
    for head in kept {
        accepted(head, limits);
    }
    let too_long = Refusal::Head(ParseError::RequestLineTooLong);
    #[rustfmt::skip]
    let refused: [(&[u8], Refusal); 14] = [
        (b"GET /56789012345x", too_long),
        (b"\r\nGET /56789012345x", too_long),
        (b"GET /?6789012345x", too_long),
        (b"GET http://a/345x", too_long),
        (b"GET /567 HTTP/1.1", too_long),
        (b"GET / HTTP/1.0\r\nA: 4567890x", field_error(TooLarge)),
        (b"GET / HTTP/1.0\r\nA:34567890 ", field_error(TooLarge)),
        (b"GET / HTTP/1.0\r\nA:        x", field_error(TooLarge)),
        (b"GET / HTTP/1.0\r\nTen-Letter:", field_error(TooLarge)),
        (b"GET / HTTP/1.0\r\nA:\r\nB:\r\nC:\r\nD", field_error(TooMany)),
        (b"GET / HTTP/1.0\r\nA:\r\n_:\r\nProxy:\r\nD", field_error(TooMany)),
        (
            b"GET / HTTP/1.0\r\nA: 4567890\r\nB: 4567890\r\nC: 45\r\n\r",
            field_error(SectionTooLarge),
        ),
        (
            b"\r\nGET / HTTP/1.0\r\nA: 4567890\r\nB: 4567890\r\nC: 4\r\n",
            field_error(SectionTooLarge),
        ),
        (b"GET / HTTP/1.0\r\nA: 4567890\r\nB: 4567890\r\nC: 45678", field_error(SectionTooLarge)),
    ];
    for (bytes, refusal) in refused {
        assert_refused_at_the_last_byte(bytes, refusal, limits);
    }
    // Without a whole request line the head's limit is the line's.
    let limits = Limits { head: 8, ..LIMITS };
    assert_refused_at_the_last_byte(b"GET /567", too_long, limits);
}

#[test]
fn a_parser_can_be_used_again_and_keeps_nothing() {
    let mut parser = HeadParser::new();
    let first =
        b"POST http://b/x?y HTTP/1.1\r\nHost: b\r\nContent-Type: a\r\nExpect: 100-continue\r\n\
        Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n";
    assert_eq!(parser.advance(first, &LIMITS), Ok(Progress::Complete));
    assert_eq!(parser.advance(first, &LIMITS), Ok(Progress::Complete));
    assert_eq!(parser.head().len, first.len());
    parser.reset();
    let second = b"GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\n";
    assert_eq!(parser.advance(second, &LIMITS), Ok(Progress::Complete));
    let fresh = {
        let mut parser = HeadParser::new();
        assert_eq!(parser.advance(second, &LIMITS), Ok(Progress::Complete));
        format!("{:?}", parser.head())
    };
    assert_eq!(format!("{:?}", parser.head()), fresh);
}

#[test]
fn pipelined_requests_are_taken_one_after_the_other() {
    let stream = b"GET /1 HTTP/1.1\r\nHost: a\r\n\r\n\r\nPOST /2 HTTP/1.1\r\nHost: a\r\n\
        Content-Length: 2\r\n\r\nhiGET /3 HTTP/1.0\r\n\r\nGET /4 HTTP/1.1\r\nHost: a\r\n\r\n";
    let outcome = outcome_in_any_pieces(stream, LIMITS);
    let paths: Vec<_> = outcome
        .requests
        .iter()
        .map(|request| &request.path)
        .collect();
    // RFC 9112 9.3: the third is the last.
    assert_eq!(paths, ["/1", "/2", "/3"]);
    assert_eq!(outcome.requests[1].body, b"hi");
    assert_eq!(outcome.refusal, None);
}
