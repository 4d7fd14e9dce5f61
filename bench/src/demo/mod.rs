//! The demo: the gate's main job, played in a network namespace with real sessions.
//!
//! It promises nothing that the suites do not test; it shows.

mod act;
mod mail;
mod screen;
mod stage;

use anyhow::{Result, ensure};
use tokio::signal::unix::{SignalKind, signal};

use stage::Stage;

/// Sets the stage, plays every session, and stays until Ctrl-C unless `once`.
///
/// # Errors
/// If something cannot be set up, or a session did not go as promised.
pub fn run(once: bool) -> Result<()> {
    ensure!(
        nix::unistd::geteuid().is_root(),
        "the demo makes a network namespace and loads an XDP program: run it as root"
    );
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?;
    let _inside = runtime.enter();
    // from here on Ctrl-C ends the demo by way of its clean-up
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    let key = mail::Key::generate()?;
    let stage = Stage::set(&mail::zone(&key)?)?;
    screen::opening(&stage)?;
    let acts = act::all(&key)?;
    let mut kept = 0;
    for (at, act) in acts.iter().enumerate() {
        let played = act.play();
        kept += usize::from(screen::act(at + 1, acts.len(), act, &played));
    }
    screen::ending(&stage, kept, acts.len())?;
    if !once {
        screen::next_steps(&stage);
        runtime.block_on(async {
            tokio::select! {
                _ = interrupt.recv() => {}
                _ = terminate.recv() => {}
            }
        });
    }
    stage.strike()?;
    ensure!(kept == acts.len(), "{kept} of {} sessions went as promised", acts.len());
    Ok(())
}
