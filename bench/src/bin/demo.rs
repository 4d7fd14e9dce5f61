//! The demo's binary: wiring only. `cargo xtask run` starts it.

use std::process::ExitCode;

use clap::Parser;

/// Plays five sessions through sixgate in a network namespace
#[derive(Parser)]
#[command(name = "demo")]
struct Options {
    /// End after the sessions
    #[arg(long)]
    once: bool,
}

fn main() -> ExitCode {
    match sixgate_bench::demo::run(Options::parse().once) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("demo: {error:#}");
            ExitCode::FAILURE
        }
    }
}
