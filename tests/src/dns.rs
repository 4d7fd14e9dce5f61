//! A real DNS server for tests and for the demo: hickory-server over UDP and TCP, filled from a few
//! lines of text.
//!
//! It knows nothing of the world: a name without a line is NXDOMAIN, and nothing is ever forwarded.
//!
//! # Notation
//! One record or fault a line; blank lines and lines that start with `;` are skipped. Names are
//! absolute, with or without the final dot. The TTL is in seconds, 300 if it is left out.
//! ```text
//! mail.example      300 AAAA 2001:db8::25
//! mail.example          TXT  "v=spf1 ip6:2001:db8::/32 -all"
//! 2001:db8::25       60 PTR  mail.example   ; the address stands for its name in ip6.arpa
//! slow.example      FAULT timeout
//! broken.example    FAULT servfail AAAA
//! example            60 SOA ns.example hostmaster.example 1 3600 600 86400 120
//! ```
//! The data are those of zone files (RFC 1035 5); the name that a PTR record holds may have any
//! octet as `\DDD`. A fault concerns all types, or the one that is named. Faults: `servfail`,
//! `refused`, `formerr`, `notimp`, `timeout` (no answer at all), `slow` (the right answer after 150
//! ms), `truncate` (TC over UDP, the whole answer over TCP), `validated` (AD, as after DNSSEC). A
//! name with records of other types or with names below it is NODATA for what it lacks. A negative
//! answer carries the closest SOA above the name, so that its TTL and MINIMUM set the negative TTL
//! (RFC 2308 5); without a SOA line that TTL is 300 s. CNAMEs are followed inside the zone, as a
//! resolver does. Everything in one text is one server's view of the whole DNS.

mod liar;
mod zone;

use std::{
    collections::{BTreeMap, BTreeSet},
    future::pending,
    io,
    net::{IpAddr, Ipv6Addr, SocketAddr},
    sync::{Arc, PoisonError, RwLock},
    time::Duration,
};

use async_trait::async_trait;
use hickory_server::{
    Server,
    net::{runtime::Time, xfer::Protocol},
    proto::{
        op::{Edns, Header, HeaderCounts, Metadata, ResponseCode},
        rr::{LowerName, Name, RecordType},
    },
    server::{Request, RequestHandler, ResponseHandler, ResponseInfo},
    zone_handler::MessageResponseBuilder,
};
use tokio::{runtime::Handle, sync::watch, time::timeout};

pub use crate::dns::{
    liar::{Liar, Lie},
    zone::{Zone, ZoneError},
};
use crate::{dns::zone::Fault, timeouts::patience};

/// What fits into a UDP answer at most (the value of DNS flag day 2020).
const UDP_PAYLOAD: u16 = 1232;
/// Tries to find a port that is free for UDP and for TCP.
const PORT_TRIES: usize = 16;
const TCP_IDLE: Duration = Duration::from_secs(5);
const TCP_BUFFER: usize = 4096;
/// How long a slow answer takes: less than the time-outs in tests.
const SLOW: Duration = Duration::from_millis(150);

/// A running server; it ends when this is dropped.
pub struct DnsServer {
    address: SocketAddr,
    shared: Arc<Shared>,
    runtime: Handle,
    _server: Server<Handler>,
}

struct Shared {
    zone: RwLock<Zone>,
    asked: watch::Sender<BTreeMap<(LowerName, RecordType), usize>>,
    /// Types of records whose questions wait for their answers.
    held: watch::Sender<BTreeSet<RecordType>>,
}

/// Questions of one type wait for their answers as long as this lives; see [`DnsServer::hold`].
pub struct Held<'a> {
    server: &'a DnsServer,
    kind: RecordType,
}

impl Held<'_> {
    /// Waits until a question for this name has come. Not for use within the server's runtime.
    ///
    /// # Panics
    /// If `name` is none, or no question comes within [`patience`].
    pub fn wait_for_question(&self, name: &str) {
        let key = (question_name(name), self.kind);
        let mut asked = self.server.shared.asked.subscribe();
        let come = self.server.runtime.block_on(async {
            timeout(patience(), asked.wait_for(|asked| asked.contains_key(&key))).await.is_ok()
        });
        assert!(come, "no question for {key:?}");
    }
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.server.shared.held.send_modify(|held| {
            held.remove(&self.kind);
        });
    }
}

