//! The law, against an oracle that sees what was sent, what was lost, and what the steward can know of it.

mod world;

use proptest::prelude::{ProptestConfig, proptest};
use proptest::test_runner::TestCaseError;

use super::{boot, member};
use crate::message::{Greeting, Message};
use crate::offset::PeerTime;
use crate::profile::Profile;
use crate::time::Instant;
use world::{BEGIN, MS, Probe, ROUND_TRIP, US, Weather, World};

const WINDOW: u64 = 120 * MS;
/// Drift of two clocks in 120 ms, and rounding.
const TOLERANCE: u64 = 500 * US;

impl World {
    /// Is there a window between two echoes (or an echo and now) of all observers, as long as W, that is not over for
    /// long? By the steward's clock, that is: while it stands still nothing can be asked of it. Strictly all probes
    /// count, otherwise those whose fate the steward was told.
    fn law(&self, now: u64) -> Result<(), u64> {
        let mut echoes: Vec<u64> = Vec::new();
        for observer in &self.observers {
            let told_until = observer.arrived.iter().copied().max().unwrap_or(0);
            let known = |probe: &&Probe| {
                probe.sent + ROUND_TRIP
                    <= if self.strict {
                        now.saturating_sub(40 * MS)
                    } else {
                        told_until
                    }
            };
            let echoed = observer.probes.iter().filter(|probe| probe.echoed).filter(known);
            echoes.extend(echoed.map(|probe| probe.sent));
        }
        echoes.sort_unstable();
        echoes.push(now);
        let recent = |end: u64| self.steward.read(end) + 150 * MS >= self.steward.read(now);
        let gaps = echoes.windows(2).filter(|pair| recent(pair[1]));
        let longest = gaps.map(|pair| pair[1] - pair[0]).max().unwrap_or(0);
        if longest + TOLERANCE >= WINDOW {
            Ok(())
        } else {
            Err(longest / US)
        }
    }
}

/// Anything may wait for up to 0.3 s, for good or now and then; half of all may be lost; clocks stop.
const STORMY: Weather = Weather {
    queue: 300_000,
    jitter: 300_000,
    reports_lost: 50,
    pauses: true,
};

/// A network as it should be, but for a fifth of the reports.
const FAIR: Weather = Weather {
    queue: 500,
    jitter: 3_000,
    reports_lost: 20,
    pauses: false,
};

fn judged(seed: u64, weather: Weather, strict: bool) -> Result<u64, TestCaseError> {
    let mut world = World::new(seed, weather, strict);
    world.judge.handle_message(
        member(0),
        5,
        PeerTime(BEGIN),
        &Message::Greeting(Greeting {
            boot: boot(0),
            config: Profile::LAN.config_hash(),
            roster: 0,
            health: 0,
        }),
        Instant(world.steward.read(BEGIN)),
    );
    world.run(BEGIN + 4_000 * MS)?;
    Ok(world.deads)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn dead_means_a_window_of_losses_whatever_the_network_does(seed: u64) {
        judged(seed, STORMY, false)?;
    }

    #[test]
    fn dead_means_that_all_probes_of_a_window_were_lost(seed: u64) {
        judged(seed, FAIR, true)?;
    }
}

#[test]
fn the_law_is_tested_on_many_verdicts() {
    let count = |weather, strict| {
        (0..100)
            .map(|seed| judged(seed, weather, strict).unwrap())
            .sum::<u64>()
    };
    let (stormy, fair) = (count(STORMY, false), count(FAIR, true));
    eprintln!("verdicts in 100 runs: {stormy} in bad weather, {fair} in fair");
    assert!(stormy >= 10 && fair >= 50);
}
