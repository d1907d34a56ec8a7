//! Observers that are heard and say nothing of the subject: they may hear it, and their reports may be what is lost.

use std::collections::BTreeSet;
use std::time::Duration;

use super::{Court, boot, member, ms};
use crate::identity::BootId;
use crate::message::{Ability, Message, Report, Sighting};

const SILENT: [usize; 5] = [1, 2, 3, 4, 5];
const MUTE: [usize; 3] = [6, 7, 8];

/// The subject says nothing, nobody sights it any more, and five are silent about it until `until` ms from now.
fn silence(court: &mut Court, until: u64) -> u64 {
    let began = court.now;
    court.awake.remove(&0);
    court.seen.remove(&0);
    go_on(court, began, began + until);
    began
}

/// The five go on, until `until`: all is lost since `began`.
fn go_on(court: &mut Court, began: u64, until: u64) {
    while court.now < until {
        court.run_to(court.now + 10);
        for observer in SILENT {
            if court.now >= began + 20 {
                let from = (began + 12).max(court.now.saturating_sub(300));
                let silent = court.report(0, began, from, court.now - 6);
                court.say(observer, Message::Report(silent));
            }
        }
    }
}

/// Whom the judge asked by itself, and the newest look.
fn asked(court: &Court) -> (BTreeSet<usize>, u64) {
    let whom = court.looks.iter().map(|(to, _)| to.0 as usize - 1).collect();
    (whom, court.looks.last().map_or(0, |(_, nonce)| *nonce))
}

/// An answer without losses: nothing could be sent.
fn unsent(court: &Court, began: u64, nonce: u64) -> Report {
    Report {
        nonce,
        losses: Vec::new(),
        ..court.report(0, began, court.now, court.now)
    }
}

#[test]
fn they_are_waited_for_and_asked() {
    let mut court = Court::new(9);
    silence(&mut court, 170);
    assert_eq!(
        asked(&court).0,
        BTreeSet::new(),
        "who asks by himself is not asked"
    );
    let until = court.now + 1_500;
    go_on(&mut court, until - 1_670, until);
    assert!(!court.died(0), "three may hear it");
    assert!(asked(&court).0.is_superset(&MUTE.into()));
}

#[test]
fn any_answer_ends_the_wait() {
    let mut court = Court::new(9);
    let began = silence(&mut court, 600);
    let (_, nonce) = asked(&court);
    court.say(6, Message::Report(unsent(&court, began, nonce)));
    let not_observer = Report {
        boot: BootId(0),
        ability: Ability::NotObserver,
        echo: None,
        ..unsent(&court, began, nonce)
    };
    court.say(7, Message::Report(not_observer));
    go_on(&mut court, began, began + 700);
    assert!(!court.died(0), "one has not answered");
    let silent = Report {
        nonce,
        ..court.report(0, began, court.now - 100, court.now - 6)
    };
    court.say(8, Message::Report(silent));
    assert!(court.died(0));
}

#[test]
fn an_answer_to_another_question_does_not() {
    let mut court = Court::new(9);
    let began = silence(&mut court, 600);
    let (_, nonce) = asked(&court);
    for observer in MUTE {
        court.say(observer, Message::Report(unsent(&court, began, nonce + 1)));
        court.say(observer, Message::Report(unsent(&court, began, 0)));
    }
    go_on(&mut court, began, began + 700);
    assert!(!court.died(0));
}

#[test]
fn who_heard_it_after_the_question_is_asked_again() {
    let mut court = Court::new(9);
    let began = silence(&mut court, 600);
    let (_, nonce) = asked(&court);
    // One heard it after the question was put: the answers of the others are too old by then.
    let later = court.now - 5;
    for observer in [6, 7] {
        court.say(observer, Message::Report(unsent(&court, began, nonce)));
    }
    court.say(8, Message::Report(unsent(&court, later, nonce)));
    go_on(&mut court, later, later + 400);
    assert!(
        !court.died(0),
        "what was asked before that echo is no answer after it"
    );
    let (_, again) = asked(&court);
    assert!(again > nonce);
    for observer in MUTE {
        court.say(observer, Message::Report(unsent(&court, later, again)));
    }
    assert!(court.died(0));
}

#[test]
fn another_boot_prevents_it_if_it_was_heard_since() {
    let mut court = Court::new(9);
    let began = silence(&mut court, 600);
    let (_, nonce) = asked(&court);
    for (observer, ago) in [(6, 5_000), (7, 5_000), (8, 5)] {
        let other = Report {
            boot: boot(500 + observer),
            echo: Some(ms(ago)),
            ..unsent(&court, began, nonce)
        };
        court.say(observer, Message::Report(other));
    }
    go_on(&mut court, began, began + 700);
    assert!(!court.died(0), "one heard a boot that is not known yet");
    let long_ago = Report {
        boot: boot(508),
        echo: Some(ms(5_000)),
        ..unsent(&court, began, nonce)
    };
    court.say(8, Message::Report(long_ago));
    assert!(court.died(0));
}

