//! Cases for a comparison of SPF evaluators: a sender each, and a small world of names of its own.
//!
//! Most are such as people publish, some are broken. The right result is not its business.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    ops::Range,
};

use anyhow::{Context as _, Result, anyhow};
use hickory_server::proto::rr::{
    Name, RData,
    rdata::{A, AAAA, CNAME, MX, PTR, TXT},
};
use proptest::{
    prelude::*,
    strategy::ValueTree as _,
    test_runner::{Config, RngAlgorithm, TestRng, TestRunner},
};
use serde::Serialize;
use sixgate_tests::dns::Zone;

/// A sender, as both evaluators are told about it.
#[derive(Clone, Debug, Serialize)]
pub(super) struct Case {
    pub(super) client: IpAddr,
    pub(super) sender: String,
    pub(super) helo: String,
    /// The names, for people.
    #[serde(skip)]
    pub(super) world: String,
}

/// A case before it has a number.
#[derive(Clone, Debug)]
struct World {
    over_ipv6: bool,
    local_part: &'static str,
    helo: String,
    hosts: Vec<Host>,
    explanation: String,
    pointers: Vec<String>,
}

/// The records of a name.
#[derive(Clone, Debug)]
struct Host {
    texts: Vec<String>,
    /// The last octet of each: 25 is the client's own.
    addresses: Vec<(bool, u8)>,
    servers: Vec<String>,
    alias: Option<String>,
    broken: bool,
}

/// Makes the same cases for the same seed.
pub(super) struct Generator {
    runner: TestRunner,
    worlds: BoxedStrategy<World>,
}

impl Generator {
    pub(super) fn new(seed: u64) -> Self {
        let mut octets = [0; 32];
        octets[..8].copy_from_slice(&seed.to_le_bytes());
        let random = TestRng::from_seed(RngAlgorithm::ChaCha, &octets);
        Self { runner: TestRunner::new_with_rng(Config::default(), random), worlds: world().boxed() }
    }

    /// The cases with these numbers, and the zone that they need.
    pub(super) fn cases(&mut self, numbers: Range<u32>) -> Result<(Vec<Case>, Zone)> {
        let mut zone = Zone::default();
        let mut cases = Vec::new();
        for number in numbers {
            let world =
                self.worlds.new_tree(&mut self.runner).map_err(|reason| anyhow!("no case: {reason}"))?;
            cases.push(world.current().settle(number, &mut zone)?);
        }
        Ok((cases, zone))
    }
}

impl World {
    /// Puts its names below one of their own.
    fn settle(&self, number: u32, zone: &mut Zone) -> Result<Case> {
        let place = |text: &str| text.replace(PLACE, &format!("c{number}.test"));
        let client = address(number, self.over_ipv6, CLIENT);
        for (host, letter) in self.hosts.iter().zip(HOSTS) {
            host.settle(&absolute(&place(&format!("{letter}.{PLACE}")))?, number, zone, &place)?;
        }
        zone.insert(absolute(&place(EXPLANATION))?, text(&place(&self.explanation)));
        // what macros lead to
        zone.insert(absolute(&place(&format!("joe.{PLACE}")))?, RData::A(A(Ipv4Addr::LOCALHOST)));
        zone.insert(absolute(&place(&format!("joe.a.{PLACE}")))?, RData::A(A(Ipv4Addr::LOCALHOST)));
        zone.insert(absolute(&place(&format!("unknown.x.{PLACE}")))?, RData::A(A(Ipv4Addr::LOCALHOST)));
        // no record stands twice in a set (RFC 2181 5), and not everybody counts one that does
        let is_new = |(at, name): &(usize, &String)| !self.pointers[..*at].contains(name);
        for (_, name) in self.pointers.iter().enumerate().filter(is_new) {
            zone.insert(Name::from(client), RData::PTR(PTR(absolute(&place(name))?)));
        }
        let sender = format!("{}@{}", self.local_part, place(&format!("a.{PLACE}")));
        let world = place(&self.to_string());
        Ok(Case { client, sender, helo: place(&self.helo), world })
    }
}

