//! Whose echo came, or whose probe never left, is no loss.

use detector_common::state::{ARRIVALS, Arrival};

use crate::time::nanos;

use super::world::{World, id, ms};

#[test]
fn an_echo_that_came_before_a_late_tick_is_no_loss() {
    // A tick after the timeout, though the kernel has had the echo in time: the agent waited for a CPU.
    let mut world = World::settled(3);
    for _ in 0..20 {
        world.until_probe(0, 1);
        world.nodes[0].frozen_until = world.now + nanos(ms(18));
        world.run(ms(100));
    }
    assert_eq!(
        world.nodes[0].observer.counters().late_ticks,
        0,
        "the test wants ticks below that limit"
    );
    assert!(world.nodes[0].reports.is_empty(), "{:?}", world.nodes[0].reports);
}

#[test]
fn an_echo_after_its_timeout_but_before_the_tick_is_no_loss() {
    let mut world = World::settled(3);
    world.until_probe(0, 1);
    // The echo comes 12 ms after the probe, the tick 15 ms after it.
    world.delay = ms(12);
    world.nodes[0].frozen_until = world.now + nanos(ms(15));
    world.run(ms(16));
    let now = world.clock(0);
    let status = &world.nodes[0].observer.status(now)[0];
    assert!(status.echo_ms < Some(20.0), "the tick has seen the echo");
    assert_eq!(status.losses + status.unproven, 0);
}

#[test]
fn an_echo_that_comes_after_all_takes_its_loss_back() {
    let mut world = World::settled(3);
    world.until_probe(0, 1);
    let sent = world.clock(0);
    world.delay = ms(18);
    world.run(ms(17));
    let now = world.clock(0);
    let status = &world.nodes[0].observer.status(now)[0];
    assert_eq!(status.losses + status.unproven, 3, "lost at their timeouts");
    world.run(ms(8));
    let now = world.clock(0);
    let status = &world.nodes[0].observer.status(now)[0];
    let echoed = now.before(std::time::Duration::from_secs_f64(status.echo_ms.unwrap() / 1e3));
    assert!(
        echoed.0.abs_diff(sent.0) < 1_000 || echoed > sent,
        "{echoed:?} {sent:?}"
    );
    let report = world.last_report(0, 1).unwrap();
    assert!(report.losses.iter().all(|age| now - sent > *age), "taken back");
}

#[test]
fn a_probe_that_could_not_be_sent_is_no_loss() {
    let mut world = World::settled(3);
    world.unsendable.insert(0);
    world.run(ms(2_000));
    assert!(world.nodes[0].observer.counters().unsent > 40);
    assert!(world.nodes[0].reports.is_empty(), "{:?}", world.nodes[0].reports);
}

#[test]
fn an_old_echo_that_took_the_place_of_a_young_one_makes_no_loss_of_it() {
    // Recorded and replayed, or very late: the young one's own arrival may have been noted before it.
    let mut world = World::settled(3);
    let sequence = world.nodes[2].kernel.states[&id(0).0].heard_sequence.get() + 1;
    world.kill(2);
    world.until_probe(0, 2);
    let at = world.clock(0).0 + 1_000;
    let state = &world.nodes[0].kernel.states[&id(2).0];
    state.arrivals[Arrival::slot(sequence)].set(Arrival::pack(sequence - ARRIVALS as u64, at).0);
    state.echoed_at.set(at);
    world.run(ms(15));
    let now = world.clock(0);
    let status = &world.nodes[0].observer.status(now)[1];
    assert_eq!(status.losses + status.unproven, 0);
}
