//! From a frame to an opening SYN to port 25: what is understood, and which counter tells what is
//! not.

use std::net::Ipv6Addr;

use proptest::{
    collection::vec,
    prelude::any,
    sample::{Index, select},
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use sixgate_common::stat::Stat;
use sixgate_tests::{
    gate,
    packet::{
        Extension, Packet, Vlan,
        tcp::{ACK, CWR, ECE, FIN, PSH, RST, SYN},
    },
};

use crate::program::{NEEDS, Outcome, Program, XDP_PASS};

/// Every way to a decision is seen by this one: the destination is ours and has not opted in.
const UNDERSTOOD: Stat = Stat::TagNotOptedIn;

#[test]
fn each_kind_of_frame_is_passed_and_counted() {
    if !gate::require(NEEDS) {
        return;
    }
    let syn = Packet::syn;
    let flags = |flags| Packet::syn().flags(flags);
    let chain = |count: usize, extension: Extension| {
        (0..count).fold(Packet::syn(), |packet, _| packet.extension(extension))
    };
    let hop_by_hop = Extension::HopByHop;
    let destination = Extension::Destination;
    let mixed = syn()
        .extension(hop_by_hop(0))
        .extension(destination(1))
        .extension(Extension::Routing(0))
        .extension(destination(31));
    let multicast = Ipv6Addr::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    let rows: &[(&str, Packet, Stat)] = &[
        ("an opening SYN", syn(), UNDERSTOOD),
        ("a SYN without options", flags(SYN), UNDERSTOOD),
        ("a SYN with data", syn().payload(100), UNDERSTOOD),
        ("a SYN with ECN", flags(SYN | ECE | CWR), UNDERSTOOD),
        ("a SYN with PSH", flags(SYN | PSH), UNDERSTOOD),
        ("a SYN-ACK", flags(SYN | ACK), Stat::PassSegment),
        ("SYN and FIN", flags(SYN | FIN), Stat::PassSegment),
        ("SYN and RST", flags(SYN | RST), Stat::PassSegment),
        ("everything at once", flags(0xff), Stat::PassSegment),
        ("no flag", flags(0), Stat::PassSegment),
        ("an ACK", flags(ACK), Stat::PassSegment),
        ("an ACK with data", flags(ACK | PSH).payload(500), Stat::PassSegment),
        ("FIN and ACK", flags(FIN | ACK), Stat::PassSegment),
        ("a RST", flags(RST), Stat::PassSegment),
        ("to port 24", syn().destination_port(24), Stat::PassOtherPort),
        ("to port 587", syn().destination_port(587), Stat::PassOtherPort),
        ("to port 25 in the wrong order of octets", syn().destination_port(25 << 8), Stat::PassOtherPort),
        ("from port 25", syn().source_port(25).destination_port(40_000), Stat::PassOtherPort),
        ("UDP to port 25", Packet::udp().payload(40), Stat::PassNotTcp),
        ("IPv4", syn().ether_type(0x0800), Stat::PassNotIpv6),
        ("ARP", syn().ether_type(0x0806), Stat::PassNotIpv6),
        ("to a multicast address", syn().destination(multicast), Stat::PassMulticast),
        ("UDP to a multicast address", Packet::udp().destination(multicast), Stat::PassMulticast),
        ("one VLAN tag", syn().vlan(Vlan::Customer), UNDERSTOOD),
        ("one service tag", syn().vlan(Vlan::Service), UNDERSTOOD),
        ("two VLAN tags", syn().vlan(Vlan::Service).vlan(Vlan::Customer), UNDERSTOOD),
        ("IPv4 in a VLAN", syn().vlan(Vlan::Customer).ether_type(0x0800), Stat::PassNotIpv6),
        (
            "three VLAN tags",
            syn().vlan(Vlan::Service).vlan(Vlan::Customer).vlan(Vlan::Customer),
            Stat::PassVlanDepth,
        ),
        ("hop-by-hop options", chain(1, hop_by_hop(0)), UNDERSTOOD),
        ("destination options", chain(1, destination(0)), UNDERSTOOD),
        ("the longest options", chain(1, destination(255)).payload(9), UNDERSTOOD),
        ("routing, no segment left", chain(1, Extension::Routing(0)), UNDERSTOOD),
        ("routing, a segment left", chain(1, Extension::Routing(1)), Stat::PassRouting),
        ("routing, all segments left", chain(1, Extension::Routing(255)), Stat::PassRouting),
        ("several kinds", mixed.clone(), UNDERSTOOD),
        ("several kinds in two VLANs", mixed.vlan(Vlan::Service).vlan(Vlan::Customer), UNDERSTOOD),
        ("six extension headers", chain(6, destination(0)), UNDERSTOOD),
        ("six of another kind", chain(6, Extension::Routing(0)), UNDERSTOOD),
        ("six hop-by-hop headers", chain(6, hop_by_hop(2)), UNDERSTOOD),
        ("seven extension headers", chain(7, destination(0)), Stat::PassExtensionLimit),
        (
            "seven, the last a routing header",
            chain(6, destination(0)).extension(Extension::Routing(0)),
            LIMIT,
        ),
        ("twelve extension headers", chain(12, hop_by_hop(0)), Stat::PassExtensionLimit),
        ("a first fragment", chain(1, Extension::Fragment(0, true)), Stat::PassFragment),
        ("a later fragment", chain(1, Extension::Fragment(185, true)), Stat::PassFragment),
        ("the last fragment", chain(1, Extension::Fragment(185, false)), Stat::PassFragment),
        ("an atomic fragment", chain(1, Extension::Fragment(0, false)), Stat::PassFragment),
        ("a fragment behind six headers", chain(6, destination(0)).extension(FRAGMENT), Stat::PassFragment),
        ("an authentication header", chain(1, Extension::Authentication), Stat::PassIpsec),
        ("ESP", chain(1, Extension::Esp), Stat::PassIpsec),
        ("ESP behind options", chain(1, hop_by_hop(0)).extension(Extension::Esp), Stat::PassIpsec),
        ("a mobility header", chain(1, Extension::Mobility), Stat::PassNotTcp),
        ("as much as fits into one buffer", syn().payload(3400), UNDERSTOOD),
        ("more than one buffer", syn().payload(5000), UNDERSTOOD),
        ("headers in more than one buffer", chain(3, destination(255)).payload(5000), Stat::PassMultiBuffer),
        ("IPv4 in more than one buffer", syn().payload(5000).ether_type(0x0800), Stat::PassNotIpv6),
    ];
    let mut program = Program::load();
    for (name, packet, stat) in rows {
        let outcome = program.run(&packet.build());
        assert_eq!(outcome, Outcome { action: XDP_PASS, stat: *stat }, "{name}");
    }
    assert_eq!(program.packets_counted(), rows.len() as u64);
}

#[test]
fn a_spoilt_header_is_passed_and_counted() {
    if !gate::require(NEEDS) {
        return;
    }
    let ip = Packet::syn().ipv6_offset();
    let tcp = ip + 40;
    let with = |at: usize, octets: &[u8]| {
        let mut frame = Packet::syn().build();
        frame[at..at + octets.len()].copy_from_slice(octets);
        frame
    };
    let padded = {
        let mut frame = Packet::syn().build();
        frame.extend([0; 30]);
        frame
    };
    let mut program = Program::load();
    for (name, frame, stat) in [
        ("version 4", with(ip, &[0x45]), Stat::PassNotIpv6),
        ("version 0", with(ip, &[0]), Stat::PassNotIpv6),
        ("a payload longer than the frame", with(ip + 4, &[0, 25]), Stat::PassTruncated),
        ("the longest payload", with(ip + 4, &[0xff, 0xff]), Stat::PassTruncated),
        ("no payload", with(ip + 4, &[0, 0]), Stat::PassTruncated),
        ("a payload without the TCP options", with(ip + 4, &[0, 20]), Stat::PassTruncated),
        ("a payload shorter than a TCP header", with(ip + 4, &[0, 19]), Stat::PassTruncated),
        ("a TCP header shorter than the shortest", with(tcp + 12, &[0x40]), Stat::PassTruncated),
        ("a TCP header without length", with(tcp + 12, &[0]), Stat::PassTruncated),
        ("a TCP header longer than the packet", with(tcp + 12, &[0xf0]), Stat::PassTruncated),
        ("no next header", with(ip + 6, &[59]), Stat::PassNotTcp),
        ("options in place of TCP", with(ip + 6, &[60]), Stat::PassTruncated),
        ("padding behind the packet", padded, UNDERSTOOD),
    ] {
        let outcome = program.run(&frame);
        assert_eq!(outcome, Outcome { action: XDP_PASS, stat }, "{name}");
    }
}

#[test]
fn every_truncation_is_passed_and_counted() {
    if !gate::require(NEEDS) {
        return;
    }
    let plain = Packet::syn();
    let tagged = Packet::syn().vlan(Vlan::Service).vlan(Vlan::Customer);
    let chained = tagged
        .clone()
        .extension(Extension::HopByHop(1))
        .extension(Extension::Routing(0))
        .extension(Extension::Destination(0));
    let mut program = Program::load();
    for packet in [plain, tagged, chained] {
        let whole = packet.build();
        assert_eq!(program.run(&whole).stat, UNDERSTOOD);
        let headers = packet.ipv6_offset() + 40;
        for length in SHORTEST..whole.len() {
            let mut frame = whole[..length].to_vec();
            let wanted = Outcome { action: XDP_PASS, stat: Stat::PassTruncated };
            assert_eq!(program.run(&frame), wanted, "{length} octets");
            // the same, with an IPv6 header that knows of it
            if let Some(payload) = length.checked_sub(headers) {
                let field = packet.ipv6_offset() + 4;
                frame[field..field + 2].copy_from_slice(&u16::try_from(payload).unwrap().to_be_bytes());
                assert_eq!(program.run(&frame), wanted, "{length} octets, and the packet says so");
            }
        }
    }
}

#[test]
fn any_packet_is_passed_and_raises_one_counter() {
    if !gate::require(NEEDS) {
        return;
    }
    let seeds: Vec<Vec<u8>> = [
        Packet::syn(),
        Packet::syn().vlan(Vlan::Customer).extension(Extension::HopByHop(0)),
        Packet::syn().extension(Extension::Routing(0)).extension(Extension::Destination(3)),
        Packet::udp(),
    ]
    .map(|packet| packet.build())
    .into();
    let spoilt = (select(seeds), vec((any::<Index>(), any::<u8>()), 0..6), any::<Index>());
    let rng = TestRng::deterministic_rng(RngAlgorithm::ChaCha);
    let mut runner = TestRunner::new_with_rng(Config::with_cases(3000), rng);
    let program = std::cell::RefCell::new(Program::load());
    runner
        .run(&spoilt, |(mut frame, changes, end)| {
            for (at, octet) in changes {
                let at = at.index(frame.len());
                frame[at] = octet;
            }
            frame.truncate(SHORTEST + end.index(2 * frame.len()));
            assert_eq!(program.borrow_mut().run(&frame).action, XDP_PASS);
            Ok(())
        })
        .unwrap();
}

const LIMIT: Stat = Stat::PassExtensionLimit;
const FRAGMENT: Extension = Extension::Fragment(0, true);
/// The kernel runs no program on less than an Ethernet header.
const SHORTEST: usize = 14;
