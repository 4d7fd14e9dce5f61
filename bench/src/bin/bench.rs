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
    /// Run the parts with the bench of another commit, too, alternating, and print the ratios
    #[arg(long, value_name = "PATH")]
    against_bench: Option<PathBuf>,
    /// Write the tables to this file, too
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

fn main() -> ExitCode {
    match Options::parse().run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("bench: {error:#}");
            ExitCode::FAILURE
        }
    }
}

impl Options {
    fn run(&self) -> anyhow::Result<()> {
        let json = self.json.as_deref();
        if let Some(other) = &self.against_bench {
            let quick = self.quick.then(|| "--quick".to_owned());
            let sessions = self.sessions.map(|sessions| format!("--sessions={sessions}"));
            let options: Vec<String> = quick.into_iter().chain(sessions).collect();
            return bench::run_against(other, &self.parts, &options, json);
        }
        let usual = if self.quick { Scale::QUICK } else { Scale::FULL };
        let scale = Scale { sessions: self.sessions.unwrap_or(usual.sessions), ..usual };
        bench::run(scale, &self.parts, json)
    }
}
