//! What outlives the agent: program, link, maps and filters, through kills, other builds and cleanup.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use aya::maps::{Array, MapData, MapType, Stack};
use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::{SchedClassifier, TcAttachType};
use detector::datapath::{
    Config, Datapath, EchoChoice, EchoMode, cleanup, pin_host_key, pinned_host_key, pinned_keys,
};
use detector::keys::HostKey;
use detector::keys::record::KeyRecord;
use detector_common::packet::{Packet, SIZE, kind};
use detector_lab::echo::{Host, PORT, pair_key};
use detector_lab::mounts::{BPFFS, in_own_mounts};
use detector_lab::netns::Namespace;
use detector_lab::skip::skipped;
use zerocopy::{FromBytes as _, IntoBytes as _};

use crate::net::{ASKER, Net, SUBJECT, best, ensure_best, in_a_net, no_tcx, subject, v4};

/// Below the BPF file system.
const HOST_KEY: &str = "node-failure-detector/host-key";

/// Everything of ours that the kernel holds for the subject, by id.
fn held(net: &Net) -> Result<Vec<String>> {
    let mut held = Vec::new();
    let ours = Path::new(BPFFS).join("node-failure-detector");
    if ours.exists() {
        pins_below(&ours, &mut held)?;
    }
    if no_tcx().is_none() {
        let query = || SchedClassifier::query_tcx("eth0", TcAttachType::Ingress);
        let (_, programs) = net.subject.enter(query)??;
        held.extend(
            programs
                .iter()
                .map(|program| format!("at tcx: program {}", program.id())),
        );
    }
    let filters = net
        .subject
        .exec(&["tc", "filter", "show", "dev", "eth0", "ingress"])?;
    held.extend(filters.lines().map(|line| format!("filter: {}", line.trim())));
    Ok(held)
}

fn pins_below(directory: &Path, held: &mut Vec<String>) -> Result<()> {
    let mut entries: Vec<_> = std::fs::read_dir(directory)?.collect::<Result<_, _>>()?;
    entries.sort_by_key(std::fs::DirEntry::path);
    for entry in entries {
        let path = entry.path();
        let shown = path.display();
        let name = entry.file_name().into_string().unwrap_or_default();
        if path.is_dir() {
            pins_below(&path, held)?;
        } else if name.starts_with("echo-") {
            held.push(format!(
                "{shown}: program {}",
                SchedClassifier::from_pin(&path)?.info()?.id()
            ));
        } else if name.starts_with("link-") {
            let info = FdLink::from(PinnedLink::from_pin(&path)?).info()?;
            held.push(format!(
                "{shown}: link {} with program {}",
                info.id(),
                info.program_id()
            ));
        } else {
            held.push(format!("{shown}: map {}", MapData::from_pin(&path)?.info()?.id()));
        }
    }
    Ok(())
}

/// Whether a line of [`held`] tells of a hook.
fn hooks(held: &[String]) -> Vec<&String> {
    held.iter()
        .filter(|line| line.starts_with("at tcx") || line.contains(" handle 0x"))
        .collect()
}

/// Asks each 5 ms until told to stop; gives the number of questions and the sequences that got no echo within two
/// seconds after the last.
fn ask_all_the_time(net: &Net, stop: &AtomicBool) -> Result<(usize, Vec<u64>)> {
    let mut asker = net.asker(v4(3), v4(2))?;
    asker
        .socket()
        .set_read_timeout(Some(Duration::from_micros(500)))?;
    let mut open = BTreeSet::new();
    let mut asked = 0;
    let mut next = Instant::now();
    let mut end = None;
    let mut bytes = [0; SIZE];
    loop {
        let now = Instant::now();
        if end.is_none() && now >= next {
            let packet = asker.next_probe();
            asker.send(packet.as_bytes())?;
            open.insert(packet.sequence.get());
            asked += 1;
            next += Duration::from_millis(5);
        }
        if end.is_none() && stop.load(Ordering::Relaxed) {
            end = Some(now + Duration::from_secs(2));
        }
        if end.is_some_and(|end| open.is_empty() || now > end) {
            return Ok((asked, open.into_iter().collect()));
        }
        if asker.socket().recv_from(&mut bytes).is_ok()
            && let Ok(echo) = Packet::read_from_bytes(&bytes)
            && echo.kind() == kind::ECHO
        {
            open.remove(&echo.sequence.get());
        }
    }
}

