//! A static roster: a TOML file, for meshes without Kubernetes.
//!
//! ```toml
//! [[members]]
//! name = "n1"
//! addresses = ["10.0.0.1"]
//! zone = "a"                      # optional
//! public_key = "64 hexadecimal digits, as `detector keygen` prints them"
//!
//! [[stewards]]
//! name = "s1"
//! node = "n1"
//! address = "10.0.0.1:274"
//! public_key = "…"
//! ```

use std::collections::BTreeMap;
use std::fmt::Display;
use std::net::{IpAddr, SocketAddr};

use serde::Deserialize;
use thiserror::Error;

use super::{MAX_ADDRESSES, MAX_MEMBERS, MAX_NAME, MAX_STEWARDS, Member, PublicKey, Roster, StewardEntry};
use crate::identity::MemberId;

/// The largest file that is read, in bytes: [`MAX_MEMBERS`] with room for comments.
pub const MAX_FILE: usize = 4 * 1024 * 1024;

/// Why a file is no roster.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
pub enum Invalid {
    /// More bytes than [`MAX_FILE`].
    #[error("the file has {0} bytes; allowed: at most {MAX_FILE}")]
    TooLarge(usize),
    /// No TOML, a field that does not exist, or one that is missing or of another type.
    #[error("{0}")]
    Toml(String),
    /// A value that is not allowed.
    #[error("{field}: {problem}")]
    Value {
        /// Which, as a path into the file.
        field: String,
        /// The value and what is allowed.
        problem: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawRoster {
    #[serde(default)]
    members: Vec<RawMember>,
    #[serde(default)]
    stewards: Vec<RawSteward>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawMember {
    name: String,
    addresses: Vec<String>,
    #[serde(default)]
    zone: String,
    public_key: String,
    #[serde(default)]
    control_plane: bool,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawSteward {
    name: String,
    node: String,
    address: String,
    public_key: String,
}

/// Reads a static roster. The UID of a member is its name.
///
/// # Errors
/// The first thing that is wrong: field, value, and what is allowed.
pub fn parse(text: &str) -> Result<Roster, Invalid> {
    if text.len() > MAX_FILE {
        return Err(Invalid::TooLarge(text.len()));
    }
    let raw: RawRoster =
        toml::from_str(text).map_err(|error| Invalid::Toml(error.to_string().trim_end().to_owned()))?;
    count("members", raw.members.len(), 1..=MAX_MEMBERS)?;
    count("stewards", raw.stewards.len(), 0..=MAX_STEWARDS)?;
    let mut taken = Taken::default();
    let mut members = Vec::with_capacity(raw.members.len());
    for (index, member) in raw.members.into_iter().enumerate() {
        members.push(member.validate(&format!("members[{index}]"), &mut taken)?);
    }
    let mut stewards = Vec::with_capacity(raw.stewards.len());
    for (index, steward) in raw.stewards.into_iter().enumerate() {
        stewards.push(steward.validate(&format!("stewards[{index}]"), &mut taken)?);
    }
    Ok(Roster::new(members, stewards))
}

/// The entry of a member for such a file, as `detector keygen` prints it: its addresses are to be filled in.
#[must_use]
pub fn entry(name: &str, key: &PublicKey) -> String {
    format!("[[members]]\nname = {name:?}\naddresses = [\"ADDRESS\"]\npublic_key = \"{key}\"\n")
}

impl RawMember {
    fn validate(self, at: &str, taken: &mut Taken) -> Result<Member, Invalid> {
        let field = |name: &str| format!("{at}.{name}");
        let name = text(&field("name"), &self.name, 1..=MAX_NAME)?;
        taken.claim("member", &field("name"), &name)?;
        count(&field("addresses"), self.addresses.len(), 1..=MAX_ADDRESSES)?;
        let mut addresses = Vec::with_capacity(self.addresses.len());
        for address in &self.addresses {
            let address = host(&field("addresses"), address)?;
            taken.claim("address", &field("addresses"), &address)?;
            addresses.push(address);
        }
        Ok(Member {
            uid: name.clone(),
            name,
            addresses,
            zone: text(&field("zone"), &self.zone, 0..=MAX_NAME)?,
            key: Some(taken.key(&field("public_key"), &self.public_key)?),
            control_plane: self.control_plane,
            leaving: false,
        })
    }
}

impl RawSteward {
    fn validate(self, at: &str, taken: &mut Taken) -> Result<StewardEntry, Invalid> {
        let field = |name: &str| format!("{at}.{name}");
        let name = text(&field("name"), &self.name, 1..=MAX_NAME)?;
        taken.claim("steward", &field("name"), &name)?;
        let address = socket(&field("address"), &self.address)?;
        taken.claim("steward's address", &field("address"), &address)?;
        Ok(StewardEntry {
            id: MemberId::of_steward(&name),
            node: text(&field("node"), &self.node, 1..=MAX_NAME)?,
            address,
            key: taken.key(&field("public_key"), &self.public_key)?,
        })
    }
}

/// Who has taken what: nothing may be given to two.
#[derive(Default)]
struct Taken(BTreeMap<(&'static str, String), String>);

impl Taken {
    fn claim(&mut self, what: &'static str, field: &str, value: &impl Display) -> Result<(), Invalid> {
        match self.0.insert((what, value.to_string()), field.to_owned()) {
            None => Ok(()),
            Some(first) => Err(wrong(
                field,
                &format!("{value} is given to {first} as well; wanted: one {what} each"),
            )),
        }
    }

    fn key(&mut self, field: &str, value: &str) -> Result<PublicKey, Invalid> {
        let key: PublicKey = value.parse().map_err(|problem: String| wrong(field, &problem))?;
        self.claim("key", field, &key)?;
        Ok(key)
    }
}

fn wrong(field: &str, problem: &str) -> Invalid {
    Invalid::Value {
        field: field.to_owned(),
        problem: problem.to_owned(),
    }
}

fn count(field: &str, value: usize, allowed: std::ops::RangeInclusive<usize>) -> Result<(), Invalid> {
    if allowed.contains(&value) {
        return Ok(());
    }
    let (least, most) = allowed.into_inner();
    Err(wrong(field, &format!("{value} entries; allowed: {least}-{most}")))
}

fn text(field: &str, value: &str, allowed: std::ops::RangeInclusive<usize>) -> Result<String, Invalid> {
    let plain = value
        .chars()
        .all(|c| c.is_ascii_alphanumeric() || "-._".contains(c));
    if plain && allowed.contains(&value.len()) {
        return Ok(value.to_owned());
    }
    let (least, most) = allowed.into_inner();
    Err(wrong(
        field,
        &format!("{value:?} is no name; allowed: {least}-{most} of letters, digits, '-', '.', '_'"),
    ))
}

fn host(field: &str, value: &str) -> Result<IpAddr, Invalid> {
    let address: Option<IpAddr> = value.parse().ok();
    let one_host = |address: &IpAddr| !address.is_unspecified() && !address.is_multicast();
    address.filter(one_host).ok_or_else(|| {
        wrong(
            field,
            &format!("{value:?} is no host's address; wanted: IPv4 or IPv6, without port"),
        )
    })
}

fn socket(field: &str, value: &str) -> Result<SocketAddr, Invalid> {
    let address: Option<SocketAddr> = value.parse().ok();
    let one_host = |address: &SocketAddr| {
        address.port() != 0 && !address.ip().is_unspecified() && !address.ip().is_multicast()
    };
    address.filter(one_host).ok_or_else(|| {
        wrong(
            field,
            &format!("{value:?} is no address; wanted: IP:PORT or [IPv6]:PORT"),
        )
    })
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "a test may end at once")]
mod tests {
    use super::{Invalid, MAX_FILE, parse};
    use crate::identity::MemberId;

    fn key(byte: u8) -> String {
        format!("{byte:02x}").repeat(32)
    }

    fn two_members_and_a_steward() -> String {
        let [a, b, s] = [1, 2, 3].map(key);
        format!(
            r#"
            [[members]]
            name = "n1"
            addresses = ["10.0.0.1", "fd00::1"]
            zone = "a"
            public_key = "{a}"

            [[members]]
            name = "n2"
            addresses = ["10.0.0.2"]
            public_key = "{b}"
            control_plane = true

            [[stewards]]
            name = "s1"
            node = "n1"
            address = "[fd00::1]:274"
            public_key = "{s}"
            "#
        )
    }

    #[test]
    fn a_whole_roster() {
        let roster = parse(&two_members_and_a_steward()).unwrap();
        assert_eq!(roster.members.len(), 2);
        let (id, first) = roster.named("n1").unwrap();
        assert_eq!(id, MemberId::of_node("n1"));
        assert_eq!(first.socket(273).unwrap().to_string(), "10.0.0.1:273");
        assert_eq!(
            (first.addresses.len(), first.zone.as_str(), first.control_plane),
            (2, "a", false)
        );
        let (_, second) = roster.named("n2").unwrap();
        assert_eq!((second.zone.as_str(), second.control_plane), ("", true));
        let steward = roster.steward(MemberId::of_steward("s1")).unwrap();
        assert_eq!((steward.node.as_str(), steward.address.port()), ("n1", 274));
    }

    #[test]
    fn errors_name_field_value_and_what_is_allowed() {
        let cases = [
            (
                "name = \"n2\"",
                "name = \"\"",
                "members[1].name: \"\" is no name; allowed: 1-253",
            ),
            (
                "name = \"n2\"",
                "name = \"n 2\"",
                "members[1].name: \"n 2\" is no name",
            ),
            (
                "name = \"n2\"",
                "name = \"n1\"",
                "members[1].name: n1 is given to members[0].name as well",
            ),
            (
                "\"10.0.0.2\"",
                "\"10.0.0\"",
                "members[1].addresses: \"10.0.0\" is no host's address",
            ),
            (
                "\"10.0.0.2\"",
                "\"0.0.0.0\"",
                "members[1].addresses: \"0.0.0.0\" is no host's address",
            ),
            (
                "\"10.0.0.2\"",
                "\"fd00::1\"",
                "members[1].addresses: fd00::1 is given to members[0].addresses",
            ),
            (
                "[\"10.0.0.2\"]",
                "[]",
                "members[1].addresses: 0 entries; allowed: 1-8",
            ),
            (
                "zone = \"a\"",
                "zone = \"a/b\"",
                "members[0].zone: \"a/b\" is no name; allowed: 0-253",
            ),
            ("0202", "02zz", "members[1].public_key: \"02zz"),
            (
                "[fd00::1]:274",
                "[fd00::1]:0",
                "stewards[0].address: \"[fd00::1]:0\" is no address",
            ),
            (
                "[fd00::1]:274",
                "10.0.0.1",
                "stewards[0].address: \"10.0.0.1\" is no address; wanted: IP:PORT",
            ),
            (
                "node = \"n1\"",
                "node = \"\"",
                "stewards[0].node: \"\" is no name",
            ),
            ("zone = \"a\"", "zoen = \"a\"", "unknown field `zoen`"),
            ("control_plane = true", "control_plane = 1", "expected a boolean"),
            ("addresses = [\"10.0.0.2\"]", "", "missing field `addresses`"),
        ];
        for (from, to, says) in cases {
            let text = two_members_and_a_steward();
            assert!(text.contains(from), "{from}");
            let error = parse(&text.replacen(from, to, 1)).unwrap_err().to_string();
            assert!(error.contains(says), "{to}: {error}");
        }
    }

    #[test]
    fn one_key_is_one_members() {
        let text = two_members_and_a_steward().replace(&key(3), &key(1));
        let error = parse(&text).unwrap_err().to_string();
        assert!(error.starts_with("stewards[0].public_key: 0101"), "{error}");
        assert!(error.contains("given to members[0].public_key"), "{error}");
    }

    #[test]
    fn empty_and_oversized_files_are_refused() {
        assert!(
            parse("")
                .unwrap_err()
                .to_string()
                .starts_with("members: 0 entries")
        );
        let large = " ".repeat(MAX_FILE + 1);
        assert_eq!(parse(&large), Err(Invalid::TooLarge(MAX_FILE + 1)));
    }
}
