//! The conformance runner's binary: wiring only. `cargo xtask conformance` starts it.

use std::{path::PathBuf, process::ExitCode};

use clap::Parser;
use sixgate_tests::conformance;

/// Runs a foreign test suite against our checks
#[derive(Parser)]
#[command(name = "conformance")]
enum Options {
    /// A file of the openspf format, such as rfc7208-tests.yml
    Spf {
        /// The YAML file of the suite
        file: PathBuf,
    },
}

fn main() -> ExitCode {
    let Options::Spf { file } = Options::parse();
    match conformance::spf(&file) {
        Ok(summary) if summary.is_whole() => ExitCode::SUCCESS,
        Ok(_) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("conformance: {error:#}");
            ExitCode::from(EXIT_ERROR)
        }
    }
}

const EXIT_ERROR: u8 = 2;
