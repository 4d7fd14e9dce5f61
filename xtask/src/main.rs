//! sixgate's own commands: `cargo xtask …`.
//!
//! It owns no logic of the gate: it installs, builds, starts and checks. Light on purpose, because
//! it is compiled before anything else is there.

mod bench;
mod ci;
mod conformance;
mod differential;
mod dist;
mod exec;
mod fuzz;
mod picture;
mod run;
mod setup;
mod test;
mod tidy;
mod vm;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// sixgate's own commands
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask")]
struct Cli {
    #[command(subcommand)]
    task: XtaskCommand,
}

#[derive(Subcommand)]
enum XtaskCommand {
    /// Install what building and testing need and the machine lacks
    Setup(setup::SetupOptions),
    /// Play the demo, or stand on real interfaces
    Run(run::RunOptions),
    /// Run every test
    Test(test::TestOptions),
    /// Boot other kernels in virtual machines, and try the XDP program and the daemon there
    Vm(vm::VmOptions),
    /// Measure what refusing costs, beside other mail servers
    Bench(bench::BenchOptions),
    /// Run a foreign test suite against our checks
    #[command(subcommand)]
    Conformance(conformance::Suite),
    /// Run fuzz targets on the code that reads octets from clients
    Fuzz(fuzz::FuzzOptions),
    /// Compare our checks with those of others over generated cases
    #[command(subcommand)]
    Differential(differential::Pair),
    /// Make the packages for Debian and for distributions with rpm
    Dist(dist::DistOptions),
    /// Draw the pictures of the documents from their texts
    Picture,
    /// Check the rules that the compiler does not know
    Tidy(tidy::TidyOptions),
    /// Everything that has to hold before a change lands
    Ci(ci::CiOptions),
}

fn main() -> ExitCode {
    let done = match Cli::parse().task {
        XtaskCommand::Setup(options) => setup::run(options.set()),
        XtaskCommand::Run(options) => run::run(&options),
        XtaskCommand::Test(options) => test::run(&options),
        XtaskCommand::Vm(options) => vm::run(&options),
        XtaskCommand::Bench(options) => bench::run(&options),
        XtaskCommand::Conformance(suite) => conformance::run(&suite),
        XtaskCommand::Fuzz(options) => fuzz::run(&options),
        XtaskCommand::Differential(pair) => differential::run(&pair),
        XtaskCommand::Dist(options) => dist::run(&options),
        XtaskCommand::Picture => picture::run(),
        XtaskCommand::Tidy(options) => tidy::run(&options),
        XtaskCommand::Ci(options) => ci::run(&options),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::from(EXIT_ERROR)
        }
    }
}

const EXIT_ERROR: u8 = 2;
