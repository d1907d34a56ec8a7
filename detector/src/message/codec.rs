//! Messages as bytes: big-endian, fixed order, every length checked before it is used, nothing after the end.

use std::time::Duration;

use thiserror::Error;

use super::{
    Ability, Farewell, Goodbye, Greeting, Hint, Look, MAX_LOSSES, MAX_SIGHTINGS, Message, Report, Sighting,
};
use crate::identity::{BootId, IncidentId, MemberId};
use crate::time::nanos;

const GREETING: u8 = 1;
const HINT: u8 = 2;
const REPORT: u8 = 3;
const LOOK: u8 = 4;
const GOODBYE: u8 = 5;
const HEARD: u8 = 6;
const PING: u8 = 7;
const PONG: u8 = 8;

const POWER_OFF: u8 = 1;
const REBOOT: u8 = 2;
const RESTART: u8 = 3;
const LEFT: u8 = 4;

/// "Never", where an age may be missing: 584 years.
const NEVER: u64 = u64::MAX;

/// Why authentic bytes are no message: the peer runs another version, or is hostile.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
pub enum Malformed {
    /// They end too early.
    #[error("truncated")]
    Truncated,
    /// They go on after the end.
    #[error("bytes after the end")]
    Trailing,
    /// No such type of message.
    #[error("unknown type")]
    Type,
    /// A value out of its range.
    #[error("a value out of range")]
    Value,
}

/// What a message speaks of: a newer one of the same slot makes an older one that is not delivered yet worthless.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Slot {
    kind: u8,
    subject: MemberId,
    nonce: u64,
}

impl Message {
    /// See [`Slot`].
    #[must_use]
    pub fn slot(&self) -> Slot {
        let (kind, subject, nonce) = match self {
            Self::Greeting(_) => (GREETING, MemberId(0), 0),
            Self::Hint(hint) => (HINT, hint.subject, 0),
            Self::Report(report) => (REPORT, report.subject, report.nonce),
            Self::Heard(sightings) => {
                let first = sightings.first().map_or(MemberId(0), |sighting| sighting.subject);
                (HEARD, first, 0)
            }
            Self::Look(look) => (LOOK, look.subject, look.nonce),
            Self::Ping(number) => (PING, MemberId(0), *number),
            Self::Pong(number) => (PONG, MemberId(0), *number),
            Self::Goodbye(_) => (GOODBYE, MemberId(0), 0),
        };
        Slot { kind, subject, nonce }
    }

    /// Appends type and body. Losses beyond [`MAX_LOSSES`] and sightings beyond [`MAX_SIGHTINGS`] are
    /// left out, which can only understate.
    pub fn encode(&self, out: &mut Vec<u8>) {
        match self {
            Self::Greeting(greeting) => {
                out.push(GREETING);
                put(out, greeting.boot.0);
                put(out, greeting.config);
                put(out, greeting.roster);
                out.extend(greeting.health.to_be_bytes());
            }
            Self::Hint(hint) => {
                out.push(HINT);
                put(out, hint.subject.0);
                put(out, hint.boot.0);
                put(out, hint.incident.0);
            }
            Self::Report(report) => encode_report(report, out),
            Self::Heard(sightings) => {
                out.push(HEARD);
                let sightings = sightings.get(..MAX_SIGHTINGS).unwrap_or(sightings);
                out.push(u8::try_from(sightings.len()).unwrap_or(u8::MAX));
                for sighting in sightings {
                    put(out, sighting.subject.0);
                    put(out, sighting.boot.0);
                    put_age(out, Some(sighting.echo));
                    put_age(out, Some(sighting.agent));
                    out.extend(sighting.health.to_be_bytes());
                }
            }
            Self::Look(look) => {
                out.push(LOOK);
                put(out, look.subject.0);
                put(out, look.boot.0);
                put(out, look.nonce);
            }
            Self::Ping(number) => {
                out.push(PING);
                put(out, *number);
            }
            Self::Pong(number) => {
                out.push(PONG);
                put(out, *number);
            }
            Self::Goodbye(goodbye) => {
                out.push(GOODBYE);
                put(out, goodbye.boot.0);
                let (kind, ttl) = match goodbye.farewell {
                    Farewell::PowerOff => (POWER_OFF, Duration::ZERO),
                    Farewell::Reboot => (REBOOT, Duration::ZERO),
                    Farewell::Restart { ttl } => (RESTART, ttl),
                    Farewell::Left => (LEFT, Duration::ZERO),
                };
                out.push(kind);
                put(out, nanos(ttl));
            }
        }
    }

