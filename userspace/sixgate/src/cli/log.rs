//! Writes the daemon's log: lines wait in a queue, so that a reader that stops reading, or a disk
//! that hangs, does not delay the daemon.
//!
//! It owns the priority in front of a line for the journal; tracing forms the rest of a line.

use std::{
    env, fmt,
    fs::File,
    io::{self, ErrorKind, Write},
    os::unix::fs::MetadataExt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
        mpsc::{Receiver, SyncSender, TryRecvError, TrySendError, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::{
    fmt::{FmtContext, FormatEvent, FormatFields, MakeWriter, format::Writer},
    registry::LookupSpan,
};

/// Whether `out` goes to the journal: systemd names the device and the inode of the stream that it
/// made for the log.
pub(super) fn is_journal(out: &File) -> bool {
    let stream = env::var("JOURNAL_STREAM").ok();
    let numbers = stream.as_deref().and_then(|stream| stream.split_once(':'));
    let (Some((device, inode)), Ok(metadata)) = (numbers, out.metadata()) else {
        return false;
    };
    device.parse() == Ok(metadata.dev()) && inode.parse() == Ok(metadata.ino())
}

/// Lines in the form of `.0`, each behind its priority as the journal reads it (sd-daemon(3)).
pub(super) struct Priorities<F>(pub(super) F);

impl<S, N, F> FormatEvent<S, N> for Priorities<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        write!(writer, "<{}>", priority(*event.metadata().level()))?;
        self.0.format_event(context, writer, event)
    }
}

/// The priority of syslog(3) for a level.
pub(super) const fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        Level::DEBUG | Level::TRACE => 7,
    }
}

/// Lines that wait to be written. Lines beyond its capacity are lost, and counted.
#[derive(Debug)]
pub(super) struct Queue {
    entries: SyncSender<LogEntry>,
    lost: Arc<AtomicU64>,
}

#[derive(Debug)]
enum LogEntry {
    Line(Vec<u8>),
    /// To be answered when everything before it is written.
    Flush(SyncSender<()>),
}

impl Queue {
    /// Begins to write to `out`, on a thread of its own that ends with the process. `tell_lost`
    /// receives the number of lines that were lost once the queue has capacity again.
    ///
    /// # Errors
    /// If the system has no thread for it.
    pub(super) fn start(
        out: impl Write + Send + 'static,
        capacity: usize,
        tell_lost: impl Fn(u64) + Send + 'static,
    ) -> io::Result<Self> {
        let (entries, waiting) = sync_channel(capacity);
        let lost = Arc::<AtomicU64>::default();
        let counted = Arc::clone(&lost);
        let write = move || write(out, &waiting, &counted, tell_lost);
        thread::Builder::new().name("log".to_owned()).spawn(write)?;
        Ok(Self { entries, lost })
    }

    /// Waits until the lines that were logged so far are written, at most for `time`.
    pub(super) fn flush(&self, time: Duration) {
        let until = Instant::now() + time;
        let (written, wait) = sync_channel(1);
        let mut entry = LogEntry::Flush(written);
        while let Err(TrySendError::Full(again)) = self.entries.try_send(entry) {
            if Instant::now() >= until {
                return;
            }
            entry = again;
            thread::sleep(POLL);
        }
        // whether it was written or not, there is nothing else to be done
        let _ = wait.recv_timeout(until.saturating_duration_since(Instant::now()));
    }
}

impl<'a> MakeWriter<'a> for Queue {
    type Writer = &'a Self;

    fn make_writer(&'a self) -> Self::Writer {
        self
    }
}

/// Takes one line at a time, as tracing hands them over.
impl Write for &Queue {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        if self.entries.try_send(LogEntry::Line(line.to_vec())).is_err() {
            self.lost.fetch_add(1, Ordering::Relaxed);
        }
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn write(mut out: impl Write, waiting: &Receiver<LogEntry>, lost: &AtomicU64, tell_lost: impl Fn(u64)) {
    let (mut works, mut torn) = (true, false);
    loop {
        let entry = match waiting.try_recv() {
            Err(TryRecvError::Empty) => {
                // while nothing can be written, nor can this: the next line will show
                if works {
                    tell(lost, &tell_lost);
                }
                waiting.recv().ok()
            }
            entry => entry.ok(),
        };
        match entry {
            Some(LogEntry::Line(line)) => {
                works = put(&mut out, &line, &mut torn).is_ok();
                lost.fetch_add(u64::from(!works), Ordering::Relaxed);
            }
            Some(LogEntry::Flush(written)) => {
                let _ = written.try_send(());
            }
            None => return,
        }
    }
}

/// Writes a line whole. If only its beginning could be written, which `torn` keeps, the next one
/// begins on a line of its own.
fn put(out: &mut impl Write, line: &[u8], torn: &mut bool) -> io::Result<()> {
    if *torn {
        put_all(out, b"\n").map_err(|(_, error)| error)?;
        *torn = false;
    }
    put_all(out, line).map_err(|(written, error)| {
        *torn = written > 0;
        error
    })
}

/// Writes everything, waiting where the other side does not block; or how much was written, and
/// what then failed.
fn put_all(out: &mut impl Write, octets: &[u8]) -> Result<(), (usize, io::Error)> {
    let mut written = 0;
    while let Some(rest) = octets.get(written..).filter(|rest| !rest.is_empty()) {
        match out.write(rest) {
            Ok(0) => return Err((written, ErrorKind::WriteZero.into())),
            Ok(count) => written += count,
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) if error.kind() == ErrorKind::WouldBlock => thread::sleep(POLL),
            Err(error) => return Err((written, error)),
        }
    }
    Ok(())
}

