//! A driver that leaves frames space neither at their head nor at their end: a client that talks to
//! the program is reset at worst, and never left to wait.

use std::{
    io::{BufRead as _, BufReader, ErrorKind, Write as _},
    net::{Ipv6Addr, SocketAddrV6, TcpStream},
};

use aya::programs::{ProgramInfo, XdpMode};
use sixgate::control::compile_replies;
use sixgate_common::{
    reply::GROWTH_MAX,
    settings::{ANSWER_KERNEL, Settings},
    stat::Stat,
};
use sixgate_dataplane::{AttachMode, Station, attach};
use sixgate_smtp::reply::ReplyTable;
use sixgate_tests::{
    gate,
    timeouts::patience,
    xdp_helper::{Narrow, Pass},
};

use crate::{
    host::{Host, NEEDS},
    program::{ENFORCE, NATIVE, OURS},
};

const SENDER: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xf, 0, 0, 0, 0, 0x99);

/// The end of a sender's session with a whole dialogue.
#[derive(Debug, Eq, PartialEq)]
enum End {
    Whole,
    Reset,
}

/// A name that makes the reply to EHLO 200 octets longer than the command: more than there is at
/// either end.
fn host_name() -> String {
    format!("{}.example", "g".repeat(56)).repeat(2).replace("exampleg", "example.g")
}

fn speak(stream: TcpStream) -> End {
    stream.set_read_timeout(Some(patience())).unwrap();
    let mut stream = BufReader::new(stream);
    let lines = ["", "EHLO a.example", "MAIL FROM:<a@a.example>", "RCPT TO:<u@contoso.com>", "QUIT"];
    for sent in lines {
        let ended = |error: std::io::Error| {
            assert!(
                matches!(error.kind(), ErrorKind::ConnectionReset | ErrorKind::BrokenPipe),
                "after {sent:?}: {error}"
            );
            End::Reset
        };
        if !sent.is_empty()
            && let Err(error) = stream.get_mut().write_all(format!("{sent}\r\n").as_bytes())
        {
            return ended(error);
        }
        loop {
            let mut line = String::new();
            match stream.read_line(&mut line) {
                Err(error) => return ended(error),
                Ok(read) => assert!(read > 0, "the connection ended after {sent:?}"),
            }
            if line.as_bytes().get(3) != Some(&b'-') {
                break;
            }
        }
    }
    End::Whole
}

#[test]
fn where_a_reply_has_no_room_the_session_is_reset() {
    if !gate::require(NEEDS) {
        return;
    }
    let host = Host::new();
    let _peer = Pass::attach(&host.theirs, "peer0", XdpMode::Driver).unwrap();
    host.ours.ip(&format!("address add {OURS}/128 dev gate0 nodad")).unwrap();
    host.ours.ip(&format!("route add {SENDER}/128 dev gate0")).unwrap();
    host.theirs.ip(&format!("address add {SENDER}/128 dev peer0 nodad")).unwrap();
    host.theirs.ip("route add 2001:db8::/32 dev peer0").unwrap();
    // the program proper is on another interface, and the one before it on this one
    let mut plan = host.plan(&["lo"]);
    plan.mode = AttachMode::Generic;
    plan.settings = Settings { answer: ANSWER_KERNEL, ..ENFORCE };
    plan.replies = compile_replies(&ReplyTable::new(host_name(), 1000));
    host.ours.run(|| attach(&plan)).unwrap();
    let program = ProgramInfo::from_pin(host.pins().directory().join("program")).unwrap();
    let mut narrow = Narrow::before(&program.fd().unwrap(), GROWTH_MAX as u32 / 2).unwrap();
    narrow.attach(&host.ours, "gate0").unwrap();
    let mut maps = host.maps();
    let mut stations = maps.stations().unwrap();
    let shown = host.ours.ip("-br link show dev gate0").unwrap();
    let mut mac = [0; 6];
    let octets = shown.split_whitespace().nth(2).unwrap().split(':');
    octets.zip(&mut mac).for_each(|(text, octet)| *octet = u8::from_str_radix(text, 16).unwrap());
    let ifindex = host.ours.run(|| nix::net::if_::if_nametoindex("gate0")).unwrap();
    stations.insert(Station { ifindex, mac }, NATIVE);
    maps.set_stations(&stations).unwrap();

    let count = |stat| maps.stats().unwrap().into_iter().find(|(known, _)| *known == stat).unwrap().1;
    let mut ends = Vec::new();
    // how much space the kernel leaves at the end differs from frame to frame
    for _ in 0..40 {
        let from = SocketAddrV6::new(SENDER, 0, 0, 0);
        let stream = host.theirs.connect(from, SocketAddrV6::new(OURS, 25, 0, 0)).unwrap();
        ends.push(speak(stream));
        if ends.contains(&End::Reset) {
            break;
        }
    }
    assert!(ends.contains(&End::Reset), "{ends:?}");
    assert!(count(Stat::AnswerNoRoom) > 0);
    assert_eq!(count(Stat::DropNoRoom), 0);
}
