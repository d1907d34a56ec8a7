//! Each condition of `Dead` by itself. In all that is told here every observer has lost something of the present, W and
//! more after the last echo: nobody may still have heard the subject (the evidence is complete), and the whole time since
//! that echo is long enough. So nothing but the bars stands between these losses and a verdict: H observers of three
//! losses, W from the first to the last, and a weight of 35 — here as numbers of their own.

use proptest::collection::vec;
use proptest::prelude::{Just, ProptestConfig, Strategy, prop_assert_eq, prop_assume, proptest};

use super::{Court, OTHERS, ms};
use crate::message::{Message, Report};

const WINDOW: u64 = 120;
const QUORUM: usize = 5;
const LOSSES: usize = 3;
const WEIGHT: f64 = 35.0;

/// The last echo's age. Older than the oldest loss by W and more.
const ECHO: u64 = 320;

/// A link as good as is believed: a loss weighs 3.9.
const GOOD: f64 = 0.02;

/// What one observer tells: ages of its losses in ms, and its link's estimate.
type Told = (Vec<u64>, f64);

/// Whether the judge makes `Dead` of it.
fn dies(told: &[Told]) -> bool {
    let mut court = Court::new(9);
    let echo = court.now;
    court.run_to(echo + ECHO);
    for (observer, (ages, loss)) in OTHERS.into_iter().zip(told) {
        let report = Report {
            loss: *loss,
            losses: ages.iter().map(|age| ms(*age)).collect(),
            ..court.report(0, echo, echo + ECHO, echo)
        };
        court.say(observer, Message::Report(report));
    }
    court.died(0)
}

fn span(told: &[Told]) -> u64 {
    let ages = || told.iter().flat_map(|(ages, _)| ages.iter().copied());
    ages().max().unwrap() - ages().min().unwrap()
}

fn weight(told: &[Told]) -> f64 {
    told.iter()
        .map(|(ages, loss)| ages.len() as f64 * (1.0 / loss).ln())
        .sum()
}

fn silent(told: &[Told]) -> usize {
    told.iter().filter(|(ages, _)| ages.len() >= LOSSES).count()
}

/// `count` losses, none older than `oldest`; the first observer has one of that age and one of now.
fn told(
    count: impl Strategy<Value = usize> + Clone,
    oldest: impl Strategy<Value = u64>,
    loss: impl Strategy<Value = f64>,
) -> impl Strategy<Value = Vec<Told>> {
    (vec((count, loss), 8), oldest).prop_map(|(observers, oldest)| {
        let ages = |place: usize, count: usize| {
            let mut ages: Vec<u64> = (0..count as u64)
                .map(|n| 5 + (n * 37 + place as u64 * 11) % (oldest - 5))
                .collect();
            if place == 0 {
                ages[0] = oldest;
                ages[1] = 5;
            }
            ages
        };
        let told = observers.into_iter().enumerate();
        told.map(|(place, (count, loss))| (ages(place, count), loss))
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn losses_of_less_than_a_window_are_not_death(told in told(3_usize..9, 20_u64..196, Just(GOOD))) {
        // Clocks may have drifted since the last round trip: by no more than 2 ms, and never in favour of death.
        prop_assume!(!(WINDOW..=WINDOW + 2).contains(&span(&told)));
        assert!(silent(&told) >= QUORUM && weight(&told) >= WEIGHT);
        prop_assert_eq!(dies(&told), span(&told) > WINDOW, "{} ms", span(&told));
    }

    #[test]
    fn losses_that_weigh_too_little_are_not_death(told in told(3_usize..6, 140_u64..196, 0.1..0.95)) {
        prop_assume!((weight(&told) - WEIGHT).abs() > 0.001);
        assert!(silent(&told) >= QUORUM && span(&told) > WINDOW);
        prop_assert_eq!(dies(&told), weight(&told) > WEIGHT, "{}", weight(&told));
    }

    #[test]
    fn losses_of_too_few_are_not_death(told in told(2_usize..5, 140_u64..196, Just(GOOD))) {
        assert!(weight(&told) >= WEIGHT && span(&told) > WINDOW);
        prop_assert_eq!(dies(&told), silent(&told) >= QUORUM, "{}", silent(&told));
    }
}

/// On both sides of each bar, and near it: else the tests above decide nothing.
#[test]
fn just_below_each_bar_and_just_above() {
    let all = |ages: &[u64], loss: f64| vec![(ages.to_vec(), loss); 8];
    assert!(!dies(&all(&[124, 60, 5], GOOD)));
    assert!(dies(&all(&[126, 60, 5], GOOD)));
    // 24 losses that weigh 1.45 and 1.47 each.
    assert!(!dies(&all(&[150, 60, 5], 0.234)));
    assert!(dies(&all(&[150, 60, 5], 0.230)));
    let with_three = |silent: usize| {
        let mut told = all(&[150, 5], GOOD);
        for (ages, _) in &mut told[..silent] {
            ages.push(60);
        }
        told
    };
    assert!(!dies(&with_three(4)));
    assert!(dies(&with_three(5)));
}