fn tell(lost: &AtomicU64, tell_lost: impl Fn(u64)) {
    let lines = lost.swap(0, Ordering::Relaxed);
    if lines > 0 {
        tell_lost(lines);
    }
}

/// Pause between two tries to write.
const POLL: Duration = Duration::from_millis(10);

#[cfg(test)]
mod tests {
    use std::{
        io::{BufRead, BufReader, pipe},
        sync::mpsc::channel,
    };

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(30);

    /// An output that takes a line each time that the test asks for one.
    struct Slow {
        asked: Receiver<()>,
        out: io::PipeWriter,
    }

    impl Write for Slow {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            let _ = self.asked.recv();
            self.out.write(line)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn lines_that_do_not_fit_are_lost_and_counted_and_no_caller_waits() {
        let (reader, out) = pipe().unwrap();
        let (ask, asked) = channel();
        let (tell, reported) = channel();
        let queue = Queue::start(Slow { asked, out }, 3, move |lines| tell.send(lines).unwrap()).unwrap();
        for number in 0..10 {
            (&queue).write_all(format!("{number}\n").as_bytes()).unwrap();
        }
        for _ in 0..20 {
            ask.send(()).unwrap();
        }
        queue.flush(PATIENCE);
        let lost: u64 = reported.recv_timeout(PATIENCE).unwrap();
        drop(queue);
        let lines: Vec<String> = BufReader::new(reader).lines().map(Result::unwrap).collect();
        assert_eq!(lines.len() as u64 + lost, 10, "{lines:?}");
        assert!((3..=4).contains(&lines.len()), "the queue, and one that is being written: {lines:?}");
    }

    #[test]
    fn a_flush_ends_in_time_while_the_writer_stands_still() {
        let (_reader, out) = pipe().unwrap();
        let (_ask, asked) = channel();
        let queue = Queue::start(Slow { asked, out }, 1, drop).unwrap();
        for _ in 0..5 {
            (&queue).write_all(b"a line\n").unwrap();
        }
        queue.flush(Duration::from_millis(50));
    }

    /// A disk that is full after so many octets, until the test frees space.
    struct Disk {
        space: Arc<AtomicU64>,
        out: io::PipeWriter,
    }

    impl Write for Disk {
        fn write(&mut self, line: &[u8]) -> io::Result<usize> {
            let space = self.space.load(Ordering::Relaxed).min(line.len() as u64);
            if space == 0 {
                return Err(ErrorKind::StorageFull.into());
            }
            self.space.fetch_sub(space, Ordering::Relaxed);
            self.out.write(&line[..space as usize])
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn what_a_full_disk_does_not_take_is_counted_and_spoils_no_other_line() {
        let (reader, out) = pipe().unwrap();
        let (tell, reported) = channel();
        let space = Arc::new(AtomicU64::new(17));
        let disk = Disk { space: Arc::clone(&space), out };
        let queue = Queue::start(disk, 100, move |lines| tell.send(lines).unwrap()).unwrap();
        let say = |number: u32| (&queue).write_all(format!("line {number}\n").as_bytes()).unwrap();
        (1..=4).for_each(say);
        queue.flush(PATIENCE);
        assert!(reported.try_recv().is_err(), "the lines did not fit on the disk");
        space.store(1000, Ordering::Relaxed);
        say(5);
        queue.flush(PATIENCE);
        assert_eq!(reported.recv_timeout(PATIENCE), Ok(2), "three, which is torn, and four");
        drop(queue);
        let lines: Vec<String> = BufReader::new(reader).lines().map(Result::unwrap).collect();
        assert_eq!(lines, ["line 1", "line 2", "lin", "line 5"]);
    }
}
