//! bpf-linker: links the kernel programs. It must read the bitcode of the compiler, so it goes with one LLVM.

use std::path::{Path, PathBuf};
use std::{env, fs};

use anyhow::{Context, Result, bail};

use crate::cache::install_crate;
use crate::command::{tool, works};
use crate::toolchain::Compiler;
use crate::workspace::Workspace;

/// Has features for LLVM 21 to 23.
const VERSION: &str = "0.13.0";

/// Where the linker came from.
pub(crate) enum Linker {
    /// `$BPF_LINKER`, the cache, or PATH.
    Found(PathBuf),
    /// Not there before this call.
    Built(PathBuf),
}

impl Linker {
    pub(crate) fn path(&self) -> &Path {
        match self {
            Self::Found(path) | Self::Built(path) => path,
        }
    }
}

/// `$BPF_LINKER`, the cache's own, one on PATH that fits; else builds one into the cache.
pub(crate) fn find_or_build(workspace: &Workspace, compiler: &Compiler) -> Result<Linker> {
    let major = compiler.version.llvm_major;
    if let Some(given) = env::var_os("BPF_LINKER")
        .filter(|value| !value.is_empty())
        .map(PathBuf::from)
    {
        if !works(tool(&given).arg("--version")) {
            bail!("BPF_LINKER={}: cannot be run", given.display());
        }
        return Ok(Linker::Found(given));
    }
    let root = workspace.tool(&format!(
        "bpf-linker-{VERSION}-llvm{major}-{}",
        compiler.version.commit
    ));
    let cached = root.join("bin/bpf-linker");
    if works(tool(&cached).arg("--version")) {
        return Ok(Linker::Found(cached));
    }
    if let Some(linker) = on_path(major) {
        return Ok(Linker::Found(linker));
    }
    build(&root, compiler)?;
    Ok(Linker::Built(cached))
}

/// A linker on PATH: static ones bring their own, recent LLVM; dynamic ones name it among the libraries they need.
fn on_path(major: u32) -> Option<PathBuf> {
    let found = env::split_paths(&env::var_os("PATH")?)
        .map(|folder| folder.join("bpf-linker"))
        .find(|file| works(tool(file).arg("--version")))?;
    let needs = llvm_needed(&fs::read(&found).ok()?);
    needs.is_none_or(|needs| needs >= major).then_some(found)
}

/// The major version in the first `libLLVM.so.N` or `libLLVM-N` that the file names.
fn llvm_needed(file: &[u8]) -> Option<u32> {
    let name = b"libLLVM";
    let at = file.windows(name.len()).position(|window| window == name)?;
    let rest = file.get(at + name.len()..)?;
    let rest = rest.strip_prefix(b".so.").or_else(|| rest.strip_prefix(b"-"))?;
    let digits: String = rest
        .iter()
        .map(|&byte| char::from(byte))
        .take_while(char::is_ascii_digit)
        .collect();
    digits.parse().ok()
}

/// Builds against the compiler's own LLVM. The linker keeps looking for that library in `<root>/llvm/lib`.
fn build(root: &Path, compiler: &Compiler) -> Result<()> {
    let major = compiler.version.llvm_major;
    let library = compiler.libllvm()?;
    let lib = root.join("llvm/lib");
    fs::create_dir_all(&lib).with_context(|| format!("cannot make {}", lib.display()))?;
    // The name to link by, and the name (its SONAME) to be loaded by.
    let soname = library.file_name().context("a library has a name")?;
    for name in ["libLLVM.so".as_ref(), soname] {
        let link = lib.join(name);
        if fs::read_link(&link).ok().as_deref() != Some(&library) {
            let _ = fs::remove_file(&link);
            std::os::unix::fs::symlink(&library, &link)
                .with_context(|| format!("cannot make {}", link.display()))?;
        }
    }
    install_crate(
        root,
        "bpf-linker",
        VERSION,
        &["--no-default-features", "--features", &format!("llvm-{major}")],
        |cargo| {
            cargo.env("LLVM_PREFIX", root.join("llvm"));
        },
    )
}

#[cfg(test)]
mod tests {
    use super::llvm_needed;

    #[test]
    fn finds_the_llvm_that_a_linker_needs() {
        assert_eq!(llvm_needed(b"\x7fELF\0libLLVM.so.22.1\0libc.so.6\0"), Some(22));
        assert_eq!(llvm_needed(b"\x7fELF\0libLLVM-19.so.1\0"), Some(19));
        assert_eq!(llvm_needed(b"\x7fELF\0libc.so.6\0"), None);
        assert_eq!(llvm_needed(b"libLLVM"), None);
    }
}
