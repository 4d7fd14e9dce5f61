//! The output of the demo.
//!
//! It owns no judgement: marks show what `act` found.

use std::{fs, io::IsTerminal as _, path::PathBuf};

use anyhow::{Context as _, Result};

use super::{
    act::{Act, Moment, Played},
    stage::{DOMAIN, FOLDER, INTERFACE, NAMESPACE, NOT_OPTED_IN, OPTED_IN, SENDERS, Stage},
};
use sixgate_tests::{
    daemon,
    transcript::{Line, Side},
};

/// The setup, and the plan.
pub(super) fn opening(stage: &Stage) -> Result<()> {
    println!("{}", bold("sixgate, a gate for mail that arrives over IPv6: five sessions"));
    println!();
    println!("  namespace     {NAMESPACE}, joined to this one by a veth pair");
    println!("  gate          {INTERFACE} there, with the XDP program on it; `sixgate serve` on port 25");
    println!("  destinations  {OPTED_IN} has opted in, {NOT_OPTED_IN} has not; recipients' domain {DOMAIN}");
    println!("  senders       {} to {}, on this side", SENDERS[0], SENDERS[SENDERS.len() - 1]);
    println!("  files         {}, configuration {}", FOLDER, stage.config.display());
    println!();
    Ok(())
}

/// One session; whether it went as promised.
pub(super) fn act(number: usize, of: usize, act: &Act, played: &Played) -> bool {
    println!("{}", bold(&format!("{number}/{of}  {}", act.title)));
    println!("     {} ► [{}]:25", act.source, act.destination);
    for Line { by, text } in &played.transcript.lines {
        match by {
            Side::Client => println!("{}", format!("     {} {text}", paint(DIM, "C:")).trim_end()),
            Side::Server => println!("     {} {}", paint(DIM, "S:"), paint(colour_of(text), text)),
        }
    }
    let kept = played.is_as_promised(&act.promise);
    let moment = match act.promise.moment {
        Moment::Recipient => "at RCPT TO",
        Moment::EndOfData => "at the end of the message",
    };
    let mark = if kept { paint(GREEN, "✓") } else { paint(RED, "✗") };
    println!("  {mark}  promised {moment}: {}", act.promise.reply.trim_end());
    match &played.reply {
        Ok(reply) if !kept => println!("     heard: {reply}"),
        Err(error) => println!("     failed: {error:#}"),
        Ok(_) => {}
    }
    println!();
    kept
}

/// What came of it: the counters, the delivered messages.
pub(super) fn ending(stage: &Stage, kept: usize, of: usize) -> Result<()> {
    println!("{}", bold("What the XDP program counted"));
    for line in stage.sixgate(&["stats"])?.lines() {
        println!("     {line}");
    }
    println!();
    println!("{}", bold("What was delivered"));
    for path in delivered()? {
        println!("     {}", path.display());
        let message = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        let text = String::from_utf8_lossy(&message);
        for line in text.lines().take_while(|line| !line.is_empty()).take(HEADER_LINES) {
            println!("       {}", paint(DIM, line));
        }
    }
    println!();
    let sum = format!("{kept} of {of} sessions went as promised");
    println!("{}", paint(if kept == of { GREEN } else { RED }, &sum));
    Ok(())
}

/// Commands to try, and how to end.
pub(super) fn next_steps(stage: &Stage) {
    let sixgate = format!("{} --config {}", daemon::binary().display(), stage.config.display());
    let [.., fourth, _] = SENDERS;
    println!();
    println!("{}", bold("To try next, in another terminal (`cargo xtask setup` installs swaks)"));
    for command in [
        format!("{sixgate} status"),
        format!("{sixgate} optin add {NOT_OPTED_IN}"),
        format!(
            "swaks -6 --server {NOT_OPTED_IN} --local-interface {fourth} --helo mail.spf.example --from anna@spf.example --to user@{DOMAIN}"
        ),
        format!("nc -6 -C -s {fourth} {OPTED_IN} 25"),
        format!("{sixgate} ptr list"),
    ] {
        println!("     {command}");
    }
    println!();
    println!("Ctrl-C ends the demo and removes everything.");
}

fn delivered() -> Result<Vec<PathBuf>> {
    let folder = Stage::maildir();
    let entries = fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut paths = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<_>>>()?;
    paths.sort();
    Ok(paths)
}

fn colour_of(reply: &str) -> &'static str {
    match reply.as_bytes().first() {
        Some(b'4' | b'5') => YELLOW,
        _ => PLAIN,
    }
}

fn bold(text: &str) -> String {
    paint(BOLD, text)
}

/// `text` in a style, where that can be seen.
fn paint(style: &str, text: &str) -> String {
    if std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none() && !style.is_empty() {
        format!("\x1b[{style}m{text}\x1b[0m")
    } else {
        text.to_owned()
    }
}

/// Header lines shown of each message.
const HEADER_LINES: usize = 12;

const PLAIN: &str = "";
const BOLD: &str = "1";
const DIM: &str = "2";
const RED: &str = "31";
const GREEN: &str = "32";
const YELLOW: &str = "33";
