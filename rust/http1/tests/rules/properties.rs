//! What holds for all bytes: nothing panics, and pieces mean what the whole means.

use http1::{ChunkedDecoder, Limits, percent_decode, split_host};
use proptest::collection::vec;
use proptest::prelude::*;

use crate::connection::{outcome_in_any_pieces, outcome_of};

/// Small enough for random input to reach them.
const LIMITS: Limits = Limits {
    request_line: 40,
    fields: 4,
    field_size: 40,
    head: 120,
    body: 12,
};

/// Pieces of requests, good and bad, that random joining makes almost valid requests of.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    let words = prop::sample::select(vec![
        "GET",
        "POST",
        "OPTIONS",
        "CONNECT",
        " ",
        "  ",
        "/",
        "*",
        "/a?b=c",
        "/%41",
        "%",
        "http://a/",
        "https://",
        " HTTP/1.1\r\n",
        " HTTP/1.0\r\n",
        " HTTP/2.0\r\n",
        "HTTP/1.",
        "\r\n",
        "\r",
        "\n",
        "\r\n\r\n",
        "Host: a\r\n",
        "Host:",
        "a",
        ":",
        ": ",
        "\t",
        ",",
        ";",
        "=",
        "\"",
        "\\",
        "_",
        "\0",
        "Content-Length: 5\r\n",
        "Content-Length: ",
        "0",
        "5",
        "05",
        "f",
        "hello",
        "Transfer-Encoding: chunked\r\n",
        "Transfer-Encoding: ",
        "chunked",
        "gzip",
        "5\r\nhello\r\n",
        "0\r\n\r\n",
        "0\r\n",
        "Expect: 100-continue\r\n",
        "Connection: close\r\n",
        "Connection: keep-alive\r\n",
        "X: y\r\n",
        "X_Y: z\r\n",
        "Proxy: x\r\n",
        "[::1]",
        ":80",
        "GET / HTTP/1.1\r\nHost: a\r\n",
        "POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
    ]);
    prop_oneof![
        8 => words.prop_map(|word| word.as_bytes().to_vec()),
        1 => vec(any::<u8>(), 0..20),
    ]
}

fn stream() -> impl Strategy<Value = Vec<u8>> {
    vec(piece(), 0..14).prop_map(|pieces| pieces.concat())
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 4000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn pieces_mean_what_the_whole_means(stream in stream()) {
        outcome_in_any_pieces(&stream, LIMITS);
    }

    #[test]
    fn any_cuts_mean_what_the_whole_means(
        stream in stream(),
        cuts in vec(any::<prop::sample::Index>(), 0..8),
    ) {
        let len = stream.len();
        let mut ends: Vec<_> = cuts.iter().map(|cut| cut.index(len + 1)).collect();
        ends.sort_unstable();
        ends.push(len);
        prop_assert_eq!(outcome_of(&stream, ends, LIMITS), outcome_of(&stream, [len], LIMITS));
    }

    #[test]
    fn what_is_refused_stays_refused(stream in stream(), more in stream()) {
        let outcome = outcome_of(&stream, [stream.len()], LIMITS);
        if outcome.refusal.is_some() {
            let longer = [stream, more].concat();
            prop_assert_eq!(outcome_of(&longer, [longer.len()], LIMITS), outcome);
        }
    }

    #[test]
    fn chunked_data_comes_out_as_it_went_in(
        chunks in vec(vec(any::<u8>(), 1..100), 0..6),
        cut in any::<prop::sample::Index>(),
    ) {
        let mut coded = Vec::new();
        for chunk in &chunks {
            coded.extend_from_slice(format!("{:x}\r\n", chunk.len()).as_bytes());
            coded.extend_from_slice(chunk);
            coded.extend_from_slice(b"\r\n");
        }
        coded.extend_from_slice(b"0\r\n\r\nrest");
        let cut = cut.index(coded.len());
        let mut decoder = ChunkedDecoder::new(&Limits { body: 1000, ..LIMITS });
        let mut body = Vec::new();
        let mut at = 0;
        for end in [cut, coded.len()] {
            loop {
                let part = decoder.decode(&coded[at..end]).expect("valid");
                body.extend_from_slice(&coded[at..end][part.data]);
                at += part.consumed;
                if part.consumed == 0 || part.done {
                    break;
                }
            }
        }
        prop_assert_eq!(body, chunks.concat());
        prop_assert_eq!(at, coded.len() - 4);
    }

    #[test]
    fn any_bytes_can_be_decoded_and_split(bytes in vec(any::<u8>(), 0..60)) {
        let mut out = Vec::new();
        percent_decode(&bytes, &mut out);
        prop_assert!(out.len() <= bytes.len());
        let (host, port) = split_host(&bytes);
        prop_assert!(bytes.starts_with(host) && bytes.ends_with(port));
    }
}
