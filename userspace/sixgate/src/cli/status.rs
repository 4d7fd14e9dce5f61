//! `sixgate status`.
//!
//! It compares the settings of file, kernel and daemon; all other comparisons are made by
//! `control`, and the daemon's own report is printed as it comes.

mod without_configuration;

use std::collections::BTreeMap;

use clap::Args;
use serde::Serialize;

use super::{CliError, Exit, Format, Output};
use crate::{
    config::{Config, GuardSource, Pending},
    control::{self, Control, EntryCounts, InterfaceStatus},
    kernel_facts::KernelFacts,
    sandbox::SandboxReport,
    server::{self, AskError, DaemonStatus, Request, Response},
};

pub(super) use without_configuration::run_without_configuration;

/// The arguments of `sixgate status`.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct Status {
    #[command(flatten)]
    format: Format,
    /// Compare the maps with the store entry by entry; without it, the revision that they show is
    /// compared
    #[arg(long)]
    verify: bool,
}

/// All that is known.
#[derive(Serialize)]
struct StatusDocument {
    #[serde(flatten)]
    status: control::Status,
    settings: BTreeMap<String, Setting>,
    daemon: Option<DaemonStatus>,
    /// Why nothing is known of the daemon, as a short phrase.
    #[serde(skip)]
    no_daemon: String,
}

/// The values of one setting in file, kernel and daemon; none: it does not run, or has no such
/// setting.
#[derive(Debug, Serialize)]
struct Setting {
    file: String,
    kernel: Option<String>,
    daemon: Option<String>,
}

impl Setting {
    fn agrees(&self) -> bool {
        [&self.kernel, &self.daemon].into_iter().flatten().all(|other| *other == self.file)
    }

    /// Where it is set to what, for people.
    fn values(&self) -> String {
        let known = [("configuration", Some(&self.file)), ("kernel", self.kernel.as_ref())];
        let daemon = ("daemon", self.daemon.as_ref());
        let known = known.into_iter().chain([daemon]);
        let known = known.filter_map(|(source, value)| Some(format!("\"{}\" in the {source}", value?)));
        known.collect::<Vec<_>>().join(", ")
    }
}

pub(super) fn run(
    command: Status,
    config: &Config,
    control: &Control,
    out: &mut Output<'_>,
) -> Result<Exit, CliError> {
    // the daemon first: it answers once it has attached the program
    let mut waiting = || {
        out.note("waiting for the daemon: it attaches the XDP program, or copies the opt-in store into the BPF maps");
    };
    let answer = match server::ask_patiently(&config.control_socket(), Request::Status, &mut waiting) {
        // perhaps the file names another socket than the one that the daemon has
        Err(AskError::NoDaemon { path, source }) => {
            let usual = server::ask(&config.usual_control_socket(), Request::Status);
            usual.map_err(|_| AskError::NoDaemon { path, source })
        }
        answer => answer,
    };
    let mut status = KernelFacts::new(config, control).status(command.verify)?;
    let no_daemon_line = match &answer {
        Err(AskError::NoRights { .. }) => {
            "unknown: the control socket is for root and the daemon's user and group".to_owned()
        }
        Err(AskError::Silent { pid: Some(pid), .. }) => format!("not answering (pid {pid})"),
        Err(AskError::NoDaemon { .. }) => match control.pins_holder() {
            Some(pid) => format!("not answering (pid {pid})"),
            None => "not running".to_owned(),
        },
        _ => "not answering".to_owned(),
    };
    let daemon = match answer {
        Ok(Response::Status(daemon)) => Some(*daemon),
        Ok(Response::Reloaded(_) | Response::Identity(_) | Response::Overview(_)) => {
            return Err(CliError::OddAnswer);
        }
        Ok(Response::Refused { reason }) => {
            status.problems.push(format!("the daemon refused to report its status: {reason}"));
            None
        }
        Err(error) => {
            status.problems.push(no_daemon(error, control.pins_holder()));
            None
        }
    };
    if daemon.as_ref().is_some_and(|daemon| daemon.changes.needs_restart_for("store")) {
        // the maps show the daemon's store, not the one that they were compared with
        status.forget_comparison();
    }
    let is_pending = daemon.as_ref().is_some_and(|daemon| daemon.changes.needs_restart_for("xdp.guard"));
    if status.is_guard_empty && !is_pending {
        match config.xdp.guard {
            GuardSource::Store => status.problems.push(format!(
                "{UNGUARDED}: name its prefixes with `sixgate guard add`, or set xdp.guard = \"auto\""
            )),
            // addresses may come
            GuardSource::Auto => status.warnings.push(UNGUARDED.to_owned()),
        }
    }
    let settings = compared(&config.refusal_settings(), &status.kernel, daemon.as_ref());
    let differing = disagreements(&settings, &status, daemon.as_ref());
    status.problems.extend(differing);
    if let Some(daemon) = &daemon {
        for problem in &daemon.problems {
            // found by both, printed once
            if !status.problems.iter().any(|known| problem.starts_with(known.as_str())) {
                status.problems.push(problem.clone());
            }
        }
    }
    if !status.agrees() {
        status.problems.insert(0, DIFFERENT.to_owned());
    }
    let document = StatusDocument { status, settings, daemon, no_daemon: no_daemon_line };
    if command.format.json {
        out.json(&document)?;
    } else {
        print(&document, out)?;
    }
    Ok(document.status.is_good().into())
}

