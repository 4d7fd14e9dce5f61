//! Opt-in lists as people write them: one prefix a line.
//!
//! It owns the text only; where it comes from is the caller's business.

use ipnet::Ipv6Net;

use crate::store::{OptIn, PrefixError, PrefixMap, parse_prefix};

/// What is wrong with a line.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{line}: {reason}")]
pub struct ListError {
    /// Counted from 1.
    pub line: usize,
    /// Why.
    pub reason: ListReason,
}

/// Why a line is no good.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
pub enum ListReason {
    /// It is not UTF-8.
    #[error("not UTF-8")]
    NotText,
    /// Its prefix is none.
    #[error("{0}")]
    Prefix(PrefixError),
    /// Something else than a decision follows the prefix.
    #[error("after the prefix stands `{}`: write `in`, `out`, or nothing, which means `in`", found.escape_debug())]
    Decision {
        /// What stands there.
        found: String,
    },
    /// Another line says otherwise.
    #[error("{prefix} stands twice, once in and once out")]
    Contradiction {
        /// The prefix.
        prefix: Ipv6Net,
    },
}

/// Reads lines of `PREFIX [in|out]`, as `sixgate optin list` prints them. Empty lines and what follows a
/// `#` are left out.
pub fn parse_list(octets: &[u8]) -> Result<PrefixMap<OptIn>, ListError> {
    let mut list = PrefixMap::default();
    for (at, line) in octets.split(|octet| *octet == b'\n').enumerate() {
        let fail = |reason| ListError { line: at + 1, reason };
        let Some((prefix, optin)) = parse_line(line).map_err(fail)? else {
            continue;
        };
        if list.insert(prefix, optin).is_some_and(|before| before != optin) {
            return Err(fail(ListReason::Contradiction { prefix }));
        }
    }
    Ok(list)
}

fn parse_line(line: &[u8]) -> Result<Option<(Ipv6Net, OptIn)>, ListReason> {
    let line = str::from_utf8(line).map_err(|_| ListReason::NotText)?;
    let text = line.split_once('#').map_or(line, |(text, _)| text).trim();
    if text.is_empty() {
        return Ok(None);
    }
    let (prefix, decision) = text.split_once(char::is_whitespace).unwrap_or((text, "in"));
    let prefix = parse_prefix(prefix).map_err(ListReason::Prefix)?;
    let optin = match decision.trim() {
        "in" => OptIn::In,
        "out" => OptIn::Out,
        other => return Err(ListReason::Decision { found: other.to_owned() }),
    };
    Ok(Some((prefix, optin)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_list_is_prefixes_with_comments_and_exclusions() {
        let text = b"# all\n2001:db8::/32\r\n\n  2001:db8:1::/48\tout # but these\n2001:db8::/32 in\n::1";
        let list = parse_list(text).unwrap();
        let found: Vec<String> =
            list.entries().iter().map(|(prefix, optin)| format!("{prefix} {}", optin.word())).collect();
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
}
