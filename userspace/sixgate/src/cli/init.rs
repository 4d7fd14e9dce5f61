//! `sixgate init`: a first configuration and a new store.
//!
//! It owns the forms of input and output only.

use std::path::Path;

use clap::{
    Args,
    builder::{PossibleValue, PossibleValuesParser, TypedValueParser},
};
use ipnet::Ipv6Net;
use sixgate_common::dest::OptIn;
use sixgate_dataplane::global_addresses;
use sixgate_smtp::policy::Mode;
use tokio::runtime::Runtime;

use super::{
    CliError, Exit, Output,
    doctor::print_report,
    escape::escaped,
    outcomes::{self, DRY_RUN, DryRun},
};
use crate::{
    config::{Config, Hostname, InterfaceName},
    control::Control,
    doctor::{self, CheckOutcome, CheckReport},
    nexthop::ClientIdentity,
    setup::{self, Installed, NextHopTarget, Setup, SetupWishes},
    store::{Consent, Domain, Marks, StoreEntry, parse_prefix},
};

/// The arguments of `sixgate init`.
#[derive(Clone, Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct Init {
    // not a doc comment: rustdoc reads the addresses as links
    #[arg(
        long,
        value_name = "URL",
        help = "Write the configuration, too, for this next hop: smtp://[::1]:10025, lmtp://[::1]:24, \
                lmtp://unix:/run/dovecot/lmtp, or maildir:/var/mail/gate"
    )]
    next_hop: Option<NextHopTarget>,
    /// How the next hop learns the real client, instead of what it offers
    #[arg(long, value_name = "HOW", requires = "next_hop", value_parser = identity())]
    client: Option<ClientIdentity>,
    /// An interface for the XDP program, instead of that of the default route; may be repeated
    #[arg(long = "iface", value_name = "NAME", requires = "next_hop")]
    interfaces: Vec<InterfaceName>,
    /// The name of this host in DNS, instead of that which the host has
    #[arg(long, value_name = "NAME", requires = "next_hop")]
    hostname: Option<Hostname>,
    /// A domain that takes mail here; may be repeated
    #[arg(long = "domain", value_name = "DOMAIN", requires = "next_hop")]
    domains: Vec<Domain>,
    /// A destination that takes mail over IPv6; may be repeated
    #[arg(long = "optin", value_name = "PREFIX", requires = "next_hop", value_parser = parse_prefix)]
    optin: Vec<Ipv6Net>,
    /// Whether refusals are made or only logged
    #[arg(long, default_value = "shadow", requires = "next_hop", value_parser = mode())]
    mode: Mode,
    /// With --next-hop: replace another configuration, which is kept as sixgate.toml.old. Without:
    /// make the store although there is a store.json of an earlier version, a backup, which is kept
    /// as store.db.old.1, or maps of the XDP program with entries, which become as empty as the
    /// store
    #[arg(long)]
    force: bool,
    #[command(flatten)]
    pub(super) dry: DryRun,
}

impl Init {
    pub(super) const fn makes_configuration(&self) -> bool {
        self.next_hop.is_some()
    }

    fn entries(&self) -> impl Iterator<Item = StoreEntry> {
        let optin = self.optin.iter().map(|prefix| StoreEntry::OptIn(*prefix, OptIn::In));
        let domains = self.domains.iter().map(|domain| StoreEntry::Domain(domain.clone(), Marks::OPTED_IN));
        optin.chain(domains)
    }
}

/// Makes the store alone: the configuration is there.
pub(super) fn run(command: &Init, control: &Control, out: &mut Output<'_>) -> Result<Exit, CliError> {
    control.init(command.force)?;
    let path = control.store().path().display();
    match control.is_dry_run() {
        true => out.line(format_args!("{path}: would be made, empty\n{DRY_RUN}"))?,
        false => out.line(format_args!("{path}: made, empty"))?,
    }
    Ok(Exit::Done)
}

/// Makes the configuration `file`, then the store.
pub(super) fn run_with_configuration(
    command: &Init,
    file: &Path,
    out: &mut Output<'_>,
) -> Result<Exit, CliError> {
    let Some(next_hop) = command.next_hop.clone() else { return Ok(Exit::No) };
    let wishes = SetupWishes {
        file: file.to_owned(),
        next_hop,
        client: command.client,
        interfaces: command.interfaces.clone(),
        hostname: command.hostname.clone(),
        mode: command.mode,
    };
    let runtime = Runtime::new().map_err(|source| CliError::Runtime { source })?;
    let Setup { text, config, found } = runtime.block_on(setup::prepare(&wishes))?;
    for line in &found {
        out.line(format_args!("found: {}", escaped(line)))?;
    }
    let mut control = Control::new(&config);
    let has_store = control.store().path().exists() || control.store().will_take_over();
    if !has_store {
        // before anything is written
        let mut trial = control.clone();
        trial.set_dry_run();
        trial.init(false)?;
    }
    let installed = setup::install(file, &text, command.force, command.dry.dry_run)?;
    out.line(format_args!("{}: {}", file.display(), written(&installed, command.dry)))?;
    if command.dry.dry_run {
        control.set_dry_run();
    }
    make_store(command, &control, has_store, out)?;
    if command.dry.dry_run {
        return command.dry.end(out);
    }
    let reports = runtime.block_on(doctor::examine(Ok(config.clone())));
    // a check that blocks may still be at work
    runtime.shutdown_background();
    print_next(&config, &control, &reports, out)?;
    Ok(Exit::Done)
}

