//! A guest's first process: mounts, loads modules, runs the steps of its plan, tells what came of them, and turns the power off.
#![expect(clippy::disallowed_methods, reason = "the first process of a guest is IO")]

use std::ffi::CStr;
use std::fs::{self, File};
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result};
use detector_lab::process::{ended, wait_for};
use detector_vm::plan::{MODULES, PLAN, Plan, RESULTS, SKIPPED, Said, Step};
use rustix::mount::{MountFlags, mount};
use rustix::stdio::{dup2_stderr, dup2_stdout};
use rustix::system::{RebootCommand, init_module, reboot, uname};

/// Source and type, target; in the order in which one needs the other. None hides what the plan names: a checkout may lie
/// in /tmp, and the first file system can be written as it is.
const MOUNTS: [(&CStr, &str); 4] = [
    (c"proc", "/proc"),
    (c"sysfs", "/sys"),
    (c"devtmpfs", "/dev"),
    (c"cgroup2", "/sys/fs/cgroup"),
];

fn main() {
    let mut trouble = Vec::new();
    for (kind, target) in MOUNTS {
        if let Err(error) = mount(kind, target, kind, MountFlags::empty(), None) {
            trouble.push(format!("mounting {target}: {error}"));
        }
    }
    // The kernel had no console to give before there was a /dev.
    if let Ok(console) = File::options().write(true).open("/dev/console") {
        let _ = dup2_stdout(&console).and_then(|()| dup2_stderr(&console));
    }
    if let Err(error) = run(trouble) {
        eprintln!("init: {error:#}");
    }
    // What was told must be out of the serial port before the power goes.
    let _ = reboot(RebootCommand::PowerOff);
}

fn run(mut trouble: Vec<String>) -> Result<()> {
    let mut results = Results(File::options().write(true).open(RESULTS).context(RESULTS)?);
    let plan: Plan = serde_json::from_slice(&fs::read(PLAN)?).context(PLAN)?;
    for module in &plan.modules {
        let object = fs::read(Path::new(MODULES).join(module))?;
        if let Err(error) = init_module(&object, c"") {
            trouble.push(format!("loading {module}: {error}"));
        }
    }
    let release = uname().release().to_string_lossy().into_owned();
    results.say(&Said::Booted { release })?;
    for what in trouble {
        results.say(&Said::Trouble(what))?;
    }
    for step in &plan.steps {
        results.say(&Said::Step(step.name.clone()))?;
        let (well, how) = match results.step(step) {
            Ok(ended) => ended,
            Err(error) => (false, format!("{error:#}")),
        };
        for skipped in skipped() {
            results.say(&skipped)?;
        }
        results.say(&Said::Ended { well, how })?;
    }
    results.say(&Said::Done)?;
    rustix::termios::tcdrain(&results.0)?;
    Ok(())
}

struct Results(File);

impl Results {
    fn say(&mut self, said: &Said) -> Result<()> {
        let mut line = serde_json::to_vec(said)?;
        line.push(b'\n');
        Ok(self.0.write_all(&line)?)
    }

    /// Runs a step to its end; whether that is a good one, and how it ended.
    fn step(&mut self, step: &Step) -> Result<(bool, String)> {
        let (program, arguments) = step.argv.split_first().context("a step without a program")?;
        let mut child = Command::new(program)
            .args(arguments)
            .env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin")
            .envs(&step.env)
            .current_dir(&step.folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .with_context(|| format!("starting {program}"))?;
        let output = child.stdout.take().context("standard output is a pipe")?;
        let limit = Duration::from_secs(step.limit_s);
        std::thread::scope(|scope| {
            let waiting = scope.spawn(move || -> Result<_> {
                let status = wait_for(&mut child, limit)?;
                if status.is_none() {
                    child.kill()?;
                    child.wait()?;
                }
                Ok(status)
            });
            for line in BufReader::new(output).split(b'\n') {
                let line = String::from_utf8_lossy(&line?).into_owned();
                self.say(&Said::Output(line))?;
            }
            let status = waiting
                .join()
                .map_err(|_| anyhow::anyhow!("the waiting thread panicked"))??;
            Ok(match status {
                Some(status) => (status.success(), ended(status)),
                None => (false, format!("killed after {} s", step.limit_s)),
            })
        })
    }
}

/// What tests have noted as skipped; the file is taken away.
fn skipped() -> Vec<Said> {
    let text = fs::read_to_string(SKIPPED).unwrap_or_default();
    let _ = fs::remove_file(SKIPPED);
    text.lines()
        .filter_map(|line| {
            let mut fields = line.splitn(3, '\t').map(str::to_owned);
            Some(Said::Skipped {
                check: fields.next()?,
                feature: fields.next()?,
                reason: fields.next()?,
            })
        })
        .collect()
}
