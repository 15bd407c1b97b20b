//! Request targets and hosts: RFC 9112 3.2 and RFC 3986.

use std::net::Ipv6Addr;

use crate::error::ParseError;
use crate::octets::{HEX, HOST, PATH, QUERY, is, run};

/// A target, all positions relative to the start of the bytes it was scanned from.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) struct Target {
    pub(crate) path: (usize, usize),
    /// What follows the question mark, if there is one.
    pub(crate) query: Option<(usize, usize)>,
    /// The authority of an absolute target.
    pub(crate) authority: Option<(usize, usize)>,
    pub(crate) path_is_plain: bool,
    pub(crate) end: usize,
}

/// Take the target apart that starts at `line[start]` and is followed by a space.
///
/// `None` when it has no end yet.
#[inline]
pub(crate) fn scan(
    line: &[u8],
    start: usize,
    is_options: bool,
) -> Result<Option<Target>, ParseError> {
    match line.get(start) {
        None => Ok(None),
        Some(b'/') => path_and_query(line, start),
        Some(b'*') if is_options => asterisk(line, start),
        Some(b'h' | b'H') => absolute(line, start),
        Some(_) => Err(ParseError::Target),
    }
}

#[inline]
fn path_and_query(line: &[u8], start: usize) -> Result<Option<Target>, ParseError> {
    let mut path_is_plain = true;
    let mut path_end = start;
    loop {
        path_end += run(&line[path_end..], PATH);
        match line.get(path_end) {
            Some(b' ' | b'?') => break,
            Some(b'%') => {
                if !escape(&line[path_end..])? {
                    return Ok(None);
                }
                path_is_plain = false;
                path_end += 3;
            }
            None => return Ok(None),
            Some(_) => return Err(ParseError::Target),
        }
    }
    let mut end = path_end;
    let mut query = None;
    if line[path_end] == b'?' {
        let query_start = path_end + 1;
        end = query_start + run(&line[query_start..], QUERY);
        match line.get(end) {
            Some(b' ') => query = Some((query_start, end)),
            None => return Ok(None),
            Some(_) => return Err(ParseError::Target),
        }
    }
    Ok(Some(Target {
        path: (start, path_end),
        query,
        authority: None,
        path_is_plain,
        end,
    }))
}

/// Whether the percent-encoding at the start of `bytes` is complete.
fn escape(bytes: &[u8]) -> Result<bool, ParseError> {
    let digits = &bytes[1..bytes.len().min(3)];
    if run(digits, HEX) < digits.len() {
        return Err(ParseError::PercentEncoding);
    }
    Ok(digits.len() == 2)
}

/// RFC 9112 3.2.4: the server as a whole.
#[cold]
fn asterisk(line: &[u8], start: usize) -> Result<Option<Target>, ParseError> {
    let end = start + 1;
    match line.get(end) {
        None => Ok(None),
        Some(b' ') => Ok(Some(Target {
            path: (start, end),
            query: None,
            authority: None,
            path_is_plain: true,
            end,
        })),
        Some(_) => Err(ParseError::Target),
    }
}

/// RFC 9112 3.2.2, for http and https.
#[cold]
fn absolute(line: &[u8], start: usize) -> Result<Option<Target>, ParseError> {
    let Some(scheme_len) = scheme(&line[start..])? else {
        return Ok(None);
    };
    let authority_start = start + scheme_len;
    let authority_end = authority_start
        + line[authority_start..]
            .iter()
            .take_while(|&&byte| is(byte, QUERY) && byte != b'/' && byte != b'?')
            .count();
    let authority = &line[authority_start..authority_end];
    let mut target = match line.get(authority_end) {
        None => return Ok(None),
        Some(b'/' | b'?' | b' ') if !is_host(authority) => return Err(ParseError::Target),
        Some(b'/') => path_and_query(line, authority_end)?,
        // An empty path is "/" (RFC 9110 4.2.3). The scanner would see it as an empty one.
        Some(b'?' | b' ') => path_and_query(line, authority_end)?.map(|target| Target {
            path: (authority_start - 1, authority_start),
            ..target
        }),
        Some(_) => return Err(ParseError::Target),
    };
    if let Some(target) = &mut target {
        target.authority = Some((authority_start, authority_end));
    }
    Ok(target)
}

