//! DNS servers that lie: each question is answered, and never as it should be.
//!
//! What an honest server can say, faults included, is the business of [`super`].

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use hickory_server::proto::{
    op::{Edns, Message, OpCode, Query, ResponseCode},
    rr::{
        DNSClass, Name, RData, Record, RecordType,
        rdata::{AAAA, CNAME, NS, PTR, SOA, TXT},
    },
    serialize::binary::BinEncodable as _,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UdpSocket},
    task::JoinSet,
};

/// What is wrong with the answers.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Lie {
    /// They have another id.
    OtherId,
    /// They repeat another question.
    OtherQuestion,
    /// They repeat no question.
    NoQuestion,
    /// Their records are another name's.
    OtherName,
    /// Their records are of another type.
    OtherType,
    /// Their records are of another class.
    OtherClass,
    /// Their records stand in the additional section only.
    OtherSection,
    /// They say truncated, by TCP, too.
    Truncated,
    /// They say truncated, and what comes by TCP repeats another question.
    OtherQuestionByTcp,
    /// They are cut off.
    CutOff,
    /// They are no DNS at all.
    Garbage,
    /// They name other servers.
    Referral,
    /// A CNAME that leads to itself.
    CircularAlias,
    /// CNAMEs that lead from one to the next and back, and a SOA, as if there were nothing at their end.
    CircularAliases,
    /// More CNAMEs than anybody has, and the right record at their end.
    ManyAliases,
    /// A CNAME to a name that nobody asked for before, each time.
    EndlessAlias,
    /// Their record's name is a pointer to itself.
    CircularName,
    /// They are larger than any UDP answer that was asked for, the right record first.
    Oversized,
    /// They say truncated, and by TCP the connection ends without one.
    HangupByTcp,
    /// They say truncated, and by TCP there are none.
    SilenceByTcp,
    /// There are none.
    Silence,
    /// They are the questions, sent back.
    Echo,
    /// They are the questions, sent back as responses.
    EchoAsResponse,
    /// They are empty, of a server that is neither authoritative nor recursive.
    Empty,
    /// They say NXDOMAIN, of a server that is neither authoritative nor recursive.
    EmptyNxDomain,
    /// They come from another port.
    OtherPort,
    /// They are right.
    Truth,
    /// They say FORMERR to questions with EDNS, and are right otherwise.
    EdnsFormErr,
    /// As [`Self::EdnsFormErr`], and do not repeat the question then.
    EdnsFormErrBare,
    /// They say NOTIMP to questions with EDNS, and are right otherwise.
    EdnsNotImp,
    /// They say BADVERS to questions with EDNS, and are right otherwise.
    EdnsBadVers,
    /// They say SERVFAIL to questions with EDNS, and are right otherwise.
    EdnsServFail,
    /// They say REFUSED to questions with EDNS, and are right otherwise.
    EdnsRefused,
    /// There are none to questions with EDNS, and they are right otherwise.
    EdnsSilence,
    /// They are right by TCP, and are headers that say truncated by UDP.
    TruncatedHeader,
    /// They are right by TCP, and say truncated and end within the question by UDP.
    TruncatedQuestion,
    /// They are right, and have all names in lower case.
    LowerCase,
    /// As [`Self::LowerCase`], and there are none by TCP.
    LowerCaseHangupByTcp,
    /// They are right, but a forged one with another id comes before each by UDP.
    ForgedBefore,
}

impl Lie {
    /// All that leave no usable answer.
    pub const FATAL: [Self; 26] = [
        Self::OtherId,
        Self::OtherQuestion,
        Self::NoQuestion,
        Self::OtherName,
        Self::OtherType,
        Self::OtherClass,
        Self::OtherSection,
        Self::Truncated,
        Self::OtherQuestionByTcp,
        Self::CutOff,
        Self::Garbage,
        Self::Referral,
        Self::CircularAlias,
        Self::CircularAliases,
        Self::ManyAliases,
        Self::EndlessAlias,
        Self::CircularName,
        Self::Oversized,
        Self::HangupByTcp,
        Self::SilenceByTcp,
        Self::Silence,
        Self::Echo,
        Self::EchoAsResponse,
        Self::Empty,
        Self::EmptyNxDomain,
        Self::OtherPort,
    ];

