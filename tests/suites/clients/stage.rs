//! Where the senders are seen: a gate that refuses them, the rest of the world with real servers,
//! and DNS for both.
//!
//! It makes no claim; the tables do.

use std::net::{Ipv6Addr, SocketAddr, SocketAddrV6};

use sixgate_tests::{
    client::{self, Swaks},
    daemon::Daemon,
    dns::{DnsServer, Zone},
    netns::Netns,
    sender::{Outcome, Sender, submit},
    site::{INTERFACE, SENDER, Site},
    smtp_sink::SmtpSink,
    xdp_helper::Pass,
};
use tokio::runtime::{self, Runtime};

use crate::{
    rows::{Fate, Reason, Style, Topology},
    way::Way,
};

/// A gate and everything that a sender finds when it is refused there.
pub(crate) struct Stage {
    site: Site,
    way: Way,
    world: World,
    _daemon: Daemon,
    _dns: Option<(DnsServer, Runtime)>,
    _peer: Option<Pass>,
}

/// Servers that take what they get.
struct World {
    _netns: Netns,
    next_mx: SmtpSink,
    ipv4: SmtpSink,
    /// Of the authors of messages.
    authors: SmtpSink,
}

impl Stage {
    /// A gate that refuses in this way, destinations that have not opted in at this command.
    pub(crate) fn new(way: Way, style: Style) -> Self {
        let settings = format!("{}\n{}", style.settings(), way.settings());
        let site = Site::new(&zone(), &settings);
        for (_, address) in TAKING.iter().chain(REFUSING) {
            let prefix = format!("{address}/{}", if way.interface() == INTERFACE { 64 } else { 128 });
            site.gate.add_address(way.interface(), prefix.parse().unwrap()).unwrap();
        }
        site.outside.add_address("outside0", format!("{SENDER}/64").parse().unwrap()).unwrap();
        for (_, address) in TAKING {
            site.sixgate(&format!("optin add {address}"));
        }
        let senders = way.senders(&site);
        let dns = (!std::ptr::eq(senders, &site.gate)).then(|| serve_dns(senders));
        let world = World::beside(senders);
        let peer = way.prepare(&site);
        let daemon = site.serve(&[]);
        // what the daemon finds out in a sender's first session, and tells the kernel
        for (_, address) in TAKING {
            site.sixgate(&format!("ptr set {} absent", way.source(address)));
        }
        Self { site, way, world, _daemon: daemon, _dns: dns, _peer: peer }
    }

    /// Where senders are.
    pub(crate) fn senders(&self) -> &Netns {
        self.way.senders(&self.site)
    }

    /// Has `sender` send one message to a domain of this kind, and finds out where it ends up.
    pub(crate) fn send(&self, sender: &dyn Sender, reason: Reason, topology: Topology) -> Fate {
        let domain = domain(reason, topology);
        let (from, to) = (format!("{domain}@author.example"), format!("user@{domain}"));
        let before = self.way.refused(&self.site, reason);
        submit(self.senders(), &from, &to).unwrap();
        let attempt = sender.attempt(&to).unwrap();
        println!("{}", attempt.line);
        let refused = self.way.refused(&self.site, reason);
        assert!(refused > before, "{to}: the gate was not asked:\n{}", sender.log());
        match attempt.outcome {
            Outcome::Sent => self.world.taker(&to),
            Outcome::Deferred => {
                assert!(sender.queued().unwrap() > 0, "deferred, but not in the queue:\n{}", sender.log());
                Fate::Queued
            }
            Outcome::Bounced => {
                assert_eq!(sender.attempt(&from).unwrap().outcome, Outcome::Sent, "{}", sender.log());
                assert!(has(&self.world.authors, &from), "the author was not told:\n{}", sender.log());
                Fate::Bounced
            }
        }
    }

    /// The address from which [`Self::swaks`] connects.
    pub(crate) fn source(&self, reason: Reason) -> &'static str {
        self.way.source(gate_address(reason, Topology::Only))
    }

    /// Sends a message with swaks to the gate's address for such a domain.
    pub(crate) fn swaks(&self, reason: Reason) -> Swaks {
        let address = gate_address(reason, Topology::Only).parse().unwrap();
        let to = format!("user@{}", domain(reason, Topology::Only));
        let arguments = ["--helo", "mail.sender.example", "--from", "a@sender.example", "--to", &to];
        client::swaks(self.senders(), SocketAddrV6::new(address, 25, 0, 0), &arguments).unwrap()
    }

    /// Asserts that the responder of this way has answered everything.
    pub(crate) fn check_who_answered(&self) {
        for name in self.way.never_raised() {
            assert_eq!(self.site.counter(name), 0, "{name}");
        }
    }
}

