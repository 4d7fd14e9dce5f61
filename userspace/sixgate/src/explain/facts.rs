//! Store and BPF maps: the entries that concern a connection.
//!
//! It reads them and changes neither. Maps that are not there, or that may not be read, are a
//! remark, not an error: the daemon decides by the store.

use std::{net::Ipv6Addr, sync::Arc};

use ipnet::Ipv6Net;
use sixgate_common::dest::OptIn;
use sixgate_dataplane::PtrRecord;
use sixgate_smtp::{
    command::{Command, Mailbox, RcptTo},
    policy::{Stage, TemporaryDomains, Verdict, decide, evidence::OptInStatus},
};

use super::{
    ExplainError,
    checks::Checks,
    dialogue::Commands,
    document::{FirstPacket, GuardRule, OptInRule, Recipient, StoreRules},
};
use crate::{
    config::Config,
    control::{Control, GuardOrigin, KernelRefusals},
    evidence,
    kernel_facts::{FactsError, KernelFacts},
    store::{Database, PrefixMap},
    store_view::StoreFacts,
};

/// Store and maps, as far as they concern a connection.
pub(super) struct Facts {
    database: Database,
    control: Control,
    source: Ipv6Addr,
    destination: Ipv6Addr,
    at_connect: StoreFacts,
    optin: Option<(Ipv6Net, OptIn)>,
    guard: Option<(Ipv6Net, GuardOrigin)>,
    ptr_record: Option<PtrRecord>,
    temporary: Arc<TemporaryDomains>,
    kernel: Kernel,
}

/// Whether the XDP program may refuse.
enum Kernel {
    /// It is not attached, or its maps cannot be read.
    Away,
    /// It is attached and refuses nothing.
    Passes { why: &'static str },
    /// It refuses by its maps.
    Refuses(KernelRefusals),
}

impl Facts {
    /// Reads them.
    ///
    /// # Errors
    /// [`ExplainError::Store`].
    pub(super) fn gather(
        config: &Config,
        source: Ipv6Addr,
        destination: Ipv6Addr,
        remarks: &mut Vec<String>,
    ) -> Result<Self, ExplainError> {
        let control = Control::new(config);
        let database = control.store().open()?;
        let domains = database.domains()?;
        let marked = domains.iter().filter(|(_, marks)| marks.temporary);
        let temporary = Arc::new(marked.flat_map(|(domain, _)| domain.keys()).collect());
        let mut tell = |what: &str, error: FactsError| {
            remarks.push(format!("{what}: {:#}", anyhow::Error::new(error)));
        };
        let kernel_facts = KernelFacts::new(config, &control);
        let guard = match kernel_facts.guard() {
            Ok(guard) => guard.into_iter().collect(),
            Err(error) => {
                tell("the guarded destinations are not known", error);
                PrefixMap::default()
            }
        };
        let (kernel, ptr_record) = match kernel(&kernel_facts, source) {
            Ok(found) => found,
            Err(error) => {
                tell("the BPF maps cannot be read, and are left out", error);
                (Kernel::Away, None)
            }
        };
        Ok(Self {
            at_connect: StoreFacts::read(&database, source, destination, None)?,
            optin: database.optin_rule(destination)?,
            guard: guard.longest_match(destination).map(|(prefix, origin)| (prefix, *origin)),
            ptr_record,
            temporary,
            kernel,
            database,
            control,
            source,
            destination,
        })
    }

    pub(super) fn source(&self) -> Ipv6Addr {
        self.source
    }

    /// Whether the source is exempt.
    pub(super) fn is_trusted(&self) -> bool {
        self.at_connect.trusted.is_some()
    }

    /// The PTR map's record of the source.
    pub(super) fn ptr_record(&self) -> Option<PtrRecord> {
        self.ptr_record
    }

    pub(super) fn at_connect(&self) -> &StoreFacts {
        &self.at_connect
    }

    pub(super) fn temporary_domains(&self) -> Arc<TemporaryDomains> {
        Arc::clone(&self.temporary)
    }

    /// The store's facts about a recipient of `domain`.
    ///
    /// # Errors
    /// [`ExplainError::Store`].
    pub(super) fn ask(&self, domain: Option<&str>) -> Result<StoreFacts, ExplainError> {
        Ok(StoreFacts::read(&self.database, self.source, self.destination, domain)?)
    }

