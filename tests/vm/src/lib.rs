//! Guests: other kernels under QEMU, booted into what this checkout built, with a result line for each check.
//!
//! ```text
//! debian ─▶ kernel (vmlinuz, modules: from the cache) ─┐
//! programs and their libraries ─▶ rootfs ─▶ archive ───┼─▶ guest (QEMU) ─▶ results ─▶ table
//! plan (what init does: modules, steps) ───────────────┘       └─ guest_init, in the guest
//! ```
//! A guest has no network but what a plan gives it, no disk but its initramfs, and a deadline; its console is kept.
#![expect(
    clippy::disallowed_methods,
    reason = "a harness is IO: clocks, processes, files"
)]

// What a guest boots.
mod debian;
pub mod kernel;
mod modules;

// What it holds.
mod archive;
pub mod plan;
pub mod rootfs;

// How it runs, and what came of it.
pub mod guest;
pub mod matrix;
pub mod results;
pub mod table;

/// The Debian packages that guests need: `cargo xtask setup` installs them.
pub const APT: &[&str] = &["busybox-static", "iproute2", "qemu-system-x86"];
