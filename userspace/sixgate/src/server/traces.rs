//! `sixgate trace` on the daemon's side: one at a time, from the request until the command goes,
//! the time is over, the segments are enough, or the daemon stops.
//!
//! It owns the end of a trace: the ordinary XDP program is back before the daemon is gone. The text
//! of a segment's line is `control_socket`'s form of it.

use std::{
    io,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::unix::{OwnedReadHalf, OwnedWriteHalf},
    time::{Instant, interval, sleep, sleep_until, timeout},
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{error, info};

use crate::{
    control::Tracing,
    mirror::follow::Mirror,
    server::control_socket::{LINE_TIMEOUT, TraceRequest, TraceResponse, TraceStatus, TracedLine},
};

/// The daemon's traces.
pub(crate) struct Traces {
    mirror: Arc<Mirror>,
    running: Mutex<Option<TraceStatus>>,
    /// Cancelled when the daemon stops.
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// Why a trace is over.
enum End {
    /// The command is gone.
    Gone,
    /// Its time is over.
    Duration,
    /// It has shown as many segments as were asked for.
    Count,
    /// The daemon stops.
    Stopping,
    /// Another program has replaced the traced one.
    Replaced,
    Failed(String),
}

impl End {
    fn sentence(&self) -> String {
        match self {
            Self::Gone => "the command is gone".to_owned(),
            Self::Duration => "the duration is over".to_owned(),
            Self::Count => "the count is reached".to_owned(),
            Self::Stopping => "the daemon is stopping".to_owned(),
            Self::Replaced => "the XDP program was attached anew or detached".to_owned(),
            Self::Failed(reason) => reason.clone(),
        }
    }

    /// Whether it went as asked.
    const fn is_complete(&self) -> bool {
        matches!(self, Self::Gone | Self::Duration | Self::Count)
    }
}

impl Traces {
    pub(crate) fn new(mirror: Arc<Mirror>, stop: CancellationToken) -> Self {
        Self { mirror, running: Mutex::default(), stop, tasks: TaskTracker::new() }
    }

    /// The one that is running.
    pub(crate) fn status(&self) -> Option<TraceStatus> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Waits until none is running: the daemon stops.
    pub(crate) async fn end(&self) {
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Traces for the command at the other end. In a task of its own, which nothing cuts off before
    /// its end.
    pub(crate) async fn serve(
        self: &Arc<Self>,
        request: TraceRequest,
        input: OwnedReadHalf,
        output: OwnedWriteHalf,
    ) {
        let traces = Arc::clone(self);
        let mut client = Client { input, output, pending: Vec::new() };
        let task = async move {
            let answer = match traces.reserve(&request) {
                Ok(reserved) => traces.run(&request, reserved, &mut client).await,
                Err(reason) => TraceResponse::Refused { reason },
            };
            client.end(&answer).await;
        };
        // it logs by itself
        let _ = self.tasks.spawn(task).await;
    }

    /// Makes it the one that is running.
    fn reserve(&self, request: &TraceRequest) -> Result<Reserved<'_>, String> {
        if self.stop.is_cancelled() {
            return Err("the daemon is stopping".to_owned());
        }
        let mut running = self.running.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(status) = &*running {
            return Err(format!(
                "a trace is already running ({status}): wait for its end, or end that `sixgate trace`"
            ));
        }
        let now = Timestamp::now();
        let until = now.checked_add(request.duration()).unwrap_or(now);
        *running = Some(TraceStatus {
            source: request.source.to_string(),
            destination: request.destination.map(|prefix| prefix.to_string()),
            since: format!("{now:.0}"),
            until: format!("{until:.0}"),
        });
        Ok(Reserved(self))
    }

    /// A whole trace; the response that ends it.
    async fn run(
        &self,
        request: &TraceRequest,
        reserved: Reserved<'_>,
        client: &mut Client,
    ) -> TraceResponse {
        let TraceRequest { source, destination, .. } = *request;
        let mirror = Arc::clone(&self.mirror);
        let starting = tokio::task::spawn_blocking(move || mirror.trace(source, destination));
        tokio::pin!(starting);
        let started = loop {
            tokio::select! {
                started = &mut starting => break started,
                () = sleep(ALIVE) => client.show_life().await,
            }
        };
        let mut tracing = match started {
            Ok(Ok(tracing)) => tracing,
            Ok(Err(reason)) => return TraceResponse::Refused { reason },
            Err(error) => return TraceResponse::Refused { reason: error.to_string() },
        };
        let interfaces = tracing.interfaces().join(", ");
        info!(
            source = %source,
            destination = destination.map(|prefix| prefix.to_string()),
            interfaces,
            "the XDP program is traced"
        );
        client.queue(&TraceResponse::Tracing { interfaces: tracing.interfaces().to_vec() });
        let mut tally = Tally::default();
        let end = self.follow(&mut tracing, request, client, &mut tally).await;
        let stopped = tokio::task::spawn_blocking(move || tracing.stop()).await;
        let stopped =
            stopped.map_err(anyhow::Error::new).and_then(|stopped| stopped.map_err(anyhow::Error::new));
        let lines = tally.shown;
        let reason = end.sentence();
        // before it is logged: the log tells that the next one can begin
        drop(reserved);
        if let Err(error) = stopped {
            error!(
                "cannot replace the traced XDP program by the ordinary one; `sixgate attach` does: \
                 {error:#}"
            );
            let reason =
                format!("{reason}; the traced XDP program is still attached ({error:#}): `sixgate attach`");
            return TraceResponse::TraceEnded { lines, reason, is_complete: false };
        }
        info!(lines, reason, "the XDP program is no longer traced");
        TraceResponse::TraceEnded { lines, is_complete: end.is_complete(), reason }
    }

    /// Shows the command what is logged, until the end.
    async fn follow(
        &self,
        tracing: &mut Tracing,
        request: &TraceRequest,
        client: &mut Client,
        tally: &mut Tally,
    ) -> End {
        let end = sleep_until(Instant::now() + request.duration());
        tokio::pin!(end);
        let mut look = interval(LOOK);
        let mut alive = Instant::now();
        let mut octet = [0];
        loop {
            let Client { input, output, pending } = client;
            tokio::select! {
                _ = look.tick() => {}
                written = output.write(pending), if !pending.is_empty() => match written {
                    Ok(0) | Err(_) => return End::Gone,
                    Ok(written) => {
                        pending.drain(..written);
                        continue;
                    }
                },
                // a command sends nothing after its request
                _ = input.read(&mut octet) => return End::Gone,
                () = &mut end => return End::Duration,
                () = self.stop.cancelled() => return End::Stopping,
            }
            let is_due = alive.elapsed() >= ALIVE;
            // before the records: those of all segments counted here are in the ring buffer, or
            // were not logged
            let matched = if is_due { tracing.matched().ok() } else { None };
            for segment in tracing.take() {
                let segment = Box::new(TracedLine::of(&segment));
                if client.queue(&TraceResponse::Segment { segment }) {
                    tally.shown += 1;
                }
                if request.count.is_some_and(|count| tally.shown >= count.get()) {
                    return End::Count;
                }
            }
            if is_due {
                alive = Instant::now();
                if let Some(lines) = matched.and_then(|matched| tally.suppressed(matched))
                    && !client.queue(&TraceResponse::Suppressed { lines })
                {
                    tally.reported -= lines;
                }
                if client.pending.is_empty() {
                    client.pending.push(b' ');
                }
                match tracing.is_running() {
                    Ok(true) => {}
                    Ok(false) => return End::Replaced,
                    Err(error) => return End::Failed(format!("{:#}", anyhow::Error::new(error))),
                }
            }
        }
    }
}

/// Allows the next trace when dropped.
struct Reserved<'a>(&'a Traces);

impl Drop for Reserved<'_> {
    fn drop(&mut self) {
        *self.0.running.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }
}