#[test]
fn killed_twenty_times_nothing_changes_and_no_echo_is_missed() -> Result<()> {
    for way in ["tc", "clsact"] {
        in_a_net(|net| {
            let mut host = subject(way);
            let (first, _) = net.start(&host)?;
            net.asker(v4(3), v4(2))?.warm_up()?;
            let before = held(net)?;
            ensure!(hooks(&before).len() == 1, "{before:#?}");
            let stop = AtomicBool::new(false);
            std::thread::scope(|scope| {
                let asking = scope.spawn(|| ask_all_the_time(net, &stop));
                let killed = kill_and_start(net, &mut host, first);
                stop.store(true, Ordering::Relaxed);
                let asked = asking.join().map_err(|_| anyhow::anyhow!("the asker panicked"))?;
                let last = killed?;
                let (asked, missed) = asked?;
                ensure!(asked > 100, "only {asked} questions");
                ensure!(
                    missed.is_empty(),
                    "{} of {asked} questions got no echo: {missed:x?}",
                    missed.len()
                );
                ensure!(
                    held(net)? == before,
                    "before {before:#?}\nafter {:#?}",
                    held(net)?
                );
                drop(last);
                Ok(())
            })
        })
        .with_context(|| format!("echo by {way}"))?;
    }
    Ok(())
}

/// Twenty times: SIGKILL, and a new agent of the next incarnation; every other one is killed while it still starts, each
/// time at another moment.
fn kill_and_start(
    net: &Net,
    host: &mut Host,
    first: detector_lab::process::Running,
) -> Result<detector_lab::process::Running> {
    let mut running = first;
    for round in 0..20 {
        // Dropping it kills it.
        drop(running);
        host.incarnation += 1;
        running = if round % 2 == 0 {
            let starting = host.spawn(Path::new(env!("CARGO_BIN_EXE_echo_host")), &net.subject)?;
            std::thread::sleep(Duration::from_millis(3 * round));
            starting
        } else {
            net.start(host)?.0
        };
    }
    drop(running);
    Ok(net.start(host)?.0)
}

#[test]
fn echoes_go_on_without_an_agent_and_say_how_long_it_is_silent() -> Result<()> {
    for way in ["tc", "clsact"] {
        in_a_net(|net| {
            let (host, _) = net.start(&subject(way))?;
            let mut asker = net.asker(v4(3), v4(2))?;
            asker.warm_up()?;
            drop(host);
            let killed = Instant::now();
            for _ in 0..20 {
                let echo = asker.answered().context("no echo without an agent")?;
                ensure!(echo.health() == 0, "{echo:?}");
                std::thread::sleep(Duration::from_millis(20));
            }
            let least = killed.elapsed().as_millis();
            let silent = u128::from(asker.answered().context("no echo")?.agent_age_ms());
            // It stamps each 50 ms, where it gets a CPU.
            let most = killed.elapsed().as_millis() + 1_000;
            ensure!(
                (least..=most).contains(&silent),
                "{silent} ms, not {least} to {most}"
            );
            Ok(())
        })
        .with_context(|| format!("echo by {way}"))?;
    }
    Ok(())
}

#[test]
fn another_program_takes_over_the_link() -> Result<()> {
    if let Some(why) = no_tcx() {
        return skipped("pins::another_program_takes_over_the_link", "tcx", &why);
    }
    // Another port is another program: as with another build, its instructions or its constants differ.
    in_a_net(|net| {
        let host = subject("tc");
        drop(net.start(&host)?);
        net.asker(v4(3), v4(2))?.warm_up()?;
        let before = held(net)?;
        drop(net.start(&Host {
            port: PORT + 1,
            ..host.clone()
        })?);
        let between = held(net)?;
        ensure!(
            net.asker(v4(3), v4(2))?.ask()?.is_none(),
            "the old port is still answered"
        );
        drop(net.start(&host)?);
        net.asker(v4(3), v4(2))?
            .answered()
            .context("no echo on the first port again")?;
        let link = |held: &[String]| -> Result<String> {
            let line = held.iter().find(|line| line.contains(": link "));
            let line = line.context("no link is pinned")?;
            Ok(line.split(" with ").next().unwrap_or_default().to_owned())
        };
        ensure!(
            link(&before)? == link(&between)?,
            "another link: {before:#?} {between:#?}"
        );
        for (held, port) in [(&before, PORT), (&between, PORT + 1)] {
            let programs: Vec<_> = held.iter().filter(|line| line.contains("/echo-")).collect();
            ensure!(programs.len() == 1, "{held:#?}");
            ensure!(
                programs
                    .iter()
                    .all(|line| line.contains(&format!("/echo-{port}:"))),
                "{held:#?}"
            );
        }
        let maps = |held: &[String]| {
            held.iter()
                .filter(|line| line.contains(": map "))
                .cloned()
                .collect::<Vec<_>>()
        };
        ensure!(
            maps(&before) == maps(&between) && maps(&before).len() == 4,
            "{before:#?} {between:#?}"
        );
        Ok(())
    })
}

