//! `sixgate attach` and `sixgate detach`.
//!
//! It owns the forms of input and output only.

use std::{io, path::PathBuf};

use clap::{
    ArgAction, Args,
    builder::{PossibleValue, PossibleValuesParser, TypedValueParser},
};
use sixgate_dataplane::{AttachMode, DataplaneError, Failed, ProgramChange, TriedInterface};
use tracing_subscriber::EnvFilter;

use super::{
    CliError, Exit, Output,
    namespaces::Namespaces,
    outcomes::{DRY_RUN, DryRun},
};
use crate::{
    config::{Config, InterfaceName},
    control::{Attempts, Control, ControlError, Responder},
    server::{self, Request, Response},
};

/// The arguments of `sixgate attach`.
#[derive(Debug, Args)]
#[command(after_help = ATTACH_HELP)]
pub(super) struct Attach {
    /// Network interface; may be repeated; default: `xdp.interfaces`, else those it is attached to
    #[arg(long = "iface", value_name = "IFACE")]
    interfaces: Vec<InterfaceName>,
    /// In the driver (native), in the generic path, or native if possible (auto); else that of
    /// the configuration
    #[arg(long, value_parser = attach_mode())]
    mode: Option<AttachMode>,
    /// As a start of the daemon does: to the interfaces of the configuration, each by itself, also
    /// where another version's program is attached. For sixgate-attach.service
    #[arg(long, conflicts_with_all = ["interfaces", "mode", "dry_run"])]
    configured: bool,
    /// Print what the kernel's verifier made of the program: instructions processed (at most
    /// 1,000,000) and time; twice, the end of its log where it refused
    #[arg(short, long, action = ArgAction::Count)]
    verbose: u8,
    #[command(flatten)]
    pub(super) dry: DryRun,
}

/// The arguments of `sixgate detach`.
#[derive(Debug, Args)]
#[command(after_help = DETACH_HELP)]
pub(super) struct Detach {
    /// Network interface; may be repeated; default: all
    #[arg(long = "iface", value_name = "IFACE")]
    interfaces: Vec<InterfaceName>,
    /// Remove what other versions of sixgate have pinned, whose maps this one cannot use
    #[arg(long, conflicts_with = "interfaces")]
    other_layouts: bool,
    #[command(flatten)]
    pub(super) dry: DryRun,
}

/// Takes each mode by its name, and explains it.
fn attach_mode() -> impl TypedValueParser<Value = AttachMode> {
    let named = AttachMode::ALL.map(|mode| {
        let help = match mode {
            AttachMode::Auto => "In the driver if it can, else in the generic path",
            AttachMode::Native => "In the driver only",
            AttachMode::Generic => "In the generic path only",
        };
        PossibleValue::new(mode.name()).help(help)
    });
    let mode = |name: String| AttachMode::ALL.into_iter().find(|mode| mode.name() == name);
    PossibleValuesParser::new(named).try_map(move |name| mode(name).ok_or("not a mode"))
}

pub(super) fn attach(
    command: Attach,
    config: &Config,
    control: &Control,
    out: &mut Output<'_>,
) -> Result<Exit, CliError> {
    let Attach { interfaces, mode, configured, verbose, dry } = command;
    print_verification(verbose);
    if configured {
        return attach_configured(config, control, out);
    }
    let interfaces = if interfaces.is_empty() { &config.xdp.interfaces } else { &interfaces };
    if interfaces.is_empty() && control.maps()?.is_none() {
        return Err(CliError::NoInterface);
    }
    let mode = mode.unwrap_or(config.xdp.mode);
    if dry.dry_run {
        return try_attach(interfaces, mode, config, control, out);
    }
    bring_daemon_along(config, control, out)?;
    let attached = control.attach(interfaces, mode);
    let namespaces = Namespaces::look(&config.xdp.bpffs);
    if let Some(warning) = namespaces.and_then(|namespaces| namespaces.warning()) {
        out.note(format_args!("warning: {warning}"));
    }
    let attached = attached?;
    for attachment in attached {
        out.line(attachment)?;
    }
    let is_reported = |responder: &Responder| {
        responder.fallback_reason().is_some() || !responder.partial_fallbacks().is_empty()
    };
    if let Some(responder) = control.responder()?.filter(is_reported) {
        out.line(format_args!("answer: {responder}"))?;
    }
    for doubt in control.doubts()? {
        out.note(format_args!("warning: {doubt}"));
    }
    Ok(Exit::Done)
}

