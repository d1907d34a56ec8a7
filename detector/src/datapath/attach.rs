//! Where the program listens: on each interface that leads to members, tcx if trying it works, else a legacy filter.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::net::IpAddr;
use std::path::Path;

use aya::programs::links::{FdLink, PinnedLink};
use aya::programs::tc::{
    NlOptions, SchedClassifierLink, TcAttachOptions, TcError, TcHandle, qdisc_add_clsact,
};
use aya::programs::{Link as _, LinkOrder, ProgramError, SchedClassifier, TcAttachType};

use super::Error;
use super::choice::{EchoChoice, EchoMode};
use super::front::Places;
use super::load::Kernel;
use super::netlink::{Link, Netlink};

/// Before everybody else's filters.
const PRIORITY: u16 = 1;
/// Ours among the filters of that priority ("nfd" and a one): others, Cilium for one, use handle 1.
const HANDLE: TcHandle = TcHandle::new(0x6e66, 0x6401);

/// `ARPHRD_ETHER` and `ARPHRD_LOOPBACK`: frames begin with an Ethernet header.
const ETHERNET: [u16; 2] = [1, 772];

const ENOENT: i32 = 2;
const EEXIST: i32 = 17;
const ENODEV: i32 = 19;

#[derive(Debug)]
struct Hook {
    name: String,
    mode: EchoMode,
    /// Why no better mode.
    why: Option<String>,
}

/// The interfaces that lead to members.
#[derive(Debug, Default)]
pub(super) struct Hooks {
    by_interface: BTreeMap<u32, Hook>,
    /// Why no interface could be asked for.
    no_routes: Option<String>,
}

impl Hooks {
    /// Attaches where the routes lead, and exchanges the program at the links that are there already.
    pub(super) fn follow_routes(&mut self, kernel: &mut Kernel, choice: EchoChoice, members: &[IpAddr]) {
        self.no_routes = None;
        let mut netlink = match Netlink::open() {
            Ok(netlink) => netlink,
            Err(error) => {
                self.no_routes = Some(format!("routes cannot be asked for: {error}"));
                return;
            }
        };
        self.forget_interfaces_that_are_gone(&mut netlink, kernel);
        let mut unreachable = None;
        let mut wanted: BTreeSet<u32> = kernel
            .pins
            .links()
            .into_iter()
            .map(|(interface, _)| interface)
            .collect();
        for member in members {
            match netlink.interface_to(*member) {
                Ok(Some(interface)) => _ = wanted.insert(interface),
                Ok(None) => {}
                Err(error) => unreachable = Some(error),
            }
        }
        for interface in wanted {
            match netlink.link(interface) {
                Ok(link) => self.attach(kernel, choice, interface, link),
                Err(error) => unreachable = Some(error),
            }
        }
        if self.by_interface.is_empty() {
            let why = unreachable.map_or_else(|| "no address is known".to_owned(), |error| error.to_string());
            self.no_routes = Some(format!("no interface leads to a member: {why}"));
        }
    }

    fn forget_interfaces_that_are_gone(&mut self, netlink: &mut Netlink, kernel: &Kernel) {
        let mut is_gone = |interface: u32| {
            let link = netlink.link(interface);
            link.is_err_and(|error| error.raw_os_error() == Some(ENODEV))
        };
        self.by_interface.retain(|interface, _| !is_gone(*interface));
        let pins = kernel.pins.links().into_iter().chain(kernel.pins.xdp_links());
        for (interface, pin) in pins {
            if is_gone(interface) {
                // What stays is tried again the next time.
                let _ = std::fs::remove_file(pin);
            }
        }
    }

    fn attach(&mut self, kernel: &mut Kernel, choice: EchoChoice, interface: u32, link: Link) {
        let (mode, why) = match attach(kernel, choice, interface, &link) {
            Ok(behind) => in_front(kernel, choice, interface, &link, behind),
            Err(error) => (EchoMode::User, Some(error.reason())),
        };
        self.by_interface.insert(
            interface,
            Hook {
                name: link.name,
                mode,
                why,
            },
        );
    }

    /// Whether there is no interface yet.
    pub(super) fn are_none(&self) -> bool {
        self.by_interface.is_empty()
    }

    /// The weakest way of any interface.
    pub(super) fn mode(&self) -> EchoMode {
        let modes = self.by_interface.values().map(|hook| hook.mode);
        modes.min().unwrap_or(EchoMode::User)
    }

    /// Each interface with its way, and why it is no better one.
    pub(super) fn reason(&self) -> String {
        let mut text = self.no_routes.clone().unwrap_or_default();
        for hook in self.by_interface.values() {
            let separator = if text.is_empty() { "" } else { "; " };
            let _ = write!(text, "{separator}{} by {}", hook.name, hook.mode.as_str());
            if let Some(why) = &hook.why {
                let _ = write!(text, " ({why})");
            }
        }
        text
    }
}

