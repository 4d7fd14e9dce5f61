//! The facts that a script contains, without a daemon or DNS: its configuration, who has opted in,
//! who has reverse DNS; and which of its sessions are refused from their first packet.
//!
//! What would be looked up is read off the script: the store from its SETUP lines, reverse DNS from
//! its zone. Every message passes SPF here.

use std::{
    net::Ipv6Addr,
    path::{Path, PathBuf},
};

use anyhow::{Result, bail};
use sixgate::{
    config::Config,
    store::{Contents, Domain, EntryChange, Marks, StoreEntry},
};
use sixgate_common::{dest::OptIn, refuse::Reason};
use sixgate_smtp::policy::{
    Policy, Refusal, Stage, Verdict, decide,
    evidence::{CheckOutcome, Endpoints, Evidence, PtrOutcome},
};

use super::{Script, Step};
use crate::settings;

/// The facts that the daemon would have.
#[derive(Debug)]
pub struct Facts {
    /// The usual configuration, and the script's settings over it.
    pub config: Config,
    /// As the configuration has it.
    pub policy: Policy,
    /// As the script's SETUP lines leave it.
    pub store: Contents,
    zone: String,
}

impl Facts {
    /// Those of `script`.
    ///
    /// # Errors
    /// If its settings or SETUP lines are not understood.
    pub fn new(script: &Script) -> Result<Self> {
        let mut settings = settings::usual(Path::new("/nowhere"), "[::1]:53");
        settings::lay_over(&mut settings, script.settings.parse()?);
        let config = Config::parse(&settings.to_string(), &PathBuf::from("script"))?;
        let mut store = Contents::default();
        for command in &script.setup {
            let words: Vec<&str> = command.split_whitespace().collect();
            store.apply(EntryChange::Put(match words[..] {
                ["optin", "add", prefix] => {
                    StoreEntry::OptIn(sixgate::store::parse_prefix(prefix)?, OptIn::In)
                }
                ["optin", "add", "--out", prefix] => {
                    StoreEntry::OptIn(sixgate::store::parse_prefix(prefix)?, OptIn::Out)
                }
                ["trust", "add", prefix] => StoreEntry::Trust(sixgate::store::parse_prefix(prefix)?),
                ["domain", "add", domain] => StoreEntry::Domain(domain.parse()?, Marks::OPTED_IN),
                ["domain", "add", "--temporary", domain] => {
                    let domain: Domain = domain.parse()?;
                    let marks = store.marks(domain.as_str()).with(Marks::TEMPORARY);
                    StoreEntry::Domain(domain, marks)
                }
                _ => bail!("no such command in memory: {command}"),
            }));
        }
        Ok(Self { policy: config.policy(), store, zone: script.zone.clone(), config })
    }

    /// Why each session of `script` is refused from its first packet, if it is: what the XDP
    /// program decides, provided that it knows who has no PTR record.
    ///
    /// # Errors
    /// As [`Facts::new`]; if an address is none.
    pub fn refusals(script: &Script) -> Result<Vec<Option<Reason>>> {
        let facts = Self::new(script)?;
        let connections = script.steps.iter().filter_map(|(_, step)| match step {
            Step::Connect { source, destination } => Some((source, destination)),
            _ => None,
        });
        connections
            .map(|(source, destination)| Ok(facts.refusal(&endpoints(source.parse()?, destination.parse()?))))
            .collect()
    }

    /// Why a session is refused before its first command.
    #[must_use]
    pub fn refusal(&self, endpoints: &Endpoints) -> Option<Reason> {
        match decide(&self.policy, Stage::Connection, &self.evidence(endpoints)) {
            Verdict::Refuse(Refusal::NoPtr) => Some(Reason::NoPtr),
            Verdict::Refuse(_) => Some(Reason::NotOptedIn),
            Verdict::Accept | Verdict::AcceptInShadow(_) => None,
        }
    }

    /// The facts when a session begins, and those that its message would show.
    #[must_use]
    pub fn evidence(&self, endpoints: &Endpoints) -> Evidence {
        let said = |word: &str| {
            let start = format!("{} {word}", endpoints.source);
            self.zone.lines().any(|line| line.starts_with(&start))
        };
        let ptr = if said("PTR") {
            PtrOutcome::NotConfirmed
        } else if said("FAULT") {
            PtrOutcome::Unknown
        } else {
            PtrOutcome::NoRecord
        };
        Evidence {
            ptr: Some(ptr),
            spf: Some(CheckOutcome::Pass),
            ..Evidence::at_connect(
                self.store.trusts(endpoints.source),
                self.store.destination(endpoints.destination),
            )
        }
    }
}

/// A session between these addresses.
#[must_use]
pub fn endpoints(source: Ipv6Addr, destination: Ipv6Addr) -> Endpoints {
    Endpoints { source, source_port: 1024, destination, destination_port: 25 }
}
