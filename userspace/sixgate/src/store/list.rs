//! Lists as people write them: one prefix or domain a line.
//!
//! It owns the text only; where it comes from is the caller's business.

use std::collections::BTreeMap;

use ipnet::Ipv6Net;
use sixgate_common::dest::OptIn;

use crate::store::{
    Contents, Domain, DomainError, ListKind, Marks, PrefixError, PrefixMap, PrefixSet, parse_listed_domain,
    parse_prefix,
};

/// A line with an error.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{line}: {reason}")]
pub struct ListError {
    /// Counted from 1.
    pub line: usize,
    /// Why the line is wrong.
    pub reason: ListReason,
}

/// Why a line cannot be used.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ListReason {
    /// It is not UTF-8.
    #[error("not UTF-8")]
    NotText,
    /// Its prefix is none.
    #[error("{0}")]
    Prefix(PrefixError),
    /// Its domain is none.
    #[error("{0}")]
    Domain(DomainError),
    /// Something follows the prefix.
    #[error("after the prefix stands `{}`: write the prefix alone", found.escape_debug())]
    Surplus {
        /// The text that stands there.
        found: String,
    },
    /// Something else than marks follows the domain.
    #[error(
        "after the domain stands `{}`: write `in`, `temporary`, `in temporary`, or nothing, which means `in`",
        found.escape_debug()
    )]
    Marks {
        /// The text that stands there.
        found: String,
    },
    /// Another line has other marks.
    #[error("{domain} stands twice, with other marks")]
    OtherMarks {
        /// The domain that stands twice.
        domain: Domain,
    },
    /// Something else than a decision follows the prefix.
    #[error("after the prefix stands `{}`: write `in`, `out`, or nothing, which means `in`", found.escape_debug())]
    Decision {
        /// The text that stands there.
        found: String,
    },
    /// The first line names no columns, or not the one that has to be there.
    #[error("the first line has to name the columns: {columns}")]
    NoHeader {
        /// The names of the columns.
        columns: String,
    },
    /// A column that the list does not have.
    #[error(
        "unknown column `{}`: the first line names the columns {columns}, separated by commas",
        found.escape_debug()
    )]
    UnknownColumn {
        /// The name that stands there.
        found: String,
        /// The names of the columns.
        columns: String,
    },
    /// More or fewer cells than columns.
    #[error(
        "{found} cell{}, but the first line names {wanted} column{}",
        if *found == 1 { "" } else { "s" }, if *wanted == 1 { "" } else { "s" }
    )]
    Cells {
        /// How many cells there are.
        found: usize,
        /// How many columns there are.
        wanted: usize,
    },
    /// A cell that is too long to be a value of any column.
    #[error("a cell of several lines, or of more than {most} octets: is a quotation mark missing?")]
    LongCell {
        /// Longest cell, in octets.
        most: usize,
    },
    /// A value that has to be there is missing.
    #[error("`{column}` has no value")]
    NoValue {
        /// The name of the column.
        column: &'static str,
    },
    /// A value that the column does not have.
    #[error("`{}` in the column `{column}`: write {wanted}", found.escape_debug())]
    Value {
        /// The value that stands there.
        found: String,
        /// The name of the column.
        column: &'static str,
        /// The values that it has.
        wanted: &'static str,
    },
    /// A domain with neither mark.
    #[error("neither `opted_in` nor `temporary` is true: leave the line out")]
    NoMark,
    /// An entry or a column for the second time.
    #[error("{entry} stands twice")]
    Twice {
        /// The entry or column.
        entry: String,
    },
    /// It is not CSV.
    #[error("{reason}")]
    Csv {
        /// The reason, as text for the message.
        reason: String,
    },
    /// It is not such a JSON document.
    #[error("{reason}")]
    Json {
        /// The reason, as text for the message.
        reason: String,
    },
    /// Another line has the other decision.
    #[error("{prefix} stands twice, once in and once out")]
    Contradiction {
        /// The prefix that stands twice.
        prefix: Ipv6Net,
    },
}

/// Reads lines as `sixgate LIST list` prints them. Addresses that stand for domains stay where they
/// are `listed`.
///
/// # Errors
///
/// The first bad line.
pub(super) fn parse_text(
    kind: ListKind,
    octets: &[u8],
    listed: &BTreeMap<Domain, Marks>,
) -> Result<Contents, ListError> {
    let mut contents = Contents::default();
    match kind {
        ListKind::OptIn => contents.optin = parse_list(octets)?,
        ListKind::Guard => contents.guard = parse_guard(octets)?,
        ListKind::Trust => contents.trust = parse_members(octets)?,
        ListKind::Domain => contents.domains = parse_domains(octets, listed)?,
    }
    Ok(contents)
}

/// Reads lines of `PREFIX [in|out]`, as `sixgate optin list` prints them. Empty lines and what
/// follows a `#` are left out.
///
/// # Errors
///
/// The first bad line.
fn parse_list(octets: &[u8]) -> Result<PrefixMap<OptIn>, ListError> {
    let mut list = PrefixMap::default();
    for_each_line(octets, |prefix, decision| {
        let prefix = parse_prefix(prefix).map_err(ListReason::Prefix)?;
        let optin = match decision {
            "" | "in" => OptIn::In,
            "out" => OptIn::Out,
            other => return Err(ListReason::Decision { found: other.to_owned() }),
        };
        match list.insert(prefix, optin) {
            Some(before) if before != optin => Err(ListReason::Contradiction { prefix }),
            _ => Ok(()),
        }
    })?;
    Ok(list)
}

