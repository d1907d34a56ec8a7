//! XDP, before the hook at TC ingress: in the driver where it can be, else at the generic hook.
//!
//! The program behind stays attached: it answers what XDP leaves, and everything from the packet on that finds XDP taken
//! away. A probe is answered once: what XDP answers or notes goes no further.

use std::path::{Path, PathBuf};

use aya::Ebpf;
use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::{Program, Xdp, XdpMode, loaded_programs};

use super::Error;
use super::choice::{EchoChoice, EchoMode};
use super::maps::KernelMaps;
use super::netlink::Link;

const PROGRAM: &str = "echo_xdp";

/// Where the link of an interface is pinned.
pub(super) struct Places {
    /// By agents before.
    pub(super) pinned: Vec<PathBuf>,
    /// By this one.
    pub(super) pin: PathBuf,
}

/// The XDP program.
pub(super) enum Front {
    /// Asked for otherwise.
    Unwanted,
    /// The kernel does not take it.
    Refused(String),
    /// In the kernel.
    Loaded {
        /// Holds the program.
        object: Box<Ebpf>,
        /// The kernel's hash of its instructions.
        tag: u64,
        /// The program in the links that was found to be the same: routes are followed on the real-time thread, and a walk
        /// through every program of the machine is made once.
        same: Option<u32>,
    },
}

impl Front {
    /// Loads the program, where it is asked for.
    pub(super) fn load(mut object: Ebpf, choice: EchoChoice) -> Self {
        if choice != EchoChoice::Xdp {
            return Self::Unwanted;
        }
        let loaded = program_of(&mut object).and_then(|program| {
            program.load()?;
            Ok(program.info()?.tag())
        });
        match loaded {
            Ok(tag) => Self::Loaded {
                object: Box::new(object),
                tag,
                same: None,
            },
            Err(error) => Self::Refused(error.reason()),
        }
    }

    /// Takes over the pinned link, exchanging its program at one stroke if it is another one, or makes one; says which way
    /// it is, and why no better one.
    ///
    /// # Errors
    /// Why there is none: in words.
    pub(super) fn attach(
        &mut self,
        maps: &KernelMaps,
        interface: u32,
        link: &Link,
        places: &Places,
    ) -> Result<(EchoMode, Option<String>), String> {
        match self {
            Self::Unwanted => Err("not asked for".to_owned()),
            Self::Refused(why) => Err(why.clone()),
            Self::Loaded { object, tag, same } => {
                let program = program_of(object).map_err(|error| error.reason())?;
                match take_over(program, (*tag, same), maps, link, places).map_err(|error| error.reason())? {
                    Some(mode) => Ok((mode, None)),
                    None => attach(program, interface, link, &places.pin),
                }
            }
        }
    }
}

fn program_of(object: &mut Ebpf) -> Result<&mut Xdp, Error> {
    match object.program_mut(PROGRAM) {
        Some(Program::Xdp(program)) => Ok(program),
        _ => Err(Error::Missing("XDP program `echo_xdp`")),
    }
}

/// The link that an earlier agent pinned, if it is still this interface's.
fn take_over(
    program: &mut Xdp,
    (tag, same): (u64, &mut Option<u32>),
    maps: &KernelMaps,
    link: &Link,
    places: &Places,
) -> Result<Option<EchoMode>, Error> {
    let mut found = None;
    for pinned in &places.pinned {
        let held = FdLink::from(PinnedLink::from_pin(pinned)?);
        let in_link = held.info()?.program_id();
        let Some(attached) = link.xdp.filter(|attached| attached.program == in_link) else {
            // Of an interface that is gone: its index was given again, in this namespace or another.
            std::fs::remove_file(pinned).map_err(|source| Error::Io {
                what: format!("removing {}", pinned.display()),
                source,
            })?;
            continue;
        };
        if *same != Some(in_link) && is_the_same(in_link, tag, maps)? {
            *same = Some(in_link);
        }
        // The tag does not tell of the port.
        if *pinned != places.pin || *same != Some(in_link) {
            let updated = program.attach_to_link(held.try_into()?)?;
            // The pin holds it.
            drop(program.take_link(updated)?);
            std::fs::rename(pinned, &places.pin).map_err(|source| Error::Io {
                what: format!("renaming {}", pinned.display()),
                source,
            })?;
        }
        found = Some(mode(attached.native));
    }
    Ok(found)
}

/// Whether the program with this id has these instructions and these maps.
fn is_the_same(id: u32, tag: u64, maps: &KernelMaps) -> Result<bool, Error> {
    for info in loaded_programs().filter_map(Result::ok) {
        if info.id() == id {
            return Ok(info.tag() == tag && maps.are_of(&info)?);
        }
    }
    Ok(false)
}

fn attach(
    program: &mut Xdp,
    interface: u32,
    link: &Link,
    pin: &Path,
) -> Result<(EchoMode, Option<String>), String> {
    let not_native = if link.is_virtual {
        // veth, for one, sends from its driver only to a peer that has XDP as well, and drops without a word.
        format!(
            "{} is a virtual interface: native XDP may not send there",
            link.name
        )
    } else {
        match attach_as(program, interface, XdpMode::Driver, pin) {
            Ok(()) => return Ok((EchoMode::XdpNative, None)),
            Err(error) => error.reason(),
        }
    };
    match attach_as(program, interface, XdpMode::Skb, pin) {
        Ok(()) => Ok((EchoMode::XdpGeneric, Some(not_native))),
        Err(error) => Err(error.reason()),
    }
}

fn attach_as(program: &mut Xdp, interface: u32, mode: XdpMode, pin: &Path) -> Result<(), Error> {
    let attached = program.attach_to_if_index(interface, mode)?;
    let link: FdLink = program.take_link(attached)?.try_into()?;
    link.pin(pin)?;
    Ok(())
}

fn mode(native: bool) -> EchoMode {
    if native {
        EchoMode::XdpNative
    } else {
        EchoMode::XdpGeneric
    }
}
