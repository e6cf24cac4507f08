//! The `sidestream` command.

fn main() {}
