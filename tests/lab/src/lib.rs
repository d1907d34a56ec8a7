//! What labs are made of: namespaces, certificates, images, a real control plane.

pub mod netns;
pub mod process;