    /// The message that `bytes` are, from the first to the last.
    ///
    /// # Errors
    /// See [`Malformed`].
    pub fn decode(bytes: &[u8]) -> Result<Self, Malformed> {
        let mut reader = Reader(bytes);
        let message = match reader.u8()? {
            GREETING => Self::Greeting(Greeting {
                boot: BootId(reader.u64()?),
                config: reader.u64()?,
                roster: reader.u64()?,
                health: reader.u32()?,
            }),
            HINT => Self::Hint(Hint {
                subject: reader.member()?,
                boot: BootId(reader.u64()?),
                incident: IncidentId(reader.u64()?),
            }),
            REPORT => Self::Report(decode_report(&mut reader)?),
            HEARD => Self::Heard(reader.list(MAX_SIGHTINGS, sighting)?),
            LOOK => Self::Look(Look {
                subject: reader.member()?,
                boot: BootId(reader.u64()?),
                nonce: reader.not_zero()?,
            }),
            PING => Self::Ping(reader.u64()?),
            PONG => Self::Pong(reader.u64()?),
            GOODBYE => Self::Goodbye(Goodbye {
                boot: BootId(reader.u64()?),
                farewell: match (reader.u8()?, reader.u64()?) {
                    (POWER_OFF, 0) => Farewell::PowerOff,
                    (REBOOT, 0) => Farewell::Reboot,
                    (RESTART, ttl) => Farewell::Restart {
                        ttl: Duration::from_nanos(ttl),
                    },
                    (LEFT, 0) => Farewell::Left,
                    _ => return Err(Malformed::Value),
                },
            }),
            _ => return Err(Malformed::Type),
        };
        reader.end()?;
        Ok(message)
    }
}

fn encode_report(report: &Report, out: &mut Vec<u8>) {
    out.push(REPORT);
    put(out, report.subject.0);
    put(out, report.boot.0);
    put(out, report.incident.0);
    put(out, report.config);
    put(out, report.nonce);
    out.push(report.ability as u8);
    put_age(out, report.echo);
    put_age(out, report.sign);
    put(out, report.loss.to_bits());
    let losses = report.losses.get(..MAX_LOSSES).unwrap_or(&report.losses);
    out.push(u8::try_from(losses.len()).unwrap_or(u8::MAX));
    for age in losses {
        put_age(out, Some(*age));
    }
}

fn decode_report(reader: &mut Reader<'_>) -> Result<Report, Malformed> {
    Ok(Report {
        subject: reader.member()?,
        boot: BootId(reader.u64()?),
        incident: IncidentId(reader.u64()?),
        config: reader.u64()?,
        nonce: reader.u64()?,
        ability: ability(reader.u8()?)?,
        echo: reader.maybe_age()?,
        sign: reader.maybe_age()?,
        loss: fraction(f64::from_bits(reader.u64()?))?,
        losses: reader.list(MAX_LOSSES, Reader::age)?,
    })
}

fn sighting(reader: &mut Reader<'_>) -> Result<Sighting, Malformed> {
    Ok(Sighting {
        subject: reader.member()?,
        boot: BootId(reader.u64()?),
        echo: reader.age()?,
        agent: reader.age()?,
        health: reader.u32()?,
    })
}

fn ability(byte: u8) -> Result<Ability, Malformed> {
    const ALL: [Ability; 6] = [
        Ability::Able,
        Ability::LateTick,
        Ability::LinkDown,
        Ability::NeverHeard,
        Ability::MostSilent,
        Ability::NotObserver,
    ];
    let known = ALL.into_iter().find(|ability| *ability as u8 == byte);
    known.ok_or(Malformed::Value)
}

/// A share of probes, from none to all; no infinity, no NaN.
fn fraction(value: f64) -> Result<f64, Malformed> {
    if (0.0..=1.0).contains(&value) {
        Ok(value)
    } else {
        Err(Malformed::Value)
    }
}

fn put(out: &mut Vec<u8>, word: u64) {
    out.extend(word.to_be_bytes());
}

fn put_age(out: &mut Vec<u8>, age: Option<Duration>) {
    put(out, age.map_or(NEVER, |age| nanos(age).min(NEVER - 1)));
}

/// The bytes that are still to be read.
struct Reader<'a>(&'a [u8]);

impl Reader<'_> {
    fn take<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let (taken, rest) = self.0.split_first_chunk().ok_or(Malformed::Truncated)?;
        self.0 = rest;
        Ok(*taken)
    }

    fn u8(&mut self) -> Result<u8, Malformed> {
        self.take().map(u8::from_be_bytes)
    }

    fn u32(&mut self) -> Result<u32, Malformed> {
        self.take().map(u32::from_be_bytes)
    }

    fn u64(&mut self) -> Result<u64, Malformed> {
        self.take().map(u64::from_be_bytes)
    }

    fn not_zero(&mut self) -> Result<u64, Malformed> {
        match self.u64()? {
            0 => Err(Malformed::Value),
            word => Ok(word),
        }
    }

    fn member(&mut self) -> Result<MemberId, Malformed> {
        self.not_zero().map(MemberId)
    }

    fn maybe_age(&mut self) -> Result<Option<Duration>, Malformed> {
        Ok(match self.u64()? {
            NEVER => None,
            age => Some(Duration::from_nanos(age)),
        })
    }

    fn age(&mut self) -> Result<Duration, Malformed> {
        self.maybe_age()?.ok_or(Malformed::Value)
    }

    fn list<T>(
        &mut self,
        most: usize,
        element: impl Fn(&mut Self) -> Result<T, Malformed>,
    ) -> Result<Vec<T>, Malformed> {
        let count = usize::from(self.u8()?);
        if count > most {
            return Err(Malformed::Value);
        }
        (0..count).map(|_| element(self)).collect()
    }

    fn end(&self) -> Result<(), Malformed> {
        if self.0.is_empty() {
            Ok(())
        } else {
            Err(Malformed::Trailing)
        }
    }
}

#[cfg(test)]
mod tests;
