//! The `environ` of a request: PEP 3333 and RFC 3875 4.1.
//!
//! It starts as a copy of a template that holds what every request has, and then gets what differs.

use std::net::IpAddr;
use std::ops::Range;
use std::str;

use http1::{Field, Head, Span, Version, percent_decode, split_host};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyString};

use crate::access::Places;
use crate::header_names::{NameCache, Role, interned, key_of};
use crate::input::Input;
use crate::python;
use crate::template::{Common, Template};

/// The objects that a worker's requests share.
pub struct Environ {
    template: Template,
    keys: Keys,
    values: Values,
    names: NameCache,
    /// The host and the scheme that are in the template, and the last ones that were not.
    origin: Origin,
    other_origin: Option<Origin>,
    /// Where the address of the last request's client is in its head.
    client: Option<Range<usize>>,
    /// Where the fields are that the access log wants, if it was seen.
    places: Option<Places>,
    /// A path while it is decoded.
    path: Vec<u8>,
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
    early_hints: Py<PyString>,
}

struct Values {
    methods: [(&'static [u8], Py<PyString>); 6],
    http10: Py<PyString>,
    empty: Py<PyString>,
}

/// What a request was sent to, as `environ` says it.
struct Origin {
    /// Empty without a `Host`.
    host: Vec<u8>,
    is_https: bool,
    scheme: Py<PyString>,
    name: Py<PyString>,
    port: Py<PyString>,
}

impl Origin {
    fn new(py: Python<'_>, host: &[u8], is_https: bool) -> PyResult<Self> {
        let (name, port) = match host {
            b"" => (&b"localhost"[..], &b""[..]),
            host => split_host(host),
        };
        let (scheme, default_port) = if is_https {
            ("https", &b"443"[..])
        } else {
            ("http", &b"80"[..])
        };
        let port = if port.is_empty() { default_port } else { port };
        Ok(Self {
            host: host.to_vec(),
            is_https,
            scheme: PyString::intern(py, scheme).unbind(),
            name: python::latin1(py, name)?.unbind(),
            port: python::latin1(py, port)?.unbind(),
        })
    }

    #[inline]
    fn is(&self, host: &[u8], is_https: bool) -> bool {
        self.host == host && self.is_https == is_https
    }

    fn put_into(&self, environ: &Bound<'_, PyDict>, keys: &Keys) -> PyResult<()> {
        let py = environ.py();
        python::set(environ, keys.url_scheme.bind(py), self.scheme.bind(py))?;
        python::set(environ, keys.server_name.bind(py), self.name.bind(py))?;
        python::set(environ, keys.server_port.bind(py), self.port.bind(py))
    }
}

impl Environ {
    /// `wanted` are the names of fields whose [`Places`] are asked for, in lower case.
    ///
    /// # Errors
    ///
    /// What the interpreter says when it can't make an object.
    pub fn new(py: Python<'_>, common: &Common<'_, '_>, wanted: Vec<Box<[u8]>>) -> PyResult<Self> {
        let key = |text: &str| interned(py, text.as_bytes());
        let origin = Origin::new(py, b"", false)?;
        Ok(Self {
            template: Template::new(py, common)?,
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
                early_hints: key("wsgi.early_hints"),
            },
            values: Values {
                methods: [
                    (b"POST", key("POST")),
                    (b"HEAD", key("HEAD")),
                    (b"PUT", key("PUT")),
                    (b"DELETE", key("DELETE")),
                    (b"OPTIONS", key("OPTIONS")),
                    (b"PATCH", key("PATCH")),
                ],
                http10: key("HTTP/1.0"),
                empty: key(""),
            },
            names: NameCache::new(wanted),
            origin,
            other_origin: None,
            client: None,
            places: None,
            path: Vec::new(),
        })
    }

    /// The `environ` of the request whose head is in `bytes`.
    ///
    /// Without `input` there is no body. What the peer says about its own client is used, and shown,
    /// only if it `is_trusted`. So is `early_hints`: the setting speaks of the nginx that we are
    /// configured for.
    pub fn build<'py>(
        &mut self,
        py: Python<'py>,
        bytes: &[u8],
        head: &Head,
        input: Option<&Bound<'py, Input>>,
        is_trusted: bool,
        early_hints: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyDict>> {
        (self.client, self.places) = (None, None);
        let mut copy = self.template.copy(py)?;
        if let Some(input) = input {
            python::set(&copy.environ, self.keys.input.bind(py), input)?;
        }
        self.set_request_line(&copy.environ, bytes, head)?;
        // RFC 8297 2: a client of HTTP/1.0 knows no interim answers.
        if let Some(early_hints) = early_hints
            && is_trusted
            && head.version == Version::Http11
        {
            python::set(&copy.environ, self.keys.early_hints.bind(py), early_hints)?;
            copy.expected_len += 1;
        }
        let mut forwarded = Forwarded::default();
        let mut places = Places::new();
        for (index, field) in head.fields.iter().enumerate() {
            if is_trusted && let Some(role) = self.template.put_line(&mut copy, line(field, bytes))
            {
                if role == Role::ForwardedProto {
                    forwarded.scheme = Some(field.value.of(bytes));
                }
                continue;
            }
            let (name, bytes) = (field.name.of(bytes), field.value.of(bytes));
            let entry = self.names.get(py, name);
            if !is_trusted && !matches!(entry.role, Role::Plain | Role::Cookie) {
                continue;
            }
            if let Some(wanted) = entry.wanted {
                places.note(wanted, index);
            }
            let value = match &forwarded.client {
                // `X-Real-IP`, mostly.
                Some((list, value)) if entry.role == Role::Forwarded && *list == bytes => {
                    value.clone()
                }
                _ => entry.value(py, bytes)?,
            };
            self.template.put(&mut copy, entry, &value)?;
            match entry.role {
                Role::ForwardedFor => forwarded.client = Some((bytes, value)),
                Role::ForwardedProto => forwarded.scheme = Some(bytes),
                Role::Plain | Role::Cookie | Role::Forwarded => {}
            }
        }
        self.places = Some(places);
        let has_repeated = self.template.finish(&mut copy)?;
        if self.template.should_learn() {
            let lines = head.fields.iter().filter_map(|field| {
                let entry = self.names.find(field.name.of(bytes))?;
                Some((entry, field.value.of(bytes), line(field, bytes)))
            });
            self.template.learn(py, lines);
        }
        let environ = copy.environ;
        if has_repeated {
            join_repeated(&environ, bytes, head, is_trusted)?;
        }

        if let Some((list, value)) = &forwarded.client
            && let Some(client) = client_address(list)
        {
            let start = client.as_ptr().addr() - bytes.as_ptr().addr();
            self.client = Some(start..start + client.len());
            let client = if client.len() == list.len() {
                value.clone()
            } else {
                python::latin1(py, client.as_bytes())?
            };
            python::set(&environ, self.keys.remote_addr.bind(py), &client)?;
        }
        let host = head.host.map_or(&b""[..], |host| host.of(bytes));
        let is_https = forwarded.is_https();
        if !self.origin.is(host, is_https) {
            self.set_origin(&environ, host, is_https)?;
        }
        Ok(environ)
    }

    /// What the last `environ` has as `REMOTE_ADDR`, if its request is in `bytes`.
    pub fn client<'b>(&self, bytes: &'b [u8]) -> Option<&'b [u8]> {
        self.client.clone().and_then(|client| bytes.get(client))
    }

    /// Where the last request has the fields that are wanted, if that is known.
    pub fn places(&self) -> Option<Places> {
        self.places
    }

    fn set_request_line(
        &mut self,
        environ: &Bound<'_, PyDict>,
        bytes: &[u8],
        head: &Head,
    ) -> PyResult<()> {
        let py = environ.py();
        let method = head.method.of(bytes);
        if method != b"GET" {
            let known = self.values.methods.iter().find(|(name, _)| *name == method);
            let method = match known {
                Some((_, known)) => known.bind(py).clone(),
                None => python::latin1(py, method)?,
            };
            python::set(environ, self.keys.request_method.bind(py), &method)?;
        }

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

    /// Say where the request was sent to, and if that comes twice in a row, let the template say it.
    #[cold]
    fn set_origin(
        &mut self,
        environ: &Bound<'_, PyDict>,
        host: &[u8],
        is_https: bool,
    ) -> PyResult<()> {
        let py = environ.py();
        let other = self.other_origin.take();
        if let Some(other) = other.filter(|other| other.is(host, is_https)) {
            other.put_into(environ, &self.keys)?;
            other.put_into(self.template.dict(py), &self.keys)?;
            self.origin = other;
        } else {
            let origin = Origin::new(py, host, is_https)?;
            origin.put_into(environ, &self.keys)?;
            self.other_origin = Some(origin);
        }
        Ok(())
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
struct Forwarded<'a, 'py> {
    /// The last `X-Forwarded-For`, and its value in `environ`.
    client: Option<(&'a [u8], Bound<'py, PyString>)>,
    /// The last `X-Forwarded-Proto`.
    scheme: Option<&'a [u8]>,
}

impl Forwarded<'_, '_> {
    fn is_https(&self) -> bool {
        self.scheme == Some(b"https")
    }
}

/// From the start of a field's name to the end of its value.
#[inline]
fn line<'b>(field: &Field, bytes: &'b [u8]) -> &'b [u8] {
    let (start, end) = (field.name.start, field.value.end);
    Span { start, end }.of(bytes)
}

/// The last element of an `X-Forwarded-For`, which the peer itself has added, if it is an address.
pub fn client_address(value: &[u8]) -> Option<&str> {
    let last = value.rsplit(|&byte| byte == b',').next()?;
    let text = str::from_utf8(last.trim_ascii()).ok()?;
    text.parse::<IpAddr>().ok().map(|_| text)
}

#[cfg(test)]
mod tests {
    use super::*;

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
}
