//! The differential's binary: wiring only. `cargo xtask differential` starts it.

use std::{path::PathBuf, process::ExitCode};

use clap::{Args, Parser};
use sixgate_bench::differential;

/// Compares our checks with those of others over generated cases
#[derive(Parser)]
#[command(name = "differential")]
enum Pair {
    /// DKIM, with dkimpy
    Dkim(Options),
    /// SPF, with pyspf
    Spf(Options),
}

#[derive(Args)]
struct Options {
    /// A Python that has the other program and dnspython
    #[arg(long)]
    python: PathBuf,
    /// Number of cases
    #[arg(long)]
    cases: u32,
    /// Where the random cases begin
    #[arg(long)]
    seed: u64,
}

fn main() -> ExitCode {
    let all_judged = match Pair::parse() {
        Pair::Dkim(Options { python, cases, seed }) => differential::dkim(&python, seed, cases),
        Pair::Spf(Options { python, cases, seed }) => differential::spf(&python, seed, cases),
    };
    match all_judged {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("differential: {error:#}");
            ExitCode::from(EXIT_ERROR)
        }
    }
}

const EXIT_ERROR: u8 = 2;
