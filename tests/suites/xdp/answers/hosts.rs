//! The host's own connections stay the host's: they are never answered, regardless of changes to
//! the maps meanwhile.

use std::{
    io::{Read as _, Write as _},
    net::{Shutdown, SocketAddrV6, TcpListener, TcpStream},
};

use ipnet::Ipv6Net;
use sixgate_common::stat::Stat;
use sixgate_tests::{
    gate::{self, Need},
    netns::{Netns, connect},
    packet::{
        Packet,
        tcp::{ACK, FIN, PSH, RST},
    },
};

use super::session::{CLIENT, Observed, Sender, bare, greeting, line, load, replied};
use crate::program::{Fate, NEEDS, NO_PTR, OPTED_IN, OURS, Program};

#[test]
fn a_connection_that_the_program_never_saw_is_passed_on() {
    if !gate::require(NEEDS) {
        return;
    }
    let mut program = load();
    for (source, destination) in [(CLIENT, OURS), (NO_PTR, OPTED_IN)] {
        let segment = |flags: u8, data: &[u8]| {
            let packet = Packet::syn().source(source).destination(destination).flags(flags).data(data);
            packet.sequence(4_000_000_000).acknowledgment(2_000_000_000)
        };
        // with a cookie in it or not: only the beginning of a connection could hold one
        for (flags, data) in [(ACK, &b""[..]), (PSH | ACK, b"NOOP\r\n"), (PSH | ACK, &[b'x'; 600])] {
            assert_eq!(program.send(&segment(flags, data)), Fate::Passed(Stat::PassSegment));
        }
        for (flags, data) in [
            (ACK, &[b'x'; 1220][..]),
            (PSH | ACK, &[b'x'; 4000]),
            (FIN | ACK, b""),
            (RST, b""),
            (RST | ACK, b""),
            (0, b"x"),
        ] {
            assert_eq!(program.send(&segment(flags, data)), Fate::Passed(Stat::PassSegment));
        }
    }
    assert_eq!(program.counter(Stat::AlsoBegunNotOptedIn) + program.counter(Stat::AlsoBegunNoPtr), 0);
}

/// A host whose TCP has a connection of a tuple that is refused.
struct Host {
    netns: Netns,
    listener: TcpListener,
}

impl Host {
    fn new() -> Self {
        let netns = Netns::new().unwrap();
        for address in [OURS, CLIENT] {
            netns.add_address("lo", Ipv6Net::from(address)).unwrap();
        }
        let listener = netns.listen(SocketAddrV6::new(OURS, 25, 0, 0).into()).unwrap();
        Self { netns, listener }
    }

    fn connect(&self, port: u16) -> (TcpStream, TcpStream) {
        let source = SocketAddrV6::new(CLIENT, port, 0, 0);
        let client = self.netns.run(|| connect(source, SocketAddrV6::new(OURS, 25, 0, 0))).unwrap();
        (client, self.listener.accept().unwrap().0)
    }
}

/// The answer to a right acknowledgement, sent within the host's namespace.
fn complete(program: &mut Program, host: &Host, port: u16) -> (Sender, Observed) {
    host.netns.run(|| {
        let syn = Packet::syn().source(CLIENT).destination(OURS).source_port(port);
        let sender = Sender::half_open_with(program, &syn);
        let observed = sender.send(program, bare(ACK, 0, 0));
        (sender, observed)
    })
}

#[test]
fn a_connection_of_the_hosts_is_never_taken_over() {
    if !gate::require(&[NEEDS, &[Need::Program("ip")]].concat()) {
        return;
    }
    let mut program = load();
    let host = Host::new();
    let greeted = replied(Stat::AnswerGreeting, 0, 0, &greeting());

    // a listening socket is not a connection
    assert_eq!(complete(&mut program, &host, 2000).1, greeted);

    // established, by packets that the program never saw; a cookie cannot be hit by chance
    let (mut client, mut accepted) = host.connect(2001);
    let (sender, observed) = complete(&mut program, &host, 2001);
    assert_eq!(observed, greeted);

    // numbers that are near a cookie can, so the host's connections are looked for
    sender.forget(&mut program);
    let near = |program: &mut Program| {
        let g = i32::try_from(greeting().len()).unwrap();
        host.netns.run(|| sender.send(program, line(0, g, b"NOOP\r\n")))
    };
    assert_eq!(near(&mut program), Observed::Passed(Stat::PassOwned));
    assert_eq!(sender.entry(&mut program), None);
    accepted.write_all(b"220 hello\r\n").unwrap();
    let mut ack = [0; 11];
    client.read_exact(&mut ack).unwrap();

    // half closed is alive
    client.shutdown(Shutdown::Write).unwrap();
    assert_eq!(accepted.read(&mut [0; 1]).unwrap(), 0);
    assert_eq!(near(&mut program), Observed::Passed(Stat::PassOwned));

    // in another namespace no process has the connection
    let g = i32::try_from(greeting().len()).unwrap();
    let observed = sender.send(&mut program, line(0, g, b"NOOP\r\n"));
    assert!(matches!(observed, Observed::Answered { stat: Stat::AnswerReply, .. }), "{observed:?}");
    assert_eq!(program.counter(Stat::AlsoResumed), 1);
}
