//! Builds the kernel programs: another compiler, another target, another linker.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::command::run;
use crate::linker::find_or_build;
use crate::toolchain::Compiler;
use crate::workspace::Workspace;

/// Builds the kernel programs and puts them where the detector's build takes them from.
pub(crate) fn build(workspace: &Workspace) -> Result<()> {
    let compiler = Compiler::choose().context("`cargo xtask setup` installs one, or says how")?;
    let linker = find_or_build(workspace, &compiler)?;
    let target = workspace.target.join("ebpf");
    let object = target.join("bpfel-unknown-none/release/detector-ebpf");

    let mut cargo = compiler.cargo();
    cargo
        .args([
            "build",
            "--package=detector-ebpf",
            "--bins",
            "--release",
            "-Zbuild-std=core",
        ])
        .arg("--target=bpfel-unknown-none")
        .arg("--target-dir")
        .arg(&target)
        .current_dir(&workspace.root)
        .env("CARGO_TARGET_BPFEL_UNKNOWN_NONE_LINKER", linker.path())
        .env("CARGO_ENCODED_RUSTFLAGS", flags(std::env::consts::ARCH)?)
        .env_remove("CARGO_TARGET_DIR");
    run(&mut cargo)?;
    publish(&object, &workspace.ebpf_object())
}

/// The architecture of the kernel that will run the programs (register names of `pt_regs`), debug lines, and type information.
fn flags(arch: &str) -> Result<String> {
    let arch = match arch {
        "x86_64" | "aarch64" => arch,
        other => bail!("kernel programs are built for x86_64 and aarch64, not for {other}"),
    };
    Ok([
        &format!("--cfg=bpf_target_arch=\"{arch}\""),
        "-Cdebuginfo=2",
        "-Clink-arg=--btf",
    ]
    .join("\u{1f}"))
}

/// Copies only what differs: a new time stamp would have the detector built again.
fn publish(built: &PathBuf, published: &PathBuf) -> Result<()> {
    let content = fs::read(built).with_context(|| format!("cannot read {}", built.display()))?;
    if fs::read(published).is_ok_and(|old| old == content) {
        return Ok(());
    }
    // In one step, as another build may be reading.
    let partial = published.with_extension(format!("o.{}", std::process::id()));
    if let Some(folder) = published.parent() {
        fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
    }
    fs::write(&partial, content).with_context(|| format!("cannot write {}", partial.display()))?;
    fs::rename(&partial, published).with_context(|| format!("cannot write {}", published.display()))
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test fails by panicking")]
mod tests {
    use std::fs;

    use super::{flags, publish};

    #[test]
    fn refuses_machines_whose_registers_are_not_known() {
        assert!(
            flags("x86_64")
                .unwrap()
                .starts_with("--cfg=bpf_target_arch=\"x86_64\"\u{1f}")
        );
        assert!(flags("riscv64").unwrap_err().to_string().contains("riscv64"));
    }

    #[test]
    fn an_unchanged_object_keeps_its_time() {
        let folder = tempfile::tempdir().unwrap();
        let (built, published) = (folder.path().join("built"), folder.path().join("sub/published.o"));
        fs::write(&built, b"one").unwrap();
        publish(&built, &published).unwrap();
        let long_ago = std::time::SystemTime::UNIX_EPOCH;
        fs::File::options()
            .write(true)
            .open(&published)
            .unwrap()
            .set_modified(long_ago)
            .unwrap();

        publish(&built, &published).unwrap();
        assert_eq!(fs::metadata(&published).unwrap().modified().unwrap(), long_ago);

        fs::write(&built, b"two").unwrap();
        publish(&built, &published).unwrap();
        assert_eq!(fs::read(&published).unwrap(), b"two");
        assert_ne!(fs::metadata(&published).unwrap().modified().unwrap(), long_ago);
    }
}
