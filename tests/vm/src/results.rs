//! From what a guest said to checks: a name and an outcome each.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::guest::Ran;
use crate::kernel::Version;
use crate::plan::Said;

/// What came of a check on one kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", tag = "outcome", content = "why")]
pub enum Outcome {
    /// It held.
    Passed,
    /// It did not.
    Failed(String),
    /// The kernel lacks what it needs.
    Skipped(String),
}

/// Features that a version must have: a check that is skipped for one of them there has failed.
const MUST_HAVE: [(&str, (u32, u32)); 2] = [
    // net: tcx, 6.6
    ("tcx", (6, 6)),
    // The module is in every kernel that guests boot.
    ("vlan", (5, 10)),
];

/// In bytes, beside its last line.
const LONGEST_REASON: usize = 600;

/// The checks of a guest by name, in the order of their names.
#[must_use]
pub fn checks(ran: &Ran, version: &Version) -> BTreeMap<String, Outcome> {
    let mut checks = BTreeMap::new();
    let mut step = String::from("boot");
    let mut done = false;
    // The test whose output of a failure is being read.
    let mut telling: Option<String> = None;
    for said in &ran.said {
        match said {
            Said::Booted { .. } => _ = checks.insert("boot".to_owned(), Outcome::Passed),
            Said::Trouble(what) => _ = checks.insert("boot".to_owned(), Outcome::Failed(what.clone())),
            Said::Step(name) => step.clone_from(name),
            Said::Output(line) => {
                if let Some((name, outcome)) = of_test(line) {
                    checks.insert(format!("{step}: {name}"), outcome);
                } else if let Some(name) = failure_of(line) {
                    telling = Some(format!("{step}: {name}"));
                } else if line == "failures:" {
                    telling = None;
                } else if let Some(Outcome::Failed(why)) =
                    telling.as_ref().and_then(|name| checks.get_mut(name))
                    && why.len() < LONGEST_REASON
                {
                    why.push_str(if why.is_empty() { "" } else { " " });
                    why.push_str(line.trim());
                }
            }
            Said::Skipped {
                check,
                feature,
                reason,
            } => {
                let must = MUST_HAVE
                    .iter()
                    .any(|(name, (major, minor))| name == feature && version.since(*major, *minor));
                let why = format!("no {feature}: {reason}");
                checks.insert(
                    format!("{step}: {check}"),
                    if must {
                        Outcome::Failed(why)
                    } else {
                        Outcome::Skipped(why)
                    },
                );
            }
            Said::Ended { well, how } => {
                if !well {
                    checks.insert(step.clone(), Outcome::Failed(how.clone()));
                }
            }
            Said::Done => done = true,
        }
    }
    if !done {
        let how = if ran.in_time {
            "ended"
        } else {
            "was ended at its deadline"
        };
        let what = format!("the guest {how} in {step}, after {:.0} s", ran.took.as_secs_f64());
        checks.insert("boot".to_owned(), Outcome::Failed(what));
    }
    checks
}

/// A line of libtest.
fn of_test(line: &str) -> Option<(&str, Outcome)> {
    let (name, outcome) = line.strip_prefix("test ")?.split_once(" ... ")?;
    let outcome = match outcome.trim() {
        "ok" => Outcome::Passed,
        // What it wrote comes after the last test.
        "FAILED" => Outcome::Failed(String::new()),
        other => Outcome::Skipped(other.to_owned()),
    };
    Some((name, outcome))
}

/// The head of what a failed test wrote: `---- name stdout ----`.
fn failure_of(line: &str) -> Option<&str> {
    line.strip_prefix("---- ")?.strip_suffix(" stdout ----")
}

#[cfg(test)]
#[expect(clippy::indexing_slicing, reason = "a test fails by panicking")]
mod tests {
    use std::time::Duration;

    use super::*;

    fn ran(said: Vec<Said>) -> Ran {
        Ran {
            said,
            took: Duration::from_secs(9),
            in_time: true,
            console: "console".into(),
        }
    }

    fn output(line: &str) -> Said {
        Said::Output(line.to_owned())
    }

    fn skipped(feature: &str) -> Said {
        Said::Skipped {
            check: "a".to_owned(),
            feature: feature.to_owned(),
            reason: "EINVAL".to_owned(),
        }
    }

    fn told(said: Vec<Said>, release: &str) -> BTreeMap<String, Outcome> {
        let mut all = vec![
            Said::Booted {
                release: release.to_owned(),
            },
            Said::Step("echo".to_owned()),
        ];
        all.extend(said);
        checks(&ran(all), &Version::parse(release))
    }

    #[test]
    fn each_line_of_a_test_is_a_check() {
        let checks = told(
            vec![
                output("running 2 tests"),
                output("test answers::a ... ok"),
                output("test b ... FAILED"),
                output("---- b stdout ----"),
                output("Error: no echo"),
                output("failures:"),
                output("    b"),
                Said::Done,
            ],
            "6.1.0",
        );
        assert_eq!(checks["echo: answers::a"], Outcome::Passed);
        assert_eq!(checks["echo: b"], Outcome::Failed("Error: no echo".to_owned()));
        assert_eq!(checks["boot"], Outcome::Passed);
        assert_eq!(checks.len(), 3);
    }

    #[test]
    fn what_a_version_must_have_is_not_skipped() {
        let with = |feature: &str, release: &str| {
            told(
                vec![output("test a ... ok"), skipped(feature), Said::Done],
                release,
            )["echo: a"]
                .clone()
        };
        assert!(matches!(with("tcx", "6.1.0-50"), Outcome::Skipped(_)));
        assert!(matches!(with("tcx", "6.12.1"), Outcome::Failed(_)));
        assert!(matches!(with("vlan", "5.10.0"), Outcome::Failed(_)));
    }

    #[test]
    fn a_guest_that_ends_early_has_failed() {
        let checks = told(vec![output("test a ... ok")], "6.1.0");
        assert!(matches!(&checks["boot"], Outcome::Failed(why) if why.contains("echo")));
        let nothing = super::checks(&ran(Vec::new()), &Version::parse("6.1"));
        assert!(matches!(nothing["boot"], Outcome::Failed(_)));
    }

    #[test]
    fn a_step_that_ends_badly_has_failed() {
        let checks = told(
            vec![
                Said::Ended {
                    well: false,
                    how: "killed after 5 s".to_owned(),
                },
                Said::Done,
            ],
            "6.1.0",
        );
        assert_eq!(checks["echo"], Outcome::Failed("killed after 5 s".to_owned()));
    }
}