fn written(installed: &Installed, dry: DryRun) -> String {
    match installed {
        Installed::Written => dry.either("written", "would be written").to_owned(),
        Installed::InPlaceOfPackaged => {
            dry.either("written in place of the packaged one", "would replace the packaged one").to_owned()
        }
        Installed::InPlaceOf(kept) => {
            let done = dry.either(
                "written; that of before is kept as",
                "would be written; that of before would be kept as",
            );
            format!("{done} {}", kept.display())
        }
        Installed::Unchanged => "unchanged: it has these values".to_owned(),
    }
}

/// The store, where there is none, and the entries that were named.
fn make_store(
    command: &Init,
    control: &Control,
    has_store: bool,
    out: &mut Output<'_>,
) -> Result<(), CliError> {
    let path = control.store().path().display();
    if !has_store {
        control.init(false)?;
        out.line(format_args!("{path}: {}", command.dry.either("made, empty", "would be made, empty")))?;
    }
    let entries: Vec<StoreEntry> = command.entries().collect();
    if entries.is_empty() {
        return Ok(());
    }
    if !has_store && command.dry.dry_run {
        // there is nothing yet to try it on
        return entries.iter().try_for_each(|entry| out.line(format_args!("would be added: {entry}")));
    }
    let outcomes: Vec<_> = control
        .change(Consent::default(), |edit| entries.into_iter().map(|entry| edit.add(entry)).collect())?;
    outcomes::report(control, &outcomes, out).map(drop)
}

/// The findings that are not ok, then the commands that are left to a working gate.
fn print_next(
    config: &Config,
    control: &Control,
    reports: &[CheckReport],
    out: &mut Output<'_>,
) -> Result<(), CliError> {
    let is_next =
        |report: &CheckReport| matches!(report.id, "daemon.running" | "listen.port" | "daemon.reload");
    let is_of_store =
        |report: &CheckReport| report.id == "config.warning" && report.found.contains("sixgate ");
    let is_shown = |report: &&CheckReport| {
        !matches!(report.outcome, CheckOutcome::Ok | CheckOutcome::NotChecked)
            && !is_next(report)
            && !is_of_store(report)
    };
    for report in reports.iter().filter(is_shown) {
        print_report(report, out)?;
    }
    let mut commands: Vec<String> = Vec::new();
    if let Ok(counts) = control.store().open().and_then(|database| database.counts()) {
        if !counts.opts_anything_in {
            let own = global_addresses().unwrap_or_default().into_iter().next();
            let own = own.map_or_else(|| "2001:db8::25".to_owned(), |(address, _)| address.to_string());
            commands.push(format!("sixgate optin add {own}"));
        }
        if counts.domains == 0 && config.domains == crate::config::Domains::Listed {
            commands.push("sixgate domain add example.com".to_owned());
        }
    }
    for report in reports.iter().filter(|report| is_next(report) && report.outcome != CheckOutcome::Ok) {
        commands.extend(report.cure.clone().filter(|_| report.id == "listen.port"));
    }
    let running = reports.iter().find(|report| report.id == "daemon.running");
    commands.push(match running.map(|report| report.outcome) {
        Some(CheckOutcome::Ok) => "sixgate reload".to_owned(),
        _ => "systemctl enable --now sixgate".to_owned(),
    });
    commands.push("sixgate doctor".to_owned());
    commands.iter().try_for_each(|command| out.line(format_args!("next: {}", escaped(command))))
}

/// Takes each mode by its name, and explains it.
fn mode() -> impl TypedValueParser<Value = Mode> {
    let named = [
        PossibleValue::new(Mode::Shadow.name()).help("Messages are passed on, and refusals are logged"),
        PossibleValue::new(Mode::Enforce.name()).help("Refusals are made"),
    ];
    PossibleValuesParser::new(named).map(|name| match name.as_str() {
        "enforce" => Mode::Enforce,
        _ => Mode::Shadow,
    })
}

/// Takes each way by its name, and explains it.
fn identity() -> impl TypedValueParser<Value = ClientIdentity> {
    let named = [
        PossibleValue::new("none").help("It does not"),
        PossibleValue::new("xclient").help("By Postfix's XCLIENT"),
        PossibleValue::new("proxy").help("By the PROXY protocol, version 2"),
    ];
    PossibleValuesParser::new(named).map(|name| match name.as_str() {
        "xclient" => ClientIdentity::Xclient,
        "proxy" => ClientIdentity::Proxy,
        _ => ClientIdentity::None,
    })
}

const HELP: &str = "\
With --next-hop it looks at the host and at the mail server behind, writes the configuration, in
which each setting is explained, makes the store if there is none, adds what --optin and --domain
name, and prints what `sixgate doctor` finds and the next commands. A configuration with other
values is left alone without --force; that of the package is replaced.
Without --next-hop it makes the store alone. A store that is there is left alone in either case.
Where the XDP program has maps with entries, their store is missing for another reason, such as a
volume that is not mounted: only --force makes a new one then, and where there is a backup, which
`sixgate store restore` puts back.
A store.json of an earlier version is taken over by the first command or start, without `init`.

Examples:
  sixgate init
  sixgate init --next-hop smtp://[::1]:10025 --domain example.com --optin 2001:db8::25";
