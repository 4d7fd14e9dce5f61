//! The opt-in store as the daemon sees it: in memory, brought up to date by the changes of each
//! revision.
//!
//! It owns the answers; how changes are noticed and taken over is in `followed_store`. It changes
//! no entry; at a start it may put a damaged store back from its backup, and it makes the backups.

mod followed_store;

use std::{
    net::Ipv6Addr,
    path::Path,
    sync::{Arc, atomic::Ordering},
    time::Duration,
};

use ipnet::Ipv6Net;
use sixgate_base::file_version::file_identity;
use sixgate_common::dest::OptIn;
use sixgate_smtp::policy::{TemporaryDomains, evidence::OptInStatus};
use tracing::{error, info, warn};

use self::followed_store::{FollowedStore, Seen, lock, read};
use crate::store::{Contents, Database, Marks, StartNote, Store, StoreError};

/// The store's content, kept up to date.
#[derive(Debug)]
pub(crate) struct StoreView(Arc<FollowedStore>);

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

impl StoreFacts {
    /// Those of `database`.
    ///
    /// # Errors
    /// [`StoreError`] if it cannot be read.
    pub(crate) fn read(
        database: &Database,
        source: Ipv6Addr,
        destination: Ipv6Addr,
        domain: Option<&str>,
    ) -> Result<Self, StoreError> {
        Ok(Self {
            trusted: database.trust_rule(source)?,
            destination: opt_in_status(database, destination)?,
            recipient: domain.map(|domain| database.marks(domain)).transpose()?.unwrap_or_default(),
        })
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
        let seen = Seen::new(contents, revision);
        FollowedStore::new(store, seen, database, identity, unwritable).map(Arc::new).map(Self)
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
            |database| StoreFacts::read(database, source, destination, domain),
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
        reader.trouble(self.0.store.path())
    }

    /// Why the store cannot be read, after another look at it; mail is then served by what was
    /// read last.
    pub(crate) fn unreadable(&self) -> Option<String> {
        let mut reader = lock(&self.0.reader);
        self.0.refresh(&mut reader);
        reader.unreadable()
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
            && let Some(answer) = reader.database().and_then(|database| of_database(database).ok())
        {
            return answer;
        }
        drop(reader);
        of_memory(&read(&self.0.seen).contents)
    }
}

fn opt_in_status(database: &Database, address: Ipv6Addr) -> Result<OptInStatus, StoreError> {
    Ok(match database.optin_rule(address)? {
        Some((_, OptIn::In)) => OptInStatus::OptedIn,
        Some((_, OptIn::Out)) | None => OptInStatus::NotOptedIn,
    })
}
