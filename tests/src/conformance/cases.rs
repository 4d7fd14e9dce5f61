//! The YAML of the openspf test suites: scenarios, each with cases and the zone that they need.
//!
//! It only reads. Evaluation of the records is not its business.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail};
use hickory_server::proto::rr::{
    Name, RData, RecordType,
    rdata::{A, AAAA, CNAME, MX, PTR, TXT},
};
use serde::Deserialize;

use crate::dns::Zone;

/// A document of such a file.
#[derive(Debug, Deserialize)]
pub(super) struct Scenario {
    /// What it is about.
    #[serde(default)]
    pub(super) description: String,
    /// The cases by name.
    pub(super) tests: BTreeMap<String, Case>,
    #[serde(default)]
    zonedata: BTreeMap<String, Vec<Entry>>,
}

/// One evaluation and what it has to come to.
#[derive(Clone, Debug, Deserialize)]
pub(super) struct Case {
    /// The argument of HELO; suites leave it out where it does not matter.
    #[serde(default)]
    pub(super) helo: String,
    /// The client's address.
    pub(super) host: String,
    /// Empty for the null reverse-path.
    pub(super) mailfrom: String,
    result: OneOrMore,
    explanation: Option<String>,
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    One(String),
    More(Vec<String>),
}

/// A record, or what the server does for all types that have none.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Entry {
    Word(String),
    Record(BTreeMap<String, Data>),
}

#[derive(Debug, Deserialize)]
#[serde(untagged)]
enum Data {
    /// Of a fault: whether the name has it.
    Set(bool),
    Text(String),
    Server(u16, String),
    Strings(Vec<String>),
}

/// The scenarios of a file.
pub(super) fn read(text: &str) -> Result<Vec<Scenario>> {
    let mut scenarios: Vec<Scenario> =
        serde_saphyr::from_multiple(text).context("not a file of SPF scenarios")?;
    for (scenario, number) in scenarios.iter_mut().zip(1..).filter(|(it, _)| it.description.is_empty()) {
        scenario.description = format!("document {number}");
    }
    Ok(scenarios)
}

impl Case {
    /// The results that are right.
    pub(super) fn results(&self) -> &[String] {
        match &self.result {
            OneOrMore::One(result) => std::slice::from_ref(result),
            OneOrMore::More(results) => results,
        }
    }

    /// The explanation that is right: none if it does not matter, none inside if there has to be
    /// none.
    pub(super) fn explanation(&self) -> Option<Option<&str>> {
        self.explanation.as_deref().map(|text| (text != DEFAULT).then_some(text))
    }
}

impl Scenario {
    /// The zone of this scenario's DNS server.
    pub(super) fn zone(&self) -> Result<Zone> {
        let mut zone = Zone::default();
        for (owner, entries) in &self.zonedata {
            add(&mut zone, owner, entries).with_context(|| format!("bad data of {owner:?}"))?;
        }
        Ok(zone)
    }

    /// The texts that a name has, for people.
    pub(super) fn texts(&self, owner: &str) -> Vec<String> {
        let of_name = self.zonedata.iter().filter(|(name, _)| name.eq_ignore_ascii_case(owner));
        of_name.flat_map(|(_, entries)| entries).map(|entry| format!("{entry:?}")).collect()
    }
}

fn add(zone: &mut Zone, owner: &str, entries: &[Entry]) -> Result<()> {
    let name = absolute(owner)?;
    let has_text = entries.iter().any(|entry| entry.kind() == Some("TXT"));
    let mut present = Vec::new();
    let mut silent = false;
    for entry in entries {
        match entry {
            Entry::Word(word) if word == SILENT => silent = true,
            Entry::Word(word) => bail!("unknown entry: {word}"),
            Entry::Record(record) => {
                for (kind, data) in record {
                    if let Data::Set(set) = data {
                        silent |= *set && add_fault(zone, &name, kind)?;
                        continue;
                    }
                    // the suites write SPF for TXT, but where a name has both
                    let kind = if kind == "SPF" && !has_text { "TXT" } else { kind };
                    present.extend(add_record(zone, &name, kind, data)?);
                }
            }
        }
    }
    if silent {
        let absent = ASKED_FOR.iter().filter(|kind| !present.contains(*kind));
        absent.for_each(|kind| zone.silence(&name, *kind));
    }
    Ok(())
}

