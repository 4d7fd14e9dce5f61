//! The servers that are asked: which of them, in which order, how often.
//!
//! It keeps no answers: every question goes out. Other modules limit how much is asked.

use std::{
    num::NonZeroU8,
    path::Path,
    sync::{
        Arc, Mutex, OnceLock, PoisonError,
        atomic::{AtomicU32, Ordering},
    },
    time::Duration,
};

use futures_util::{StreamExt as _, stream::FuturesUnordered};
use hickory_proto::{
    op::ResponseCode,
    rr::{
        Name, RData, RecordType,
        domain::usage::{INVALID, LOCALHOST, ONION},
    },
};
use tokio::time::{Instant, sleep_until};

use super::{
    resolv_conf::{RESOLV_CONF, ResolvConf},
    result::{DnsAnswer, DnsFailure},
    server::{Server, ServerFailure},
};
use sixgate_base::endpoint::Endpoint;

/// Servers that one question is asked of, at most; the next one whenever one fails or lets wait.
pub const MAX_APART: usize = 3;

/// The longest time after which the next server is asked, too.
const HEDGE: Duration = Duration::from_millis(500);

/// The servers that are asked.
pub(super) struct Upstream {
    servers: Mutex<Servers>,
    /// How long one attempt may take.
    timeout: Duration,
    attempts: NonZeroU8,
    /// Questions that failed since the last one that was answered.
    failed: AtomicU32,
    observer: OnceLock<Observer>,
}

/// Takes whether a question was answered, and how long that took.
pub(super) type Observer = Box<dyn Fn(bool, Duration) + Send + Sync>;

struct Servers {
    all: Vec<Arc<Server>>,
    /// Where they stand, if not in the configuration.
    file: Option<ResolvConf>,
}

impl Upstream {
    /// Limits and order as in [`super::Resolver::new`].
    pub(super) fn new(servers: Vec<Endpoint>, timeout: Duration, attempts: NonZeroU8) -> Self {
        let file = servers.is_empty().then(|| ResolvConf::open(Path::new(RESOLV_CONF)));
        let listed = file.as_ref().map_or(&servers[..], ResolvConf::servers);
        let all = listed.iter().cloned().map(Server::new).map(Arc::new).collect();
        Self {
            servers: Mutex::new(Servers { all, file }),
            timeout,
            attempts,
            failed: AtomicU32::new(0),
            observer: OnceLock::new(),
        }
    }

    /// Makes `observer` learn of each question, unless another one does.
    pub(super) fn observe(&self, observer: Observer) {
        // the first one stays
        let _ = self.observer.set(observer);
    }

    /// The servers that are asked now, in the order of their list.
    pub(super) fn servers(&self) -> Vec<Endpoint> {
        // whole at every instant
        let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        servers.refresh();
        servers.all.iter().map(|server| server.endpoint().clone()).collect()
    }

    /// How many questions failed since the last one that any server answered.
    pub(super) fn failed_in_a_row(&self) -> u32 {
        self.failed.load(Ordering::Relaxed)
    }

    /// Asks for the records of type `kind` at `name`. Names that are not in DNS (RFC 6761 6.3, 6.4,
    /// RFC 7686 2) are not asked for.
    pub(super) async fn ask(&self, name: &Name, kind: RecordType) -> Result<DnsAnswer<RData>, DnsFailure> {
        if [&*LOCALHOST, &*INVALID, &*ONION].iter().any(|zone| zone.zone_of(name)) {
            return Ok(DnsAnswer::none());
        }
        let began = Instant::now();
        let observe = |is_answered| {
            if let Some(observer) = self.observer.get() {
                observer(is_answered, began.elapsed());
            }
        };
        let mut last = ServerFailure::TimedOut;
        for _ in 0..self.attempts.get() {
            match self.attempt(name, kind).await {
                Ok(answer) => {
                    self.failed.store(0, Ordering::Relaxed);
                    observe(true);
                    return Ok(answer);
                }
                Err(failure) => last = last.or(failure),
            }
        }
        self.failed.fetch_add(1, Ordering::Relaxed);
        observe(false);
        let question = question(name, kind);
        Err(match last {
            ServerFailure::Code(code) => DnsFailure::Code { question, code: mnemonic(code) },
            ServerFailure::TimedOut => DnsFailure::TimedOut { question },
            ServerFailure::Unusable(reason) => {
                // the system's text, or sixgate's
                let reason = reason.escape_debug().take(LONGEST_REASON).collect();
                DnsFailure::Unusable { question, reason }
            }
        })
    }