/// As DNS knows it; an IPv6 address stands for its name in ip6.arpa.
fn question_name(name: &str) -> LowerName {
    let mut name = match name.parse::<Ipv6Addr>() {
        Ok(address) => Name::from(address),
        Err(_) => Name::from_ascii(name).expect("a test's own name"),
    };
    name.set_fqdn(true);
    LowerName::from(name)
}

impl Zone {
    /// Serves on a free port of `::1`. Needs a tokio runtime.
    ///
    /// # Errors
    /// When no socket is to be had.
    pub fn serve(self) -> io::Result<DnsServer> {
        let (udp, tcp) = sockets(IpAddr::V6(Ipv6Addr::LOCALHOST))?;
        self.serve_on(udp, tcp)
    }

    /// Serves on sockets that are bound already, in another network namespace perhaps. Needs a
    /// tokio runtime.
    ///
    /// # Errors
    /// When the sockets cannot be handed to the runtime.
    pub fn serve_on(self, udp: std::net::UdpSocket, tcp: std::net::TcpListener) -> io::Result<DnsServer> {
        let address = udp.local_addr()?;
        udp.set_nonblocking(true)?;
        tcp.set_nonblocking(true)?;
        let shared = Arc::new(Shared {
            zone: RwLock::new(self),
            asked: watch::Sender::default(),
            held: watch::Sender::default(),
        });
        let mut server = Server::new(Handler(Arc::clone(&shared)));
        server.register_socket(tokio::net::UdpSocket::from_std(udp)?);
        server.register_listener(tokio::net::TcpListener::from_std(tcp)?, TCP_IDLE, TCP_BUFFER);
        Ok(DnsServer { address, shared, runtime: Handle::current(), _server: server })
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
        self.shared.asked.borrow().values().sum()
    }

    /// Waits until so many questions have come.
    ///
    /// # Panics
    /// If they do not within [`patience`].
    pub async fn wait_for_queries(&self, count: usize) {
        let mut asked = self.shared.asked.subscribe();
        let come = asked.wait_for(|asked| asked.values().sum::<usize>() >= count);
        assert!(timeout(patience(), come).await.is_ok(), "{} questions, not {count}", self.queries());
    }

    /// Questions for this name and type so far; an IPv6 address as name stands for its name in
    /// ip6.arpa.
    ///
    /// # Panics
    /// If `name` or `kind` is none.
    #[must_use]
    pub fn queries_for(&self, name: &str, kind: &str) -> usize {
        let key = (question_name(name), kind.parse().expect("a test's own record type"));
        self.shared.asked.borrow().get(&key).copied().unwrap_or(0)
    }

    /// Lets questions of this type wait for their answers.
    ///
    /// # Panics
    /// If `kind` is none.
    #[must_use]
    pub fn hold(&self, kind: &str) -> Held<'_> {
        let kind = kind.parse().expect("a test's own record type");
        self.shared.held.send_modify(|held| {
            held.insert(kind);
        });
        Held { server: self, kind }
    }

    /// Answers from `zone` from now on.
    pub fn replace(&self, zone: Zone) {
        *self.shared.zone.write().unwrap_or_else(PoisonError::into_inner) = zone;
    }
}

struct Handler(Arc<Shared>);

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
        self.0.asked.send_modify(|asked| *asked.entry((name.clone(), kind)).or_default() += 1);
        // fails only if the server has ended
        let _ = self.0.held.subscribe().wait_for(|held| !held.contains(&kind)).await;
        let mut reply = self.0.zone.read().unwrap_or_else(PoisonError::into_inner).answer(&name, kind);
        metadata.recursion_available = true;
        metadata.response_code = reply.code;
        match reply.fault {
            Some(Fault::Timeout) => return sent_nothing(metadata),
            Some(Fault::Validated) => metadata.authentic_data = true,
            Some(Fault::Slow) => drop(timeout(SLOW, pending::<()>()).await),
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
