//! `sixgate audit`: who changed the four lists, when, by which command, and each entry before and
//! after.
//!
//! It changes nothing. How much is kept is the store's business.

use std::time::Duration;

use clap::{Args, ValueEnum};
use jiff::Timestamp;
use serde::Serialize;

use super::{
    CliError, Exit, Format, Output,
    arguments::{change_id, duration},
};
use crate::{
    control::Control,
    store::{AuditLog, AuditQuery, Audited, EntryDifference, ListKind, Origin, REVISIONS_KEPT, StoreEntry},
};

/// The arguments of `sixgate audit`.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct Audit {
    /// Changes of this time until now, such as 12h or 7d
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    since: Option<Duration>,
    /// Changes of this list
    #[arg(long)]
    list: Option<ListArgument>,
    /// One change, with all of its entries that are kept
    #[arg(long, value_name = "ID", value_parser = change_id)]
    id: Option<u64>,
    /// How many changes, at most
    #[arg(long, value_name = "NUMBER", default_value_t = 20, value_parser = clap::value_parser!(u32).range(1..))]
    last: u32,
    #[command(flatten)]
    format: Format,
}

/// One of the four lists.
#[derive(Clone, Copy, Debug, ValueEnum)]
enum ListArgument {
    /// Destinations that take mail over IPv6
    Optin,
    /// Recipients' domains that take mail here
    Domain,
    /// Sources that are exempt
    Trust,
    /// Destinations that are ours
    Guard,
}

impl From<ListArgument> for ListKind {
    fn from(list: ListArgument) -> Self {
        match list {
            ListArgument::Optin => Self::OptIn,
            ListArgument::Domain => Self::Domain,
            ListArgument::Trust => Self::Trust,
            ListArgument::Guard => Self::Guard,
        }
    }
}

#[derive(Serialize)]
struct AuditDocument {
    changes: Vec<ChangeRow>,
    has_more: bool,
    oldest: u64,
}

#[derive(Serialize)]
struct ChangeRow {
    id: u64,
    time: String,
    who: String,
    uid: Option<u32>,
    login: Option<String>,
    host: Option<String>,
    command: String,
    added: u64,
    changed: u64,
    removed: u64,
    entries_kept: bool,
    entries: Vec<EntryRow>,
    entries_left_out: u64,
}

#[derive(Serialize)]
struct EntryRow {
    list: &'static str,
    entry: String,
    before: Option<&'static str>,
    after: Option<&'static str>,
}

pub(super) fn run(command: &Audit, control: &Control, out: &mut Output<'_>) -> Result<Exit, CliError> {
    let Audit { since, list, id, last, format } = *command;
    let query = AuditQuery {
        number: id,
        since: since.map(|since| begin(Timestamp::now(), since)),
        list: list.map(ListKind::from),
        changes: last as usize,
        entries: if id.is_some() { usize::MAX } else { ENTRIES_SHOWN },
    };
    let log = control.store().open()?.audit(&query)?;
    let found = !log.changes.is_empty();
    let notes = notes(&log, &query);
    let document = AuditDocument {
        changes: log.changes.into_iter().map(ChangeRow::from).collect(),
        has_more: log.has_more,
        oldest: log.oldest,
    };
    if format.json {
        out.json(&document)?;
    } else {
        document.changes.iter().try_for_each(|change| change.print(out))?;
    }
    notes.into_iter().for_each(|note| out.note(note));
    Ok(Exit::from(found || id.is_none()))
}