    /// Those of servers that cannot take EDNS.
    pub const WITHOUT_EDNS: [Self; 7] = [
        Self::EdnsFormErr,
        Self::EdnsFormErrBare,
        Self::EdnsNotImp,
        Self::EdnsBadVers,
        Self::EdnsServFail,
        Self::EdnsRefused,
        Self::EdnsSilence,
    ];
}

/// Ids and names of questions.
type Asked = Arc<Mutex<Vec<(u16, String)>>>;

/// A running server that lies; it ends when this is dropped.
pub struct Liar {
    address: SocketAddr,
    lie: Arc<Mutex<Lie>>,
    asked: Asked,
    _tasks: JoinSet<io::Result<()>>,
}

impl Liar {
    /// Answers on a free port of `::1`. Needs a tokio runtime.
    ///
    /// # Errors
    /// When no socket is to be had.
    pub fn serve(lie: Lie) -> io::Result<Self> {
        let (udp, tcp) = super::sockets(std::net::Ipv6Addr::LOCALHOST.into())?;
        Self::serve_on(lie, udp, tcp)
    }

    /// Answers on sockets that are bound already. Needs a tokio runtime.
    ///
    /// # Errors
    /// When the sockets cannot be handed to the runtime.
    pub fn serve_on(lie: Lie, udp: std::net::UdpSocket, tcp: std::net::TcpListener) -> io::Result<Self> {
        let address = udp.local_addr()?;
        udp.set_nonblocking(true)?;
        tcp.set_nonblocking(true)?;
        let lie = Arc::new(Mutex::new(lie));
        let asked = Asked::default();
        let mut tasks = JoinSet::new();
        tasks.spawn(by_udp(Arc::clone(&lie), Arc::clone(&asked), UdpSocket::from_std(udp)?));
        tasks.spawn(by_tcp(Arc::clone(&lie), TcpListener::from_std(tcp)?));
        Ok(Self { address, lie, asked, _tasks: tasks })
    }

    /// Lies like this from now on.
    pub fn tell(&self, lie: Lie) {
        *self.lie.lock().unwrap_or_else(PoisonError::into_inner) = lie;
    }