/// Why there is no answer; `holder` has the lock on the pins.
fn no_daemon(error: AskError, holder: Option<u32>) -> String {
    match (error, holder) {
        (AskError::NoDaemon { path, source }, Some(pid)) => format!(
            "the daemon (pid {pid}) does not answer at {} ({source}): it was started with another control_socket, or the \
             socket was removed a moment ago; `systemctl restart sixgate`",
            path.display()
        ),
        (AskError::NoDaemon { path, source }, None) => format!(
            "the daemon is not running: nothing answers at {} ({source}); `systemctl start sixgate`, or restart one that was \
             started with another control_socket",
            path.display()
        ),
        (error, _) => format!("{:#}", anyhow::Error::new(error)),
    }
}

fn compared(
    file: &BTreeMap<String, String>,
    kernel: &BTreeMap<String, String>,
    daemon: Option<&DaemonStatus>,
) -> BTreeMap<String, Setting> {
    let of_daemon = |key: &String| daemon.and_then(|daemon| daemon.settings.get(key)).cloned();
    let setting = |(key, value): (&String, &String)| {
        let setting =
            Setting { file: value.clone(), kernel: kernel.get(key).cloned(), daemon: of_daemon(key) };
        (key.clone(), setting)
    };
    file.iter().map(setting).collect()
}

/// Settings that differ, with the command that helps.
fn disagreements(
    settings: &BTreeMap<String, Setting>,
    status: &control::Status,
    daemon: Option<&DaemonStatus>,
) -> Vec<String> {
    let remedy = match daemon {
        Some(daemon) if daemon.last_reload.as_ref().is_some_and(|last| last.refused.is_some()) => {
            "the last reload was refused: mend what it names, then run `sixgate reload`"
        }
        Some(_) => "run `sixgate reload`",
        None => "start the daemon, or run `sixgate attach`",
    };
    let differing = settings.iter().filter(|(_, setting)| !setting.agrees());
    let mut problems: Vec<String> =
        differing.map(|(key, setting)| format!("{key} is {}: {remedy}", setting.values())).collect();
    let daemon_knows = daemon.is_none_or(|daemon| daemon.changes.reload.is_empty());
    if status.attached && !status.replies_current && daemon_knows {
        problems.push(format!("the kernel's replies are not those of the configuration: {remedy}"));
    }
    let Some(daemon) = daemon else {
        return problems;
    };
    let is_reported = |key: &&String| settings.get(*key).is_some_and(|setting| !setting.agrees());
    let others: Vec<&str> =
        daemon.changes.reload.iter().filter(|key| !is_reported(key)).map(String::as_str).collect();
    if !others.is_empty() {
        problems.push(format!(
            "the configuration has changed since the daemon read it ({}): {remedy}",
            others.join(", ")
        ));
    }
    problems.extend(daemon.changes.pending().into_iter().map(|Pending { keys, command, effect }| {
        let effect = effect.map(|effect| format!("; {effect}")).unwrap_or_default();
        format!(
            "the configuration has changed since the daemon started ({}): `{command}`{effect}",
            keys.join(", ")
        )
    }));
    problems
}

