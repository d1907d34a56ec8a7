//! What a guest finds: programs of this machine at the paths that they have here, with the libraries that they load.

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use detector_lab::libraries::libraries;
use detector_lab::{process, requirements};

use crate::archive::Archive;
use crate::kernel::Kernel;
use crate::modules::Modules;
use crate::plan::{MODULES, PLAN, Plan};

const LIMIT: Duration = Duration::from_secs(60);

/// Programs with a debugger's tables are ten times as large; a guest has little memory.
const STRIPPED_ABOVE: u64 = 4 << 20;

/// The files that every guest of a run shares.
#[derive(Debug)]
pub struct Rootfs {
    /// Without its end: what one kernel needs comes after it.
    shared: Vec<u8>,
}

/// What a rootfs is made of.
#[derive(Debug, Default)]
pub struct Parts<'a> {
    /// The guests' first process.
    pub init: PathBuf,
    /// Programs, by their paths on this machine.
    pub programs: Vec<PathBuf>,
    /// Programs of this machine's search path.
    pub tools: &'a [&'a str],
    /// Folders that must be there.
    pub folders: Vec<PathBuf>,
}

impl Rootfs {
    /// Reads everything once.
    ///
    /// # Errors
    /// When a program or one of its libraries is missing.
    pub fn gather(parts: &Parts<'_>) -> Result<Self> {
        let mut archive = Archive::new(Vec::new());
        for folder in [
            "/dev", "/proc", "/run", "/sys", "/tmp", "/root", "/etc", "/var/lib",
        ] {
            archive.folder(Path::new(folder))?;
        }
        for folder in &parts.folders {
            archive.folder(folder)?;
        }
        let mut programs = parts.programs.clone();
        for tool in parts.tools {
            programs.push(requirements::find(tool).with_context(|| format!("{tool} is not installed"))?);
        }
        add_program(&mut archive, &parts.init, Path::new("/init"))?;
        for program in &programs {
            add_program(&mut archive, program, program)?;
        }
        // What looks tools up elsewhere finds them too.
        for (link, target) in [("/bin/sh", "busybox"), ("/usr/sbin/ip", "/sbin/ip")] {
            archive.link(Path::new(link), target)?;
        }
        Ok(Self {
            shared: archive.finish()?,
        })
    }

    /// Writes an initramfs: this, and then what one kernel and one plan need. (A kernel unpacks archives that follow each
    /// other.) The modules are added to the plan.
    ///
    /// # Errors
    /// When a module cannot be read, or the disk is full.
    pub fn write(&self, kernel: &Kernel, modules: &[&str], plan: &Plan, to: &Path) -> Result<()> {
        let mut out = BufWriter::new(File::create(to)?);
        out.write_all(&self.shared)?;
        // Each archive begins at a multiple of four, and zeros may stand between.
        out.write_all(&vec![
            0;
            self.shared.len().next_multiple_of(512) - self.shared.len()
        ])?;
        let mut archive = Archive::new(out);
        let mut plan = plan.clone();
        for (at, module) in Modules::below(&kernel.modules())?
            .closure(modules)?
            .into_iter()
            .enumerate()
        {
            let file = format!("{at:02}-{}.ko", module.name);
            archive.file(&Path::new(MODULES).join(&file), &module.bytes, 0o644)?;
            plan.modules.push(file);
        }
        archive.file(Path::new(PLAN), &serde_json::to_vec(&plan)?, 0o644)?;
        archive.finish()?;
        Ok(())
    }
}

fn add_program(archive: &mut Archive<Vec<u8>>, program: &Path, at: &Path) -> Result<()> {
    archive.file(at, &stripped(program)?, 0o755)?;
    for library in libraries(program)? {
        archive.file(Path::new(&library), &fs::read(&library)?, 0o755)?;
    }
    Ok(())
}

/// A program without its symbols.
fn stripped(program: &Path) -> Result<Vec<u8>> {
    let size = fs::metadata(program)
        .with_context(|| program.display().to_string())?
        .len();
    if size < STRIPPED_ABOVE {
        return Ok(fs::read(program)?);
    }
    let small = tempfile::NamedTempFile::new()?;
    let mut strip = Command::new("strip");
    strip.arg("-o").arg(small.path()).arg(program);
    process::output(&mut strip, LIMIT).context("strip comes with gcc's binutils")?;
    Ok(fs::read(small.path())?)
}
