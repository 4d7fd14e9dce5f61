//! DNS servers that lie: each question is answered, and never as it should be.
//!
//! Honest answers, faults included, are the business of [`super`].

mod answers;

use std::{
    io,
    net::SocketAddr,
    sync::{Arc, Mutex, PoisonError},
};

use hickory_server::proto::op::Message;
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::{TcpListener, TcpStream, UdpSocket},
    task::JoinSet,
};

use answers::answer;

/// The fault of the answers.
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
    /// They are marked truncated, by TCP, too.
    Truncated,
    /// They are marked truncated, and those by TCP repeat another question.
    OtherQuestionByTcp,
    /// They are cut off.
    CutOff,
    /// They are not DNS at all.
    Garbage,
    /// They name other servers.
    Referral,
    /// A CNAME that leads to itself.
    CircularAlias,
    /// CNAMEs that lead from one to the next and back, and a SOA, as if there were nothing at their
    /// end.
    CircularAliases,
    /// More CNAMEs than anybody has, and the right record at their end.
    ManyAliases,
    /// A CNAME to a name that was not asked for before, each time.
    EndlessAlias,
    /// Their record's name is a pointer to itself.
    CircularName,
    /// They are larger than any UDP answer that was asked for, the right record first.
    Oversized,
    /// They are marked truncated, and by TCP the connection ends without one.
    HangupByTcp,
    /// They are marked truncated, and by TCP there are none.
    SilenceByTcp,
    /// There are none.
    Silence,
    /// They are the questions, sent back.
    Echo,
    /// They are the questions, sent back as responses.
    EchoAsResponse,
    /// They are empty, of a server that is neither authoritative nor recursive.
    Empty,
    /// They are NXDOMAIN, of a server that is neither authoritative nor recursive.
    EmptyNxDomain,
    /// They come from another port.
    OtherPort,
    /// They are right.
    Truth,
    /// They are FORMERR to questions with EDNS, and right otherwise.
    EdnsFormErr,
    /// As [`Self::EdnsFormErr`], and do not repeat the question then.
    EdnsFormErrBare,
    /// They are NOTIMP to questions with EDNS, and right otherwise.
    EdnsNotImp,
    /// They are BADVERS to questions with EDNS, and right otherwise.
    EdnsBadVers,
    /// They are SERVFAIL to questions with EDNS, and right otherwise.
    EdnsServFail,
    /// They are REFUSED to questions with EDNS, and right otherwise.
    EdnsRefused,
    /// There are none to questions with EDNS, and they are right otherwise.
    EdnsSilence,
    /// They are right by TCP, and headers marked truncated by UDP.
    TruncatedHeader,
    /// They are right by TCP, and by UDP are marked truncated and end within the question.
    TruncatedQuestion,
    /// They are right, and have all names in lower case.
    LowerCase,
    /// As [`Self::LowerCase`], and there are none by TCP.
    LowerCaseHangupByTcp,
    /// As [`Self::LowerCase`], and by TCP the connection stays open without any.
    LowerCaseSilenceByTcp,
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
            Lie::SilenceByTcp | Lie::LowerCaseSilenceByTcp | Lie::Silence => continue,
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

/// Where the flags of a header begin, of which the first is QR.
const FLAGS_AT: usize = 2;
const QR: u8 = 0x80;
