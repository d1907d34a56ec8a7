//! What the API server's answer to a call means: done, final, or to be tried again.

use kube::core::Status;
use serde::de::DeserializeOwned;

use crate::kube::view::{ClaimView, MapView, NamespaceView, NodeView, Object, Page, PodView, SliceView};
use crate::remedy::command::{Answer, Call, Outcome};

/// How one try ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Try {
    /// That is the answer.
    Final(Outcome),
    /// Another try may end otherwise; why this one did not.
    Again(String),
}

/// The answer's meaning, from its status code and body.
#[must_use]
pub fn read(call: &Call, code: u16, body: &[u8]) -> Try {
    match code {
        200..=299 => match answer(call, body) {
            Ok(answer) => Try::Final(Outcome::Done(answer)),
            Err(reason) => Try::Again(reason),
        },
        404 => Try::Final(Outcome::Missing),
        // An earlier try has made it.
        409 if matches!(call, Call::Event { .. }) => Try::Final(Outcome::Done(Answer::Nothing)),
        409 => Try::Final(Outcome::Conflict),
        // A failed `test` of a JSON patch: an endpoint has moved. What a policy refuses looks the same, and is looked
        // at again a few times only.
        422 if matches!(call, Call::Slice { .. }) => Try::Final(Outcome::Conflict),
        // Unauthorized may be a token that is just being replaced.
        401 | 408 | 429 | 500..=599 => Try::Again(reason(code, body)),
        _ => Try::Final(Outcome::Refused(reason(code, body))),
    }
}

/// In words: the API server's own, bounded.
fn reason(code: u16, body: &[u8]) -> String {
    const LONGEST: usize = 300;
    let status: Option<Status> = serde_json::from_slice(body).ok();
    let message = status.map(|status| status.message).unwrap_or_default();
    format!("{code} {}", message.chars().take(LONGEST).collect::<String>())
}

fn parse<T: DeserializeOwned>(body: &[u8]) -> Result<T, String> {
    serde_json::from_slice(body).map_err(|error| format!("an answer that is not understood: {error}"))
}

fn answer(call: &Call, body: &[u8]) -> Result<Answer, String> {
    Ok(match call {
        Call::ReadLedger | Call::Ledger { .. } => Answer::Ledger(parse::<MapView>(body)?.ledger()),
        Call::ReadNode { .. } | Call::Taints { .. } => Answer::Node(parse::<NodeView>(body)?.node()),
        Call::ListPods { .. } => {
            let page: Page<PodView> = parse(body)?;
            Answer::Pods(page.items.iter().map(PodView::pod).collect())
        }
        Call::ReadNamespace { .. } => Answer::Namespace {
            opted_out: parse::<NamespaceView>(body)?.opted_out(),
        },
        Call::ReadClaim { .. } => Answer::Claim {
            shared: parse::<ClaimView>(body)?.shared(),
        },
        Call::Slice { .. } => Answer::Slice(parse::<SliceView>(body)?.slice()),
        Call::Mark { .. } => Answer::Version(parse::<PodView>(body)?.meta().resource_version.clone()),
        Call::Delete { .. } | Call::Condition { .. } | Call::Event { .. } => Answer::Nothing,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::remedy::object::PodRef;

    fn mark() -> Call {
        Call::Mark {
            pod: PodRef::default(),
            at_ms: 0,
        }
    }

    fn slice() -> Call {
        Call::Slice {
            namespace: String::new(),
            name: String::new(),
            node: String::new(),
            positions: vec![0],
        }
    }

    fn event() -> Call {
        Call::Event {
            node: String::new(),
            uid: String::new(),
            warning: false,
            reason: "X",
            note: String::new(),
            at_ms: 0,
        }
    }

    #[test]
    fn what_is_final_and_what_is_tried_again() {
        let status = br#"{"kind":"Status","message":"no"}"#;
        for (call, code, wanted) in [
            (mark(), 404, Try::Final(Outcome::Missing)),
            (mark(), 409, Try::Final(Outcome::Conflict)),
            (mark(), 422, Try::Final(Outcome::Refused("422 no".into()))),
            (mark(), 403, Try::Final(Outcome::Refused("403 no".into()))),
            (mark(), 401, Try::Again("401 no".into())),
            (mark(), 429, Try::Again("429 no".into())),
            (mark(), 503, Try::Again("503 no".into())),
            (slice(), 422, Try::Final(Outcome::Conflict)),
            (event(), 409, Try::Final(Outcome::Done(Answer::Nothing))),
        ] {
            assert_eq!(read(&call, code, status), wanted, "{call:?} {code}");
        }
    }

    #[test]
    fn a_mark_gives_the_version_it_made() {
        let body = br#"{"metadata":{"resourceVersion":"17"}}"#;
        let done = Try::Final(Outcome::Done(Answer::Version("17".into())));
        assert_eq!(read(&mark(), 200, body), done);
    }

    #[test]
    fn an_answer_that_is_cut_off_is_no_answer() {
        assert!(matches!(read(&mark(), 200, b"{\"meta"), Try::Again(_)));
        let long = format!("{{\"message\":\"{}\"}}", "x".repeat(100_000));
        let Try::Again(reason) = read(&mark(), 500, long.as_bytes()) else {
            panic!("a server error is tried again");
        };
        assert!(reason.len() < 400);
    }
}
