//! What is answered, what is refused, and what passes.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use crate::net::{ASKER, BOOT, Net, SUBJECT, best, in_a_net, subject, v4, v6};
use anyhow::{Context, Result, ensure};
use detector::clock;
use detector::datapath::{Counters, EchoMode, Handled};
use detector_common::check::Refusal;
use detector_common::count::Count;
use detector_common::packet::{Be64, Packet, SIZE, VERSION, health, kind};
use detector_common::state::{Arrival, PeerState};
use detector_lab::echo::{Host, PORT, pair_key, probe};
use detector_lab::netns::udp_socket;
use zerocopy::{FromBytes as _, IntoBytes as _};

/// Each way to echo, with how a host begins to tell of it, and the health bit of its echoes.
fn ways() -> [(&'static str, &'static str, u32); 3] {
    let tc = match best() {
        EchoMode::Tcx => "tcx: eth0 by tcx",
        _ => "clsact: eth0 by clsact (",
    };
    [
        ("tc", tc, 0),
        ("clsact", "clsact: eth0 by clsact (asked for)", 0),
        ("user", "user: asked for", health::USER_ECHO),
    ]
}

#[test]
fn every_way_answers_over_both_families() -> Result<()> {
    for (way, says, bits) in ways() {
        in_a_net(|net| {
            let (_host, mode) = net.start(&subject(way))?;
            ensure!(mode.starts_with(says), "{way}: {mode}");
            for (from, to) in [(v4(3), v4(2)), (v6(3), v6(2))] {
                let mut asker = net.asker(from, to)?;
                let first = asker.warm_up()?;
                let echo = asker.answered().context("the second question was not answered")?;
                ensure!(
                    (echo.boot.get(), echo.health()) == (BOOT, bits),
                    "{way}: {echo:?}"
                );
                ensure!(echo.agent_age_ms() < 1_000, "{way}: {echo:?}");
                ensure!(echo.highest == echo.sequence, "{way}: {echo:?}");
                ensure!(
                    echo.subject_time.get() > first.subject_time.get(),
                    "{way}: {echo:?}"
                );
            }
            Ok(())
        })
        .with_context(|| format!("echo by {way}"))?;
    }
    Ok(())
}

/// Waits until the counters satisfy `wanted`, for two seconds at most.
fn counters(net: &Net, host: &Host, wanted: impl Fn(&Counters) -> bool) -> Result<Counters> {
    let seen = net.subject.enter(|| host.open())??;
    let deadline = Instant::now() + Duration::from_secs(2);
    loop {
        let counters = seen.counters()?;
        if wanted(&counters) {
            return Ok(counters);
        }
        ensure!(Instant::now() < deadline, "the counters stay at {counters:?}");
        std::thread::sleep(Duration::from_millis(5));
    }
}

fn refused(counters: &Counters) -> Vec<(Refusal, u64)> {
    let each = Refusal::ALL.map(|cause| (cause, counters.kernel(Count::Refused(cause))));
    each.into_iter().filter(|(_, count)| *count > 0).collect()
}

