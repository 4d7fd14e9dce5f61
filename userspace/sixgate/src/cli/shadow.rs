//! `sixgate shadow`: what enforce would have refused while the mode was shadow.
//!
//! It owns the form of the report. It needs no daemon.

use std::time::Duration;

use clap::{Args, Subcommand};
use jiff::Timestamp;

use super::{
    CliError, Exit, Format, Output,
    arguments::{duration, spoken},
    escape::escaped,
};
use crate::{
    config::Config,
    shadow::{self, Report, ReportOptions, ShadowDatabase},
};

#[derive(Debug, Subcommand)]
pub(super) enum ShadowCommand {
    /// Show which senders, domains, networks and messages enforce would have refused, and why
    #[command(after_help = REPORT_HELP)]
    Report(ReportArguments),
}

#[derive(Debug, Args)]
pub(super) struct ReportArguments {
    /// How far back
    #[arg(long, value_name = "DURATION", default_value = "7d", value_parser = duration)]
    since: Duration,
    /// Rows of each list
    #[arg(long, value_name = "NUMBER", default_value_t = 10)]
    top: usize,
    #[command(flatten)]
    format: Format,
}

pub(super) fn run(command: &ShadowCommand, config: &Config, out: &mut Output<'_>) -> Result<Exit, CliError> {
    let ShadowCommand::Report(arguments) = command;
    let path = shadow::path(config);
    let Some(database) = ShadowDatabase::open(&path)? else {
        out.note(format_args!(
            "nothing was passed on that enforce would have refused: there is no {} (the mode is {}, refusals are kept for {})",
            path.display(),
            config.mode.name(),
            spoken(config.shadow.keep)
        ));
        return Ok(Exit::No);
    };
    let ago = i64::try_from(arguments.since.as_secs()).unwrap_or(i64::MAX);
    let rows = database.read(Timestamp::now().as_second().saturating_sub(ago))?;
    let report = Report::of(&rows, ReportOptions { top: arguments.top });
    if arguments.format.json {
        out.json(&report)?;
    } else {
        print(&report, arguments.since, out)?;
    }
    let keep = config.shadow.keep;
    if arguments.since > keep {
        out.note(format_args!("refusals are kept for {} only: set keep in [shadow]", spoken(keep)));
    }
    Ok(Exit::from(report.refusals > 0))
}

fn print(report: &Report, since: Duration, out: &mut Output<'_>) -> Result<(), CliError> {
    let refusals = report.refusals;
    let since = spoken(since);
    out.line(format_args!(
        "enforce would have refused {refusals} recipients and messages in the last {since}"
    ))?;
    if let Some(most) = &report.most {
        let senders = match most.senders {
            1 => "first sender makes".to_owned(),
            many => format!("first {many} senders make"),
        };
        out.line(format_args!("the {senders} {} %", most.percent))?;
    }
    let lists = [
        ("reasons", &report.reasons),
        ("sender domains", &report.sender_domains),
        ("networks", &report.networks),
        ("recipient domains", &report.recipient_domains),
    ];
    if !report.senders.is_empty() {
        out.line("\nsenders")?;
    }
    for sender in &report.senders {
        let domain = if sender.domain.is_empty() { "<>" } else { &sender.domain };
        let name = if sender.client_name.is_empty() { "unknown" } else { &sender.client_name };
        let reasons: Vec<String> =
            sender.reasons.iter().map(|(reason, count)| format!("{reason} {count}")).collect();
        out.line(escaped(&format!(
            "{:7} {:3} %  {domain} from {} ({name}): {}",
            sender.refusals,
            sender.percent,
            sender.network,
            reasons.join(", ")
        )))?;
        for remedy in &sender.remedies {
            out.line(escaped(&format!("                {remedy}")))?;
        }
    }
    for (title, counted) in lists.iter().filter(|(_, counted)| !counted.is_empty()) {
        out.line(format_args!("\n{title}"))?;
        for one in *counted {
            out.line(escaped(&format!("{:7}  {}", one.refusals, one.name)))?;
        }
    }
    if !report.messages.is_empty() {
        out.line("\nthe last ones")?;
    }
    for message in &report.messages {
        out.line(escaped(&format!(
            "{} id={} source={} from=<{}> to=<{}> message_id={}: {}: {}",
            message.time,
            message.session,
            message.source,
            message.mail_from,
            message.recipient,
            message.message_id,
            message.reason,
            message.reply
        )))?;
    }
    Ok(())
}

const REPORT_HELP: &str = "\
A sender is a domain and the /64 that it sends from. Each sender has what would have its mail
accepted: what its administrator has to publish, and the command that exempts it here.
The daemon keeps the refusals that shadow mode passes on in shadow.db beside the opt-in store, for
shadow.keep and as many as shadow.entries; \"0s\" keeps none.
Exit code 0 if there is something to report, 1 if not.
JSON:   {\"refusals\", \"most\": {\"senders\", \"percent\"} or null,
         \"senders\": [{\"domain\", \"network\", \"client_name\", \"refusals\", \"percent\", \"reasons\",
           \"remedies\"}],
         \"reasons\", \"sender_domains\", \"networks\", \"recipient_domains\": [{\"name\", \"refusals\"}],
         \"messages\": [{\"time\", \"session\", \"source\", \"mail_from\", \"recipient\", \"message_id\",
           \"reason\", \"reply\"}]}
Example:
  sixgate shadow report --since 1d --top 3";
