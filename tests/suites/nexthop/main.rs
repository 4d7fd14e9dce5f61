//! Claims about where accepted mail goes: the Maildir, and the mail server behind.
//!
//! The other end is always a real one: a file system, a peer on a socket that plays a script,
//! Postfix.

mod blame;
mod dialogue;
mod dovecot;
mod faults;
mod lmtp;
mod maildir;
mod opening;
mod peer;
mod places;
mod postfix;
mod stored;
mod times;
mod wild;

use std::{net::Ipv6Addr, num::NonZeroU32, time::Duration};

use sixgate::{
    message_store::Outgoing,
    nexthop::{
        Address, ClientIdentity, ClientInfo, ClientName, ConnectionBounds, NextHop, Protocol, SmtpSettings,
        Transport,
    },
};
use sixgate_smtp::{
    command::{Command, HelloName, MailFrom, RcptTo},
    policy::evidence::Endpoints,
    reply::{Reply, ReplyTable},
};

use peer::Peer;

/// The reply to a sender while the next hop cannot be used.
const UNAVAILABLE: &str = "451 4.4.1 Mail server is not available, please try again later.\r\n";
/// The reply to a sender when the connection to the next hop was lost.
const LOST: &str = "451 4.4.2 Connection to the mail server was lost, please try again later.\r\n";
/// The reply to a sender when the next hop is too slow within a transaction.
const TOO_SLOW: &str = "451 4.4.2 Mail server did not respond in time, please try again later.\r\n";
/// The reply to a sender if the next hop's reply makes no sense, or is another one than before.
const UNEXPECTED: &str = "451 4.3.0 Unexpected reply of the mail server, please try again later.\r\n";
/// The octets that are put in front of each message, and how many are announced for them.
const HEADERS: &[u8] = b"Received: from a\r\n";
const HEADER_SIZE: u64 = 1000;
const SOURCE: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1);
const MESSAGE: &[u8] = b"Subject: b\r\n\r\nc\r\n";

/// More connections than one session needs, and no haste.
const BOUNDS: ConnectionBounds =
    ConnectionBounds { connections: NonZeroU32::MIN, idle: Duration::from_secs(5) };

fn replies() -> ReplyTable {
    ReplyTable::new("gate.example", 0)
}

/// How a next hop is spoken to.
#[derive(Clone, Copy, Debug)]
struct Way {
    protocol: Protocol,
    socket: Socket,
    client: ClientIdentity,
}

#[derive(Clone, Copy, Debug)]
enum Socket {
    Tcp,
    Unix,
}

const SMTP: Way = Way { protocol: Protocol::Smtp, socket: Socket::Tcp, client: ClientIdentity::None };
const XCLIENT: Way = Way { client: ClientIdentity::Xclient, ..SMTP };
const PROXY: Way = Way { client: ClientIdentity::Proxy, ..SMTP };
const LMTP: Way = Way { protocol: Protocol::Lmtp, ..SMTP };
/// The ways in which a transaction is the same.
const WAYS: [Way; 6] = [
    SMTP,
    PROXY,
    LMTP,
    Way { socket: Socket::Unix, ..SMTP },
    Way { socket: Socket::Unix, ..LMTP },
    Way { socket: Socket::Unix, client: ClientIdentity::Proxy, ..LMTP },
];

fn next_hop(way: Way, address: impl Into<Address>) -> NextHop {
    let Way { protocol, client, .. } = way;
    let settings = SmtpSettings {
        address: address.into(),
        protocol,
        client,
        hostname: "gate.example".into(),
        bounds: BOUNDS,
        listening: Vec::new(),
        offer_file: None,
    };
    NextHop::smtp(settings, replies())
}

fn behind(peer: &Peer, way: Way) -> NextHop {
    next_hop(way, peer.address().clone())
}

fn bounded(peer: &Peer, way: Way, bounds: ConnectionBounds) -> NextHop {
    let next_hop = behind(peer, way);
    next_hop.set_bounds(bounds);
    next_hop
}

