//! Kubeconfig files of the lab's own users. The caller's `KUBECONFIG` is neither read nor written, anywhere.

use std::fs;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use anyhow::{Context, Result};
use serde_json::{Value, json};

use crate::certificates::Pair;

/// How a user proves who it is.
#[derive(Debug)]
pub enum Credential<'a> {
    /// A client certificate.
    Certificate(&'a Pair),
    /// A bearer token.
    Token(&'a str),
}

/// Writes a kubeconfig (JSON is YAML) that only its owner can read.
///
/// # Errors
/// When the file cannot be written.
pub fn write(path: &Path, server: &str, authority: &Path, credential: &Credential<'_>) -> Result<()> {
    let user = match credential {
        Credential::Certificate(pair) => {
            json!({"client-certificate": &pair.certificate, "client-key": &pair.key})
        }
        Credential::Token(token) => json!({"token": token}),
    };
    let config = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "lab", "cluster": {"server": server, "certificate-authority": authority}}],
        "users": [{"name": "lab", "user": user}],
        "contexts": [{"name": "lab", "context": {"cluster": "lab", "user": "lab"}}],
        "current-context": "lab",
    });
    write_json(path, &config)
}

/// Writes JSON to a file of mode 0600, whole or not at all: other processes read it at any time.
///
/// # Errors
/// When the file cannot be written.
pub(crate) fn write_json(path: &Path, value: &Value) -> Result<()> {
    let unfinished = path.with_extension("unfinished");
    let write = || -> std::io::Result<()> {
        let mut options = fs::OpenOptions::new();
        let file = options
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&unfinished)?;
        serde_json::to_writer_pretty(file, value)?;
        fs::rename(&unfinished, path)
    };
    write().with_context(|| format!("writing {}", path.display()))
}
