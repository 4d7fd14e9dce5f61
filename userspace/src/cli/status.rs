//! `sixgate status`.
//!
//! It owns the text only: what is compared with what is `control`'s business.

use clap::Args;

use super::{CliError, Exit, Format, Output};
use crate::control::{self, Control, Counts, InterfaceStatus};

/// `sixgate status`
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct Status {
    #[command(flatten)]
    format: Format,
}

pub(super) fn run(command: Status, control: &Control, out: &mut Output<'_>) -> Result<Exit, CliError> {
    let status = control.status()?;
    if command.format.json {
        out.json(&status)?;
    } else {
        print(&status, out)?;
    }
    Ok(status.agrees().into())
}

fn print(status: &control::Status, out: &mut Output<'_>) -> Result<(), CliError> {
    out.line(format_args!("mode       {}", status.mode))?;
    out.line(answer_line(status))?;
    out.line(format_args!("refuse_at  {}", status.refuse_at))?;
    out.line(match (status.attached, status.ready) {
        (false, _) => "ready      no: not attached",
        (true, true) => "ready      yes",
        (true, false) => "ready      no: the XDP program refuses nothing",
    })?;
    for interface in &status.interfaces {
        out.line(interface_line(interface, status.embedded_tag.as_deref()))?;
    }
    for (name, counts) in [("optin", status.optin), ("guard", status.guard), ("trust", status.trust)] {
        out.line(format_args!("{name:<10} {}", counts_text(counts)))?;
    }
    out.line(format_args!("domains    {}", status.domains))?;
    for difference in &status.differences {
        out.line(format_args!("differs    {difference}"))?;
    }
    let differing = status.missing + status.surplus;
    if differing > status.differences.len() {
        out.line(format_args!("differs    {differing} entries in all"))?;
    }
    if !status.agrees() {
        out.note("the maps are not as the store says: any command that changes it, or `sixgate attach`, brings them in line");
    }
    for warning in &status.warnings {
        out.note(format_args!("warning: {warning}"));
    }
    Ok(())
}

fn answer_line(status: &control::Status) -> String {
    let control::Status { answer, answer_configured, answer_hindrance, .. } = status;
    match answer_hindrance {
        Some(reason) => format!("answer     {answer}, not kernel: {reason}"),
        None if answer != answer_configured => format!("answer     {answer}, configured {answer_configured}"),
        None => format!("answer     {answer}"),
    }
}

fn interface_line(interface: &InterfaceStatus, embedded: Option<&str>) -> String {
    let mode = interface.mode.as_deref().unwrap_or("gone, renamed, or in another network namespace");
    let tag = interface.tag.as_deref().unwrap_or("unknown");
    let difference = match embedded {
        _ if interface.current => String::new(),
        Some(embedded) => format!(" (this binary's is {embedded}: attach again to replace it)"),
        None => " (this binary has none)".to_owned(),
    };
    format!("interface  {}: {mode}, program {tag}{difference}", interface.name)
}

fn counts_text(counts: Counts) -> String {
    match counts.found {
        None => counts.wanted.to_string(),
        Some(found) => format!("{}, in the map {found}", counts.wanted),
    }
}

const HELP: &str = "\
Exit code 0 if the maps hold what the store says, or nothing is attached; 1 if they differ or are
not ready.
JSON:   {\"attached\", \"mode\", \"answer\", \"answer_configured\", \"answer_hindrance\": ...|null,
         \"refuse_at\", \"ready\",
         \"interfaces\": [{\"name\", \"mode\", \"tag\", \"current\"}], \"embedded_tag\",
         \"optin\": {\"wanted\", \"found\"}, \"guard\", \"trust\": likewise, \"domains\",
         \"missing\", \"surplus\", \"differences\": [...], \"warnings\": [...]}";
