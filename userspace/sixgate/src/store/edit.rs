//! Entries of the store, what names them, and what became of one.
//!
//! Pure: `database` keeps them, and the maps follow in `control`.

use std::fmt;

use ipnet::Ipv6Net;
use sixgate_common::dest::OptIn;

use crate::store::{Contents, Domain, Marks, PrefixSet};

/// One entry of the store.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum StoreEntry {
    /// A destination and what its owner decided.
    OptIn(Ipv6Net, OptIn),
    /// A destination that is ours.
    Guard(Ipv6Net),
    /// A source that is exempt.
    Trust(Ipv6Net),
    /// A recipients' domain and its marks.
    Domain(Domain, Marks),
}

/// The key of an entry: an entry without its decision or marks.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum EntryKey {
    /// A destination of the opt-in set.
    OptIn(Ipv6Net),
    /// A destination that is ours.
    Guard(Ipv6Net),
    /// A source that is exempt.
    Trust(Ipv6Net),
    /// A recipients' domain.
    Domain(Domain),
}

/// The outcome for one entry.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum EditOutcome {
    /// It is new.
    Added(StoreEntry),
    /// It had another decision.
    Changed(StoreEntry),
    /// It is gone.
    Removed(StoreEntry),
    /// It was there already.
    Unchanged(StoreEntry),
    /// It was to go and was not there.
    Missing(EntryKey),
}

/// A change of one entry: that of a removed one, or as it is now.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum EntryChange {
    /// It is so now.
    Put(StoreEntry),
    /// It is gone.
    Gone(EntryKey),
}

impl StoreEntry {
    /// The key of this entry.
    #[must_use]
    pub fn key(&self) -> EntryKey {
        match self {
            Self::OptIn(prefix, _) => EntryKey::OptIn(*prefix),
            Self::Guard(prefix) => EntryKey::Guard(*prefix),
            Self::Trust(prefix) => EntryKey::Trust(*prefix),
            Self::Domain(domain, _) => EntryKey::Domain(domain.clone()),
        }
    }
}

impl StoreEntry {
    /// Its decision or marks; `listed` for an entry that has neither.
    #[must_use]
    pub const fn state(&self) -> &'static str {
        match self {
            Self::OptIn(_, OptIn::In) => "in",
            Self::OptIn(_, OptIn::Out) => "out",
            Self::Guard(_) | Self::Trust(_) => "listed",
            Self::Domain(_, marks) => marks.text(),
        }
    }
}

impl fmt::Display for StoreEntry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OptIn(prefix, optin) => write!(f, "{prefix} {}", optin.name()),
            Self::Guard(prefix) | Self::Trust(prefix) => prefix.fmt(f),
            Self::Domain(domain, marks) => write!(f, "{domain}{}", marks.list_suffix()),
        }
    }
}

impl fmt::Display for EntryKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::OptIn(prefix) | Self::Guard(prefix) | Self::Trust(prefix) => prefix.fmt(f),
            Self::Domain(domain) => domain.fmt(f),
        }
    }
}

impl fmt::Display for EditOutcome {
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

impl EditOutcome {
    /// The same, of a change that was only tried.
    #[must_use]
    pub fn planned(&self) -> impl fmt::Display {
        struct Planned<'a>(&'a EditOutcome);
        impl fmt::Display for Planned<'_> {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                match self.0 {
                    EditOutcome::Added(entry) => write!(f, "would add {entry}"),
                    EditOutcome::Changed(entry) => write!(f, "would change {entry}"),
                    EditOutcome::Removed(entry) => write!(f, "would remove {entry}"),
                    other => other.fmt(f),
                }
            }
        }
        Planned(self)
    }
}

impl Contents {
    /// Makes the change in memory; costs in proportion to it.
    pub fn apply(&mut self, change: EntryChange) {
        let take = |set: &mut PrefixSet, prefix: Ipv6Net| {
            set.remove(&prefix);
        };
        match change {
            EntryChange::Put(StoreEntry::OptIn(prefix, optin)) => {
                self.optin.insert(prefix, optin);
            }
            EntryChange::Put(StoreEntry::Guard(prefix)) => {
                self.guard.insert(prefix, ());
            }
            EntryChange::Put(StoreEntry::Trust(prefix)) => {
                self.trust.insert(prefix, ());
            }
            EntryChange::Put(StoreEntry::Domain(domain, marks)) => {
                self.domains.insert(domain, marks);
            }
            EntryChange::Gone(EntryKey::OptIn(prefix)) => {
                self.optin.remove(&prefix);
            }
            EntryChange::Gone(EntryKey::Guard(prefix)) => take(&mut self.guard, prefix),
            EntryChange::Gone(EntryKey::Trust(prefix)) => take(&mut self.trust, prefix),
            EntryChange::Gone(EntryKey::Domain(domain)) => {
                self.domains.remove(&domain);
            }
        }
    }
}
