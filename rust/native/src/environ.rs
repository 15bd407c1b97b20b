//! The `environ` of a request: PEP 3333 and RFC 3875 4.1.
//!
//! It starts as a copy of a template that holds what every request has, and then gets what differs.
//! The names of headers are turned into `HTTP_` keys once: they come again with every request.

use std::net::IpAddr;
use std::ops::Range;
use std::str;

use http1::{Head, Version, percent_decode, split_host};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use crate::python;

/// The objects that a worker's requests share.
pub struct Environ {
    template: Py<PyDict>,
    template_len: usize,
    keys: Keys,
    values: Values,
    names: NameCache,
    host: Option<HostEntry>,
    /// Where the address of the last request's client is in its head.
    client: Option<Range<usize>>,
    /// A path while it is decoded.
    path: Vec<u8>,
}

/// What all requests of a worker have in common.
pub struct Common<'a, 'py> {
    pub errors: &'a Bound<'py, PyAny>,
    pub multithread: bool,
    pub multiprocess: bool,
}

struct Keys {
    request_method: Py<PyString>,
    path_info: Py<PyString>,
    query_string: Py<PyString>,
    request_uri: Py<PyString>,
    server_protocol: Py<PyString>,
    server_name: Py<PyString>,
    server_port: Py<PyString>,
    remote_addr: Py<PyString>,
    url_scheme: Py<PyString>,
    input: Py<PyString>,
}

struct Values {
    methods: [(&'static [u8], Py<PyString>); 7],
    http10: Py<PyString>,
    https: Py<PyString>,
    port_443: Py<PyString>,
    empty: Py<PyString>,
}

/// The last `Host` that was seen, taken apart.
struct HostEntry {
    host: Vec<u8>,
    is_https: bool,
    name: Py<PyString>,
    port: Py<PyString>,
}

/// What a header is to us.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Role {
    Plain,
    Cookie,
    ForwardedFor,
    ForwardedProto,
    /// Another one that only a trusted peer may send.
    Forwarded,
}

impl Role {
    fn of(name: &[u8]) -> Self {
        const PREFIX: &[u8] = b"x-forwarded-";
        let lower = name.to_ascii_lowercase();
        match &lower[..] {
            b"cookie" => Self::Cookie,
            b"x-forwarded-for" => Self::ForwardedFor,
            b"x-forwarded-proto" => Self::ForwardedProto,
            b"forwarded" | b"x-real-ip" => Self::Forwarded,
            lower if lower.starts_with(PREFIX) => Self::Forwarded,
            _ => Self::Plain,
        }
    }
}

/// The key of a header in `environ`.
fn key_of(name: &[u8]) -> Vec<u8> {
    let upper = name
        .iter()
        .map(|byte| match byte {
            b'-' => b'_',
            byte => byte.to_ascii_uppercase(),
        })
        .collect::<Vec<_>>();
    match &upper[..] {
        b"CONTENT_TYPE" | b"CONTENT_LENGTH" => upper,
        _ => [b"HTTP_", &upper[..]].concat(),
    }
}

/// The keys of the headers seen lately, by their exact bytes. Bounded; holds no values.
struct NameCache {
    entries: Box<[Option<NameEntry>]>,
}

struct NameEntry {
    name: Box<[u8]>,
    role: Role,
    key: Py<PyString>,
}

impl NameCache {
    const ENTRIES: usize = 512;

    fn new() -> Self {
        Self {
            entries: (0..Self::ENTRIES).map(|_| None).collect(),
        }
    }

