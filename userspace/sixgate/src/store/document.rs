//! The store as JSON, to be exported and imported: versioned, sorted, one entry a line.
//!
//! It owns the text; reading and writing files is not its business.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
    io::{self, Write},
};

use ipnet::Ipv6Net;
use serde::{
    Deserialize, Deserializer, Serialize, Serializer,
    de::{DeserializeSeed, Error, MapAccess, SeqAccess, Visitor},
};
use sixgate_common::dest::OptIn;

use crate::store::{Contents, Domain, Marks, PrefixMap, PrefixSet, parse_listed_domain, parse_prefix};

/// An error in the file, and its line.
#[derive(Debug, thiserror::Error)]
#[error("{line}: {reason}")]
pub struct ListProblem {
    /// Counted from 1.
    pub line: usize,
    /// The reason, as text for the message.
    pub reason: String,
}

/// Reads a whole file.
///
/// # Errors
///
/// [`ListProblem`]: the first error in it.
pub fn parse(octets: &[u8]) -> Result<Contents, ListProblem> {
    let document: StoreDocument = serde_json::from_slice(octets).map_err(|error| {
        let (line, reason) = reason_of(&error);
        // in terms of JSON, not of this program
        let reason = match reason.split_once("expected struct StoreDocument") {
            Some((found, _)) => format!("{found}expected an object as `sixgate store export` prints it"),
            None => reason,
        };
        ListProblem {
            line,
            reason: reason.replace("unknown field", "unknown key").replace("missing field", "missing key"),
        }
    })?;
    Ok(Contents {
        optin: document.optin.0,
        guard: document.guard.0,
        trust: document.trust.0,
        domains: marked(document.domains.0, document.temporary.0),
    })
}

/// The line of an error, counted from 1, and its text without the position.
pub(super) fn reason_of(error: &serde_json::Error) -> (usize, String) {
    if error.is_eof() {
        return (error.line().max(1), "the file ends too early".to_owned());
    }
    let text = error.to_string();
    let position = format!(" at line {} column {}", error.line(), error.column());
    (error.line().max(1), text.strip_suffix(&position).unwrap_or(&text).to_owned())
}

/// The two lists of domains as one.
fn marked(opted_in: BTreeSet<Domain>, temporary: BTreeSet<Domain>) -> BTreeMap<Domain, Marks> {
    let mut domains: BTreeMap<Domain, Marks> =
        opted_in.into_iter().map(|domain| (domain, Marks::OPTED_IN)).collect();
    for domain in temporary {
        let marks = domains.entry(domain).or_default();
        *marks = marks.with(Marks::TEMPORARY);
    }
    domains
}

/// Writes a whole file.
///
/// # Errors
///
/// An error of writing to `out`.
pub fn write(contents: &Contents, mut out: impl Write) -> io::Result<()> {
    let view = View {
        version: VERSION,
        optin: contents.optin.entries(),
        guard: Keys(&contents.guard),
        trust: Keys(&contents.trust),
        domains: contents.domains.iter().filter(|(_, marks)| marks.opted_in).map(|(name, _)| name).collect(),
        temporary: contents
            .domains
            .iter()
            .filter(|(_, marks)| marks.temporary)
            .map(|(name, _)| name)
            .collect(),
    };
    serde_json::to_writer_pretty(&mut out, &view)?;
    out.write_all(b"\n")
}

/// The one version of the form.
const VERSION: u32 = 1;

#[derive(Serialize)]
struct View<'a> {
    version: u32,
    optin: &'a BTreeMap<Ipv6Net, OptIn>,
    guard: Keys<'a>,
    trust: Keys<'a>,
    domains: Vec<&'a Domain>,
    /// Those whose refusals are temporary, opted in or not: left out where there is none, as before
    /// there were any.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    temporary: Vec<&'a Domain>,
}

struct Keys<'a>(&'a PrefixSet);

impl Serialize for Keys<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.entries().keys())
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StoreDocument {
    #[serde(rename = "version")]
    _version: Version,
    optin: OptIns,
    guard: PrefixList,
    trust: PrefixList,
    domains: DomainList,
    #[serde(default)]
    temporary: DomainList,
}

#[derive(Deserialize)]
#[serde(try_from = "u32")]
struct Version;

impl TryFrom<u32> for Version {
    type Error = String;

    fn try_from(version: u32) -> Result<Self, String> {
        if version == VERSION {
            Ok(Self)
        } else {
            Err(format!("version {version} of the store is unknown: this sixgate reads version {VERSION}"))
        }
    }
}

/// Decisions by prefix.
struct OptIns(PrefixMap<OptIn>);

impl<'de> Deserialize<'de> for OptIns {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(OptInVisitor)
    }
}

struct OptInVisitor;

impl<'de> Visitor<'de> for OptInVisitor {
    type Value = OptIns;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object of prefixes with \"in\" or \"out\"")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<OptIns, A::Error> {
        let mut optin = PrefixMap::default();
        while let Some(prefix) = map.next_key_seed(Fresh {
            parse: parse_prefix,
            taken: |prefix: &Ipv6Net| optin.entries().contains_key(prefix),
        })? {
            optin.insert(prefix, map.next_value()?);
        }
        Ok(OptIns(optin))
    }
}

