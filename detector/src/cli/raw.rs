//! Where each option's text comes from: flag, environment, file, default, in this order.

use std::collections::BTreeMap;
use std::fmt;
use std::path::Path;

use super::options::{For, TABLE, find};

/// The largest configuration file that is read, in bytes.
const MAX_FILE: u64 = 64 * 1024;

/// Where a value stood.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// `--name`.
    Flag,
    /// Its environment variable.
    Environment,
    /// The file's key.
    File(String),
    /// The table.
    Default,
}

/// A wrong value: which, where it stood, what is allowed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {problem}{}", Place(origin, field))]
pub struct Invalid {
    /// The option's name.
    pub field: String,
    /// The value and what is allowed.
    pub problem: String,
    /// Where it stood.
    pub origin: Origin,
}

struct Place<'a>(&'a Origin, &'a str);

impl fmt::Display for Place<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Origin::Flag => write!(f, " (given as --{})", self.1),
            Origin::Environment => {
                write!(
                    f,
                    " (given in {})",
                    find(self.1).map(super::options::Opt::env).unwrap_or_default()
                )
            }
            Origin::File(path) => write!(f, " (in {path})"),
            Origin::Default => Ok(()),
        }
    }
}

/// All options of a role as text, each with its origin.
#[derive(Clone, Debug, Default)]
pub struct Raw {
    values: BTreeMap<&'static str, (String, Origin)>,
}

impl Raw {
    /// Collects the role's options. `file` is the path and text of the configuration file, `environment` looks a
    /// variable up.
    ///
    /// # Errors
    /// A file that is not TOML, or holds a key that the role does not know, or a value that is no text, number or
    /// boolean.
    pub fn collect(
        role: For,
        flags: &BTreeMap<String, String>,
        environment: impl Fn(&str) -> Option<String>,
        file: Option<(&Path, &str)>,
    ) -> Result<Self, Invalid> {
        let mut from_file = match file {
            Some((path, text)) => parse(path, text)?,
            None => BTreeMap::new(),
        };
        let path = file
            .map(|(path, _)| path.display().to_string())
            .unwrap_or_default();
        let mut values = BTreeMap::new();
        for opt in TABLE.iter().filter(|opt| opt.is_for(role)) {
            let in_file = from_file.remove(opt.name);
            let value = if let Some(text) = flags.get(opt.name) {
                (text.clone(), Origin::Flag)
            } else if let Some(text) = environment(&opt.env()) {
                (text, Origin::Environment)
            } else if let Some(text) = in_file {
                (text, Origin::File(path.clone()))
            } else {
                (opt.default.to_owned(), Origin::Default)
            };
            values.insert(opt.name, value);
        }
        // One file may serve both roles; a key that neither knows is a misspelling.
        match from_file.keys().find(|key| find(key).is_none()) {
            Some(key) => Err(Invalid {
                field: key.clone(),
                problem: "no such option; `detector agent --help` lists them".to_owned(),
                origin: Origin::File(path),
            }),
            None => Ok(Self { values }),
        }
    }

    /// The text of an option, validated by `check`, which says what is wrong with the value and what is allowed.
    ///
    /// # Errors
    /// What `check` says, with field and origin.
    pub fn get<T>(
        &self,
        name: &'static str,
        check: impl FnOnce(&str) -> Result<T, String>,
    ) -> Result<T, Invalid> {
        let (text, origin) = self
            .values
            .get(name)
            .cloned()
            .unwrap_or((String::new(), Origin::Default));
        check(&text).map_err(|problem| Invalid {
            field: name.to_owned(),
            problem,
            origin,
        })
    }
}

/// Reads a configuration file, bounded.
///
/// # Errors
/// What the file system says, or that it is too large.
pub fn read_file(path: &Path) -> std::io::Result<String> {
    let size = std::fs::metadata(path)?.len();
    if size > MAX_FILE {
        return Err(std::io::Error::other(format!(
            "{size} bytes; allowed: up to {MAX_FILE}"
        )));
    }
    std::fs::read_to_string(path)
}

fn parse(path: &Path, text: &str) -> Result<BTreeMap<String, String>, Invalid> {
    let invalid = |field: &str, problem: String| Invalid {
        field: field.to_owned(),
        problem,
        origin: Origin::File(path.display().to_string()),
    };
    let table: toml::Table = text
        .parse()
        .map_err(|error| invalid("config", format!("not TOML: {error}")))?;
    table
        .into_iter()
        .map(|(key, value)| {
            let text = match value {
                toml::Value::String(text) => text,
                toml::Value::Integer(number) => number.to_string(),
                toml::Value::Boolean(flag) => flag.to_string(),
                other => {
                    let problem = format!(
                        "a {} is not allowed; allowed: text, number, true, false",
                        other.type_str()
                    );
                    return Err(invalid(&key, problem));
                }
            };
            Ok((key.replace('_', "-"), text))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "a test may panic")]
    use super::{Origin, Raw};
    use crate::cli::options::For;
    use std::collections::BTreeMap;
    use std::path::Path;

    fn text(raw: &Raw, name: &'static str) -> String {
        raw.get(name, |text| Ok(text.to_owned())).unwrap()
    }

    #[test]
    fn flag_before_environment_before_file_before_default() {
        let file = Some((
            Path::new("f.toml"),
            "port = 3\nprofile = \"c\"\nmode = \"d\"\nsteward_port = 9\n",
        ));
        let flags = BTreeMap::from([("port".to_owned(), "1".to_owned())]);
        let env = |name: &str| {
            ["DETECTOR_PORT", "DETECTOR_PROFILE"]
                .contains(&name)
                .then(|| "2".to_owned())
        };
        let raw = Raw::collect(For::Steward, &flags, env, file).unwrap();
        assert_eq!(
            [text(&raw, "port"), text(&raw, "profile"), text(&raw, "mode")],
            ["1", "2", "d"]
        );
        assert_eq!([text(&raw, "steward-port"), text(&raw, "log")], ["9", "info"]);
    }

    #[test]
    fn errors_name_field_value_and_place() {
        let file = Some((Path::new("f.toml"), "port = 70000"));
        let raw = Raw::collect(For::Agent, &BTreeMap::new(), |_| None, file).unwrap();
        let error = raw
            .get::<()>("port", |text| Err(format!("{text:?} is wrong; allowed: 1-65535")))
            .unwrap_err();
        assert_eq!(
            error.to_string(),
            "port: \"70000\" is wrong; allowed: 1-65535 (in f.toml)"
        );
        assert_eq!(error.origin, Origin::File("f.toml".to_owned()));
    }

    #[test]
    fn unknown_keys_and_odd_values_in_the_file_are_refused() {
        for (text, field) in [("prot = 1", "prot"), ("port = [1]", "port"), ("port =", "config")] {
            let file = Some((Path::new("f.toml"), text));
            let error = Raw::collect(For::Agent, &BTreeMap::new(), |_| None, file).unwrap_err();
            assert_eq!(error.field, field, "{error}");
        }
    }
}
