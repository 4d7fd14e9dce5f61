//! The differential's binary: wiring only. `cargo xtask differential` starts it.

use std::{path::PathBuf, process::ExitCode};

use clap::Parser;
use sixgate_tests::differential;

/// Compares our checks with those of others over generated cases
#[derive(Parser)]
#[command(name = "differential")]
enum Options {
    /// SPF, with pyspf
    Spf {
        /// A Python that has pyspf and dnspython
        #[arg(long)]
        python: PathBuf,
        /// Cases
        #[arg(long)]
        cases: u32,
        /// Where the random cases begin
        #[arg(long)]
        seed: u64,
    },
}

fn main() -> ExitCode {
    let Options::Spf { python, cases, seed } = Options::parse();
    match differential::spf(&python, seed, cases) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("differential: {error:#}");
            ExitCode::from(EXIT_ERROR)
        }
    }
}

const EXIT_ERROR: u8 = 2;
