use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;

use super::{Malformed, NEVER, Slot};
use crate::identity::{BootId, IncidentId, MemberId};
use crate::message::{
    Ability, Farewell, Goodbye, Greeting, Hint, Look, MAX_LOSSES, MAX_SIGHTINGS, Message, Report, Sighting,
};

fn age() -> impl Strategy<Value = Duration> {
    (0..NEVER).prop_map(Duration::from_nanos)
}

fn member() -> impl Strategy<Value = MemberId> {
    (1..=u64::MAX).prop_map(MemberId)
}

fn report() -> impl Strategy<Value = Message> {
    let ability = prop_oneof![
        Just(Ability::Able),
        Just(Ability::LateTick),
        Just(Ability::LinkDown),
        Just(Ability::NeverHeard),
        Just(Ability::MostSilent),
        Just(Ability::NotObserver)
    ];
    let ages = (
        proptest::option::of(age()),
        proptest::option::of(age()),
        vec(age(), 0..=MAX_LOSSES),
    );
    (member(), any::<[u64; 4]>(), ability, ages, 0.0..=1.0).prop_map(
        |(subject, [boot, incident, config, nonce], ability, (echo, sign, losses), loss)| {
            Message::Report(Report {
                subject,
                boot: BootId(boot),
                incident: IncidentId(incident),
                config,
                nonce,
                ability,
                echo,
                sign,
                loss,
                losses,
            })
        },
    )
}

fn sighting() -> impl Strategy<Value = Sighting> {
    (member(), any::<u64>(), age(), age(), any::<u32>()).prop_map(|(subject, boot, echo, agent, health)| {
        Sighting {
            subject,
            boot: BootId(boot),
            echo,
            agent,
            health,
        }
    })
}

fn message() -> impl Strategy<Value = Message> {
    let farewell = prop_oneof![
        Just(Farewell::PowerOff),
        Just(Farewell::Reboot),
        Just(Farewell::Left),
        any::<u64>().prop_map(|ttl| Farewell::Restart {
            ttl: Duration::from_nanos(ttl)
        })
    ];
    prop_oneof![
        any::<([u64; 3], u32)>().prop_map(|([boot, config, roster], health)| {
            Message::Greeting(Greeting {
                boot: BootId(boot),
                config,
                roster,
                health,
            })
        }),
        (member(), any::<[u64; 2]>()).prop_map(|(subject, [boot, incident])| {
            Message::Hint(Hint {
                subject,
                boot: BootId(boot),
                incident: IncidentId(incident),
            })
        }),
        report(),
        vec(sighting(), 0..=MAX_SIGHTINGS).prop_map(Message::Heard),
        any::<u64>().prop_map(Message::Ping),
        any::<u64>().prop_map(Message::Pong),
        (member(), any::<u64>(), 1..=u64::MAX).prop_map(|(subject, boot, nonce)| {
            Message::Look(Look {
                subject,
                boot: BootId(boot),
                nonce,
            })
        }),
        (any::<u64>(), farewell).prop_map(|(boot, farewell)| {
            Message::Goodbye(Goodbye {
                boot: BootId(boot),
                farewell,
            })
        }),
    ]
}

fn bytes(message: &Message) -> Vec<u8> {
    let mut bytes = Vec::new();
    message.encode(&mut bytes);
    bytes
}

proptest! {
    #[test]
    fn what_is_written_is_read(message in message()) {
        prop_assert_eq!(Message::decode(&bytes(&message)), Ok(message));
    }

    #[test]
    fn every_truncation_is_refused(message in message()) {
        let bytes = bytes(&message);
        for end in 0..bytes.len() {
            prop_assert!(Message::decode(bytes.get(..end).unwrap_or_default()).is_err());
        }
    }

    #[test]
    fn nothing_may_follow(message in message(), byte: u8) {
        let mut bytes = bytes(&message);
        bytes.push(byte);
        prop_assert_eq!(Message::decode(&bytes), Err(Malformed::Trailing));
    }

    /// Garbage is refused or is a message whose only bytes are these: there are no two spellings of one message.
    #[test]
    fn garbage_never_panics(kind in 0_u8..10, rest in vec(any::<u8>(), 0..700)) {
        let mut garbage = vec![kind];
        garbage.extend(rest);
        if let Ok(message) = Message::decode(&garbage) {
            prop_assert_eq!(bytes(&message), garbage);
        }
    }

    #[test]
    fn a_flipped_bit_never_panics(message in message(), bit in 0_usize..8_000) {
        let mut bytes = bytes(&message);
        let at = bit / 8 % bytes.len();
        if let Some(byte) = bytes.get_mut(at) {
            *byte ^= 1 << (bit % 8);
        }
        if let Ok(read) = Message::decode(&bytes) {
            prop_assert_ne!(read, message);
        }
    }
}

fn longest() -> Report {
    Report {
        subject: MemberId(1),
        boot: BootId(2),
        incident: IncidentId(3),
        config: 4,
        nonce: 5,
        ability: Ability::Able,
        echo: None,
        sign: None,
        loss: 0.5,
        losses: vec![Duration::from_millis(1); MAX_LOSSES],
    }
}

#[test]
fn out_of_range_is_refused() {
    for loss in [f64::NAN, f64::INFINITY, -0.1, 1.1] {
        let report = Report { loss, ..longest() };
        assert_eq!(
            Message::decode(&bytes(&Message::Report(report))),
            Err(Malformed::Value)
        );
    }
    let nobody = Report {
        subject: MemberId(0),
        ..longest()
    };
    assert_eq!(
        Message::decode(&bytes(&Message::Report(nobody))),
        Err(Malformed::Value)
    );
    assert_eq!(Message::decode(&[9]), Err(Malformed::Type));
    assert_eq!(Message::decode(&[]), Err(Malformed::Truncated));
}

#[test]
fn more_losses_than_fit_are_cut_not_sent() {
    let mut report = longest();
    report.losses.push(Duration::from_millis(2));
    assert_eq!(
        Message::decode(&bytes(&Message::Report(report))),
        Ok(Message::Report(longest()))
    );
}

#[test]
fn an_answer_to_a_look_is_not_replaced_by_the_next_report() {
    let slot = |nonce| Message::Report(Report { nonce, ..longest() }).slot();
    assert_eq!(slot(0), slot(0));
    assert_ne!(slot(5), slot(0));
    assert_eq!(
        slot(5),
        Slot {
            kind: super::REPORT,
            subject: MemberId(1),
            nonce: 5
        }
    );
}
