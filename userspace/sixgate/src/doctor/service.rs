//! The configuration's warnings, the store, and the daemon.
//!
//! The sentences are those of `sixgate config check`, of the daemon's start and of
//! `sixgate status`.

use std::{collections::BTreeSet, net::Ipv6Addr};

use sixgate_common::dest::OptIn;
use sixgate_smtp::policy::Mode;

use super::report::{CheckOutcome, CheckReport};
use crate::{
    config::Config,
    server::{self, AskError, DaemonStatus, Request, Response},
    store::{Contents, Store},
};

/// Opted-in addresses that are named, at most.
const NAMED_MAX: usize = 10;

/// The mode, and what is likely not meant in configuration and store.
pub(super) fn configuration(config: &Config, contents: Option<&Contents>) -> Vec<CheckReport> {
    let mode = match config.mode {
        Mode::Shadow => "shadow: messages are passed on, and refusals are only logged",
        Mode::Enforce => "enforce",
    };
    let mut reports = vec![
        CheckReport::ok("config.file", "no error").about(config.file.display()),
        CheckReport::ok("config.mode", mode),
    ];
    let warnings = server::warnings_of(config, contents);
    reports.extend(
        warnings
            .into_iter()
            .map(|warning| CheckReport::sentence("config.warning", CheckOutcome::Warning, warning)),
    );
    reports
}

/// The store, and its contents if it can be read. Blocks. An earlier version's JSON file is left
/// alone.
pub(super) fn store(config: &Config) -> (CheckReport, Option<Contents>) {
    let (id, store) = ("store.file", Store::new(&config.store));
    let path = store.path().display().to_string();
    if store.will_take_over() {
        let found = "the first command or start makes it of the JSON file of an earlier version";
        return (CheckReport::ok(id, found).about(path), None);
    }
    let read = store.open().and_then(|mut database| {
        database.check()?;
        let unwritable = database.unwritable().map(str::to_owned);
        Ok((database.contents()?.0, unwritable))
    });
    let (report, contents) = match read {
        Ok((contents, None)) => {
            let found = format!(
                "good, {} destinations, {} domains, {} trusted prefixes",
                contents.optin.entries().len(),
                contents.domains.len(),
                contents.trust.entries().len()
            );
            (CheckReport::ok(id, found), Some(contents))
        }
        Ok((contents, Some(reason))) => {
            let found = format!("it can be read, but not changed: {reason}");
            (CheckReport::sentence(id, CheckOutcome::Warning, found), Some(contents))
        }
        Err(error) => {
            let found = format!("{:#}", anyhow::Error::new(error));
            let report = CheckReport::sentence(id, CheckOutcome::Error, found);
            let cured = match store.path().exists() || store.only_backup().is_some() {
                true => report.cured_by("sixgate store restore"),
                false => report.cured_by("sixgate init"),
            };
            (cured, None)
        }
    };
    (report.about(path), contents)
}

/// Single addresses that have opted in, and that this host does not have: mail for them arrives
/// here only if it is forwarded to them.
pub(super) fn addresses(contents: &Contents, own: &BTreeSet<Ipv6Addr>, forwards: bool) -> CheckReport {
    let id = "optin.addresses";
    let single = contents.optin.entries().iter().filter_map(|(prefix, decision)| {
        (*decision == OptIn::In && prefix.prefix_len() == 128).then_some(prefix.addr())
    });
    let missing: Vec<Ipv6Addr> = single.filter(|address| !own.contains(address)).take(NAMED_MAX).collect();
    match missing.first() {
        None => CheckReport::ok(id, "this host has each single address that has opted in"),
        Some(_) if forwards => CheckReport::ok(id, "this host forwards to addresses that it does not have"),
        Some(first) => {
            let named: Vec<String> = missing.iter().map(Ipv6Addr::to_string).collect();
            CheckReport::warning(
                id,
                format!("opted in, and not of this host: {}", named.join(", ")),
                format!("sixgate optin remove {first}"),
            )
        }
    }
}

/// The daemon as it reports itself. Blocks for some seconds at most.
pub(super) fn daemon(config: &Config) -> (Vec<CheckReport>, Option<DaemonStatus>) {
    let id = "daemon.running";
    let status = match server::ask(&config.control_socket(), Request::Status) {
        Ok(Response::Status(status)) => *status,
        Ok(_) => {
            let report = CheckReport::error(id, "it gave an unexpected answer", "systemctl restart sixgate");
            return (vec![report], None);
        }
        Err(AskError::NoDaemon { .. }) => {
            let report = CheckReport::warning(id, "it is not running", "systemctl enable --now sixgate");
            return (vec![report], None);
        }
        Err(error @ AskError::NoRights { .. }) => {
            return (vec![CheckReport::not_checked(id, error.to_string())], None);
        }
        Err(error) => {
            let report = CheckReport::error(id, format!("{:#}", anyhow::Error::new(error)), RESTART);
            return (vec![report], None);
        }
    };
    let mut reports = vec![match status.version == env!("CARGO_PKG_VERSION") {
        true => CheckReport::ok(id, format!("pid {}, version {}", status.pid, status.version)),
        false => CheckReport::warning(
            id,
            format!(
                "pid {}, version {}, and this is {}",
                status.pid,
                status.version,
                env!("CARGO_PKG_VERSION")
            ),
            RESTART,
        ),
    }];
    let problems = status.problems.iter();
    reports.extend(
        problems.map(|problem| CheckReport::sentence("daemon.problem", CheckOutcome::Error, problem.clone())),
    );
    let pending = status.changes.pending();
    reports.extend(pending.iter().map(|pending| {
        let found = format!("the configuration has changed since the start: {}", pending.keys.join(", "));
        CheckReport::warning("daemon.reload", found, pending.command)
    }));
    if !status.changes.reload.is_empty() {
        let found = format!("the configuration has changed: {}", status.changes.reload.join(", "));
        reports.push(CheckReport::warning("daemon.reload", found, "sixgate reload"));
    }
    (reports, Some(status))
}

const RESTART: &str = "systemctl restart sixgate";
