//! How changes of the opt-in store are noticed and taken over.
//!
//! It owns the contents in force, the connection to the database and the lines of the log about it.
//! A store that cannot be read, or is gone, leaves the last good content in force: an empty store
//! would refuse everything for good.

use std::{
    io,
    path::Path,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use sixgate_base::file_version::{FileIdentity, file_identity};
use sixgate_smtp::policy::TemporaryDomains;
use tracing::{error, info};

use crate::store::{
    Contents, Database, EntryChange, EntryKey, Logged, Revision, Since, Store, StoreEntry, StoreError,
};

/// The store, and its contents as they were taken over last.
#[derive(Debug)]
pub(super) struct FollowedStore {
    pub(super) store: Store,
    pub(super) seen: RwLock<Seen>,
    pub(super) reader: Mutex<RevisionReader>,
    /// Whether a thread reads the store as a whole. The database is asked for its present facts
    /// meanwhile.
    pub(super) is_reading: AtomicBool,
}

/// The contents in force.
#[derive(Debug)]
pub(super) struct Seen {
    pub(super) contents: Contents,
    revision: Revision,
    /// Of these contents.
    pub(super) temporary: Arc<TemporaryDomains>,
}

impl Seen {
    pub(super) fn new(contents: Contents, revision: Revision) -> Self {
        let temporary = Arc::new(contents.temporary_domains());
        Self { contents, revision, temporary }
    }

    fn apply(&mut self, changes: Vec<EntryChange>, revision: Revision) {
        let concerns_domains = |change: &EntryChange| {
            matches!(
                change,
                EntryChange::Put(StoreEntry::Domain(..)) | EntryChange::Gone(EntryKey::Domain(_))
            )
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
pub(super) struct RevisionReader {
    /// None if it could not be opened again.
    database: Option<Database>,
    /// The file that it reads.
    identity: Option<FileIdentity>,
    /// The database's own number for its state, at the last look.
    version: Option<i64>,
    /// Until when a store that cannot be read is left alone.
    retry: Option<Instant>,
    /// The problem of the store, as it was logged.
    logged_problem: Option<String>,
    /// Why the store cannot be changed, as it was logged.
    unwritable: Option<String>,
}

impl RevisionReader {
    /// The database, for questions about its present state.
    pub(super) fn database(&self) -> Option<&Database> {
        self.database.as_ref()
    }

    /// Why the store cannot be read, as it was found last.
    pub(super) fn unreadable(&self) -> Option<String> {
        self.logged_problem.as_ref().map(|text| format!("{UNREADABLE}: {text}"))
    }

    /// The problem of the store at `path`, as it was found last.
    pub(super) fn trouble(&self, path: &Path) -> Option<String> {
        self.unreadable().or_else(|| {
            let reason = self.unwritable.as_ref()?;
            Some(format!("the opt-in store {} cannot be changed: {reason}", path.display()))
        })
    }

    /// Notes why the store cannot be read, and logs a change of that.
    fn note_unreadable(&mut self, error: StoreError) {
        self.retry = Some(Instant::now() + RETRY);
        let text = format!("{:#}", anyhow::Error::new(error));
        if self.logged_problem.as_ref() != Some(&text) {
            error!("{UNREADABLE}: {text}");
            self.logged_problem = Some(text);
        }
    }

    fn note_readable(&mut self) {
        if self.logged_problem.take().is_some() {
            info!("the opt-in store can be read again");
        }
    }
}

impl FollowedStore {
    /// Follows `store`, whose contents `seen` were just read by `database`, the file of `identity`.
    ///
    /// # Errors
    ///
    /// [`StoreError::Database`].
    pub(super) fn new(
        store: Store,
        seen: Seen,
        database: Database,
        identity: Option<FileIdentity>,
        unwritable: Option<String>,
    ) -> Result<Self, StoreError> {
        database.set_wait(READ_WAIT)?;
        let reader = RevisionReader {
            version: database.version().ok(),
            database: Some(database).filter(|database| !database.is_frozen()),
            identity,
            retry: None,
            logged_problem: None,
            unwritable,
        };
        Ok(Self {
            store,
            seen: RwLock::new(seen),
            reader: Mutex::new(reader),
            is_reading: AtomicBool::new(false),
        })
    }

    /// Takes over what has changed since the last look.
    pub(super) fn refresh(self: &Arc<Self>, reader: &mut RevisionReader) {
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

    fn try_refresh(self: &Arc<Self>, reader: &mut RevisionReader) -> Result<(), StoreError> {
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
                    log_changes(&revisions, now);
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
            log_changes(revisions, revision);
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
fn log_changes(revisions: &[Logged], now: Revision) {
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
    let last_logged = revisions.last().map_or_else(|| now.number(), |last| last.number);
    let suppressed = now.number().saturating_sub(last_logged);
    if suppressed > 0 {
        info!(
            revision = now.number(),
            "log rate limit: {suppressed} lines suppressed about changes of the opt-in store; see: sixgate store log"
        );
    }
}

pub(super) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

pub(super) fn read<T>(lock: &RwLock<T>) -> RwLockReadGuard<'_, T> {
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
