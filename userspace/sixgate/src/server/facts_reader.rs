//! Reads facts of the XDP program and its maps for commands of users who may not open them.
//!
//! It owns how many are read at a time, for how long, and that a long answer is not held in memory
//! as a whole. The contents are `control`'s business; who may request them, the control socket's.

use std::{
    io,
    ops::ControlFlow,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use tokio::{
    io::AsyncWriteExt as _,
    net::unix::OwnedWriteHalf,
    sync::{OwnedSemaphorePermit, Semaphore, mpsc},
    time::{Instant, sleep, timeout},
};

use crate::{
    config::Config,
    control::{Control, Facts, FactsRequest},
    mirror::follow::Mirror,
    server::control_socket::{ALIVE, LINE_TIMEOUT},
    services::InForce,
};

/// The daemon's reading for others.
pub(crate) struct FactsReader {
    mirror: Arc<Mirror>,
    in_force: InForce,
    readers: Arc<Semaphore>,
    refused: AtomicU64,
}

impl FactsReader {
    pub(crate) fn new(mirror: Arc<Mirror>, in_force: InForce) -> Self {
        Self { mirror, in_force, readers: Arc::new(Semaphore::new(READERS_MAX)), refused: AtomicU64::new(0) }
    }

    /// How many requests were refused because of [`READERS_MAX`].
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    /// Answers one request, line after line.
    ///
    /// # Errors
    ///
    /// The command is gone, or does not take its answer.
    pub(crate) async fn serve(&self, request: FactsRequest, mut output: OwnedWriteHalf) -> io::Result<()> {
        timeout(ANSWER_TIMEOUT, self.answer(request, &mut output)).await?
    }

    async fn answer(&self, request: FactsRequest, output: &mut OwnedWriteHalf) -> io::Result<()> {
        let Some(permit) = self.permit(output).await? else {
            self.refused.fetch_add(1, Ordering::Relaxed);
            let reason = format!("it answers {READERS_MAX} such requests at a time: try again");
            return write(output, &Facts::Refused { reason }).await;
        };
        let control = match self.control(request).await {
            Ok(control) => control,
            Err(reason) => return write(output, &Facts::Refused { reason }).await,
        };
        let (send, mut pages) = mpsc::channel(PAGES_AHEAD);
        let reading = tokio::task::spawn_blocking(move || {
            // until it has ended, also where the command is gone
            let _permit = permit;
            control.facts(request, &mut |facts| match send.blocking_send(facts) {
                Ok(()) => ControlFlow::Continue(()),
                Err(_) => ControlFlow::Break(()),
            })
        });
        loop {
            tokio::select! {
                page = pages.recv() => match page {
                    Some(page) => write(output, &page).await?,
                    None => break,
                },
                () = sleep(ALIVE) => show_life(output).await?,
            }
        }
        let last = match reading.await {
            Ok(Ok(())) => Facts::Complete,
            Ok(Err(error)) => Facts::Refused { reason: text(error) },
            Err(error) => Facts::Refused { reason: text(error) },
        };
        write(output, &last).await
    }

    /// Waits until fewer are being answered; none: they take too long.
    async fn permit(&self, output: &mut OwnedWriteHalf) -> io::Result<Option<OwnedSemaphorePermit>> {
        let end = Instant::now() + READER_WAIT;
        while Instant::now() < end {
            if let Ok(permit) = timeout(ALIVE, Arc::clone(&self.readers).acquire_owned()).await {
                return Ok(permit.ok());
            }
            show_life(output).await?;
        }
        Ok(None)
    }

    /// Store and maps to be read: for the status by the configuration file as it is now, which is
    /// what the command compares.
    async fn control(&self, request: FactsRequest) -> Result<Arc<Control>, String> {
        let Some(control) = self.mirror.control_of_maps() else {
            return Err(NO_XDP.to_owned());
        };
        if !matches!(request, FactsRequest::Status { .. }) {
            return Ok(control);
        }
        let file = self.in_force.get().config.file.clone();
        let read = tokio::task::spawn_blocking(move || Config::load(&file)).await.map_err(text)?;
        Ok(read.map_or(control, |config| Arc::new(Control::new(&config))))
    }
}

async fn write(output: &mut OwnedWriteHalf, facts: &Facts) -> io::Result<()> {
    let mut line = serde_json::to_vec(facts)?;
    line.push(b'\n');
    timeout(LINE_TIMEOUT, output.write_all(&line)).await?
}

/// White space before JSON means nothing: the command learns that the daemon lives.
async fn show_life(output: &mut OwnedWriteHalf) -> io::Result<()> {
    timeout(LINE_TIMEOUT, output.write_all(b" ")).await?
}

fn text(error: impl std::error::Error + Send + Sync + 'static) -> String {
    format!("{:#}", anyhow::Error::new(error))
}

/// Requests that are answered at a time; fewer than connections to the control socket, so that a
/// reload or a status gets through.
const READERS_MAX: usize = 4;
/// How long one waits for that.
const READER_WAIT: Duration = Duration::from_secs(10);
/// How long one answer may take: that of full maps takes some seconds.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(60);
/// Parts of an answer that are ready before the command has taken the one before.
const PAGES_AHEAD: usize = 2;
const NO_XDP: &str = "it was started with --no-xdp: run the command as root";
