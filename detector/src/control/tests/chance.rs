//! Any order of sends, losses, replays and restarts.

use proptest::prelude::*;

use super::pair::{A, B, Pair, SECRET, address, hint, ms};
use crate::control::Delivery;

#[derive(Clone, Debug)]
enum Op {
    Send(usize, u64, bool),
    /// Loses this many of 16 datagrams for a while.
    Wire(u64, u32),
    /// Delivers an old datagram again.
    Replay(prop::sample::Index),
    Restart(usize),
    Forget(usize),
}

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        4 => (0_usize..2, 1_u64..50, any::<bool>()).prop_map(|(end, subject, reliable)| Op::Send(end, subject, reliable)),
        3 => (1_u64..400, 0_u32..17).prop_map(|(time, lost)| Op::Wire(time, lost)),
        3 => any::<prop::sample::Index>().prop_map(Op::Replay),
        1 => (0_usize..2).prop_map(Op::Restart),
        1 => (0_usize..2).prop_map(Op::Forget),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever happened, the two lives of today come together when the wire is whole again; nothing arrives that was
    /// not sent, and what is sent once arrives at most once.
    #[test]
    fn two_ends_always_find_each_other_again(ops in proptest::collection::vec(op(), 1..60), mut dice: u32) {
        let mut pair = Pair::new();
        let mut sent = [Vec::new(), Vec::new()];
        let mut next = 1_000;
        for op in ops {
            match op {
                Op::Send(end, subject, reliable) => {
                    let delivery = if reliable { Delivery::Reliable } else { Delivery::Once };
                    next += 1;
                    let label = subject + 100 * next;
                    sent[1 - end].push((label, reliable));
                    pair.send(end, &hint(label), delivery);
                }
                Op::Wire(time, share) => pair.run(ms(time), || {
                    dice = dice.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
                    dice >> 24 & 15 < share
                }),
                Op::Replay(index) if !pair.tape.is_empty() => {
                    let (to, bytes) = index.get(&pair.tape).clone();
                    let _refused = pair.deliver(to, &bytes);
                }
                Op::Replay(_) => {}
                Op::Restart(end) => {
                    next += 1;
                    pair.restart(end, next * 1_000_000);
                }
                Op::Forget(end) => {
                    let peer = [B, A][end];
                    pair.ends[end].remove_peer(peer);
                    pair.ends[end].set_peer(peer, address(peer), SECRET);
                }
            }
        }
        for (end, sent) in sent.iter().enumerate() {
            let got = pair.subjects(end);
            for label in &got {
                let times = got.iter().filter(|other| *other == label).count();
                let (_, reliable) = sent.iter().find(|(other, _)| other == label).unwrap();
                prop_assert!(*reliable || times == 1, "{label} came {times} times");
            }
        }
        pair.assert_whole();
    }
}
