//! The command line: nouns and verbs, one file for each noun.
//!
//! It owns the commands' forms, their output and their exit codes. What they do is `control`'s,
//! `store`'s and `server`'s business.

mod arguments;
mod attach;
mod audit;
mod config;
mod doctor;
mod domain;
mod edit;
mod error;
mod escape;
mod explain;
mod export;
mod flows;
mod guard;
mod init;
mod log;
mod log_form;
#[expect(clippy::disallowed_methods, reason = "the journal's socket is written to here")]
mod log_journald;
mod log_postfix;
mod namespaces;
mod optin;
mod outcomes;
mod output;
mod progress;
mod ptr;
mod reload;
mod serve;
mod shadow;
mod stats;
mod status;
mod store;
mod top;
mod trace;
mod trust;
mod undo;

use std::{
    io,
    path::{Path, PathBuf},
};

use clap::{Parser, Subcommand};

use crate::{
    config::{Config, DEFAULT_PATH},
    control::Control,
    server,
};

pub use arguments::parse_arguments;
pub use error::CliError;
pub use output::{Exit, Output};

pub(crate) use output::Format;

/// sixgate: a gate for mail that arrives over IPv6
///
/// Destinations take mail over IPv6 only when they have opted in; senders need reverse DNS, and
/// each message has to pass SPF or DKIM.
#[derive(Debug, Parser)]
#[command(name = "sixgate", version, max_term_width = 100, after_help = EXIT_CODES)]
pub struct Cli {
    /// The configuration file
    #[arg(
        long,
        global = true,
        value_name = "FILE",
        env = "SIXGATE_CONFIG",
        hide_env_values = true,
        default_value = DEFAULT_PATH
    )]
    config: PathBuf,
    #[command(subcommand)]
    command: CliCommand,
}

#[derive(Debug, Subcommand)]
enum CliCommand {
    /// Destinations that take mail over IPv6: this host's own addresses, or those that it forwards
    /// to
    #[command(subcommand)]
    Optin(optin::OptinCommand),
    /// Destinations that are ours, and refused unless they opted in
    #[command(subcommand)]
    Guard(guard::GuardCommand),
    /// Sources that are exempt from opt-in, PTR, SPF and DKIM
    #[command(subcommand)]
    Trust(trust::TrustCommand),
    /// Recipients' domains that take mail here
    #[command(subcommand)]
    Domain(domain::DomainCommand),
    /// Make a first configuration for this host, and a new, empty opt-in store
    Init(Box<init::Init>),
    /// The opt-in store as a whole
    #[command(subcommand)]
    Store(store::StoreCommand),
    /// List the changes of the four lists: who, when, by which command, each entry before and after
    Audit(audit::Audit),
    /// Undo one change of the four lists
    Undo(undo::Undo),
    /// The PTR results of senders that the XDP program uses
    #[command(subcommand)]
    Ptr(ptr::PtrCommand),
    /// Attach the XDP program to network interfaces, or bring it up to date
    Attach(attach::Attach),
    /// Take the XDP program off network interfaces
    Detach(attach::Detach),
    /// How daemon, XDP program and maps are, and whether they agree with configuration and store
    Status(status::Status),
    /// Check all that mail depends on, and name the command that cures what is wrong
    Doctor(doctor::Doctor),
    /// The XDP program's counters
    Stats(stats::Stats),
    /// The sessions that the XDP program refuses by itself, as they are now
    Flows(flows::Flows),
    /// Show live how the XDP program handles the segments of some senders
    Trace(trace::TraceArguments),
    /// Explain why a client's mail is accepted or refused: every check, and every reply
    Explain(explain::ExplainArguments),
    /// Watch rates, refusals and health of the running daemon in the terminal
    Top(top::Top),
    /// What enforce would have refused
    #[command(subcommand)]
    Shadow(shadow::ShadowCommand),
    /// The configuration file
    #[command(subcommand)]
    Config(config::ConfigCommand),
    /// Have the running daemon take over the configuration
    Reload(reload::Reload),
    /// Run the daemon
    Serve(serve::Serve),
}

impl CliCommand {
    /// Whether it reads or changes the store; the daemon does, and writes to its log what it takes
    /// over.
    const fn uses_store(&self) -> bool {
        matches!(
            self,
            Self::Optin(_)
                | Self::Guard(_)
                | Self::Trust(_)
                | Self::Domain(_)
                | Self::Store(_)
                | Self::Audit(_)
                | Self::Undo(_)
                | Self::Attach(_)
                | Self::Status(_)
                | Self::Explain(_)
        )
    }
}

impl CliCommand {
    /// Whether it only tries what it would do.
    const fn is_dry_run(&self) -> bool {
        match self {
            Self::Optin(command) => command.is_dry_run(),
            Self::Guard(command) => command.is_dry_run(),
            Self::Trust(command) => command.is_dry_run(),
            Self::Domain(command) => command.is_dry_run(),
            Self::Init(command) => command.dry.dry_run,
            Self::Store(command) => command.is_dry_run(),
            Self::Undo(command) => command.is_dry_run(),
            Self::Attach(command) => command.dry.dry_run,
            _ => false,
        }
    }
}

/// Lets signals wait that must not end the daemon; first of all, before it is known which command
/// it is.
pub fn hold_signals() {
    server::hold_hang_up();
}

