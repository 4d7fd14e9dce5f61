//! Entries that are likely not meant: they exempt or concern all addresses, or some from which no
//! mail comes or to which none goes.
//!
//! It refuses nothing: commands, `sixgate status`, `sixgate config check` and the daemon's start
//! warn of them.

use std::net::Ipv6Addr;

use ipnet::Ipv6Net;
use sixgate_common::dest::OptIn;

use crate::store::{Contents, Database, Domain, EntryKey, StoreEntry, StoreError};

impl StoreEntry {
    /// Why it is likely not meant, as a sentence; none if it is an entry as others.
    #[must_use]
    pub fn doubt(&self) -> Option<String> {
        match self {
            Self::Trust(prefix) if holds_all(prefix) => Some(format!(
                "trust has {prefix}: every sender is exempt from opt-in, PTR, SPF and DKIM; to undo that: \
                 sixgate trust remove {prefix}"
            )),
            Self::Trust(prefix) | Self::OptIn(prefix, _) | Self::Guard(prefix) if is_link_local(prefix) => {
                let list = match self {
                    Self::Trust(_) => "trust",
                    Self::OptIn(..) => "optin",
                    Self::Guard(_) | Self::Domain(..) => "guard",
                };
                Some(format!(
                    "{list} has {prefix}, which is link-local: mail from other networks has no such address; to undo \
                     that: sixgate {list} remove {prefix}"
                ))
            }
            Self::Trust(prefix) => no_host(prefix).map(|what| {
                format!(
                    "trust has {prefix}, which is {what}: no sender has such an address; to undo that: \
                     sixgate trust remove {prefix}"
                )
            }),
            Self::OptIn(prefix, OptIn::In) if holds_all(prefix) => Some(format!(
                "optin has {prefix}: every destination takes mail over IPv6, so that none is refused for want of an opt-in; \
                 to undo that: sixgate optin remove {prefix}"
            )),
            Self::OptIn(prefix, _) => no_host(prefix).map(|what| {
                format!(
                    "optin has {prefix}, which is {what}: no mail comes there; to undo that: \
                     sixgate optin remove {prefix}"
                )
            }),
            Self::Guard(prefix) if holds_all(prefix) => Some(format!(
                "guard has {prefix}: the XDP program refuses mail to every address that has not opted in, also of other \
                 hosts whose packets pass this one; to undo that: sixgate guard remove {prefix}"
            )),
            Self::Guard(prefix) => no_host(prefix).or_else(|| own_host(prefix)).map(|what| {
                format!(
                    "guard has {prefix}, which is {what}: no mail comes there from another host; to undo that: \
                     sixgate guard remove {prefix}"
                )
            }),
            Self::Domain(domain, _) => domain.as_str().parse::<Domain>().err().map(|_| {
                format!(
                    "domain has {domain}, which is an address or ends like one: no recipient has such a domain; to \
                     undo that: sixgate domain remove {domain}"
                )
            }),
        }
    }
}

impl Contents {
    /// Entries that are likely not meant, at most [`DOUBTS_MAX`] sentences.
    #[must_use]
    pub fn doubts(&self) -> Vec<String> {
        let optin = self.optin.entries().iter().map(|(prefix, optin)| StoreEntry::OptIn(*prefix, *optin));
        let guard = self.guard.entries().keys().copied().map(StoreEntry::Guard);
        let trust = self.trust.entries().keys().copied().map(StoreEntry::Trust);
        let domains = self.domains.iter().map(|(domain, marks)| StoreEntry::Domain(domain.clone(), *marks));
        let all = trust.chain(optin).chain(guard).chain(domains);
        all.filter_map(|entry| entry.doubt()).take(DOUBTS_MAX).collect()
    }
}

