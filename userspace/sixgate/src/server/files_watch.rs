//! Whether the files that the daemon writes beside mail can be written: counters, and messages
//! while they are examined.
//!
//! It keeps what is wrong for log and status; the caller writes the files.

use std::{
    collections::BTreeMap,
    io,
    path::Path,
    sync::{Mutex, MutexGuard, PoisonError},
};

use nix::sys::statvfs::statvfs;
use tracing::{info, warn};

use crate::{config::Config, message_store::SpillDirectory};

/// What cannot be written, by the setting that names it.
#[derive(Debug, Default)]
pub(crate) struct FilesWatch(Mutex<BTreeMap<&'static str, String>>);

impl FilesWatch {
    /// What came of writing what `setting` names; nothing: it was not to be written. Begin and end
    /// of a failure are logged.
    pub(crate) fn note(&self, setting: &'static str, outcome: Option<Result<(), String>>) {
        match outcome {
            Some(Err(problem)) => {
                let text = format!("{setting}: {problem}");
                if self.problems_now().insert(setting, text.clone()).is_none() {
                    warn!("{text}");
                }
            }
            Some(Ok(())) if self.problems_now().remove(setting).is_some() => {
                info!("{setting}: it can be written again");
            }
            Some(Ok(())) => {}
            None => drop(self.problems_now().remove(setting)),
        }
    }

    /// The present problems as sentences.
    pub(crate) fn problems(&self) -> Vec<String> {
        self.problems_now().values().cloned().collect()
    }

    /// Whole at every instant.
    fn problems_now(&self) -> MutexGuard<'_, BTreeMap<&'static str, String>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Checks that a large message fits into the temporary directory.
///
/// # Errors
/// The reason why it does not, as text.
pub(crate) fn check_space(directory: &SpillDirectory, config: &Config) -> Result<(), String> {
    let path = directory.path();
    directory.probe().map_err(|error| {
        format!("cannot make a temporary file in {}: {error}; {DEFERRED}", path.display())
    })?;
    let free = free_octets(path).map_err(|error| format!("cannot examine {}: {error}", path.display()))?;
    let needed = u64::from(config.limits.message_size.get());
    if free >= needed {
        return Ok(());
    }
    Err(format!(
        "the file system of {} has {free} octets left, and a message may have {needed} (limits.message_size); {DEFERRED}",
        path.display()
    ))
}

/// Octets that are left on the file system of `path`.
fn free_octets(path: &Path) -> io::Result<u64> {
    let found = statvfs(path)?;
    Ok(found.blocks_available().saturating_mul(found.fragment_size()))
}

const DEFERRED: &str = "senders of large messages are asked to try again later";
/// The settings that name the files, as problems begin with them.
pub(crate) const METRICS: &str = "metrics.file";
pub(crate) const TEMPORARY: &str = "temporary_directory";
