//! The writer against a server that answers, does not, or not in time.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

use super::*;
use crate::identity::{BootId, IncidentId, MemberId};
use crate::judgement::{Causes, Evidence, Judgement, Verdict};
use crate::kube::double::{Double, Scenario};
use crate::profile::WRITE_TIMEOUT;
use crate::remedy::command::{Answer, Guard, RequestId, Standing};
use crate::remedy::object::PodRef;
use crate::time::Instant;

const SUBJECT: MemberId = MemberId(7);
const BOOT: BootId = BootId(1);

fn changed(verdict: Verdict) -> Judgement {
    Judgement::Changed {
        subject: SUBJECT,
        boot: BOOT,
        incident: None,
        verdict,
        causes: Causes::NONE,
        evidence: Evidence::default(),
        farewell: None,
        longest_silence: Duration::ZERO,
        at: Instant(1),
    }
}

fn mark(not_after: Instant) -> Request {
    Request {
        id: RequestId(3),
        incident: IncidentId(1),
        guard: Some(Guard {
            subject: SUBJECT,
            boot: BOOT,
            standing: Standing::Dead,
            not_after,
        }),
        call: Call::Mark {
            pod: PodRef {
                namespace: "d".into(),
                name: "p".into(),
                uid: "u".into(),
            },
            at_ms: 0,
        },
    }
}

struct Bench {
    double: Double,
    verdicts: Arc<Mutex<Verdicts>>,
    writer: Arc<Writer>,
    answers: mpsc::Receiver<ApiEvent>,
}

async fn bench(scenarios: Vec<Scenario>) -> Bench {
    let double = Double::start(scenarios).await;
    let verdicts: Arc<Mutex<Verdicts>> = Arc::default();
    verdicts.lock().unwrap().note(&changed(Verdict::Dead));
    verdicts.lock().unwrap().pause(false);
    let (sender, answers) = mpsc::channel(8);
    let writer = Writer::new(
        Arc::clone(&double.servers),
        Arc::clone(&verdicts),
        "i".into(),
        sender,
    );
    Bench {
        double,
        verdicts,
        writer,
        answers,
    }
}

impl Bench {
    async fn outcome(&mut self, request: Request) -> (u32, Outcome) {
        self.writer.carry_out(request);
        match self.answers.recv().await.unwrap() {
            ApiEvent::Answered { tries, outcome, .. } => (tries, outcome),
            other => panic!("{other:?}"),
        }
    }
}

fn ok() -> Scenario {
    Scenario::Answer(200, "{\"metadata\":{\"resourceVersion\":\"9\"}}".into())
}

fn done() -> Outcome {
    Outcome::Done(Answer::Version("9".into()))
}

#[tokio::test]
async fn an_answer_is_an_answer() {
    let mut bench = bench(vec![ok()]).await;
    assert_eq!(bench.outcome(mark(Instant::NEVER)).await, (1, done()));
    assert_eq!(
        bench.double.requests(),
        ["PATCH /api/v1/namespaces/d/pods/p/status"]
    );
}

#[tokio::test]
async fn a_silent_server_costs_half_a_second_and_its_connection() {
    let mut bench = bench(vec![Scenario::Silence, ok()]).await;
    let begin = clock::now();
    assert_eq!(bench.outcome(mark(Instant::NEVER)).await, (2, done()));
    let took = clock::now() - begin;
    assert!(took >= WRITE_TIMEOUT && took < WRITE_TIMEOUT * 4, "{took:?}");
    assert_eq!(bench.double.requests().len(), 2);
    // What was given up cannot arrive late: its connection is closed.
    for _ in 0..200 {
        if bench.double.seen.lock().unwrap().abandoned == 1 {
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    panic!("the silent connection is still open");
}

#[tokio::test]
async fn the_verdict_is_asked_again_before_every_try() {
    let mut bench = bench(vec![Scenario::Silence]).await;
    let verdicts = Arc::clone(&bench.verdicts);
    tokio::spawn(async move {
        tokio::time::sleep(WRITE_TIMEOUT / 2).await;
        verdicts.lock().unwrap().note(&changed(Verdict::Alive));
    });
    assert_eq!(bench.outcome(mark(Instant::NEVER)).await, (1, Outcome::Stale));
    assert_eq!(bench.double.requests().len(), 1);
    // And before the first.
    assert_eq!(bench.outcome(mark(Instant::NEVER)).await, (0, Outcome::Stale));
    assert_eq!(bench.double.requests().len(), 1);
}

#[tokio::test]
async fn no_try_begins_after_its_hour() {
    let mut bench = bench(vec![Scenario::Silence]).await;
    let hour = clock::now() + Duration::from_millis(250);
    assert_eq!(bench.outcome(mark(hour)).await, (1, Outcome::Stale));
    assert_eq!(bench.double.requests().len(), 1);
}

#[tokio::test]
async fn a_server_that_fails_is_asked_six_times_and_then_given_up() {
    let mut bench = bench(vec![
        Scenario::Close,
        Scenario::Answer(503, "{\"message\":\"etcd\"}".into()),
    ])
    .await;
    let (tries, outcome) = bench.outcome(mark(Instant::NEVER)).await;
    assert_eq!((tries, outcome), (6, Outcome::GaveUp("503 etcd".into())));
    assert_eq!(bench.double.requests().len(), 6);
}

#[tokio::test]
async fn what_is_final_is_not_tried_again() {
    for (code, wanted) in [(404, Outcome::Missing), (409, Outcome::Conflict)] {
        let mut bench = bench(vec![Scenario::Answer(code, String::new())]).await;
        assert_eq!(bench.outcome(mark(Instant::NEVER)).await, (1, wanted));
        assert_eq!(bench.double.requests().len(), 1);
    }
}

#[test]
fn pauses_double_are_bounded_and_drawn() {
    for n in 1..40 {
        let (least, most) = (pause(n, 0), pause(n, u64::MAX - 1));
        assert!(least <= most && most <= MAX_PAUSE, "{n}: {least:?} {most:?}");
    }
    assert_eq!(pause(1, 0), PAUSE);
    assert!(pause(5, 0) > pause(4, 0));
}
