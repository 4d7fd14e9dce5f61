//! Mail servers as senders: what all of them are given, and what is seen of each.
//!
//! It starts none: `postfix`, `exim` and `opensmtpd` do.

use std::{
    fmt::Debug,
    fs,
    net::{Ipv6Addr, SocketAddrV6},
    path::Path,
};

use anyhow::{Context as _, Result, ensure};

use crate::{client::Client, netns::Netns};

/// Where a sender takes messages, in its own namespace.
pub const SUBMISSION: SocketAddrV6 = SocketAddrV6::new(Ipv6Addr::LOCALHOST, 2525, 0, 0);
/// The name of a sender.
pub const HOSTNAME: &str = "mail.sender.example";

/// A mail server that sends the mail that [`submit`] gives to it, to the hosts that the DNS at
/// `::1` of its namespace names.
pub trait Sender: Debug {
    /// The version that it reports when it starts.
    fn version(&self) -> &str;

    /// Waits until it reports the result of the first attempt to deliver to `recipient`.
    ///
    /// # Errors
    /// If it reports nothing in time; with its log.
    fn attempt(&self, recipient: &str) -> Result<Attempt>;

    /// The messages that it has to deliver still.
    ///
    /// # Errors
    /// If its queue cannot be read.
    fn queued(&self) -> Result<usize>;

    /// Its log so far.
    fn log(&self) -> String;
}

/// What an attempt to deliver a message came to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Attempt {
    /// The result of the attempt.
    pub outcome: Outcome,
    /// The line of the log that reports it.
    pub line: String,
}

/// Where a message is after the first attempt to deliver it, by the sender's report.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// Somebody has taken it.
    Sent,
    /// In the queue, for another attempt.
    Deferred,
    /// Nowhere; its author is told.
    Bounced,
}

/// Gives a message from `from` to `to` to the sender in `netns`.
///
/// # Errors
/// If it does not take it.
pub fn submit(netns: &Netns, from: &str, to: &str) -> Result<()> {
    submit_body(netns, from, to, "by any way\n")
}

/// Gives a message with this body, lines that end with LF, from `from` to `to` to the sender in
/// `netns`.
///
/// # Errors
/// If it does not take it.
pub fn submit_body(netns: &Netns, from: &str, to: &str, body: &str) -> Result<()> {
    let any = SocketAddrV6::new(Ipv6Addr::LOCALHOST, 0, 0, 0);
    let mut client = Client::connect(Some(netns), any, SUBMISSION).context("the sender does not listen")?;
    client.reply()?;
    let commands = ["EHLO author.sender.example", &format!("MAIL FROM:<{from}>"), &format!("RCPT TO:<{to}>")];
    for command in commands {
        let reply = client.say(command)?;
        ensure!(reply.code == 250, "the sender refuses {command}: {}", reply.last());
    }
    client.say("DATA")?;
    let message = format!("From: <{from}>\nTo: <{to}>\nSubject: to a gate\n\n{body}");
    let taken = client.message(&message)?;
    ensure!(taken.code == 250, "the sender refuses the message: {}", taken.last());
    client.say("QUIT")?;
    Ok(())
}

/// Files below `folder`, at any depth, whose name `is_message`.
pub(crate) fn count_files(folder: &Path, is_message: impl Fn(&str) -> bool + Copy) -> Result<usize> {
    let mut count = 0;
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            count += count_files(&entry.path(), is_message)?;
        } else if entry.file_name().to_str().is_some_and(is_message) {
            count += 1;
        }
    }
    Ok(count)
}
