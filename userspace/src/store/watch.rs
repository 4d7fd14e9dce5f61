//! Tells when the store's file changes, by inotify.
//!
//! It reads nothing: whoever waits reads the store anew.

use std::{
    ffi::OsStr,
    path::{Path, PathBuf},
    sync::Arc,
};

use notify::{
    Event, EventKind, RecommendedWatcher, RecursiveMode, Watcher,
    event::{AccessKind, AccessMode},
};
use tokio::sync::Notify;

use crate::store::file::{StoreError, directory_of};

/// A watched store. Changes between two calls of [`Watch::changed`] are told once.
#[derive(Debug)]
pub struct Watch {
    changes: Arc<Notify>,
    /// Watches as long as it lives.
    _watcher: RecommendedWatcher,
}

/// Begins to watch the store's file `path`, which need not exist; its directory must, and it is what is
/// watched, so that the file may be replaced, deleted and made again.
/// Watch first, read then: what changes in between is told.
pub fn watch(path: &Path) -> Result<Watch, StoreError> {
    let fail = |source| StoreError::Watch { path: path.to_owned(), source };
    let directory = directory_of(path);
    let name = path.file_name().unwrap_or_default().to_owned();
    let changes = Arc::new(Notify::new());
    let told = Arc::clone(&changes);
    let mut watcher = notify::recommended_watcher(move |event: notify::Result<Event>| {
        if event.map_or(true, |event| concerns(&event, &name)) {
            told.notify_one();
        }
    })
    .map_err(fail)?;
    watcher.watch(directory, RecursiveMode::NonRecursive).map_err(fail)?;
    Ok(Watch { changes, _watcher: watcher })
}

impl Watch {
    /// Waits until the file may have changed. Dropping the future loses no change.
    pub async fn changed(&mut self) {
        self.changes.notified().await;
    }
}

/// Whether `event` can mean that the file `name` has other contents now. Reading it must not: the reader
/// would wake itself.
fn concerns(event: &Event, name: &OsStr) -> bool {
    let only_read =
        matches!(event.kind, EventKind::Access(access) if access != AccessKind::Close(AccessMode::Write));
    let named = |path: &PathBuf| path.file_name() == Some(name);
    event.need_rescan() || !only_read && event.paths.iter().any(named)
}