    /// The place for a name. Its length, first bytes and last bytes tell the usual names apart; a
    /// collision costs a new key, not a wrong one.
    #[inline]
    fn place(name: &[u8]) -> usize {
        let word = |bytes: &[u8]| {
            bytes
                .iter()
                .fold(0_u64, |word, &byte| word << 8 | u64::from(byte))
        };
        let (first, last) = if let (Some(first), Some(last)) =
            (name.first_chunk::<8>(), name.last_chunk::<8>())
        {
            (u64::from_le_bytes(*first), u64::from_le_bytes(*last))
        } else if let (Some(first), Some(last)) = (name.first_chunk::<4>(), name.last_chunk::<4>())
        {
            (
                u64::from(u32::from_le_bytes(*first)),
                u64::from(u32::from_le_bytes(*last)),
            )
        } else {
            (word(name), 0)
        };
        let mixed =
            (first ^ last.rotate_left(29) ^ name.len() as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        usize::try_from(mixed >> 55).unwrap_or(0)
    }

    #[inline]
    fn get(&mut self, py: Python<'_>, name: &[u8]) -> PyResult<&NameEntry> {
        let entry = &mut self.entries[Self::place(name)];
        if entry.as_ref().is_none_or(|entry| *entry.name != *name) {
            *entry = Some(NameEntry {
                name: name.into(),
                role: Role::of(name),
                key: interned(py, &key_of(name)),
            });
        }
        entry
            .as_ref()
            .ok_or_else(|| unreachable!("the entry has just been made"))
    }
}

fn interned(py: Python<'_>, text: &[u8]) -> Py<PyString> {
    // Names are tokens, so they are ASCII.
    PyString::intern(py, &String::from_utf8_lossy(text)).unbind()
}

impl Environ {
    pub fn new(py: Python<'_>, common: &Common<'_, '_>) -> PyResult<Self> {
        let key = |text: &str| interned(py, text.as_bytes());
        let template = template(py, common)?;
        Ok(Self {
            template_len: template.len(),
            template: template.unbind(),
            keys: Keys {
                request_method: key("REQUEST_METHOD"),
                path_info: key("PATH_INFO"),
                query_string: key("QUERY_STRING"),
                request_uri: key("REQUEST_URI"),
                server_protocol: key("SERVER_PROTOCOL"),
                server_name: key("SERVER_NAME"),
                server_port: key("SERVER_PORT"),
                remote_addr: key("REMOTE_ADDR"),
                url_scheme: key("wsgi.url_scheme"),
                input: key("wsgi.input"),
            },
            values: Values {
                methods: [
                    (b"GET", key("GET")),
                    (b"POST", key("POST")),
                    (b"HEAD", key("HEAD")),
                    (b"PUT", key("PUT")),
                    (b"DELETE", key("DELETE")),
                    (b"OPTIONS", key("OPTIONS")),
                    (b"PATCH", key("PATCH")),
                ],
                http10: key("HTTP/1.0"),
                https: key("https"),
                port_443: key("443"),
                empty: key(""),
            },
            names: NameCache::new(),
            host: None,
            client: None,
            path: Vec::new(),
        })
    }

    /// The `environ` of the request whose head is in `bytes`.
    ///
    /// What the peer says about its own client is used, and shown, only if it `is_trusted`.
    pub fn build<'py>(
        &mut self,
        py: Python<'py>,
        bytes: &[u8],
        head: &Head,
        input: &Bound<'py, PyAny>,
        is_trusted: bool,
    ) -> PyResult<Bound<'py, PyDict>> {
        self.client = None;
        let environ = python::copy(self.template.bind(py))?;
        python::set(&environ, self.keys.input.bind(py), input)?;
        self.set_request_line(&environ, bytes, head)?;

        let mut expected_len = self.template_len;
        let mut forwarded = Forwarded::default();
        for field in &head.fields {
            let (name, value) = (field.name.of(bytes), field.value.of(bytes));
            let entry = self.names.get(py, name)?;
            match entry.role {
                Role::Plain | Role::Cookie => {}
                _ if !is_trusted => continue,
                Role::ForwardedFor => forwarded.client = Some(value),
                Role::ForwardedProto => forwarded.scheme = Some(value),
                Role::Forwarded => {}
            }
            python::set(&environ, entry.key.bind(py), &python::latin1(py, value)?)?;
            expected_len += 1;
        }
        if environ.len() != expected_len {
            join_repeated(&environ, bytes, head, is_trusted)?;
        }

        let is_https = forwarded.is_https();
        if is_https {
            python::set(
                &environ,
                self.keys.url_scheme.bind(py),
                self.values.https.bind(py),
            )?;
        }
        if let Some(client) = forwarded.client.and_then(client_address) {
            let start = client.as_ptr().addr() - bytes.as_ptr().addr();
            self.client = Some(start..start + client.len());
            let client = python::latin1(py, client.as_bytes())?;
            python::set(&environ, self.keys.remote_addr.bind(py), &client)?;
        }
        match head.host {
            Some(host) => self.set_host(&environ, host.of(bytes), is_https)?,
            None if is_https => {
                let port = self.values.port_443.bind(py);
                python::set(&environ, self.keys.server_port.bind(py), port)?;
            }
            None => {}
        }
        Ok(environ)
    }