/// Runs one command. That the reader of the output went away is not an error.
///
/// # Errors
///
/// [`CliError`], which `main` prints once.
pub fn run(cli: Cli, out: &mut Output<'_>) -> Result<Exit, CliError> {
    let done = dispatch(cli, out).and_then(|exit| out.flush().map(|()| exit));
    match done {
        Err(CliError::Output { source }) if source.kind() == io::ErrorKind::BrokenPipe => Ok(Exit::Done),
        done => done,
    }
}

fn dispatch(cli: Cli, out: &mut Output<'_>) -> Result<Exit, CliError> {
    if !matches!(cli.command, CliCommand::Serve(_)) {
        server::release_hang_up();
    }
    if let CliCommand::Config(command) = &cli.command {
        return config::run(command, &cli.config, out);
    }
    if let CliCommand::Doctor(command) = cli.command {
        // it reports the errors in it, with all the rest
        return doctor::run(command, Config::load(&cli.config), out);
    }
    if let CliCommand::Init(command) = &cli.command
        && command.makes_configuration()
    {
        return init::run_with_configuration(command, &cli.config, out);
    }
    if let CliCommand::Reload(command) = &cli.command {
        // the daemon reports the errors in it
        return reload::run(command, &cli.config, out);
    }
    let config = match (Config::load(&cli.config), cli.command) {
        (Err(error), CliCommand::Status(command)) => {
            return status::run_without_configuration(command, &cli.config, error, out);
        }
        (config, command) => (config?, command),
    };
    let (config, command) = config;
    let mut control = Control::new(&config);
    if command.is_dry_run() {
        if command.uses_store() && control.store().will_take_over() {
            return Err(CliError::DryRunOfEarlier { path: control.store().path().to_owned() });
        }
        control.set_dry_run();
    }
    let taken = if command.uses_store() { control.store().take_over() } else { Ok(None) };
    let taken = match taken {
        // it reports the error, with all the rest
        Err(_) if matches!(command, CliCommand::Status(_)) => None,
        taken => taken?,
    };
    if let Some(taken) = taken {
        out.note(format_args!(
            "the opt-in store {} was made from {} ({} entries), which is not used any more",
            taken.path.display(),
            taken.json.display(),
            taken.entries
        ));
    }
    if command.uses_store() && !matches!(command, CliCommand::Attach(_) | CliCommand::Status(_)) {
        look_for_other_store(&config, &mut control, out);
    }
    match command {
        CliCommand::Optin(command) => optin::run(command, &control, out),
        CliCommand::Guard(command) => guard::run(command, &config, &control, out),
        CliCommand::Trust(command) => trust::run(command, &control, out),
        CliCommand::Domain(command) => domain::run(command, &config, &control, out),
        CliCommand::Init(command) => init::run(&command, &control, out),
        CliCommand::Store(command) => store::run(command, &control, out),
        CliCommand::Audit(command) => audit::run(&command, &control, out),
        CliCommand::Undo(command) => undo::run(&command, &control, out),
        CliCommand::Ptr(command) => ptr::run(command, &config, &control, out),
        CliCommand::Attach(command) => attach::attach(command, &config, &control, out),
        CliCommand::Detach(command) => attach::detach(&command, &control, out),
        CliCommand::Status(command) => status::run(command, &config, &control, out),
        CliCommand::Stats(command) => stats::run(command, &config, &control, out),
        CliCommand::Flows(command) => flows::run(&command, &config, &control, out),
        CliCommand::Trace(command) => trace::run(&command, &config, out),
        CliCommand::Explain(command) => explain::run(command, &config, out),
        CliCommand::Top(command) => top::run(&command, &config, out),
        CliCommand::Shadow(command) => shadow::run(&command, &config, out),
        // the configuration was not needed for these
        CliCommand::Doctor(command) => doctor::run(command, Ok(config), out),
        CliCommand::Reload(command) => reload::run(&command, &cli.config, out),
        CliCommand::Config(command) => config::run(&command, &cli.config, out),
        CliCommand::Serve(command) => serve::run(&command, config),
    }
}

/// Where the daemon uses another store than the configuration names now: warns, and leaves the maps
/// to that store.
fn look_for_other_store(config: &Config, control: &mut Control, out: &mut Output<'_>) {
    let answer = server::ask(&config.control_socket(), server::Request::Identity);
    let Ok(server::Response::Identity(daemon)) = answer else {
        return;
    };
    let ours = control.store().path().to_owned();
    if daemon.store == ours || is_same_file(&daemon.store, &ours) {
        return;
    }
    control.leave_maps();
    out.note(format_args!(
        "warning: the daemon (pid {}) and the BPF maps use the opt-in store {} as before: this command is about {}, which \
         takes its place at `systemctl restart sixgate`",
        daemon.pid,
        daemon.store.display(),
        ours.display()
    ));
}

fn is_same_file(one: &Path, other: &Path) -> bool {
    matches!((one.canonicalize(), other.canonicalize()), (Ok(one), Ok(other)) if one == other)
}

const EXIT_CODES: &str = "\
Exit codes: 0 done, or yes; 1 refused, nothing found, or no; 2 error.
Commands work with the daemon running or not; a change holds for the next connection.";
