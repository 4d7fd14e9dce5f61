//! Changes of the contents, entry by entry, each with what became of it.
//!
//! Pure: the file and the maps follow in `control`.

use std::{collections::BTreeMap, fmt};

use ipnet::Ipv6Net;

use crate::store::{Contents, Domain, OptIn, PrefixMap, PrefixSet};

/// One entry of the store.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Entry {
    /// A destination and what its owner decided.
    OptIn(Ipv6Net, OptIn),
    /// A destination that is ours.
    Guard(Ipv6Net),
    /// A source that is exempt.
    Trust(Ipv6Net),
    /// A recipients' domain.
    Domain(Domain),
}

/// What names an entry.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Key {
    /// A destination.
    OptIn(Ipv6Net),
    /// A destination that is ours.
    Guard(Ipv6Net),
    /// A source that is exempt.
    Trust(Ipv6Net),
    /// A recipients' domain.
    Domain(Domain),
}

/// What became of an entry.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Outcome {
    /// It is new.
    Added(Entry),
    /// It had another decision.
    Changed(Entry),
    /// It is gone.
    Removed(Entry),
    /// It was there already.
    Unchanged(Entry),
    /// It was to go and was not there.
    Missing(Key),
}

impl fmt::Display for Entry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OptIn(prefix, optin) => write!(f, "{prefix} {}", optin.word()),
            Self::Guard(prefix) | Self::Trust(prefix) => prefix.fmt(f),
            Self::Domain(domain) => domain.fmt(f),
        }
    }
}

impl fmt::Display for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OptIn(prefix) | Self::Guard(prefix) | Self::Trust(prefix) => prefix.fmt(f),
            Self::Domain(domain) => domain.fmt(f),
        }
    }
}

impl fmt::Display for Outcome {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Added(entry) => write!(f, "added {entry}"),
            Self::Changed(entry) => write!(f, "changed {entry}"),
            Self::Removed(entry) => write!(f, "removed {entry}"),
            Self::Unchanged(entry) => write!(f, "unchanged {entry}"),
            Self::Missing(key) => write!(f, "not there: {key}"),
        }
    }
}

impl Contents {
    /// Puts `entry` in.
    pub fn add(&mut self, entry: Entry) -> Outcome {
        let is_new = match &entry {
            Entry::OptIn(prefix, optin) => match self.optin.insert(*prefix, *optin) {
                Some(before) if before != *optin => return Outcome::Changed(entry),
                before => before.is_none(),
            },
            Entry::Guard(prefix) => self.guard.insert(*prefix, ()).is_none(),
            Entry::Trust(prefix) => self.trust.insert(*prefix, ()).is_none(),
            Entry::Domain(domain) => self.domains.insert(domain.clone()),
        };
        if is_new { Outcome::Added(entry) } else { Outcome::Unchanged(entry) }
    }

    /// Takes the entry of `key` out.
    pub fn remove(&mut self, key: Key) -> Outcome {
        let taken = |set: &mut PrefixSet, prefix: &Ipv6Net| set.remove(prefix).is_some();
        let removed = match &key {
            Key::OptIn(prefix) => self.optin.remove(prefix).map(|optin| Entry::OptIn(*prefix, optin)),
            Key::Guard(prefix) => taken(&mut self.guard, prefix).then_some(Entry::Guard(*prefix)),
            Key::Trust(prefix) => taken(&mut self.trust, prefix).then_some(Entry::Trust(*prefix)),
            Key::Domain(domain) => self.domains.take(domain).map(Entry::Domain),
        };
        removed.map_or(Outcome::Missing(key), Outcome::Removed)
    }

    /// Replaces the whole opt-in set by `wanted`; says what was not so before, additions first.
    pub fn replace_optin(&mut self, wanted: PrefixMap<OptIn>) -> Vec<Outcome> {
        let before = std::mem::replace(&mut self.optin, wanted);
        let now: &BTreeMap<Ipv6Net, OptIn> = self.optin.entries();
        let put = now.iter().filter_map(|(prefix, optin)| {
            let entry = Entry::OptIn(*prefix, *optin);
            match before.entries().get(prefix) {
                None => Some(Outcome::Added(entry)),
                Some(before) if before != optin => Some(Outcome::Changed(entry)),
                Some(_) => None,
            }
        });
        let gone = before.entries().iter().filter(|(prefix, _)| !now.contains_key(prefix));
        let gone = gone.map(|(prefix, optin)| Outcome::Removed(Entry::OptIn(*prefix, *optin)));
        put.chain(gone).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn optin(prefix: &str, decision: OptIn) -> Entry {
        Entry::OptIn(prefix.parse().unwrap(), decision)
    }

    fn words(outcomes: impl IntoIterator<Item = Outcome>) -> Vec<String> {
        outcomes.into_iter().map(|outcome| outcome.to_string()).collect()
    }

    #[test]
    fn each_change_says_what_became_of_its_entry() {
        let mut contents = Contents::default();
        let prefix: Ipv6Net = "2001:db8::/32".parse().unwrap();
        let domain: Domain = "contoso.com".parse().unwrap();
        let outcomes = [
            contents.add(Entry::OptIn(prefix, OptIn::In)),
            contents.add(Entry::OptIn(prefix, OptIn::In)),
            contents.add(Entry::OptIn(prefix, OptIn::Out)),
            contents.remove(Key::OptIn(prefix)),
            contents.remove(Key::OptIn(prefix)),
            contents.add(Entry::Guard(prefix)),
            contents.add(Entry::Guard(prefix)),
            contents.remove(Key::Trust(prefix)),
            contents.add(Entry::Domain(domain.clone())),
            contents.remove(Key::Domain(domain)),
        ];
        let wanted = [
            "added 2001:db8::/32 in",
            "unchanged 2001:db8::/32 in",
            "changed 2001:db8::/32 out",
            "removed 2001:db8::/32 out",
            "not there: 2001:db8::/32",
            "added 2001:db8::/32",
            "unchanged 2001:db8::/32",
            "not there: 2001:db8::/32",
            "added contoso.com",
            "removed contoso.com",
        ];
        assert_eq!(words(outcomes), wanted);
    }

    #[test]
    fn a_replaced_set_says_what_differs_only() {
        let mut contents = Contents::default();
        for entry in [
            optin("2001:db8:1::/48", OptIn::In),
            optin("2001:db8:2::/48", OptIn::In),
            optin("2001:db8:3::/48", OptIn::In),
        ] {
            contents.add(entry);
        }
        let wanted =
            [("2001:db8:2::/48", OptIn::In), ("2001:db8:3::/48", OptIn::Out), ("2001:db8:4::/48", OptIn::In)];
        let wanted = wanted.map(|(prefix, optin)| (prefix.parse().unwrap(), optin));
        let outcomes = contents.replace_optin(wanted.into_iter().collect());
        let wanted =
            ["changed 2001:db8:3::/48 out", "added 2001:db8:4::/48 in", "removed 2001:db8:1::/48 in"];
        assert_eq!(words(outcomes), wanted);
        assert_eq!(contents.optin.entries().len(), 3);
    }
}
