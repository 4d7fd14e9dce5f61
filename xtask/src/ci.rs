//! `ci`: everything that has to hold before a change lands.
//!
//! It owns the order only: cheap checks first, the README's test command last.

use anyhow::Result;

use crate::{
    exec,
    setup::{self, Set},
    test, tidy,
};

/// Runs every check; the first failure ends it.
pub(crate) fn run() -> Result<()> {
    exec::run(exec::cargo().args(["fmt", "--all", "--check"]))?;
    tidy::run()?;
    setup::run(Set::Test)?;
    // the XDP program is linted for this machine, apart from the others: it has features of its own
    exec::run(exec::cargo().args(["clippy", "--package", "sixgate-ebpf", "--", "-D", "warnings"]))?;
    let mut clippy = exec::cargo();
    clippy.args(["clippy", "--workspace", "--exclude", "sixgate-ebpf", "--all-targets"]);
    exec::run(clippy.args(["--", "-D", "warnings"]))?;
    let mut doc = exec::cargo();
    doc.args(["doc", "--workspace", "--exclude", "sixgate-ebpf", "--no-deps", "--document-private-items"]);
    exec::run(doc.env("RUSTDOCFLAGS", "-D warnings"))?;
    test::run(&test::Options::default())
}
