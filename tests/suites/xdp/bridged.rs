//! A sender behind a bridge whose port finishes checksums in software: answers to its frames have
//! to be right on the way back, too, or be the host's.

use std::{
    io::{BufRead as _, BufReader},
    net::{Ipv6Addr, SocketAddrV6},
};

use sixgate::control::compile_replies;
use sixgate_common::{
    settings::{ANSWER_KERNEL, Settings},
    stat::Stat,
};
use sixgate_dataplane::{AttachMode, attach};
use sixgate_smtp::reply::ReplyTable;
use sixgate_tests::{
    gate::{self, Need},
    netns::Netns,
    timeouts::patience,
};

use crate::{
    host::Host,
    program::{ENFORCE, OURS},
};

const NEEDS: &[Need] = &[Need::Root, Need::Bpffs, Need::Xdp, Need::Program("ip"), Need::Program("ethtool")];
const SENDER: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xf, 0, 0, 0, 0, 0x99);

#[test]
fn a_sender_behind_a_port_that_finishes_checksums_is_greeted() {
    if !gate::require(NEEDS) {
        return;
    }
    for finishes in [true, false] {
        // `Host` joins the gate to a neighbour, which is the bridge here
        let host = Host::new();
        let sender = Netns::new().unwrap();
        let bridge = &host.theirs;
        bridge.join("port0", &sender, "sender0").unwrap();
        bridge.ip("link add bridge0 type bridge").unwrap();
        for port in ["peer0", "port0"] {
            bridge.ip(&format!("link set {port} master bridge0")).unwrap();
        }
        bridge.ip("link set bridge0 up").unwrap();
        if finishes {
            bridge.run(|| {
                let done = std::process::Command::new("ethtool")
                    .args(["-K", "port0", "tx", "off"])
                    .output()
                    .unwrap();
                assert!(done.status.success(), "{done:?}");
            });
        }
        host.ours.ip(&format!("address add {OURS}/128 dev gate0 nodad")).unwrap();
        host.ours.ip(&format!("route add {SENDER}/128 dev gate0")).unwrap();
        sender.ip(&format!("address add {SENDER}/128 dev sender0 nodad")).unwrap();
        sender.ip("route add 2001:db8::/32 dev sender0").unwrap();
        let mut plan = host.plan(&["gate0"]);
        plan.mode = AttachMode::Generic;
        plan.settings = Settings { answer: ANSWER_KERNEL, ..ENFORCE };
        plan.replies = compile_replies(&ReplyTable::new("gate.example", 1000));
        host.ours.run(|| attach(&plan)).unwrap();
        // stands for the daemon
        let daemon = host.ours.listen((OURS, 25).into()).unwrap();

        let destination = SocketAddrV6::new(OURS, 25, 0, 0);
        let stream = sender.connect(SocketAddrV6::new(SENDER, 0, 0, 0), destination).unwrap();
        let count =
            |stat| host.maps().stats().unwrap().into_iter().find(|(known, _)| *known == stat).unwrap().1;
        // the sender's system leaves checksums to its device, and the bridge is not the link's
        // other end
        assert_eq!((count(Stat::PassUnfinished), count(Stat::AnswerSyn)), (1, 0), "{finishes}");
        let (mut accepted, _) = daemon.accept().unwrap();
        std::io::Write::write_all(&mut accepted, b"220 the daemon\r\n").unwrap();
        stream.set_read_timeout(Some(patience())).unwrap();
        let mut ack = String::new();
        BufReader::new(&stream).read_line(&mut ack).unwrap();
        assert_eq!(ack, "220 the daemon\r\n");
    }
}
