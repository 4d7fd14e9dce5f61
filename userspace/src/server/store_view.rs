//! The opt-in store as the daemon sees it: always the file's present content, read once for each change.
//!
//! It never writes. A file that cannot be read, or is gone, leaves the last good content in force: an empty
//! store would refuse everything for good.

use std::{
    path::Path,
    sync::{Arc, Mutex, PoisonError},
    time::{Duration, Instant},
};

use tracing::{error, info};

use crate::{
    file_version::{FileVersion, file_version},
    store::{Contents, Store, StoreError},
};

/// How long a file that cannot be read is left alone: sessions wait while it is read.
const RETRY: Duration = Duration::from_secs(1);

/// The store's content, kept up to date.
#[derive(Debug)]
pub(crate) struct StoreView {
    store: Store,
    loaded: Mutex<Loaded>,
}

#[derive(Debug)]
struct Loaded {
    /// None: the file does not exist.
    version: Option<FileVersion>,
    contents: Arc<Contents>,
    /// When to try again, if the file of this version could not be read for want of something that may come back,
    /// such as a descriptor.
    retry: Option<Instant>,
    /// Whether the last look found no way to the file.
    unseen: bool,
}

impl StoreView {
    /// Reads the store for the first time.
    pub(crate) fn open(store: Store) -> Result<Self, StoreError> {
        let version = file_version(store.path());
        let contents = Arc::new(store.read()?);
        let loaded =
            Mutex::new(Loaded { version: version.ok().flatten(), contents, retry: None, unseen: false });
        Ok(Self { store, loaded })
    }

    pub(crate) fn path(&self) -> &Path {
        self.store.path()
    }

    /// The content now. Costs one stat(2), so that a change is effective at once; inotify would come a moment
    /// later.
    pub(crate) fn current(&self) -> Arc<Contents> {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        let is_due = loaded.retry.is_some_and(|retry| retry <= Instant::now());
        match file_version(self.store.path()) {
            Ok(version) if version != loaded.version || is_due => self.load(&mut loaded, version),
            Ok(_) => loaded.unseen = false,
            Err(_) if loaded.unseen => {}
            Err(error) => {
                loaded.unseen = true;
                let path = self.store.path().display();
                error!("cannot look at the opt-in store {path}, its last content stays in force: {error}");
            }
        }
        Arc::clone(&loaded.contents)
    }

    /// Reads the file of this version.
    fn load(&self, loaded: &mut Loaded, version: Option<FileVersion>) {
        loaded.unseen = false;
        let said = loaded.retry.take().is_some() && version == loaded.version;
        loaded.version = version;
        match self.store.read_if_there() {
            Ok(Some(contents)) => {
                info!("the opt-in store has changed");
                loaded.contents = Arc::new(contents);
            }
            Ok(None) => error!(
                "the opt-in store {} is gone, its last content stays in force until there is one again",
                self.store.path().display()
            ),
            Err(error) => {
                let may_come_back = matches!(error, StoreError::Read { .. });
                loaded.retry = may_come_back.then(|| Instant::now() + RETRY);
                if !said {
                    error!(
                        "the opt-in store cannot be read, its last content stays in force: {:#}",
                        anyhow::Error::new(error)
                    );
                }
            }
        }
    }
}
