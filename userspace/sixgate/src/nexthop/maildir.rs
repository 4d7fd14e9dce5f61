//! The Maildir: one file for each transaction, in place only once it is on the disk.
//!
//! It owns the directories `tmp`, `new` and `cur` and the names of the files; it knows no users and
//! no quotas. Line ends stay CRLF, unlike in most Maildirs, so that what lies there is exactly what
//! was verified and a DKIM signature can be checked again.

use std::{
    fs,
    io::{self, Write},
    os::unix::fs::{DirBuilderExt, OpenOptionsExt},
    path::{Path, PathBuf},
    process,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use bytes::Bytes;
use tokio::task;
use tracing::{error, info, warn};

use super::{
    capabilities::Capabilities,
    error::{NextHopError, as_value},
    health::Health,
};
use sixgate_smtp::{
    command::{MailFrom, RcptTo},
    reply::{Reply, ReplyKind, ReplyTable},
};

use crate::{log_limit::DETAIL, message_store::Outgoing};

/// A Maildir takes everything.
pub(super) const CAPABILITIES: Capabilities =
    Capabilities { eight_bit_mime: true, size: Some(u64::MAX), smtp_utf8: true };

/// Age at which a file in `tmp` belongs to no delivery any more (maildir(5)).
const STALE: Duration = Duration::from_secs(36 * 60 * 60);
/// Mail is its owner's only.
const FILE_MODE: u32 = 0o600;
const DIRECTORY_MODE: u32 = 0o700;

/// A Maildir on a local file system.
#[derive(Debug)]
pub(super) struct Maildir {
    path: PathBuf,
    /// Our host name, fit for a file name.
    host: String,
    replies: Arc<ReplyTable>,
    delivered: AtomicU64,
    health: Health,
}

impl Maildir {
    pub(super) fn new(path: PathBuf, hostname: &str, replies: Arc<ReplyTable>) -> Self {
        Self {
            path,
            host: hostname.replace('/', "\\057").replace(':', "\\072"),
            replies,
            delivered: AtomicU64::new(0),
            health: Health::default(),
        }
    }

    pub(super) fn health(&self) -> &Health {
        &self.health
    }

    /// Creates what is missing, tries to write, and removes what a crash left in `tmp`.
    pub(super) async fn probe(self: &Arc<Self>) -> Result<Capabilities, NextHopError> {
        let maildir = Arc::clone(self);
        blocking(&self.path, "examine", move || {
            maildir.create()?;
            maildir.remove_stale()?;
            drop(TemporaryFile::create(&maildir)?);
            Ok(CAPABILITIES)
        })
        .await
    }

    fn create(&self) -> Result<(), NextHopError> {
        for directory in ["tmp", "new", "cur"] {
            let path = self.path.join(directory);
            fs::DirBuilder::new()
                .recursive(true)
                .mode(DIRECTORY_MODE)
                .create(&path)
                .map_err(failed("create the directory", &path))?;
        }
        sync_directory(&self.path)?;
        let parent = self.path.parent().filter(|parent| !parent.as_os_str().is_empty());
        parent.map_or(Ok(()), sync_directory)
    }

    fn remove_stale(&self) -> Result<(), NextHopError> {
        let directory = self.path.join("tmp");
        for entry in fs::read_dir(&directory).map_err(failed("read", &directory))? {
            let entry = entry.map_err(failed("read", &directory))?;
            let Ok(metadata) = entry.metadata() else { continue };
            let age = metadata.modified().ok().and_then(|time| time.elapsed().ok());
            let path = entry.path();
            // the clock may just have leapt: a file that is being written is not stale, regardless
            // of its age
            if metadata.is_file() && age.is_some_and(|age| age > STALE) && !is_held(&path) {
                match fs::remove_file(&path) {
                    Ok(()) => info!(path = %path.display(), "removed an unfinished delivery of long ago"),
                    Err(error) => {
                        warn!(path = %path.display(), %error, "cannot remove an unfinished delivery")
                    }
                }
            }
        }
        Ok(())
    }

    /// A name that no other delivery uses: time, process, count and host (maildir(5)).
    fn unique_name(&self) -> String {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let count = self.delivered.fetch_add(1, Ordering::Relaxed);
        let (seconds, micros) = (now.as_secs(), now.subsec_micros());
        format!("{seconds}.M{micros:06}P{}Q{count}.{}", process::id(), self.host)
    }
}

/// Whether a process holds a lock on the file, as each [`TemporaryFile`] does, or that cannot be
/// found out.
fn is_held(path: &Path) -> bool {
    fs::File::open(path).and_then(|file| Ok(file.try_lock()?)).is_err()
}

/// One session's deliveries.
#[derive(Debug)]
pub(super) struct MaildirTransport {
    maildir: Arc<Maildir>,
    envelope: Option<MaildirEnvelope>,
}

#[derive(Debug)]
struct MaildirEnvelope {
    mail: MailFrom,
    recipients: Vec<RcptTo>,
}

impl MaildirTransport {
    pub(super) fn new(maildir: Arc<Maildir>) -> Self {
        Self { maildir, envelope: None }
    }

    pub(super) fn recipient(&mut self, mail: &MailFrom, rcpt: &RcptTo) -> Reply {
        let envelope = self
            .envelope
            .get_or_insert_with(|| MaildirEnvelope { mail: mail.clone(), recipients: Vec::new() });
        envelope.recipients.push(rcpt.clone());
        self.maildir.replies.reply(ReplyKind::Recipient)
    }

    pub(super) fn reset(&mut self) {
        self.envelope = None;
    }

    pub(super) async fn deliver(&mut self, message: &Outgoing, gone: impl Future<Output = ()>) -> Reply {
        let replies = &self.maildir.replies;
        let Some(envelope) = self.envelope.take() else {
            return replies.reply(ReplyKind::NoRecipients);
        };
        let written = tokio::select! {
            biased;
            () = gone => {
                info!("client disconnected before its message was stored");
                return replies.reply(ReplyKind::StorageFailed);
            }
            written = write(&self.maildir, &envelope, message) => written,
        };
        let stored = match written {
            Ok(temporary) => temporary.publish().await,
            Err(error) => Err(error),
        };
        match stored {
            Ok(name) => {
                self.maildir.health.delivered();
                info!(name: DETAIL, name, "delivered to the Maildir");
                replies.reply_about(ReplyKind::Delivered, &name)
            }
            Err(error) => {
                error!(error = as_value(&error), "cannot deliver to the Maildir");
                replies.reply(error.reply_kind())
            }
        }
    }
}

async fn write(
    maildir: &Arc<Maildir>,
    envelope: &MaildirEnvelope,
    message: &Outgoing,
) -> Result<TemporaryFile, NextHopError> {
    let owner = Arc::clone(maildir);
    let temporary = blocking(&maildir.path, "write below", move || TemporaryFile::create(&owner)).await?;
    // a second handle, for the threads that write; `temporary` keeps its own for the end
    let file = Arc::new(temporary.file.try_clone().map_err(failed("open", &temporary.path))?);
    let written = failed("write", &temporary.path);
    let mut chunks = message.chunks();
    append(&file, envelope.headers().into()).await.map_err(written)?;
    while let Some(chunk) = chunks.next().await.map_err(|source| NextHopError::Unreadable { source })? {
        append(&file, chunk).await.map_err(written)?;
    }
    Ok(temporary)
}

/// Writes octets from where they lie: an asynchronous file would copy them.
async fn append(file: &Arc<fs::File>, octets: Bytes) -> io::Result<()> {
    let file = Arc::clone(file);
    let write = move || (&*file).write_all(&octets);
    task::spawn_blocking(write).await.map_err(io::Error::other)?
}

impl MaildirEnvelope {
    /// The envelope as header fields: `Return-Path` (RFC 5321 4.4), and one `Delivered-To` for each
    /// recipient.
    fn headers(&self) -> String {
        let sender = self.mail.reverse_path.as_ref();
        let sender = sender.map(ToString::to_string).unwrap_or_default();
        let recipients = self.recipients.iter();
        let recipients: String = recipients.map(|rcpt| format!("Delivered-To: {rcpt}\r\n")).collect();
        format!("Return-Path: <{sender}>\r\n{recipients}")
    }
}

/// A file in `tmp` that goes away again unless it is published. It is locked (flock(2)) as long as
/// it is being written.
#[derive(Debug)]
struct TemporaryFile {
    path: PathBuf,
    file: fs::File,
    destination: PathBuf,
    name: String,
}

impl TemporaryFile {
    fn create(maildir: &Maildir) -> Result<Self, NextHopError> {
        let name = maildir.unique_name();
        let path = maildir.path.join("tmp").join(&name);
        let file = fs::OpenOptions::new()
            .write(true)
            .create_new(true)
            .mode(FILE_MODE)
            .open(&path)
            .map_err(failed("create", &path))?;
        let temporary = Self { path, file, destination: maildir.path.join("new"), name };
        // no other process knows the file: it is free
        temporary.file.try_lock().map_err(|error| failed("lock", &temporary.path)(error.into()))?;
        Ok(temporary)
    }

    /// Puts the message in place once it is safe on the disk. It is done off the asynchronous
    /// threads, and to its end even when no session waits any more.
    async fn publish(self) -> Result<String, NextHopError> {
        let path = self.path.clone();
        blocking(&path, "publish", move || {
            self.file.sync_all().map_err(failed("sync", &self.path))?;
            let published = self.destination.join(&self.name);
            fs::hard_link(&self.path, &published).map_err(failed("link", &published))?;
            if let Err(error) = sync_directory(&self.destination) {
                // The sender gets the reply that it was not stored and will send it again.
                let _ = fs::remove_file(&published);
                return Err(error);
            }
            Ok(self.name.clone())
        })
        .await
    }
}

impl Drop for TemporaryFile {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path) {
            warn!(path = %self.path.display(), %error, "cannot remove a file from tmp");
        }
    }
}

fn sync_directory(path: &Path) -> Result<(), NextHopError> {
    let directory = fs::File::open(path).map_err(failed("open", path))?;
    directory.sync_all().map_err(failed("sync", path))
}

/// Runs file work off the asynchronous threads. The work never panics and is never cancelled, so
/// that a join error can only mean that the runtime is going away.
async fn blocking<T: Send + 'static>(
    path: &Path,
    action: &'static str,
    work: impl FnOnce() -> Result<T, NextHopError> + Send + 'static,
) -> Result<T, NextHopError> {
    let span = tracing::Span::current();
    match task::spawn_blocking(move || span.in_scope(work)).await {
        Ok(result) => result,
        Err(error) => Err(failed(action, path)(io::Error::other(error))),
    }
}

fn failed(action: &'static str, path: &Path) -> impl Fn(io::Error) -> NextHopError + Copy {
    move |source| NextHopError::Maildir { action, path: path.to_owned(), source }
}
