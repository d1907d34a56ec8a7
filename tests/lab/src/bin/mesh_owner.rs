//! A process that owns a mesh until its standard input ends. Tests kill it.

use anyhow::{Context, Result};
use detector_lab::lab::Launcher;
use detector_lab::mesh::{Mesh, MeshOptions};
use detector_lab::progress::Progress;

fn main() -> Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut next = |what| arguments.next().with_context(|| format!("no {what} was named"));
    let (detector, lab) = (next("detector")?, next("program `lab`")?);
    let options = MeshOptions {
        nodes: 2,
        ..MeshOptions::new("owner", detector.into(), Launcher::program(&lab))
    };
    let mesh = Mesh::up(&options, &mut Progress::silent())?;
    std::io::copy(&mut std::io::stdin(), &mut std::io::sink())?;
    mesh.down()
}
