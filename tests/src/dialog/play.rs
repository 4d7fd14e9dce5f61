//! A script played by a real client, over the link by which the caller connects it.
//!
//! It starts no daemon and judges no message that was delivered.

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
};

use anyhow::{Context as _, Result, bail, ensure};

use super::{Script, Step};
use crate::client::Client;

/// The scripts in `folder`, by their names.
///
/// # Panics
/// If the folder cannot be read, or has none.
#[must_use]
pub fn scripts(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder of scripts");
    let paths = entries.map(|entry| entry.expect("a readable folder").path());
    let mut scripts: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|end| end == "dialog")).collect();
    scripts.sort();
    assert!(!scripts.is_empty(), "no scripts in {}", folder.display());
    scripts
}

/// The folder of the scripts of one area.
#[must_use]
pub fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("suites/dialogs").join(name)
}

/// Runs `task` for each of `items`, some at a time, and returns what went wrong.
///
/// # Panics
/// If a task does.
#[must_use]
pub fn for_each<T: Sync>(items: &[T], task: impl Fn(&T) -> Result<()> + Sync) -> Vec<String> {
    let next = AtomicUsize::new(0);
    let work = || {
        let mut failed = Vec::new();
        while let Some(item) = items.get(next.fetch_add(1, Ordering::Relaxed)) {
            failed.extend(task(item).err().map(|error| format!("{error:#}")));
        }
        failed
    };
    thread::scope(|scope| {
        let running: Vec<_> = (0..AT_A_TIME).map(|_| scope.spawn(work)).collect();
        running.into_iter().flat_map(|work| work.join().expect("a script panicked")).collect()
    })
}

/// How a session begins: from one address to port 25 of another.
pub type Connect<'a> = dyn Fn(&str, &str) -> std::io::Result<Client> + 'a;

/// Goes through all steps of a script.
///
/// # Errors
/// The step that went otherwise than written, and the transcript until then.
pub fn play(script: &Script, connect: &Connect<'_>) -> Result<()> {
    let mut session = Session::None;
    for (position, step) in &script.steps {
        session.run(connect, step).with_context(|| format!("{position}\n{}", session.transcript()))?;
    }
    session.finish()
}

/// The session that a script is in.
enum Session {
    None,
    Open(Client),
    /// The connection was reset before the sender was told that it stood.
    Reset,
}

impl Session {
    fn run(&mut self, connect: &Connect<'_>, step: &Step) -> Result<()> {
        match (step, &mut *self) {
            (Step::Connect { source, destination }, _) => {
                self.finish()?;
                *self = match connect(source, destination) {
                    Ok(client) => Self::Open(client),
                    Err(error) if is_reset(&error) => Self::Reset,
                    Err(error) => return Err(error.into()),
                };
            }
            (Step::Closed, Self::Reset) => *self = Self::None,
            (_, Self::None | Self::Reset) => bail!("there is no session"),
            (Step::Say(line), Self::Open(client)) => client.send(line)?,
            (Step::SayOctets(octets), Self::Open(client)) => client.write(octets)?,
            (Step::Hear(wanted), Self::Open(client)) => {
                let heard = client.line()?.context("the connection ended")?;
                ensure!(heard == *wanted, "heard  {heard:?}\nwanted {wanted:?}");
            }
            (Step::HearStart(wanted), Self::Open(client)) => {
                let heard = client.line()?.context("the connection ended")?;
                ensure!(heard.starts_with(wanted), "heard  {heard:?}\nwanted {wanted:?}…");
            }
            (Step::Closed, Self::Open(client)) => {
                client.closed()?;
                *self = Self::None;
            }
        }
        Ok(())
    }

    /// Ends the session from the sender's side: nothing may come that the script does not know.
    fn finish(&mut self) -> Result<()> {
        match std::mem::replace(self, Self::None) {
            Self::None => Ok(()),
            Self::Reset => bail!("the connection was reset"),
            Self::Open(mut client) => {
                client.hang_up()?;
                client.closed()
            }
        }
    }

    fn transcript(&self) -> String {
        match self {
            Self::Open(client) => client.transcript().to_string(),
            Self::None | Self::Reset => String::new(),
        }
    }
}

/// Whether a connection was refused by a reset: in answer to the SYN, or right after it.
fn is_reset(error: &std::io::Error) -> bool {
    matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::ConnectionRefused)
}

/// Daemons at a time: most of a script is waiting, and a small machine has memory for no more.
const AT_A_TIME: usize = 8;
