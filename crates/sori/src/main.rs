//! The sori program.
fn main() {}
