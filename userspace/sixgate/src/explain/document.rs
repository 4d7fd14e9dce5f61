//! An explanation as values: what `sixgate explain --json` prints, and what the tree is made of.
//!
//! It finds nothing out.

use std::{net::Ipv6Addr, path::PathBuf};

use ipnet::Ipv6Net;
use serde::Serialize;
use sixgate_common::dest::OptIn;
use sixgate_smtp::policy::{Refusal, Verdict};

use crate::config::Config;

/// Why a client's mail is accepted or refused.
#[derive(Debug, Serialize)]
pub(crate) struct Explanation {
    pub(super) from: Ipv6Addr,
    pub(super) to: Ipv6Addr,
    pub(super) settings: Settings,
    /// Assumptions, and facts that could not be read.
    pub(super) remarks: Vec<String>,
    pub(super) store: StoreRules,
    pub(super) first_packet: FirstPacket,
    /// None: the source is exempt.
    pub(super) ptr: Option<PtrCheck>,
    pub(super) recipients: Vec<Recipient>,
    /// None: the source is exempt, or there is no sender.
    pub(super) spf: Option<SpfChecks>,
    /// None: the source is exempt, or there is no message.
    pub(super) dkim: Option<Vec<SignatureCheck>>,
    pub(super) replies: Vec<Exchange>,
    /// In shadow mode: the replies in mode enforce.
    pub(super) enforce: Option<Vec<Exchange>>,
    pub(super) accepted: bool,
    /// In shadow mode: whether mode enforce would accept.
    pub(super) would_be_accepted: Option<bool>,
}

/// The settings that decide.
#[derive(Debug, Serialize)]
pub(super) struct Settings {
    pub(super) file: PathBuf,
    pub(super) hostname: String,
    pub(super) mode: &'static str,
    pub(super) refuse_at: &'static str,
    pub(super) answer: &'static str,
    pub(super) domains: &'static str,
    pub(super) demand_forward_confirmation: bool,
    pub(super) client_certificates: bool,
}

/// The rules of the store that hold for the two addresses.
#[derive(Debug, Serialize)]
pub(super) struct StoreRules {
    pub(super) file: PathBuf,
    pub(super) trust: Option<Ipv6Net>,
    pub(super) optin: Option<OptInRule>,
    pub(super) guard: Option<GuardRule>,
}

#[derive(Debug, Serialize)]
pub(super) struct OptInRule {
    pub(super) prefix: Ipv6Net,
    pub(super) decision: OptIn,
}

#[derive(Debug, Serialize)]
pub(super) struct GuardRule {
    pub(super) prefix: Ipv6Net,
    pub(super) origin: &'static str,
}

/// What becomes of the connection before the client sends a command.
#[derive(Debug, Serialize)]
pub(super) struct FirstPacket {
    /// Why all recipients are refused; none: each is judged.
    pub(super) refused: Option<&'static str>,
    /// `kernel` or `daemon`.
    pub(super) by: Option<&'static str>,
    /// Why it is passed on, or not answered by the kernel; may be empty.
    pub(super) why: String,
}

/// Reverse DNS of the source.
#[derive(Debug, Serialize)]
pub(super) struct PtrCheck {
    pub(super) result: &'static str,
    pub(super) reason: Option<&'static str>,
    pub(super) name: Option<String>,
    /// The record in the PTR map, which comes first: `exists` or `absent`, and its origin.
    pub(super) map: Option<String>,
    pub(super) steps: Vec<StepShown>,
}

/// A recipient's domain.
#[derive(Debug, Serialize)]
pub(super) struct Recipient {
    pub(super) recipient: String,
    pub(super) domain: Option<String>,
    pub(super) opted_in: bool,
    pub(super) all_domains: bool,
    pub(super) temporary: bool,
    pub(super) asks_for_routing: bool,
}

/// SPF of both identities.
#[derive(Debug, Serialize)]
pub(super) struct SpfChecks {
    /// The one that decides.
    pub(super) mail_from: SpfCheckShown,
    /// The one that is recorded only.
    pub(super) helo: SpfCheckShown,
    pub(super) dns_terms_max: usize,
    pub(super) void_terms_max: usize,
}

/// SPF of one identity.
#[derive(Debug, Serialize)]
pub(super) struct SpfCheckShown {
    pub(super) domain: String,
    pub(super) result: &'static str,
    pub(super) why: String,
    pub(super) explanation: Option<String>,
    pub(super) steps: Vec<StepShown>,
}

/// A DKIM signature.
#[derive(Debug, Serialize)]
pub(super) struct SignatureCheck {
    pub(super) domain: String,
    pub(super) selector: String,
    pub(super) identity: String,
    pub(super) algorithm: &'static str,
    pub(super) result: &'static str,
    pub(super) reason: Option<&'static str>,
    /// None: the signature could not be read.
    pub(super) tags: Option<TagsShown>,
    /// The questions for its key; none if it was not needed.
    pub(super) key: Vec<StepShown>,
}

