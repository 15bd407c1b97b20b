//! Every vector of `tests/http/vectors.toml`, whole, split at each of its bytes, and byte by byte.

use std::path::Path;

use http1::Version;
use http1::response::{ResponseFraming, framing};
use serde::Deserialize;

use crate::connection::{LIMITS, Outcome, Refusal, Request, outcome_in_any_pieces, outcome_of};

#[derive(Deserialize)]
struct Table {
    vector: Vec<Vector>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Vector {
    id: String,
    bytes: Vec<Part>,
    expect: String,
    source: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum Part {
    Text(String),
    Repeated { repeat: String, count: usize },
}

impl Vector {
    fn stream(&self) -> Vec<u8> {
        let text: String = self
            .bytes
            .iter()
            .map(|part| match part {
                Part::Text(text) => text.clone(),
                Part::Repeated { repeat, count } => repeat.repeat(*count),
            })
            .collect();
        text.chars()
            .map(|char| u8::try_from(char).expect("code points up to U+00FF"))
            .collect()
    }
}

fn vectors() -> Vec<Vector> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/http/vectors.toml");
    let text = std::fs::read_to_string(path).expect("the table is in the repository");
    let table: Table = toml::from_str(&text).expect("the table is as its head says");
    table.vector
}

/// Whether `outcome` is the one that `expected` names, in the notation of the table's head.
fn fits(expected: &str, outcome: &Outcome) -> bool {
    let refused = |statuses: fn(u16) -> bool| {
        outcome.requests.is_empty() && outcome.refusal.is_some_and(|it| statuses(it.status()))
    };
    let ended = outcome.refusal.is_none() && !outcome.is_waiting;
    let one = match &outcome.requests[..] {
        [request] if ended => Some(request),
        _ => None,
    };
    match expected {
        "200" | "200x" => one.is_some(),
        "200d" => one.is_some_and(sees_no_dropped_field),
        "200h" => one.is_some_and(|request| request.host.as_deref() == Some("b")),
        "200nb" => one.is_some_and(|request| {
            request.method == "HEAD"
                && framing(200, true, Version::Http11, Some(13)) == ResponseFraming::NoBody
        }),
        "200+200" => ended && outcome.requests.len() == 2,
        "wait" => outcome.requests.is_empty() && outcome.refusal.is_none() && outcome.is_waiting,
        "4xx" => refused(|status| (400..500).contains(&status)),
        "400" | "400x" => refused(|status| status == 400),
        "413" => refused(|status| status == 413),
        "414" => refused(|status| status == 414),
        "417" => refused(|status| status == 417),
        "431" => refused(|status| status == 431),
        "501" => refused(|status| status == 501),
        "505" => refused(|status| status == 505),
        // Nothing in this crate answers it.
        "405" => false,
        _ => panic!("no such outcome: {expected}"),
    }
}

fn sees_no_dropped_field(request: &Request) -> bool {
    request
        .fields
        .iter()
        .all(|(name, _)| !name.contains('_') && !name.eq_ignore_ascii_case("proxy"))
}

#[test]
fn each_vector_gets_its_answer_in_whatever_pieces_it_arrives() {
    let vectors = vectors();
    assert_eq!(vectors.len(), 142);
    for vector in vectors {
        let outcome = outcome_in_any_pieces(&vector.stream(), LIMITS);
        assert!(
            vector
                .expect
                .split('|')
                .any(|expected| fits(expected, &outcome)),
            "{}: {} expected ({}), not {:?} after {} requests",
            vector.id,
            vector.expect,
            vector.source,
            outcome.refusal,
            outcome.requests.len(),
        );
    }
}

/// Where the table leaves a choice, this is ours (`docs/http-support.md`).
#[test]
fn where_rfcs_leave_a_choice_ours_is_this() {
    let choices = [
        ("RL08", 505),
        ("RL09", 505),
        ("RL13", 400),
        ("RL22", 501),
        ("RL25", 501),
        ("RL26", 400),
        ("RL29", 200),
        ("RL31", 400),
        ("HD19", 431),
        ("HD20", 431),
        ("HD21", 200),
        ("HD22", 200),
        ("HD27", 200),
        ("CL11", 413),
        ("CL15", 400),
        ("TE04", 501),
        ("TE06", 501),
        ("TE09", 501),
        ("TE10", 400),
        ("TE12", 400),
        ("TE13", 400),
        ("TE14", 400),
        ("TE17", 400),
        ("TE18", 200),
        ("CH09", 413),
        ("CH17", 413),
        ("CH19", 400),
        ("CH20", 400),
        ("CH25", 431),
        ("OK05", 200),
    ];
    let whole = |vector: &Vector| {
        let stream = vector.stream();
        outcome_of(&stream, [stream.len()], LIMITS)
    };
    let vectors = vectors();
    for (id, status) in choices {
        let vector = vectors.iter().find(|vector| vector.id == id).expect(id);
        let answered = whole(vector).refusal.map_or(200, Refusal::status);
        assert_eq!(answered, status, "{id}");
    }
    let waiting: Vec<_> = vectors
        .iter()
        .filter(|vector| whole(vector).is_waiting)
        .map(|vector| &vector.id)
        .collect();
    assert_eq!(waiting, ["CH28"]);
}
