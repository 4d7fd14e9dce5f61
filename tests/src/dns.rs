//! A real DNS server for tests and for the demo: hickory-server over UDP and TCP, filled from a few lines of text.
//!
//! It knows nothing of the world: a name that no line speaks of is NXDOMAIN, and nothing is ever forwarded.
//!
//! # Notation
//! One record or fault a line; blank lines and lines that start with `;` are skipped. Names are absolute, with
//! or without the final dot. The TTL is in seconds, 300 if it is left out.
//! ```text
//! mail.example      300 AAAA 2001:db8::25
//! mail.example          TXT  "v=spf1 ip6:2001:db8::/32 -all"
//! 2001:db8::25       60 PTR  mail.example   ; an IPv6 address as owner stands for its name in ip6.arpa
//! slow.example      FAULT timeout
//! broken.example    FAULT servfail AAAA
//! example            60 SOA ns.example hostmaster.example 1 3600 600 86400 120
//! ```
//! The data are those of zone files (RFC 1035 5); the name that a PTR record holds may have any octet as `\DDD`. A fault concerns all types, or the one that is named. Faults: `servfail`, `refused`, `formerr`, `notimp`, `timeout`
//! (no answer at all), `truncate` (TC over UDP, the whole answer over TCP). A name with records of other types or
//! with names below it is NODATA for what it lacks. A negative answer carries the closest SOA above the name, so
//! that its TTL and MINIMUM set the negative TTL (RFC 2308 5); without a SOA line that TTL is 300 s. CNAMEs are
//! followed inside the zone, as a resolver does. Everything in one text is one server's view of the whole DNS.

use std::{
    collections::BTreeMap,
    io,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Duration,
};

use async_trait::async_trait;
use hickory_server::{
    Server,
    net::{runtime::Time, xfer::Protocol},
    proto::{
        op::{Edns, Header, HeaderCounts, Metadata, ResponseCode},
        rr::{
            LowerName, Name, RData, Record, RecordType,
            rdata::{PTR, SOA},
        },
        serialize::txt::{ParseError, Parser},
    },
    server::{Request, RequestHandler, ResponseHandler, ResponseInfo},
    zone_handler::MessageResponseBuilder,
};
use thiserror::Error;

const DEFAULT_TTL: u32 = 300;
/// CNAMEs that one answer follows.
const MAX_CHAIN: usize = 16;
/// What fits into a UDP answer at most (the value of DNS flag day 2020).
const UDP_PAYLOAD: u16 = 1232;
/// Tries to find a port that is free for UDP and for TCP.
const PORT_TRIES: usize = 16;
const TCP_IDLE: Duration = Duration::from_secs(5);
const TCP_BUFFER: usize = 4096;

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
enum Fault {
    Code(ResponseCode),
    Timeout,
    Truncate,
}

/// A line that is neither a record nor a fault.
#[derive(Debug, Error)]
#[error("line {line} of the zone: {reason}")]
pub struct ZoneError {
    /// Counted from 1.
    pub line: usize,
    /// What is wrong.
    pub reason: String,
}

/// A running server; it ends when this is dropped.
pub struct DnsServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    _server: Server<Handler>,
}

struct Shared {
    zone: RwLock<Zone>,
    asked: Mutex<BTreeMap<(LowerName, RecordType), usize>>,
}

impl Zone {
    /// Reads the notation above.
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

    /// Serves on a free port of `::1`.
    ///
    /// # Errors
    /// When no socket is to be had.
    pub fn serve(self) -> io::Result<DnsServer> {
        let (udp, tcp) = sockets(IpAddr::V6(Ipv6Addr::LOCALHOST))?;
        self.serve_on(udp, tcp)
    }

