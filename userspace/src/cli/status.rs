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
    /// Compare the maps with the store entry by entry; without it, the revision that they show is compared
    #[arg(long)]
    verify: bool,
}

pub(super) fn run(command: Status, control: &Control, out: &mut Output<'_>) -> Result<Exit, CliError> {
    let status = control.status(command.verify)?;
    if command.format.json {
        out.json(&status)?;
    } else {
        print(&status, out)?;
    }
    Ok(status.is_good().into())
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
        let text = if status.revision.is_some() { counts_text(counts) } else { UNKNOWN.to_owned() };
        out.line(format_args!("{name:<10} {text}"))?;
    }
    if status.revision.is_some() {
        out.line(format_args!("domains    {}", status.domains))?;
    }
    if let Some(revision) = status.revision {
        let shown = status.shown.filter(|_| status.is_behind).map(|shown| format!(", the maps show {shown}"));
        out.line(format_args!("revision   {revision}{}", shown.unwrap_or_default()))?;
    }
    for difference in &status.differences {
        out.line(format_args!("differs    {difference}"))?;
    }
    let differing = status.missing + status.surplus;
    if differing > status.differences.len() {
        out.line(format_args!("differs    {differing} entries in all"))?;
    }
    if !status.agrees() {
        out.note("the BPF maps differ from the store; run `sixgate attach` to resynchronize");
    }
    for problem in &status.problems {
        out.note(problem);
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
    let mode = interface.mode.as_deref().unwrap_or("not running");
    let tag = interface.tag.as_deref().unwrap_or("unknown");
    let difference = match embedded {
        _ if interface.current => String::new(),
        Some(embedded) => format!(" (this binary's is {embedded}: attach again to replace it)"),
        None => " (this binary has none)".to_owned(),
    };
    let fallback = interface.fallback.as_ref().map(|reason| format!("; {reason}")).unwrap_or_default();
    format!("interface  {}: {mode}, program {tag}{difference}{fallback}", interface.name)
}

fn counts_text(counts: Counts) -> String {
    match counts.found {
        None => counts.wanted.to_string(),
        Some(found) => format!("{}, in the map {found}", counts.wanted),
    }
}

const UNKNOWN: &str = "unknown: the store cannot be read";

const HELP: &str = "\
Exit code 0 if all is as it should be; 1 if the maps differ from the store or are not ready, if an
interface of the configuration or one that was attached does not have the program, or if the pins
are another version's.
JSON:   {\"attached\", \"mode\", \"answer\", \"answer_configured\", \"answer_hindrance\": ...|null,
         \"refuse_at\", \"ready\",
         \"interfaces\": [{\"name\", \"mode\", \"fallback\": ...|null, \"tag\", \"current\"}],
         \"embedded_tag\",
         \"optin\": {\"wanted\", \"found\": ...|null}, \"guard\", \"trust\": likewise, \"domains\",
         \"revision\": ...|null, \"shown\": ...|null, \"is_behind\": true|false,
         \"missing\", \"surplus\", \"differences\": [...], \"problems\": [...],
         \"warnings\": [...]}";
