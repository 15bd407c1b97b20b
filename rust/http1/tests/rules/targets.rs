//! Request targets, hosts and percent-encoding.

use http1::{HeadParser, ParseError, Progress, percent_decode, split_host};

use crate::connection::{LIMITS, Refusal, accepted, assert_refused_at_the_last_byte};

/// Each row ends with the byte that makes its error certain.
#[test]
fn targets_are_refused_at_the_first_byte_that_breaks_a_rule() {
    use ParseError::{PercentEncoding, Target};
    #[rustfmt::skip]
    let rows: [(&str, &[u8], ParseError); 34] = [
        ("RFC 9112 3.2: no form", b"GET f", Target),
        ("RFC 9112 3.2: no form", b"GET \\", Target),
        ("RFC 9112 3.2: no form", b"GET ?", Target),
        ("RFC 9112 3.2: no form", b"GET \r", Target),
        ("RFC 9112 3.2: no form", b"GET \n", Target),
        ("RFC 9112 3.2: fragment", b"GET /#", Target),
        ("RFC 9112 3.2: fragment", b"GET /a?b#", Target),
        ("RFC 3986 2: NUL", b"GET /a\0", Target),
        ("RFC 3986 2: tab", b"GET /a\t", Target),
        ("RFC 3986 2: DEL", b"GET /a\x7f", Target),
        ("RFC 3986 2: not ASCII", b"GET /caf\xc3", Target),
        ("RFC 3986 2: not ASCII", b"GET /?caf\xc3", Target),
        ("RFC 9112 2.2: bare LF", b"GET /a\n", Target),
        ("RFC 9112 2.2: bare LF", b"GET /a?b\n", Target),
        ("RFC 9112 2.3: HTTP/0.9", b"GET /\r", Target),
        ("RFC 9112 2.3: HTTP/0.9", b"GET /?\r", Target),
        ("RFC 3986 2.1", b"GET /% ", PercentEncoding),
        ("RFC 3986 2.1", b"GET /%%", PercentEncoding),
        ("RFC 3986 2.1", b"GET /%g", PercentEncoding),
        ("RFC 3986 2.1", b"GET /%4 ", PercentEncoding),
        ("RFC 3986 2.1", b"GET /%4?", PercentEncoding),
        ("RFC 3986 2.1", b"GET /%41%u", PercentEncoding),
        ("RFC 9112 3.2.4: only OPTIONS", b"GET *", Target),
        ("RFC 9112 3.2.4: nothing else", b"OPTIONS *?", Target),
        ("RFC 9112 3.2.4: nothing else", b"OPTIONS */", Target),
        ("RFC 9112 3.2.2: other schemes", b"GET hu", Target),
        ("RFC 9112 3.2.2: other schemes", b"GET httpx", Target),
        ("RFC 9112 3.2.2: no authority", b"GET http:a", Target),
        ("RFC 9112 3.2.2: no authority", b"GET http:///", Target),
        ("RFC 9112 3.2.2: no host", b"GET http://:80/", Target),
        ("RFC 9110 4.2.4: user information", b"GET http://u@a/", Target),
        ("RFC 9112 3.2: fragment", b"GET http://a#", Target),
        ("RFC 3986 2.1", b"GET http://a/%4 ", PercentEncoding),
        ("RFC 9112 3.2.3: authority form", b"GET a", Target),
    ];
    for (_, bytes, error) in rows {
        assert_refused_at_the_last_byte(bytes, Refusal::Head(error), LIMITS);
    }
}

#[test]
fn targets_have_a_path_and_a_query() {
    #[rustfmt::skip]
    let rows: [(&[u8], &str, &str, &str); 16] = [
        (b"GET", "/", "/", ""),
        (b"GET", "/a/b", "/a/b", ""),
        (b"GET", "//a/../b;c=1", "//a/../b;c=1", ""),
        (b"GET", "/?", "/", ""),
        (b"GET", "/a?b=c&d", "/a", "b=c&d"),
        (b"GET", "/a?b?c/d", "/a", "b?c/d"),
        (b"GET", "/%41%7e%00?%zz%", "/%41%7e%00", "%zz%"),
        (b"GET", "/\"<>\\^`{|}[]@:", "/\"<>\\^`{|}[]@:", ""),
        (b"OPTIONS", "*", "*", ""),
        (b"OPTIONS", "/", "/", ""),
        (b"GET", "http://a.example/b?c", "/b", "c"),
        (b"GET", "HTTPS://A.Example/b%20?c", "/b%20", "c"),
        (b"GET", "http://a.example", "/", ""),
        (b"GET", "https://a.example?b", "/", "b"),
        (b"OPTIONS", "http://a.example", "/", ""),
        (b"GET", "/http://b/", "/http://b/", ""),
    ];
    for (method, target, path, query) in rows {
        let head = [
            method,
            b" ",
            target.as_bytes(),
            b" HTTP/1.1\r\nHost: a.example\r\n\r\n",
        ]
        .concat();
        let request = accepted(&head, LIMITS);
        assert_eq!(
            (&request.path[..], &request.query[..]),
            (path, query),
            "{target}"
        );

        let mut parser = HeadParser::new();
        assert_eq!(parser.advance(&head, &LIMITS), Ok(Progress::Complete));
        let parsed = parser.head();
        assert_eq!(parsed.target.of(&head), target.as_bytes());
        assert_eq!(parsed.path_is_plain, !path.contains('%'), "{target}");
        assert_eq!(parsed.has_query, target.contains('?'), "{target}");
        assert_eq!(parsed.query.is_empty(), query.is_empty(), "{target}");
    }
}

