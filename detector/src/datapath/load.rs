//! The program in the kernel: loaded, or taken over from the agent before.

use std::path::Path;

use aya::programs::{Program, SchedClassifier};
use aya::{Ebpf, EbpfLoader};
use detector_common::state::Me;
use rustix::process::{Resource, Rlimit, setrlimit};

use super::Error;
use super::choice::EchoChoice;
use super::front::Front;
use super::maps::KernelMaps;
use super::pins::Pins;

/// Built by `cargo xtask build`; empty otherwise.
static OBJECT: &[u8] = aya::include_bytes_aligned!(concat!(env!("OUT_DIR"), "/detector-ebpf.o"));

const PROGRAM: &str = "echo";
const PORT: &str = "PORT";

/// The program and its maps, both pinned.
pub(super) struct Kernel {
    pub(super) program: SchedClassifier,
    pub(super) maps: KernelMaps,
    pub(super) pins: Pins,
    /// Before the program at TC ingress.
    pub(super) front: Front,
    pub(super) port: u16,
}

impl Kernel {
    /// Loads this build's program over the pinned maps. Where the pinned program is the same (by the kernel's own tag
    /// of its instructions, its port and its maps), that one is kept and the new one forgotten, so that a restart changes
    /// nothing: [`Me`] is then what the agent before wrote.
    pub(super) fn load(bpffs: &Path, port: u16, choice: EchoChoice) -> Result<(Self, Me), Error> {
        if OBJECT.is_empty() {
            return Err(Error::NotBuilt);
        }
        let pins = Pins::create(bpffs)?;
        allow_locked_memory();
        let mut object = EbpfLoader::new()
            .btf(None) // nothing here is relocated by the kernel's types
            .default_map_pin_directory(pins.layout())
            .override_global(PORT, &port, true)
            .load(OBJECT)?;
        let fresh = load_program(&mut object)?;
        let fresh_tag = fresh.info()?.tag();
        let maps = KernelMaps::open(&pins)?;
        let pinned = pins.program(port);
        let program = match SchedClassifier::from_pin(&pinned) {
            Ok(program) if program.info()?.tag() == fresh_tag && maps.are_of(&program.info()?)? => program,
            _ => {
                let new = pins.new_program();
                // Left by an agent that was killed just here.
                let _ = std::fs::remove_file(&new);
                fresh.pin(&new)?;
                std::fs::rename(&new, &pinned).map_err(|source| Error::Io {
                    what: format!("renaming {} to {}", new.display(), pinned.display()),
                    source,
                })?;
                SchedClassifier::from_pin(&pinned)?
            }
        };
        let me = maps.me()?;
        let kernel = Self {
            program,
            maps,
            pins,
            front: Front::load(object, choice),
            port,
        };
        Ok((kernel, me))
    }

    /// Removes the pins of other builds and ports.
    pub(super) fn remove_superseded(&self) {
        self.pins.remove_superseded(self.port);
    }
}

fn load_program(object: &mut Ebpf) -> Result<&mut SchedClassifier, Error> {
    let program = object
        .program_mut(PROGRAM)
        .ok_or(Error::Missing("program `echo`"))?;
    let Program::SchedClassifier(program) = program else {
        return Err(Error::Missing("TC program `echo`"));
    };
    program.load()?;
    Ok(program)
}

/// Before 5.11 maps and programs count as locked memory, of which a process may have 64 KiB by default. Where raising it
/// is refused, loading tells.
pub(super) fn allow_locked_memory() {
    let _ = setrlimit(
        Resource::Memlock,
        Rlimit {
            current: None,
            maximum: None,
        },
    );
}
