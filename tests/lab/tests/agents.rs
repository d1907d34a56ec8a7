//! How a lab runs agents and stewards: where, as whom, again when they end, and otherwise when told to. What runs is a
//! stand-in that only says how it was called.
#![expect(clippy::disallowed_methods, reason = "a lab is IO: clocks and waits")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use detector_lab::lab::{Lab, Launcher};
use detector_lab::options::{DetectorOptions, Options};
use detector_lab::progress::Progress;

const STAND_IN: &str = "#!/bin/sh\necho called: \"$@\"\nwhile :; do sleep 0.1; done\n";

/// Every line in which the stand-in said how it was called.
fn calls(lab: &Lab, log: &str) -> Vec<String> {
    let text = fs::read_to_string(lab.layout().log(log)).unwrap_or_default();
    text.lines()
        .filter_map(|line| line.strip_prefix("called: "))
        .map(str::to_owned)
        .collect()
}

/// Waits until the stand-in was called that often.
fn await_calls(lab: &Lab, log: &str, count: usize) -> Result<Vec<String>> {
    let deadline = Instant::now() + Duration::from_secs(10);
    loop {
        let calls = calls(lab, log);
        if calls.len() >= count {
            return Ok(calls);
        }
        ensure!(
            Instant::now() < deadline,
            "{log}: {} calls, not {count}, after 10 s",
            calls.len()
        );
        std::thread::sleep(Duration::from_millis(20));
    }
}

#[test]
fn agents_run_as_told_and_again_when_they_end() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let binary = folder.path().join("stand-in");
    fs::write(&binary, STAND_IN)?;
    fs::set_permissions(&binary, fs::Permissions::from_mode(0o755))?;
    let mut detector = DetectorOptions {
        binary,
        agent_args: vec!["--log=debug".to_owned()],
        steward_args: vec!["--mode=observe".to_owned()],
    };
    let options = Options {
        real: 1,
        detector: Some(detector.clone()),
        ..Options::new(&format!("agents-{}", std::process::id()))
    };
    let lab = Lab::up(
        &options,
        &Launcher::program(env!("CARGO_BIN_EXE_lab")),
        &mut Progress::terminal(),
    )?;

    // One node is too few for three stewards: they have hosts of their own.
    let agent = await_calls(&lab, "node-1/agent", 1)?;
    let named = |calls: &[String], words: &[&str]| {
        calls.iter().all(|call| {
            words
                .iter()
                .all(|word| call.split(' ').any(|found| found.starts_with(word)))
        })
    };
    ensure!(
        named(
            &agent,
            &["agent", "--node-name=node-1", "--kubeconfig=/", "--log=debug"]
        ),
        "{agent:?}"
    );
    for number in 1..=3 {
        let steward = await_calls(&lab, &format!("steward-{number}/steward"), 1)?;
        let address = format!("--address=10.99.0.1{number}");
        ensure!(
            named(&steward, &["steward", "--mode=observe", &address]),
            "{steward:?}"
        );
    }

    // The agent's kubeconfig speaks as its account and, by its token, for its node.
    let kubeconfig = lab.layout().kubeconfig("agent-node-1").display().to_string();
    let who = lab.kubectl(&["--kubeconfig", &kubeconfig, "auth", "whoami", "-o", "json"])?;
    ensure!(
        who.contains("system:serviceaccount:node-failure-detector:agent"),
        "{who}"
    );
    ensure!(
        who.contains("authentication.kubernetes.io/node-name") && who.contains("\"node-1\""),
        "{who}"
    );

    ensure!(lab.kill_agent("node-1")? == 1, "one agent");
    let again = await_calls(&lab, "node-1/agent", 2)?;
    ensure!(again.first() == again.get(1), "started differently: {again:?}");

    // Other arguments for the stewards: they start again, the agent does not.
    detector.steward_args = vec!["--mode=enforce".to_owned()];
    lab.reconfigure(&detector)?;
    for number in 1..=3 {
        let steward = await_calls(&lab, &format!("steward-{number}/steward"), 2)?;
        ensure!(
            steward.get(1).is_some_and(|call| call.contains("--mode=enforce")),
            "{steward:?}"
        );
    }
    ensure!(
        calls(&lab, "node-1/agent").len() == 2,
        "the agent was started again as well"
    );

    // A host that boots anew has its agent again, from the same disk.
    let disk = lab.layout().disk("node-1").join("lib/kept");
    fs::write(&disk, "a")?;
    lab.cut("node-1")?;
    lab.heal("node-1")?;
    await_calls(&lab, "node-1/agent", 3)?;
    ensure!(disk.exists(), "the disk did not survive the power cut");
    lab.down()
}
