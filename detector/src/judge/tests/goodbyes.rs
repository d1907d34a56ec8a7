//! `Leaving` and `Away`: what a goodbye says of the silence after it.

use std::time::Duration;

use detector_common::packet::health;

use super::{Court, boot, member};
use crate::judgement::{Cause, Judgement, Verdict};
use crate::message::{Farewell, Goodbye, Greeting, Message};

/// The farewell of a member.
fn goodbye(number: usize, farewell: Farewell) -> Message {
    Message::Goodbye(Goodbye {
        boot: boot(number),
        farewell,
    })
}

#[test]
fn a_host_that_goes_down_is_leaving_and_then_dead() {
    let mut court = Court::new(9);
    court.say(0, goodbye(0, Farewell::Reboot));
    assert_eq!(court.verdict(0), Verdict::Leaving);
    court.crash(0, 2_400);
    assert_eq!(court.verdicts(0)[2..], [Verdict::Leaving, Verdict::Dead]);
    let farewell = court
        .judgements
        .iter()
        .rev()
        .find_map(|(_, judgement)| match judgement {
            Judgement::Changed { farewell, .. } => Some(*farewell),
            _ => None,
        });
    assert_eq!(farewell, Some(Some(Farewell::Reboot)));
}

#[test]
fn a_greeting_that_was_sealed_later_takes_the_farewell_back() {
    let mut court = Court::new(9);
    court.say(0, goodbye(0, Farewell::PowerOff));
    court.say_late(0, court.now - 1, Message::Greeting(Court::greeting(0)));
    assert_eq!(court.verdict(0), Verdict::Leaving, "it was overtaken");
    court.run_to(3_010);
    assert_eq!(court.verdict(0), Verdict::Alive);
}

#[test]
fn echoes_that_say_leaving_to_a_quorum_are_a_farewell_that_was_lost() {
    let mut court = Court::new(9);
    court.awake.remove(&0);
    court.run_to(2_100);
    for observer in 1..6 {
        assert_eq!(
            court.verdict(0),
            Verdict::Alive,
            "{observer} speaks for nobody else"
        );
        let mut sightings = court.sightings(observer);
        let about = sightings
            .iter_mut()
            .find(|sighting| sighting.subject == member(0));
        about.unwrap().health = health::LEAVING;
        court.say(observer, Message::Heard(sightings));
    }
    assert_eq!(court.verdict(0), Verdict::Leaving);
    court.say(0, Message::Greeting(Court::greeting(0)));
    assert_eq!(court.verdict(0), Verdict::Alive, "its own word is newer");
}

#[test]
fn one_observer_makes_nobody_leave_however_often_it_says_so() {
    let mut court = Court::new(9);
    let began = court.now;
    while court.now < began + 3_000 {
        court.run_to(court.now + 20);
        let mut sightings = court.sightings(1);
        sightings
            .iter_mut()
            .for_each(|sighting| sighting.health = u32::MAX);
        court.say(1, Message::Heard(sightings));
    }
    for subject in [0, 2, 8] {
        assert_eq!(court.verdict(subject), Verdict::Alive);
    }
}

#[test]
fn an_agent_that_was_removed_is_away_and_its_silence_means_nothing() {
    let mut court = Court::new(9);
    court.say(0, goodbye(0, Farewell::Left));
    court.crash(0, 3_000);
    assert_eq!(court.verdicts(0)[2..], [Verdict::Away]);
    assert!(
        !court
            .judgements
            .iter()
            .any(|(_, judgement)| matches!(judgement, Judgement::EarlyWarning { .. }))
    );
}

#[test]
fn an_agent_that_restarts_is_away_and_then_degraded() {
    let mut court = Court::new(9);
    court.awake.remove(&0);
    let ttl = Duration::from_secs(5);
    court.say(0, goodbye(0, Farewell::Restart { ttl }));
    assert_eq!(court.verdict(0), Verdict::Away);
    court.run_to(7_000);
    assert_eq!(court.verdict(0), Verdict::Away);
    court.run_to(8_200);
    assert_eq!(court.verdict(0), Verdict::Degraded, "overdue");
    assert_eq!(court.causes(0).last(), Some(&vec![Cause::Agent]));
    court.say(0, Message::Greeting(Court::greeting(0)));
    assert_eq!(court.verdict(0), Verdict::Alive);
}

#[test]
fn a_host_that_dies_while_its_agent_restarts_is_dead() {
    let ttl = Duration::from_secs(30);
    let mut court = Court::new(9);
    court.say(0, goodbye(0, Farewell::Restart { ttl }));
    court.crash(0, 2_400);
    assert_eq!(court.verdict(0), Verdict::Dead, "its kernel would have answered");

    let mut court = Court::new(9);
    court.awake.remove(&0);
    let by_socket = Greeting {
        health: health::USER_ECHO,
        ..Court::greeting(0)
    };
    court.seen.remove(&0);
    court.say(0, Message::Greeting(by_socket));
    court.run_to(2_060);
    court.say(0, goodbye(0, Farewell::Restart { ttl }));
    court.crash(0, 2_400);
    assert_eq!(
        court.verdict(0),
        Verdict::Away,
        "its socket is gone, and nothing else is known"
    );
}