/// A fault that a name has as a whole, as the Go package spf writes it; true if it is silence,
/// which concerns only the types that have no record.
fn add_fault(zone: &mut Zone, owner: &Name, fault: &str) -> Result<bool> {
    match fault {
        SILENT => return Ok(true),
        FAILURE => zone.fail(owner),
        CNAME_LOOP => zone.insert(owner.clone(), RData::CNAME(CNAME(owner.clone()))),
        fault => bail!("unknown fault: {fault}"),
    }
    Ok(false)
}

/// Adds the record, and returns its type; `None` for a record that does not exist.
fn add_record(zone: &mut Zone, owner: &Name, kind: &str, data: &Data) -> Result<Option<RecordType>> {
    let kind: RecordType = if kind == "SPF" { OLD_SPF } else { kind.parse()? };
    let data = match (kind, data) {
        (_, Data::Text(word)) if word == SILENT => {
            zone.silence(owner, kind);
            return Ok(Some(kind));
        }
        (RecordType::TXT, Data::Text(word)) if word == ABSENT => return Ok(None),
        (RecordType::TXT, Data::Text(text)) => text_of(&[text]),
        (RecordType::TXT, Data::Strings(strings)) => text_of(&strings.iter().collect::<Vec<_>>()),
        (RecordType::A, Data::Text(address)) => RData::A(A(address.parse()?)),
        (RecordType::AAAA, Data::Text(address)) => RData::AAAA(AAAA(address.parse()?)),
        (RecordType::PTR, Data::Text(name)) => RData::PTR(PTR(absolute(name)?)),
        (RecordType::CNAME, Data::Text(name)) => RData::CNAME(CNAME(absolute(name)?)),
        (RecordType::MX, Data::Server(preference, name)) => RData::MX(MX::new(*preference, absolute(name)?)),
        // clients do not ask for it any more (RFC 7208 3.1)
        (OLD_SPF, _) => return Ok(None),
        (kind, data) => bail!("no {kind} record: {data:?}"),
    };
    zone.insert(owner.clone(), data);
    Ok(Some(kind))
}

/// A TXT record. An empty list of strings in a suite goes over the wire as one empty string, since
/// a TXT record has one string or more (RFC 1035 3.3.14).
fn text_of(strings: &[&String]) -> RData {
    let octets: Vec<Vec<u8>> = strings.iter().map(|text| octets(text)).collect();
    let mut pieces: Vec<&[u8]> = octets.iter().flat_map(|octets| octets.chunks(LONGEST_STRING)).collect();
    if pieces.is_empty() {
        pieces.push(b"");
    }
    RData::TXT(TXT::from_bytes(pieces))
}

/// The suites write an octet that is not ASCII as the character with its number.
fn octets(text: &str) -> Vec<u8> {
    let octet = |letter: char| match u8::try_from(letter) {
        Ok(octet) => vec![octet],
        Err(_) => letter.to_string().into_bytes(),
    };
    text.chars().flat_map(octet).collect()
}

fn absolute(name: &str) -> Result<Name> {
    let name = name.strip_suffix('.').unwrap_or(name);
    let labels = name.split('.').filter(|_| !name.is_empty()).map(str::as_bytes);
    Name::from_labels(labels).with_context(|| format!("no name: {name:?}"))
}

impl Entry {
    fn kind(&self) -> Option<&str> {
        match self {
            Self::Word(_) => None,
            Self::Record(record) => record.keys().next().map(String::as_str),
        }
    }
}

const SILENT: &str = "TIMEOUT";
const FAILURE: &str = "SERVFAIL";
const CNAME_LOOP: &str = "CNAMELOOP";
const ABSENT: &str = "NONE";
const DEFAULT: &str = "DEFAULT";
/// Octets of one string of a TXT record (RFC 1035 3.3).
const LONGEST_STRING: usize = 255;
const OLD_SPF: RecordType = RecordType::Unknown(99);
const ASKED_FOR: &[RecordType] =
    &[RecordType::A, RecordType::AAAA, RecordType::MX, RecordType::PTR, RecordType::TXT];
