//! Which way probes are answered: asked for, and come to.

/// Who is to answer probes. Where that way fails, the next one is taken: an agent without any echo would be worse than
/// one with a slow echo.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EchoChoice {
    /// The best way that needs nobody's consent: TC, else the socket.
    Auto,
    /// The kernel, before it makes socket buffers (XDP, native or generic), and at TC ingress behind.
    Xdp,
    /// The kernel, at TC ingress (tcx, else clsact).
    Tc,
    /// The kernel, as a legacy filter even where tcx works: for tests of what older kernels do.
    Clsact,
    /// The agent's socket.
    User,
}

/// How probes are answered. With several interfaces: the weakest way of any.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum EchoMode {
    /// By the agent's socket.
    User,
    /// By the kernel program as a legacy filter.
    Clsact,
    /// By the kernel program, first at the interface's tcx hook.
    Tcx,
    /// By the kernel program at the generic XDP hook, which any interface has.
    XdpGeneric,
    /// By the kernel program in the interface's driver.
    XdpNative,
}

impl EchoMode {
    /// Its name in status, logs and metrics.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Clsact => "clsact",
            Self::Tcx => "tcx",
            Self::XdpGeneric => "xdp-generic",
            Self::XdpNative => "xdp",
        }
    }
}
