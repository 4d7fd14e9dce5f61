//! The checks of a sender and its message, made once, with their steps.
//!
//! They are those of `sixgate_auth`, as a session makes them, with a DNS client of their own.

use std::sync::Arc;

use sixgate_auth::{
    DkimVerifier, Recorder,
    dkim::DkimFindings,
    dns::Resolver,
    ptr::{self, PtrResult},
    spf::{self, SpfResults},
    trace::Step,
};
use sixgate_dataplane::{PtrRecord, PtrState};
use sixgate_smtp::command::{Command, MailFrom, Mailbox};
use tokio::time::Instant;

use super::{
    dialogue::Commands,
    document::{PtrCheck, SignatureCheck, SpfChecks},
    facts::Facts,
    shown,
};
use crate::{
    config::Config,
    evidence::{self, Findings},
    mirror::reverse_dns::with_record,
    store_view::StoreFacts,
};

/// A result and the way to it.
#[derive(Debug)]
struct Made<T> {
    result: T,
    steps: Vec<Step>,
}

/// All checks. One that is none was not needed, or cannot be made.
#[derive(Debug)]
pub(super) struct Checks {
    /// The PTR map's record.
    record: Option<PtrRecord>,
    ptr: Option<Made<PtrResult>>,
    spf: Option<Made<SpfResults>>,
    dkim: Option<Made<DkimFindings>>,
    null_sender: bool,
}

impl Checks {
    /// Makes those that matter for a sender that is not exempt, and none for another one.
    pub(super) async fn make(config: &Config, facts: &Facts, commands: &Commands) -> Self {
        let record = facts.ptr_record();
        let mail = match Command::parse(format!("MAIL FROM:<{}>", commands.sender).as_bytes()) {
            Ok(Command::Mail(mail)) => Some(mail),
            // the session refuses it
            _ => None,
        };
        let null_sender = mail.as_ref().is_some_and(|mail| mail.reverse_path.is_none());
        let mut checks = Self { record, ptr: None, spf: None, dkim: None, null_sender };
        if facts.is_trusted() {
            return checks;
        }
        let dns = evidence::resolver(config).on_behalf_of(facts.source());
        checks.ptr = Some(reverse_dns(&dns, facts, record).await);
        if let Some(mail) = mail.filter(|_| commands.knows_sender) {
            checks.spf = Some(sender_policy(config, &dns, facts, commands, &mail).await);
        }
        if let Some(message) = commands.message.as_ref().filter(|message| !message.is_empty()) {
            checks.dkim = Some(signatures(config, &dns, message).await);
        }
        checks
    }

    /// The findings that a session has when it begins.
    pub(super) fn at_connect<'a>(&'a self, facts: &'a Facts) -> Findings<'a> {
        let is_absent = self.record.is_some_and(|record| record.state == PtrState::Absent);
        let ptr = is_absent.then_some(&PtrResult::NoRecord);
        Findings { ptr, ..Self::nothing(facts.at_connect()) }
    }

    /// The findings that a session has at RCPT.
    pub(super) fn of_sender<'a>(&'a self, facts: &'a StoreFacts) -> Findings<'a> {
        Findings { ptr: self.ptr.as_ref().map(|made| &made.result), ..Self::nothing(facts) }
    }

    /// The findings that a session has at the end of DATA.
    pub(super) fn of_message<'a>(&'a self, facts: &'a StoreFacts) -> Findings<'a> {
        Findings {
            spf: self.spf.as_ref().map(|made| &made.result),
            dkim: self.dkim.as_ref().map_or(&[], |made| &made.result.signatures),
            null_sender: self.null_sender,
            ..self.of_sender(facts)
        }
    }

    fn nothing(facts: &StoreFacts) -> Findings<'_> {
        Findings { facts, certified: false, ptr: None, spf: None, dkim: &[], null_sender: false }
    }

    pub(super) fn ptr_shown(&self) -> Option<PtrCheck> {
        self.ptr.as_ref().map(|made| shown::ptr(&made.result, self.record, &made.steps))
    }

    pub(super) fn spf_shown(&self, config: &Config) -> Option<SpfChecks> {
        self.spf.as_ref().map(|made| shown::spf(&made.result, &made.steps, config.void_terms()))
    }

    pub(super) fn dkim_shown(&self) -> Option<Vec<SignatureCheck>> {
        self.dkim.as_ref().map(|made| shown::dkim(&made.result, &made.steps))
    }
}

/// Reverse DNS. The PTR map's record comes first, as in a session; DNS is asked all the same.
async fn reverse_dns(dns: &Resolver, facts: &Facts, record: Option<PtrRecord>) -> Made<PtrResult> {
    let recorder = Recorder::new();
    let answer = ptr::check(&dns.recorded(&recorder), facts.source()).await.result;
    Made { result: with_record(record, answer), steps: recorder.steps() }
}

async fn sender_policy(
    config: &Config,
    dns: &Resolver,
    facts: &Facts,
    commands: &Commands,
    mail: &MailFrom,
) -> Made<SpfResults> {
    let recorder = Recorder::new();
    // as the session reads it
    let hello = match Command::parse(format!("EHLO {}", commands.hello).as_bytes()) {
        Ok(Command::Ehlo(name)) => name.to_string(),
        _ => commands.hello.clone(),
    };
    let mail_from = mail.reverse_path.as_ref().map(Mailbox::with_a_labels);
    let query = evidence::spf_query(config, facts.source(), &hello, mail_from.as_deref());
    let result = spf::check(&dns.recorded(&recorder), &query).await;
    Made { result, steps: recorder.steps() }
}

async fn signatures(config: &Config, dns: &Resolver, message: &[u8]) -> Made<DkimFindings> {
    let recorder = Recorder::new();
    let deadline = Instant::now() + config.limits.verification_timeout;
    let verifier = DkimVerifier::new(config.dkim_settings());
    let result = verifier.verify(&dns.recorded(&recorder), Arc::<[u8]>::from(message), deadline).await;
    Made { result, steps: recorder.steps() }
}
