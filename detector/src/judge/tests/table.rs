//! Each verdict of the table, and the way from one to another.

use detector_common::packet::health;

use super::{Court, OTHERS, boot, member, ms};
use crate::identity::IncidentId;
use crate::judgement::{Ask, Judgement, Verdict};
use crate::message::{Greeting, Message};
use crate::profile::Profile;

#[test]
fn who_is_heard_by_a_quorum_is_alive() {
    let court = Court::new(9);
    for number in 0..9 {
        assert_eq!(court.verdicts(number), [Verdict::Unknown, Verdict::Alive]);
    }
}

#[test]
fn who_is_heard_by_fewer_is_unknown() {
    let mut court = Court::opened(9, Profile::LAN);
    court.seen.remove(&0);
    let again = Greeting {
        boot: boot(500),
        ..Court::greeting(0)
    };
    court.awake.remove(&0);
    court.say(0, Message::Greeting(again));
    assert_eq!(court.verdict(0), Verdict::Unknown);
    for observer in [1, 2, 3, 4] {
        let mut sightings = court.sightings(observer);
        sightings[0].subject = member(0);
        sightings[0].boot = boot(500);
        court.say(observer, Message::Heard(sightings));
    }
    assert_eq!(court.verdict(0), Verdict::Unknown, "four of eight");
    let mut sightings = court.sightings(5);
    sightings[0].subject = member(0);
    sightings[0].boot = boot(500);
    court.say(5, Message::Heard(sightings));
    assert_eq!(court.verdict(0), Verdict::Alive);
}

#[test]
fn a_crash_is_dead_after_one_window() {
    let mut court = Court::new(9);
    court.crash(0, 2_400);
    let told = court.told(0);
    let (at, verdict) = *told.last().unwrap();
    assert_eq!(verdict, Verdict::Dead);
    assert!(
        (2_185..=2_210).contains(&at),
        "last echo at 2050, verdict at {at}"
    );
    let evidence = court.evidence(0, Verdict::Dead);
    assert_eq!((evidence.observers, evidence.quorum, evidence.silent), (8, 5, 8));
    assert!(evidence.span_us >= 120_000, "{evidence:?}");
    assert!(evidence.weight >= 35.0 && evidence.losses >= 24);
    assert_eq!(evidence.last_echo_us, Some((at - 2_050) * 1_000));
    assert_eq!(evidence.first_loss_us, Some((at - 2_062) * 1_000));
}

#[test]
fn the_early_warning_comes_once_an_incident_before_the_verdict() {
    let mut court = Court::new(9);
    court.crash(0, 2_600);
    let warnings: Vec<_> = court
        .judgements
        .iter()
        .filter_map(|(at, judgement)| match judgement {
            Judgement::EarlyWarning {
                subject, incident, ..
            } => Some((*at, *subject, *incident)),
            _ => None,
        })
        .collect();
    let [(at, subject, incident)] = warnings[..] else {
        panic!("{warnings:?}");
    };
    assert_eq!((subject, incident), (member(0), IncidentId(77)));
    let verdict = court.told(0).last().unwrap().0;
    assert!(at + 50 <= verdict, "{at} {verdict}");
}

#[test]
fn the_word_of_the_subject_revokes() {
    let mut court = Court::new(9);
    court.crash(0, 2_400);
    assert_eq!(court.verdict(0), Verdict::Dead);
    court.say(0, Message::Greeting(Court::greeting(0)));
    assert_ne!(court.verdict(0), Verdict::Dead);
}

#[test]
fn one_echo_revokes_whoever_tells_it() {
    let mut court = Court::new(20);
    court.crash(0, 2_400);
    assert_eq!(court.verdict(0), Verdict::Dead);
    let stranger = (1..20)
        .find(|number| !court.observers(0).contains(number))
        .unwrap();
    let echo = court.report(0, 2_395, 1, 0);
    court.say(stranger, Message::Report(echo));
    assert_ne!(court.verdict(0), Verdict::Dead);
}

#[test]
fn dead_stands_when_observers_fall_silent() {
    let mut court = Court::new(9);
    court.crash(0, 2_400);
    court.run_to(60_000);
    assert_eq!(
        court.verdicts(0),
        [Verdict::Unknown, Verdict::Alive, Verdict::Dead]
    );
}