    /// Questions that came by UDP so far.
    #[must_use]
    pub fn queries(&self) -> usize {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).len()
    }

    /// The ids of these questions, and their names as they were written.
    #[must_use]
    pub fn questions(&self) -> Vec<(u16, String)> {
        self.asked.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Where it listens, by UDP and by TCP.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum By {
    Udp,
    Tcp,
}

async fn by_udp(lie: Arc<Mutex<Lie>>, asked: Asked, socket: UdpSocket) -> io::Result<()> {
    let mut buffer = [0; 4096];
    let other = UdpSocket::bind((socket.local_addr()?.ip(), 0)).await?;
    loop {
        let (length, client) = socket.recv_from(&mut buffer).await?;
        let Ok(request) = Message::from_vec(&buffer[..length]) else { continue };
        let lie = now(&lie);
        let name = request.queries.first().map(|query| query.name().to_string()).unwrap_or_default();
        asked.lock().unwrap_or_else(PoisonError::into_inner).push((request.id, name));
        match lie {
            Lie::Silence => continue,
            Lie::EdnsSilence if request.edns.is_some() => continue,
            Lie::Echo => {
                socket.send_to(&buffer[..length], client).await?;
                continue;
            }
            Lie::EchoAsResponse => {
                buffer[FLAGS_AT] |= QR;
                socket.send_to(&buffer[..length], client).await?;
                continue;
            }
            Lie::OtherPort => {
                other.send_to(&answer(Lie::Truth, By::Udp, &request)?, client).await?;
                continue;
            }
            _ => {}
        }
        if lie == Lie::ForgedBefore {
            socket.send_to(&answer(Lie::OtherId, By::Udp, &request)?, client).await?;
        }
        socket.send_to(&answer(lie, By::Udp, &request)?, client).await?;
    }
}

async fn by_tcp(lie: Arc<Mutex<Lie>>, listener: TcpListener) -> io::Result<()> {
    let mut clients = JoinSet::new();
    loop {
        let (client, _) = listener.accept().await?;
        clients.spawn(one_by_tcp(Arc::clone(&lie), client));
    }
}

async fn one_by_tcp(lie: Arc<Mutex<Lie>>, mut client: TcpStream) -> io::Result<()> {
    loop {
        let length = client.read_u16().await?;
        let mut buffer = vec![0; length.into()];
        client.read_exact(&mut buffer).await?;
        let request = Message::from_vec(&buffer).map_err(io::Error::other)?;
        match now(&lie) {
            Lie::HangupByTcp | Lie::LowerCaseHangupByTcp => return Ok(()),
            Lie::SilenceByTcp | Lie::Silence => continue,
            _ => {}
        }
        let octets = answer(now(&lie), By::Tcp, &request)?;
        client.write_u16(u16::try_from(octets.len()).map_err(io::Error::other)?).await?;
        client.write_all(&octets).await?;
    }
}

fn now(lie: &Mutex<Lie>) -> Lie {
    *lie.lock().unwrap_or_else(PoisonError::into_inner)
}

fn answer(lie: Lie, by: By, request: &Message) -> io::Result<Vec<u8>> {
    let question = request.queries.first().cloned().unwrap_or_default();
    let mut message = Message::response(request.id, OpCode::Query);
    let elsewhere = Query::query(other_name(), question.query_type());
    let complaint = match lie {
        Lie::EdnsFormErr | Lie::EdnsFormErrBare => Some(ResponseCode::FormErr),
        Lie::EdnsNotImp => Some(ResponseCode::NotImp),
        Lie::EdnsBadVers => Some(ResponseCode::BADVERS),
        Lie::EdnsServFail => Some(ResponseCode::ServFail),
        Lie::EdnsRefused => Some(ResponseCode::Refused),
        _ => None,
    };
    if let Some(complaint) = complaint.filter(|_| request.edns.is_some()) {
        message.metadata.response_code = complaint;
        if complaint == ResponseCode::BADVERS {
            let mut edns = Edns::new();
            edns.set_rcode_high(1);
            message.set_edns(edns);
        }
        if lie != Lie::EdnsFormErrBare {
            message.add_query(question);
        }
        return message.to_vec().map_err(io::Error::other);
    }
    match lie {
        Lie::NoQuestion => {}
        Lie::LowerCase | Lie::LowerCaseHangupByTcp => {
            let name = question.name().to_lowercase();
            message.add_query(Query::query(name, question.query_type()));
        }
        Lie::OtherQuestion => {
            message.add_query(elsewhere);
        }
        Lie::OtherQuestionByTcp if by == By::Tcp => {
            message.add_query(elsewhere);
        }
        _ => {
            message.add_query(question.clone());
        }
    }
    let mut record = Record::from_rdata(question.name().clone(), TTL, data(question.query_type()));
    match lie {
        Lie::OtherId => message.metadata.id ^= 1,
        Lie::OtherName => record.name = other_name(),
        Lie::OtherType => {
            let kind = question.query_type();
            record.data = data(if kind == RecordType::TXT { RecordType::AAAA } else { RecordType::TXT });
        }
        Lie::OtherClass => record.dns_class = DNSClass::CH,
        Lie::Truncated => message.metadata.truncation = true,
        Lie::TruncatedHeader | Lie::TruncatedQuestion => message.metadata.truncation = by == By::Udp,
        Lie::EmptyNxDomain => message.metadata.response_code = ResponseCode::NXDomain,
        Lie::HangupByTcp | Lie::SilenceByTcp => message.metadata.truncation = true,
        Lie::OtherQuestionByTcp => message.metadata.truncation = by == By::Udp,
        Lie::CircularAlias => record.data = RData::CNAME(CNAME(question.name().clone())),
        Lie::EndlessAlias => {
            let next = other_name().prepend_label(question.name().num_labels().to_string());
            let next = next.map_err(io::Error::other)?;
            let next = if *question.name() == next { other_name() } else { next };
            record.data = RData::CNAME(CNAME(next));
        }
        _ => {}
    }
    match lie {
        Lie::OtherSection => {
            message.add_additional(record);
        }
        Lie::CircularAliases => {
            message.add_answers(aliases(question.name(), &[1, 2, 1])?);
            let nobody = SOA::new(other_name(), other_name(), 1, 60, 60, 60, 60);
            message.add_authority(Record::from_rdata(Name::root(), TTL, RData::SOA(nobody)));
        }
        Lie::ManyAliases => {
            let numbers: Vec<u32> = (0..MANY).collect();
            record.name = number(MANY - 1)?;
            message.add_answers(aliases(question.name(), &numbers)?);
            message.add_answer(record);
        }
        Lie::Empty | Lie::EmptyNxDomain => {}
        Lie::Referral => {
            message.add_authority(Record::from_rdata(Name::root(), TTL, RData::NS(NS(other_name()))));
        }
        _ => {
            message.add_answer(record);
        }
    }
    if lie == Lie::Oversized && by == By::Udp {
        let filler = RData::TXT(TXT::new(vec!["x".repeat(250); OVERSIZE / 250]));
        message.add_additional(Record::from_rdata(other_name(), TTL, filler));
    }
    spoil(lie, by, &question, message.to_vec().map_err(io::Error::other)?)
}

/// What is wrong with the octets of a message.
fn spoil(lie: Lie, by: By, question: &Query, mut octets: Vec<u8>) -> io::Result<Vec<u8>> {
    match lie {
        // behind header and question, where the answer's name begins
        Lie::CircularName => {
            let at = HEADER_OCTETS + question.name().to_bytes().map_err(io::Error::other)?.len() + 4;
            let pointer = u16::try_from(at).map_err(io::Error::other)? | 0xc000;
            octets.splice(at..at + 2, pointer.to_be_bytes());
        }
        Lie::CutOff => octets.truncate(octets.len() - 3),
        Lie::TruncatedHeader if by == By::Udp => {
            octets.truncate(HEADER_OCTETS);
            octets[COUNTS_AT..].fill(0);
        }
        Lie::TruncatedQuestion if by == By::Udp => octets.truncate(HEADER_OCTETS + 4),
        Lie::Garbage => octets[2..].fill(0xff),
        _ => {}
    }
    Ok(octets)
}

/// What would please whoever asks.
fn data(kind: RecordType) -> RData {
    match kind {
        RecordType::PTR => RData::PTR(PTR(other_name())),
        RecordType::TXT => RData::TXT(TXT::new(vec!["v=spf1 +all".to_owned()])),
        _ => RData::AAAA(AAAA::new(0x2001, 0xdb8, 0x51, 0, 0, 0, 0, 4)),
    }
}

/// CNAMEs from `name` to the first number, and so on.
fn aliases(name: &Name, numbers: &[u32]) -> io::Result<Vec<Record>> {
    let mut owner = name.clone();
    let mut records = Vec::new();
    for target in numbers {
        let target = number(*target)?;
        records.push(Record::from_rdata(owner, TTL, RData::CNAME(CNAME(target.clone()))));
        owner = target;
    }
    Ok(records)
}

fn number(number: u32) -> io::Result<Name> {
    other_name().prepend_label(number.to_string()).map_err(io::Error::other)
}

fn other_name() -> Name {
    Name::from_ascii("liar.example.").expect("it is a name")
}

const TTL: u32 = 300;
const HEADER_OCTETS: usize = 12;
/// Where the flags of a header begin, of which the first is QR.
const FLAGS_AT: usize = 2;
const QR: u8 = 0x80;
/// Where the numbers of a header begin that count its questions and records.
const COUNTS_AT: usize = 4;
/// CNAMEs of one answer, which still has the room of a UDP datagram.
const MANY: u32 = 20;
/// Nearly all that a UDP datagram can hold.
const OVERSIZE: usize = 60_000;