    /// Serves on sockets that are bound already, in another network namespace perhaps. Needs a tokio runtime.
    ///
    /// # Errors
    /// When the sockets cannot be handed to the runtime.
    pub fn serve_on(self, udp: std::net::UdpSocket, tcp: std::net::TcpListener) -> io::Result<DnsServer> {
        let address = udp.local_addr()?;
        udp.set_nonblocking(true)?;
        tcp.set_nonblocking(true)?;
        let shared = Arc::new(Shared { zone: RwLock::new(self), asked: Mutex::default() });
        let mut server = Server::new(Handler(Arc::clone(&shared)));
        server.register_socket(tokio::net::UdpSocket::from_std(udp)?);
        server.register_listener(tokio::net::TcpListener::from_std(tcp)?, TCP_IDLE, TCP_BUFFER);
        Ok(DnsServer { address, shared, _server: server })
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
            Some("timeout") => Fault::Timeout,
            Some("truncate") => Fault::Truncate,
            other => return Err(format!("no such fault: {other:?}")),
        };
        let kind = words.next().map(str::parse).transpose().map_err(|_| "no such record type")?;
        let mut owner = Name::from_ascii(owner).map_err(|error| error.to_string())?;
        owner.set_fqdn(true);
        self.nodes.entry(LowerName::from(owner)).or_default().faults.push((kind, fault));
        Ok(())
    }

    fn answer(&self, name: &LowerName, kind: RecordType) -> Reply {
        let mut reply = Reply::default();
        let mut name = name.clone();
        while reply.answers.len() < MAX_CHAIN {
            let node = self.nodes.get(&name);
            if let Some(fault) = node.and_then(|node| node.fault(kind)) {
                reply.fault = Some(fault);
                if fault != Fault::Truncate {
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

    /// NXDOMAIN, or NODATA if there is something at or below the name (RFC 8020), with the closest SOA.
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

impl DnsServer {
    /// Where it listens, by UDP and by TCP.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Questions that came in so far, those that got no answer included.
    #[must_use]
    pub fn queries(&self) -> usize {
        self.shared.asked.lock().unwrap_or_else(PoisonError::into_inner).values().sum()
    }

    /// Questions for this name and type so far; an IPv6 address as name stands for its name in ip6.arpa.
    ///
    /// # Panics
    /// If `name` or `kind` is none.
    #[must_use]
    pub fn queries_for(&self, name: &str, kind: &str) -> usize {
        let mut name = match name.parse::<Ipv6Addr>() {
            Ok(address) => Name::from(address),
            Err(_) => Name::from_ascii(name).expect("a test's own name"),
        };
        name.set_fqdn(true);
        let key = (LowerName::from(name), kind.parse().expect("a test's own record type"));
        let asked = self.shared.asked.lock().unwrap_or_else(PoisonError::into_inner);
        asked.get(&key).copied().unwrap_or(0)
    }

    /// Answers from `zone` from now on.
    pub fn replace(&self, zone: Zone) {
        *self.shared.zone.write().unwrap_or_else(PoisonError::into_inner) = zone;
    }
}

struct Handler(Arc<Shared>);

struct Reply {
    code: ResponseCode,
    fault: Option<Fault>,
    answers: Vec<Record>,
    authority: Vec<Record>,
}

impl Default for Reply {
    fn default() -> Self {
        Self { code: ResponseCode::NoError, fault: None, answers: Vec::new(), authority: Vec::new() }
    }
}

#[async_trait]
impl RequestHandler for Handler {
    async fn handle_request<R: ResponseHandler, T: Time>(
        &self,
        request: &Request,
        mut handle: R,
    ) -> ResponseInfo {
        let mut metadata = Metadata::response_from_request(&request.metadata);
        let Ok(info) = request.request_info() else {
            metadata.response_code = ResponseCode::FormErr;
            return sent_nothing(metadata);
        };
        let (name, kind) = (info.query.name().clone(), info.query.query_type());
        self.count(name.clone(), kind);
        let mut reply = self.0.zone.read().unwrap_or_else(PoisonError::into_inner).answer(&name, kind);
        metadata.recursion_available = true;
        metadata.response_code = reply.code;
        match reply.fault {
            Some(Fault::Timeout) => return sent_nothing(metadata),
            Some(Fault::Truncate) if request.protocol() == Protocol::Udp => {
                metadata.truncation = true;
                reply.answers.clear();
            }
            Some(Fault::Code(code)) => {
                metadata.response_code = code;
                reply.answers.clear();
            }
            Some(Fault::Truncate) | None => {}
        }
        let mut edns = Edns::new();
        edns.set_max_payload(UDP_PAYLOAD.min(request.max_payload()));
        let mut builder = MessageResponseBuilder::from_message_request(request);
        if request.edns.is_some() {
            builder.edns(&edns);
        }
        let response = builder.build(metadata, &reply.answers, [], &reply.authority, []);
        handle.send_response(response).await.unwrap_or_else(|_| sent_nothing(metadata))
    }
}

impl Handler {
    fn count(&self, name: LowerName, kind: RecordType) {
        let mut asked = self.0.asked.lock().unwrap_or_else(PoisonError::into_inner);
        *asked.entry((name, kind)).or_default() += 1;
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

fn sent_nothing(metadata: Metadata) -> ResponseInfo {
    ResponseInfo::from(Header { metadata, counts: HeaderCounts::default() })
}

/// A UDP and a TCP socket with the same port of `address`.
fn sockets(address: IpAddr) -> io::Result<(std::net::UdpSocket, std::net::TcpListener)> {
    let mut last = io::Error::from(io::ErrorKind::AddrInUse);
    for _ in 0..PORT_TRIES {
        let udp = std::net::UdpSocket::bind((address, 0))?;
        match std::net::TcpListener::bind(udp.local_addr()?) {
            Ok(tcp) => return Ok((udp, tcp)),
            Err(error) => last = error,
        }
    }
    Err(last)
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
