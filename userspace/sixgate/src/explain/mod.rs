//! `sixgate explain`: why a client's mail is accepted or refused, by the checks and the session
//! that decide about it.
//!
//! It owns the order of the explanation. It decides nothing and changes nothing: it asks DNS by
//! itself, reads store and maps, plays the client's commands to a session in memory, and does not
//! use the next hop.

mod branch;
mod checks;
mod dialogue;
mod document;
mod facts;
mod message;
mod shown;
mod tree;

use std::{io, net::Ipv6Addr, path::PathBuf, sync::Arc};

use sixgate_smtp::policy::{Mode, evidence::Endpoints};

use crate::{config::Config, nexthop::Capabilities, services::next_hop_of, store::StoreError};

use checks::Checks;
use dialogue::{Commands, Dialogue};
use document::Settings;
use facts::Facts;

pub(crate) use document::Explanation;

/// Whose mail is to be explained.
#[derive(Clone, Debug)]
pub(crate) struct Case {
    pub(crate) from: Ipv6Addr,
    pub(crate) to: Ipv6Addr,
    pub(crate) helo: Option<String>,
    /// Without angle brackets; empty: the null reverse-path.
    pub(crate) sender: Option<String>,
    pub(crate) recipients: Vec<String>,
    /// `-`: the standard input.
    pub(crate) message: Option<PathBuf>,
}

/// Why nothing can be explained.
#[derive(Debug, thiserror::Error)]
pub enum ExplainError {
    /// The opt-in store could not be read.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The message's file could not be read.
    #[error("cannot read the message {}", path.display())]
    Message {
        /// The path of the file.
        path: PathBuf,
        /// The error of the operating system.
        source: io::Error,
    },
    /// The asynchronous runtime could not be started.
    #[error("cannot start the runtime")]
    Runtime {
        /// The error of the operating system.
        source: io::Error,
    },
}

/// Makes every check of `case`, and plays its commands.
///
/// # Errors
/// [`ExplainError`] if store or message cannot be read. What DNS does not answer is part of the
/// explanation.
pub(crate) fn explain(config: &Config, case: &Case) -> Result<Explanation, ExplainError> {
    let mut remarks = Vec::new();
    let message = case.message.as_deref().map(|path| message::read(path, config)).transpose()?;
    if let Some(message) = &message {
        remarks.extend(message.remarks.iter().cloned());
    }
    let facts = Facts::gather(config, case.from, case.to, &mut remarks)?;
    let replies = Arc::new(config.reply_table());
    let next_hop = next_hop_of(config, Arc::clone(&replies));
    let capabilities = next_hop.capabilities().unwrap_or_else(|| {
        remarks.push(
            "what the next hop offers is not known, as the daemon has never reached it: all extensions are assumed"
                .to_owned(),
        );
        ALL
    });
    let commands = Commands::new(case, message.as_ref(), capabilities, &mut remarks);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| ExplainError::Runtime { source })?;
    let checks = runtime.block_on(Checks::make(config, &facts, &commands));
    let endpoints =
        Endpoints { source: case.from, source_port: 0, destination: case.to, destination_port: SMTP };
    let dialogue = Dialogue { config, replies, capabilities, facts: &facts, checks: &checks, endpoints };
    let played = dialogue.play(&commands, config.mode)?;
    let enforce = match config.mode {
        Mode::Enforce => None,
        Mode::Shadow => Some(dialogue.play(&commands, Mode::Enforce)?),
    };
    let first_packet = facts.first_packet(config, &checks)?;
    Ok(Explanation {
        from: case.from,
        to: case.to,
        settings: Settings::of(config),
        remarks,
        store: facts.shown(),
        first_packet,
        ptr: checks.ptr_shown(),
        spf: checks.spf_shown(config),
        dkim: checks.dkim_shown(),
        recipients: facts.recipients(config, &commands)?,
        accepted: !played.iter().any(document::Exchange::refuses),
        would_be_accepted: enforce.as_ref().map(|played| !played.iter().any(document::Exchange::refuses)),
        replies: played,
        enforce,
    })
}

/// A next hop of which nothing is known.
const ALL: Capabilities = Capabilities { eight_bit_mime: true, size: Some(u64::MAX), smtp_utf8: true };
/// The port that clients connect to.
const SMTP: u16 = 25;