/// A spoiled probe, or something else for the port, by the cause of its refusal.
fn spoiled() -> Vec<(Refusal, &'static str, Vec<u8>)> {
    let good = || probe(ASKER, SUBJECT, (1 << 32) | 9);
    let changed = |change: fn(&mut Packet)| {
        let mut packet = good();
        change(&mut packet);
        packet.as_bytes().to_vec()
    };
    let sized = |length: usize| {
        let mut bytes = good().as_bytes().to_vec();
        bytes.resize(length, 0);
        bytes
    };
    let resealed = |change: fn(&mut Packet)| {
        let mut packet = good();
        change(&mut packet);
        packet.seal(pair_key(ASKER, SUBJECT).key());
        packet.as_bytes().to_vec()
    };
    let byte = |at: usize, value: u8| {
        let mut bytes = good().as_bytes().to_vec();
        if let Some(slot) = bytes.get_mut(at) {
            *slot = value;
        }
        bytes
    };
    vec![
        (Refusal::Length, "empty", sized(0)),
        (Refusal::Length, "one byte", sized(1)),
        (Refusal::Length, "truncated", sized(SIZE - 1)),
        (Refusal::Length, "oversized", sized(SIZE + 1)),
        (Refusal::Length, "twice", sized(2 * SIZE)),
        (Refusal::Length, "as large as fits", sized(1_472)),
        (Refusal::Version, "an older version", byte(0, 0)),
        (Refusal::Version, "a newer version", byte(0, VERSION + 1)),
        (Refusal::Kind, "no kind", byte(1, 0)),
        (Refusal::Kind, "an unknown kind", byte(1, 200)),
        (
            Refusal::NotForMe,
            "for another subject",
            resealed(|p| p.subject = Be64::new(77)),
        ),
        (
            Refusal::UnknownPeer,
            "of no member",
            resealed(|p| p.observer = Be64::new(77)),
        ),
        (Refusal::KeyId, "under another key", byte(3, 0)),
        (
            Refusal::Tag,
            "forged",
            changed(|p| p.sequence = Be64::new(u64::MAX)),
        ),
        (Refusal::Tag, "all zero tag", changed(|p| p.tag = Be64::new(0))),
    ]
}

#[test]
fn what_is_refused_is_counted_by_its_cause_and_changes_nothing() -> Result<()> {
    for way in ["tc", "clsact"] {
        in_a_net(|net| {
            let host = subject(way);
            let (_host, _) = net.start(&host)?;
            let mut asker = net.asker(v4(3), v4(2))?;
            asker.warm_up()?;
            let heard = |state: &PeerState| {
                let words = state.to_words();
                // All but the stamp that only explains, and the bucket of the answers between.
                let (mut kept, [seen, _, _, bucket, ..]) = (words, words);
                kept[0] = 0;
                kept[3] = 0;
                (kept, seen, bucket)
            };
            let mut expected = refused(&counters(net, &host, |_| true)?);
            for (cause, name, bytes) in spoiled() {
                let view = net.subject.enter(|| host.open())??;
                let before = heard(&view.state(ASKER).context("the asker is a member")?);
                asker.send(&bytes)?;
                match expected.iter_mut().find(|(known, _)| *known == cause) {
                    Some((_, count)) => *count += 1,
                    None => expected.push((cause, 1)),
                }
                expected.sort_by_key(|(cause, _)| *cause as u32);
                counters(net, &host, |now| refused(now) == expected)
                    .with_context(|| format!("{name}: wanted {expected:?}"))?;
                let after = heard(&view.state(ASKER).context("the asker is a member")?);
                ensure!(
                    (after.0, after.2) == (before.0, before.2),
                    "{name} changed the state"
                );
                let claims_the_peer = matches!(cause, Refusal::KeyId | Refusal::Tag);
                ensure!(
                    (after.1 > before.1) == claims_the_peer,
                    "{name}: the last-seen stamp"
                );
                // The next thing that comes back is the echo of a good probe: the spoiled one got no answer.
                asker
                    .answered()
                    .with_context(|| format!("no echo after {name}"))?;
            }
            Ok(())
        })
        .with_context(|| format!("echo by {way}"))?;
    }
    Ok(())
}

