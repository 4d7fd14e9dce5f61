//! `sixgate explain` and the session agree: for each transaction of each script, explain's replies
//! are those that the script has, and the daemon is held to.

use std::{fs, path::PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use sixgate_tests::{
    daemon,
    dialog::{
        Script,
        play::{folder, for_each, scripts},
        transactions::{Asked, Reply, transactions},
    },
    gate::{self, Need},
    site::Site,
};

/// Scripts whose point is something that a single message does not have.
const OTHERS: [&str; 4] = [
    // what earlier messages and clients have used up
    "promise/dns-budget.dialog",
    // what the session counts before
    "protocol/too-many-errors.dialog",
    "protocol/too-many-messages.dialog",
    "refused/too-many-commands.dialog",
];
/// So many transactions are compared at least: none is left out by mistake.
const LEAST: usize = 90;

#[test]
fn explain_and_session_agree_for_every_script() {
    if !gate::require(&[Need::Root]) {
        return;
    }
    let folders = ["promise", "styles", "protocol", "messages", "refused"];
    let is_other = |path: &PathBuf| OTHERS.iter().any(|other| path.ends_with(other));
    let all: Vec<PathBuf> = folders.iter().flat_map(|name| scripts(&folder(name))).collect();
    assert_eq!(all.iter().filter(|path| is_other(path)).count(), OTHERS.len());
    let all: Vec<PathBuf> = all.into_iter().filter(|path| !is_other(path)).collect();
    let compared = std::sync::atomic::AtomicUsize::new(0);
    let failed = for_each(&all, |path| {
        let script = Script::read(path)?;
        let asked = transactions(&script);
        if asked.is_empty() {
            return Ok(());
        }
        let site = Site::new(&script.zone, &script.settings);
        for command in &script.setup {
            site.sixgate(command);
        }
        for (at, asked) in asked.iter().enumerate() {
            let message = site.folder().join(format!("{at}.eml"));
            compare(&site, asked, &message).with_context(|| format!("{}: {asked:?}", path.display()))?;
            compared.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
        }
        Ok(())
    });
    assert!(failed.is_empty(), "{} failed:\n\n{}", failed.len(), failed.join("\n\n"));
    let compared = compared.into_inner();
    println!("{compared} transactions");
    assert!(compared >= LEAST, "only {compared} transactions were compared");
}

/// Explains a transaction, and compares each reply with the script's.
fn compare(site: &Site, asked: &Asked, message: &std::path::Path) -> Result<()> {
    let mut arguments = vec!["explain", "--json", "--from", &asked.source, "--to", &asked.destination];
    arguments.extend(["--helo", &asked.hello, "--sender", &asked.mail.0]);
    for (recipient, _) in &asked.recipients {
        arguments.extend(["--rcpt", recipient]);
    }
    let path = message.to_string_lossy();
    if let Some((octets, _)) = &asked.message {
        fs::write(message, octets)?;
        arguments.extend(["--message", &path]);
    }
    let output = daemon::run(Some(&site.gate), &site.config(), &arguments)?;
    let error = String::from_utf8_lossy(&output.stderr).into_owned();
    let explained: Value = serde_json::from_slice(&output.stdout).with_context(|| error)?;
    let replies = explained["replies"].as_array().context("replies")?;
    let to = |start: &str| -> Vec<&Value> {
        let is_to =
            |reply: &&Value| reply["command"].as_str().is_some_and(|command| command.starts_with(start));
        replies.iter().filter(is_to).collect()
    };
    expect(&asked.greeting, to("(connection)").first().copied())?;
    expect(&asked.mail.1, to("MAIL").first().copied())?;
    let of_recipients = to("RCPT");
    for ((_, wanted), found) in asked.recipients.iter().zip(&of_recipients) {
        expect(wanted, Some(found))?;
    }
    if asked.recipients.is_empty() {
        return Ok(());
    }
    ensure!(asked.recipients.len() == of_recipients.len(), "{of_recipients:?}");
    if let Some((_, wanted)) = &asked.message {
        expect(wanted, to("(end of the message)").first().copied())?;
        let accepted = asked.recipients.iter().all(|(_, reply)| reply.is_positive()) && wanted.is_positive();
        ensure!(explained["accepted"] == accepted, "{explained:#}");
        ensure!(output.status.code() == Some(i32::from(!accepted)), "{}", output.status);
    }
    Ok(())
}

/// That `found` is the reply `wanted`, or is left to the next hop where that is a positive one.
fn expect(wanted: &Reply, found: Option<&Value>) -> Result<()> {
    if !wanted.is_known() {
        return Ok(());
    }
    let found = found.with_context(|| format!("wanted {wanted:?}"))?;
    if found["author"] == "next_hop" {
        ensure!(wanted.is_positive(), "wanted {wanted:?}, found {found}");
        return Ok(());
    }
    let lines = found["reply"].as_array().context("lines")?;
    let last = lines.last().and_then(Value::as_str).unwrap_or_default();
    ensure!(wanted.is(last), "wanted {wanted:?}, found {found}");
    Ok(())
}