#[test]
fn who_is_gone_is_not_waited_for() {
    let mut court = Court::new(9);
    court.awake.retain(|number| *number < 6);
    // They greeted at 2.0 s.
    let began = silence(&mut court, 1_900);
    assert!(!court.died(0), "heard within the last two seconds");
    go_on(&mut court, began, began + 2_000);
    assert!(court.died(0));
}

#[test]
fn an_observer_that_greets_and_gets_no_question_is_waited_for_until_it_says_whom_it_hears() {
    let mut court = Court::new(9);
    let began = silence(&mut court, 600);
    // 450 ms after: the slots of that window are over.
    for (observer, echo) in [(6, 610), (7, 610), (8, 5_000)] {
        let mut sightings = court.sightings(observer);
        sightings.push(Sighting {
            subject: member(0),
            boot: boot(0),
            echo: ms(echo),
            agent: ms(50),
            health: 0,
        });
        assert!(!court.died(0), "{observer} may hear it");
        court.say(observer, Message::Heard(sightings));
    }
    go_on(&mut court, began, began + 620);
    assert!(court.died(0));
}

#[test]
fn a_sighting_that_was_sealed_within_the_window_is_not_enough() {
    let mut court = Court::new(9);
    let began = silence(&mut court, 200);
    for observer in MUTE {
        let mut sightings = court.sightings(observer);
        sightings.push(Sighting {
            subject: member(0),
            boot: boot(0),
            echo: ms(210),
            agent: ms(50),
            health: 0,
        });
        court.say(observer, Message::Heard(sightings));
    }
    go_on(&mut court, began, began + 700);
    assert!(!court.died(0));
}

#[test]
fn an_agent_that_starts_again_after_its_answer_is_asked_again() {
    let mut court = Court::new(9);
    let began = silence(&mut court, 600);
    let (_, nonce) = asked(&court);
    court.say(6, Message::Report(unsent(&court, began, nonce)));
    court.incarnations.insert(6, 6);
    court.say(6, Message::Greeting(Court::greeting(6)));
    court.looks.clear();
    go_on(&mut court, began, began + 700);
    assert!(asked(&court).0.contains(&6));
}

#[test]
fn a_steward_that_has_just_begun_waits_for_whom_it_never_heard() {
    let mut judge = crate::judge::peer::Peer::default();
    let began = Court::new(1).instant(0);
    let after = |seconds: u64| began + Duration::from_secs(seconds);
    assert!(!judge.is_gone(began, after(9)) && judge.is_gone(began, after(10)));
    judge.heard(5, Court::clock(1, 0), after(9));
    assert!(!judge.is_gone(began, after(10)) && judge.is_gone(began, after(11)));
}

/// Of each of so many dead, among forty, five observers that live are silent about it, and the others say nothing.
/// Whether the judge asked anybody.
fn asks(dead: usize) -> bool {
    let mut court = Court::new(40);
    let lives = |number: &usize| *number >= dead;
    court.awake.retain(lives);
    court.seen.retain(lives);
    let began = court.now;
    while court.now < began + 600 {
        court.run_to(court.now + 10);
        for subject in 0..dead {
            let observers = court.observers(subject);
            for observer in observers.into_iter().filter(lives).take(5) {
                if court.now >= began + 20 {
                    let silent = court.report(subject, began, began + 12, court.now - 6);
                    court.say(observer, Message::Report(silent));
                }
            }
        }
    }
    !court.looks.is_empty()
}

#[test]
fn nobody_is_asked_while_verdicts_are_held_back() {
    assert!(asks(13));
    assert!(!asks(14), "a storm");
}

#[test]
fn an_echo_that_is_told_late_makes_older_answers_worthless() {
    let mut court = Court::new(9);
    let began = silence(&mut court, 300);
    let (_, nonce) = asked(&court);
    for observer in [6, 7] {
        court.say(observer, Message::Report(unsent(&court, began, nonce)));
    }
    // After it the silence is long enough, but the question was put within the window.
    let late = unsent(&court, began + 100, nonce);
    court.say(8, Message::Report(late));
    go_on(&mut court, began, began + 340);
    assert!(!court.died(0));
    let (_, again) = asked(&court);
    assert!(again > nonce);
    for observer in MUTE {
        let report = unsent(&court, began + 100, again);
        court.say(observer, Message::Report(report));
    }
    assert!(court.died(0));
}

#[test]
fn who_never_spoke_of_it_is_waited_for_ten_seconds() {
    let mut court = Court::new(9);
    for witness in &mut court.judge.subjects.get_mut(&member(0)).unwrap().witnesses {
        if MUTE.contains(&(witness.observer.0 as usize - 1)) {
            (witness.life, witness.seen) = (None, None);
        }
    }
    let began = silence(&mut court, 9_900);
    assert!(!court.died(0));
    go_on(&mut court, began, began + 10_100);
    assert!(court.died(0));
}
