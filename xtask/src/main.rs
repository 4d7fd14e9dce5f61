//! sixgate's own commands: `cargo xtask …`.

fn main() {}
