//! `sixgate domain`: recipients' domains that take mail here.
//!
//! It owns the forms of input and output only.

use clap::Subcommand;
use serde::Serialize;

use super::{CliError, Exit, Format, Output, edit};
use crate::{
    config::{Config, Domains},
    control::Control,
    store::{Domain, Entry, Key},
};

#[derive(Debug, Subcommand)]
pub(super) enum Command {
    /// Take mail for domains
    #[command(after_help = ADD_HELP)]
    Add {
        /// Domain names; subdomains are not included
        #[arg(required = true, value_name = "DOMAIN")]
        domains: Vec<Domain>,
    },
    /// Take no more mail for domains
    Remove {
        /// Domain names
        #[arg(required = true, value_name = "DOMAIN")]
        domains: Vec<Domain>,
    },
    /// List all domains, sorted
    #[command(after_help = LIST_HELP)]
    List(Format),
    /// Say whether a domain takes mail here
    #[command(after_help = CHECK_HELP)]
    Check {
        /// The domain
        domain: Domain,
        #[command(flatten)]
        format: Format,
    },
}

#[derive(Serialize)]
struct Listed {
    domain: Domain,
}

#[derive(Serialize)]
struct Check {
    domain: Domain,
    takes_mail: bool,
    listed: bool,
}

pub(super) fn run(
    command: Command,
    config: &Config,
    control: &Control,
    out: &mut Output<'_>,
) -> Result<Exit, CliError> {
    match command {
        Command::Add { domains } => edit::add(control, domains.into_iter().map(Entry::Domain), out),
        Command::Remove { domains } => edit::remove(control, domains.into_iter().map(Key::Domain), out),
        Command::List(format) => list(control, format, out),
        Command::Check { domain, format } => check(config, control, domain, format, out),
    }
}

fn list(control: &Control, format: Format, out: &mut Output<'_>) -> Result<Exit, CliError> {
    let domains = control.store().read()?.domains.into_iter();
    out.list(format, "domains", domains.map(|domain| Listed { domain }), |listed| listed.domain.to_string())
}

fn check(
    config: &Config,
    control: &Control,
    domain: Domain,
    format: Format,
    out: &mut Output<'_>,
) -> Result<Exit, CliError> {
    let listed = control.store().read()?.takes_domain(domain.as_str());
    let takes_mail = listed || config.domains == Domains::All;
    let line = match (listed, takes_mail) {
        (true, _) => format!("{domain} takes mail here: it is listed"),
        (false, true) => format!("{domain} takes mail here: the configuration says `domains = \"all\"`"),
        (false, false) => format!("{domain} takes no mail here: it is not listed"),
    };
    out.answer(format, &Check { domain, takes_mail, listed }, line)?;
    Ok(takes_mail.into())
}

const ADD_HELP: &str = "\
Recipients of other domains are refused, whoever sends. `domains = \"all\"` in the configuration
leaves that to the next hop instead.

Example:
  sixgate domain add contoso.com mail.contoso.com";

const LIST_HELP: &str = "\
Lines:  DOMAIN
JSON:   {\"domains\": [{\"domain\"}]}";

const CHECK_HELP: &str = "\
Exit code 0 if it takes mail here, 1 if not.
JSON:   {\"domain\", \"takes_mail\": true|false, \"listed\": true|false}";
