//! The bench's binary: wiring only. `cargo xtask bench` starts it.

use std::{path::PathBuf, process::ExitCode};

use clap::Parser;
use sixgate_bench::bench::{self, Part, Scale};

/// Measures what refusing costs, beside other mail servers, in network namespaces
#[derive(Parser)]
#[command(name = "bench")]
struct Options {
    /// A first impression: few rounds, few sessions
    #[arg(long)]
    quick: bool,
    /// Sessions with each server in each round
    #[arg(long, value_name = "N")]
    sessions: Option<usize>,
    /// Measure this part only; may be given several times
    #[arg(long = "part", value_name = "PART")]
    parts: Vec<Part>,
    /// Write the tables to this file, too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let usual = if options.quick { Scale::QUICK } else { Scale::FULL };
    let scale = Scale { sessions: options.sessions.unwrap_or(usual.sessions), ..usual };
    match bench::run(scale, &options.parts, options.json.as_deref()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}