/// The length of `http://` or `https://` at the start of `target`, in any case; `None` when the
/// bytes end before it does.
fn scheme(target: &[u8]) -> Result<Option<usize>, ParseError> {
    let mut is_incomplete = false;
    for scheme in [&b"http://"[..], b"https://"] {
        let len = scheme.len().min(target.len());
        if target[..len].eq_ignore_ascii_case(&scheme[..len]) {
            if len == scheme.len() {
                return Ok(Some(len));
            }
            is_incomplete = true;
        }
    }
    if is_incomplete {
        Ok(None)
    } else {
        Err(ParseError::Target)
    }
}

/// Whether `host` is what `Host` may hold: a name, an IPv4 address or an IPv6 address in brackets,
/// with an optional port.
///
/// RFC 9110 7.2 and RFC 3986 3.2.2, less what no client sends and parsers disagree on: the empty
/// host, commas, IP literals of the future, zone identifiers, and ports that are empty or above
/// 65535.
pub(crate) fn is_host(host: &[u8]) -> bool {
    let name_len = match host.first() {
        Some(b'[') => bracketed(host),
        _ => reg_name(host),
    };
    match host.get(name_len) {
        _ if name_len == 0 => false,
        None => true,
        Some(b':') => is_port(&host[name_len + 1..]),
        Some(_) => false,
    }
}

/// The length of the `[IPv6]` at the start of `host`, 0 when there is none.
fn bracketed(host: &[u8]) -> usize {
    let len = host.iter().position(|&byte| byte == b']').unwrap_or(0);
    let is_address = host
        .get(1..len)
        .and_then(|inner| std::str::from_utf8(inner).ok())
        .is_some_and(|inner| inner.parse::<Ipv6Addr>().is_ok());
    if is_address { len + 1 } else { 0 }
}

/// The length of the `reg-name` at the start of `host`, 0 when it holds a malformed escape.
fn reg_name(host: &[u8]) -> usize {
    let mut len = run(host, HOST);
    while host.get(len) == Some(&b'%') {
        if !escape(&host[len..]).is_ok_and(|is_complete| is_complete) {
            return 0;
        }
        len += 3;
        len += run(&host[len..], HOST);
    }
    len
}

fn is_port(port: &[u8]) -> bool {
    let append = |value: u16, &digit: &u8| {
        let digit = digit.is_ascii_digit().then(|| u16::from(digit - b'0'))?;
        value.checked_mul(10)?.checked_add(digit)
    };
    (1..=5).contains(&port.len()) && port.iter().try_fold(0, append).is_some()
}

/// The host and the port of a `Host` that the parser has accepted.
///
/// The host keeps the brackets of an IPv6 address. The port is empty when there is none.
#[must_use]
pub fn split_host(host: &[u8]) -> (&[u8], &[u8]) {
    match host
        .iter()
        .rposition(|byte| !byte.is_ascii_digit())
        .filter(|&at| host[at] == b':')
    {
        Some(colon) => (&host[..colon], &host[colon + 1..]),
        None => (host, b""),
    }
}

/// Append `path` to `out` with its percent-encodings decoded.
///
/// The parser has refused paths with a malformed one; here such a one would stay as it is.
pub fn percent_decode(path: &[u8], out: &mut Vec<u8>) {
    let mut rest = path;
    while let Some(at) = rest.iter().position(|&byte| byte == b'%') {
        out.extend_from_slice(&rest[..at]);
        let decoded = match rest[at..] {
            [_, high, low, ..] => hex(high).zip(hex(low)),
            _ => None,
        };
        if let Some((high, low)) = decoded {
            out.push(high << 4 | low);
            rest = &rest[at + 3..];
        } else {
            out.push(b'%');
            rest = &rest[at + 1..];
        }
    }
    out.extend_from_slice(rest);
}

/// The value of a hexadecimal digit.
pub(crate) fn hex(digit: u8) -> Option<u8> {
    match digit {
        b'0'..=b'9' => Some(digit - b'0'),
        b'a'..=b'f' => Some(digit - b'a' + 10),
        b'A'..=b'F' => Some(digit - b'A' + 10),
        _ => None,
    }
}
