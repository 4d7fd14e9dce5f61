//! The opt-in store: which destinations and domains take mail over IPv6, what is ours, and who is
//! exempt.
//!
//! Its contents are pure values here; `database` keeps them. It does not own the maps that are
//! projected from it: `control` changes both together.

mod author;
mod database;
mod document;
mod domain;
mod doubts;
mod edit;
mod error;
mod exchange;
mod kind;
mod list;
mod prefix;
mod progress;

use std::{collections::BTreeMap, net::Ipv6Addr};

use ipnet::Ipv6Net;
use sixgate_common::dest::OptIn;
use sixgate_smtp::policy::{TemporaryDomains, evidence::OptInStatus};

pub use author::{Author, Origin};
pub(crate) use database::REVISIONS_KEPT;
pub use database::{
    AuditLog, AuditQuery, Audited, Backup, Consent, Database, Edit, Edited, EntryDifference, Logged,
    Replaced, Since, StartNote, Store, StoreCounts, TakenOver, Undo, WRITE_WAIT,
};
pub use document::{ListProblem, parse as parse_document, write as write_document};
pub use domain::{Domain, DomainError, Marks, parse_listed_domain};
pub use doubts::DOUBTS_MAX;
pub use edit::{EditOutcome, EntryChange, EntryKey, StoreEntry};
pub use error::StoreError;
pub use exchange::{ListFormat, parse_listing, write_listing};
pub use kind::ListKind;
pub use list::{ListError, ListReason};
pub use prefix::{PrefixError, PrefixMap, PrefixSet, parse_address, parse_prefix};
pub use progress::StoreProgress;
pub use sixgate_common::settings::Revision;

/// Everything that the store holds.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Contents {
    /// The decisions of the owners of destination prefixes.
    pub optin: PrefixMap<OptIn>,
    /// Destination prefixes that are ours.
    pub guard: PrefixSet,
    /// Source prefixes that are exempt from opt-in, PTR, SPF and DKIM.
    pub trust: PrefixSet,
    /// Recipients' domains and their marks.
    pub domains: BTreeMap<Domain, Marks>,
}

impl Contents {
    /// Whether the destination `address` has opted in: the longest prefix decides.
    #[must_use]
    pub fn destination(&self, address: Ipv6Addr) -> OptInStatus {
        match self.optin_rule(address) {
            Some((_, OptIn::In)) => OptInStatus::OptedIn,
            Some((_, OptIn::Out)) | None => OptInStatus::NotOptedIn,
        }
    }

    /// The prefix that decides about the destination `address`, if there is one.
    #[must_use]
    pub fn optin_rule(&self, address: Ipv6Addr) -> Option<(Ipv6Net, OptIn)> {
        self.optin.longest_match(address).map(|(prefix, optin)| (prefix, *optin))
    }

    /// Whether any destination has opted in.
    #[must_use]
    pub fn opts_anything_in(&self) -> bool {
        self.optin.entries().values().any(|optin| *optin == OptIn::In)
    }

    /// Whether the source `address` is exempt.
    #[must_use]
    pub fn trusts(&self, address: Ipv6Addr) -> bool {
        self.trusted_prefix(address).is_some()
    }

    /// The longest trusted prefix that the source `address` is in.
    #[must_use]
    pub fn trusted_prefix(&self, address: Ipv6Addr) -> Option<Ipv6Net> {
        self.trust.longest_match(address).map(|(prefix, _)| prefix)
    }

    /// Whether recipients of the domain `name` take mail here: exactly this name, in any case of
    /// letters.
    #[must_use]
    pub fn takes_domain(&self, name: &str) -> bool {
        self.marks(name).opted_in
    }

    /// The marks of the domain `name`; none for one that is not listed.
    #[must_use]
    pub fn marks(&self, name: &str) -> Marks {
        self.domains.get(name.to_ascii_lowercase().as_str()).copied().unwrap_or_default()
    }

    /// The domains whose refusal is temporary.
    #[must_use]
    pub fn temporary_domains(&self) -> TemporaryDomains {
        let marked = self.domains.iter().filter(|(_, marks)| marks.temporary);
        marked.flat_map(|(domain, _)| domain.keys()).collect()
    }

    /// Whether any domain takes mail here.
    #[must_use]
    pub fn opts_any_domain_in(&self) -> bool {
        self.domains.values().any(|marks| marks.opted_in)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn contents() -> Contents {
        let mut contents = Contents::default();
        for (prefix, optin) in [
            ("2001:db8::/32", OptIn::In),
            ("2001:db8:1::/48", OptIn::Out),
            ("2001:db8:1:2::/64", OptIn::In),
            ("2001:db8:1:2::25/128", OptIn::Out),
        ] {
            contents.optin.insert(prefix.parse().unwrap(), optin);
        }
        contents.trust.insert("2001:db8:ff::/48".parse().unwrap(), ());
        contents.domains.insert("contoso.com".parse().unwrap(), Marks::OPTED_IN);
        contents.domains.insert("later.example".parse().unwrap(), Marks::TEMPORARY);
        contents
    }

    #[test]
    fn the_longest_prefix_decides_about_a_destination() {
        for (address, wanted) in [
            ("2001:db8::1", OptInStatus::OptedIn),
            ("2001:db8:1::1", OptInStatus::NotOptedIn),
            ("2001:db8:1:2::1", OptInStatus::OptedIn),
            ("2001:db8:1:2::25", OptInStatus::NotOptedIn),
            ("2001:db9::1", OptInStatus::NotOptedIn),
            ("::", OptInStatus::NotOptedIn),
        ] {
            assert_eq!(contents().destination(address.parse().unwrap()), wanted, "{address}");
        }
    }

    #[test]
    fn an_empty_store_opts_nothing_in() {
        let empty = Contents::default();
        assert_eq!(empty.destination("2001:db8::1".parse().unwrap()), OptInStatus::NotOptedIn);
        assert!(!empty.trusts("2001:db8::1".parse().unwrap()));
        assert!(!empty.takes_domain("contoso.com"));
    }

    #[test]
    fn a_removed_prefix_gives_way_to_the_shorter_one() {
        let mut contents = contents();
        assert_eq!(contents.optin.remove(&"2001:db8:1::/48".parse().unwrap()), Some(OptIn::Out));
        assert_eq!(contents.destination("2001:db8:1::1".parse().unwrap()), OptInStatus::OptedIn);
    }

    #[test]
    fn a_domain_is_taken_exactly_and_in_any_case_of_letters() {
        for (name, wanted) in [
            ("contoso.com", true),
            ("CONTOSO.Com", true),
            ("mail.contoso.com", false),
            ("com", false),
            ("later.example", false),
            ("contoso.com.", false),
            ("", false),
        ] {
            assert_eq!(contents().takes_domain(name), wanted, "{name}");
        }
    }

    #[test]
    fn trust_is_by_prefix() {
        assert!(contents().trusts("2001:db8:ff:1::1".parse().unwrap()));
        assert!(!contents().trusts("2001:db8:fe::1".parse().unwrap()));
    }
}