/// Reads lines of `PREFIX`, as `sixgate trust list` prints them.
///
/// # Errors
///
/// The first bad line.
fn parse_members(octets: &[u8]) -> Result<PrefixSet, ListError> {
    let mut list = PrefixSet::default();
    for_each_line(octets, |prefix, rest| {
        if !rest.is_empty() {
            return Err(ListReason::Surplus { found: rest.to_owned() });
        }
        list.insert(parse_prefix(prefix).map_err(ListReason::Prefix)?, ());
        Ok(())
    })?;
    Ok(list)
}

/// Reads lines of `PREFIX`, as `sixgate guard list` prints them: of those of interfaces the store
/// knows nothing.
///
/// # Errors
///
/// The first bad line.
fn parse_guard(octets: &[u8]) -> Result<PrefixSet, ListError> {
    let mut list = PrefixSet::default();
    for_each_line(octets, |prefix, origin| {
        let prefix = parse_prefix(prefix).map_err(ListReason::Prefix)?;
        match origin {
            "" | "store" => {
                list.insert(prefix, ());
            }
            "interface" => {}
            other => return Err(ListReason::Surplus { found: other.to_owned() }),
        }
        Ok(())
    })?;
    Ok(list)
}

/// Reads lines of `DOMAIN [in] [temporary]`, as `sixgate domain list` prints them. Earlier versions
/// took addresses for domains, too: those stay that are `listed`.
///
/// # Errors
///
/// The first bad line.
fn parse_domains(
    octets: &[u8],
    listed: &BTreeMap<Domain, Marks>,
) -> Result<BTreeMap<Domain, Marks>, ListError> {
    let mut list = BTreeMap::new();
    for_each_line(octets, |domain, marks| {
        let domain = listed_domain(domain, listed)?;
        let marks = match marks.split_whitespace().collect::<Vec<_>>()[..] {
            [] | ["in"] => Marks::OPTED_IN,
            ["temporary"] => Marks::TEMPORARY,
            ["in", "temporary"] => Marks::OPTED_IN.with(Marks::TEMPORARY),
            _ => return Err(ListReason::Marks { found: marks.to_owned() }),
        };
        match list.insert(domain.clone(), marks) {
            Some(before) if before != marks => Err(ListReason::OtherMarks { domain }),
            _ => Ok(()),
        }
    })?;
    Ok(list)
}

/// Reads a domain; an address that an earlier version took for one stays where it is `listed`.
pub(super) fn listed_domain(text: &str, listed: &BTreeMap<Domain, Marks>) -> Result<Domain, ListReason> {
    match (text.parse::<Domain>(), parse_listed_domain(text)) {
        (Err(_), Ok(domain)) if listed.contains_key(&domain) => Ok(domain),
        (parsed, _) => parsed.map_err(ListReason::Domain),
    }
}

/// Calls `each` with the first term of each line that has one, and with the rest.
fn for_each_line(
    octets: &[u8],
    mut each: impl FnMut(&str, &str) -> Result<(), ListReason>,
) -> Result<(), ListError> {
    for (at, line) in octets.split(|octet| *octet == b'\n').enumerate() {
        let fail = |reason| ListError { line: at + 1, reason };
        let line = str::from_utf8(line).map_err(|_| fail(ListReason::NotText))?;
        let text = line.split_once('#').map_or(line, |(text, _)| text).trim();
        if !text.is_empty() {
            let (entry, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
            each(entry, rest.trim()).map_err(fail)?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_prefixes_with_comments_and_exclusions() {
        let text = b"# all\n2001:db8::/32\r\n\n  2001:db8:1::/48\tout # but these\n2001:db8::/32 in\n::1";
        let list = parse_list(text).unwrap();
        let found: Vec<String> =
            list.entries().iter().map(|(prefix, optin)| format!("{prefix} {}", optin.name())).collect();
        assert_eq!(found, ["::1/128 in", "2001:db8::/32 in", "2001:db8:1::/48 out"]);
    }

    #[test]
    fn a_bad_line_is_named() {
        for (text, wanted) in [
            (&b"::1\nx"[..], "2: `x` is not an IPv6 prefix such as 2001:db8::/32"),
            (b"::1 yes", "1: after the prefix stands `yes`: write `in`, `out`, or nothing, which means `in`"),
            (b"\n::1\n::1 out", "3: ::1/128 stands twice, once in and once out"),
            (b"\n\n\xff", "3: not UTF-8"),
        ] {
            assert_eq!(parse_list(text).unwrap_err().to_string(), wanted);
        }
    }

    #[test]
    fn a_list_of_members_or_domains_is_read_or_its_bad_line_is_named() {
        let members = parse_members(b"2001:db8::/32 # all\n::1").unwrap();
        assert_eq!(members.entries().len(), 2);
        let guard = parse_guard(b"2001:db8::/32 store\n::1 interface\n::2").unwrap();
        assert_eq!(guard.entries().len(), 2);
        let error = parse_members(b"::1\n::2 out").unwrap_err().to_string();
        assert_eq!(error, "2: after the prefix stands `out`: write the prefix alone");
        let parse_domains = |text| parse_domains(text, &BTreeMap::new());
        let domains = parse_domains(b"A.example.\nb.example temporary\nc.example in temporary").unwrap();
        let found: Vec<String> =
            domains.iter().map(|(domain, marks)| format!("{domain}{}", marks.list_suffix())).collect();
        assert_eq!(found, ["a.example", "b.example temporary", "c.example in temporary"]);
        for (text, wanted) in [
            (
                &b"a.example out"[..],
                "1: after the domain stands `out`: write `in`, `temporary`, `in temporary`, or nothing, which means `in`",
            ),
            (b"a.example\nA.example temporary", "2: a.example stands twice, with other marks"),
            (b"a..b", "1: `a..b` is not a domain name"),
        ] {
            assert_eq!(parse_domains(text).unwrap_err().to_string(), wanted);
        }
    }
}
