//! One question to one server and its response, by UDP or by TCP.
//!
//! Each question has an id of its own and, by UDP, a port of its own, which the kernel chooses at
//! random. It asks once and keeps nothing. Responses are interpreted elsewhere.

use std::{
    io,
    net::{Ipv4Addr, Ipv6Addr, SocketAddr},
};

use hickory_proto::{
    op::{Edns, Message, MessageType, OpCode, Query, ResponseCode},
    serialize::binary::BinEncodable as _,
};
use thiserror::Error;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpStream, UdpSocket},
};

/// The UDP payload size that the question announces (the value of DNS flag day 2020).
const UDP_PAYLOAD: u16 = 1232;
/// Octets that are accepted by UDP, for servers that send more than was announced.
const UDP_BUFFER: usize = 4096;
/// Octets of a header.
const HEADER: usize = 12;
/// The flag of a response, in the third octet of the header.
const QR: u8 = 0x80;
/// The flag of truncation, there too.
const TC: u8 = 0x02;

/// How a question is put.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct QuestionForm {
    /// With an OPT record (RFC 6891).
    pub(super) edns: bool,
    /// With the letters of its name in random case, which the response has to repeat: bits that a
    /// forger has to guess.
    pub(super) random_case: bool,
    /// With the AD flag: whether the records were validated is to be reported (RFC 6840 5.7).
    pub(super) asks_validation: bool,
}

/// What came back.
#[derive(Debug)]
pub(super) struct DnsResponse {
    pub(super) message: Message,
    /// Whether it repeats the letters of the question's name in their case.
    pub(super) keeps_case: bool,
}

/// Why there is no response.
#[derive(Debug, Error)]
pub(super) enum Fault {
    /// An operation on a socket failed.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// What came is not a response to the question.
    #[error("{0}")]
    Unusable(&'static str),
}

/// Asks by UDP and waits until a datagram with the question's id comes from that server.
pub(super) async fn by_udp(
    server: SocketAddr,
    query: &Query,
    manner: QuestionForm,
) -> Result<DnsResponse, Fault> {
    let request = request(query, manner);
    let any: SocketAddr = match server {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(any).await?;
    // the kernel passes on datagrams of this address and port only, and ICMP errors about them
    socket.connect(server).await?;
    socket.send(&encode(&request)?).await?;
    let mut buffer = vec![0; UDP_BUFFER];
    loop {
        let length = socket.recv(&mut buffer).await?;
        let received = buffer.get(..length).unwrap_or_default();
        // a forged one, most likely: the right one may follow
        if !received.starts_with(&request.metadata.id.to_be_bytes()) {
            continue;
        }
        if length == UDP_BUFFER {
            return Err(Fault::Unusable("it is larger than a datagram may be"));
        }
        return decode(received, &request);
    }
}

/// Asks by TCP, over a connection of its own.
pub(super) async fn by_tcp(
    server: SocketAddr,
    query: &Query,
    manner: QuestionForm,
) -> Result<DnsResponse, Fault> {
    let request = request(query, manner);
    let octets = encode(&request)?;
    let length = u16::try_from(octets.len()).map_err(io::Error::other)?;
    let mut stream = TcpStream::connect(server).await?;
    stream.write_all(&[&length.to_be_bytes()[..], &octets].concat()).await?;
    let length = stream.read_u16().await?;
    let mut received = vec![0; length.into()];
    stream.read_exact(&mut received).await?;
    if !received.starts_with(&request.metadata.id.to_be_bytes()) {
        return Err(Fault::Unusable("it has another id"));
    }
    decode(&received, &request)
}

impl DnsResponse {
    /// Nothing but that the whole response is too long: it may end anywhere, within the question,
    /// too.
    fn truncated(request: &Message) -> Self {
        let mut message = Message::response(request.metadata.id, OpCode::Query);
        message.metadata.truncation = true;
        Self { message, keeps_case: true }
    }
}

fn request(query: &Query, manner: QuestionForm) -> Message {
    let mut query = query.clone();
    if manner.random_case {
        query.name.randomize_label_case();
    }
    let mut request = Message::query();
    request.metadata.recursion_desired = true;
    request.metadata.authentic_data = manner.asks_validation;
    request.add_query(query);
    if manner.edns {
        let mut edns = Edns::new();
        edns.set_max_payload(UDP_PAYLOAD);
        request.set_edns(edns);
    }
    request
}

fn encode(request: &Message) -> Result<Vec<u8>, Fault> {
    request.to_bytes().map_err(|_| Fault::Unusable("the question cannot be written"))
}

/// Whether the header (RFC 1035 4.1.1) marks this as a response of which the end is missing.
fn is_truncated(received: &[u8]) -> bool {
    received.len() >= HEADER && received.get(2).is_some_and(|flags| flags & (QR | TC) == QR | TC)
}

/// `received` as the response to `request`, whose id it has.
fn decode(received: &[u8], request: &Message) -> Result<DnsResponse, Fault> {
    let message = match Message::from_vec(received) {
        Ok(message) if message.metadata.truncation && message.queries.is_empty() => {
            return Ok(DnsResponse::truncated(request));
        }
        Ok(message) => message,
        Err(_) if is_truncated(received) => return Ok(DnsResponse::truncated(request)),
        Err(_) => return Err(Fault::Unusable("it cannot be read")),
    };
    if message.metadata.message_type != MessageType::Response {
        return Err(Fault::Unusable("it is a question"));
    }
    let (Some(asked), answered) = (request.queries.first(), &message.queries[..]) else {
        return Err(Fault::Unusable("there was no question"));
    };
    match answered {
        [question] if question == asked => {
            let keeps_case = question.name().eq_case(asked.name());
            Ok(DnsResponse { message, keeps_case })
        }
        // a server that cannot read the question need not repeat it (RFC 1035 4.1.1)
        [] if matches!(message.metadata.response_code, ResponseCode::FormErr | ResponseCode::NotImp) => {
            Ok(DnsResponse { message, keeps_case: true })
        }
        _ => Err(Fault::Unusable("it answers another question")),
    }
}
