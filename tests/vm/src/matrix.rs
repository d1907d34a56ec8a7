//! Every check on every kernel.

use std::collections::{BTreeMap, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context, Result};
use detector_lab::cache::Cache;
use detector_lab::progress::{Event, Progress};

use crate::guest::{Guest, Ran};
use crate::kernel::{Kernel, Line};
use crate::plan::{Plan, SKIPPED, Step};
use crate::results::{Outcome, checks};
use crate::rootfs::{Parts, Rootfs};
use crate::table::{Column, Table};

/// Emulated guests take a core each.
const AT_ONCE: usize = 2;
/// MiB. The initramfs, packed and unpacked, lies in it.
const MEMORY: u32 = 768;
/// A step's limit and the guest's, which boots in seconds.
const STEP_LIMIT: Duration = Duration::from_secs(300);
const DEADLINE: Duration = Duration::from_secs(360);

/// What networks are made of.
const MODULES: [&str; 11] = [
    "tun",
    "veth",
    "bridge",
    "8021q",
    "bonding",
    "dummy",
    "sch_ingress",
    "cls_bpf",
    "af_packet",
    "ipv6",
    "sch_netem",
];

/// What this checkout built.
#[derive(Debug)]
pub struct Built {
    /// The guests' first process.
    pub init: PathBuf,
    /// The echo's lab, a test program.
    pub echo: PathBuf,
    /// Every other program that its tests start.
    pub programs: Vec<PathBuf>,
    /// The folder of the package whose tests they are.
    pub package: PathBuf,
}

/// Boots a guest for each line, two at a time, and gives the table of what came of it. Consoles are kept below `folder`.
///
/// # Errors
/// When a kernel cannot be had, or QEMU not be started.
pub fn run(
    lines: &[Line],
    built: &Built,
    cache: &Cache,
    folder: &Path,
    progress: &mut Progress,
) -> Result<Table> {
    let kernels = lines
        .iter()
        .map(|line| Ok((*line, Kernel::find(*line, cache, progress)?)))
        .collect::<Result<Vec<_>>>()?;
    let mut programs = built.programs.clone();
    programs.push(built.echo.clone());
    let rootfs = Rootfs::gather(&Parts {
        init: built.init.clone(),
        programs,
        tools: &["busybox", "ip", "tc"],
        folders: vec![built.package.clone()],
    })?;
    let work = Mutex::new((0..kernels.len()).collect::<VecDeque<_>>());
    let columns = Mutex::new(BTreeMap::new());
    let progress = Mutex::new(progress);
    std::thread::scope(|scope| -> Result<()> {
        let workers: Vec<_> = (0..AT_ONCE)
            .map(|_| {
                scope.spawn(|| -> Result<()> {
                    loop {
                        let next = locked(&work).pop_front();
                        let Some((at, (line, kernel))) = next.and_then(|at| Some((at, kernels.get(at)?)))
                        else {
                            return Ok(());
                        };
                        let ran = boot(kernel, &rootfs, built, &folder.join(line.name()))
                            .with_context(|| format!("guest with {kernel}"))?;
                        locked(&progress).report(Event::Ends {
                            stage: format!("guest with {kernel}"),
                            seconds: ran.took.as_secs_f64(),
                        });
                        let column = Column {
                            kernel: kernel.release.clone(),
                            checks: checks(&ran, &kernel.version()),
                            console: ran.console,
                        };
                        locked(&columns).insert(at, column);
                    }
                })
            })
            .collect();
        workers.into_iter().try_for_each(|worker| {
            worker
                .join()
                .map_err(|_| anyhow::anyhow!("a guest's thread panicked"))?
        })
    })?;
    let columns = columns.into_inner().unwrap_or_else(PoisonError::into_inner);
    Ok(Table {
        columns: columns.into_values().collect(),
    })
}

fn locked<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn boot(kernel: &Kernel, rootfs: &Rootfs, built: &Built, folder: &Path) -> Result<Ran> {
    let env = [
        ("CARGO_MANIFEST_DIR", built.package.display().to_string()),
        ("DETECTOR_SKIPPED", SKIPPED.to_owned()),
        ("RUST_BACKTRACE", "0".to_owned()),
    ];
    let plan = Plan {
        modules: Vec::new(),
        steps: vec![Step {
            name: "echo".to_owned(),
            argv: vec![built.echo.display().to_string(), "--test-threads=1".to_owned()],
            env: env.map(|(name, value)| (name.to_owned(), value)).into(),
            folder: built.package.clone(),
            limit_s: STEP_LIMIT.as_secs(),
        }],
    };
    let scratch = tempfile::tempdir()?;
    let initramfs = scratch.path().join("initramfs");
    rootfs.write(kernel, &MODULES, &plan, &initramfs)?;
    Guest {
        kernel,
        initramfs: &initramfs,
        memory: MEMORY,
        deadline: DEADLINE,
        folder,
    }
    .run()
}

impl Table {
    /// Passed, failed, skipped.
    #[must_use]
    pub fn counts(&self) -> (u64, u64, u64) {
        let mut counts = (0, 0, 0);
        for outcome in self.columns.iter().flat_map(|column| column.checks.values()) {
            match outcome {
                Outcome::Passed => counts.0 += 1,
                Outcome::Failed(_) => counts.1 += 1,
                Outcome::Skipped(_) => counts.2 += 1,
            }
        }
        counts
    }
}
