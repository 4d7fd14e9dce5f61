//! The guest's binary in a virtual machine: wiring only. `cargo xtask vm` boots it.

use std::process::ExitCode;

fn main() -> ExitCode {
    match sixgate_tests::vm::run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("vm-guest: {error:#}");
            ExitCode::FAILURE
        }
    }
}
