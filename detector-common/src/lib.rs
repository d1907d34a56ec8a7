//! What the kernel programs and userspace both say: packet, tag, and the order of checks.