/// Prints what attaching would do, after the same checks.
fn try_attach(
    interfaces: &[InterfaceName],
    mode: AttachMode,
    config: &Config,
    control: &Control,
    out: &mut Output<'_>,
) -> Result<Exit, CliError> {
    let changed = daemon_changes(config, control)?;
    if !changed.is_empty() {
        match server::ask(&config.control_socket(), Request::TryReload)? {
            Response::Reloaded(_) => out.note(format_args!(
                "the daemon would take over the configuration, changed: {}",
                changed.join(", ")
            )),
            Response::Refused { reason } => return Err(CliError::ReloadRefused { reason }),
            Response::Status(_) | Response::Identity(_) | Response::Overview(_) => {
                return Err(CliError::OddAnswer);
            }
        }
    }
    if let Some(trial) = control.try_attach(interfaces, mode)? {
        for TriedInterface { interface, change, taken_from } in &trial.interfaces {
            let done = match change {
                ProgramChange::New => format!("would be attached, mode {}", mode.name()),
                ProgramChange::Replaced => "the program would be replaced".to_owned(),
                ProgramChange::Unchanged => "attached already".to_owned(),
            };
            let taken = taken_from.as_deref().map(|pins| {
                format!(
                    "; sixgate's XDP program that is pinned in {} would be detached for it",
                    pins.display()
                )
            });
            out.line(format_args!("{interface}: {done}{}", taken.unwrap_or_default()))?;
        }
        if let Some(differences) = &trial.differences {
            let (added, removed) = (differences.added.len(), differences.removed.len());
            out.line(format_args!("maps: {added} entries to add, {removed} to remove"))?;
        }
        if let Some(reason) = &trial.fallback_reason {
            out.line(format_args!("answer: daemon, not kernel: {reason}"))?;
        }
    }
    out.line(DRY_RUN)?;
    Ok(Exit::Done)
}

/// Attaches for the daemon, which has the pins while it runs, or will have them.
fn attach_configured(config: &Config, control: &Control, out: &mut Output<'_>) -> Result<Exit, CliError> {
    if control.would_differ_from_daemon()? {
        let socket = config.control_socket();
        match server::ask(&socket, Request::Status) {
            Ok(Response::Status(daemon)) if daemon.changes.reload.is_empty() => {}
            Ok(Response::Status(daemon)) => {
                return Err(CliError::NotReloaded { keys: daemon.changes.reload.join(", ") });
            }
            _ => return Err(CliError::UnaskedDaemon { socket }),
        }
    }
    let Attempts { attached, failed } = control.attach_configured()?;
    for attachment in &attached {
        out.line(attachment)?;
    }
    if config.xdp.interfaces.is_empty() && attached.is_empty() {
        out.note("xdp.interfaces names no interface: nothing is attached");
    }
    for Failed { interface, error } in &failed {
        out.note(format_args!("{interface}: {error}"));
    }
    if let Some(responder) = control.responder()?.filter(|responder| responder.fallback_reason().is_some()) {
        out.line(format_args!("answer: {responder}"))?;
    }
    Ok(failed.is_empty().into())
}

/// Has a running daemon take over the configuration first, so that kernel and daemon never refuse
/// by two of them. One that cannot be asked leaves the kernel as it is.
fn bring_daemon_along(config: &Config, control: &Control, out: &mut Output<'_>) -> Result<(), CliError> {
    if daemon_changes(config, control)?.is_empty() {
        return Ok(());
    }
    match server::ask(&config.control_socket(), Request::Reload)? {
        Response::Reloaded(reloaded) => {
            let changed = reloaded.changes.reload.join(", ");
            out.note(format_args!("the daemon took over the configuration, changed: {changed}"));
            Ok(())
        }
        Response::Refused { reason } => Err(CliError::ReloadRefused { reason }),
        Response::Status(_) | Response::Identity(_) | Response::Overview(_) => Err(CliError::OddAnswer),
    }
}

/// The settings that a reload would change in a running daemon.
fn daemon_changes(config: &Config, control: &Control) -> Result<Vec<String>, CliError> {
    let socket = config.control_socket();
    let daemon = match server::ask(&socket, Request::Status) {
        Ok(Response::Status(daemon)) => daemon,
        _ if control.would_differ_from_daemon()? => return Err(CliError::UnaskedDaemon { socket }),
        _ => return Ok(Vec::new()),
    };
    if daemon.changes.needs_restart_for("store") {
        return Err(CliError::OtherStore { store: control.store().path().to_owned() });
    }
    Ok(daemon.changes.reload)
}