#[test]
fn a_replay_is_answered_and_has_no_effect() -> Result<()> {
    for (way, ..) in ways() {
        in_a_net(|net| {
            let host = subject(way);
            let (_host, _) = net.start(&host)?;
            let mut asker = net.asker(v4(3), v4(2))?;
            let recorded = asker.warm_up()?.sequence;
            let newest = asker.answered().context("no echo")?.sequence;
            let view = net.subject.enter(|| host.open())??;
            let heard = || {
                view.state(ASKER)
                    .map(|state| (state.heard_at.get(), state.heard_sequence.get()))
            };
            let before = heard();
            if way != "user" {
                ensure!(
                    before.is_some_and(|(_, sequence)| sequence == newest.get()),
                    "{before:?}"
                );
            }
            asker.send(probe(ASKER, SUBJECT, recorded.get()).as_bytes())?;
            let reply = asker
                .await_datagram()
                .context("a replayed probe was not answered")?;
            let echo = Packet::read_from_bytes(&reply)
                .ok()
                .context("a reply of another length")?;
            ensure!(
                (echo.sequence, echo.highest) == (recorded, newest),
                "{way}: {echo:?}"
            );
            ensure!(heard() == before, "{way}: a replay was heard");
            Ok(())
        })
        .with_context(|| format!("echo by {way}"))?;
    }
    Ok(())
}

#[test]
fn beyond_its_bucket_a_member_is_not_answered_and_recovers() -> Result<()> {
    in_a_net(|net| {
        let host = subject("tc");
        let (_host, _) = net.start(&host)?;
        let mut asker = net.asker(v4(3), v4(2))?;
        asker.warm_up()?;
        let burst: Vec<Packet> = (0..2_000).map(|_| asker.next_probe()).collect();
        for packet in &burst {
            asker.send(packet.as_bytes())?;
        }
        let rate = Count::Refused(Refusal::Rate);
        let now = counters(net, &host, |now| {
            now.kernel(Count::Echoed) + now.kernel(rate) > 2_000
        })?;
        ensure!(now.kernel(rate) > 0, "2,000 probes at once were all answered");
        ensure!(
            now.kernel(Count::Echoed) > 200,
            "the burst's first probes were not answered"
        );
        ensure!(now.user(rate) == 0, "what is authentic is not passed on");
        while asker.receive()?.is_some() {}
        asker.answered().context("no echo after the burst")?;
        Ok(())
    })
}

#[test]
fn sealed_messages_and_foreign_traffic_pass_untouched() -> Result<()> {
    for way in ["tc", "clsact"] {
        in_a_net(|net| {
            let host = subject(way);
            let _datapath = net.subject.enter(|| host.open())??;
            for (from, to) in [(v4(3), v4(2)), (v6(3), v6(2))] {
                let mut asker = net.asker(from, to)?;
                asker.warm_up()?;
                let up = net.bind(&net.subject, to, PORT)?;
                let mut bytes = vec![0; 65_536];
                // Sealed, of any length, fragmented ones too; and what is refused, as it may be somebody else's.
                for length in [2, SIZE, 1_200, 4_000] {
                    let mut sealed: Vec<u8> = (0..length).map(|n| n.to_le_bytes()[0]).collect();
                    if let Some(head) = sealed.get_mut(..2) {
                        head.copy_from_slice(&[VERSION, kind::SEALED]);
                    }
                    asker.send(&sealed)?;
                    let (got, _) = up
                        .recv_from(&mut bytes)
                        .with_context(|| format!("sealed, {length} bytes"))?;
                    ensure!(
                        bytes.get(..got) == Some(&sealed[..]),
                        "{length} bytes were changed"
                    );
                }
                for (cause, name, sent) in spoiled() {
                    asker.send(&sent)?;
                    let (got, _) = up
                        .recv_from(&mut bytes)
                        .with_context(|| format!("{name}, {cause:?}"))?;
                    ensure!(bytes.get(..got) == Some(&sent[..]), "{name} was changed");
                }
                // Another port, small and fragmented.
                let (ours, theirs) = (
                    net.bind(&net.asker, from, 4_000)?,
                    net.bind(&net.subject, to, 4_000)?,
                );
                for length in [1, SIZE, 4_000] {
                    let sent = vec![7; length];
                    ours.send_to(&sent, (to, 4_000))?;
                    let (got, back) = theirs.recv_from(&mut bytes)?;
                    theirs.send_to(bytes.get(..got).unwrap_or_default(), back)?;
                    let (got, _) = ours.recv_from(&mut bytes)?;
                    ensure!(bytes.get(..got) == Some(&sent[..]), "foreign UDP was changed");
                }
                tcp_exchange(net, to, PORT)?;
            }
            let foreign = counters(net, &host, |now| now.kernel(Count::Foreign) > 0)?;
            ensure!(foreign.kernel(Count::Sealed) == 6, "{foreign:?}");
            Ok(())
        })
        .with_context(|| format!("echo by {way}"))?;
    }
    Ok(())
}