#[test]
fn an_old_echo_that_is_told_late_revokes_nothing() {
    let mut court = Court::new(9);
    court.crash(0, 2_400);
    let mut late = court.report(0, 2_052, 2_060, 2_390);
    late.losses.truncate(30);
    court.say(1, Message::Report(late));
    assert_eq!(court.verdict(0), Verdict::Dead);
}

#[test]
fn a_new_boot_ends_the_incident() {
    let mut court = Court::new(9);
    court.crash(0, 2_400);
    court.run_to(5_000);
    let again = Greeting {
        boot: boot(500),
        ..Court::greeting(0)
    };
    court.say(0, Message::Greeting(again));
    let changed = court
        .judgements
        .iter()
        .rev()
        .find_map(|(_, judgement)| match judgement {
            Judgement::Changed {
                boot,
                incident,
                verdict,
                ..
            } => Some((*boot, *incident, *verdict)),
            _ => None,
        });
    assert_eq!(changed, Some((boot(500), None, Verdict::Unknown)));
    assert!(!court.judge.is_suspected(member(0)));
    // The end of the old boot is no word on the new one.
    let old = court.report(0, 2_050, 2_060, 4_990);
    for observer in OTHERS {
        court.say(observer, Message::Report(old.clone()));
    }
    assert_eq!(court.verdict(0), Verdict::Unknown);
    court.say(0, Message::Greeting(Court::greeting(0)));
    assert_eq!(
        court.told(0).len(),
        4,
        "nor is a greeting of it: {:?}",
        court.told(0)
    );
}

#[test]
fn a_quorum_of_observers_makes_a_boot_known_before_its_agent_greets() {
    let mut court = Court::new(9);
    court.awake.remove(&0);
    court.seen.remove(&0);
    for observer in [1, 2, 3, 4, 5] {
        let mut report = court.report(0, court.now - 5, 1, 0);
        report.boot = boot(499);
        court.say(observer, Message::Report(report));
    }
    assert_eq!(
        court.judge.subjects[&member(0)].boot,
        boot(0),
        "its own word is fresh"
    );
    court.run_to(5_000);
    for observer in [1, 2, 3, 4, 5] {
        let mut report = court.report(0, court.now - 5, 1, 0);
        report.boot = boot(500);
        court.say(observer, Message::Report(report));
        let told = court.judge.subjects[&member(0)].boot;
        assert_eq!(told == boot(500), observer == 5);
    }
}

#[test]
fn two_of_eight_that_do_not_hear_make_it_partial() {
    let mut court = Court::new(9);
    court.silence(0, &[1, 2], 2_250);
    assert_eq!(court.verdict(0), Verdict::Alive, "not before two windows");
    court.silence(0, &[1, 2], 2_600);
    assert_eq!(court.verdict(0), Verdict::Partial);
    court.run_to(12_000);
    assert_eq!(
        court.verdicts(0)[1..],
        [Verdict::Alive, Verdict::Partial, Verdict::Alive]
    );
}

#[test]
fn who_returns_has_good_rounds_and_a_longest_silence() {
    let mut court = Court::new(9);
    court.crash(0, 3_050);
    court.awake.insert(0);
    court.seen.insert(0);
    for observer in OTHERS {
        let echo = court.report(0, court.now - 2, 1, 0);
        court.say(observer, Message::Report(echo));
    }
    assert_ne!(court.verdict(0), Verdict::Dead);
    court.run_to(20_000);
    let good: Vec<_> = court
        .judgements
        .iter()
        .filter_map(|(at, judgement)| match judgement {
            Judgement::Good { subject, rounds, .. } if *subject == member(0) => Some((*at, *rounds)),
            _ => None,
        })
        .collect();
    let (first, rounds) = good[0];
    assert!((11_000..=13_500).contains(&first) && rounds >= 50, "{good:?}");
    assert!(good.len() >= 6, "each second: {good:?}");
    let longest = court
        .judgements
        .iter()
        .rev()
        .find_map(|(_, judgement)| match judgement {
            Judgement::Changed {
                subject,
                longest_silence,
                ..
            } if *subject == member(0) => Some(*longest_silence),
            _ => None,
        });
    assert_eq!(longest, Some(ms(998)), "2050 to 3048");
}