    /// Asks one server after the other: the next one as soon as one has failed, or has not answered
    /// for a while. The first answer counts; the servers that were asked before the one that gave
    /// it, and are still silent, have failed.
    async fn attempt(&self, name: &Name, kind: RecordType) -> Result<DnsAnswer<RData>, ServerFailure> {
        let hedge = HEDGE.min(self.timeout / 4);
        let mut waiting = self.in_order().into_iter();
        let mut asked = FuturesUnordered::new();
        let mut silent: Vec<Arc<Server>> = Vec::new();
        let mut last = ServerFailure::TimedOut;
        let ask = async |server: Arc<Server>| {
            let answer = server.ask(name, kind, self.timeout).await;
            (server, answer)
        };
        loop {
            let next = waiting.next();
            let is_last = next.is_none();
            silent.extend(next.clone());
            asked.extend(next.map(&ask));
            let patience = Instant::now() + hedge;
            loop {
                let answered = tokio::select! {
                    answered = asked.next() => answered,
                    () = sleep_until(patience), if !is_last => break,
                };
                match answered {
                    Some((server, Ok(answer))) => {
                        let earlier = silent.iter().take_while(|other| !Arc::ptr_eq(other, &server));
                        earlier.for_each(|server| server.set_back(&ServerFailure::TimedOut));
                        return Ok(answer);
                    }
                    Some((server, Err(failure))) => {
                        silent.retain(|other| !Arc::ptr_eq(other, &server));
                        last = last.or(failure);
                    }
                    None if is_last => return Err(last),
                    None => {}
                }
                if !is_last {
                    break;
                }
            }
        }
    }

    /// The first [`MAX_APART`] servers, those that failed lately after the others.
    fn in_order(&self) -> Vec<Arc<Server>> {
        // whole at every instant
        let mut servers = self.servers.lock().unwrap_or_else(PoisonError::into_inner);
        servers.refresh();
        let mut all = servers.all.clone();
        all.sort_by_cached_key(|server| server.fails());
        all.truncate(MAX_APART);
        all
    }
}

impl Servers {
    /// Takes over the servers of the file if it has changed; what is known of those that stay is
    /// kept.
    fn refresh(&mut self) {
        let Some(file) = &mut self.file else {
            return;
        };
        if !file.has_changed() {
            return;
        }
        let known = |endpoint: &Endpoint| self.all.iter().find(|server| server.endpoint() == endpoint);
        let server = |endpoint: &Endpoint| {
            known(endpoint).map_or_else(|| Arc::new(Server::new(endpoint.clone())), Arc::clone)
        };
        self.all = file.servers().iter().map(server).collect();
    }
}

impl ServerFailure {
    /// The one of two that tells more: an error of a server tells more than what cannot be read,
    /// and that more than silence.
    fn or(self, other: Self) -> Self {
        let weight = |failure: &Self| match failure {
            Self::Code(_) => 2,
            Self::Unusable(_) => 1,
            Self::TimedOut => 0,
        };
        if weight(&other) > weight(&self) { other } else { self }
    }
}

/// Name and type, for people.
pub(super) fn question(name: &Name, kind: RecordType) -> String {
    format!("{} {kind}", name.to_ascii())
}

/// The code as IANA's table of DNS RCODEs has it.
fn mnemonic(code: ResponseCode) -> String {
    match code {
        ResponseCode::FormErr => "FORMERR".to_owned(),
        ResponseCode::ServFail => "SERVFAIL".to_owned(),
        ResponseCode::NotImp => "NOTIMP".to_owned(),
        ResponseCode::Refused => "REFUSED".to_owned(),
        other => format!("code {}", u16::from(other)),
    }
}

/// Characters of an error that are kept.
const LONGEST_REASON: usize = 200;