fn hello(name: &str) -> HelloName {
    match Command::parse(format!("EHLO {name}").as_bytes()) {
        Ok(Command::Ehlo(name)) => name,
        other => panic!("{name}: {other:?}"),
    }
}

fn mail(line: &str) -> MailFrom {
    match Command::parse(line.as_bytes()) {
        Ok(Command::Mail(mail)) => mail,
        other => panic!("{line}: {other:?}"),
    }
}

fn rcpt(line: &str) -> RcptTo {
    match Command::parse(line.as_bytes()) {
        Ok(Command::Rcpt(rcpt)) => rcpt,
        other => panic!("{line}: {other:?}"),
    }
}

fn client(helo: &str) -> ClientInfo {
    ClientInfo {
        endpoints: Endpoints {
            source: "2001:db8::1".parse().expect("an address"),
            source_port: 40000,
            destination: "2001:db8::25".parse().expect("an address"),
            destination_port: 25,
        },
        name: ClientName::Confirmed("mail.sender.example".into()),
        helo: hello(helo),
        esmtp: true,
    }
}

/// Our header fields and a message.
fn outgoing(message: &[&[u8]]) -> Outgoing {
    Outgoing::new(HEADERS, message.concat().into(), &[])
}

/// A client session, driven by the commands that its client would give: EHLO, MAIL, RSET and REST
/// change it, RCPT and DATA give the next hop's answer.
struct Session {
    transport: Transport,
    client: ClientInfo,
    mail: MailFrom,
}

impl Session {
    fn new(next_hop: &NextHop) -> Self {
        Self {
            transport: next_hop.transport(Some(SOURCE)),
            client: client("helo.sender.example"),
            mail: mail("MAIL FROM:<a@sender.example>"),
        }
    }

    async fn say(&mut self, command: &str) -> Option<Reply> {
        match command.get(..4) {
            Some("EHLO") => self.client = client(&command[5..]),
            Some("MAIL") => self.mail = mail(command),
            Some("RSET") => self.transport.reset().await,
            // the client is silent for so long that its connection is given back
            Some("REST") => self.transport.give_back().await,
            Some("RCPT") => {
                let Self { transport, client, mail } = self;
                return Some(transport.recipient(client, mail, HEADER_SIZE, &rcpt(command)).await);
            }
            Some("DATA") => return Some(self.deliver(&[MESSAGE]).await),
            _ => panic!("no such command: {command}"),
        }
        None
    }

    async fn deliver(&mut self, message: &[&[u8]]) -> Reply {
        self.transport.deliver(&outgoing(message), std::future::pending()).await
    }
}

/// One session against one peer: each of our commands, and the answer that it must get (a prefix;
/// empty for commands that get none).
struct Case<'a> {
    claim: &'a str,
    way: Way,
    /// The peer's replies and the commands that it expects, one script for each connection.
    scripts: &'a [&'a str],
    session: &'a [(&'a str, &'a str)],
}

impl Case<'_> {
    /// Plays it. Gives the messages as they went over the wire, the final dot left out.
    async fn play(&self) -> Vec<Vec<u8>> {
        let peer = Peer::play(self.claim, self.way, self.scripts).await;
        let mut session = Session::new(&behind(&peer, self.way));
        for (command, wanted) in self.session {
            let reply = session.say(command).await.map(|reply| reply.to_string()).unwrap_or_default();
            assert!(
                reply.starts_with(wanted) && reply.is_empty() == wanted.is_empty(),
                "{}, {:?}: {command}: {reply:?}, wanted {wanted:?}",
                self.claim,
                self.way
            );
        }
        session.transport.close().await;
        peer.finish().await
    }
}

/// A claim, the scripts and the session of a [`Case`].
struct Row<'a>(&'a str, &'a [&'a str], &'a [(&'a str, &'a str)]);

async fn play_by(way: Way, rows: &[Row<'_>]) {
    for Row(claim, scripts, session) in rows {
        Case { claim, way, scripts, session }.play().await;
    }
}
