//! What labs are made of: namespaces, certificates, images, a real control plane.