impl World {
    /// A network of its own, which `netns` reaches over IPv6 and IPv4.
    fn beside(netns: &Netns) -> Self {
        let world = Netns::new().unwrap();
        netns.join("world0", &world, "senders0").unwrap();
        netns.add_address("world0", "2001:db8:77::1/64".parse().unwrap()).unwrap();
        netns.ip("address add 192.0.2.1/24 dev world0").unwrap();
        for address in [NEXT_MX, AUTHORS] {
            world.add_address("senders0", format!("{address}/64").parse().unwrap()).unwrap();
        }
        world.ip(&format!("address add {IPV4}/24 dev senders0")).unwrap();
        let sink = |address: &str| {
            let address = SocketAddr::new(address.parse().unwrap(), 25);
            SmtpSink::start(&world, address, &[]).unwrap()
        };
        let (next_mx, ipv4, authors) = (sink(NEXT_MX), sink(IPV4), sink(AUTHORS));
        Self { _netns: world, next_mx, ipv4, authors }
    }

    /// Who has taken the message to `recipient`: one server, once.
    fn taker(&self, recipient: &str) -> Fate {
        match (has(&self.next_mx, recipient), has(&self.ipv4, recipient)) {
            (true, false) => Fate::NextMx,
            (false, true) => Fate::Ipv4,
            other => panic!("sent, but who has it? {other:?}"),
        }
    }
}

/// Whether `sink` has taken a message to `recipient`, from any sender.
fn has(sink: &SmtpSink, recipient: &str) -> bool {
    // smtp-sink writes the envelope in front
    let wanted = format!("X-Rcpt-Args: <{recipient}>");
    sink.messages().unwrap().iter().any(|message| message.contains(&wanted))
}

fn serve_dns(netns: &Netns) -> (DnsServer, Runtime) {
    let runtime = runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let address = SocketAddr::new(Ipv6Addr::LOCALHOST.into(), 53);
    let (udp, tcp) = (netns.udp(address).unwrap(), netns.listen(address).unwrap());
    let server = {
        let _inside = runtime.enter();
        Zone::parse(&zone()).unwrap().serve_on(udp, tcp).unwrap()
    };
    (server, runtime)
}

/// No sender has reverse DNS, which matters where the destination has opted in.
fn zone() -> String {
    let mut zone = format!(
        "author.example MX 10 mx.author.example.\n\
         mx.author.example AAAA {AUTHORS}\n\
         mx2.example AAAA {NEXT_MX}\n"
    );
    for reason in [Reason::Closed, Reason::Nameless] {
        for topology in Topology::ALL {
            let (domain, address) = (domain(reason, topology), gate_address(reason, topology));
            zone += &format!("{domain} MX 10 mx.{domain}.\nmx.{domain} AAAA {address}\n");
            zone += &match topology {
                Topology::Only => String::new(),
                Topology::Second => format!("{domain} MX 20 mx2.example.\n"),
                Topology::Dual => format!("mx.{domain} A {IPV4}\n"),
            };
        }
    }
    zone
}

fn domain(reason: Reason, topology: Topology) -> String {
    format!("{reason:?}-{topology:?}.example").to_lowercase()
}

fn gate_address(reason: Reason, topology: Topology) -> &'static str {
    let addresses = match reason {
        Reason::Closed => REFUSING,
        Reason::Nameless => TAKING,
    };
    addresses.iter().find(|(of, _)| *of == topology).expect("each has one").1
}

const NEXT_MX: &str = "2001:db8:77::25";
const AUTHORS: &str = "2001:db8:77::26";
const IPV4: &str = "192.0.2.25";

/// Addresses of the gate that have not opted in, and some that have. Each domain has one of its
/// own: senders remember what became of an address.
const REFUSING: &[(Topology, &str)] = &[
    (Topology::Only, "2001:db8:25::a1"),
    (Topology::Second, "2001:db8:25::a2"),
    (Topology::Dual, "2001:db8:25::a3"),
];
const TAKING: &[(Topology, &str)] = &[
    (Topology::Only, "2001:db8:25::b1"),
    (Topology::Second, "2001:db8:25::b2"),
    (Topology::Dual, "2001:db8:25::b3"),
];
