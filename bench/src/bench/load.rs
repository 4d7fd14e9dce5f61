//! The client side of the load: many whole sessions, several at a time, every reply compared octet
//! by octet.
//!
//! It knows how a refused session goes, and nothing of who refuses.

use std::{
    io::{Read as _, Write as _},
    net::{Ipv6Addr, SocketAddrV6},
    sync::atomic::{AtomicUsize, Ordering},
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};
use sixgate_tests::{
    client::Client,
    netns::{self, Netns},
    timeouts::patience,
};

/// How a server refuses: what its replies to [`LINES`] begin with, the greeting first.
pub(super) type Refusal = [&'static str; LINES.len() + 1];

/// The lines that a client sends after the greeting.
pub(super) const LINES: [&str; 4] =
    ["EHLO mail.sender.example", "MAIL FROM:<a@sender.example>", "RCPT TO:<user@contoso.com>", "QUIT"];

/// A session octet by octet: the client's lines, and the reply expected to each.
#[derive(Clone, Debug)]
pub(super) struct Script(Vec<(Vec<u8>, Vec<u8>)>);

impl Script {
    /// The script of a first session with the server at `destination`, which has to refuse as
    /// `refusal` specifies.
    ///
    /// # Errors
    /// If it does not, with its reply.
    pub(super) fn of_server(netns: &Netns, destination: SocketAddrV6, refusal: &Refusal) -> Result<Self> {
        let any = SocketAddrV6::new([0; 8].into(), 0, 0, 0);
        let mut client = Client::connect(Some(netns), any, destination).context("cannot connect")?;
        let mut turns = Vec::new();
        for (line, start) in [None].into_iter().chain(LINES.map(Some)).zip(refusal) {
            let reply = match line {
                Some(line) => client.say(line)?,
                None => client.reply()?,
            };
            ensure!(reply.last().starts_with(start), "{start:?} was expected:\n{}", client.transcript());
            let said = line.map_or_else(Vec::new, |line| format!("{line}\r\n").into_bytes());
            let heard = reply.lines.iter().map(|line| format!("{line}\r\n")).collect::<String>();
            turns.push((said, heard.into_bytes()));
        }
        client.closed()?;
        Ok(Self(turns))
    }

    /// Plays one session.
    fn play(&self, source: Ipv6Addr, destination: SocketAddrV6) -> Result<()> {
        let source = SocketAddrV6::new(source, 0, 0, 0);
        let mut stream = netns::connect(source, destination).context("cannot connect")?;
        stream.set_read_timeout(Some(patience()))?;
        let mut heard = [0; HEARD_MAX];
        for (said, wanted) in &self.0 {
            stream.write_all(said).context("cannot send")?;
            let heard = heard.get_mut(..wanted.len()).context("a reply is too long")?;
            let text = || String::from_utf8_lossy(said).into_owned();
            stream.read_exact(heard).with_context(|| format!("no reply to {:?}", text()))?;
            if heard != wanted {
                bail!("{:?} is answered by {:?}", text(), String::from_utf8_lossy(heard));
            }
        }
        let more = stream.read(&mut heard).context("the connection does not end")?;
        ensure!(more == 0, "something follows the last reply");
        Ok(())
    }
}

/// Plays `sessions` sessions from inside `netns`, from one of `sources` after the other,
/// [`AT_A_TIME`] at a time, and returns how long they took together.
///
/// # Errors
/// If a single octet of a single session is not as it should be.
pub(super) fn play(
    netns: &Netns,
    sources: &[Ipv6Addr],
    destination: SocketAddrV6,
    script: &Script,
    sessions: usize,
) -> Result<Duration> {
    let started = AtomicUsize::new(0);
    let work = || -> Result<()> {
        loop {
            let number = started.fetch_add(1, Ordering::Relaxed);
            if number >= sessions {
                return Ok(());
            }
            script.play(sources[number % sources.len()], destination)?;
        }
    };
    let start = Instant::now();
    thread::scope(|scope| {
        let workers: Vec<_> = (0..AT_A_TIME).map(|_| scope.spawn(|| netns.run(work))).collect();
        workers.into_iter().try_for_each(|worker| worker.join().expect("a worker does not panic"))
    })?;
    Ok(start.elapsed())
}

/// Sessions at a time: below every server's bound for one client.
pub(super) const AT_A_TIME: usize = 16;
/// Longest reply, in octets.
const HEARD_MAX: usize = 1024;