/// The second at which the duration before `now` begins.
fn begin(now: Timestamp, since: Duration) -> i64 {
    now.as_second().saturating_sub(i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
}

/// Sentences about changes that are not printed.
fn notes(log: &AuditLog, query: &AuditQuery) -> Vec<String> {
    match query.number {
        Some(number) if log.changes.is_empty() && number > 0 && number < log.oldest => {
            vec![format!("change {number} is not kept any more: the last {REVISIONS_KEPT} changes are")]
        }
        Some(number) if log.changes.is_empty() => {
            vec![format!("there is no such change {number}; `sixgate audit` lists the changes")]
        }
        Some(_) => Vec::new(),
        None if log.has_more => {
            vec![format!("there are more, older changes: `--last {}`", query.changes.saturating_mul(10))]
        }
        None if log.changes.is_empty() && (query.since.is_some() || query.list.is_some()) => {
            vec!["no such change; `sixgate audit` lists them all".to_owned()]
        }
        None if log.oldest > 1 => {
            vec![format!(
                "changes before {} are not kept any more: the last {REVISIONS_KEPT} changes are",
                log.oldest
            )]
        }
        None => Vec::new(),
    }
}

impl From<Audited> for ChangeRow {
    fn from(audited: Audited) -> Self {
        let Audited { logged, origin: Origin { uid, login, host }, entries, left_out, is_kept } = audited;
        let time = Timestamp::from_second(logged.time)
            .map_or_else(|_| logged.time.to_string(), |time| time.to_string());
        Self {
            id: logged.number,
            time,
            who: logged.who,
            uid,
            login,
            host,
            command: logged.what,
            added: logged.added,
            changed: logged.changed,
            removed: logged.removed,
            entries_kept: is_kept,
            entries: entries.into_iter().map(EntryRow::from).collect(),
            entries_left_out: left_out,
        }
    }
}

impl From<EntryDifference> for EntryRow {
    fn from(EntryDifference { list, key, before, after }: EntryDifference) -> Self {
        Self {
            list: list.name(),
            entry: key.to_string(),
            before: before.as_ref().map(StoreEntry::state),
            after: after.as_ref().map(StoreEntry::state),
        }
    }
}

impl ChangeRow {
    fn print(&self, out: &mut Output<'_>) -> Result<(), CliError> {
        let Self { id, time, who, uid, login, host, command, added, changed, removed, .. } = self;
        let uid = uid.map(|uid| format!(", uid {uid}")).unwrap_or_default();
        let login = login.as_deref().map(|login| format!(", login {login}")).unwrap_or_default();
        let host = host.as_deref().map(|host| format!(", host {host}")).unwrap_or_default();
        out.line(format_args!(
            "{id} {time} {who}{uid}{login}{host}: {command} ({added} added, {changed} changed, {removed} removed)"
        ))?;
        for EntryRow { list, entry, before, after } in &self.entries {
            let (before, after) = (before.unwrap_or(NOT_LISTED), after.unwrap_or(NOT_LISTED));
            out.line(format_args!("  {list} {entry}: {before} -> {after}"))?;
        }
        match (self.entries_kept, self.entries_left_out) {
            (_, 0) => Ok(()),
            (true, more) => out.line(format_args!("  and {more} more: `sixgate audit --id {id}`")),
            (false, 1) => out.line("  1 entry, which is not kept: it cannot be undone"),
            (false, more) => {
                out.line(format_args!("  {more} entries, which are not kept: it cannot be undone"))
            }
        }
    }
}

/// Entries of each change that are printed where no change is named.
const ENTRIES_SHOWN: usize = 20;
/// The state of an entry that is not in the list.
const NOT_LISTED: &str = "not listed";

const HELP: &str = "\
The newest change comes first. Each has its ID, which `sixgate undo` takes, the time, the user and
who that was before sudo, the user ID, the login, the host and the command; then its entries, before
and after, the first 20 of them.

Lines:  ID TIME WHO, uid UID, login LOGIN, host HOST: COMMAND (NUMBER added, NUMBER changed, NUMBER removed)
          LIST ENTRY: BEFORE -> AFTER
JSON:   {\"changes\": [{\"id\", \"time\", \"who\", \"uid\", \"login\", \"host\", \"command\", \"added\", \"changed\",
          \"removed\", \"entries_kept\": true|false, \"entries\": [{\"list\", \"entry\", \"before\": ...|null,
          \"after\": ...|null}], \"entries_left_out\"}], \"has_more\": true|false, \"oldest\"}

Examples:
  sixgate audit --since 7d --list optin
  sixgate audit --id 12";
