//! The next hop, which enters the messages that arrive into the ledger: a mail server that behaves
//! at random, or a reader that empties the Maildir.
//!
//! It does not test SMTP: a wrong command of the gate is a complaint.

use std::{
    fs,
    io::{self, BufRead, BufReader, Read, Write},
    path::Path,
    sync::{Arc, mpsc},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{dice::Dice, ledger::Ledger, letter::Letter, world::NextHop};

/// Starts a mail server that enters each message to which it replies 250, and takes its connections
/// from `accept`. In one message of fifty it changes its mind, in one it goes away without a reply.
/// It ends with this process.
pub(crate) fn mail_server<S>(
    mut accept: impl FnMut() -> io::Result<S> + Send + 'static,
    kind: NextHop,
    ledger: &Arc<Ledger>,
) where
    S: Read + Write + Send + 'static,
{
    let ledger = Arc::clone(ledger);
    thread::spawn(move || {
        for seed in 0.. {
            let (ledger, stream) = (Arc::clone(&ledger), accept());
            thread::spawn(move || {
                let served =
                    stream.context("no connection").and_then(|stream| serve(stream, kind, &ledger, seed));
                if let Err(error) = served {
                    ledger.complain(format!("the mail server behind: {error:#}"));
                }
            });
        }
    });
}

fn serve<S: Read + Write>(stream: S, kind: NextHop, ledger: &Ledger, seed: u64) -> Result<()> {
    let (mut dice, mut stream) = (Dice::new(seed), BufReader::new(stream));
    let hello = if kind == NextHop::Lmtp { "LHLO" } else { "EHLO" };
    let said = |stream: &mut BufReader<S>, text: &str| {
        stream.get_mut().write_all(format!("{text}\r\n").as_bytes()).is_ok()
    };
    let mut alive = said(&mut stream, "220 behind.example ready");
    let (mut recipients, mut line) = (0, Vec::new());
    while alive {
        line.clear();
        // the gate may go at any time
        if stream.read_until(b'\n', &mut line).is_err() || line.is_empty() {
            return Ok(());
        }
        let command = String::from_utf8_lossy(&line).to_ascii_uppercase();
        alive = match command.get(..4) {
            Some(verb) if verb == hello => {
                said(&mut stream, "250-behind.example\r\n250-SIZE 100000000\r\n250 8BITMIME")
            }
            Some("MAIL" | "RSET" | "NOOP") => {
                recipients = 0;
                said(&mut stream, "250 2.0.0 ok")
            }
            Some("RCPT") => {
                ensure!(command.contains("@GATE.EXAMPLE>"), "{command:?} got through");
                recipients += 1;
                said(&mut stream, "250 2.1.5 ok")
            }
            Some("DATA") => {
                ensure!(recipients > 0, "DATA without a recipient");
                ensure!(recipients == 1 || kind == NextHop::Smtp, "{recipients} recipients by LMTP");
                recipients = 0;
                said(&mut stream, "354 go") && {
                    let Some(octets) = content(&mut stream) else { return Ok(()) };
                    match dice.below(50) {
                        0 => said(&mut stream, "451 4.3.0 moody"),
                        1 => return Ok(()),
                        _ => {
                            enter(ledger, &octets);
                            said(&mut stream, "250 2.0.0 taken")
                        }
                    }
                }
            }
            Some("QUIT") => return Ok(()),
            _ => bail!("{command:?}"),
        };
    }
    Ok(())
}

/// A message up to its end, dots removed; none if the connection ends before. Any line end counts,
/// so that what is smuggled is found.
fn content(stream: &mut impl BufRead) -> Option<Vec<u8>> {
    let mut octets = Vec::new();
    loop {
        let start = octets.len();
        if stream.read_until(b'\n', &mut octets).ok()? == 0 {
            return None;
        }
        match octets.get(start..)? {
            b".\r\n" | b".\n" => {
                octets.truncate(start);
                return Some(octets);
            }
            [b'.', ..] => drop(octets.remove(start)),
            _ => {}
        }
    }
}

/// Empties the Maildir below `folder` again and again until `over` is dropped, and once more then.
pub(crate) fn empty_maildir(folder: &Path, ledger: &Ledger, over: &mpsc::Receiver<()>) -> Result<()> {
    loop {
        let is_last = over.recv_timeout(PAUSE) == Err(mpsc::RecvTimeoutError::Disconnected);
        // it is made with the first message
        for entry in fs::read_dir(folder.join("new")).into_iter().flatten() {
            let path = entry?.path();
            enter(ledger, &fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?);
            fs::remove_file(&path)?;
        }
        if is_last {
            return Ok(());
        }
    }
}

fn enter(ledger: &Ledger, octets: &[u8]) {
    match Letter::from_behind(octets) {
        Some(letter) => ledger.arrived(letter.number, &letter.octets),
        None => {
            let start = octets.get(..octets.len().min(300)).unwrap_or_default().escape_ascii().to_string();
            ledger.complain(format!("something arrived that nobody sent: {start}"));
        }
    }
}

/// How often the Maildir is emptied.
const PAUSE: Duration = Duration::from_millis(200);
