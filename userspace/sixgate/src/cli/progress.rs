//! A line on the terminal that shows how far a load has come.
//!
//! It writes to standard error, and only if that is a terminal.

use std::{
    io::{self, IsTerminal as _, Write as _},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

use crate::store::StoreProgress;

/// Does `work` and shows its progress meanwhile.
pub(super) fn shown<T>(is_quiet: bool, work: impl FnOnce(&StoreProgress) -> T) -> T {
    let progress = StoreProgress::default();
    if is_quiet || !io::stderr().is_terminal() {
        return work(&progress);
    }
    thread::scope(|scope| {
        let (end, ended) = mpsc::channel::<()>();
        scope.spawn(|| show(&progress, ended));
        let done = work(&progress);
        drop(end);
        done
    })
}

/// Writes the line anew until the other end of `ended` is gone.
fn show(progress: &StoreProgress, ended: mpsc::Receiver<()>) {
    let mut is_written = false;
    while ended.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
        let text = match progress.now() {
            (_, 0) => "reading the list".to_owned(),
            (done, all) if done < all => format!("{done} of {all} entries written to the store"),
            (_, all) => format!("{all} entries written to the store; the maps follow"),
        };
        // that a terminal takes nothing does not make the command fail
        let _ = write!(io::stderr(), "\r\x1b[K{text}");
        is_written = true;
    }
    if is_written {
        let _ = write!(io::stderr(), "\r\x1b[K");
    }
}

/// Time between two lines, and before the first.
const EVERY: Duration = Duration::from_millis(500);