/// A node that died, and is heard again under a new boot, by all of the eight but `deaf(now)`. When its first good round
/// is told.
fn good_at(deaf: impl Fn(u64) -> usize) -> Option<u64> {
    let mut court = Court::new(9);
    court.crash(0, 3_050);
    court.ask(Ask::Condemned(vec![member(0)]));
    let mut greeting = Court::greeting(0);
    greeting.boot = boot(500);
    while court.now < 30_000 {
        court.run_to(court.now + 500);
        court.say(0, Message::Greeting(greeting));
        for observer in &OTHERS[deaf(court.now)..] {
            let mut echo = court.report(0, court.now - 2, 1, 0);
            echo.boot = boot(500);
            court.say(*observer, Message::Report(echo));
        }
    }
    let good = |(_, judgement): &&(u64, Judgement)| matches!(judgement, Judgement::Good { subject, .. } if *subject == member(0));
    court
        .judgements
        .iter()
        .find(|told| told.0 > 3_050 && good(told))
        .map(|(at, _)| *at)
}

#[test]
fn one_that_does_not_hear_it_again_keeps_nobody_away() {
    let at = good_at(|_| 3).unwrap();
    assert!((11_000..14_000).contains(&at), "8 s of rounds: {at}");
    assert_eq!(good_at(|_| 4), None);
}

#[test]
fn rounds_begin_anew_where_too_few_heard_it() {
    let at = good_at(|now| if (8_000..13_000).contains(&now) { 4 } else { 3 }).unwrap();
    assert!(at >= 20_000, "8 s after that: {at}");
}

#[test]
fn where_the_socket_echoes_the_second_look_waits_for_a_restart() {
    let mut court = Court::new(9);
    let mut greeting = Court::greeting(0);
    greeting.health = health::USER_ECHO;
    court.say(0, Message::Greeting(greeting));
    court.crash(0, 2_800);
    let longest = |court: &Court| {
        court
            .judgements
            .iter()
            .rev()
            .find_map(|(_, judgement)| match judgement {
                Judgement::Changed {
                    verdict: Verdict::Dead,
                    longest_silence,
                    ..
                } => Some(*longest_silence),
                _ => None,
            })
    };
    assert_eq!(longest(&court), Some(ms(2_000)));
}

#[test]
fn all_good_members_are_told_once() {
    let mut court = Court::new(9);
    court.run_to(30_000);
    let good = |judgement: &Judgement| matches!(judgement, Judgement::Good { .. });
    assert_eq!(
        court
            .judgements
            .iter()
            .filter(|(_, judgement)| good(judgement))
            .count(),
        9
    );
}

#[test]
fn the_word_of_a_later_agent_is_believed_whatever_boot_it_names() {
    let mut court = Court::new(9);
    court.awake.remove(&0);
    court.seen.remove(&0);
    court.run_to(6_000);
    // Nobody has heard the agent lately; its observers name another boot.
    for observer in OTHERS {
        let mut report = court.report(0, court.now - 5, 1, 0);
        report.boot = boot(500);
        court.say(observer, Message::Report(report));
    }
    let present = |court: &Court| court.judge.subjects[&member(0)].boot;
    assert_eq!(present(&court), boot(500));
    court.say(0, Message::Greeting(Court::greeting(0)));
    assert_eq!(
        present(&court),
        boot(500),
        "by the agent of the boot that is over"
    );
    let now = court.instant(court.now);
    let greeting = Message::Greeting(Court::greeting(0));
    court
        .judge
        .handle_message(member(0), 6, Court::clock(0, court.now), &greeting, now);
    assert_eq!(present(&court), boot(0), "by a later one");
}

#[test]
fn a_second_silence_is_warned_of_again() {
    let mut court = Court::new(9);
    court.silence(0, &OTHERS, 2_150);
    for observer in OTHERS {
        let echo = court.report(0, court.now - 2, 1, 0);
        court.say(observer, Message::Report(echo));
    }
    court.silence(0, &OTHERS, 2_250);
    let warning = |judgement: &Judgement| matches!(judgement, Judgement::EarlyWarning { .. });
    let warnings = court
        .judgements
        .iter()
        .filter(|(_, judgement)| warning(judgement));
    assert_eq!(warnings.count(), 2);
    assert!(!court.died(0));
}