    /// What the last `environ` has as `REMOTE_ADDR`, if its request is in `bytes`.
    pub fn client<'b>(&self, bytes: &'b [u8]) -> Option<&'b [u8]> {
        self.client.clone().and_then(|client| bytes.get(client))
    }

    fn set_request_line(
        &mut self,
        environ: &Bound<'_, PyDict>,
        bytes: &[u8],
        head: &Head,
    ) -> PyResult<()> {
        let py = environ.py();
        let method = head.method.of(bytes);
        let known = self.values.methods.iter().find(|(name, _)| *name == method);
        let method = match known {
            Some((_, known)) => known.bind(py).clone(),
            None => python::latin1(py, method)?,
        };
        python::set(environ, self.keys.request_method.bind(py), &method)?;

        let target = python::latin1(py, head.target.of(bytes))?;
        python::set(environ, self.keys.request_uri.bind(py), &target)?;
        let path = head.path.of(bytes);
        let path = if head.path == head.target && head.path_is_plain && path != b"*" {
            target
        } else if path == b"*" {
            // The server as a whole has no path; PEP 3333 wants one that is empty or starts with "/".
            self.values.empty.bind(py).clone()
        } else if head.path_is_plain {
            python::latin1(py, path)?
        } else {
            self.path.clear();
            percent_decode(path, &mut self.path);
            python::latin1(py, &self.path)?
        };
        python::set(environ, self.keys.path_info.bind(py), &path)?;
        if head.has_query {
            let query = python::latin1(py, head.query.of(bytes))?;
            python::set(environ, self.keys.query_string.bind(py), &query)?;
        }
        if head.version == Version::Http10 {
            let http10 = self.values.http10.bind(py);
            python::set(environ, self.keys.server_protocol.bind(py), http10)?;
        }
        Ok(())
    }

    /// `SERVER_NAME` and `SERVER_PORT`.
    fn set_host(
        &mut self,
        environ: &Bound<'_, PyDict>,
        host: &[u8],
        is_https: bool,
    ) -> PyResult<()> {
        let py = environ.py();
        let last = self
            .host
            .take()
            .filter(|last| last.is_https == is_https && last.host == host);
        let entry = if let Some(last) = last {
            last
        } else {
            let (name, port) = split_host(host);
            let port = match port {
                b"" if is_https => b"443",
                b"" => &b"80"[..],
                port => port,
            };
            HostEntry {
                host: host.to_vec(),
                is_https,
                name: python::latin1(py, name)?.unbind(),
                port: python::latin1(py, port)?.unbind(),
            }
        };
        let entry = self.host.insert(entry);
        python::set(environ, self.keys.server_name.bind(py), entry.name.bind(py))?;
        python::set(environ, self.keys.server_port.bind(py), entry.port.bind(py))
    }
}

/// Join the values of every header that came more than once: RFC 9110 5.3, RFC 6265 5.4.
#[cold]
fn join_repeated(
    environ: &Bound<'_, PyDict>,
    bytes: &[u8],
    head: &Head,
    is_trusted: bool,
) -> PyResult<()> {
    let py = environ.py();
    let mut joined: Vec<(Vec<u8>, Role, Vec<u8>)> = Vec::new();
    for field in &head.fields {
        let name = field.name.of(bytes);
        let (role, value) = (Role::of(name), field.value.of(bytes));
        if !is_trusted && !matches!(role, Role::Plain | Role::Cookie) {
            continue;
        }
        let key = key_of(name);
        match joined.iter_mut().find(|(seen, _, _)| *seen == key) {
            None => joined.push((key, role, value.to_vec())),
            Some((_, Role::Cookie, all)) => {
                all.extend_from_slice(b"; ");
                all.extend_from_slice(value);
            }
            Some((_, _, all)) => {
                all.push(b',');
                all.extend_from_slice(value);
            }
        }
    }
    for (key, _, value) in joined {
        python::set(
            environ,
            interned(py, &key).bind(py),
            &python::latin1(py, &value)?,
        )?;
    }
    Ok(())
}

/// What a trusted peer says about its client.
#[derive(Default)]
struct Forwarded<'a> {
    /// The last `X-Forwarded-For`.
    client: Option<&'a [u8]>,
    /// The last `X-Forwarded-Proto`.
    scheme: Option<&'a [u8]>,
}

impl Forwarded<'_> {
    fn is_https(&self) -> bool {
        self.scheme == Some(b"https")
    }
}

/// The last element of an `X-Forwarded-For`, which the peer itself has added, if it is an address.
pub fn client_address(value: &[u8]) -> Option<&str> {
    let last = value.rsplit(|&byte| byte == b',').next()?;
    let text = str::from_utf8(last.trim_ascii()).ok()?;
    text.parse::<IpAddr>().ok().map(|_| text)
}

