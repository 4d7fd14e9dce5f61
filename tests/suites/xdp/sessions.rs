//! Whole sessions that the program refuses, with the sender's real TCP: over veth, natively and
//! generically, and on lo.
//!
//! Single segments are `answers`' business.

use std::{
    io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _},
    mem::MaybeUninit,
    net::{Ipv6Addr, SocketAddrV6, TcpStream},
    time::Duration,
};

use aya::programs::XdpMode;
use nix::sys::socket::MsgFlags;
use sixgate::control::compile_replies;
use sixgate_common::{
    refuse::ReplyId,
    settings::{ANSWER_KERNEL, REFUSE_AT_GREETING, REFUSE_AT_RESET, Settings},
    stat::Stat,
};
use sixgate_dataplane::{AttachMode, Maps, PtrOrigin, PtrState, attach};
use sixgate_smtp::reply::ReplyTable;
use sixgate_tests::{gate, timeouts::patience, xdp_helper::Pass};
use socket2::SockRef;

use crate::{
    host::{Host, NEEDS},
    program::{ENFORCE, OPTED_IN, OURS},
};

/// Where the program runs.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Path {
    Native,
    Generic,
    Loopback,
}

const PATHS: [Path; 3] = [Path::Native, Path::Generic, Path::Loopback];
const SENDER: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xf, 0, 0, 0, 0, 0x99);

/// A host whose program answers, and a sender.
struct Scene {
    host: Host,
    path: Path,
    _peer: Option<Pass>,
}

impl Scene {
    fn new(path: Path, refuse_at: u32) -> Self {
        let host = Host::new();
        let peer =
            (path == Path::Native).then(|| Pass::attach(&host.theirs, "peer0", XdpMode::Driver).unwrap());
        let interface = if path == Path::Loopback { "lo" } else { "gate0" };
        for address in [OURS, OPTED_IN] {
            host.ours.ip(&format!("address add {address}/128 dev {interface} nodad")).unwrap();
        }
        if path == Path::Loopback {
            host.ours.ip(&format!("address add {SENDER}/128 dev lo nodad")).unwrap();
        } else {
            host.theirs.ip(&format!("address add {SENDER}/128 dev peer0 nodad")).unwrap();
            host.theirs.ip("route add 2001:db8::/32 dev peer0").unwrap();
            host.ours.ip(&format!("route add {SENDER}/128 dev gate0")).unwrap();
        }
        let mut plan = host.plan(&[interface]);
        plan.mode = if path == Path::Native { AttachMode::Native } else { AttachMode::Generic };
        plan.settings = Settings { answer: ANSWER_KERNEL, refuse_at, ..ENFORCE };
        plan.replies = compile_replies(&table());
        host.ours.run(|| attach(&plan)).unwrap();
        Self { host, path, _peer: peer }
    }

    fn maps(&self) -> Maps {
        self.host.maps()
    }

    fn connect(&self, destination: Ipv6Addr) -> std::io::Result<TcpStream> {
        let netns = if self.path == Path::Loopback { &self.host.ours } else { &self.host.theirs };
        netns.connect(SocketAddrV6::new(SENDER, 0, 0, 0), SocketAddrV6::new(destination, 25, 0, 0))
    }

    /// Connects from a port of its own choice, as soon as the connection before it is closed.
    fn connect_from(&self, port: u16, destination: Ipv6Addr) -> TcpStream {
        let netns = if self.path == Path::Loopback { &self.host.ours } else { &self.host.theirs };
        let (from, to) = (SocketAddrV6::new(SENDER, port, 0, 0), SocketAddrV6::new(destination, 25, 0, 0));
        loop {
            match netns.connect(from, to) {
                Err(error) if error.kind() == ErrorKind::AddrInUse => {}
                connected => return connected.unwrap(),
            }
        }
    }

    fn counted(&self, stat: Stat) -> u64 {
        self.maps().stats().unwrap().into_iter().find(|(known, _)| *known == stat).unwrap().1
    }
}

fn table() -> ReplyTable {
    ReplyTable::new("gate.example", 1000)
}

/// A sender that sends a line when it has received a whole reply.
struct Sender(BufReader<TcpStream>, String);

impl Sender {
    fn new(stream: TcpStream) -> Self {
        stream.set_read_timeout(Some(patience())).unwrap();
        Self(BufReader::new(stream), String::new())
    }

