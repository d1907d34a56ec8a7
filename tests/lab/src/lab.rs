//! A lab as its users hold it: bring up, cut, heal, look, take down.

use std::fs;
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use crate::api::{Cluster, is_ready};
use crate::cache::Cache;
pub use crate::command::LabCommand;
use crate::control::{self, Request, State, ask};
use crate::kubeconfig::{self, Credential};
use crate::layout::Layout;
use crate::machine::Cut;
use crate::netns::Namespace;
use crate::options::{DetectorOptions, Options};
use crate::progress::Progress;
use crate::service::last_lines;
use crate::supervisor::Setup;
use crate::topology::HUB;
use crate::{control_plane, detector, images, process, requirements, sweeper};

mod launch;

pub use launch::Launcher;
use launch::Owned;

/// A healed node registers, starts its pods' sandboxes, and says Ready.
const HEAL_LIMIT: Duration = Duration::from_secs(90);
/// The kernel takes down the namespaces, the sweeper the rest.
const DOWN_LIMIT: Duration = Duration::from_secs(60);

/// A running lab. If it was brought up by this value, it ends with it, however this process ends.
#[derive(Debug)]
pub struct Lab {
    layout: Layout,
    owned: Option<Owned>,
}

impl Lab {
    /// Brings a lab up. What the cache does not have is built first, aloud.
    ///
    /// # Errors
    /// When something is missing, a lab of that name runs, or it does not come up: the error holds the last lines of
    /// the log that explains it.
    pub fn up(options: &Options, launcher: &Launcher, progress: &mut Progress) -> Result<Self> {
        options.check()?;
        requirements::check()?;
        let layout = Layout::new(&options.name)?;
        if control::is_up(&layout.socket()) {
            bail!(
                "a lab {:?} is running already; end it by `cargo xtask lab down`",
                options.name
            );
        }
        sweeper::sweep(&layout).context("removing what an earlier lab left")?;
        let cache = Cache::open()?;
        let setup = Setup {
            options: options.clone(),
            binary: control_plane::control_plane_binary(&cache, progress)?,
            images: images::images(&cache, progress)?,
        };
        make_private(layout.root())?;
        fs::write(layout.options(), serde_json::to_vec_pretty(&setup)?)?;
        let mut owned = Owned::start(&layout, launcher)?;
        let outcome = owned.follow(&layout, progress);
        let lab = Self {
            layout,
            owned: Some(owned),
        };
        // A lab that did not come up is taken down by the drop of `lab`, after its logs were read.
        outcome.map(|()| lab)
    }

    /// A lab that runs already.
    ///
    /// # Errors
    /// When none of that name does.
    pub fn attach(name: &str) -> Result<Self> {
        let lab = Self {
            layout: Layout::new(name)?,
            owned: None,
        };
        lab.state()?;
        Ok(lab)
    }

    /// Lets it go on when this process ends; `lab down` ends it.
    ///
    /// # Errors
    /// When the supervisor has ended meanwhile.
    pub fn detach(mut self) -> Result<()> {
        self.owned.take().map_or(Ok(()), Owned::detach)
    }

    /// Where its files are.
    #[must_use]
    pub fn layout(&self) -> &Layout {
        &self.layout
    }

    /// What there is, and how it is.
    ///
    /// # Errors
    /// When the lab has ended.
    pub fn state(&self) -> Result<State> {
        ask(&self.layout, &Request::Status)
    }

    /// Cuts a host's power: its link goes down and all its processes are killed in one stroke.
    ///
    /// # Errors
    /// When there is no such host, or it is off.
    pub fn cut(&self, host: &str) -> Result<Cut> {
        ask(&self.layout, &Request::Cut(host.to_owned()))
    }

    /// Boots a host that was cut, with a new boot id, and waits until its node (if it is one) is Ready.
    ///
    /// # Errors
    /// When it is not off, or not Ready within 90 seconds.
    pub fn heal(&self, host: &str) -> Result<String> {
        let boot_id: String = ask(&self.layout, &Request::Heal(host.to_owned()))?;
        if host.starts_with("node-") {
            self.await_ready(host, &boot_id)?;
        }
        Ok(boot_id)
    }

    /// Stops every process of a host; its kernel goes on. Gives their number.
    ///
    /// # Errors
    /// When the host is not on.
    pub fn pause(&self, host: &str) -> Result<usize> {
        ask(&self.layout, &Request::Pause(host.to_owned()))
    }

    /// Ends a pause.
    ///
    /// # Errors
    /// When the host is not paused.
    pub fn resume(&self, host: &str) -> Result<usize> {
        ask(&self.layout, &Request::Resume(host.to_owned()))
    }

    /// SIGKILL for a host's agent alone; its init starts it again. Gives the number of processes killed.
    ///
    /// # Errors
    /// When the host is not on.
    pub fn kill_agent(&self, host: &str) -> Result<usize> {
        ask(&self.layout, &Request::KillAgent(host.to_owned()))
    }

    /// Starts agents and stewards again with other arguments (those whose command line changes).
    ///
    /// # Errors
    /// When the lab has none.
    pub fn reconfigure(&self, options: &DetectorOptions) -> Result<()> {
        ask(&self.layout, &Request::Detector(options.clone()))
    }

