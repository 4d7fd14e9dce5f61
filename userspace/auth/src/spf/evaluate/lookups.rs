//! What an evaluation asks DNS about, for one client.
//!
//! It counts nothing: which answers may be missing how often is the evaluation's business.

use std::net::IpAddr;

use tracing::debug;

use crate::{
    dns::{DnsFailure, Resolver},
    spf::{limits::MAX_NAMES, macros::UNKNOWN, name::DomainName},
};

/// The resolver, the client, and what was found out about its names.
pub(super) struct Lookups<'a> {
    dns: &'a Resolver,
    client: IpAddr,
    /// The client's PTR records, once they were asked for.
    reverse: Option<Reverse>,
}

struct Reverse {
    /// None when DNS fails (RFC 7208 5.5), too.
    names: Vec<ValidatedName>,
    /// Whether there is no PTR record. A failure is not void (RFC 7208 4.6.4).
    void: bool,
}

struct ValidatedName {
    name: DomainName,
    /// Whether it leads back to the client, once that was asked.
    validated: Option<bool>,
}

impl<'a> Lookups<'a> {
    pub(super) fn new(dns: &'a Resolver, client: IpAddr) -> Self {
        Self { dns, client, reverse: None }
    }

    pub(super) async fn texts(&self, name: &DomainName) -> Result<Vec<Vec<u8>>, DnsFailure> {
        Ok(self.dns.txt(name.as_str()).await?.records)
    }

    /// The mail servers of a name; the root, which means that there is none, is the empty text.
    pub(super) async fn servers(&self, name: &DomainName) -> Result<Vec<String>, DnsFailure> {
        Ok(self.dns.mx(name.as_str()).await?.records)
    }

    /// Whether a name has an IPv4 address.
    pub(super) async fn exists(&self, name: &DomainName) -> Result<bool, DnsFailure> {
        Ok(!self.dns.a(name.as_str()).await?.records.is_empty())
    }

    /// The addresses of a name that a client of this family can have.
    pub(super) async fn addresses(&self, name: &DomainName) -> Result<Vec<IpAddr>, DnsFailure> {
        Ok(self.dns.addresses(name.as_str(), self.client).await?.records)
    }

    /// Whether a name has addresses of the family that is not the client's.
    pub(super) async fn has_other_family(&self, name: &DomainName) -> Result<bool, DnsFailure> {
        Ok(match self.client {
            IpAddr::V4(_) => !self.dns.aaaa(name.as_str()).await?.records.is_empty(),
            IpAddr::V6(_) => !self.dns.a(name.as_str()).await?.records.is_empty(),
        })
    }

    /// Whether DNS has no name for the client.
    pub(super) async fn client_is_nameless(&mut self) -> bool {
        reverse(&mut self.reverse, self.dns, self.client).await.void
    }

    /// The value of `%{p}` (RFC 7208 7.3): a validated name of the client, the domain itself or one
    /// below it rather than another.
    pub(super) async fn validated_name(&mut self, domain: &DomainName) -> String {
        let name = match self.first_validated(|name| name == domain).await {
            Some(name) => Some(name),
            None => match self.first_validated(|name| name.is_within(domain)).await {
                Some(name) => Some(name),
                None => self.first_validated(|_| true).await,
            },
        };
        name.map_or_else(|| UNKNOWN.to_owned(), |name| name.to_string())
    }

    /// The first of the client's names that is `wanted` and leads back to the client.
    pub(super) async fn first_validated(
        &mut self,
        wanted: impl Fn(&DomainName) -> bool,
    ) -> Option<DomainName> {
        let Self { dns, client, reverse: known } = self;
        for candidate in &mut reverse(known, dns, *client).await.names {
            if !wanted(&candidate.name) {
                continue;
            }
            let validated = match candidate.validated {
                Some(validated) => validated,
                None => leads_back(dns, *client, &candidate.name).await,
            };
            candidate.validated = Some(validated);
            if validated {
                return Some(candidate.name.clone());
            }
        }
        None
    }
}

/// Asked for once.
async fn reverse<'n>(known: &'n mut Option<Reverse>, dns: &Resolver, client: IpAddr) -> &'n mut Reverse {
    let found = match known.take() {
        Some(reverse) => reverse,
        None => match dns.ptr(client).await {
            Ok(answer) => {
                let names = answer.records.iter().take(MAX_NAMES).filter_map(|name| DomainName::new(name));
                let names = names.map(|name| ValidatedName { name, validated: None }).collect();
                Reverse { names, void: answer.records.is_empty() }
            }
            Err(failure) => {
                debug!(failure = failure.to_string(), "SPF takes the client for nameless");
                Reverse { names: Vec::new(), void: false }
            }
        },
    };
    known.insert(found)
}

/// Whether a name has the client's address; one without an answer does not count (RFC 7208 5.5).
async fn leads_back(dns: &Resolver, client: IpAddr, name: &DomainName) -> bool {
    dns.addresses(name.as_str(), client).await.is_ok_and(|found| found.records.contains(&client))
}