#[test]
fn going_over_to_the_other_hook_leaves_one_and_misses_nothing() -> Result<()> {
    if let Some(why) = no_tcx() {
        return skipped(
            "pins::going_over_to_the_other_hook_leaves_one_and_misses_nothing",
            "tcx",
            &why,
        );
    }
    in_a_net(|net| {
        // The kernel stops an interface's sending for a moment when this qdisc comes: not what is asked here.
        net.subject
            .exec(&["tc", "qdisc", "add", "dev", "eth0", "clsact"])?;
        drop(net.start(&subject("tc"))?);
        net.asker(v4(3), v4(2))?.warm_up()?;
        let stop = AtomicBool::new(false);
        std::thread::scope(|scope| {
            let asking = scope.spawn(|| ask_all_the_time(net, &stop));
            let gone_over = ["clsact", "tc", "clsact", "tc"].into_iter().try_for_each(|way| {
                drop(net.start(&subject(way))?);
                let wanted = if way == "tc" { "at tcx" } else { "filter" };
                // The kernel detaches a link in its own time.
                let deadline = Instant::now() + Duration::from_secs(5);
                loop {
                    let held = held(net)?;
                    let hook = hooks(&held);
                    if hook.len() == 1 && hook.iter().all(|line| line.starts_with(wanted)) {
                        break;
                    }
                    ensure!(Instant::now() < deadline, "{way}: {held:#?}");
                }
                Ok(())
            });
            stop.store(true, Ordering::Relaxed);
            let (asked, missed) = asking
                .join()
                .map_err(|_| anyhow::anyhow!("the asker panicked"))??;
            gone_over?;
            ensure!(
                missed.is_empty(),
                "{} of {asked} questions got no echo",
                missed.len()
            );
            Ok(())
        })
    })
}

#[test]
fn cleanup_leaves_nothing() -> Result<()> {
    let filters_of_tc = usize::from(best() == EchoMode::Clsact);
    for (way, filters) in [("tc", filters_of_tc), ("clsact", 1)] {
        in_a_net(|net| {
            ensure!(
                pinned_keys(Path::new(BPFFS)).is_empty(),
                "keys before there was an agent"
            );
            drop(net.start(&subject(way))?);
            let mut asker = net.asker(v4(3), v4(2))?;
            asker.warm_up()?;
            ensure!(
                pinned_keys(Path::new(BPFFS)) == [(ASKER, pair_key(SUBJECT, ASKER))].into(),
                "no keys are left by an agent that was killed"
            );
            let removed = net.subject.enter(|| cleanup(Path::new(BPFFS)))??;
            ensure!(
                (removed.links, removed.filters, removed.pins) == (1 - filters, filters, true),
                "{removed:?}"
            );
            // The kernel detaches a link after its last pin is gone, in its own time.
            let deadline = Instant::now() + Duration::from_secs(5);
            while !held(net)?.is_empty() {
                ensure!(Instant::now() < deadline, "{:#?}", held(net)?);
            }
            ensure!(asker.ask()?.is_none(), "an echo after cleanup");
            ensure!(pinned_keys(Path::new(BPFFS)).is_empty(), "keys after cleanup");
            let again = net.subject.enter(|| cleanup(Path::new(BPFFS)))??;
            ensure!(
                (again.links, again.filters, again.pins) == (0, 0, false),
                "{again:?}"
            );
            Ok(())
        })
        .with_context(|| format!("echo by {way}"))?;
    }
    Ok(())
}

#[test]
fn an_interface_that_was_given_the_same_index_is_attached_anew() -> Result<()> {
    if let Some(why) = no_tcx() {
        return skipped(
            "pins::an_interface_that_was_given_the_same_index_is_attached_anew",
            "tcx",
            &why,
        );
    }
    in_own_mounts(|| {
        for round in 0..3 {
            let net = Net::create()?;
            drop(net.start(&subject("tc"))?);
            net.asker(v4(3), v4(2))?
                .warm_up()
                .with_context(|| format!("round {round}"))?;
            let held = held(&net)?;
            let links = held.iter().filter(|line| line.contains(": link ")).count();
            ensure!(links == 1, "round {round}: {held:#?}");
        }
        Ok(())
    })
}

