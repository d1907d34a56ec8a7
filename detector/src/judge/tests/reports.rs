//! Which words count as silence, and which do not.

use super::{Court, EPOCH, MS, OTHERS, boot, member, ms};
use crate::judgement::{Ask, Verdict};
use crate::message::{Ability, Message};
use crate::time::Instant;

const FIVE: [usize; 5] = [1, 2, 3, 4, 5];
const LATE: u64 = 3_000;

/// Nine members; the others than five are asleep, so that nobody waits for them. Longer than any window.
fn five_silent(change: impl Fn(usize, crate::message::Report) -> Option<crate::message::Report>) -> Court {
    let mut court = asleep();
    court.silence_but(0, &FIVE, court.now + 500, change);
    court
}

fn asleep() -> Court {
    let mut court = Court::new(9);
    court.awake.retain(|number| FIVE.contains(number));
    court.seen.remove(&0);
    court.run_to(LATE + 1_500);
    court
}

#[test]
fn five_of_eight_suffice() {
    assert!(five_silent(|_, report| Some(report)).died(0));
}

#[test]
fn four_do_not() {
    let court = five_silent(|observer, report| (observer != 5).then_some(report));
    assert_eq!(court.verdict(0), Verdict::Partial);
    assert!(!court.died(0));
}

#[test]
fn an_observer_that_is_not_able_does_not_count() {
    for ability in [
        Ability::LateTick,
        Ability::LinkDown,
        Ability::NeverHeard,
        Ability::MostSilent,
        Ability::NotObserver,
    ] {
        let court = five_silent(|observer, mut report| {
            if observer == 5 {
                report.ability = ability;
            }
            Some(report)
        });
        assert!(!court.died(0), "{ability:?}");
        assert_eq!(court.evidence(0, Verdict::Partial).unable, 1);
    }
}

#[test]
fn an_observer_with_other_numbers_does_not_count() {
    let court = five_silent(|observer, mut report| {
        report.config ^= u64::from(observer == 5);
        Some(report)
    });
    assert!(!court.died(0));
    assert!(court.judge.counters().other_config > 0);
}

#[test]
fn silence_about_another_boot_does_not_count() {
    let court = five_silent(|observer, mut report| {
        if observer == 5 {
            report.boot = boot(500);
        }
        Some(report)
    });
    assert!(!court.died(0));
    assert!(court.judge.counters().other_boot > 0);
}

#[test]
fn silence_of_a_condemned_observer_does_not_count() {
    let mut court = asleep();
    court.ask(Ask::Condemned(vec![member(5)]));
    court.silence(0, &FIVE, court.now + 500);
    assert!(!court.died(0));
}

#[test]
fn silence_of_a_suspected_observer_does_not_count() {
    let mut court = asleep();
    let echo = court.now;
    while court.now < echo + 480 {
        court.run_to(court.now + 10);
        for observer in [1, 2, 3, 4, 6] {
            if court.now >= echo + 30 {
                let about_5 = court.report(5, echo, echo + 12, court.now - 6);
                court.say(observer, Message::Report(about_5));
            }
        }
        for observer in FIVE {
            if court.now >= echo + 30 {
                let about_0 = court.report(0, echo, echo + 12, court.now - 6);
                // Its own word would clear it: what it says of others came a moment before it fell silent.
                if observer == 5 {
                    let now = court.instant(court.now);
                    court.judge.subjects.get_mut(&member(5)).unwrap().greeted = None;
                    let sealed = Court::clock(5, court.now);
                    court
                        .judge
                        .handle_message(member(5), 5, sealed, &Message::Report(about_0), now);
                    court.drain();
                } else {
                    court.say(observer, Message::Report(about_0));
                }
            }
        }
    }
    assert!(court.judge.is_suspected(member(5)));
    assert!(!court.died(0));
}

#[test]
fn silence_of_members_that_do_not_observe_it_does_not_count() {
    let mut court = Court::new(20);
    let observers = court.observers(0);
    let strangers: Vec<usize> = (1..20).filter(|number| !observers.contains(number)).collect();
    court.silence(0, &strangers, 2_600);
    assert!(!court.died(0) && !court.judge.is_suspected(member(0)));
}