/// What every request has, and a place for what is set in every request.
fn template<'py>(py: Python<'py>, common: &Common<'_, 'py>) -> PyResult<Bound<'py, PyDict>> {
    let template = PyDict::new(py);
    let text = |key: &str, value: &str| {
        let key = PyString::intern(py, key);
        template.set_item(key, PyString::intern(py, value))
    };
    text("REQUEST_METHOD", "")?;
    text("SCRIPT_NAME", "")?;
    text("PATH_INFO", "")?;
    text("QUERY_STRING", "")?;
    text("REQUEST_URI", "")?;
    text("SERVER_PROTOCOL", "HTTP/1.1")?;
    text("SERVER_NAME", "localhost")?;
    text("SERVER_PORT", "80")?;
    text("SERVER_SOFTWARE", "udsrv")?;
    text("REMOTE_ADDR", "")?;
    text("wsgi.url_scheme", "http")?;
    let object =
        |key: &str, value: Bound<'py, PyAny>| template.set_item(PyString::intern(py, key), value);
    let truth = |value: bool| pyo3::types::PyBool::new(py, value).to_owned().into_any();
    object("wsgi.version", (1, 0).into_pyobject(py)?.into_any())?;
    object("wsgi.input", py.None().into_bound(py))?;
    object("wsgi.errors", common.errors.clone())?;
    object("wsgi.multithread", truth(common.multithread))?;
    object("wsgi.multiprocess", truth(common.multiprocess))?;
    object("wsgi.run_once", truth(false))?;
    object("wsgi.input_terminated", truth(true))?;
    make_room(&template)?;
    Ok(template)
}

/// Let the template's table, and with it that of every copy, have room for the usual headers too.
///
/// A dict's table grows when keys are added and stays when they are removed. The added ones are few
/// enough that `PyDict_Copy` still copies the table as it is.
fn make_room(template: &Bound<'_, PyDict>) -> PyResult<()> {
    let names = ["a", "b", "c", "d", "e", "f"];
    for name in names {
        template.set_item(name, ())?;
    }
    for name in names {
        template.del_item(name)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_those_of_the_common_gateway_interface() {
        for (name, key) in [
            (&b"Host"[..], &b"HTTP_HOST"[..]),
            (b"x-Request-id", b"HTTP_X_REQUEST_ID"),
            (b"content-TYPE", b"CONTENT_TYPE"),
            (b"Content-Length", b"CONTENT_LENGTH"),
            (b"X.Y", b"HTTP_X.Y"),
        ] {
            assert_eq!(key_of(name), key);
        }
    }

    #[test]
    fn only_the_last_forwarded_address_counts_and_only_if_it_is_one() {
        for (value, address) in [
            (&b"1.1.1.1"[..], Some("1.1.1.1")),
            (b"6.6.6.6, 1.1.1.1", Some("1.1.1.1")),
            (b"6.6.6.6,2001:db8::1", Some("2001:db8::1")),
            (b"1.1.1.1, unix:", None),
            (b"1.1.1.1,", None),
            (b"1.1.1.1:80", None),
            (b"[::1]", None),
            (b"", None),
            (b"\xff", None),
        ] {
            assert_eq!(client_address(value), address);
        }
    }

    #[test]
    fn headers_that_only_a_trusted_peer_may_send() {
        for name in [
            &b"Forwarded"[..],
            b"X-Real-IP",
            b"x-forwarded-host",
            b"X-FORWARDED-PREFIX",
        ] {
            assert_eq!(Role::of(name), Role::Forwarded);
        }
        assert_eq!(Role::of(b"X-Forwarded-For"), Role::ForwardedFor);
        assert_eq!(Role::of(b"X-Forwarded-Proto"), Role::ForwardedProto);
        assert_eq!(Role::of(b"X-Forwarded"), Role::Plain);
        assert_eq!(Role::of(b"cookie"), Role::Cookie);
    }

    #[test]
    fn usual_names_have_places_of_their_own() {
        let names = [
            "Host",
            "Connection",
            "User-Agent",
            "Accept",
            "Accept-Encoding",
            "Accept-Language",
            "Cookie",
            "X-Request-Id",
            "X-Real-IP",
            "X-Forwarded-For",
            "X-Forwarded-Proto",
            "X-Forwarded-Host",
            "Cache-Control",
            "Content-Type",
            "Content-Length",
            "Referer",
            "Origin",
            "Authorization",
            "If-None-Match",
            "If-Modified-Since",
            "Sec-Fetch-Mode",
            "Sec-Fetch-Dest",
            "Sec-Fetch-Site",
            "Sec-Fetch-User",
            "Upgrade-Insecure-Requests",
        ];
        let mut places = names.map(|name| NameCache::place(name.as_bytes()));
        places.sort_unstable();
        let mut distinct = places.to_vec();
        distinct.dedup();
        assert!(distinct.len() + 1 >= names.len(), "{places:?}");
        assert!(places.iter().all(|&place| place < NameCache::ENTRIES));
    }
}