#[test]
fn a_program_without_keys_replaces_nobody() -> Result<()> {
    in_a_net(|net| {
        let host = subject("tc");
        drop(net.start(&host)?);
        let mut asker = net.asker(v4(3), v4(2))?;
        asker.warm_up()?;
        // As after an upgrade to another layout: the link is there, and the maps are empty.
        std::fs::remove_dir_all(Path::new(BPFFS).join("node-failure-detector/layout-1"))?;
        let config = Config {
            port: PORT,
            echo: EchoChoice::Tc,
            bpffs: BPFFS.into(),
            members: vec![v4(3)],
        };
        let mut datapath = net.subject.enter(|| Datapath::open(&config))?;
        asker
            .answered()
            .context("no echo while the new agent knows nobody")?;
        net.subject.enter(|| datapath.set_me(host.id, 0xb008, 2))??;
        asker
            .answered()
            .context("no echo while the new agent knows only itself")?;
        net.subject
            .enter(|| datapath.set_peers(&[(ASKER, pair_key(SUBJECT, ASKER))].into()))??;
        ensure_best(datapath.mode())?;
        let echo = asker.answered().context("no echo of the new program")?;
        ensure!(
            echo.boot.get() == 0xb008,
            "the old program still answers: {echo:?}"
        );
        let held = held(net)?;
        ensure!(hooks(&held).len() == 1, "{held:#?}");
        Ok(())
    })
}

fn record(node_uid: &str) -> KeyRecord {
    KeyRecord {
        node_uid: node_uid.to_owned(),
        key: HostKey([7; 32]),
    }
}

#[test]
fn the_hosts_key_outlives_its_agent_and_is_replaced_whole() -> Result<()> {
    in_own_mounts(|| {
        let (bpffs, pin) = (Path::new(BPFFS), Path::new(BPFFS).join(HOST_KEY));
        ensure!(pinned_host_key(bpffs)?.is_none());
        let id = || -> Result<u32> { Ok(MapData::from_pin(&pin)?.info()?.id()) };
        // As an agent left it that was killed while it pinned.
        pin_host_key(bpffs, &record("half"))?;
        std::fs::rename(&pin, Path::new(BPFFS).join("node-failure-detector/host-key-new"))?;
        ensure!(pinned_host_key(bpffs)?.is_none());

        pin_host_key(bpffs, &record("uid-1"))?;
        let first = id()?;
        for _ in 0..2 {
            ensure!(pinned_host_key(bpffs)? == Some(record("uid-1")));
        }
        pin_host_key(bpffs, &record("uid-1"))?;
        ensure!(id()? == first, "the same key was pinned anew");
        pin_host_key(bpffs, &record("uid-2"))?;
        ensure!(pinned_host_key(bpffs)? == Some(record("uid-2")));

        let mode = std::fs::metadata(&pin)?.permissions().mode();
        ensure!(mode & 0o777 == 0o600, "mode {mode:o}");
        let kind = MapData::from_pin(&pin)?.info()?.map_type()?;
        ensure!(kind == MapType::Stack, "{kind:?}, which bpftool dumps");
        let pins = std::fs::read_dir(Path::new(BPFFS).join("node-failure-detector"))?;
        let names: BTreeSet<_> = pins
            .map(|entry| Ok(entry?.file_name().into_string().unwrap_or_default()))
            .collect::<std::io::Result<_>>()?;
        ensure!(
            names == ["host-key", "layout-1"].map(str::to_owned).into(),
            "{names:?}"
        );
        Namespace::create("bare")?.enter(|| cleanup(bpffs))??;
        ensure!(pinned_host_key(bpffs)?.is_none());
        Ok(())
    })
}

#[test]
fn what_is_no_key_of_ours_is_not_believed() -> Result<()> {
    in_own_mounts(|| {
        let (bpffs, pin) = (Path::new(BPFFS), Path::new(BPFFS).join(HOST_KEY));
        let refused = |why: &str| -> Result<()> {
            let error = pinned_host_key(bpffs).err().context("believed")?.reason();
            ensure!(error.contains(why), "{error}");
            std::fs::remove_file(&pin)?;
            Ok(())
        };
        pin_host_key(bpffs, &record("uid-1"))?;
        std::fs::set_permissions(&pin, std::fs::Permissions::from_mode(0o640))?;
        refused("lets others in")?;
        Array::<MapData, [u8; 4096]>::create(1, 0)?.pin(&pin)?;
        refused("is no stack")?;
        Stack::<MapData, [u8; 64]>::create(1, 0)?.pin(&pin)?;
        refused("size")?;
        Stack::<MapData, [u8; 4096]>::create(1, 0)?.pin(&pin)?;
        refused("reading /sys/fs/bpf/node-failure-detector/host-key: No such file")?;
        for (bytes, why) in [(b"\xff", "is no text"), (b"{", "not a key file")] {
            let mut value = [0; 4096];
            for (byte, given) in value.iter_mut().zip(bytes) {
                *byte = *given;
            }
            let mut stack = Stack::<MapData, [u8; 4096]>::create(1, 0)?;
            stack.push(value, 0)?;
            stack.pin(&pin)?;
            refused(why)?;
        }
        Ok(())
    })
}
