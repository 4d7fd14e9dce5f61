//! The opt-in store as the daemon sees it: in memory, brought up to date by the changes of each
//! revision.
//!
//! It changes no entry; at a start it may put a damaged store back from its backup, and it makes
//! the backups. A store that cannot be read, or is gone, leaves the last good content in force: an
//! empty store would refuse everything for good.

use std::{
    io,
    net::Ipv6Addr,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use ipnet::Ipv6Net;
use sixgate_base::file_version::{FileIdentity, file_identity};
use sixgate_common::dest::OptIn;
use sixgate_smtp::policy::{TemporaryDomains, evidence::OptInStatus};
use tracing::{error, info, warn};

use crate::store::{
    Change, Contents, Database, Key, Logged, Marks, Revision, Since, StartNote, Store, StoreEntry, StoreError,
};

/// The store's content, kept up to date.
#[derive(Debug)]
pub(crate) struct StoreView(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    store: Store,
    seen: RwLock<Seen>,
    reader: Mutex<Reader>,
    /// Whether a thread reads the store as a whole. The database is asked for its present facts
    /// meanwhile.
    is_reading: AtomicBool,
}

/// The store's facts, at one moment, about a connection and about the recipient that is named.
#[derive(Clone, Copy, Debug)]
pub(crate) struct StoreFacts {
    /// The trusted prefix that the source is in.
    pub(crate) trusted: Option<Ipv6Net>,
    /// Whether the destination address has opted in.
    pub(crate) destination: OptInStatus,
    /// The marks of the recipient's domain; none without one.
    pub(crate) recipient: Marks,
}

/// The contents in force.
#[derive(Debug)]
struct Seen {
    contents: Contents,
    revision: Revision,
    /// Of these contents.
    temporary: Arc<TemporaryDomains>,
}

impl Seen {
    fn new(contents: Contents, revision: Revision) -> Self {
        let temporary = Arc::new(contents.temporary_domains());
        Self { contents, revision, temporary }
    }

    fn apply(&mut self, changes: Vec<Change>, revision: Revision) {
        let concerns_domains = |change: &Change| {
            matches!(change, Change::Put(StoreEntry::Domain(..)) | Change::Gone(Key::Domain(_)))
        };
        let changes_domains = changes.iter().any(concerns_domains);
        changes.into_iter().for_each(|change| self.contents.apply(change));
        self.revision = revision;
        if changes_domains {
            self.temporary = Arc::new(self.contents.temporary_domains());
        }
    }
}

/// The connection by which changes are noticed.
#[derive(Debug)]
struct Reader {
    /// None if it could not be opened again.
    database: Option<Database>,
    /// The file that it reads.
    identity: Option<FileIdentity>,
    /// The database's own number for its state, at the last look.
    version: Option<i64>,
    /// Until when a store that cannot be read is left alone.
    retry: Option<Instant>,
    /// The problem of the store, as it was logged.
    told: Option<String>,
    /// Why the store cannot be changed, as it was logged.
    unwritable: Option<String>,
}

impl Reader {
    /// Notes why the store cannot be read, and logs a change of that.
    fn note_unreadable(&mut self, error: StoreError) {
        self.retry = Some(Instant::now() + RETRY);
        let text = format!("{:#}", anyhow::Error::new(error));
        if self.told.as_ref() != Some(&text) {
            error!("{UNREADABLE}: {text}");
            self.told = Some(text);
        }
    }

    fn note_readable(&mut self) {
        if self.told.take().is_some() {
            info!("the opt-in store can be read again");
        }
    }
}

impl StoreView {
    /// Reads the store for the first time; a damaged one is put back from its backup. `shown` finds
    /// the revision that the BPF maps show.
    ///
    /// # Errors
    ///
    /// [`StoreError`], [`StoreError::Missing`] above all.
    pub(crate) fn open(store: Store, shown: impl FnOnce() -> Option<u64>) -> Result<Self, StoreError> {
        if let Some(taken) = store.take_over()? {
            info!(
                entries = taken.entries,
                "the opt-in store {} was made from {}, which is not used any more",
                taken.path.display(),
                taken.json.display()
            );
        }
        let (mut database, note) = store.open_checked()?;
        if let Some(StartNote::PutBack { reason, aside, backup }) = note {
            warn!(
                revision = backup.revision,
                "the opt-in store was damaged ({reason}): it is kept as {}, and the backup {} took its place: {}",
                aside.display(),
                backup.path.display(),
                backup.describe(shown())
            );
        }
        let identity = file_identity(store.path()).ok();
        let (contents, revision) = database.contents()?;
        let unwritable = database.unwritable().map(str::to_owned);
        if let Some(reason) = &unwritable {
            warn!(
                revision = revision.number(),
                "the opt-in store {} can be read, but not changed: {reason}; mail is served by what it holds",
                store.path().display()
            );
        }
        database.set_wait(READ_WAIT)?;
        let version = database.version().ok();
        let reader = Reader {
            database: Some(database).filter(|database| !database.is_frozen()),
            identity,
            version,
            retry: None,
            told: None,
            unwritable,
        };
        Ok(Self(Arc::new(Inner {
            store,
            seen: RwLock::new(Seen::new(contents, revision)),
            reader: Mutex::new(reader),
            is_reading: AtomicBool::new(false),
        })))
    }

    /// What decides about a connection between these addresses and, at RCPT, about a recipient of
    /// `domain`.
    pub(crate) fn facts(&self, source: Ipv6Addr, destination: Ipv6Addr, domain: Option<&str>) -> StoreFacts {
        self.ask(
            |contents| StoreFacts {
                trusted: contents.trusted_prefix(source),
                destination: contents.destination(destination),
                recipient: domain.map(|domain| contents.marks(domain)).unwrap_or_default(),
            },
            |database| {
                Ok(StoreFacts {
                    trusted: database.trust_rule(source)?,
                    destination: opt_in_status(database, destination)?,
                    recipient: domain.map(|domain| database.marks(domain)).transpose()?.unwrap_or_default(),
                })
            },
        )
    }

    /// Whether the destination `address` has opted in.
    pub(crate) fn destination(&self, address: Ipv6Addr) -> OptInStatus {
        self.ask(|contents| contents.destination(address), |database| opt_in_status(database, address))
    }

    /// What `look` finds in what was taken over last.
    pub(crate) fn look<T>(&self, look: impl FnOnce(&Contents) -> T) -> T {
        look(&read(&self.0.seen).contents)
    }

    /// The domains whose refusal is temporary, for a session that is refused from its first packet
    /// on, as they were taken over last.
    pub(crate) fn temporary_domains(&self) -> Arc<TemporaryDomains> {
        Arc::clone(&read(&self.0.seen).temporary)
    }

    /// Takes over what has changed since the last look. Costs a stat(2) and a look at the
    /// database's shared memory if nothing has.
    pub(crate) fn refresh(&self) {
        self.0.refresh(&mut lock(&self.0.reader));
    }

    /// What keeps the store from being read or changed, after another look at it.
    pub(crate) fn trouble(&self) -> Option<String> {
        let mut reader = lock(&self.0.reader);
        self.0.refresh(&mut reader);
        let unreadable = reader.told.as_ref().map(|text| format!("{UNREADABLE}: {text}"));
        unreadable.or_else(|| {
            let reason = reader.unwritable.as_ref()?;
            Some(format!("the opt-in store {} cannot be changed: {reason}", self.0.store.path().display()))
        })
    }

    /// The store's file.
    pub(crate) fn path(&self) -> &Path {
        self.0.store.path()
    }

    /// The damage that a whole look at the store finds, which the reader need not have met. Blocks.
    pub(crate) fn damage(&self) -> Option<String> {
        let error = self.0.store.open().and_then(|database| database.check()).err()?;
        matches!(error, StoreError::Damaged { .. }).then(|| error.to_string())
    }

    /// Whether the store's backup was made longer ago than `interval`.
    pub(crate) fn is_backup_older_than(&self, interval: Duration) -> bool {
        self.0.store.is_backup_older_than(interval)
    }

    /// Makes the store's backup that of its present revision; whether that could be done.
    pub(crate) fn back_up(&self) -> bool {
        match self.0.store.back_up() {
            Ok(made) => {
                if let Some(revision) = made {
                    info!(
                        revision,
                        "the opt-in store was backed up to {}",
                        self.0.store.backup_path().display()
                    );
                }
                true
            }
            Err(error) => {
                error!("cannot back up the opt-in store: {:#}", anyhow::Error::new(error));
                false
            }
        }
    }

    /// The answer of what is in memory or, while that is behind, of the database.
    fn ask<T>(
        &self,
        of_memory: impl FnOnce(&Contents) -> T,
        of_database: impl FnOnce(&Database) -> Result<T, StoreError>,
    ) -> T {
        let mut reader = lock(&self.0.reader);
        self.0.refresh(&mut reader);
        if self.0.is_reading.load(Ordering::Acquire)
            && let Some(answer) = reader.database.as_ref().and_then(|database| of_database(database).ok())
        {
            return answer;
        }
        drop(reader);
        of_memory(&read(&self.0.seen).contents)
    }
}

impl Inner {
    fn refresh(self: &Arc<Self>, reader: &mut Reader) {
        if reader.retry.is_some_and(|retry| retry > Instant::now()) {
            return;
        }
        match self.try_refresh(reader) {
            Ok(()) => {
                // a store that cannot be followed is opened anew, but not for each session
                reader.retry = reader.database.is_none().then(|| Instant::now() + RETRY);
                // a whole read that is under way may fail
                if !self.is_reading.load(Ordering::Acquire) {
                    reader.note_readable();
                }
            }
            // another process opens or closes it at this moment: the next question looks again
            Err(StoreError::Busy { .. }) => {}
            Err(error) => reader.note_unreadable(error),
        }
    }

    fn try_refresh(self: &Arc<Self>, reader: &mut Reader) -> Result<(), StoreError> {
        let identity = match file_identity(self.store.path()) {
            Ok(identity) => Some(identity),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.store.open_waiting(READ_WAIT).map(drop)?;
                None
            }
            Err(source) => {
                let path = self.store.path().to_owned();
                return Err(StoreError::File { operation: "look at the opt-in store", path, source });
            }
        };
        let database = match &mut reader.database {
            Some(database) if identity.is_none() || identity == reader.identity => database,
            database => {
                // another file is there now
                reader.version = None;
                let opened = database.insert(self.store.open_waiting(READ_WAIT)?);
                reader.identity = identity;
                let unwritable = opened.unwritable().map(str::to_owned);
                if unwritable.is_none() && reader.unwritable.is_some() {
                    info!("the opt-in store can be changed again");
                }
                reader.unwritable = unwritable;
                opened
            }
        };
        let version = database.version()?;
        if reader.version == Some(version) && !database.is_frozen() {
            return Ok(());
        }
        if !self.is_reading.load(Ordering::Acquire) {
            let seen = read(&self.seen).revision;
            match database.since(seen, CHANGES_AT_ONCE)? {
                Since::Changes { changes, revisions, now } => {
                    write(&self.seen).apply(changes, now);
                    tell(&revisions, now);
                }
                Since::Whole { mut revisions } => {
                    if revisions.is_empty() {
                        // another store than before: its last change is what is known
                        revisions = database.log(1)?;
                    }
                    self.read_whole(revisions)?;
                }
            }
        }
        reader.version = Some(version);
        if database.is_frozen() {
            reader.database = None;
        }
        Ok(())
    }

    /// Lets a thread read the whole, and log `revisions` once that is done.
    fn read_whole(self: &Arc<Self>, revisions: Vec<Logged>) -> Result<(), StoreError> {
        let inner = Arc::clone(self);
        self.is_reading.store(true, Ordering::Release);
        let thread = thread::Builder::new().name("store".to_owned());
        thread.spawn(move || inner.take_whole(&revisions)).map(drop).map_err(|source| {
            self.is_reading.store(false, Ordering::Release);
            let path = self.store.path().to_owned();
            StoreError::File { operation: "start a thread that reads the opt-in store", path, source }
        })
    }

    fn take_whole(&self, revisions: &[Logged]) {
        let contents = self.store.open().and_then(|mut database| database.contents());
        let read = contents.map(|(contents, revision)| {
            let old = std::mem::replace(&mut *write(&self.seen), Seen::new(contents, revision));
            tell(revisions, revision);
            info!(revision = revision.number(), "the opt-in store was read as a whole");
            old
        });
        let mut reader = lock(&self.reader);
        // what came meanwhile is looked for at the next question
        reader.version = None;
        let old = match read {
            Ok(old) => {
                reader.note_readable();
                Some(old)
            }
            Err(error) => {
                reader.note_unreadable(error);
                None
            }
        };
        self.is_reading.store(false, Ordering::Release);
        drop(reader);
        // to free a million entries takes a while
        drop(old);
    }
}

