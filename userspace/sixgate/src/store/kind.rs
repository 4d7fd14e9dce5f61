//! The four lists of the store, and their names.
//!
//! It owns no entries.

use std::fmt;

/// One of the lists. The numbers are those of the database's tables.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub enum ListKind {
    /// Destinations and what their owners decided.
    OptIn = 1,
    /// Destinations that are ours.
    Guard = 2,
    /// Sources that are exempt.
    Trust = 3,
    /// Recipients' domains and their marks.
    Domain = 4,
}

impl ListKind {
    /// All of them, in the order of their numbers.
    pub const ALL: [Self; 4] = [Self::OptIn, Self::Guard, Self::Trust, Self::Domain];

    /// Its name, as in the commands that change it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::OptIn => "optin",
            Self::Guard => "guard",
            Self::Trust => "trust",
            Self::Domain => "domain",
        }
    }

    /// Its entries, for people.
    #[must_use]
    pub const fn entries(self) -> &'static str {
        match self {
            Self::OptIn => "opt-in prefixes",
            Self::Guard => "guarded prefixes",
            Self::Trust => "trusted prefixes",
            Self::Domain => "domains",
        }
    }

    pub(super) const fn number(self) -> i64 {
        self as i64
    }

    pub(super) fn of(number: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.number() == number)
    }
}

impl fmt::Display for ListKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}
