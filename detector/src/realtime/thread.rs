//! IO: a thread that the scheduler runs before ordinary work, with its memory locked.

use std::io;
use std::thread::{Builder, JoinHandle};

use rustix::mm::{MlockAllFlags, mlockall};

/// Below the kernel's own real-time threads (50: threaded interrupts), above everything ordinary.
const FIFO_PRIORITY: i32 = 10;

/// What is tried where SCHED_FIFO is refused.
const NICE: i32 = -20;

/// What the kernel granted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scheduling {
    /// SCHED_FIFO.
    Fifo,
    /// Nice −20; the reason why not SCHED_FIFO.
    Nice(String),
    /// Nothing; the reason.
    Normal(String),
}

impl std::fmt::Display for Scheduling {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Fifo => write!(f, "SCHED_FIFO {FIFO_PRIORITY}"),
            Self::Nice(why) => write!(f, "nice {NICE}, as SCHED_FIFO was refused: {why}"),
            Self::Normal(why) => write!(f, "normal: {why}"),
        }
    }
}

/// Starts `run` on a thread of its own; it is told what scheduling it got.
///
/// # Errors
/// No thread can be made.
#[expect(clippy::disallowed_methods, reason = "the IO file for the real-time thread")]
pub fn start<T: Send + 'static>(
    name: &str,
    realtime: bool,
    run: impl FnOnce(Scheduling) -> T + Send + 'static,
) -> io::Result<JoinHandle<T>> {
    Builder::new().name(name.to_owned()).spawn(move || {
        let scheduling = if realtime {
            raise()
        } else {
            Scheduling::Normal("by configuration".to_owned())
        };
        run(scheduling)
    })
}

/// Locks what is in memory, and what comes into it later: a page fault in the wrong moment is a late tick. Pages are
/// locked when they are first touched, so that the stacks of tokio's threads do not count whole.
///
/// # Errors
/// Neither CAP_IPC_LOCK nor a high enough RLIMIT_MEMLOCK.
pub fn lock_memory() -> io::Result<()> {
    Ok(mlockall(
        MlockAllFlags::CURRENT | MlockAllFlags::FUTURE | MlockAllFlags::ONFAULT,
    )?)
}

fn raise() -> Scheduling {
    let parameter = libc::sched_param {
        sched_priority: FIFO_PRIORITY,
    };
    // SAFETY: pid 0 is the calling thread, and the kernel only reads the parameter, which lives until the call ends.
    // SCHED_RESET_ON_FORK keeps threads that a library may start here ordinary.
    let refused = unsafe {
        libc::sched_setscheduler(
            0,
            libc::SCHED_FIFO | libc::SCHED_RESET_ON_FORK,
            &raw const parameter,
        )
    };
    if refused == 0 {
        return Scheduling::Fifo;
    }
    let why = io::Error::last_os_error();
    match rustix::process::setpriority_process(Some(rustix::thread::gettid()), NICE) {
        Ok(()) => Scheduling::Nice(why.to_string()),
        Err(nice) => Scheduling::Normal(format!("SCHED_FIFO: {why}; nice {NICE}: {nice}")),
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]
    use super::{Scheduling, start};

    #[test]
    fn what_is_asked_for_is_what_is_told() {
        let normal = start("normal", false, |scheduling| scheduling)
            .unwrap()
            .join()
            .unwrap();
        assert_eq!(normal, Scheduling::Normal("by configuration".to_owned()));
        let policy = |scheduling| {
            // SAFETY: pid 0 is the calling thread; the call reads nothing of ours.
            let policy = unsafe { libc::sched_getscheduler(0) } & !libc::SCHED_RESET_ON_FORK;
            (scheduling, policy)
        };
        let (told, policy) = start("raised", true, policy).unwrap().join().unwrap();
        assert_eq!(told == Scheduling::Fifo, policy == libc::SCHED_FIFO, "{told}");
    }
}