#[test]
fn two_losses_of_an_observer_do_not_count() {
    let court = five_silent(|observer, mut report| {
        if observer == 5 {
            let newest = report.losses.len().saturating_sub(2);
            report.losses.drain(..newest);
        }
        Some(report)
    });
    assert!(!court.died(0));
}

#[test]
fn silence_expires() {
    let mut court = asleep();
    court.silence(0, &FIVE[..4], court.now + 200);
    court.run_to(court.now + 60);
    let fifth = court.report(0, court.now - 260, court.now - 240, court.now - 6);
    court.say(5, Message::Report(fifth));
    assert!(!court.died(0), "the four spoke 60 ms ago");
}

#[test]
fn freshness_is_judged_by_sealing() {
    let mut court = asleep();
    let began = court.now;
    court.silence(0, &FIVE[..4], began + 100);
    // Of each later instant, all four reports wait in a queue for 60 ms.
    court.run_to(began + 160);
    let fifth = court.report(0, began, began + 15, began + 154);
    court.say(5, Message::Report(fifth));
    for observer in &FIVE[..4] {
        court.now -= 60;
        let late = court.report(0, began, began + 12, began + 94);
        court.now += 60;
        court.say_late(*observer, began + 100, Message::Report(late));
    }
    assert!(!court.died(0), "they came now, and are old");
    let mut fresh = Court::report(&court, 0, began, began + 12, began + 154);
    fresh.sign = None;
    for observer in &FIVE[..4] {
        court.say(*observer, Message::Report(fresh.clone()));
    }
    assert!(court.died(0));
}

#[test]
fn reports_that_waited_raise_no_suspicion() {
    let mut court = asleep();
    let began = court.now;
    court.silence(0, &FIVE, began + 30);
    court.run_to(began + 160);
    for observer in FIVE {
        court.now -= 60;
        let late = court.report(0, began, began + 12, began + 94);
        court.now += 60;
        court.say_late(observer, began + 100, Message::Report(late));
    }
    assert!(!court.judge.is_suspected(member(0)));
}

#[test]
fn all_messages_of_a_peer_may_have_waited() {
    let mut court = asleep();
    let began = court.now;
    court.silence(0, &FIVE[..4], began + 225);
    // The fastest message of the fifth took 60 ms: by the least delay its report is fresh, by the round trip it is not.
    let (asked, now) = (court.instant(court.now - 71), court.instant(court.now));
    let sealed = Court::clock(5, court.now - 70);
    let offset = &mut court.judge.peers.get_mut(&member(5)).unwrap().offset;
    *offset = crate::offset::Offset::default();
    offset.arrived(sealed, now);
    offset.answered(asked, sealed, now);
    court.pongs = false;
    court.now -= 60;
    let report = court.report(0, began - 60, began - 50, court.now - 6);
    court.now += 60;
    court.say_late(5, court.now - 60, Message::Report(report));
    assert!(!court.died(0));
}

#[test]
fn without_a_round_trip_no_silence_is_proven() {
    let mut court = Court::new(9);
    court.pongs = false;
    let peers = court.judge.peers.values_mut();
    peers.for_each(|peer| peer.offset = crate::offset::Offset::default());
    court.run_to(2_060);
    court.crash(0, 3_000);
    assert!(court.judge.is_suspected(member(0)), "a suspicion needs none");
    assert!(!court.died(0));
}

#[test]
fn one_that_hears_it_prevents_it() {
    let mut court = Court::new(9);
    let began = court.now;
    while court.now < 3_000 {
        court.silence_but(0, &OTHERS[..7], court.now + 10, |_, _| None);
        for observer in &OTHERS[..7] {
            if court.now >= began + 30 {
                let silent = court.report(0, began, began + 12, court.now - 6);
                court.say(*observer, Message::Report(silent));
            }
        }
        let hears = court.report(0, court.now - 8, 1, 0);
        court.say(8, Message::Report(hears));
    }
    assert!(!court.died(0));
    assert_eq!(court.verdict(0), Verdict::Partial);
}

#[test]
fn signs_of_any_kind_prevent_it() {
    let court = five_silent(|_, mut report| {
        report.sign = Some(ms(30));
        Some(report)
    });
    assert!(!court.died(0));
}