    /// Gives every kube-proxy another `minSyncPeriod`, in ms.
    ///
    /// # Errors
    /// When the lab has ended.
    pub fn set_proxy_min_sync(&self, ms: u64) -> Result<()> {
        ask(&self.layout, &Request::ProxyMinSync(ms))
    }

    /// The network namespace of the control plane.
    ///
    /// # Errors
    /// When the lab has ended.
    pub fn hub(&self) -> Result<Namespace> {
        Namespace::of_process(self.state()?.supervisor)
    }

    /// The network namespace of the measuring client.
    ///
    /// # Errors
    /// When the lab has ended.
    pub fn client(&self) -> Result<Namespace> {
        Namespace::open(&self.state()?.client)
    }

    /// Runs a closure with a client of the lab's API server, on a thread in the hub's network.
    ///
    /// # Errors
    /// Those of the closure.
    pub fn with_cluster<T: Send>(&self, body: impl FnOnce(&Cluster) -> Result<T> + Send) -> Result<T> {
        let kubeconfig = self.layout.kubeconfig("admin");
        self.hub()?
            .enter(|| Cluster::new(&kubeconfig).and_then(|cluster| body(&cluster)))?
    }

    /// kubectl as the administrator, ready to be given arguments; it runs in the hub's network.
    ///
    /// # Errors
    /// When the lab has ended.
    pub fn kubectl_command(&self) -> Result<Command> {
        let mut command = detector::kubectl(&self.state()?.binary, &self.layout);
        self.hub()?.enter_command(&mut command);
        Ok(command)
    }

    /// Runs kubectl and gives its standard output.
    ///
    /// # Errors
    /// When it fails, with what it wrote.
    pub fn kubectl(&self, arguments: &[&str]) -> Result<String> {
        let mut command = self.kubectl_command()?;
        command.args(arguments);
        process::output(&mut command, Duration::from_secs(120))
    }

    /// Applies manifests given as text.
    ///
    /// # Errors
    /// When kubectl fails.
    pub fn apply(&self, manifests: &str) -> Result<()> {
        let file = tempfile::NamedTempFile::new()?;
        fs::write(file.path(), manifests)?;
        let path = file.path().display().to_string();
        self.kubectl(&["apply", "--server-side", "-f", &path]).map(drop)
    }

    /// Applies what `deploy/` holds beside the workloads: for a lab that was brought up without a detector.
    ///
    /// # Errors
    /// When kubectl fails.
    pub fn apply_deploy(&self) -> Result<()> {
        let binary = self.state()?.binary;
        self.hub()?.enter(|| detector::apply(&binary, &self.layout))?
    }

    /// Runs a closure with a client that has a service account's token, on a thread in the hub's network.
    ///
    /// # Errors
    /// Those of the closure.
    pub fn with_token<T: Send>(
        &self,
        token: &str,
        body: impl FnOnce(&Cluster) -> Result<T> + Send,
    ) -> Result<T> {
        let file = tempfile::NamedTempFile::new()?;
        let authority = self.layout.pki().join("ca.crt");
        let server = format!("https://{HUB}:6443");
        kubeconfig::write(file.path(), &server, &authority, &Credential::Token(token))?;
        self.hub()?
            .enter(|| Cluster::new(file.path()).and_then(|cluster| body(&cluster)))?
    }

    /// Ends the lab and waits until nothing of it is left.
    ///
    /// # Errors
    /// When something is left.
    pub fn down(mut self) -> Result<()> {
        self.end()
    }

    fn end(&mut self) -> Result<()> {
        if let Some(owned) = self.owned.take() {
            owned.end(DOWN_LIMIT)?;
        } else {
            // An answer that is refused means that it has ended by itself.
            let _: Result<()> = ask(&self.layout, &Request::Down);
        }
        sweeper::await_swept(&self.layout, DOWN_LIMIT)
    }

    fn await_ready(&self, host: &str, boot_id: &str) -> Result<()> {
        let deadline = Instant::now() + HEAL_LIMIT;
        let ready = self.with_cluster(|cluster| {
            while Instant::now() < deadline {
                let nodes = cluster.nodes()?;
                let mut nodes = nodes
                    .iter()
                    .filter(|node| node.metadata.name.as_deref() == Some(host));
                if nodes.any(|node| is_ready(node, Some(boot_id))) {
                    return Ok(true);
                }
                std::thread::sleep(Duration::from_millis(50));
            }
            Ok(false)
        })?;
        if !ready {
            let lines = last_lines(&self.layout.log(&format!("{host}/kubelet")), 12);
            bail!(
                "{host} is not Ready {} s after its boot\n{lines}",
                HEAL_LIMIT.as_secs()
            );
        }
        Ok(())
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        if self.owned.is_some()
            && let Err(error) = self.end()
        {
            eprintln!("lab {}: {error:#}", self.layout.name());
        }
    }
}

/// Credentials lie here: for root alone. Somebody else's folder of that name could be changed by them.
fn make_private(folder: &Path) -> Result<()> {
    fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    for path in folder.parent().into_iter().chain([folder]) {
        let meta = fs::symlink_metadata(path)?;
        if !meta.is_dir() || meta.uid() != 0 {
            bail!("{} is not a folder of root's: remove it", path.display());
        }
    }
    Ok(())
}
