//! The world by itself: kernels that echo while their userspace stands still, stops, starvation, determinism.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::time::Duration;

use detector::identity::{BootId, MemberId};
use detector::time::Instant;
use detector_common::packet::{Be64, Packet, kind};
use detector_common::state::PeerKey;
use detector_sim::clock::HostClock;
use detector_sim::host::{Host, address};
use detector_sim::kernel::Kernel;
use detector_sim::network::{Delay, End, Network};
use detector_sim::process::{Output, Process};
use detector_sim::world::{Lateness, World};

const MS: u64 = 1_000_000;
const KEY: PeerKey = PeerKey { k0: 1, k1: 2, id: 3 };

/// Asks every other host each 20 ms, and notes when its wakes came and how many echoes it found.
struct Asker {
    own: u32,
    hosts: u32,
    sequence: u64,
    next: Instant,
    pending: Vec<Output<Instant>>,
    ready: bool,
}

impl Asker {
    fn new(own: u32, hosts: u32, now: Instant) -> Self {
        Self {
            own,
            hosts,
            sequence: 0,
            next: now,
            pending: Vec::new(),
            ready: false,
        }
    }
}

impl Process for Asker {
    type Note = Instant;

    fn handle_datagram(&mut self, _: SocketAddr, _: &[u8], _: Instant) {}

    fn handle_timeout(&mut self, now: Instant, _: &Kernel) {
        self.sequence += 1;
        for subject in (0..self.hosts).filter(|host| *host != self.own) {
            let mut packet = Packet::new(kind::PROBE, 3);
            packet.observer = Be64::new(u64::from(self.own) + 1);
            packet.subject = Be64::new(u64::from(subject) + 1);
            packet.sequence = Be64::new(self.sequence);
            packet.observer_time = Be64::new(now.0);
            packet.seal(KEY.key());
            let to = address(End::agent(subject));
            self.pending.push(Output::Probe { to, packet });
        }
        self.pending.push(Output::Note(now));
        self.next = now + Duration::from_millis(20);
    }

    fn poll_output(&mut self, kernel: &mut Kernel) -> Option<Output<Instant>> {
        if !self.ready {
            self.ready = true;
            kernel.me.id.set(u64::from(self.own) + 1);
            let keys = (1..=u64::from(self.hosts)).map(|id| (id, KEY));
            kernel.set_peers(&keys.collect::<BTreeMap<_, _>>());
        }
        self.pending.pop()
    }

    fn poll_timeout(&self) -> Instant {
        self.next
    }
}

fn world(seed: u64, hosts: u32) -> World<Asker> {
    let all = (0..hosts)
        .map(|host| {
            let clock = HostClock::new(0, 1_000_000_000 * u64::from(host + 1), i64::from(host) - 1);
            let boot = BootId(u64::from(host) + 100);
            Host::new(MemberId(u64::from(host) + 1), format!("n{host}"), boot, clock)
        })
        .collect();
    let mut world = World::new(seed, all, Network::new(seed, hosts as usize, Delay::LAN));
    for host in 0..hosts {
        let now = world.clock(host);
        world.start(End::agent(host), Asker::new(host, hosts, now));
    }
    world
}

/// Runs until `until` and gives the wakes: world time, host, the host's own time.
fn run(world: &mut World<Asker>, until: u64) -> Vec<(u64, u32, Instant)> {
    std::iter::from_fn(|| {
        world
            .run(until)
            .map(|notice| (notice.at, notice.from.host, notice.note))
    })
    .collect()
}

fn echoed_at(world: &World<Asker>, observer: u32, subject: u32) -> u64 {
    let heard = world.host(observer).kernel.heard(u64::from(subject) + 1);
    heard.map_or(0, |state| state.echoed_at.get())
}

#[test]
fn the_same_seed_gives_the_same_run_and_another_does_not() {
    let trace = |seed| {
        let mut world = world(seed, 5);
        world.network.set_loss(0.1);
        world.set_lateness(
            2,
            Lateness {
                share: 0.2,
                most: 30 * MS,
            },
        );
        let wakes = run(&mut world, 2_000 * MS);
        let heard: Vec<u64> = (1..5).map(|subject| echoed_at(&world, 0, subject)).collect();
        (wakes, heard, world.network.traffic())
    };
    assert_eq!(trace(1), trace(1));
    assert_ne!(trace(1), trace(2));
}