impl Database {
    /// The same, without reading what may be millions: of opted-in and trusted prefixes, those that
    /// hold every address.
    ///
    /// # Errors
    ///
    /// [`StoreError::Database`], [`StoreError::Damaged`].
    pub fn doubts(&self) -> Result<Vec<String>, StoreError> {
        let mut found = Vec::new();
        let all = || (0..=GLOBAL_LENGTH).filter_map(|length| Ipv6Net::new(GLOBAL, length).ok());
        for prefix in all().map(|prefix| prefix.trunc()) {
            found.extend(self.entry(&EntryKey::Trust(prefix))?);
            found.extend(self.entry(&EntryKey::OptIn(prefix))?);
        }
        found.extend(self.guard()?.entries().keys().copied().map(StoreEntry::Guard));
        Ok(found.into_iter().filter_map(|entry| entry.doubt()).take(DOUBTS_MAX).collect())
    }
}

/// Whether every address that is routed on the Internet is in `prefix`.
fn holds_all(prefix: &Ipv6Net) -> bool {
    prefix.prefix_len() <= GLOBAL_LENGTH && prefix.contains(&GLOBAL)
}

/// Whether it holds addresses of a link only (RFC 4291 2.5.6).
fn is_link_local(prefix: &Ipv6Net) -> bool {
    prefix.prefix_len() >= LINK_LOCAL_LENGTH && prefix.network().is_unicast_link_local()
}

/// The kind of prefix, where it holds no address of a host.
fn no_host(prefix: &Ipv6Net) -> Option<&'static str> {
    let address = prefix.network();
    if address.is_multicast() {
        Some("multicast")
    } else if address.is_unspecified() && prefix.prefix_len() == ADDRESS {
        Some("the unspecified address")
    } else {
        None
    }
}

/// The kind of address, where each host has it for itself.
fn own_host(prefix: &Ipv6Net) -> Option<&'static str> {
    (prefix.prefix_len() == ADDRESS && prefix.network().is_loopback()).then_some("the loopback address")
}

/// 2000::/3, the addresses that are given out for the Internet (RFC 4291 2.4).
const GLOBAL: Ipv6Addr = Ipv6Addr::new(0x2000, 0, 0, 0, 0, 0, 0, 0);
const GLOBAL_LENGTH: u8 = 3;
/// Length of fe80::/10.
const LINK_LOCAL_LENGTH: u8 = 10;
/// Length of the prefix of one address.
const ADDRESS: u8 = 128;
/// Sentences at most.
pub const DOUBTS_MAX: usize = 10;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_likely_not_meant_is_named_with_the_command_that_undoes_it() {
        type Make = fn(Ipv6Net) -> StoreEntry;
        let trust: Make = StoreEntry::Trust;
        let optin: Make = |prefix| StoreEntry::OptIn(prefix, OptIn::In);
        let guard: Make = StoreEntry::Guard;
        for (entry, prefix, wanted) in [
            (trust, "::/0", Some("every sender is exempt")),
            (trust, "2000::/3", Some("every sender is exempt")),
            (trust, "2001:db8::/32", None),
            (trust, "2000::/4", None),
            (trust, "::1/128", None),
            (trust, "ff02::1/128", Some("multicast")),
            (trust, "fe80::1/128", Some("link-local")),
            (optin, "fe80::1/128", Some("link-local")),
            (guard, "fe80::/64", Some("link-local")),
            (optin, "::/0", Some("every destination takes mail")),
            (optin, "::/128", Some("the unspecified address")),
            (optin, "4000::/3", None),
            (guard, "::/1", Some("also of other hosts")),
            (guard, "ff00::/8", Some("multicast")),
            (guard, "::1/128", Some("the loopback address")),
            (guard, "::/128", Some("the unspecified address")),
            (guard, "2001:db8:25::/64", None),
        ] {
            let doubt = entry(prefix.parse().unwrap()).doubt();
            assert_eq!(doubt.is_some(), wanted.is_some(), "{doubt:?}");
            let is_named =
                |doubt: &str| doubt.contains(wanted.unwrap_or_default()) && doubt.ends_with(prefix);
            assert!(doubt.iter().all(|doubt| is_named(doubt)), "{doubt:?}");
        }
    }
}
