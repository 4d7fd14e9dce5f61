//! Floods of SYNs and of acknowledgements that belong to no handshake, from senders that are not
//! there, while mail to an address that has opted in goes on.

use std::{
    net::{Ipv6Addr, SocketAddrV6},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
};

use sixgate_tests::{
    gate,
    packet::{Packet, tcp},
    scene::{Link, Scene},
    site::{GATE, OTHER, Site},
};
use socket2::{Domain, Protocol, Socket, Type};

use crate::{
    kernel::NEEDS,
    undisturbed::{ZONE, deliver},
};

#[test]
fn mail_goes_on_during_a_flood_of_syns() {
    flood("answer_syn", |random| Packet::syn().sequence(random));
}

#[test]
fn mail_goes_on_during_a_flood_of_spoofed_acknowledgements() {
    flood("pass_segment", |random| {
        Packet::syn().flags(tcp::ACK).sequence(random).acknowledgment(random.wrapping_mul(0x85eb_ca6b))
    });
}

/// Mail goes on while packets that `packet` makes flood an address that has not opted in; `counter`
/// counts them.
fn flood(counter: &str, packet: fn(u32) -> Packet) {
    if !gate::require(NEEDS) {
        return;
    }
    let (packets, messages) = if gate::long() { (2_000_000, 500) } else { (30_000, 10) };
    let scene = Scene::new(Link::Native, ZONE, "").unwrap();
    let site = &scene.site;
    site.sixgate(&format!("optin add {GATE}"));
    site.sixgate("domain add contoso.com");
    // what the host sends to senders that are not there goes out over the link
    site.route(&format!("{NOWHERE}/64"));
    let daemon = site.serve(&[]);
    deliver(site, 0);

    let (sent, over) = (AtomicU64::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) || sent.load(Ordering::Relaxed) < packets {
                let before = sent.load(Ordering::Relaxed);
                send(site, before, packet);
                sent.store(before + BURST, Ordering::Relaxed);
            }
        });
        for number in 1..=messages {
            deliver(site, number);
        }
        over.store(true, Ordering::Relaxed);
    });
    let sent = sent.load(Ordering::Relaxed);
    let counted = site.counter(counter);
    // with the segments of the messages
    let most = sent + SEGMENTS_MAX * (messages + 1);
    assert!(counted <= most && counted * 2 >= sent, "{counted} of {sent} packets were counted");
    // the program keeps no state for an address that is not there
    assert_eq!(site.counter("answer_greeting"), 0);
    assert_eq!(site.counter("pass_opted_in"), messages + 1);
    assert_eq!(site.delivered().len() as u64, messages + 1);
    daemon.stop().unwrap();
}

/// Sends [`BURST`] packets, each from another sender, as a host that lies about its address can.
fn send(site: &Site, first: u64, packet: fn(u32) -> Packet) {
    let destination: Ipv6Addr = OTHER.parse().unwrap();
    let nowhere: Ipv6Addr = NOWHERE.parse().unwrap();
    site.outside.run(|| {
        // a raw socket of this protocol takes whole IPv6 packets (ipv6(7))
        let raw = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::from(IPPROTO_RAW))).unwrap();
        let to = SocketAddrV6::new(destination, 0, 0, 0).into();
        for number in first..first + BURST {
            let random = (number as u32).wrapping_mul(0x9e37_79b9);
            let source = Ipv6Addr::from(u128::from(nowhere) | u128::from(random));
            let port = 1024 + (random >> 16) as u16 % 60_000;
            let packet = packet(random).source(source).source_port(port).destination(destination);
            // a full queue loses packets, as a link does
            let _ = raw.send_to(&packet.build()[packet.ipv6_offset()..], &to);
        }
    });
}

/// Packets for which one socket is used.
const BURST: u64 = 5000;
/// A network of the outside without hosts.
const NOWHERE: &str = "2001:db8:77::";
const IPPROTO_RAW: i32 = 255;
/// Segments of a sender for one message, at most.
const SEGMENTS_MAX: u64 = 100;
