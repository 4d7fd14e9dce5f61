//! The resolver: DNS (RFC 1035) as the checks need it, with answers kept for their TTL and a bound
//! on everything.
//!
//! It asks, and returns the answer and for how long it holds. "There is no such record" is an
//! answer; "no server could answer" is a failure; the two are never mixed. The meaning of an answer
//! is decided elsewhere.

mod answers;
mod bounds;
mod exchange;
mod expiring;
mod flights;
mod inspection;
mod names;
mod payer;
mod reading;
mod resolv_conf;
mod result;
mod server;
mod upstream;

use std::{
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    num::NonZeroU8,
    sync::Arc,
    time::{Duration, Instant},
};

use hickory_proto::rr::{Name, RData, RecordType};
use sixgate_base::{endpoint::Endpoint, fair_semaphore::FairSemaphore};

use answers::Answers;
use flights::{Flights, Seat};
use names::pointer;
use payer::{Budget, Lack, Payer};
use upstream::{Upstream, question};

use crate::trace::{Recorder, SpfIdentityKind};

pub use answers::KEPT_OCTETS;
pub use bounds::{DnsBounds, NETWORKS};
pub(crate) use expiring::{Expiring, Lifetime};
pub use inspection::{ServerReport, inspect_server};
pub(crate) use names::plain_text;
pub use names::{LONGEST_NAME, ascii_name};
pub use payer::{PART, USUAL_QUESTIONS};
pub use reading::{LONGEST_NEGATIVE, LONGEST_POSITIVE, MAX_ALIASES};
pub use resolv_conf::MAX_SYSTEM_SERVERS;
pub use result::{DnsAnswer, DnsFailure, Tlsa};
pub use server::{HABITS_LIFETIME, SETBACK};
pub use upstream::MAX_APART;

/// How long a question waits for a free slot.
pub const SLOT_TIMEOUT: Duration = Duration::from_secs(5);

/// The resolver. A clone is cheap and shares what is kept and the bounds.
#[derive(Clone)]
pub struct Resolver {
    shared: Arc<Shared>,
    /// The network whose budget the questions are paid from; `None`: they are free.
    payer: Option<Payer>,
    /// Of the check that asks.
    recorder: Recorder,
}

struct Shared {
    upstream: Upstream,
    answers: Answers,
    budget: Budget,
    slots: Arc<FairSemaphore>,
    flights: Arc<Flights>,
}

impl Resolver {
    /// Asks `servers` (if empty, those of /etc/resolv.conf as it is at the time), `attempts` times
    /// in all, each time for `timeout`, within the default bounds. All names are absolute; neither
    /// search domains nor /etc/hosts take part.
    #[must_use]
    pub fn new(servers: &[impl Clone + Into<Endpoint>], timeout: Duration, attempts: NonZeroU8) -> Self {
        Self::within(DnsBounds::default(), servers, timeout, attempts)
    }

    /// Asks the servers of /etc/resolv.conf as it is at the time, twice at most, each time for 5
    /// seconds, as resolv.conf(5) has it by default.
    #[must_use]
    pub fn system() -> Self {
        Self::new(&[] as &[Endpoint], Duration::from_secs(5), const { NonZeroU8::new(2).unwrap() })
    }

    /// As [`Self::new`], within `bounds`.
    #[must_use]
    pub fn within(
        bounds: DnsBounds,
        servers: &[impl Clone + Into<Endpoint>],
        timeout: Duration,
        attempts: NonZeroU8,
    ) -> Self {
        let servers = servers.iter().cloned().map(Into::into).collect();
        let shared = Shared {
            upstream: Upstream::new(servers, timeout, attempts),
            answers: Answers::new(),
            budget: Budget::new(&bounds),
            slots: FairSemaphore::new(bounds.concurrency, SLOT_TIMEOUT),
            flights: Arc::default(),
        };
        Self { shared: Arc::new(shared), payer: None, recorder: Recorder::default() }
    }

    /// The same resolver, each question paid from the budget of `source`'s /64, and bound to the
    /// slots that its networks may hold. An answer from the cache costs nothing; a question costs
    /// one, however often and however many servers are asked.
    #[must_use]
    pub fn on_behalf_of(&self, source: Ipv6Addr) -> Self {
        Self { payer: Some(Payer::new(source.into())), ..self.clone() }
    }

    /// The same resolver for one check about `domain`, the name that the sender uses: its questions
    /// are paid from the part of the network's budget that such a domain may use.
    #[must_use]
    pub fn about(&self, domain: &str) -> Self {
        let payer = self.payer.as_ref().map(|payer| self.shared.budget.of_check(payer, domain));
        Self { payer, ..self.clone() }
    }

