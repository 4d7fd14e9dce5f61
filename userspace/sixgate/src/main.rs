//! The binary: wiring only. It prints an error once, and converts it into an exit code.

use std::{
    io::{self, BufWriter},
    process::ExitCode,
};

use sixgate::cli::{self, Output};

fn main() -> ExitCode {
    cli::hold_signals();
    let cli = cli::parse_arguments();
    let mut data = BufWriter::new(io::stdout().lock());
    let mut messages = io::stderr();
    let mut output = Output::new(&mut data, &mut messages);
    match cli::run(cli, &mut output) {
        Ok(exit) => exit.into(),
        Err(error) => {
            output.note(format_args!("{:#}", anyhow::Error::new(error)));
            ExitCode::from(EXIT_ERROR)
        }
    }
}

const EXIT_ERROR: u8 = 2;
