//! Dialogues letter by letter, as each row and rule of the promise says: over a socket, against the real daemon without
//! its XDP program; those that are refused from the first packet against the program, too.
//!
//! The scripts lie in this folder, one subfolder for each area; their notation is that of
//! `sixgate_tests::dialog`. What else the XDP program changes is the business of the suite `netns`.

mod floods;
mod kernel;
mod loss;
mod memory;
mod million;
mod session;
mod undisturbed;

use std::{
    fs,
    io::ErrorKind,
    path::{Path, PathBuf},
    thread,
};

use anyhow::{Context as _, Result, bail, ensure};
use sixgate_tests::{
    client::Client,
    dialog::{Script, Step},
    gate::{self, Need},
    site::Site,
};

#[test]
fn what_is_promised() {
    run_all("promise");
}

#[test]
fn refusal_styles() {
    run_all("styles");
}

#[test]
fn the_protocol() {
    run_all("protocol");
}

#[test]
fn messages() {
    run_all("messages");
}

#[test]
fn what_is_refused() {
    run_all("refused");
}

#[test]
fn in_memory_as_over_a_socket() {
    // a reset is nothing that a session says
    let tells = |path: &PathBuf| !path.ends_with("reset.dialog");
    let folders = ["styles", "protocol", "messages", "refused"].map(folder);
    let scripts: Vec<PathBuf> = folders.iter().flat_map(|folder| scripts(folder)).filter(tells).collect();
    let failed: Vec<String> = scripts
        .iter()
        .filter_map(|path| memory::run(path).with_context(|| path.display().to_string()).err())
        .map(|error| format!("{error:#}"))
        .collect();
    assert!(failed.is_empty(), "{} of {} failed:\n\n{}", failed.len(), scripts.len(), failed.join("\n\n"));
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("suites/dialogs").join(name)
}

/// Runs every script of `folder`, and names those that did not go as written.
fn run_all(name: &str) {
    if !gate::require(&[Need::Root]) {
        return;
    }
    let scripts = scripts(&folder(name));
    let failed: Vec<String> = thread::scope(|scope| {
        let running: Vec<_> = scripts
            .iter()
            .map(|path| scope.spawn(|| run(path).with_context(|| path.display().to_string())))
            .collect();
        let ended = running.into_iter().map(|run| run.join().expect("a script panicked"));
        ended.filter_map(Result::err).map(|error| format!("{error:#}")).collect()
    });
    assert!(failed.is_empty(), "{} of {} failed:\n\n{}", failed.len(), scripts.len(), failed.join("\n\n"));
}

fn scripts(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder of scripts");
    let paths = entries.map(|entry| entry.expect("a readable folder").path());
    let mut scripts: Vec<PathBuf> =
        paths.filter(|path| path.extension().is_some_and(|end| end == "dialog")).collect();
    scripts.sort();
    assert!(!scripts.is_empty(), "no scripts in {}", folder.display());
    scripts
}

fn run(path: &Path) -> Result<()> {
    let script = Script::read(path)?;
    let site = Site::new(&script.zone, &script.settings);
    for command in &script.setup {
        site.sixgate(command);
    }
    let daemon = site.try_serve(&["--no-xdp"])?;
    play(&script, &|source, destination| site.try_connect(source, destination))
        .with_context(|| format!("--- log\n{}---", daemon.log()))?;
    daemon.stop()?;
    check_delivered(&script, &site.delivered())
}

/// How a session begins: from one address to port 25 of another.
type Connect<'a> = dyn Fn(&str, &str) -> std::io::Result<Client> + 'a;

/// Goes through all steps of a script.
fn play(script: &Script, connect: &Connect<'_>) -> Result<()> {
    let mut session = Session::None;
    for (place, step) in &script.steps {
        session.run(connect, step).with_context(|| format!("{place}\n{}", session.transcript()))?;
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

fn check_delivered(script: &Script, messages: &[String]) -> Result<()> {
    let (wanted, found) = (script.delivered.len(), messages.len());
    ensure!(found == wanted, "{found} message(s) delivered, {wanted} expected");
    for (wanted, message) in script.delivered.iter().zip(messages) {
        let mut lines = message.split("\r\n");
        for start in wanted {
            if let Some(text) = start.strip_prefix("! ") {
                ensure!(!message.contains(text), "delivered with {text:?} in it:\n{message}");
            } else if !lines.any(|line| line.starts_with(start)) {
                bail!("delivered without a line {start:?}, or not in this order:\n{message}");
            }
        }
    }
    Ok(())
}
