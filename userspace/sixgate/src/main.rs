//! The binary: wiring only. It prints an error once, and turns it into an exit code.

use std::{
    io::{self, BufWriter, Write},
    process::ExitCode,
};

use clap::Parser;
use sixgate::cli::{self, Cli, Output};

fn main() -> ExitCode {
    cli::hold_signals();
    let cli = Cli::parse();
    let mut data = BufWriter::new(io::stdout().lock());
    let mut messages = io::stderr();
    match cli::run(cli, &mut Output::new(&mut data, &mut messages)) {
        Ok(exit) => exit.into(),
        Err(error) => {
            // nobody is left to be told if this fails
            let _ = writeln!(messages, "sixgate: {:#}", anyhow::Error::new(error));
            ExitCode::from(EXIT_ERROR)
        }
    }
}

const EXIT_ERROR: u8 = 2;