/// The contents of a signature, and the hash to compare.
#[derive(Debug, Serialize)]
pub(super) struct TagsShown {
    pub(super) canonicalization: String,
    pub(super) signed_fields: Vec<String>,
    pub(super) key_name: String,
    pub(super) body_length: Option<u64>,
    /// The tag `bh=`, base64.
    pub(super) body_hash: String,
    /// The hash of the message's body; none if it was not computed.
    pub(super) computed_body_hash: Option<String>,
    /// Octets of the canonical body.
    pub(super) canonical_body_length: Option<u64>,
    /// The SHA-256 of the signed header fields; none unless the signature does not verify.
    pub(super) computed_header_hash: Option<String>,
    /// Octets of these fields in canonical form.
    pub(super) canonical_header_length: Option<usize>,
}

/// A step of a check.
#[derive(Clone, Debug, Serialize)]
#[serde(tag = "step", rename_all = "snake_case")]
pub(super) enum StepShown {
    Query {
        name: String,
        kind: String,
        /// None: there was no answer.
        answer: Option<Vec<String>>,
        failure: Option<String>,
        servers: Vec<String>,
    },
    Record {
        domain: String,
        record: Option<String>,
    },
    Term {
        term: String,
        target: Option<String>,
        /// `match`, `no match`, `followed`, or the result that ends the check.
        outcome: &'static str,
        reason: Option<&'static str>,
        dns_terms: usize,
        void_terms: usize,
        steps: Vec<Self>,
    },
}

/// A command of the client and the reply to it.
#[derive(Debug, Serialize)]
pub(super) struct Exchange {
    pub(super) command: String,
    /// Its lines; none: the connection is reset, or the next hop replies.
    pub(super) reply: Vec<String>,
    pub(super) author: Author,
    /// Why it is refused, if the policy refuses it.
    pub(super) refused: Option<&'static str>,
    /// Why mode enforce would refuse it.
    pub(super) enforce_refuses: Option<&'static str>,
}

/// Whose reply it is.
#[derive(Clone, Copy, Debug, Eq, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Author {
    Sixgate,
    /// Its reply is passed on. What it is cannot be known here.
    NextHop,
}

impl Settings {
    pub(super) fn of(config: &Config) -> Self {
        let policy = config.policy();
        Self {
            file: config.file.clone(),
            hostname: config.hostname.as_str().to_owned(),
            mode: config.mode.name(),
            refuse_at: config.refuse_at.name(),
            answer: config.answer.name(),
            domains: config.domains.name(),
            demand_forward_confirmation: policy.demand_forward_confirmation,
            client_certificates: policy.client_trust,
        }
    }
}

impl FirstPacket {
    /// The session is served.
    pub(super) fn passed(why: &str) -> Self {
        Self { refused: None, by: None, why: why.to_owned() }
    }
}

impl Exchange {
    pub(super) fn new(command: &str, reply: impl Iterator<Item = String>) -> Self {
        Self {
            command: command.to_owned(),
            reply: reply.collect(),
            author: Author::Sixgate,
            refused: None,
            enforce_refuses: None,
        }
    }

    /// The connection is reset.
    pub(super) fn reset(refusal: Refusal) -> Self {
        let reset = Self::new(CONNECTION, std::iter::empty());
        Self { refused: Some(refusal.name()), ..reset }
    }

    /// Adds what the policy decided about it.
    pub(super) fn note(&mut self, verdict: Verdict) {
        match verdict {
            Verdict::Accept => {}
            Verdict::AcceptInShadow(refusal) => self.enforce_refuses = Some(refusal.name()),
            Verdict::Refuse(refusal) => self.refused = Some(refusal.name()),
        }
        if self.refused.is_none() && !self.refuses() {
            (self.author, self.reply) = (Author::NextHop, Vec::new());
        }
    }

    /// Whether it refuses all recipients, or one.
    pub(super) fn is_about_recipients(&self) -> bool {
        self.command == CONNECTION || self.command.starts_with(RECIPIENT)
    }

    /// Whether the reply, or its absence, refuses the command.
    pub(super) fn refuses(&self) -> bool {
        self.author == Author::Sixgate && self.reply.last().is_none_or(|line| line.starts_with(['4', '5']))
    }
}

/// Stands for the command that the greeting replies to.
pub(super) const CONNECTION: &str = "(connection)";
/// Stands for the command that the reply to a message is for.
pub(super) const MESSAGE: &str = "(end of the message)";
/// The beginning of the command that names a recipient.
pub(super) const RECIPIENT: &str = "RCPT TO:";