#[test]
fn a_host_is_a_name_or_an_address_with_an_optional_port() {
    #[rustfmt::skip]
    let valid: [(&str, &str, &str); 15] = [
        ("a", "a", ""),
        ("a.example", "a.example", ""),
        ("A.Example:80", "A.Example", "80"),
        ("a-b_c.example:8080", "a-b_c.example", "8080"),
        ("xn--caf-dma.example", "xn--caf-dma.example", ""),
        ("a~!$&'()*+;=", "a~!$&'()*+;=", ""),
        ("caf%C3%A9:1", "caf%C3%A9", "1"),
        ("127.0.0.1", "127.0.0.1", ""),
        ("127.0.0.1:65535", "127.0.0.1", "65535"),
        ("80", "80", ""),
        ("80:00080", "80", "00080"),
        ("[::1]", "[::1]", ""),
        ("[::1]:80", "[::1]", "80"),
        ("[2001:db8::8:800:200c:417A]", "[2001:db8::8:800:200c:417A]", ""),
        ("[::ffff:192.0.2.1]:0", "[::ffff:192.0.2.1]", "0"),
    ];
    for (host, name, port) in valid {
        let head = format!("GET / HTTP/1.1\r\nHost: {host}\r\n\r\n");
        let request = accepted(head.as_bytes(), LIMITS);
        assert_eq!(request.host.as_deref(), Some(host));
        assert_eq!(
            split_host(host.as_bytes()),
            (name.as_bytes(), port.as_bytes())
        );
    }
    #[rustfmt::skip]
    let invalid: [(&str, &[u8]); 31] = [
        ("RFC 9110 4.2.1: empty", b""),
        ("RFC 9110 4.2.1: empty", b":80"),
        ("one host, not a list", b"a,b"),
        ("one host, not a list", b"a, b"),
        ("one host, not a list", b"a b"),
        ("RFC 9110 7.2: path", b"a/b"),
        ("RFC 9110 7.2: path", b"a\\b"),
        ("RFC 9110 7.2: query", b"a?b"),
        ("RFC 9110 7.2: fragment", b"a#b"),
        ("RFC 9110 4.2.4: user information", b"u@a"),
        ("RFC 9110 7.2: scheme", b"http://a"),
        ("RFC 3986 3.2.2: quotes", b"\"a\""),
        ("RFC 3986 3.2.2: not ASCII", b"caf\xc3\xa9"),
        ("RFC 3986 2.1", b"a%"),
        ("RFC 3986 2.1", b"a%4"),
        ("RFC 3986 2.1", b"a%zz"),
        ("RFC 3986 3.2.3: empty, and refused", b"a:"),
        ("RFC 3986 3.2.3: digits", b"a:80x"),
        ("RFC 3986 3.2.3: digits", b"a:+80"),
        ("RFC 3986 3.2.3: digits", b"a:80:80"),
        ("16 bits", b"a:65536"),
        ("16 bits", b"a:000080"),
        ("RFC 3986 3.2.2: brackets", b"::1"),
        ("RFC 3986 3.2.2: brackets", b"[::1"),
        ("RFC 3986 3.2.2: brackets", b"[]"),
        ("RFC 3986 3.2.2: brackets", b"[::1]80"),
        ("RFC 3986 3.2.2: brackets", b"[[::1]]"),
        ("RFC 3986 3.2.2: IPv6", b"[127.0.0.1]"),
        ("RFC 3986 3.2.2: IPv6", b"[1:2:3]"),
        ("RFC 6874: zones have no meaning here", b"[fe80::1%25eth0]"),
        ("RFC 3986 3.2.2: the future is not here", b"[v1.a]"),
    ];
    for (_, host) in invalid {
        let head = [b"GET / HTTP/1.1\r\nHost: ", host, b"\r\n"].concat();
        assert_refused_at_the_last_byte(&head, Refusal::Head(ParseError::Host), LIMITS);
    }
}

#[test]
fn an_absolute_target_repeats_host() {
    for (target, host) in [
        ("http://a/", "a"),
        ("http://A.Example/", "a.eXAMPLE"),
        ("https://a:8080/", "a:8080"),
        ("http://[::1]:80/", "[::1]:80"),
    ] {
        let head = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n\r\n");
        assert_eq!(
            accepted(head.as_bytes(), LIMITS).host.as_deref(),
            Some(host)
        );
    }
    // RFC 9110 4.2.3 says that these are equal; that is for somebody who may normalise to use.
    for (target, host) in [
        ("http://a/", "a:80"),
        ("http://%61/", "a"),
        ("http://a/", "a."),
    ] {
        let head = format!("GET {target} HTTP/1.1\r\nHost: {host}\r\n");
        let mismatch = Refusal::Head(ParseError::HostMismatch);
        assert_refused_at_the_last_byte(head.as_bytes(), mismatch, LIMITS);
    }
}

#[test]
fn percent_encodings_are_decoded_once() {
    #[rustfmt::skip]
    let rows: [(&[u8], &[u8]); 8] = [
        (b"", b""),
        (b"/a", b"/a"),
        (b"/%41", b"/A"),
        (b"%2f%2F%c3%A9%00", b"//\xc3\xa9\0"),
        (b"/a%20b+c", b"/a b+c"),
        (b"/%2541", b"/%41"),
        // The parser refuses these.
        (b"/%", b"/%"),
        (b"/%4%zz%41", b"/%4%zzA"),
    ];
    for (path, expected) in rows {
        let mut out = b"kept ".to_vec();
        percent_decode(path, &mut out);
        assert_eq!(
            out,
            [b"kept ", expected].concat(),
            "{}",
            path.escape_ascii()
        );
    }
}
