//! The recipients' domains whose refusal is temporary, as the refusing dialogue of kernel and
//! daemon looks them up.
//!
//! It knows no name: which numbers a domain has is the store's business.

use std::collections::BTreeSet;

use sixgate_common::domain::domain_key;

/// The domains, each spelling by its number ([`domain_key`]), as the map DOMAINS has them. Another
/// domain may have the number of one of them: its refusal is temporary, too, which does no harm.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct TemporaryDomains(BTreeSet<u64>);

impl TemporaryDomains {
    /// Whether the refusal of a recipient is temporary whose path has these octets for a domain.
    #[must_use]
    pub fn contains(&self, domain: &[u8]) -> bool {
        !self.0.is_empty() && domain_key(domain, 0, domain.len()).is_some_and(|key| self.0.contains(&key))
    }

    /// The keys of the domains, from [`domain_key`].
    #[must_use]
    pub const fn keys(&self) -> &BTreeSet<u64> {
        &self.0
    }
}

impl FromIterator<u64> for TemporaryDomains {
    fn from_iter<I: IntoIterator<Item = u64>>(keys: I) -> Self {
        Self(keys.into_iter().collect())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_domain_is_found_in_any_case_of_letters_and_with_a_final_dot() {
        let name = b"contoso.com";
        let domains: TemporaryDomains = domain_key(&name[..], 0, name.len()).into_iter().collect();
        for (domain, wanted) in [
            (&b"contoso.com"[..], true),
            (b"CONTOSO.Com.", true),
            (b"mail.contoso.com", false),
            (b"contoso.com..", false),
            (b"", false),
        ] {
            assert_eq!(domains.contains(domain), wanted, "{}", domain.escape_ascii());
        }
        assert!(!TemporaryDomains::default().contains(name));
    }
}
