//! The kernel's echo on real interfaces: a subject and an asker in namespaces of their own, on a bridge.
#![expect(
    clippy::disallowed_methods,
    reason = "a lab is IO: it waits, and reads clocks"
)]

mod answers;
mod carrier;
mod fallback;
mod net;
mod pins;
mod vlan;
mod wire;
mod xdp;