/// A megabyte there, and its length back, over TCP.
fn tcp_exchange(net: &Net, to: IpAddr, port: u16) -> Result<()> {
    const SENT: usize = 1 << 20;
    let listener = net.subject.enter(|| TcpListener::bind((to, port)))??;
    let mut out = net.asker.enter(|| TcpStream::connect((to, port)))??;
    let (mut inside, _) = listener.accept()?;
    let received = std::thread::scope(|scope| -> Result<usize> {
        let reader = scope.spawn(move || -> std::io::Result<usize> {
            let mut all = Vec::new();
            inside.read_to_end(&mut all)
        });
        out.write_all(&vec![1; SENT])?;
        out.shutdown(std::net::Shutdown::Write)?;
        Ok(reader
            .join()
            .map_err(|_| anyhow::anyhow!("the reader panicked"))??)
    })?;
    ensure!(received == SENT, "{received} of {SENT} bytes came over TCP");
    Ok(())
}

#[test]
fn an_observers_kernel_notes_when_the_echo_came() -> Result<()> {
    for (way, ..) in ways() {
        in_a_net(|net| {
            let (_host, _) = net.start(&subject("tc"))?;
            let other_bpffs = tempfile::tempdir()?;
            let observer = Host {
                id: ASKER,
                members: vec![(SUBJECT, v4(2))],
                // Mounted by the datapath itself.
                bpffs: other_bpffs.path().to_owned(),
                ..subject(way)
            };
            let mut datapath = net.asker.enter(|| observer.open())??;
            let socket = udp_socket(&net.asker, &format!("{}:{PORT}", v4(3)))?;
            socket.set_read_timeout(Some(Duration::from_millis(50)))?;
            let first = u64::from(observer.incarnation) << 32;
            let mut bytes = [0; SIZE];
            for sequence in first + 1..first + 40 {
                let sent = clock::now().0;
                socket.send_to(probe(ASKER, SUBJECT, sequence).as_bytes(), (v4(2), PORT))?;
                let deadline = sent + 2_000_000_000;
                let (arrival, state) = loop {
                    // With a kernel program nothing comes up here.
                    if let Ok((length, _)) = socket.recv_from(&mut bytes) {
                        ensure!(way == "user", "an echo came up to the socket");
                        let echo = bytes.get_mut(..length).unwrap_or_default();
                        ensure!(datapath.handle_datagram(echo, clock::now().0) == Handled::Noted);
                    }
                    let state = datapath.state(SUBJECT).context("the subject is a member")?;
                    let slot = state
                        .arrivals
                        .get(Arrival::slot(sequence))
                        .map_or(0, |word| word.get());
                    if Arrival(slot).is_of(sequence) {
                        break (Arrival(slot).time(clock::now().0), state);
                    }
                    ensure!(clock::now().0 < deadline, "{way}: no arrival of {sequence:#x}");
                };
                ensure!(
                    arrival > sent && arrival < deadline,
                    "{way}: sent {sent}, arrived {arrival}"
                );
                ensure!(state.echoed_at.get() == arrival && state.echoed_boot.get() == BOOT);
                ensure!(state.echoed_highest.get() == sequence, "{way}: {state:?}");
                // One host, one clock: the subject answered between.
                let answered = arrival.wrapping_add(state.echoed_offset.get());
                ensure!(
                    answered > sent && answered < arrival,
                    "{way}: {sent} {answered} {arrival}"
                );
            }
            drop(datapath);
            Ok(())
        })
        .with_context(|| format!("observer by {way}"))?;
    }
    Ok(())
}