#[test]
fn a_kernel_echoes_while_its_userspace_stands_still() {
    let mut world = world(3, 3);
    run(&mut world, 100 * MS);
    world.stall(End::agent(1), 500 * MS);
    let wakes = run(&mut world, 590 * MS);
    assert!(wakes.iter().all(|(_, host, _)| *host != 1));
    assert!(
        world.clock(0).0 - echoed_at(&world, 0, 1) < 25 * MS,
        "echoes went on"
    );
    assert!(
        world.clock(1).0 - echoed_at(&world, 1, 0) > 480 * MS,
        "it asked nobody"
    );
    assert!(
        run(&mut world, 610 * MS).iter().any(|(_, host, _)| *host == 1),
        "it goes on"
    );
}

#[test]
fn a_paused_host_misses_the_time_and_answers_afterwards() {
    let mut world = world(4, 3);
    run(&mut world, 100 * MS);
    let (before, other) = (world.clock(1), world.clock(0));
    world.pause(1, 300 * MS);
    run(&mut world, 399 * MS);
    assert_eq!(world.clock(1), before);
    assert!(world.clock(0).0 - echoed_at(&world, 0, 1) > 270 * MS, "no echo");
    run(&mut world, 500 * MS);
    let passed = |now: Instant, then: Instant| now.0 - then.0;
    let lag = passed(world.clock(0), other) - passed(world.clock(1), before);
    assert!((299 * MS..301 * MS).contains(&lag), "clock lags by {lag}");
    assert!(
        world.clock(0).0 - echoed_at(&world, 0, 1) < 25 * MS,
        "it answers again"
    );
}

#[test]
fn a_starved_receive_path_delays_arrivals_and_nothing_else() {
    let mut world = world(5, 3);
    run(&mut world, 100 * MS);
    world.starve(1, 200 * MS);
    let wakes = run(&mut world, 290 * MS);
    assert!(
        wakes.iter().filter(|(_, host, _)| *host == 1).count() >= 8,
        "it goes on asking"
    );
    assert!(world.clock(1).0 - echoed_at(&world, 1, 0) > 180 * MS);
    run(&mut world, 301 * MS);
    assert!(
        world.clock(1).0 - echoed_at(&world, 1, 0) < 5 * MS,
        "all came at once"
    );
}

#[test]
fn late_wakes_are_as_late_as_they_should_be() {
    let mut world = world(6, 2);
    world.set_lateness(
        1,
        Lateness {
            share: 0.5,
            most: 40 * MS,
        },
    );
    let wakes = run(&mut world, 20_000 * MS);
    let gaps = |host: u32| {
        let own: Vec<u64> = wakes
            .iter()
            .filter(|(_, from, _)| *from == host)
            .map(|(at, _, _)| *at)
            .collect();
        own.iter()
            .zip(own.iter().skip(1))
            .map(|(one, next)| next - one)
            .collect::<Vec<u64>>()
    };
    assert!(gaps(0).iter().all(|gap| (19 * MS..21 * MS).contains(gap)));
    let late = gaps(1).iter().filter(|gap| **gap > 21 * MS).count() as f64 / gaps(1).len() as f64;
    assert!((0.4..0.6).contains(&late), "late {late}");
    assert!(gaps(1).iter().all(|gap| *gap < 61 * MS));
}

#[test]
fn power_off_silences_and_a_new_boot_is_another_one() {
    let mut world = world(7, 2);
    run(&mut world, 100 * MS);
    world.crash(1);
    run(&mut world, 300 * MS);
    assert!(world.clock(0).0 - echoed_at(&world, 0, 1) > 180 * MS);
    world.boot(1, BootId(777));
    let now = world.clock(1);
    world.start(End::agent(1), Asker::new(1, 2, now));
    run(&mut world, 400 * MS);
    let heard = world.host(0).kernel.heard(2).expect("heard again");
    assert_eq!(heard.echoed_boot.get(), 777);
    assert!(world.clock(0).0 - heard.echoed_at.get() < 25 * MS);
}
