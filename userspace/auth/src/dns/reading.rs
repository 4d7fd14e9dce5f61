//! The contents of a response: records, their absence, or where to ask on.
//!
//! It sends nothing and receives nothing.

use std::time::Duration;

use hickory_proto::{
    op::{Message, ResponseCode},
    rr::{DNSClass, Name, RData, Record, RecordType},
};

use super::result::DnsAnswer;

/// CNAMEs that are followed within one response, and how often the name at their end is asked for
/// anew, if the servers do not follow them themselves.
pub const MAX_ALIASES: usize = 8;
/// The longest time that an answer is kept, even if its TTL is longer.
pub const LONGEST_POSITIVE: Duration = Duration::from_hours(24);
/// The longest time that "there is none" is kept (RFC 2308 5 advises hours; a sender who has just
/// been told to publish a record should not have to wait so long).
pub const LONGEST_NEGATIVE: Duration = Duration::from_mins(15);

/// The contents of one response.
#[derive(Debug)]
pub(super) enum Reading {
    /// The records, or that there are none.
    Answer(DnsAnswer<RData>),
    /// To ask for another name: the end of the CNAMEs that the server knows.
    Alias { target: Name, ttl: Duration },
}

/// The records of type `kind` at `name` in `response`. Records of other names are not taken: they
/// were not asked for.
///
/// # Errors
/// Why it cannot be used, as a text.
pub(super) fn read(response: &Message, name: &Name, kind: RecordType) -> Result<Reading, &'static str> {
    if !matches!(response.response_code, ResponseCode::NoError | ResponseCode::NXDomain) {
        return Err("an unknown response code");
    }
    let mut sections = response.answers.iter().chain(&response.authorities).chain(&response.additionals);
    if sections.any(|record| record.dns_class != DNSClass::IN) {
        return Err("a record of another class");
    }
    let mut owner = name;
    let mut ttl = LONGEST_POSITIVE;
    // each step looks at all answers, of which there may be thousands; and a circle has no end
    for _ in 0..=MAX_ALIASES {
        let here = || response.answers.iter().filter(|record| record.name == *owner);
        let found: Vec<&Record> = here().filter(|record| record.record_type() == kind).collect();
        if !found.is_empty() {
            let ttl = found.iter().map(|record| seconds(record.ttl)).fold(ttl, Duration::min);
            let records = found.into_iter().map(|record| record.data.clone()).collect();
            return Ok(Reading::Answer(DnsAnswer { records, ttl }));
        }
        let alias = here().find_map(|record| match &record.data {
            RData::CNAME(target) => Some((&target.0, seconds(record.ttl))),
            _ => None,
        });
        let Some((target, alias_ttl)) = alias else {
            return at_the_end(response, name, owner, kind, ttl);
        };
        ttl = ttl.min(alias_ttl);
        owner = target;
    }
    Err(TOO_MANY_ALIASES)
}

/// The result of a response whose CNAMEs lead from `name` to `end`, for which it has nothing more;
/// they hold for `ttl`.
fn at_the_end(
    response: &Message,
    name: &Name,
    end: &Name,
    kind: RecordType,
    ttl: Duration,
) -> Result<Reading, &'static str> {
    let metadata = &response.metadata;
    // what neither owns the zone nor asks for others knows of no absence: a server for its own
    // zones only, or a device that sends a question back as a response
    let knows = metadata.authoritative || metadata.recursion_available;
    let has_soa = soa_ttl(response).is_some();
    let is_final = has_soa || knows && metadata.response_code == ResponseCode::NXDomain;
    if end != name {
        return Ok(if is_final {
            Reading::Answer(absent(response, ttl))
        } else {
            Reading::Alias { target: end.clone(), ttl }
        });
    }
    let has_it = |record: &Record| record.name == *name && record.record_type() == kind;
    if !response.answers.is_empty() || response.additionals.iter().any(has_it) {
        Err("no such record among the answers")
    } else if !is_final && response.authorities.iter().any(|record| record.record_type() == RecordType::NS) {
        Err("it refers to other servers")
    } else if !is_final && !knows {
        Err("it is empty, and its server is neither authoritative nor recursive")
    } else {
        Ok(Reading::Answer(absent(response, LONGEST_POSITIVE)))
    }
}

/// NXDOMAIN or NODATA (RFC 2308 2), which hold for `longest` at most, and not at all without a SOA
/// (RFC 2308 5).
fn absent(response: &Message, longest: Duration) -> DnsAnswer<RData> {
    let ttl = soa_ttl(response).unwrap_or_default().min(longest).min(LONGEST_NEGATIVE);
    DnsAnswer { records: Vec::new(), ttl }
}

/// The negative TTL, if there is a SOA (RFC 2308 5).
fn soa_ttl(response: &Message) -> Option<Duration> {
    response.authorities.iter().find_map(|record| match &record.data {
        RData::SOA(soa) => Some(seconds(record.ttl.min(soa.minimum))),
        _ => None,
    })
}

const fn seconds(ttl: u32) -> Duration {
    Duration::from_secs(ttl as u64)
}

pub(super) const TOO_MANY_ALIASES: &str = "too many CNAMEs";
