//! How many node-seconds one core simulates in a second: `cargo run -p detector-sim --bin throughput [NODES [SECONDS]]`.
//! Quiet nodes with the protocol's full traffic: probes, echoes, greetings, three stewards.

use std::io::Write;
use std::time::Instant;

use detector_sim::cluster::{Cluster, SECOND, Setup};

fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1).map(|text| text.parse::<u64>());
    let nodes = arguments.next().and_then(Result::ok).unwrap_or(1_000);
    let seconds = arguments.next().and_then(Result::ok).unwrap_or(20);
    let nodes = u32::try_from(nodes).unwrap_or(1_000);

    let began = clock();
    let mut cluster = Cluster::new(Setup::new(1, nodes));
    cluster.run(3 * SECOND);
    let started = clock();
    let traffic = cluster.world().network.traffic().sent;
    cluster.run((3 + seconds) * SECOND);
    let passed = (clock() - started).as_secs_f64();

    let node_seconds = f64::from(nodes) * seconds as f64;
    let packets = (cluster.world().network.traffic().sent - traffic) as f64;
    writeln!(
        std::io::stdout(),
        "{nodes} nodes, {seconds} s of virtual time in {passed:.2} s (start and first 3 s: {:.2} s): \
         {:.0} node-seconds a second, {:.1} packets a node-second, {:.0} packets a second",
        (started - began).as_secs_f64(),
        node_seconds / passed,
        packets / node_seconds,
        packets / passed,
    )
}

#[expect(
    clippy::disallowed_methods,
    reason = "measures the simulator, not the simulated"
)]
fn clock() -> Instant {
    Instant::now()
}
