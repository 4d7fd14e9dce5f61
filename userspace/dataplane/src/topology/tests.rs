//! Tables of interfaces, and what follows from them.

use super::*;

fn message(index: u32, name: &str, attributes: Vec<LinkAttribute>) -> LinkMessage {
    let mut message = LinkMessage::default();
    message.header.index = index;
    message.header.link_layer_type = LinkLayerType::Ether;
    message.attributes = attributes;
    message.attributes.push(LinkAttribute::IfName(name.to_owned()));
    message.attributes.push(LinkAttribute::Address(vec![2, 0, 0, 0, 0, index as u8]));
    message
}

fn of_kind(kind: InfoKind) -> LinkAttribute {
    LinkAttribute::LinkInfo(vec![LinkInfo::Kind(kind)])
}

fn bridge(filters_vlans: bool) -> LinkAttribute {
    let data = InfoData::Bridge(vec![InfoBridge::VlanFiltering(filters_vlans)]);
    LinkAttribute::LinkInfo(vec![LinkInfo::Kind(InfoKind::Bridge), LinkInfo::Data(data)])
}

fn topology(messages: &[LinkMessage]) -> Topology {
    messages.iter().map(LinkFacts::of).collect()
}

fn port(master: u32) -> Vec<LinkAttribute> {
    vec![LinkAttribute::Controller(master)]
}

fn vlan(lower: u32) -> Vec<LinkAttribute> {
    vec![of_kind(InfoKind::Vlan), LinkAttribute::Link(lower)]
}

#[test]
fn vlans_count_above_the_interface_and_above_all_its_masters() {
    let eth0 = || message(7, "eth0", Vec::new());
    let bond = || [message(7, "eth0", port(8)), message(8, "bond0", vec![of_kind(InfoKind::Bond)])];
    let bridged = |filters_vlans| {
        [message(7, "eth0", port(9)), message(9, "br0", vec![bridge(filters_vlans)])].to_vec()
    };
    let elsewhere = [vlan(7), vec![LinkAttribute::LinkNetNsId(3)]].concat();
    let nested = |filters_vlans| {
        let bond0 = [port(9), vec![of_kind(InfoKind::Bond)]].concat();
        vec![
            message(7, "eth0", port(8)),
            message(8, "bond0", bond0),
            message(9, "br0", vec![bridge(filters_vlans)]),
        ]
    };
    let cases: Vec<(&str, Vec<LinkMessage>, bool)> = vec![
        ("nothing above", vec![eth0()], false),
        ("a VLAN", vec![eth0(), message(10, "eth0.100", vlan(7))], true),
        ("another interface's VLAN", vec![eth0(), message(10, "eth1.100", vlan(6))], false),
        (
            "a macvlan",
            vec![eth0(), message(10, "m0", [&[of_kind(InfoKind::MacVlan)][..], &vlan(7)[1..]].concat())],
            false,
        ),
        (
            "a VLAN of an interface elsewhere with this index",
            vec![eth0(), message(10, "v", elsewhere)],
            false,
        ),
        ("a bond without VLANs", bond().to_vec(), false),
        ("a VLAN above the bond", [&bond()[..], &[message(10, "bond0.100", vlan(8))]].concat(), true),
        ("a bridge that filters no VLANs", bridged(false), false),
        ("a bridge that filters VLANs", bridged(true), true),
        ("a VLAN above the bridge", [bridged(false), vec![message(10, "br0.5", vlan(9))]].concat(), true),
        ("a bond below a bridge that filters VLANs", nested(true), true),
        (
            "a bond below a bridge with a VLAN",
            [nested(false), vec![message(10, "br0.5", vlan(9))]].concat(),
            true,
        ),
        ("a bond below a bridge", nested(false), false),
        ("a bridge of its own that filters VLANs", vec![message(7, "br0", vec![bridge(true)])], false),
    ];
    for (what, messages, wanted) in cases {
        assert_eq!(topology(&messages).has_vlans_above(7), wanted, "{what}");
    }
}

#[test]
fn an_interface_is_reached_at_its_own_mac_and_at_those_of_its_masters() {
    let mac = |last| [2, 0, 0, 0, 0, last];
    let macvlan = vec![of_kind(InfoKind::MacVlan), LinkAttribute::Link(7)];
    let links = topology(&[
        message(7, "eth0", port(8)),
        message(8, "bond0", port(9)),
        message(9, "br0", vec![bridge(false)]),
        message(10, "macvlan0", macvlan),
        message(11, "loop0", port(12)),
        message(12, "loop1", port(11)),
    ]);
    for (index, wanted) in [
        (7, vec![mac(7), mac(8), mac(9)]),
        (8, vec![mac(8), mac(9)]),
        (9, vec![mac(9)]),
        (10, vec![mac(10)]),
        (11, vec![mac(11), mac(12)]),
        (99, vec![]),
    ] {
        assert_eq!(links.macs(index), BTreeSet::from_iter(wanted), "{index}");
    }
    let mut tunnel = message(7, "tun0", Vec::new());
    tunnel.attributes = vec![LinkAttribute::Address(vec![1, 2, 3, 4])];
    assert_eq!(topology(&[tunnel]).macs(7), BTreeSet::new());
}

#[test]
fn an_interface_is_found_by_each_of_its_names() {
    let altname = |name: &str| LinkAttribute::PropList(vec![Prop::AltIfName(name.to_owned())]);
    let link = LinkFacts::of(&message(7, "eth0", vec![altname("enp3s0f0np0v1234567890")]));
    assert_eq!(link.name, "eth0");
    assert!(link.is_called("eth0") && link.is_called("enp3s0f0np0v1234567890") && !link.is_called("eth1"));
}

#[test]
fn the_link_type_shows_an_interface_without_ethernet_header() {
    for (hardware, wanted) in [
        (1, None),
        (772, None),
        (65534, Some("none")),
        (512, Some("ppp")),
        (776, Some("sit")),
        (769, Some("ip6tnl")),
        (778, Some("gre")),
        (823, Some("ip6gre")),
        (519, Some("519")),
    ] {
        let link = LinkFacts { hardware, ..LinkFacts::default() };
        assert_eq!(link.without_ethernet().as_deref(), wanted, "{hardware}");
    }
}

#[test]
fn a_native_program_counts_alone_or_beside_a_generic_one() {
    for (attributes, wanted) in [
        (&[LinkXdp::Attached(XdpAttached::Driver), LinkXdp::ProgId(5)][..], true),
        (&[LinkXdp::Attached(XdpAttached::Hardware)], true),
        (&[LinkXdp::Attached(XdpAttached::Multiple), LinkXdp::DrvProgId(5), LinkXdp::SkbProgId(6)], true),
        (&[LinkXdp::Attached(XdpAttached::SocketBuffer), LinkXdp::SkbProgId(6)], false),
        (&[LinkXdp::Attached(XdpAttached::None)], false),
        (&[], false),
    ] {
        assert_eq!(runs_natively(attributes), wanted, "{attributes:?}");
    }
}