    /// The same resolver for one check whose steps are to be recorded.
    #[must_use]
    pub fn recorded(&self, recorder: &Recorder) -> Self {
        Self { recorder: recorder.clone(), ..self.clone() }
    }

    /// The same resolver for one of two checks that are made at the same time.
    pub(crate) fn identity(&self, kind: SpfIdentityKind) -> Self {
        self.recorded(&self.recorder.identity(kind))
    }

    pub(crate) fn recorder(&self) -> &Recorder {
        &self.recorder
    }

    /// Makes `observer` learn of each question that goes to the servers from now on: whether one of
    /// them answered it, and how long that took, all attempts together. The first observer stays.
    pub fn observe(&self, observer: impl Fn(bool, Duration) + Send + Sync + 'static) {
        self.shared.upstream.observe(Box::new(observer));
    }

    /// How often each bound was reached since the start, by the bound's name in counters.
    #[must_use]
    pub fn reached(&self) -> [(&'static str, u64); 5] {
        let Shared { budget, slots, .. } = &*self.shared;
        let [missed, missed_share] = slots.missed();
        let [network, domain, costly] = budget.exceeded();
        [
            ("dns_budget", network),
            ("dns_domain_budget", domain),
            ("dns_costly_budget", costly),
            ("dns_concurrency", missed),
            ("dns_share", missed_share),
        ]
    }

    /// The servers that are asked now: those of the configuration, or of /etc/resolv.conf.
    #[must_use]
    pub fn servers(&self) -> Vec<Endpoint> {
        self.shared.upstream.servers()
    }

    /// How many questions failed since the last one that a server answered.
    #[must_use]
    pub fn failed_in_a_row(&self) -> u32 {
        self.shared.upstream.failed_in_a_row()
    }

    /// Asks who serves the root and, where that fails, for the address of `hostname`, past the
    /// cache.
    ///
    /// # Errors
    /// [`DnsFailure`] of the first question when neither is answered.
    pub async fn probe(&self, hostname: &str) -> Result<(), DnsFailure> {
        let Err(failure) = self.ask_anew(Name::root(), RecordType::NS).await else {
            return Ok(());
        };
        match Name::from_labels(hostname.split('.').map(str::as_bytes)) {
            Ok(name) => self.ask_anew(name, RecordType::AAAA).await.map(drop).map_err(|_| failure),
            Err(_) => Err(failure),
        }
    }

    /// The names that `address` points to, absolute without the final dot, odd octets escaped (RFC
    /// 4343 2.1). A CNAME below arpa is followed (RFC 2317).
    ///
    /// # Errors
    /// [`DnsFailure`] when nothing is known.
    pub async fn ptr(&self, address: impl Into<IpAddr>) -> Result<DnsAnswer<String>, DnsFailure> {
        self.ask(Name::from(address.into()), RecordType::PTR, pointer).await
    }

    /// As [`Self::ptr`], but past the cache: for callers that keep the results, so that a change is
    /// seen as soon as they forget them.
    ///
    /// # Errors
    /// [`DnsFailure`] when nothing is known.
    pub async fn ptr_anew(&self, address: impl Into<IpAddr>) -> Result<DnsAnswer<String>, DnsFailure> {
        Ok(self.ask_anew(Name::from(address.into()), RecordType::PTR).await?.pick(pointer))
    }

    /// The IPv4 addresses of `name`. A text that DNS cannot hold as a name has none.
    ///
    /// # Errors
    /// [`DnsFailure`] when nothing is known.
    pub async fn a(&self, name: &str) -> Result<DnsAnswer<Ipv4Addr>, DnsFailure> {
        self.ask_text(name, RecordType::A, |data| match data {
            RData::A(address) => Some(address.0),
            _ => None,
        })
        .await
    }

    /// The mail servers of `name`, in no particular order: names that can be asked about, absolute
    /// without the final dot. The root, which means that there is none (RFC 7505), is the empty
    /// text. A text that DNS cannot hold as a name has none.
    ///
    /// # Errors
    /// [`DnsFailure`] when nothing is known.
    pub async fn mx(&self, name: &str) -> Result<DnsAnswer<String>, DnsFailure> {
        self.ask_text(name, RecordType::MX, |data| match data {
            RData::MX(server) => Some(plain_text(&server.exchange)),
            _ => None,
        })
        .await
    }

    /// The IPv6 addresses of `name`. A text that DNS cannot hold as a name has none.
    ///
    /// # Errors
    /// [`DnsFailure`] when nothing is known.
    pub async fn aaaa(&self, name: &str) -> Result<DnsAnswer<Ipv6Addr>, DnsFailure> {
        self.ask_text(name, RecordType::AAAA, |data| match data {
            RData::AAAA(address) => Some(address.0),
            _ => None,
        })
        .await
    }

    /// The TXT records of `name`, the strings of each joined without a space (RFC 6376 3.6.2.2, RFC
    /// 7208 3.3). A text that DNS cannot hold as a name has none.
    ///
    /// # Errors
    /// [`DnsFailure`] when nothing is known.
    pub async fn txt(&self, name: &str) -> Result<DnsAnswer<Vec<u8>>, DnsFailure> {
        self.ask_text(name, RecordType::TXT, |data| match data {
            RData::TXT(strings) => Some(strings.txt_data.concat()),
            _ => None,
        })
        .await
    }

    /// The TLSA records of `name`, such as `_25._tcp.mail.example` (RFC 6698).
    ///
    /// # Errors
    /// [`DnsFailure`] when nothing is known.
    pub async fn tlsa(&self, name: &str) -> Result<DnsAnswer<Tlsa>, DnsFailure> {
        self.ask_text(name, RecordType::TLSA, |data| match data {
            RData::TLSA(record) => Some(Tlsa {
                usage: record.cert_usage.into(),
                selector: record.selector.into(),
                matching: record.matching.into(),
                data: record.cert_data.clone(),
            }),
            _ => None,
        })
        .await
    }

    async fn ask_text<T>(
        &self,
        name: &str,
        kind: RecordType,
        pick: impl Fn(&RData) -> Option<T>,
    ) -> Result<DnsAnswer<T>, DnsFailure> {
        let labels = name.strip_suffix('.').unwrap_or(name).split('.').map(str::as_bytes);
        match Name::from_labels(labels) {
            Ok(name) => self.ask(name, kind, pick).await,
            Err(_) => Ok(DnsAnswer::none()),
        }
    }

    /// The addresses of `name`, of the family of `address`.
    pub(crate) async fn addresses(
        &self,
        name: &str,
        address: IpAddr,
    ) -> Result<DnsAnswer<IpAddr>, DnsFailure> {
        Ok(match address {
            IpAddr::V4(_) => self.a(name).await?.into_addresses(),
            IpAddr::V6(_) => self.aaaa(name).await?.into_addresses(),
        })
    }

    async fn ask<T>(
        &self,
        name: Name,
        kind: RecordType,
        pick: impl Fn(&RData) -> Option<T>,
    ) -> Result<DnsAnswer<T>, DnsFailure> {
        let known = || self.shared.answers.get(&name, kind);
        let answer = match known() {
            Some(answer) => Ok(answer),
            None => {
                let seat = self.shared.flights.join(name.clone(), kind);
                // an equal question may have ended just before
                match known() {
                    Some(answer) => Ok(answer),
                    None => self.ask_from(seat, &name, kind).await,
                }
            }
        };
        self.recorder.query(&name, kind, &answer, || self.servers());
        Ok(answer?.pick(pick))
    }

    /// Asks, past the cache, and keeps the answer.
    async fn ask_anew(&self, name: Name, kind: RecordType) -> Result<DnsAnswer<RData>, DnsFailure> {
        let seat = self.shared.flights.join(name.clone(), kind);
        let answer = self.ask_from(seat, &name, kind).await;
        self.recorder.query(&name, kind, &answer, || self.servers());
        answer
    }

    /// Asks, unless an equal question is open: that one's answer counts for both. So one question
    /// has one payer.
    async fn ask_from(
        &self,
        seat: Seat,
        name: &Name,
        kind: RecordType,
    ) -> Result<DnsAnswer<RData>, DnsFailure> {
        let Shared { budget, slots, .. } = &*self.shared;
        let lacks = |lack| match lack {
            Lack::Network => DnsFailure::OverBudget { question: question(name, kind) },
            Lack::Domain => DnsFailure::OverDomainBudget { question: question(name, kind) },
            Lack::Costly => DnsFailure::OverCostlyBudget { question: question(name, kind) },
        };
        let slot = async {
            if let Some(payer) = &self.payer {
                budget.affords(payer, Instant::now()).map_err(lacks)?;
            }
            let slot = slots.acquire(self.payer.as_ref().map(|payer| payer.network)).await;
            slot.ok_or_else(|| DnsFailure::Busy { question: question(name, kind) })
        };
        let pay = || match &self.payer {
            Some(payer) => budget.pay(payer, Instant::now()).map_err(lacks),
            None => Ok(()),
        };
        let shared = Arc::clone(&self.shared);
        let ask = |name, kind| async move {
            let answer = shared.upstream.ask(&name, kind).await?;
            shared.answers.put(name, kind, &answer);
            Ok(answer)
        };
        seat.answer(slot, pay, ask).await
    }
}