impl Host {
    fn settle(
        &self,
        name: &Name,
        number: u32,
        zone: &mut Zone,
        place: &impl Fn(&str) -> String,
    ) -> Result<()> {
        if self.broken {
            zone.fail(name);
        }
        if let Some(alias) = &self.alias {
            zone.insert(name.clone(), RData::CNAME(CNAME(absolute(&place(alias))?)));
            return Ok(());
        }
        self.texts.iter().for_each(|record| zone.insert(name.clone(), text(&place(record))));
        for (over_ipv6, last) in &self.addresses {
            zone.insert(
                name.clone(),
                match address(number, *over_ipv6, *last) {
                    IpAddr::V4(address) => RData::A(A(address)),
                    IpAddr::V6(address) => RData::AAAA(AAAA(address)),
                },
            );
        }
        for (server, preference) in self.servers.iter().zip(0..) {
            zone.insert(name.clone(), RData::MX(MX::new(preference, absolute(&place(server))?)));
        }
        Ok(())
    }
}

impl fmt::Display for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "  PTR {:?}, {EXPLANATION} {:?}", self.pointers, self.explanation)?;
        self.hosts.iter().zip(HOSTS).try_for_each(|(host, letter)| writeln!(f, "  {letter}.{PLACE} {host:?}"))
    }
}

fn world() -> impl Strategy<Value = World> {
    let helo = prop_oneof![3 => host(), 1 => Just("mail".to_owned()), 1 => Just("[192.0.2.1]".to_owned())];
    let local_part = prop_oneof![4 => Just("joe"), 1 => Just("joe+list"), 1 => Just("J.o_e-x=y")];
    let pointers =
        prop_oneof![4 => proptest::collection::vec(host(), 0..4), 1 => proptest::collection::vec(host(), 12)];
    let hosts = proptest::collection::vec(host_data(), HOSTS.len());
    (any::<bool>(), local_part, helo, hosts, explanation(), pointers).prop_map(
        |(over_ipv6, local_part, helo, mut hosts, explanation, pointers)| {
            // nothing would be asked about a sender's domain without a record
            if let Some(first) = hosts.first_mut().filter(|first| first.texts.is_empty()) {
                first.texts.push("v=spf1 mx a include:b.ZONE ?include:c.ZONE ~all".to_owned());
            }
            World { over_ipv6, local_part, helo, hosts, explanation, pointers }
        },
    )
}

fn host_data() -> impl Strategy<Value = Host> {
    let texts = prop_oneof![
        16 => record().prop_map(|record| vec![record]),
        4 => Just(Vec::new()),
        1 => (record(), record()).prop_map(|(first, second)| vec![first, second]),
        2 => record().prop_map(|record| vec!["some other text".to_owned(), record]),
    ];
    let addresses =
        proptest::collection::vec((any::<bool>(), prop_oneof![Just(CLIENT), Just(26), Just(200)]), 0..4);
    let servers = prop_oneof![12 => proptest::collection::vec(host(), 0..4), 1 => proptest::collection::vec(host(), 9..13)];
    let alias = proptest::option::weighted(0.03, host());
    (texts, addresses, servers, alias, proptest::bool::weighted(0.03)).prop_map(
        |(texts, addresses, servers, alias, broken)| Host { texts, addresses, servers, alias, broken },
    )
}

/// A record, sometimes with an octet too few, too many or another.
fn record() -> impl Strategy<Value = String> {
    let modifiers = prop_oneof![
        8 => Just(String::new()),
        2 => target().prop_map(|target| format!(" redirect={target}")),
        3 => Just(format!(" exp={EXPLANATION}")),
        1 => target().prop_map(|target| format!(" exp={target}")),
        1 => macro_text().prop_map(|value| format!(" x={value}")),
    ];
    let end = prop_oneof![3 => Just(" -all"), 1 => Just(" ~all"), 1 => Just(" ?all"), 2 => Just("")];
    let record = (proptest::collection::vec(term(), 0..6), modifiers, end)
        .prop_map(|(terms, modifiers, end)| format!("v=spf1 {}{modifiers}{end}", terms.join(" ")));
    let damage =
        proptest::option::weighted(0.12, (any::<prop::sample::Index>(), "[-%{}:/=._ 0aA~+,é\t]{0,2}"));
    (record, damage).prop_map(|(mut record, damage)| {
        if let Some((at, octets)) = damage {
            let at = at.index(record.len());
            record.replace_range(at..=at, &octets);
        }
        record
    })
}

