//! A kernel's modules with all that they need, in the order in which they load.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};
use detector_lab::{process, requirements};

const LIMIT: Duration = Duration::from_secs(30);

/// Every module below a folder, by its name: as the kernel writes it, with underscores.
pub(crate) struct Modules {
    by_name: BTreeMap<String, PathBuf>,
}

/// A module that is to be loaded.
#[derive(Debug)]
pub(crate) struct Module {
    pub(crate) name: String,
    /// The object itself, not packed.
    pub(crate) bytes: Vec<u8>,
}

impl Modules {
    pub(crate) fn below(folder: &Path) -> Result<Self> {
        let mut by_name = BTreeMap::new();
        walk(folder, &mut by_name)?;
        Ok(Self { by_name })
    }

    /// These modules after what they depend on. A name that no file has is built in, or is missed by the check that needs it.
    pub(crate) fn closure(&self, names: &[&str]) -> Result<Vec<Module>> {
        let mut loaded = Vec::new();
        for name in names {
            self.add(name, &mut loaded)?;
        }
        Ok(loaded)
    }

    fn add(&self, name: &str, loaded: &mut Vec<Module>) -> Result<()> {
        let name = name.replace('-', "_");
        let Some(path) = self.by_name.get(&name) else {
            return Ok(());
        };
        if loaded.iter().any(|module| module.name == name) {
            return Ok(());
        }
        let bytes = read(path).with_context(|| format!("module {}", path.display()))?;
        for needed in dependencies(&bytes) {
            self.add(&needed, loaded)?;
        }
        loaded.push(Module { name, bytes });
        Ok(())
    }
}

fn walk(folder: &Path, by_name: &mut BTreeMap<String, PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| folder.display().to_string())? {
        let path = entry?.path();
        if path.is_dir() {
            walk(&path, by_name)?;
        } else if let Some(name) = path.file_name().and_then(|name| name.to_str())
            && let Some((stem, _)) = name.split_once(".ko")
        {
            by_name.insert(stem.replace('-', "_"), path.clone());
        }
    }
    Ok(())
}

/// Newer packages have them packed by xz.
fn read(path: &Path) -> Result<Vec<u8>> {
    if path.extension().is_none_or(|extension| extension != "xz") {
        return Ok(fs::read(path)?);
    }
    let unpacked = tempfile::NamedTempFile::new()?;
    let mut unxz = Command::new(requirements::busybox()?);
    unxz.args(["sh", "-c", "exec busybox xzcat \"$0\" >\"$1\""])
        .arg(path)
        .arg(unpacked.path());
    process::output(&mut unxz, LIMIT)?;
    Ok(fs::read(unpacked.path())?)
}

/// The field `depends=a,b` of the section `.modinfo`, whose fields end with a zero byte each.
fn dependencies(object: &[u8]) -> Vec<String> {
    const FIELD: &[u8] = b"\0depends=";
    let Some(at) = object.windows(FIELD.len()).position(|window| window == FIELD) else {
        return Vec::new();
    };
    let value = object.get(at + FIELD.len()..).unwrap_or_default();
    let value = value.split(|byte| *byte == 0).next().unwrap_or_default();
    String::from_utf8_lossy(value)
        .split(',')
        .filter(|name| !name.is_empty())
        .map(str::to_owned)
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_needed_is_loaded_first_and_once() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let object = |name: &str, depends: &str| {
            fs::write(
                folder.path().join(name),
                format!("ELF\0license=GPL\0depends={depends}\0name=x\0"),
            )
        };
        object("bridge.ko", "llc,stp")?;
        object("stp.ko", "llc")?;
        object("llc.ko", "")?;
        object("sch_ingress.ko", "")?;
        let loaded = Modules::below(folder.path())?.closure(&["stp", "bridge", "sch-ingress", "built-in"])?;
        let names: Vec<_> = loaded.iter().map(|module| module.name.as_str()).collect();
        assert_eq!(names, ["llc", "stp", "bridge", "sch_ingress"]);
        Ok(())
    }
}
