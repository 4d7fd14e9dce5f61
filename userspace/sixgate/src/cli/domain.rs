//! `sixgate domain`: recipients' domains that take mail here.
//!
//! It owns the forms of input and output only.

use clap::Subcommand;
use serde::Serialize;

use super::{
    CliError, Exit, Format, Output,
    edit::{self, AllowEmpty, Load},
    export::{self, ExchangeFormat, export},
    outcomes::{DryRun, report},
};
use crate::{
    config::{Config, Domains},
    control::Control,
    store::{Consent, Domain, EntryKey, ListKind, Marks, StoreEntry, parse_listed_domain},
};

#[derive(Debug, Subcommand)]
pub(super) enum DomainCommand {
    /// Take mail for domains
    #[command(after_help = ADD_HELP)]
    Add {
        /// Domain names; subdomains are not included
        #[arg(required = true, value_name = "DOMAIN")]
        domains: Vec<Domain>,
        /// Only let refusals that name them be temporary (450 instead of 550), so that senders use
        /// IPv4; whether they take mail here stays as it is
        #[arg(long)]
        temporary: bool,
        #[command(flatten)]
        dry: DryRun,
    },
    /// Take no more mail for domains
    #[command(after_help = REMOVE_HELP)]
    Remove {
        /// Names of recipients' domains
        #[arg(required = true, value_name = "DOMAIN", value_parser = parse_listed_domain)]
        domains: Vec<Domain>,
        /// Only let refusals that name them be permanent again
        #[arg(long, conflicts_with = "allow_empty")]
        temporary: bool,
        #[command(flatten)]
        allow: AllowEmpty,
        #[command(flatten)]
        dry: DryRun,
    },
    /// List all domains, sorted
    #[command(after_help = LIST_HELP)]
    List(Format),
    /// Print the whole list for a file, in text, CSV or JSON
    #[command(after_help = export::help(ListKind::Domain))]
    Export(ExchangeFormat),
    /// Replace all domains by a list, and print what was added, changed and removed
    #[command(after_help = load_help())]
    Load(Load),
    /// Show whether a domain takes mail here
    #[command(after_help = CHECK_HELP)]
    Check {
        /// The recipient's domain
        #[arg(value_parser = parse_listed_domain)]
        domain: Domain,
        #[command(flatten)]
        format: Format,
    },
}

#[derive(Serialize)]
struct DomainRow {
    domain: Domain,
    opted_in: bool,
    temporary: bool,
}

#[derive(Serialize)]
struct DomainCheck {
    domain: Domain,
    takes_mail: bool,
    listed: bool,
    temporary: bool,
}

impl DomainCommand {
    pub(super) const fn is_dry_run(&self) -> bool {
        match self {
            Self::Add { dry, .. } | Self::Remove { dry, .. } => dry.dry_run,
            Self::Load(load) => load.is_dry_run(),
            Self::List(_) | Self::Export(_) | Self::Check { .. } => false,
        }
    }
}

pub(super) fn run(
    command: DomainCommand,
    config: &Config,
    control: &Control,
    out: &mut Output<'_>,
) -> Result<Exit, CliError> {
    match command {
        DomainCommand::Add { domains, temporary, .. } => {
            let marks = if temporary { Marks::TEMPORARY } else { Marks::OPTED_IN };
            let entries = domains.into_iter().map(|domain| StoreEntry::Domain(domain, marks));
            edit::add(control, Consent::default(), entries, out)
        }
        DomainCommand::Remove { domains, temporary: false, allow, .. } => {
            edit::remove(control, allow.consent(), domains.into_iter().map(EntryKey::Domain), out)
        }
        DomainCommand::Remove { domains, temporary: true, .. } => {
            let outcomes: Vec<_> = control.change(Consent::default(), |edit| {
                domains.into_iter().map(|domain| edit.unmark_temporary(domain)).collect()
            })?;
            report(control, &outcomes, out)
        }
        DomainCommand::Export(format) => export(control, ListKind::Domain, format, out),
        DomainCommand::Load(load) => edit::load(control, ListKind::Domain, load, out),
        DomainCommand::List(format) => list(control, format, out),
        DomainCommand::Check { domain, format } => check(config, control, domain, format, out),
    }
}

fn list(control: &Control, format: Format, out: &mut Output<'_>) -> Result<Exit, CliError> {
    let domains = control.store().open()?.domains()?.into_iter();
    let listed =
        domains.map(|(domain, Marks { opted_in, temporary })| DomainRow { domain, opted_in, temporary });
    out.list(format, "domains", listed, |DomainRow { domain, opted_in, temporary }| {
        let marks = Marks { opted_in: *opted_in, temporary: *temporary };
        format!("{domain}{}", marks.list_suffix())
    })
}

fn check(
    config: &Config,
    control: &Control,
    domain: Domain,
    format: Format,
    out: &mut Output<'_>,
) -> Result<Exit, CliError> {
    let Marks { opted_in: listed, temporary } = control.store().open()?.marks(domain.as_str())?;
    let takes_mail = listed || config.domains == Domains::All;
    let line = match (listed, takes_mail) {
        (true, _) => format!("{domain} takes mail here: it is listed"),
        (false, true) => format!("{domain} takes mail here: the configuration has `domains = \"all\"`"),
        (false, false) => format!("{domain} takes no mail here: it is not listed"),
    };
    let line = if temporary { format!("{line}; refusals that name it are temporary") } else { line };
    out.answer(format, &DomainCheck { domain, takes_mail, listed, temporary }, line)?;
    Ok(takes_mail.into())
}

const ADD_HELP: &str = "\
Recipients of other domains are refused, from trusted sources too. `domains = \"all\"` in the
configuration leaves that to the next hop instead.

Examples:
  sixgate domain add contoso.com mail.contoso.com
  sixgate domain add --temporary fabrikam.example    its refusals are 450: senders use IPv4";

const REMOVE_HELP: &str = "\
The whole entry goes, with both marks. The last domain that takes mail is removed with --allow-empty
only, in enforce mode.

Example:
  sixgate domain remove contoso.com";

const LOAD_HELP: &str = "\
Lines are DOMAIN [in] [temporary], as `sixgate domain list` prints them; `#` begins a comment. A bad
line is named and nothing is changed.

Example:
  sixgate domain load domains.txt";

fn load_help() -> String {
    format!("{LOAD_HELP}\n\n{}\n{}", edit::LOAD_RULES, edit::FORMAT_RULES)
}

const LIST_HELP: &str = "\
Lines:  DOMAIN [temporary], or DOMAIN in temporary. Alone, and with `in`, the domain takes mail
        here; with `temporary`, refusals that name it are temporary.
JSON:   {\"domains\": [{\"domain\", \"opted_in\": true|false, \"temporary\": true|false}]}";

const CHECK_HELP: &str = "\
Exit code 0 if it takes mail here, 1 if not.
JSON:   {\"domain\", \"takes_mail\": true|false, \"listed\": true|false,
         \"temporary\": true|false}";
