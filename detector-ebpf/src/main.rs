//! Kernel programs: the authenticated echo.
fn main() {}
