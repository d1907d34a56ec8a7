//! One guest: QEMU with a kernel and an initramfs, ended at its deadline.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use detector_lab::process::{Running, die_with_parent, wait_for};

use crate::kernel::Kernel;
use crate::plan::Said;

/// What a guest is.
#[derive(Debug)]
pub struct Guest<'a> {
    /// What it boots.
    pub kernel: &'a Kernel,
    /// What it finds.
    pub initramfs: &'a Path,
    /// MiB.
    pub memory: u32,
    /// It is ended after so long.
    pub deadline: Duration,
    /// Where its console and its results are kept.
    pub folder: &'a Path,
}

/// What came of a guest.
#[derive(Debug)]
pub struct Ran {
    /// What init said, in order.
    pub said: Vec<Said>,
    /// How long it ran.
    pub took: Duration,
    /// Whether it ended by itself.
    pub in_time: bool,
    /// Its console.
    pub console: PathBuf,
}

impl Guest<'_> {
    /// Boots it and waits for its end.
    ///
    /// # Errors
    /// When QEMU cannot be started.
    pub fn run(&self) -> Result<Ran> {
        fs::create_dir_all(self.folder)?;
        let (console, results) = (self.folder.join("console"), self.folder.join("results"));
        let started = Instant::now();
        let mut running = Running::start(self.command(&console, &results)).context(
            "guests need qemu-system-x86: apt-get install --no-install-recommends qemu-system-x86",
        )?;
        let ended = wait_for(running.child(), self.deadline)?;
        drop(running);
        let text = fs::read(&results).unwrap_or_default();
        Ok(Ran {
            said: String::from_utf8_lossy(&text)
                .lines()
                .filter_map(|line| serde_json::from_str(line.trim_end()).ok())
                .collect(),
            took: started.elapsed(),
            in_time: ended.is_some(),
            console,
        })
    }

    fn command(&self, console: &Path, results: &Path) -> Command {
        let mut qemu = Command::new("qemu-system-x86_64");
        die_with_parent(&mut qemu);
        // KVM may open and still hang a guest: emulation always works. With cx16 6.12 guests crash under QEMU 7.2.
        qemu.args(["-accel", "tcg", "-cpu", "max,cx16=off", "-smp", "1"])
            .args(["-m", &self.memory.to_string()])
            .args(["-nodefaults", "-no-user-config", "-no-reboot", "-display", "none"])
            .arg("-kernel")
            .arg(self.kernel.image())
            .arg("-initrd")
            .arg(self.initramfs)
            .args(["-append", "console=ttyS0 loglevel=5 panic=-1 rdinit=/init"]);
        for file in [console, results] {
            qemu.arg("-serial").arg(format!("file:{}", file.display()));
        }
        qemu.stdin(Stdio::null()).stdout(Stdio::null());
        qemu
    }
}