fn print(document: &StatusDocument, out: &mut Output<'_>) -> Result<(), CliError> {
    let StatusDocument { status, daemon, no_daemon, .. } = document;
    out.line(format_args!("mode       {}", status.mode))?;
    out.line(answer_line(status))?;
    out.line(format_args!("refuse_at  {}", status.refuse_at))?;
    print_daemon(daemon.as_ref(), no_daemon, out)?;
    out.line(match (status.attached, status.ready) {
        _ if !status.pins_readable => "ready      unknown: the pins cannot be read",
        (false, _) => "ready      no: not attached",
        (true, true) => "ready      yes",
        (true, false) => "ready      no: the XDP program refuses nothing",
    })?;
    for interface in &status.interfaces {
        let is_traced = daemon.as_ref().is_some_and(|daemon| daemon.trace.is_some());
        out.line(interface_line(interface, status.embedded_tag.as_deref(), is_traced))?;
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
    for problem in &status.problems {
        out.note(problem);
    }
    for warning in &status.warnings {
        out.note(format_args!("warning: {warning}"));
    }
    Ok(())
}

fn print_daemon(
    daemon: Option<&DaemonStatus>,
    otherwise: &str,
    out: &mut Output<'_>,
) -> Result<(), CliError> {
    let Some(daemon) = daemon else {
        return out.line(format_args!("daemon     {otherwise}"));
    };
    let DaemonStatus { version, pid, since, connections, is_stopping, .. } = daemon;
    let state = if *is_stopping { "stopping, running" } else { "running" };
    out.line(format_args!(
        "daemon     {state} since {since}, pid {pid}, version {version}, {connections} connections"
    ))?;
    if let Some(mode) = daemon.settings.get("mode") {
        out.line(format_args!("           mode {mode}"))?;
    }
    if daemon.sandbox != SandboxReport::default() {
        out.line(format_args!("sandbox    {}", daemon.sandbox))?;
    }
    out.line(format_args!("listening  {}", daemon.listening.join(", ")))?;
    if let Some(trace) = &daemon.trace {
        out.line(format_args!("trace      {trace}"))?;
    }
    match &daemon.last_reload {
        None => Ok(()),
        Some(reload) => match &reload.refused {
            None => out.line(format_args!("reload     {}", reload.at)),
            Some(reason) => out.line(format_args!("reload     {}, refused: {reason}", reload.at)),
        },
    }
}

fn answer_line(status: &control::Status) -> String {
    let control::Status { answer, answer_configured, answer_fallback, .. } = status;
    match answer_fallback {
        Some(reason) => format!("answer     {answer}, not kernel: {reason}"),
        None if answer != answer_configured => format!("answer     {answer}, configured {answer_configured}"),
        None => format!("answer     {answer}"),
    }
}

fn interface_line(interface: &InterfaceStatus, embedded: Option<&str>, is_traced: bool) -> String {
    let mode = interface.mode.as_deref().unwrap_or("not running");
    let tag = interface.tag.as_deref().unwrap_or("unknown");
    let difference = match embedded {
        Some(embedded) if interface.current == Some(false) => {
            format!(" (this binary's is {embedded}: attach again to replace it)")
        }
        _ => String::new(),
    };
    // the links hold another program than the pinned one
    let is_of_trace = is_traced && interface.tag.is_none();
    let difference = if is_of_trace { " (that of the trace)" } else { &difference };
    let fallback = interface.fallback.as_ref().map(|reason| format!("; {reason}")).unwrap_or_default();
    format!("interface  {}: {mode}, program {tag}{difference}{fallback}", interface.name)
}

fn counts_text(counts: EntryCounts) -> String {
    match counts.found {
        None => counts.wanted.to_string(),
        Some(found) => format!("{}, in the map {found}", counts.wanted),
    }
}

const DIFFERENT: &str = "the BPF maps differ from the store; run `sixgate attach` to resynchronize";
const UNGUARDED: &str = "nothing is guarded: the XDP program refuses no destination";
const UNKNOWN: &str = "unknown: the store cannot be read";

const HELP: &str = "\
Exit code 0 if all is as it should be; 1 if the daemon is not running, if file, kernel and daemon
are not set alike, if the maps differ from the store or are not ready, if an interface of the
configuration or one that was attached does not have the program, if the pins are another version's,
or if the daemon reports a problem, such as a next hop or DNS that does not answer. For a member of
the daemon's group the daemon reads the maps; another user is shown as much as that user may read,
with 1. While the configuration has an error, which ends with 1 too, JSON has problems, kernel and
daemon. `embedded_tag` and `current` are null where the process that reads may not load a program.
JSON:   {\"attached\", \"pins_readable\": true|false, \"mode\", \"answer\",
         \"answer_configured\", \"answer_fallback\": ...|null,
         \"refuse_at\", \"kernel\": {KEY: ...}, \"replies_current\", \"ready\",
         \"interfaces\": [{\"name\", \"mode\", \"fallback\": ...|null, \"tag\",
                         \"current\": ...|null}],
         \"embedded_tag\": ...|null,
         \"optin\": {\"wanted\", \"found\": ...|null}, \"guard\", \"trust\": likewise, \"domains\",
         \"revision\": ...|null, \"shown\": ...|null, \"is_behind\": true|false,
         \"missing\", \"surplus\", \"differences\": [...], \"problems\": [...],
         \"warnings\": [...],
         \"settings\": {KEY: {\"file\", \"kernel\": ...|null, \"daemon\": ...|null}},
         \"daemon\": {\"version\", \"pid\", \"since\", \"config\", \"listening\": [...], \"settings\",
                    \"sandbox\": {\"landlock\", \"seccomp\": true|false, \"missing\": ...|null},
                    \"last_reload\": {\"at\", \"refused\": ...|null}|null,
                    \"changes\": {\"reload\": [KEY...], \"restart\": [KEY...]}, \"connections\",
                    \"is_stopping\",
                    \"trace\": {\"source\", \"destination\": ...|null, \"since\", \"until\"}|null,
                    \"problems\": [...]}|null}

Example:
  sixgate status --json";
