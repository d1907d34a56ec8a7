//! The kernel's echo on real interfaces: a subject and an asker in namespaces of their own, on a bridge.

mod answers;
mod fallback;
mod net;
mod pins;
mod wire;
