//! A progress bar of a long load or undo.
//!
//! It is on standard error, and only if that is a terminal.

use std::{
    io::{self, IsTerminal as _},
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::Duration,
};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

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

/// Draws the bar until the other end of `ended` is gone, then clears it. A short load has none.
fn show(progress: &StoreProgress, ended: mpsc::Receiver<()>) {
    let mut drawn = None;
    while ended.recv_timeout(EVERY) == Err(RecvTimeoutError::Timeout) {
        let bar = drawn.get_or_insert_with(|| {
            let target = ProgressDrawTarget::stderr_with_hz(DRAWS_PER_SECOND);
            ProgressBar::with_draw_target(None, target).with_style(style(MESSAGE))
        });
        match progress.now() {
            (_, 0) => bar.set_message("reading the list"),
            (done, all) if done < all => {
                if bar.length().is_none() {
                    bar.set_length(all as u64);
                    bar.set_style(style(BAR));
                    // the time that is left is that of writing
                    bar.reset_eta();
                }
                bar.set_position(done as u64);
            }
            (_, all) => {
                bar.set_style(style(MESSAGE));
                bar.set_message(format!("{all} entries written to the store, the maps follow"));
            }
        }
        bar.tick();
    }
    if let Some(bar) = drawn {
        bar.finish_and_clear();
    }
}

/// The style of a template; the templates are this file's.
fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template)
        .map_or_else(|_| ProgressStyle::default_bar(), |style| style.progress_chars("#>-"))
}

const MESSAGE: &str = "{msg}";
const BAR: &str = "[{bar:30}] {pos} of {len} entries written to the store, {eta} left";
/// Time between two looks at the progress, and before the first.
const EVERY: Duration = Duration::from_millis(500);
const DRAWS_PER_SECOND: u8 = 4;
