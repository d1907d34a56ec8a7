//! What holds a verdict back.

use super::{Court, boot, member};
use crate::judgement::{Ask, Hold, Judgement, Verdict};
use crate::message::Message;

fn holds(court: &Court) -> Vec<(Option<crate::identity::MemberId>, Option<Hold>)> {
    let held = |(_, judgement): &(u64, Judgement)| match judgement {
        Judgement::Held { subject, hold, .. } => Some((*subject, *hold)),
        _ => None,
    };
    court.judgements.iter().filter_map(held).collect()
}

/// They lose their power at once.
fn strike(court: &mut Court, dead: &[usize]) {
    for number in dead {
        court.awake.remove(number);
        court.seen.remove(number);
    }
}

/// Until `until` everybody else reports all of these, each group with its last echo.
fn report_until(court: &mut Court, dead: &[(&[usize], u64)], until: u64) {
    while court.now < until {
        court.run_to(court.now + 10);
        for (group, echo) in dead {
            report_all(court, group, *echo);
        }
    }
}

fn crash_all(court: &mut Court, dead: &[usize], until: u64) {
    let echo = court.now;
    strike(court, dead);
    report_until(court, &[(dead, echo)], until);
}

fn report_all(court: &mut Court, dead: &[usize], echo: u64) {
    if court.now < echo + 30 {
        return;
    }
    for subject in dead {
        for observer in court.observers(*subject) {
            if court.awake.contains(&observer) {
                let silent = court.report(*subject, echo, echo + 12, court.now - 6);
                court.say(observer, Message::Report(silent));
            }
        }
    }
}

#[test]
fn three_of_nine_at_once_are_dead() {
    let mut court = Court::new(9);
    crash_all(&mut court, &[0, 1, 2], 2_500);
    assert!(
        (0..3).all(|number| court.died(number)),
        "each has six observers left"
    );
    assert_eq!(holds(&court), []);
}

#[test]
fn more_than_a_third_at_once_is_a_storm() {
    let mut court = Court::new(16);
    let dead: Vec<usize> = (0..6).collect();
    crash_all(&mut court, &dead, 2_600);
    assert!(dead.iter().all(|number| !court.died(*number)));
    assert_eq!(holds(&court), [(None, Some(Hold::Storm))]);
    // Five are heard again: nothing is latched.
    let echo = 2_050;
    for subject in 1..6 {
        court.awake.insert(subject);
        court.seen.insert(subject);
        court.say(subject, Message::Greeting(Court::greeting(subject)));
    }
    let until = court.now + 200;
    report_until(&mut court, &[(&[0], echo)], until);
    assert!(court.died(0));
    assert_eq!(holds(&court), [(None, Some(Hold::Storm)), (None, None)]);
}

#[test]
fn a_storm_takes_back_what_was_judged_before_it() {
    let mut court = Court::new(16);
    let echo = court.now;
    crash_all(&mut court, &[0], 2_300);
    assert_eq!(court.verdict(0), Verdict::Dead);
    let second = court.now;
    let more: Vec<usize> = (1..6).collect();
    strike(&mut court, &more);
    report_until(&mut court, &[(&more, second), (&[0], echo)], second + 300);
    assert_eq!(court.verdict(0), Verdict::Partial);
    assert!(more.iter().all(|number| !court.died(*number)));
}

/// Seven of thirty die, then six more; how many of the six were found dead.
fn seven_then_six(condemn: bool) -> usize {
    let mut court = Court::new(30);
    let seven: Vec<usize> = (0..7).collect();
    let (echo, until) = (court.now, court.now + 300);
    crash_all(&mut court, &seven, until);
    assert!(seven.iter().filter(|number| court.died(**number)).count() >= 5);
    if condemn {
        court.ask(Ask::Condemned(seven.iter().copied().map(member).collect()));
        assert_eq!((court.judge.guard.known, court.judge.guard.suspected), (23, 0));
    }
    let six: Vec<usize> = (7..13).collect();
    let more = court.now;
    strike(&mut court, &six);
    report_until(&mut court, &[(&seven, echo), (&six, more)], more + 300);
    six.iter().filter(|number| court.died(**number)).count()
}

#[test]
fn condemned_members_are_left_out_of_both_counts() {
    assert_eq!(seven_then_six(false), 0, "thirteen of thirty are a storm");
    assert!(seven_then_six(true) >= 3, "six of twenty-three are not");
}

#[test]
fn who_hears_less_than_half_judges_nothing() {
    let mut court = Court::new(20);
    // Its observers are heard, most others are not.
    let observers = court.observers(0);
    court.awake.retain(|number| observers.contains(number));
    court.run_to(4_500);
    court.crash(0, 5_000);
    assert!(!court.died(0));
    assert_eq!(holds(&court), [(None, Some(Hold::Minority))]);
    assert_eq!(court.verdict(0), Verdict::Partial);
}

