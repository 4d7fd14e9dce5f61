//! `sixgate trace`: what the XDP program does with each segment, live.
//!
//! It owns the forms of input and output; the daemon puts the traced program in place and takes it
//! away.

use std::{num::NonZeroU64, time::Duration};

use clap::Args;
use humantime_serde::re::humantime;
use ipnet::Ipv6Net;

use super::{CliError, Exit, Format, Output, arguments};
use crate::{
    config::Config,
    server::{self, TRACE_DURATION_MAX, TraceRequest, TraceResponse},
    store::parse_prefix,
};

/// The arguments of `sixgate trace`.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct TraceArguments {
    /// Senders whose segments are shown, as a prefix or one address
    #[arg(long, value_name = "PREFIX", value_parser = parse_prefix)]
    source: Ipv6Net,
    /// Only those to these destinations
    #[arg(long, value_name = "PREFIX", value_parser = parse_prefix)]
    destination: Option<Ipv6Net>,
    /// End after this time, 1h at most
    #[arg(long, value_name = "TIME", default_value = "10m", value_parser = parse_duration)]
    duration: Duration,
    /// End after so many segments
    #[arg(long, value_name = "NUMBER")]
    count: Option<NonZeroU64>,
    #[command(flatten)]
    format: Format,
}

pub(super) fn run(command: &TraceArguments, config: &Config, out: &mut Output<'_>) -> Result<Exit, CliError> {
    let TraceArguments { source, destination, duration, count, format } = command;
    let request = TraceRequest {
        source: *source,
        destination: *destination,
        seconds: duration.as_secs(),
        count: *count,
    };
    let mut answers = server::trace(&config.control_socket(), request)?;
    loop {
        match answers.wait()? {
            TraceResponse::Tracing { interfaces } => {
                out.note(format_args!("tracing on {}, {}", interfaces.join(", "), ends_after(request)));
            }
            TraceResponse::Segment { segment } => {
                if format.json {
                    out.json_line(&segment)?;
                } else {
                    out.line(segment)?;
                }
                out.flush()?;
            }
            TraceResponse::Suppressed { lines } => {
                out.note(format_args!("log rate limit: {lines} lines suppressed"));
            }
            TraceResponse::TraceEnded { lines, reason, is_complete } => {
                out.note(format_args!("{lines} segments shown: {reason}"));
                return Ok(is_complete.into());
            }
            TraceResponse::Refused { reason } => {
                out.note(format_args!("nothing is traced: {reason}"));
                return Ok(Exit::No);
            }
        }
    }
}

fn ends_after(request: TraceRequest) -> String {
    format!("for {} at most; Ctrl-C ends it", humantime::format_duration(request.duration()))
}

fn parse_duration(text: &str) -> Result<Duration, String> {
    let duration = arguments::duration(text)?;
    if duration < Duration::from_secs(1) || duration > TRACE_DURATION_MAX {
        return Err("a trace lasts 1s at least and 1h at most".to_owned());
    }
    Ok(duration)
}

const HELP: &str = "\
The daemon gives its interfaces an XDP program that logs, without a gap, and gives the ordinary one
back when this command ends; what is refused meanwhile is refused as ever. One trace at a time. At
most 1,000 segments a second are logged on each CPU; how many were not is printed.

For root and the daemon's user. The packaged daemon may not load a program. For the time of a trace
give it the rights by `systemctl edit sixgate`, with these lines, and `systemctl restart sixgate`;
`systemctl revert sixgate` and a restart take them away:
  [Service]
  AmbientCapabilities=CAP_NET_ADMIN CAP_PERFMON
  CapabilityBoundingSet=CAP_NET_ADMIN CAP_PERFMON

Lines:  TIME INTERFACE [SOURCE]:PORT > [DESTINATION]:PORT FLAGS seq N ack N length N: ACTION: WHY
JSON:   a line each: {\"at\", \"interface\", \"source\", \"destination\", \"flags\", \"sequence\",
         \"acknowledgment\", \"length\", \"action\": \"passed\"|\"dropped\"|\"answered\",
         \"answer\": FLAGS|null, \"reply\": CODE|null, \"counter\", \"why\",
         \"reason\": \"not_opted_in\"|\"no_ptr\"|null}
Exit code 1 if the daemon refuses, or ends the trace for another reason than --duration or --count.

Example:
  sixgate trace --source 2001:db8:51::4 --destination 2001:db8:25::/64";

#[cfg(test)]
mod tests {
    use super::*;
    use crate::server::TRACE_DURATION;

    #[test]
    fn a_duration_is_a_time_with_a_unit_within_its_bounds() {
        assert_eq!(parse_duration("10m"), Ok(TRACE_DURATION));
        assert_eq!(parse_duration("1h"), Ok(TRACE_DURATION_MAX));
        for wrong in ["0s", "10", "2h", "999ms", "-1s"] {
            assert!(parse_duration(wrong).is_err(), "{wrong}");
        }
    }
}
