//! Puts the kernel programs where the binary includes them from: `$OUT_DIR/detector-ebpf.o`.
//!
//! `DETECTOR_EBPF` (set in `.cargo/config.toml`, so that it is the same for every cargo call) names the object that
//! `cargo xtask build` makes. Where there is none, an empty file takes its place, and the binary says that it was built
//! without kernel programs.

use std::path::{Path, PathBuf};
use std::{env, fs, io};

fn main() -> io::Result<()> {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=DETECTOR_EBPF");
    let out_dir = env::var_os("OUT_DIR").ok_or_else(|| io::Error::other("cargo sets OUT_DIR"))?;
    let included = PathBuf::from(out_dir).join("detector-ebpf.o");

    let Some(object) = env::var_os("DETECTOR_EBPF").map(PathBuf::from) else {
        return fs::write(included, []);
    };
    // Cargo takes a file that is watched and missing for changed, each time: this package would be built anew by every
    // call. So an empty one is left there, until the real one comes.
    if !object.exists() {
        leave_empty(&object)?;
    }
    println!("cargo::rerun-if-changed={}", object.display());
    fs::write(included, fs::read(&object)?)
}

fn leave_empty(object: &Path) -> io::Result<()> {
    if let Some(parent) = object.parent() {
        fs::create_dir_all(parent)?;
    }
    // Another build may just have put the real one there.
    match fs::OpenOptions::new().write(true).create_new(true).open(object) {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}