    pub(super) fn shown(&self) -> StoreRules {
        StoreRules {
            file: self.control.store().path().to_owned(),
            trust: self.at_connect.trusted,
            optin: self.optin.map(|(prefix, decision)| OptInRule { prefix, decision }),
            guard: self.guard.map(|(prefix, origin)| GuardRule { prefix, origin: origin.name() }),
        }
    }

    /// Whether the connection is refused from its first packet on, and by whom.
    ///
    /// # Errors
    /// [`ExplainError::Store`].
    pub(super) fn first_packet(&self, config: &Config, checks: &Checks) -> Result<FirstPacket, ExplainError> {
        let evidence = checks.at_connect(self).evidence(config, None);
        let Verdict::Refuse(refusal) = decide(&config.policy(), Stage::Connection, &evidence) else {
            return Ok(FirstPacket::passed(match &self.kernel {
                Kernel::Away => "it is passed on to the daemon: no XDP program is attached",
                Kernel::Passes { why } => why,
                Kernel::Refuses(_) => "the XDP program passes it on to the daemon",
            }));
        };
        let needs_guard = evidence.destination == OptInStatus::NotOptedIn;
        let (by, why) = match &self.kernel {
            Kernel::Away => ("daemon", "no XDP program is attached".to_owned()),
            Kernel::Passes { why } => ("daemon", (*why).to_owned()),
            Kernel::Refuses(_) if needs_guard && self.guard.is_none() => {
                ("daemon", "the destination is not guarded, so that the XDP program passes it on".to_owned())
            }
            Kernel::Refuses(refusals) if refusals.responder == KERNEL => (KERNEL, String::new()),
            Kernel::Refuses(refusals) => ("daemon", refusals.fallback.clone().unwrap_or_default()),
        };
        Ok(FirstPacket { refused: Some(refusal.name()), by: Some(by), why })
    }

    /// The recipients' domains.
    ///
    /// # Errors
    /// [`ExplainError::Store`].
    pub(super) fn recipients(
        &self,
        config: &Config,
        commands: &Commands,
    ) -> Result<Vec<Recipient>, ExplainError> {
        if !commands.knows_recipients {
            return Ok(Vec::new());
        }
        commands.recipients.iter().map(|recipient| self.recipient(config, recipient)).collect()
    }

    fn recipient(&self, config: &Config, text: &str) -> Result<Recipient, ExplainError> {
        let parsed = match Command::parse(format!("RCPT TO:<{text}>").as_bytes()) {
            Ok(Command::Rcpt(recipient)) => Some(recipient),
            // the session refuses it
            _ => None,
        };
        let domain = parsed.as_ref().and_then(RcptTo::mailbox).and_then(Mailbox::domain_name);
        let marks = self.ask(domain)?.recipient;
        let found = parsed.as_ref().map(|parsed| evidence::of_recipient(config.domains, marks, parsed));
        Ok(Recipient {
            recipient: text.to_owned(),
            domain: domain.map(str::to_owned),
            opted_in: found.is_some_and(|found| found.domain == OptInStatus::OptedIn),
            all_domains: config.domains == crate::config::Domains::All,
            temporary: marks.temporary,
            asks_for_routing: found.is_some_and(|found| found.asks_for_routing),
        })
    }
}

/// The XDP program's state, and its record of the source's reverse DNS.
fn kernel(facts: &KernelFacts<'_>, source: Ipv6Addr) -> Result<(Kernel, Option<PtrRecord>), FactsError> {
    let Some(refusals) = facts.refusals(source)? else {
        return Ok((Kernel::Away, None));
    };
    let record = refusals.record;
    let kernel = if !refusals.is_enforcing {
        Kernel::Passes { why: "the XDP program passes it on: its mode is shadow" }
    } else if !refusals.is_ready {
        Kernel::Passes { why: "the XDP program passes it on: its maps are not ready" }
    } else {
        Kernel::Refuses(refusals)
    };
    Ok((kernel, record))
}

/// The name of the XDP program as responder.
const KERNEL: &str = "kernel";