/// Prints what the verifier made of the program on standard error, as far as that was asked for.
fn print_verification(verbose: u8) {
    let directives = match verbose {
        0 => return,
        1 => "off,sixgate=debug",
        _ => "off,sixgate=trace",
    };
    let filter = EnvFilter::builder().parse_lossy(directives);
    let lines = tracing_subscriber::fmt().with_env_filter(filter).with_writer(io::stderr);
    // the only failure is that there is a subscriber already
    let _ = lines.without_time().with_target(false).with_level(false).with_ansi(false).try_init();
}

pub(super) fn detach(command: &Detach, control: &Control, out: &mut Output<'_>) -> Result<Exit, CliError> {
    if command.dry.dry_run {
        return try_detach(command, control, out);
    }
    if command.other_layouts {
        return detach_others(control, out);
    }
    let detached = match control.detach(&command.interfaces) {
        // perhaps those of other pins
        Err(ControlError::Dataplane(error @ DataplaneError::NotAttached { .. })) => {
            let elsewhere = control.detach_elsewhere(&command.interfaces)?;
            if elsewhere.is_empty() {
                return Err(ControlError::from(error).into());
            }
            return print_elsewhere(elsewhere, out);
        }
        detached => detached?,
    };
    // before the search for others, which may fail
    for interface in &detached {
        out.line(format_args!("{interface}: detached"))?;
    }
    let elsewhere = control.detach_elsewhere(&command.interfaces)?;
    if detached.is_empty() && elsewhere.is_empty() {
        out.note("nothing is attached");
        return Ok(Exit::No);
    }
    print_elsewhere(elsewhere, out)
}

/// Prints what detaching would do, after the same checks.
fn try_detach(command: &Detach, control: &Control, out: &mut Output<'_>) -> Result<Exit, CliError> {
    if command.other_layouts {
        let Some(interfaces) = control.try_detach_others()? else {
            out.note("no other version of sixgate has pinned anything");
            return Ok(Exit::No);
        };
        out.line("the pins of other versions would be removed")?;
        for interface in interfaces {
            out.line(format_args!("{interface}: would be detached"))?;
        }
        return command.dry.end(out);
    }
    let (detached, error) = match control.try_detach(&command.interfaces) {
        Err(ControlError::Dataplane(error @ DataplaneError::NotAttached { .. })) => (Vec::new(), Some(error)),
        detached => (detached?, None),
    };
    let elsewhere = control.try_detach_elsewhere(&command.interfaces)?;
    if let (Some(error), true) = (error, elsewhere.is_empty()) {
        return Err(ControlError::from(error).into());
    }
    if detached.is_empty() && elsewhere.is_empty() {
        out.note("nothing is attached");
        return Ok(Exit::No);
    }
    for interface in &detached {
        out.line(format_args!("{interface}: would be detached"))?;
    }
    for (interface, pins) in elsewhere {
        out.line(format_args!(
            "{interface}: would be detached, the program that is pinned in {}",
            pins.display()
        ))?;
    }
    command.dry.end(out)
}

fn print_elsewhere(detached: Vec<(String, PathBuf)>, out: &mut Output<'_>) -> Result<Exit, CliError> {
    for (interface, pins) in detached {
        out.line(format_args!("{interface}: detached, the program that was pinned in {}", pins.display()))?;
    }
    Ok(Exit::Done)
}

fn detach_others(control: &Control, out: &mut Output<'_>) -> Result<Exit, CliError> {
    let Some(interfaces) = control.detach_others()? else {
        out.note("no other version of sixgate has pinned anything");
        return Ok(Exit::No);
    };
    out.line("the pins of other versions are removed")?;
    for interface in interfaces {
        out.line(format_args!("{interface}: detached"))?;
    }
    Ok(Exit::Done)
}

const ATTACH_HELP: &str = "\
Fills the maps from the store, attaches the program, and lets it refuse. Where it is attached
already, the program, the settings and the maps are brought up to date without a gap; a running
daemon takes over the configuration first. Where the program is to answer refused senders and
cannot, the daemon does, and a line gives the reason. In shadow mode
the program passes everything on, and counts what it would have refused. An interface may be named
by an alternative name, too. With --dry-run the program is loaded and dropped; only attaching shows
whether a driver takes it.

Examples:
  sixgate attach --iface eth0
  sixgate attach --iface eth0 --iface eth1 --mode native";

const DETACH_HELP: &str = "\
With the last interface the maps are removed, too; the store stays. A running daemon does not attach
again what was detached by this command, until `sixgate attach` or its next start.

Example:
  sixgate detach";
