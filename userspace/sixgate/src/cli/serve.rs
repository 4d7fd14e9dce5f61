//! `sixgate serve`: runs the daemon.
//!
//! It owns the runtime and the log's form; everything else is `server`'s business.

use std::{
    env,
    fs::File,
    io::{self, Write},
    os::fd::AsFd,
    sync::Arc,
    time::Duration,
};

use clap::Args;
use tokio::runtime::Runtime;
use tracing::{Level, enabled, error, warn};
use tracing_subscriber::{EnvFilter, filter::LevelFilter, layer::SubscriberExt, util::SubscriberInitExt};

use super::{
    CliError, Exit,
    log::{Priorities, Queue, is_journal},
    log_form::{Printable, TextFields},
    log_journald::{Journal, JournalFields, JournalForm},
    log_postfix::PostfixForm,
};
use crate::{
    config::{Config, Log, LogFormat, LogLevel},
    log_limit::LogLimiter,
    sandbox::Sandbox,
    server::{self, ParentEnd, ServeOptions, SetLogLevel},
};

/// The arguments of `sixgate serve`.
#[derive(Debug, Args)]
#[command(after_help = HELP)]
pub(super) struct Serve {
    /// Do not use the XDP program and its maps, regardless of the configuration
    #[arg(long)]
    no_xdp: bool,
    /// Run the daemon as a child of this process, so that it serves during a restart and finishes
    /// its sessions after it; needs a service manager that keeps descriptors, as systemd does
    #[arg(long)]
    restartable: bool,
}

pub(super) fn run(command: &Serve, config: Config) -> Result<Exit, CliError> {
    if command.restartable {
        let end = server::run_parent(RESTARTABLE).map_err(|source| CliError::Parent { source })?;
        return Ok(match end {
            ParentEnd::Stopped | ParentEnd::Left => Exit::Done,
            ParentEnd::Failed => Exit::Failed,
        });
    }
    // before the first thread
    let sandbox = Sandbox::enter(&config, command.no_xdp);
    let limiter = Arc::<LogLimiter>::default();
    let (log, set_level) = start_log(&config.log, &limiter).map_err(|source| CliError::Log { source })?;
    let runtime = Runtime::new().map_err(|source| CliError::Runtime { source })?;
    let options = ServeOptions { no_xdp: command.no_xdp, sandbox: Arc::new(sandbox) };
    let ended = runtime.block_on(server::run(config, options, set_level, limiter));
    // the kernel may still be verifying the XDP program: the end does not wait for that
    runtime.shutdown_background();
    let exit = match ended {
        Ok(()) => Exit::Done,
        // as all other lines, with time and level
        Err(error) if enabled!(Level::ERROR) => {
            error!("{:#}", anyhow::Error::new(error));
            Exit::Failed
        }
        Err(error) => {
            log.flush(LOG_END);
            return Err(error.into());
        }
    };
    log.flush(LOG_END);
    Ok(exit)
}

/// RUST_LOG, where it is set, replaces the level in the configuration, now and at each reload.
fn start_log(log: &Log, limiter: &Arc<LogLimiter>) -> io::Result<(Arc<Queue>, SetLogLevel)> {
    let directives = env::var(EnvFilter::DEFAULT_ENV).ok();
    let is_fixed = directives.is_some();
    let filter = match directives {
        Some(directives) => {
            let level = LevelFilter::from_level(log.level.into());
            EnvFilter::builder().with_default_directive(level.into()).parse_lossy(directives)
        }
        None => filter_of(log.level),
    };
    // a descriptor of its own: who holds the lock of `io::stderr` may wait for ever
    let stderr = File::from(io::stderr().as_fd().try_clone_to_owned()?);
    let is_journal = is_journal(&stderr);
    let out: Box<dyn Write + Send> = match log.format {
        LogFormat::Journald => Box::new(Journal::open()?),
        LogFormat::Text | LogFormat::Json | LogFormat::Postfix => Box::new(stderr),
    };
    let queue = Arc::new(Queue::start(out, LOG_LINES, |lines| {
        warn!(lines, "log queue full or not writable: lines lost")
    })?);
    // what the library would complain about goes to `io::stderr`, too, and panics there
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(Arc::clone(&queue))
        .with_ansi(false)
        .log_internal_errors(false);
    // each is of a type of its own
    macro_rules! install {
        ($builder:expr) => {{
            let builder = $builder.with_filter_reloading();
            let handle = builder.reload_handle();
            builder.finish().with(limiter.layer()).init();
            Box::new(move |level| handle.reload(filter_of(level)).map_err(|error| error.to_string()))
        }};
    }
    // only one span, the session's, is in force at a time: the list of spans would repeat it
    let set_level: SetLogLevel = match (log.format, is_journal) {
        (LogFormat::Text, false) => {
            install!(builder.fmt_fields(TextFields).map_event_format(Printable::text))
        }
        (LogFormat::Text, true) => install!(
            builder
                .fmt_fields(TextFields)
                .without_time()
                .with_level(false)
                .map_event_format(|form| Priorities(Printable::text(form)))
        ),
        (LogFormat::Json, false) => {
            install!(builder.json().with_span_list(false).map_event_format(Printable::json))
        }
        (LogFormat::Json, true) => install!(
            builder
                .json()
                .with_span_list(false)
                .without_time()
                .with_level(false)
                .map_event_format(|form| Priorities(Printable::json(form)))
        ),
        (LogFormat::Postfix, false) => {
            install!(builder.fmt_fields(TextFields).event_format(PostfixForm::new(log.program.clone())))
        }
        (LogFormat::Postfix, true) => {
            install!(builder.fmt_fields(TextFields).event_format(PostfixForm::for_journal()))
        }
        (LogFormat::Journald, _) => install!(builder.fmt_fields(JournalFields).event_format(JournalForm)),
    };
    if is_fixed {
        let refuse =
            |_| Err("log.level has no effect: RUST_LOG is set in the daemon's environment".to_owned());
        return Ok((queue, Box::new(refuse)));
    }
    Ok((queue, set_level))
}

/// The filter for a level of the configuration: sixgate's own lines only. Libraries report what
/// clients and DNS servers send, unfiltered and without a bound; what follows from it is in lines
/// of ours.
fn filter_of(level: LogLevel) -> EnvFilter {
    let level = LevelFilter::from_level(level.into());
    EnvFilter::builder().with_default_directive(level.into()).parse_lossy(format!("off,sixgate={level}"))
}

/// Lines of the log that wait to be written, at most; one has some hundred octets.
const LOG_LINES: usize = 4096;
/// How long the end waits for them.
const LOG_END: Duration = Duration::from_secs(2);

/// The switch that the daemon itself does not get.
const RESTARTABLE: &str = "--restartable";

const HELP: &str = "\
The daemon listens, checks and hands mail on, in the foreground, until SIGTERM or SIGINT; its log
goes to standard error. It attaches the XDP program to the interfaces of the configuration, again
where that was undone, and serves without it meanwhile.

Example:
  sixgate --config /etc/sixgate/sixgate.toml serve";
