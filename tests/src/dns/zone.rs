//! The data of the server of [`super`]: its notation, read, and the answer to a question.
//!
//! It opens no socket.

use std::{collections::BTreeMap, net::Ipv6Addr};

use hickory_server::proto::{
    op::ResponseCode,
    rr::{
        LowerName, Name, RData, Record, RecordType,
        rdata::{PTR, SOA},
    },
    serialize::txt::{ParseError, Parser},
};
use thiserror::Error;

const DEFAULT_TTL: u32 = 300;
/// CNAMEs that one answer follows.
const MAX_CHAIN: usize = 16;

/// The records and faults that a server answers from.
#[derive(Clone, Debug, Default)]
pub struct Zone {
    nodes: BTreeMap<LowerName, Node>,
}

#[derive(Clone, Debug, Default)]
struct Node {
    records: Vec<Record>,
    faults: Vec<(Option<RecordType>, Fault)>,
}

#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Fault {
    Code(ResponseCode),
    Slow,
    Timeout,
    Truncate,
    Validated,
}

/// A line that is neither a record nor a fault.
#[derive(Debug, Error)]
#[error("line {line} of the zone: {reason}")]
pub struct ZoneError {
    /// Counted from 1.
    pub line: usize,
    /// The fault of the line.
    pub reason: String,
}

impl Zone {
    /// Reads the notation of [`super`].
    ///
    /// # Errors
    /// [`ZoneError`] with the number of the first bad line.
    pub fn parse(text: &str) -> Result<Self, ZoneError> {
        let mut zone = Self::default();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if !line.is_empty() && !line.starts_with(';') {
                zone.add(line).map_err(|reason| ZoneError { line: index + 1, reason })?;
            }
        }
        Ok(zone)
    }

    /// Adds a record; its name may have any octets.
    pub fn insert(&mut self, owner: Name, data: RData) {
        let record = Record::from_rdata(owner, DEFAULT_TTL, data);
        self.nodes.entry(LowerName::from(&record.name)).or_default().records.push(record);
    }

    /// Never answers a question for this name and type.
    pub fn silence(&mut self, owner: &Name, kind: RecordType) {
        self.nodes.entry(LowerName::from(owner)).or_default().faults.push((Some(kind), Fault::Timeout));
    }

    /// Answers SERVFAIL to every question for this name.
    pub fn fail(&mut self, owner: &Name) {
        let fault = Fault::Code(ResponseCode::ServFail);
        self.nodes.entry(LowerName::from(owner)).or_default().faults.push((None, fault));
    }

    /// Whether a question is left without an answer, so that it costs a whole time-out.
    #[must_use]
    pub fn has_silence(&self) -> bool {
        let mut faults = self.nodes.values().flat_map(|node| &node.faults);
        faults.any(|(_, fault)| *fault == Fault::Timeout)
    }

    fn add(&mut self, line: &str) -> Result<(), String> {
        let (owner, rest) = line.split_once(char::is_whitespace).ok_or("it ends after the name")?;
        let owner = match owner.parse::<Ipv6Addr>() {
            Ok(address) => Name::from(address).to_ascii(),
            Err(_) => owner.to_owned(),
        };
        if let Some(fault) = rest.trim_start().strip_prefix("FAULT ") {
            return self.add_fault(&owner, fault);
        }
        let records = match strange_pointer(&owner, rest) {
            Some(record) => vec![record?],
            None => parse_record(&owner, rest).map_err(|error| error.to_string())?,
        };
        for record in records {
            self.nodes.entry(LowerName::from(&record.name)).or_default().records.push(record);
        }
        Ok(())
    }

    fn add_fault(&mut self, owner: &str, text: &str) -> Result<(), String> {
        let mut words = text.split_whitespace();
        let fault = match words.next() {
            Some("servfail") => Fault::Code(ResponseCode::ServFail),
            Some("refused") => Fault::Code(ResponseCode::Refused),
            Some("formerr") => Fault::Code(ResponseCode::FormErr),
            Some("notimp") => Fault::Code(ResponseCode::NotImp),
            Some("slow") => Fault::Slow,
            Some("timeout") => Fault::Timeout,
            Some("truncate") => Fault::Truncate,
            Some("validated") => Fault::Validated,
            other => return Err(format!("no such fault: {other:?}")),
        };
        let kind = words.next().map(str::parse).transpose().map_err(|_| "no such record type")?;
        let mut owner = Name::from_ascii(owner).map_err(|error| error.to_string())?;
        owner.set_fqdn(true);
        self.nodes.entry(LowerName::from(owner)).or_default().faults.push((kind, fault));
        Ok(())
    }

    /// The answer of a resolver.
    pub(super) fn answer(&self, name: &LowerName, kind: RecordType) -> Reply {
        let mut reply = Reply::default();
        let mut name = name.clone();
        while reply.answers.len() < MAX_CHAIN {
            let node = self.nodes.get(&name);
            if let Some(fault) = node.and_then(|node| node.fault(kind)) {
                reply.fault = Some(fault);
                if !matches!(fault, Fault::Slow | Fault::Truncate | Fault::Validated) {
                    return reply;
                }
            }
            let Some(node) = node else {
                return self.negative(reply, &name);
            };
            let wanted = node.of_type(kind);
            if !wanted.is_empty() {
                reply.answers.extend(wanted);
                return reply;
            }
            let Some((alias, target)) = node.alias() else {
                return self.negative(reply, &name);
            };
            reply.answers.push(alias);
            name = target;
        }
        reply.fault = Some(Fault::Code(ResponseCode::ServFail));
        reply
    }

    /// NXDOMAIN, or NODATA if there is something at or below the name (RFC 8020), with the closest
    /// SOA.
    fn negative(&self, mut reply: Reply, name: &LowerName) -> Reply {
        if !self.nodes.keys().any(|other| name.zone_of(other)) {
            reply.code = ResponseCode::NXDomain;
        }
        let closest = |soa: &&Record| soa.name.num_labels();
        let soas = self.nodes.iter().filter(|(apex, _)| apex.zone_of(name));
        let soa = soas.flat_map(|(_, node)| &node.records).filter(|record| record.record_type().is_soa());
        reply.authority.push(soa.max_by_key(closest).cloned().unwrap_or_else(default_soa));
        reply
    }
}

