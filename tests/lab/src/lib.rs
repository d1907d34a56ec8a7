//! What labs are made of: namespaces, certificates, images, a real control plane.

pub mod echo;
pub mod frames;
pub mod mounts;
pub mod netns;
pub mod process;