/// Logs what was changed, and by whom, up to the revision `now`.
fn tell(revisions: &[Logged], now: Revision) {
    for Logged { number, who, what, added, changed, removed, .. } in revisions {
        info!(
            revision = number,
            by = who,
            command = what,
            added,
            changed,
            removed,
            "the opt-in store has changed"
        );
    }
    let told = revisions.last().map_or_else(|| now.number(), |last| last.number);
    let suppressed = now.number().saturating_sub(told);
    if suppressed > 0 {
        info!(
            revision = now.number(),
            "log rate limit: {suppressed} lines suppressed about changes of the opt-in store; see: sixgate store log"
        );
    }
}

fn opt_in_status(database: &Database, address: Ipv6Addr) -> Result<OptInStatus, StoreError> {
    Ok(match database.optin_rule(address)? {
        Some((_, OptIn::In)) => OptInStatus::OptedIn,
        Some((_, OptIn::Out)) | None => OptInStatus::NotOptedIn,
    })
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
    lock.read().unwrap_or_else(PoisonError::into_inner)
}

fn write<T>(lock: &RwLock<T>) -> RwLockWriteGuard<'_, T> {
    lock.write().unwrap_or_else(PoisonError::into_inner)
}

/// Changes that a session makes in memory when it asks: some hundred microseconds. For more, a
/// thread reads the whole.
const CHANGES_AT_ONCE: usize = 1000;
/// The beginning of a line that reports that the store cannot be read.
const UNREADABLE: &str = "the opt-in store cannot be read, its last content stays in force";
/// How long a store that cannot be read is left alone: sessions wait while it is tried.
const RETRY: Duration = Duration::from_secs(1);
/// How long a session waits for a lock of the database; a reader needs none but while another
/// process opens or closes it.
const READ_WAIT: Duration = Duration::from_millis(5);

#[cfg(test)]
mod tests;
