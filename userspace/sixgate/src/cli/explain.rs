//! `sixgate explain`: why a client's mail is accepted or refused.
//!
//! It owns the forms of input and output only.

use std::{net::Ipv6Addr, path::PathBuf};

use clap::Args;

use super::{CliError, Exit, Format, Output, escape::escaped};
use crate::{
    config::Config,
    explain::{self, Case},
    store::parse_address,
};

/// The arguments of `sixgate explain`.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct ExplainArguments {
    /// The client's IPv6 address
    #[arg(long, value_name = "ADDRESS", value_parser = parse_address)]
    from: Ipv6Addr,
    /// The IPv6 address that it connects to
    #[arg(long, value_name = "ADDRESS", value_parser = parse_address)]
    to: Ipv6Addr,
    /// The name that it sends with EHLO
    #[arg(long, value_name = "NAME", value_parser = one_line)]
    helo: Option<String>,
    /// The address in MAIL FROM; `<>` is the sender of bounces
    #[arg(long, value_name = "ADDRESS", value_parser = one_path)]
    sender: Option<String>,
    /// An address in RCPT TO; may be repeated
    #[arg(long = "rcpt", value_name = "ADDRESS", value_parser = one_recipient)]
    recipients: Vec<String>,
    /// The message as it came, with its header; `-`: the standard input
    #[arg(long, value_name = "FILE")]
    message: Option<PathBuf>,
    #[command(flatten)]
    format: Format,
}

pub(super) fn run(
    arguments: ExplainArguments,
    config: &Config,
    out: &mut Output<'_>,
) -> Result<Exit, CliError> {
    let ExplainArguments { from, to, helo, sender, recipients, message, format } = arguments;
    let explanation = explain::explain(config, &Case { from, to, helo, sender, recipients, message })?;
    if format.json {
        out.json(&explanation)?;
    } else {
        for line in explanation.lines() {
            out.line(escaped(&line))?;
        }
    }
    Ok(explanation.is_accepted().into())
}

/// A text that stays within its command.
fn one_line(text: &str) -> Result<String, String> {
    if text.is_empty() {
        return Err("it is empty".to_owned());
    }
    if text.contains(char::is_control) {
        return Err("it has a control character".to_owned());
    }
    Ok(text.to_owned())
}

/// A path that is not empty.
fn one_recipient(text: &str) -> Result<String, String> {
    one_line(text).and_then(|text| one_path(&text))
}

/// A path, with or without its angle brackets.
fn one_path(text: &str) -> Result<String, String> {
    if text.contains(char::is_control) {
        return Err("it has a control character".to_owned());
    }
    let inner = text.strip_prefix('<').and_then(|rest| rest.strip_suffix('>')).unwrap_or(text);
    Ok(inner.to_owned())
}

const HELP: &str = "\
Makes every check now, asks the DNS servers of the configuration, and plays the client's commands
to a session in memory: the replies are those that the client would get. It changes nothing, asks
neither the daemon nor the next hop, and is not counted for the sender. Without --helo, --sender,
--rcpt or --message it reports what is not known, or what is assumed instead.

Exit code 0 if every reply accepts, 1 if one refuses, 2 if nothing can be explained.
JSON:   {\"from\", \"to\", \"settings\", \"remarks\", \"store\", \"first_packet\", \"ptr\", \"recipients\",
         \"spf\", \"dkim\", \"replies\": [{\"command\", \"reply\": [LINE], \"author\", \"refused\",
         \"enforce_refuses\"}], \"enforce\": as replies, in shadow mode, \"accepted\": true|false,
         \"would_be_accepted\": true|false|null}

Examples:
  sixgate explain --from 2001:db8:51::4 --to 2001:db8:25::25
  sixgate explain --from 2001:db8:51::4 --to 2001:db8:25::25 --helo mail.sender.example \\
      --sender a@sender.example --rcpt user@contoso.com --message message.eml";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_argument_cannot_begin_another_command() {
        assert_eq!(one_path("<>"), Ok(String::new()));
        assert_eq!(one_path("<a@b.example>"), Ok("a@b.example".to_owned()));
        assert_eq!(one_path("a@b.example"), Ok("a@b.example".to_owned()));
        for wrong in ["a@b.example>\r\nQUIT", "a\0b"] {
            assert!(one_path(wrong).is_err() && one_line(wrong).is_err(), "{}", wrong.escape_debug());
        }
        assert!(one_line("").is_err());
    }
}