    fn send(&mut self, line: &str) {
        self.0.get_mut().write_all(format!("{line}\r\n").as_bytes()).unwrap();
    }

    fn expect_reply(&mut self) -> String {
        let mut ack = String::new();
        loop {
            let mut line = String::new();
            let read = self
                .0
                .read_line(&mut line)
                .unwrap_or_else(|error| panic!("{error} after {ack:?} {}", self.1));
            assert!(read > 0, "the connection ended after {ack:?}");
            ack.push_str(&line);
            if line.as_bytes().get(3) != Some(&b'-') {
                return ack;
            }
        }
    }

    fn wants(&mut self, id: ReplyId, subject: &str) {
        assert_eq!(self.expect_reply(), table().refusing(id, subject).to_string(), "{}", self.1);
    }

    /// Lines, and the reply to each.
    fn talks(&mut self, dialogue: &[(&str, ReplyId, &str)]) {
        for (line, id, subject) in dialogue {
            self.send(line);
            self.wants(*id, subject);
        }
    }

    fn ends(mut self) {
        let mut rest = Vec::new();
        self.0.read_to_end(&mut rest).unwrap();
        assert_eq!(String::from_utf8_lossy(&rest), "");
    }
}

#[test]
fn a_refused_destination_gets_the_whole_dialogue_from_the_program() {
    if !gate::require(NEEDS) {
        return;
    }
    for path in PATHS {
        let scene = Scene::new(path, ENFORCE.refuse_at);
        let mut sender = Sender::new(scene.connect(OURS).unwrap());
        sender.wants(ReplyId::Greeting, "");
        sender.talks(&[
            ("EHLO mail.example", ReplyId::Ehlo, ""),
            ("MAIL FROM:<a@mail.example>", ReplyId::Mail, ""),
            ("RCPT TO:<user@contoso.com>", ReplyId::NotOptedIn, "contoso.com"),
            ("RCPT TO:<postmaster>", ReplyId::NotOptedIn, "2001:db8:2::25"),
            ("DATA", ReplyId::NoRecipients, ""),
            ("RSET", ReplyId::Rset, ""),
            ("QUIT", ReplyId::Quit, ""),
        ]);
        sender.ends();
        assert_eq!(scene.counted(Stat::AnswerReply), 7, "{path:?}");
        assert_eq!(scene.counted(Stat::AlsoBegunNotOptedIn), 1, "{path:?}");
    }
}

#[test]
fn a_source_without_ptr_gets_its_own_address() {
    if !gate::require(NEEDS) {
        return;
    }
    for path in PATHS {
        let scene = Scene::new(path, ENFORCE.refuse_at);
        scene.maps().ptr_set(SENDER, PtrState::Absent, PtrOrigin::Dns, Duration::from_secs(3600)).unwrap();
        let mut sender = Sender::new(scene.connect(OPTED_IN).unwrap());
        sender.wants(ReplyId::Greeting, "");
        sender.talks(&[
            ("HELO mail.example", ReplyId::Helo, ""),
            ("MAIL FROM:<>", ReplyId::Mail, ""),
            ("RCPT TO:<user@contoso.com>", ReplyId::NoPtr, "2001:db8:f::99"),
            ("QUIT", ReplyId::Quit, ""),
        ]);
        sender.ends();
    }
}

#[test]
fn replies_that_wait_to_be_read_are_joined_without_a_gap() {
    if !gate::require(NEEDS) {
        return;
    }
    for path in PATHS {
        let scene = Scene::new(path, ENFORCE.refuse_at);
        // how much space the kernel leaves behind a frame differs from one to the next
        for _ in 0..30 {
            let mut stream = scene.connect(OURS).unwrap();
            stream.set_read_timeout(Some(patience())).unwrap();
            let mut wanted = table().refusing(ReplyId::Greeting, "").to_string();
            wait_for(&stream, wanted.len());
            for (line, id) in [
                ("NOOP", ReplyId::Noop),
                ("EHLO mail.example", ReplyId::Ehlo),
                ("MAIL FROM:<a@mail.example>", ReplyId::Mail),
                ("RSET", ReplyId::Rset),
                ("QUIT", ReplyId::Quit),
            ] {
                stream.write_all(format!("{line}\r\n").as_bytes()).unwrap();
                wanted.push_str(&table().refusing(id, "").to_string());
                wait_for(&stream, wanted.len());
            }
            let mut ack = String::new();
            stream.read_to_string(&mut ack).unwrap();
            assert_eq!(ack, wanted, "{path:?}");
        }
    }
}

