//! Real connections through an attached program, and the addresses that are guarded by default.

use std::{
    collections::BTreeSet,
    net::{Ipv6Addr, SocketAddr, SocketAddrV6, TcpListener},
};

use ipnet::Ipv6Net;
use sixgate_common::{refuse::REASON_NOT_OPTED_IN, stat::Stat};
use sixgate_dataplane::{
    AttachMode, RunMode, attach, flow_key, interface_addresses, interface_called, watch_network,
};
use sixgate_tests::gate;

use crate::host::{Host, NEEDS};

const OURS: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 0x25);
const OPTED_IN: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 1, 0, 0, 0, 0, 0x25);
const NEIGHBOUR: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 2, 0, 0, 0, 0, 0x99);

fn net(address: Ipv6Addr, length: u8) -> Ipv6Net {
    Ipv6Net::new(address, length).unwrap()
}

fn v6(address: SocketAddr) -> SocketAddrV6 {
    match address {
        SocketAddr::V6(address) => address,
        SocketAddr::V4(address) => panic!("{address} is no IPv6 address"),
    }
}

fn count(host: &Host, stat: Stat) -> u64 {
    host.maps().stats().unwrap().into_iter().find(|(found, _)| *found == stat).unwrap().1
}

/// Connects from the neighbour to `destination`; the socket addresses that the host's accept tells.
fn accept(host: &Host, listener: &TcpListener, destination: Ipv6Addr) -> (SocketAddrV6, SocketAddrV6) {
    let source = SocketAddrV6::new(NEIGHBOUR, 0, 0, 0);
    let _client = host.theirs.connect(source, SocketAddrV6::new(destination, 25, 0, 0)).unwrap();
    let (accepted, peer) = listener.accept().unwrap();
    (v6(peer), v6(accepted.local_addr().unwrap()))
}

#[test]
fn a_tag_is_there_when_the_connection_is_accepted() {
    if !gate::require(NEEDS) {
        return;
    }
    for (mode, runs) in [(AttachMode::Native, RunMode::Native), (AttachMode::Generic, RunMode::Generic)] {
        let host = Host::new();
        for address in [OURS, OPTED_IN] {
            host.ours.add_address("gate0", net(address, 32)).unwrap();
        }
        host.theirs.add_address("peer0", net(NEIGHBOUR, 32)).unwrap();
        let mut plan = host.plan(&["gate0"]);
        plan.mode = mode;
        assert_eq!(host.ours.run(|| attach(&plan)).unwrap()[0].mode, runs);
        let listener = host.ours.listen("[::]:25".parse().unwrap()).unwrap();

        let (peer, local) = accept(&host, &listener, OURS);
        let tag = host.maps().take_tag(&flow_key(&peer, &local)).unwrap().unwrap();
        assert_eq!(tag.reason, u32::from(REASON_NOT_OPTED_IN));
        assert_eq!(count(&host, Stat::TagNotOptedIn), 1);
        assert!(count(&host, Stat::PassSegment) >= 1);

        let (peer, local) = accept(&host, &listener, OPTED_IN);
        assert_eq!(host.maps().take_tag(&flow_key(&peer, &local)).unwrap(), None);
        assert_eq!(count(&host, Stat::PassOptedIn), 1);
    }
}

#[test]
fn global_addresses_are_found_and_their_changes_reported() {
    if !gate::require(NEEDS) {
        return;
    }
    let host = Host::new();
    host.ours.run(|| {
        let interfaces =
            ["gate0", "lo"].map(|name| interface_called(name).unwrap().unwrap().index).into_iter().collect();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let mut watch = watch_network().unwrap();
            let mut wanted = BTreeSet::new();
            for address in ["2001:db8::25", "fd00::25", "fe80::25", "2001:db8::26"] {
                let address: Ipv6Addr = address.parse().unwrap();
                host.ours.add_address("gate0", net(address, 64)).unwrap();
                watch.changed().await.unwrap();
                if !address.is_unicast_link_local() {
                    wanted.insert(Ipv6Net::from(address));
                }
                assert_eq!(interface_addresses(&interfaces).unwrap(), wanted);
            }
            host.ours.ip("address delete fd00::25/64 dev gate0").unwrap();
            watch.changed().await.unwrap();
            wanted.remove(&"fd00::25/128".parse().unwrap());
            assert_eq!(interface_addresses(&interfaces).unwrap(), wanted);
        });
    });
}