#[test]
fn a_steward_listens_for_a_second_before_it_judges() {
    let mut court = Court::opened(9, crate::profile::Profile::LAN);
    court.judge.guard.listens_since = court.instant(court.now);
    let began = court.now;
    court.crash(0, began + 900);
    assert!(!court.died(0));
    court.silence(0, &court.observers(0), began + 1_300);
    assert!(court.died(0));
}

#[test]
fn two_members_cannot_condemn_each_other() {
    let mut court = Court::new(2);
    court.crash(0, 3_000);
    assert!(!court.died(0));
    assert_eq!(court.verdict(0), Verdict::Partial);
    assert!(holds(&court).contains(&(Some(member(0)), Some(Hold::TooFewObservers))));
    court.run_to(60_000);
    assert_eq!(court.verdict(0), Verdict::Partial, "as long as it is not heard");
    court.say(0, Message::Greeting(Court::greeting(0)));
    court.run_to(60_100);
    assert_eq!(court.verdict(0), Verdict::Alive);
    assert!(holds(&court).contains(&(Some(member(0)), None)));
}

#[test]
fn three_members_condemn_one() {
    let mut court = Court::new(3);
    court.crash(0, 2_400);
    assert!(court.died(0));
}

#[test]
fn one_member_alone_is_unknown() {
    let mut court = Court::new(1);
    court.run_to(10_000);
    assert_eq!(court.verdict(0), Verdict::Unknown);
}

#[test]
fn a_late_tick_drops_all_silence_of_before() {
    let mut court = Court::new(9);
    let began = court.now;
    court.silence(0, &[1, 2, 3, 4, 5, 6, 7, 8], began + 130);
    assert!(!court.died(0));
    // The steward stood still for 25 ms; the reports of just before are fresh by their age, and would suffice.
    let due = court.judge.poll_timeout().0 / super::MS - super::EPOCH / super::MS;
    court.now += 10;
    let reports: Vec<_> = (1..9)
        .map(|_| court.report(0, began, began + 12, court.now - 6))
        .collect();
    let sealed = court.now;
    court.now = due + 25;
    for (observer, report) in (1..9).zip(reports) {
        court.say_late(observer, sealed, Message::Report(report));
    }
    assert!(!court.died(0));
    assert_eq!(holds(&court), [(None, Some(Hold::LateTick))]);
    let until = court.now + 100;
    report_until(&mut court, &[(&[0], began)], until);
    assert!(court.died(0), "by fresh reports");
    assert_eq!(holds(&court), [(None, Some(Hold::LateTick)), (None, None)]);
    assert_eq!(court.judge.counters().late_ticks, 1);
}

#[test]
fn a_late_tick_does_not_blind_the_storm_guard() {
    let mut court = Court::new(16);
    let echo = court.now;
    let dead: Vec<usize> = (0..6).collect();
    crash_all(&mut court, &dead, echo + 130);
    court.now += 45;
    court.judge.handle_timeout(court.instant(court.now));
    court.drain();
    // All that is said of one comes before anything that is said of the others.
    for _ in 0..6 {
        court.run_to(court.now + 10);
        report_all(&mut court, &[0], echo);
    }
    let until = court.now + 10;
    crash_all(&mut court, &dead, until);
    assert!(
        dead.iter().all(|number| !court.died(*number)),
        "{:?}",
        holds(&court)
    );
}

#[test]
fn a_subject_that_says_that_it_lives_is_partial_for_a_while() {
    let mut court = Court::new(9);
    court.crash(0, 2_400);
    assert!(court.died(0));
    court.ask(Ask::SaysAlive {
        subject: member(0),
        boot: boot(500),
    });
    assert_eq!(court.verdict(0), Verdict::Dead, "another boot");
    court.ask(Ask::SaysAlive {
        subject: member(0),
        boot: boot(0),
    });
    assert_eq!(court.verdict(0), Verdict::Partial);
    let observers = court.observers(0);
    let echo = 2_050;
    let still_silent = |court: &mut Court, until: u64| {
        while court.now < until {
            court.run_to(court.now + 10);
            for observer in &observers {
                let from = echo.max(court.now - 600);
                let silent = court.report(0, echo, from + 12, court.now - 6);
                court.say(*observer, Message::Report(silent));
            }
        }
    };
    still_silent(&mut court, 7_300);
    assert_eq!(court.verdict(0), Verdict::Partial);
    still_silent(&mut court, 7_500);
    assert_eq!(court.verdict(0), Verdict::Dead, "5 s later it counts again");
}
