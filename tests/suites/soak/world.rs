//! The surroundings of a soak: the gate, its next hop, its clients, and the replies that each of
//! them got.
//!
//! The input of each of them is not here.

use std::{
    net::Ipv6Addr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use anyhow::Result;
use rustls::ClientConfig;
use sixgate_tests::{
    certs::Authority,
    site::{GATE, OTHER, Site},
};

use crate::{MESSAGE_SIZE, dice::Dice, honest, hostile, ledger::Ledger};

/// What stands behind the gate.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum NextHop {
    Lmtp,
    Maildir,
    Smtp,
}

impl NextHop {
    /// The reply to the second recipient of a message and to all after it begins so.
    pub(crate) fn to_further_recipients(self) -> &'static str {
        match self {
            Self::Lmtp => "452 4.5.3",
            Self::Maildir | Self::Smtp => "250 ",
        }
    }

    /// Whether it may answer a message so for its own reasons.
    pub(crate) fn may_refuse(self, reply: &str) -> bool {
        self != Self::Maildir && (reply.starts_with("451 4.3.0 moody") || reply.starts_with("451 4.4.2"))
    }
}

/// Who vouches for whom.
pub(crate) struct Certificates {
    pub(crate) gate: Authority,
    /// Trusted by the gate.
    pub(crate) partners: Authority,
    strangers: Authority,
}

impl Certificates {
    pub(crate) fn new() -> Self {
        Self {
            gate: Authority::new("soak"),
            partners: Authority::new("partners"),
            strangers: Authority::new("strangers"),
        }
    }

    fn shown_by(&self, authority: &Authority) -> Arc<ClientConfig> {
        self.gate.client(Some(&authority.issue("mail.partner.example"))).unwrap()
    }
}

/// The gate, and all who talk to it.
pub(crate) struct World {
    pub(crate) ledger: Arc<Ledger>,
    /// The gate's address that has opted in.
    pub(crate) gate: Ipv6Addr,
    /// Not opted in.
    pub(crate) other: Ipv6Addr,
    /// Senders with reverse DNS.
    pub(crate) sources: Vec<Ipv6Addr>,
    /// A sender without.
    pub(crate) nameless: Ipv6Addr,
    /// Takes the gate's certificate, and shows none.
    pub(crate) tls: Arc<ClientConfig>,
    /// Shows a certificate whose authority the gate trusts.
    pub(crate) partner: Arc<ClientConfig>,
    /// Shows a certificate of the same name, of an authority that the gate does not know.
    pub(crate) stranger: Arc<ClientConfig>,
    pub(crate) next_hop: NextHop,
    /// Octets of the largest message.
    pub(crate) message_size: usize,
    /// When this round is over, in milliseconds from `begun` on.
    end: AtomicU64,
    begun: Instant,
    pub(crate) sessions: AtomicU64,
}

impl World {
    pub(crate) fn new(site: &Site, certificates: &Certificates, next_hop: NextHop) -> Self {
        let sources: Vec<Ipv6Addr> = SOURCES.iter().map(|source| source.parse().unwrap()).collect();
        for source in SOURCES.iter().chain([&NAMELESS]) {
            // makes it an address of the outside
            drop(site.try_connect(source, GATE));
        }
        Self {
            ledger: Arc::default(),
            gate: GATE.parse().unwrap(),
            other: OTHER.parse().unwrap(),
            sources,
            nameless: NAMELESS.parse().unwrap(),
            tls: certificates.gate.client(None).unwrap(),
            partner: certificates.shown_by(&certificates.partners),
            stranger: certificates.shown_by(&certificates.strangers),
            next_hop,
            message_size: MESSAGE_SIZE,
            end: AtomicU64::new(0),
            begun: Instant::now(),
            sessions: AtomicU64::new(0),
        }
    }

    pub(crate) fn source(&self, dice: &mut Dice) -> Ipv6Addr {
        self.sources[dice.below(self.sources.len())]
    }

    pub(crate) fn is_over(&self) -> bool {
        self.begun.elapsed().as_millis() as u64 >= self.end.load(Ordering::Relaxed)
    }

    /// Lets all clients work for `time`, and waits until the last of them is done.
    pub(crate) fn work(&self, site: &Site, time: Duration, seed: u64) {
        self.end.store((self.begun.elapsed() + time).as_millis() as u64, Ordering::Relaxed);
        let client = |kind: Kind, seed: u64| {
            let mut dice = Dice::new(seed);
            while !self.is_over() {
                self.sessions.fetch_add(1, Ordering::Relaxed);
                if let Err(error) = kind(self, &mut dice) {
                    self.ledger.complain(format!("{error:#}"));
                }
            }
        };
        thread::scope(|scope| {
            let mut seed = seed;
            for (kind, count) in KINDS {
                for _ in 0..*count {
                    seed += 1;
                    scope.spawn(move || site.outside.run(|| client(*kind, seed)));
                }
            }
        });
    }

    /// Both sides agree about every message.
    pub(crate) fn settle(&self) {
        let (totals, wrong) = (self.ledger.totals(), self.ledger.wrong());
        eprintln!("{} sessions, {totals:?}", self.sessions.load(Ordering::Relaxed));
        assert!(wrong.is_empty(), "{}", wrong.join("\n"));
        assert_eq!(self.ledger.owed(), 0, "accepted, and not behind");
        assert!(totals.accepted > 0 && totals.refused > 0 && totals.unanswered > 0, "{totals:?}");
    }
}

type Kind = fn(&World, &mut Dice) -> Result<()>;

/// Who talks to the gate, and how many of them at a time.
const KINDS: &[(Kind, usize)] = &[(honest::session, 8), (hostile::session, 4), (hostile::slow_session, 4)];

pub(crate) const SOURCES: [&str; 4] =
    ["2001:db8:51::4", "2001:db8:51::5", "2001:db8:51::6", "2001:db8:51::7"];
const NAMELESS: &str = "2001:db8:51::bad";
