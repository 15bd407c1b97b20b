//! The names of headers, and their keys in `environ`.
//!
//! A name is turned into its key once: the same ones come with every request.

use pyo3::prelude::*;
use pyo3::types::PyString;

use crate::python;

/// What a header is to us.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Role {
    Plain,
    Cookie,
    ForwardedFor,
    ForwardedProto,
    /// Another one that only a trusted peer may send.
    Forwarded,
}

impl Role {
    pub fn of(name: &[u8]) -> Self {
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
pub fn key_of(name: &[u8]) -> Vec<u8> {
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

/// Headers that come with many requests, and whether many requests have the same value there, which is
/// kept then: nothing that tells one client from another, and no secret.
///
/// Only these keys are interned. Python 3.12 never frees an interned string, and a peer can think of
/// any number of names.
pub const USUAL: [(&str, bool); 48] = [
    ("accept", true),
    ("accept-charset", true),
    ("accept-encoding", true),
    ("accept-language", true),
    ("authorization", false),
    ("cache-control", true),
    ("cdn-loop", true),
    ("connection", true),
    ("content-encoding", true),
    ("content-length", false),
    ("content-type", true),
    ("cookie", false),
    ("dnt", true),
    ("expect", true),
    ("forwarded", false),
    ("from", false),
    ("host", true),
    ("if-match", false),
    ("if-modified-since", false),
    ("if-none-match", false),
    ("if-unmodified-since", false),
    ("keep-alive", true),
    ("origin", false),
    ("pragma", true),
    ("priority", true),
    ("range", false),
    ("referer", false),
    ("sec-ch-ua", true),
    ("sec-ch-ua-mobile", true),
    ("sec-ch-ua-platform", true),
    ("sec-fetch-dest", true),
    ("sec-fetch-mode", true),
    ("sec-fetch-site", true),
    ("sec-fetch-user", true),
    ("te", true),
    ("traceparent", false),
    ("transfer-encoding", true),
    ("upgrade-insecure-requests", true),
    ("user-agent", false),
    ("via", true),
    ("x-csrftoken", false),
    ("x-forwarded-for", false),
    ("x-forwarded-host", true),
    ("x-forwarded-port", true),
    ("x-forwarded-proto", true),
    ("x-real-ip", false),
    ("x-request-id", false),
    ("x-requested-with", true),
];

/// The keys of the headers seen lately, by their exact bytes. Bounded.
pub struct NameCache {
    entries: Box<[Option<NameEntry>]>,
    /// The names of the fields that the access log wants, in lower case.
    wanted: Vec<Box<[u8]>>,
}

pub struct NameEntry {
    name: Box<[u8]>,
    /// Where it is in [`USUAL`].
    pub place: Option<usize>,
    pub role: Role,
    /// Which of the fields it is that the access log wants.
    pub wanted: Option<u8>,
    pub key: Py<PyString>,
    shared: Shared,
}

/// The last value of a header whose values are the same for many requests.
enum Shared {
    Never,
    Nothing,
    Last {
        value: Vec<u8>,
        text: Py<PyString>,
        /// How often another value has come since this one was last looked up.
        misses: u8,
    },
}

impl NameCache {
    const ENTRIES: usize = 512;

    pub fn new(wanted: Vec<Box<[u8]>>) -> Self {
        Self {
            wanted,
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

    /// What is known of a name, if that is still known.
    pub fn find(&self, name: &[u8]) -> Option<&NameEntry> {
        let entry = self.entries[Self::place(name)].as_ref();
        entry.filter(|entry| *entry.name == *name)
    }

    #[inline]
    pub fn get(&mut self, py: Python<'_>, name: &[u8]) -> &mut NameEntry {
        let entry = &mut self.entries[Self::place(name)];
        if entry.as_ref().is_some_and(|known| *known.name != *name) {
            *entry = None;
        }
        entry.get_or_insert_with(|| NameEntry::new(py, name, &self.wanted))
    }
}

impl NameEntry {
    /// Longer values are not kept.
    const VALUE_BYTES: usize = 256;

    /// So many other values in a row, and none is kept any more.
    const MISSES: u8 = 32;

    #[cold]
    fn new(py: Python<'_>, name: &[u8], wanted: &[Box<[u8]>]) -> Self {
        let key = key_of(name);
        let lower = name.to_ascii_lowercase();
        let place = USUAL
            .iter()
            .position(|(usual, _)| usual.as_bytes() == lower);
        Self {
            name: name.into(),
            place,
            role: Role::of(name),
            wanted: (0..)
                .zip(wanted)
                .find_map(|(number, wanted)| (**wanted == *lower).then_some(number)),
            key: match place {
                Some(_) => interned(py, &key),
                // A name is a token, so it is ASCII.
                None => PyString::new(py, &String::from_utf8_lossy(&key)).unbind(),
            },
            shared: match place {
                Some(place) if USUAL[place].1 => Shared::Nothing,
                _ => Shared::Never,
            },
        }
    }

    /// The value as `environ` holds it.
    #[inline]
    pub fn value<'py>(&mut self, py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyString>> {
        match &mut self.shared {
            Shared::Never => python::latin1(py, bytes),
            Shared::Last {
                value,
                text,
                misses,
            } if value == bytes => {
                *misses = 0;
                Ok(text.bind(py).clone())
            }
            Shared::Nothing | Shared::Last { .. } => self.keep(py, bytes),
        }
    }

    /// Whether `value` is the one that is kept.
    #[inline]
    pub fn keeps(&self, value: &Bound<'_, PyString>) -> bool {
        matches!(&self.shared, Shared::Last { text, .. } if text.is(value))
    }

    #[cold]
    fn keep<'py>(&mut self, py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyString>> {
        let made = python::latin1(py, bytes)?;
        let misses = match &self.shared {
            Shared::Last { misses, .. } => misses + 1,
            _ => 0,
        };
        if misses >= Self::MISSES {
            self.shared = Shared::Never;
        } else if bytes.len() <= Self::VALUE_BYTES {
            self.shared = Shared::Last {
                value: bytes.to_vec(),
                text: made.clone().unbind(),
                misses,
            };
        }
        Ok(made)
    }
}

/// A key that the application finds by its identity.
pub fn interned(py: Python<'_>, text: &[u8]) -> Py<PyString> {
    PyString::intern(py, &String::from_utf8_lossy(text)).unbind()
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

    #[test]
    fn nothing_that_belongs_to_one_client_is_kept() {
        for (name, is_kept) in USUAL {
            let is_private = [
                "cookie",
                "auth",
                "csrf",
                "forwarded-for",
                "-ip",
                "-id",
                "referer",
                "etag",
            ];
            assert!(
                !(is_kept && is_private.iter().any(|part| name.contains(part))),
                "{name}"
            );
            assert_eq!(name, name.to_ascii_lowercase());
        }
    }
}
