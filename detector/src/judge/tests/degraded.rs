//! `Degraded`, and which part of the host it is about.

use detector_common::packet::health;

use super::{Court, OTHERS, boot, member, ms};
use crate::judgement::{Cause, Verdict};
use crate::message::{Greeting, Message, Sighting};

fn kubelet_is_down() -> Message {
    Message::Greeting(Greeting {
        health: health::KUBELET_DOWN,
        ..Court::greeting(0)
    })
}

#[test]
fn a_kubelet_that_is_down_degrades() {
    let mut court = Court::new(9);
    court.seen.remove(&0);
    court.awake.remove(&0);
    court.say(0, kubelet_is_down());
    assert_eq!(court.verdict(0), Verdict::Degraded);
    court.run_to(2_100);
    court.say(0, Message::Greeting(Court::greeting(0)));
    assert_eq!(court.verdict(0), Verdict::Alive);
    assert_eq!(court.causes(0), [vec![Cause::Kubelet], vec![]]);
}

#[test]
fn a_key_file_that_is_gone_degrades_and_so_do_both() {
    let mut court = Court::new(9);
    court.seen.remove(&0);
    court.awake.remove(&0);
    let (key, both) = (vec![Cause::Key], vec![Cause::Kubelet, Cause::Key]);
    for (health, verdict, causes) in [
        (health::KEY_LOST, Verdict::Degraded, key),
        (health::KEY_LOST | health::KUBELET_DOWN, Verdict::Degraded, both),
        (0, Verdict::Alive, vec![]),
    ] {
        let greeting = Greeting {
            health,
            ..Court::greeting(0)
        };
        court.say(0, Message::Greeting(greeting));
        court.run_to(court.now + 100);
        assert_eq!(court.verdict(0), verdict);
        assert_eq!(court.causes(0).last(), Some(&causes));
    }
}

/// Where an agent can seal nothing, its echoes alone say so; one observer, or one fewer than a quorum, says nothing.
#[test]
fn a_key_file_that_is_gone_is_told_by_the_echoes_of_a_quorum() {
    let mut court = Court::new(9);
    court.awake.remove(&0);
    // All observers have had an echo since it greeted last: that nothing is wrong.
    court.run_to(3_100);
    for observer in 1..6 {
        assert_eq!(court.verdict(0), Verdict::Alive, "before {observer} speaks");
        let mut sightings = court.sightings(observer);
        let mut about = sightings.iter_mut();
        let about = about.find(|sighting| sighting.subject == member(0)).unwrap();
        about.health = health::KEY_LOST;
        court.say(observer, Message::Heard(sightings));
    }
    assert_eq!(court.verdict(0), Verdict::Degraded);
    assert_eq!(court.causes(0), [vec![Cause::Key]]);
}

#[test]
fn an_old_word_on_a_kubelet_is_none() {
    let mut court = Court::new(9);
    // Both ways to this steward are broken: the agent's, and its observers'.
    court.seen.remove(&0);
    court.awake.remove(&0);
    court.say(0, kubelet_is_down());
    court.run_to(5_000);
    assert_eq!(court.causes(0), [vec![Cause::Kubelet]]);
    court.run_to(6_100);
    assert_eq!(court.verdict(0), Verdict::Degraded, "nothing else is known");
    assert_eq!(court.causes(0), [vec![Cause::Kubelet], vec![]]);
    court.say(0, kubelet_is_down());
    assert_eq!(court.causes(0).last(), Some(&vec![Cause::Kubelet]));
}

#[test]
fn an_agent_that_is_down_itself_says_nothing_of_its_kubelet() {
    let mut court = Court::new(9);
    court.awake.remove(&0);
    court.say(0, kubelet_is_down());
    court.seen.remove(&0);
    for second in 1..=6 {
        // The kernel goes on saying what the agent said last.
        let echoed = Sighting {
            subject: member(0),
            boot: boot(0),
            echo: ms(10),
            agent: ms(second * 1_000),
            health: health::KUBELET_DOWN,
        };
        for observer in OTHERS {
            court.say(observer, Message::Heard(vec![echoed]));
        }
        court.run_to(2_050 + second * 1_000);
    }
    assert_eq!(court.causes(0), [vec![Cause::Kubelet], vec![Cause::Agent]]);
}

#[test]
fn an_agent_whose_stamp_is_stale_degrades() {
    let mut court = Court::new(9);
    court.awake.remove(&0);
    court.run_to(5_900);
    assert_eq!(
        court.verdict(0),
        Verdict::Alive,
        "its way to this steward is broken, its stamp is fresh"
    );
    for observer in OTHERS {
        let mut sightings = court.sightings(observer);
        sightings[0].agent = ms(3_900);
        court.say(observer, Message::Heard(sightings));
    }
    court.seen.remove(&0);
    court.run_to(7_000);
    assert_eq!(court.verdict(0), Verdict::Degraded);
    assert_eq!(court.causes(0), [vec![Cause::Agent]]);
}
