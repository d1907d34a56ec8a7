//! Kernel programs: the authenticated echo.
//!
//! ```text
//!  interface ─▶ xdp::echo_xdp (where asked for) ─▶ tc::echo ─▶ responder (over `Frame`) ─▶ detector_common::check ─▶ maps
//!                                                     │            └ headers: there and back
//!                                                     └▶ untouched: on to the next program · an echo noted: dropped
//!                                                        · a probe: sent back
//! ```
//!
//! The responder and the headers are plain functions over bytes, tested on the host; only `tc`, `xdp` and `maps`
//! speak to the kernel. They are compiled for BPF, and looked at by clippy on the host (never linked there: aya-ebpf brings its
//! own `memcpy`).
#![cfg_attr(target_arch = "bpf", no_std, no_main)]
#![expect(
    clippy::cast_possible_truncation,
    reason = "sizes and helpers' results; kernel code has no place for an error that cannot be"
)]

// On the host only the tests call the responder.
#[cfg(any(target_arch = "bpf", clippy, doc, test))]
mod frame;
#[cfg(any(target_arch = "bpf", clippy, doc, test))]
mod headers;
#[cfg(any(target_arch = "bpf", clippy, doc, test))]
mod responder;

#[cfg(any(target_arch = "bpf", clippy, doc))]
mod maps;
#[cfg(any(target_arch = "bpf", clippy, doc))]
mod tc;
#[cfg(any(target_arch = "bpf", clippy, doc))]
mod xdp;

#[cfg(target_arch = "bpf")]
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    loop {}
}

/// The kernel lends its helpers (`bpf_skb_store_bytes`, `bpf_redirect` …) to GPL programs only.
#[cfg(target_arch = "bpf")]
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

#[cfg(not(target_arch = "bpf"))]
fn main() {}