#[test]
fn what_was_heard_does_not_expire() {
    let mut court = asleep();
    let began = court.now;
    // The first report of one tells an echo 100 ms after the others' last.
    court.silence(0, &FIVE[..4], began + 110);
    let hears = court.report(0, began + 100, 1, 0);
    court.say(5, Message::Report(hears));
    while court.now < began + 225 {
        court.run_to(court.now + 10);
        for observer in &FIVE[..4] {
            let silent = court.report(0, began, began + 12, court.now - 6);
            court.say(*observer, Message::Report(silent));
        }
        let silent = court.report(0, began, began + 12, court.now - 6);
        court.say(5, Message::Report(silent));
    }
    assert!(!court.died(0), "125 ms after that echo, 215 ms after theirs");
}

#[test]
fn a_first_message_that_was_late_makes_nothing_younger() {
    // Observer 5 hears the subject; its reports of an older silence waited a second, and so did its first message.
    let mut court = asleep();
    let began = court.now;
    court.judge.peers.get_mut(&member(5)).unwrap().offset = crate::offset::Offset::default();
    court.pongs = false;
    while court.now < began + 400 {
        court.run_to(court.now + 10);
        for observer in &FIVE[..4] {
            if court.now >= began + 30 {
                let silent = court.report(0, began, began + 12, court.now - 6);
                court.say(*observer, Message::Report(silent));
            }
        }
        if court.now >= began + 30 {
            let mut old = court.report(0, began, began + 12, court.now - 6);
            old.echo = None;
            court.say_late(5, court.now - 1_000, Message::Report(old));
        }
    }
    assert!(!court.died(0));
}

#[test]
fn a_steward_whose_clock_stood_still_mixes_no_times() {
    let mut court = asleep();
    let began = court.now;
    court.silence(0, &FIVE, began + 100);
    court.pongs = false;
    // The hypervisor holds the steward for a second. The subject is heard again meanwhile, which the first messages
    // after it do not say; what they say is sealed up to a second later than the steward's clock allows.
    for observer in FIVE {
        let now = court.instant(court.now);
        let mut report = court.report(0, began, began + 12, began + 94);
        report.losses.iter_mut().for_each(|age| *age += ms(30));
        let sealed = Court::clock(observer, court.now + 30);
        court
            .judge
            .handle_message(member(observer), 5, sealed, &Message::Report(report), now);
        court.drain();
    }
    for observer in FIVE {
        let offset = &court.judge.peers[&member(observer)].offset;
        let time = Court::clock(observer, court.now);
        assert_eq!(
            offset.earliest(time, Instant(EPOCH + court.now * MS)),
            None,
            "void"
        );
    }
    assert!(!court.died(0));
}

#[test]
fn words_about_nobody_and_of_nobody_are_counted_and_dropped() {
    let mut court = Court::new(9);
    let report = court.report(700, 2_000, 2_010, 2_040);
    court.say(1, Message::Report(report.clone()));
    court.say(800, Message::Report(report));
    court.say(1, Message::Ping(1));
    let counters = court.judge.counters();
    assert_eq!(
        (
            counters.unknown_subjects,
            counters.strangers,
            counters.misdirected
        ),
        (1, 1, 1)
    );
    assert_eq!((court.judge.subjects.len(), court.judge.peers.len()), (9, 9));
}

#[test]
fn absurd_numbers_do_no_harm() {
    let court = five_silent(|observer, mut report| {
        if observer == 5 {
            report.loss = f64::NAN;
            report.echo = Some(std::time::Duration::MAX);
            report.losses = vec![std::time::Duration::MAX; 1_000];
        }
        Some(report)
    });
    assert!(!court.died(0));
}

#[test]
fn a_smaller_roster_forgets_who_left() {
    let mut court = Court::new(20);
    court.judge.set_rings(super::rings(5), court.instant(court.now));
    assert_eq!((court.judge.subjects.len(), court.judge.peers.len()), (5, 5));
    assert_eq!(court.judge.status(court.instant(court.now)).count(), 5);
    court.members = 5;
    court.awake.retain(|number| *number < 5);
    court.seen.retain(|number| *number < 5);
    court.run_to(4_100);
    court.crash(0, 4_500);
    assert!(court.died(0), "by the four that are left");
}
