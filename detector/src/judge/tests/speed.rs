//! What one report costs.

use super::{Court, EPOCH, MS, member};
use crate::message::Message;
use crate::time::Instant;

/// Prints the time of a report at k = 8 among 2,000 members, each with 64 losses; fails only where it is absurd, as
/// the machine may be busy.
#[test]
#[expect(clippy::disallowed_methods, reason = "measures real time")]
fn a_report_is_cheap() {
    let mut court = Court::new(2_000);
    let observers = court.observers(0);
    court.awake.remove(&0);
    court.silence(0, &observers, 2_700);
    let began = std::time::Instant::now();
    let rounds = 500_u64;
    let mut built = std::time::Duration::ZERO;
    for round in 0..rounds {
        for observer in &observers {
            let build = std::time::Instant::now();
            let report = Message::Report(court.report(0, 2_050, 2_062, 2_692));
            built += build.elapsed();
            let now = Instant(EPOCH + court.now * MS + round * 1_000);
            let sealed = Court::clock(*observer, court.now);
            court
                .judge
                .handle_message(member(*observer), 5, sealed, &report, now);
        }
    }
    let each = (began.elapsed() - built) / (rounds as u32 * 8);
    eprintln!("one report: {} ns", each.as_nanos());
    assert!(each.as_micros() < 100);
}