/// A list of prefixes.
struct PrefixList(PrefixSet);

impl<'de> Deserialize<'de> for PrefixList {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let set = deserializer.deserialize_seq(ListVisitor(parse_prefix))?;
        Ok(Self(set.into_iter().map(|prefix| (prefix, ())).collect()))
    }
}

/// A list of domains.
#[derive(Default)]
struct DomainList(BTreeSet<Domain>);

impl<'de> Deserialize<'de> for DomainList {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let set = deserializer.deserialize_seq(ListVisitor(parse_listed_domain))?;
        Ok(Self(set))
    }
}

/// A list in which nothing stands twice.
struct ListVisitor<T, E>(fn(&str) -> Result<T, E>);

impl<'de, T: Ord + fmt::Display, E: fmt::Display> Visitor<'de> for ListVisitor<T, E> {
    type Value = BTreeSet<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<BTreeSet<T>, A::Error> {
        let mut found = BTreeSet::new();
        while let Some(element) =
            list.next_element_seed(Fresh { parse: self.0, taken: |element: &T| found.contains(element) })?
        {
            found.insert(element);
        }
        Ok(found)
    }
}

/// Reads one text that has not been there before: for a prefix that stands twice, it would be
/// undefined which decision holds. It is checked while the text is read, so that the error has its
/// line.
struct Fresh<T, E, F: Fn(&T) -> bool> {
    parse: fn(&str) -> Result<T, E>,
    taken: F,
}

impl<'de, T: fmt::Display, E: fmt::Display, F: Fn(&T) -> bool> DeserializeSeed<'de> for Fresh<T, E, F> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<T: fmt::Display, E: fmt::Display, F: Fn(&T) -> bool> Visitor<'_> for Fresh<T, E, F> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_str<O: Error>(self, text: &str) -> Result<T, O> {
        let element = (self.parse)(text).map_err(O::custom)?;
        if (self.taken)(&element) {
            return Err(O::custom(format_args!("{element} stands twice")));
        }
        Ok(element)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: &str = r#"{
  "version": 1,
  "optin": {
    "2001:db8::/32": "in",
    "2001:db8:1::/48": "out"
  },
  "guard": [
    "2001:db8::/32"
  ],
  "trust": [],
  "domains": [
    "contoso.com"
  ]
}
"#;

    #[test]
    fn a_file_is_written_as_it_was_read_sorted_and_one_entry_a_line() {
        let mut out = Vec::new();
        write(&parse(WHOLE.as_bytes()).unwrap(), &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), WHOLE);
    }

    #[test]
    fn temporary_domains_stand_in_a_list_of_their_own() {
        let text = WHOLE.replace("    \"contoso.com\"\n  ]\n", "    \"both.example\",\n    \"contoso.com\"\n  ],\n  \"temporary\": [\n    \"both.example\",\n    \"later.example\"\n  ]\n");
        let contents = parse(text.as_bytes()).unwrap();
        assert_eq!(contents.marks("both.example"), Marks { opted_in: true, temporary: true });
        assert_eq!(contents.marks("later.example"), Marks::TEMPORARY);
        assert_eq!(contents.marks("contoso.com"), Marks::OPTED_IN);
        let mut out = Vec::new();
        write(&contents, &mut out).unwrap();
        assert_eq!(String::from_utf8(out).unwrap(), text);
    }

    #[test]
    fn what_is_wrong_is_named_with_its_line() {
        for (from, to, line, reason) in [
            (
                "\"version\": 1",
                "\"version\": 2",
                2,
                "version 2 of the store is unknown: this sixgate reads version 1",
            ),
            (
                "\"trust\"",
                "\"trusts\"",
                10,
                "unknown key `trusts`, expected one of `version`, `optin`, `guard`, `trust`, `domains`, `temporary`",
            ),
            ("\"2001:db8:1::/48\": \"out\"", "\"2001:db8::/32\": \"out\"", 5, "2001:db8::/32 stands twice"),
            (
                "\"2001:db8:1::/48\": \"out\"",
                "\"2001:db8:1::/48\": \"no\"",
                5,
                "unknown variant `no`, expected `in` or `out`",
            ),
            (
                "\"2001:db8:1::/48\"",
                "\"192.0.2.0/24\"",
                5,
                "`192.0.2.0/24` is IPv4: sixgate is about IPv6 only",
            ),
            ("\"contoso.com\"", "\"contoso\", \"CONTOSO\"", 12, "contoso stands twice"),
            ("]\n}\n", "]\n", 14, "the file ends too early"),
            ("]\n}\n", "]\n}\n}\n", 15, "trailing characters"),
        ] {
            let text = WHOLE.replacen(from, to, 1);
            let problem = parse(text.as_bytes()).unwrap_err();
            assert_eq!((problem.line, problem.reason.as_str()), (line, reason));
        }
        assert_eq!(parse(b"").unwrap_err().line, 1);
    }
}