/// XDP before the hook that was attached, where it is asked for; else what an earlier agent left of it is taken away.
fn in_front(
    kernel: &mut Kernel,
    choice: EchoChoice,
    interface: u32,
    link: &Link,
    behind: (EchoMode, Option<String>),
) -> (EchoMode, Option<String>) {
    let pinned = kernel.pins.xdp_links().into_iter();
    let pinned = pinned.filter(|(of, _)| *of == interface).map(|(_, pin)| pin);
    if choice != EchoChoice::Xdp {
        for pin in pinned {
            // What stays is tried again the next time.
            let _ = std::fs::remove_file(pin);
        }
        return behind;
    }
    let places = Places {
        pinned: pinned.collect(),
        pin: kernel.pins.xdp_link(interface, kernel.port),
    };
    match kernel.front.attach(&kernel.maps, interface, link, &places) {
        Ok(in_front) => in_front,
        Err(why) => (behind.0, Some(format!("XDP: {why}"))),
    }
}

/// tcx, else a legacy filter; the other one's leftovers of an earlier agent are removed after it, so that there is an
/// echo at any time. (While both are there the first one answers, and the second never sees the packet.)
fn attach(
    kernel: &mut Kernel,
    choice: EchoChoice,
    interface: u32,
    link: &Link,
) -> Result<(EchoMode, Option<String>), Error> {
    if !ETHERNET.contains(&link.hardware) {
        return Err(Error::NotEthernet {
            name: link.name.clone(),
            hardware: link.hardware,
        });
    }
    let pin = kernel.pins.link(interface);
    let no_tcx = if choice == EchoChoice::Clsact {
        "asked for".to_owned()
    } else {
        match attach_tcx(&mut kernel.program, &link.name, &pin) {
            Ok(()) => {
                // One that stays never sees a packet of ours: the link is before it.
                let _ = remove_filter(&link.name);
                return Ok((EchoMode::Tcx, None));
            }
            Err(error) => error.reason(),
        }
    };
    attach_filter(&mut kernel.program, &link.name)?;
    // What is not there needs no removal.
    let _ = std::fs::remove_file(&pin);
    Ok((EchoMode::Clsact, Some(no_tcx)))
}

/// Takes over the pinned link, exchanging its program at one stroke if it is another one, or makes one, first in order.
fn attach_tcx(program: &mut SchedClassifier, interface: &str, pin: &Path) -> Result<(), Error> {
    let ours = program.info()?.id();
    if let Ok(pinned) = PinnedLink::from_pin(pin) {
        let link = FdLink::from(pinned);
        let in_link = link.info()?.program_id();
        let (_, attached) = SchedClassifier::query_tcx(interface, TcAttachType::Ingress)?;
        if attached.iter().any(|program| program.id() == in_link) {
            if in_link != ours {
                let updated = program.attach_to_link(link.try_into()?)?;
                // The pin holds it.
                drop(program.take_link(updated)?);
            }
            return Ok(());
        }
        // Of an interface that is gone: its index was given again, in this namespace or another.
        std::fs::remove_file(pin).map_err(|source| Error::Io {
            what: format!("removing {}", pin.display()),
            source,
        })?;
    }
    let first = TcAttachOptions::TcxOrder(LinkOrder::first());
    let attached = program.attach_with_options(interface, TcAttachType::Ingress, first)?;
    let link: FdLink = program.take_link(attached)?.try_into()?;
    link.pin(pin)?;
    Ok(())
}

/// Exchanges the program of our filter, or adds the filter.
fn attach_filter(program: &mut SchedClassifier, interface: &str) -> Result<(), Error> {
    match qdisc_add_clsact(interface) {
        Err(TcError::NetlinkError(error)) if error.raw_os_error() == Some(EEXIST) => {}
        other => other?,
    }
    let attached = match program.attach_to_link(our_filter(interface)?) {
        Err(error) if errno(&error) == Some(ENOENT) => {
            let options = NlOptions {
                priority: PRIORITY,
                handle: HANDLE,
                classid: None,
            };
            let options = TcAttachOptions::Netlink(options);
            program.attach_with_options(interface, TcAttachType::Ingress, options)?
        }
        other => other?,
    };
    // Dropped, it would take the filter along.
    std::mem::forget(program.take_link(attached)?);
    Ok(())
}

/// Removes our legacy filter from an interface; whether there was one.
pub(super) fn remove_filter(interface: &str) -> Result<bool, Error> {
    match our_filter(interface)?.detach() {
        Ok(()) => Ok(true),
        // No filter, no clsact, or (EOPNOTSUPP, ENODEV) an interface that can have none.
        Err(error) if errno(&error).is_some() => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn our_filter(interface: &str) -> Result<SchedClassifierLink, Error> {
    let filter = SchedClassifierLink::attached(interface, TcAttachType::Ingress, PRIORITY, HANDLE, None);
    filter.map_err(|source| Error::Io {
        what: format!("interface {interface}"),
        source,
    })
}

fn errno(error: &ProgramError) -> Option<i32> {
    match error {
        ProgramError::NetlinkError(error) => error.raw_os_error(),
        ProgramError::TcError(TcError::NetlinkError(error)) => error.raw_os_error(),
        _ => None,
    }
}