fn term() -> impl Strategy<Value = String> {
    let lengths = prop_oneof![4 => Just(""), 1 => Just("/24"), 1 => Just("//64"), 1 => Just("/24//64"), 1 => Just("/8")];
    let mechanism = prop_oneof![
        3 => target().prop_map(|target| format!("include:{target}")),
        4 => (proptest::option::of(target()), lengths.clone(), prop_oneof![Just("a"), Just("mx")]).prop_map(
            |(target, lengths, name)| match target {
                Some(target) => format!("{name}:{target}{lengths}"),
                None => format!("{name}{lengths}"),
            }
        ),
        1 => proptest::option::of(host()).prop_map(|target| target.map_or_else(|| "ptr".to_owned(), |target| format!("ptr:{target}"))),
        2 => target().prop_map(|target| format!("exists:{target}")),
        2 => (0..5_u8, 0..33_u8).prop_map(|(third, length)| format!("ip4:10.0.{third}.25/{length}")),
        2 => (0..5_u16, 0..130_u8).prop_map(|(number, length)| format!("ip6:2001:db8:{number}::25/{length}")),
    ];
    (prop_oneof![6 => Just(""), 1 => Just("-"), 1 => Just("~"), 1 => Just("?"), 1 => Just("+")], mechanism)
        .prop_map(|(qualifier, mechanism)| format!("{qualifier}{mechanism}"))
}

fn target() -> impl Strategy<Value = String> {
    prop_oneof![
        12 => host(),
        1 => Just("%{l}.%{d2}.test".to_owned()),
        1 => Just("%{l}.%{d}".to_owned()),
        1 => Just("%{d}".to_owned()),
        1 => Just("%{o}".to_owned()),
        1 => Just("%{h}".to_owned()),
        1 => Just("%{p}.x.ZONE".to_owned()),
        1 => Just("%{ir}.%{v}.x.ZONE".to_owned()),
        1 => macro_text().prop_map(|text| format!("{text}.ZONE")),
    ]
}

fn macro_text() -> impl Strategy<Value = String> {
    let part = prop_oneof![
        "[a-z.]{1,3}",
        "%\\{[slodiphvSLODIPHVcrtx][0-9]{0,2}[rR]?[-.+,/_=]{0,2}\\}",
        "%[%_-]",
        "[!-~]"
    ];
    proptest::collection::vec(part, 0..4).prop_map(|parts| parts.concat())
}

fn explanation() -> impl Strategy<Value = String> {
    prop_oneof![
        Just("not you, %{c}".to_owned()),
        Just("%{s} %{d} %{p} %{ir} %{v} %{h} %{r} %{L}".to_owned()),
        macro_text(),
    ]
}

fn host() -> impl Strategy<Value = String> {
    proptest::sample::select(HOSTS.to_vec()).prop_map(|letter| format!("{letter}.{PLACE}"))
}

/// An address of a case: its client's, one beside it, one farther away.
fn address(number: u32, over_ipv6: bool, last: u8) -> IpAddr {
    let [_, _, high, low] = number.to_be_bytes();
    if over_ipv6 {
        let far = u16::from(last == 200);
        Ipv6Addr::new(0x2001, 0xdb8, u16::from_be_bytes([high, low]), far, 0, 0, 0, last.into()).into()
    } else {
        Ipv4Addr::new(10 + u8::from(last == 200), high, low, last).into()
    }
}

fn text(octets: &str) -> RData {
    RData::TXT(TXT::from_bytes(octets.as_bytes().chunks(255).collect()))
}

fn absolute(name: &str) -> Result<Name> {
    Name::from_labels(name.split('.').map(str::as_bytes)).with_context(|| format!("no name: {name:?}"))
}

const HOSTS: [&str; 6] = ["a", "b", "c", "d", "e", "f"];
/// Stands for the domain below which all names of a case lie.
const PLACE: &str = "ZONE";
const EXPLANATION: &str = "why.ZONE";
const CLIENT: u8 = 25;