/// What became of the segments that matched.
#[derive(Default)]
struct Tally {
    shown: u64,
    /// Suppressed, and reported as such.
    reported: u64,
}

impl Tally {
    /// How many more of those that `matched` were suppressed than were reported.
    fn suppressed(&mut self, matched: u64) -> Option<u64> {
        let more = matched.saturating_sub(self.shown + self.reported);
        self.reported += more;
        (more > 0).then_some(more)
    }
}

/// The command. Lines that it does not take wait, as far as there is space.
struct Client {
    input: OwnedReadHalf,
    output: OwnedWriteHalf,
    pending: Vec<u8>,
}

impl Client {
    /// Whether there was space for the line.
    fn queue(&mut self, response: &TraceResponse) -> bool {
        if self.pending.len() > PENDING_MAX {
            return false;
        }
        let Ok(line) = serde_json::to_vec(response) else {
            return false;
        };
        self.pending.extend(line);
        self.pending.push(b'\n');
        true
    }

    /// White space before JSON means nothing: the command learns that the daemon lives.
    async fn show_life(&mut self) {
        let _: Result<io::Result<()>, _> = timeout(LINE_TIMEOUT, self.output.write_all(b" ")).await;
    }

    /// Tells the last thing; a command that is gone has no use for it.
    async fn end(&mut self, response: &TraceResponse) {
        self.pending.reserve(LINE_CAPACITY);
        if let Ok(line) = serde_json::to_vec(response) {
            self.pending.extend(line);
            self.pending.push(b'\n');
        }
        let _: Result<io::Result<()>, _> = timeout(LINE_TIMEOUT, self.output.write_all(&self.pending)).await;
    }
}

/// Pause between two looks at what the program has logged: the ring buffer holds 2048 records.
const LOOK: Duration = Duration::from_millis(50);
/// Pause between signs of life, and between two looks at whether the traced program still runs.
const ALIVE: Duration = Duration::from_secs(1);
/// Octets that wait for the command, at most, and what a line may add; lines beyond are suppressed.
const PENDING_MAX: usize = 1 << 20;
const LINE_CAPACITY: usize = 4096;
