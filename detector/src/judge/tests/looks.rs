//! Looks: nonced rounds.

use super::{Court, boot, member};
use crate::judgement::{Ask, Judgement, Verdict};
use crate::message::{Ability, Message};

const NONCE: u64 = 4_711;

fn dead_court() -> Court {
    let mut court = Court::new(9);
    court.crash(0, 3_000);
    assert_eq!(court.verdict(0), Verdict::Dead);
    court
}

fn look(court: &mut Court) {
    court.ask(Ask::Look {
        subject: member(0),
        boot: boot(0),
        nonce: NONCE,
    });
}

/// Answers of these observers, 15 ms after they were asked.
fn answer(court: &mut Court, observers: &[usize], nonce: u64) {
    court.run_to(court.now + 15);
    for observer in observers {
        let mut report = court.report(0, 2_050, court.now - 600, court.now - 6);
        report.nonce = nonce;
        court.say(*observer, Message::Report(report));
    }
}

fn looked(court: &Court) -> Vec<(u64, bool)> {
    let looked = |(_, judgement): &(u64, Judgement)| match judgement {
        Judgement::Looked { nonce, dead, .. } => Some((*nonce, *dead)),
        _ => None,
    };
    court.judgements.iter().filter_map(looked).collect()
}

#[test]
fn five_answers_with_the_nonce_confirm() {
    let mut court = dead_court();
    // The others are gone, so that nobody waits for them.
    court.awake.retain(|number| *number < 6);
    court.run_to(court.now + 2_050);
    look(&mut court);
    let mut asked: Vec<_> = court.looks.iter().map(|(to, _)| to.0 as usize - 1).collect();
    asked.sort_unstable();
    assert_eq!(asked, [1, 2, 3, 4, 5, 6, 7, 8]);
    answer(&mut court, &[1, 2, 3, 4], NONCE);
    assert_eq!(looked(&court), []);
    answer(&mut court, &[5], NONCE);
    assert_eq!(looked(&court), [(NONCE, true)]);
}

#[test]
fn who_is_awake_must_answer_too() {
    let mut court = dead_court();
    look(&mut court);
    answer(&mut court, &[1, 2, 3, 4, 5, 6, 7], NONCE);
    assert_eq!(looked(&court), [], "the eighth may hear it");
    answer(&mut court, &[8], NONCE);
    assert_eq!(looked(&court), [(NONCE, true)]);
}

#[test]
fn reports_without_the_nonce_are_no_answer() {
    let mut court = dead_court();
    look(&mut court);
    answer(&mut court, &[1, 2, 3, 4], NONCE);
    answer(&mut court, &[5, 6], 0);
    answer(&mut court, &[7, 8], NONCE + 1);
    assert_eq!(looked(&court), []);
    court.run_to(court.now + 400);
    assert_eq!(looked(&court), [(NONCE, false)], "it times out");
}

#[test]
fn answers_of_those_who_are_not_able_do_not_count() {
    let mut court = dead_court();
    look(&mut court);
    answer(&mut court, &[1, 2, 3, 4], NONCE);
    for observer in [5, 6, 7, 8] {
        let mut report = court.report(0, 2_050, court.now - 600, court.now - 6);
        report.nonce = NONCE;
        report.ability = Ability::LateTick;
        court.say(observer, Message::Report(report));
    }
    court.run_to(court.now + 400);
    assert_eq!(looked(&court), [(NONCE, false)]);
}

#[test]
fn one_echo_ends_it_at_once() {
    let mut court = dead_court();
    look(&mut court);
    answer(&mut court, &[1, 2, 3, 4], NONCE);
    let hears = court.report(0, court.now - 1, 1, 0);
    court.say(8, Message::Report(hears));
    assert_eq!(looked(&court), [(NONCE, false)]);
    assert_ne!(court.verdict(0), Verdict::Dead);
}

#[test]
fn a_silence_that_is_too_short_is_no_answer() {
    let mut court = dead_court();
    look(&mut court);
    court.run_to(court.now + 15);
    for observer in 1..9 {
        let mut report = court.report(0, 2_050, court.now - 106, court.now - 6);
        report.nonce = NONCE;
        court.say(observer, Message::Report(report));
    }
    court.run_to(court.now + 400);
    assert_eq!(looked(&court), [(NONCE, false)]);
}

#[test]
fn who_does_not_answer_is_asked_again() {
    let mut court = dead_court();
    look(&mut court);
    answer(&mut court, &[1, 2, 3], NONCE);
    court.looks.clear();
    court.run_to(court.now + 70);
    let asked: Vec<_> = court.looks.iter().map(|(to, _)| to.0 as usize - 1).collect();
    let others = [4, 5, 6, 7, 8];
    assert_eq!(asked, [others, others].concat());
}

#[test]
fn another_boot_or_another_look_is_answered_at_once() {
    let mut court = dead_court();
    court.ask(Ask::Look {
        subject: member(0),
        boot: boot(500),
        nonce: 1,
    });
    assert_eq!(looked(&court), [(1, false)]);
    look(&mut court);
    court.ask(Ask::Look {
        subject: member(0),
        boot: boot(0),
        nonce: 2,
    });
    assert_eq!(looked(&court), [(1, false), (NONCE, false)]);
    answer(&mut court, &[1, 2, 3, 4, 5, 6, 7, 8], 2);
    assert_eq!(looked(&court).last(), Some(&(2, true)));
}

#[test]
fn a_look_at_the_living_confirms_nothing() {
    let mut court = Court::new(9);
    look(&mut court);
    answer(&mut court, &[1, 2, 3, 4, 5, 6, 7, 8], NONCE);
    court.run_to(court.now + 400);
    assert_eq!(
        looked(&court),
        [(NONCE, false)],
        "silent by old losses, but never judged"
    );
}

#[test]
fn a_look_confirms_no_verdict_that_does_not_stand() {
    let mut court = dead_court();
    court.ask(Ask::SaysAlive {
        subject: member(0),
        boot: boot(0),
    });
    look(&mut court);
    answer(&mut court, &[1, 2, 3, 4, 5, 6, 7, 8], NONCE);
    assert_eq!(looked(&court), [(NONCE, false)]);
}