/// Waits until so many octets can be read, and leaves them in the socket, where the kernel joins
/// what comes.
fn wait_for(stream: &TcpStream, octets: usize) {
    let mut waiting = vec![MaybeUninit::new(0); octets];
    let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_WAITALL;
    SockRef::from(stream).recv_with_flags(&mut waiting, flags.bits()).unwrap();
}

#[test]
fn the_other_styles_refuse_at_once() {
    if !gate::require(NEEDS) {
        return;
    }
    for path in PATHS {
        let scene = Scene::new(path, REFUSE_AT_GREETING);
        let mut sender = Sender::new(scene.connect(OURS).unwrap());
        sender.wants(ReplyId::GreetingRefused, "2001:db8:2::25");
        sender.talks(&[("EHLO mail.example", ReplyId::BadSequence, ""), ("QUIT", ReplyId::Quit, "")]);
        sender.ends();

        let scene = Scene::new(path, REFUSE_AT_RESET);
        let error = scene.connect(OURS).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::ConnectionRefused, "{path:?}");
    }
}

#[test]
fn a_port_that_is_used_again_within_milliseconds_begins_a_new_session() {
    const SESSIONS: u64 = 100;
    if !gate::require(NEEDS) {
        return;
    }
    for path in PATHS {
        let scene = Scene::new(path, ENFORCE.refuse_at);
        // sequence numbers and cookies of the next connection are a little above those of the last
        // one
        for _ in 0..SESSIONS {
            let mut sender = Sender::new(scene.connect_from(40_000, OURS));
            sender.1 = format!("{path:?}");
            sender.wants(ReplyId::Greeting, "");
            sender.talks(&[("QUIT", ReplyId::Quit, "")]);
            sender.ends();
        }
        assert_eq!(scene.counted(Stat::AlsoBegunNotOptedIn), SESSIONS, "{path:?}");
        assert_eq!(scene.counted(Stat::AlsoEnded), SESSIONS, "{path:?}");
    }
}

#[test]
fn lines_are_answered_one_by_one_however_they_are_cut() {
    if !gate::require(NEEDS) {
        return;
    }
    for path in PATHS {
        let scene = Scene::new(path, ENFORCE.refuse_at);
        let mut sender = Sender::new(scene.connect(OURS).unwrap());
        sender.0.get_ref().set_nodelay(true).unwrap();
        sender.1 = format!("{path:?}");
        // before the greeting, several at once, and in pieces
        sender.0.get_mut().write_all(b"EHLO a\r\nMAIL FROM:<a@b.example>\r\n").unwrap();
        sender.wants(ReplyId::Greeting, "");
        sender.wants(ReplyId::Ehlo, "");
        sender.wants(ReplyId::Mail, "");
        for piece in ["RCPT TO:<u@conto", "so.com>", "\r\n"] {
            sender.0.get_mut().write_all(piece.as_bytes()).unwrap();
        }
        sender.wants(ReplyId::NotOptedIn, "contoso.com");
        sender.0.get_mut().write_all(&[b'x'; 20_000]).unwrap();
        sender.0.get_mut().write_all(b"\r\nNOOP\r\n").unwrap();
        sender.wants(ReplyId::TooLong, "");
        sender.wants(ReplyId::Noop, "");
        sender.0.get_mut().write_all(b"NOOP\n").unwrap();
        sender.wants(ReplyId::BareLineEnd, "");
        sender.ends();
    }
}

#[test]
fn a_line_that_comes_in_two_writes_is_answered() {
    if !gate::require(NEEDS) {
        return;
    }
    for path in PATHS {
        let scene = Scene::new(path, ENFORCE.refuse_at);
        let mut sender = Sender::new(scene.connect(OURS).unwrap());
        sender.wants(ReplyId::Greeting, "");
        sender.talks(&[("EHLO a", ReplyId::Ehlo, ""), ("MAIL FROM:<a@b.example>", ReplyId::Mail, "")]);
        // Nagle's algorithm holds the second write back until the first is acknowledged (RFC 9293
        // 3.7.4)
        sender.0.get_mut().write_all(b"RCPT TO:<u@conto").unwrap();
        sender.0.get_mut().write_all(b"so.com>\r\n").unwrap();
        sender.wants(ReplyId::NotOptedIn, "contoso.com");
        sender.talks(&[("QUIT", ReplyId::Quit, "")]);
        sender.ends();
    }
}