impl Node {
    fn fault(&self, kind: RecordType) -> Option<Fault> {
        let concerned = |(only, _): &&(Option<RecordType>, Fault)| only.is_none_or(|only| only == kind);
        self.faults.iter().find(concerned).map(|(_, fault)| *fault)
    }

    fn of_type(&self, kind: RecordType) -> Vec<Record> {
        self.records.iter().filter(|record| record.record_type() == kind).cloned().collect()
    }

    fn alias(&self) -> Option<(Record, LowerName)> {
        self.records.iter().find_map(|record| match &record.data {
            RData::CNAME(target) => Some((record.clone(), LowerName::from(&target.0))),
            _ => None,
        })
    }
}

/// An answer in the making.
pub(super) struct Reply {
    pub(super) code: ResponseCode,
    pub(super) fault: Option<Fault>,
    pub(super) answers: Vec<Record>,
    pub(super) authority: Vec<Record>,
}

impl Default for Reply {
    fn default() -> Self {
        Self { code: ResponseCode::NoError, fault: None, answers: Vec::new(), authority: Vec::new() }
    }
}

fn parse_record(owner: &str, rest: &str) -> Result<Vec<Record>, ParseError> {
    let text = format!("$TTL {DEFAULT_TTL}\n{owner} {rest}\n");
    let (_, sets) = Parser::new(text, None, Some(Name::root())).parse()?;
    Ok(sets.into_values().flat_map(|set| set.records_without_rrsigs().cloned().collect::<Vec<_>>()).collect())
}

/// A PTR record whose name has escaped octets, which the library's parser refuses.
fn strange_pointer(owner: &str, rest: &str) -> Option<Result<Record, String>> {
    let (head, name) = rest.trim().rsplit_once(char::is_whitespace)?;
    let ttl = match head.trim_end().strip_suffix("PTR")?.trim() {
        "" => DEFAULT_TTL,
        ttl => ttl.parse().ok()?,
    };
    let record = || {
        let mut owner = Name::from_ascii(owner).map_err(|error| error.to_string())?;
        owner.set_fqdn(true);
        let labels = name.split('.').map(unescape).collect::<Result<Vec<_>, _>>()?;
        let target = Name::from_labels(labels).map_err(|error| error.to_string())?;
        Ok(Record::from_rdata(owner, ttl, RData::PTR(PTR(target))))
    };
    name.contains('\\').then(record)
}

/// The octets of a label with `\DDD` for any of them (RFC 1035 5.1).
fn unescape(label: &str) -> Result<Vec<u8>, String> {
    let mut parts = label.split('\\');
    let mut octets = parts.next().unwrap_or_default().as_bytes().to_vec();
    for part in parts {
        let (digits, plain) = part.split_at_checked(3).ok_or("an escape has three digits")?;
        octets.push(digits.parse().map_err(|_| "an escape is a number up to 255")?);
        octets.extend_from_slice(plain.as_bytes());
    }
    Ok(octets)
}

fn default_soa() -> Record {
    let soa = SOA::new(Name::root(), Name::root(), 1, 3600, 600, 86400, DEFAULT_TTL);
    Record::from_rdata(Name::root(), DEFAULT_TTL, RData::SOA(soa))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bad_line_is_named() {
        for line in
            ["a.example", "a.example FAULT fire", "a.example 60 AAAA no-address", "a.example 60 WHAT x"]
        {
            let error = Zone::parse(&format!("; first\nb.example AAAA ::1\n{line}\n")).expect_err(line);
            assert_eq!(error.line, 3, "{line}");
        }
    }
}
