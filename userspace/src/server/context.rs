//! What all sessions share: settings, resolver, caches, store, maps, next hop and counters.
//!
//! It owns their making and the chores that keep them up to date.

use std::{
    net::Ipv6Addr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
};

use tracing::{error, info};

use crate::{
    check::{
        dkim::DkimVerifier,
        ptr::{PtrCache, PtrFinding},
    },
    config::{self, Config, Domains, Limits},
    content::SpillDirectory,
    control::{Control, ControlError, Keeper},
    dataplane::{DataplaneError, PinLock, Pins, PtrOrigin, PtrRecord, PtrState},
    dns::Dns,
    lines::SharedLines,
    nexthop::{NextHop, SmtpSettings},
    policy::{
        Policy,
        evidence::{PtrEvidence, RecipientEvidence, Standing, Unanswered},
    },
    server::{
        connections::{ConnectionBounds, ConnectionLimits},
        kernel::Kernel,
        limits::OctetBudget,
        metrics::Metrics,
        run::ServeError,
        store_view::StoreView,
        tls::TlsView,
    },
    smtp::{
        command::{Mailbox, RcptTo},
        reply::ReplyTable,
    },
    store::Contents,
};

/// What all sessions share.
pub(crate) struct Context {
    pub(crate) hostname: String,
    pub(crate) policy: Policy,
    /// A number of [`sixgate_common::settings`].
    pub(crate) refuse_at: u32,
    pub(crate) limits: Limits,
    pub(crate) replies: Arc<ReplyTable>,
    pub(crate) dns: Dns,
    pub(crate) dkim: DkimVerifier,
    pub(crate) store: StoreView,
    pub(crate) kernel: Kernel,
    pub(crate) next_hop: NextHop,
    /// None: STARTTLS is not offered.
    pub(crate) tls: Option<TlsView>,
    pub(crate) metrics: Metrics,
    pub(crate) connections: Arc<ConnectionLimits>,
    pub(crate) memory: Arc<OctetBudget>,
    pub(crate) disk: Arc<OctetBudget>,
    pub(crate) spill_directory: SpillDirectory,
    /// Those about what sessions refuse or end.
    pub(crate) session_lines: SharedLines,
    control: Arc<Control>,
    /// The daemon's lock on the pins, until the keeper has it.
    pin_lock: Mutex<Option<PinLock>>,
    /// Whether the store could not be carried over into the maps.
    maps_are_behind: AtomicBool,
    domains: Domains,
    ptr_cache: PtrCache,
}

impl Context {
    /// Sets everything up; what is attached already is used from now on.
    pub(crate) fn new(config: &Config, store: StoreView, no_xdp: bool) -> Result<Arc<Self>, ServeError> {
        let control = Control::new(config);
        let pin_lock = if no_xdp { None } else { lock_pins(&control)? };
        let Limits { message_memory, message_disk, .. } = &config.limits;
        let hostname = config.hostname.as_str().to_owned();
        let replies = config.reply_table();
        let config::Dns { servers, timeout, attempts } = &config.dns;
        let dns = Dns::within(config.dns_bounds(), servers, *timeout, *attempts);
        let dns = dns.map_err(ServeError::Dns)?;
        Ok(Arc::new(Self {
            policy: config.policy(),
            refuse_at: config.refuse_at.number(),
            limits: config.limits.clone(),
            store,
            kernel: Kernel::new((!no_xdp).then(|| Pins::new(&config.xdp.bpffs))),
            next_hop: next_hop(config, replies.clone()),
            tls: config.tls.as_ref().map(TlsView::open).transpose().map_err(ServeError::Tls)?,
            metrics: Metrics::new(),
            connections: ConnectionLimits::new(ConnectionBounds::from(&config.limits)),
            memory: OctetBudget::new(message_memory.get()),
            disk: OctetBudget::new(message_disk.get()),
            spill_directory: spill_directory(config)?,
            session_lines: SharedLines::new(),
            ptr_cache: PtrCache::new(dns.clone()),
            dkim: DkimVerifier::new(config.dkim_settings()),
            replies: Arc::new(replies),
            domains: config.domains,
            control: Arc::new(control),
            pin_lock: Mutex::new(pin_lock),
            maps_are_behind: AtomicBool::new(false),
            dns,
            hostname,
        }))
    }

    /// Whether a recipient takes mail here, and whether it asks for more than that.
    pub(crate) fn recipient(&self, store: &Contents, recipient: &RcptTo) -> RecipientEvidence {
        let listed = match (self.domains, recipient) {
            (Domains::All, _) | (Domains::Listed, RcptTo::Postmaster(_)) => true,
            (Domains::Listed, RcptTo::Mailbox(mailbox)) => {
                mailbox.domain_name().is_some_and(|domain| store.takes_domain(domain))
            }
        };
        RecipientEvidence {
            domain: if listed { Standing::OptedIn } else { Standing::NotOptedIn },
            asks_for_routing: recipient.mailbox().is_some_and(Mailbox::asks_for_routing),
        }
    }

    /// Whether a source is known to have no PTR record, without asking DNS.
    pub(crate) async fn known_without_ptr(&self, source: Ipv6Addr) -> bool {
        match self.kernel.ptr(source) {
            Some(record) => record.state == PtrState::Absent,
            None if self.kernel.is_attached() => false,
            None => {
                let known = self.ptr_cache.known(source).await;
                known.is_some_and(|finding| finding.evidence == PtrEvidence::PermError)
            }
        }
    }

    /// Reverse DNS of a source. The PTR map is looked at first, so that what a command says there holds at once; what
    /// DNS says goes there before it is used here. A failure is never kept.
    pub(crate) async fn ptr(&self, source: Ipv6Addr) -> PtrEvidence {
        let known = self.kernel.ptr(source);
        match known {
            Some(PtrRecord { state: PtrState::Absent, .. }) => return PtrEvidence::PermError,
            // the entry has expired or was removed, by a command or for want of room: ask again
            None if self.kernel.is_attached() => self.forget_ptr(source).await,
            Some(_) | None => {}
        }
        let is_commanded = known.is_some_and(|record| record.origin == PtrOrigin::Command);
        let tell_kernel = |finding: &PtrFinding| {
            if !is_commanded {
                self.tell_kernel(source, finding);
            }
        };
        let evidence = self.ptr_cache.get(source, tell_kernel).await.evidence;
        match (known, evidence) {
            // a command said that there is one, or DNS did lately
            (Some(_), PtrEvidence::PermError) if is_commanded => ONLY_EXISTENCE,
            (Some(_), PtrEvidence::TempError(Unanswered::Record)) => ONLY_EXISTENCE,
            (_, evidence) => evidence,
        }
    }

    /// Forgets what is not in the PTR map any more; what never gets there stays, for as long as it holds.
    async fn forget_ptr(&self, source: Ipv6Addr) {
        let known = self.ptr_cache.known(source).await;
        let is_absent = known.is_some_and(|finding| finding.evidence == PtrEvidence::PermError);
        if !(is_absent && self.policy.client_trust) {
            self.ptr_cache.forget(source).await;
        }
    }

    /// Findings about addresses that made room for others.
    pub(crate) fn ptr_cache_evicted(&self) -> u64 {
        self.ptr_cache.evicted()
    }

    /// Takes a new finding over into the PTR map; but not that there is no record, for which the program would refuse a
    /// sender that may prove itself by a certificate.
    fn tell_kernel(&self, source: Ipv6Addr, finding: &PtrFinding) {
        let Some(lifetime) = finding.lifetime else {
            return;
        };
        let state = match finding.evidence {
            PtrEvidence::PermError => PtrState::Absent,
            PtrEvidence::Pass { .. } | PtrEvidence::Fail { .. } | PtrEvidence::TempError(_) => {
                PtrState::Exists
            }
        };
        if state == PtrState::Exists || !self.policy.client_trust {
            self.kernel.remember_ptr(source, state, lifetime);
        }
    }

    /// Takes out of the maps what senders are not to be refused for any more.
    pub(crate) fn clear_maps(&self) {
        if self.policy.client_trust {
            self.kernel.forget_absent();
        }
    }

    /// Carries the store over into the maps, under its lock; while there is none, its last content. What fails is tried
    /// again when the interfaces are looked at.
    pub(crate) async fn reconcile(&self) {
        if !self.kernel.is_attached() {
            return;
        }
        let (control, last) = (Arc::clone(&self.control), self.store.current());
        let done = tokio::task::spawn_blocking(move || control.reconcile(&last)).await;
        let done = done.map_err(anyhow::Error::new).and_then(|done| done.map_err(anyhow::Error::new));
        let were_behind = self.maps_are_behind.swap(done.is_err(), Ordering::Relaxed);
        match done {
            Ok(_) if were_behind => info!("the BPF maps follow the opt-in store again"),
            Err(error) if !were_behind => {
                error!("cannot copy the opt-in store into the BPF maps, retrying: {error:#}")
            }
            Ok(_) | Err(_) => {}
        }
    }

    /// Takes over the maps if they have just come; whether they have to be carried over to.
    pub(crate) fn refresh_maps(&self) -> bool {
        let have_come = self.kernel.refresh();
        if have_come {
            self.clear_maps();
        }
        have_come || self.maps_are_behind.load(Ordering::Relaxed)
    }

    /// What looks after the interfaces; none if started without XDP.
    pub(crate) fn keeper(&self) -> Option<Keeper> {
        let lock = self.pin_lock.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.kernel.has_pins().then(|| Keeper::new(Arc::clone(&self.control), lock))
    }
}

/// There is a PTR record, and nothing else is known.
const ONLY_EXISTENCE: PtrEvidence = PtrEvidence::TempError(Unanswered::Names { names: Vec::new() });

/// Locks the pins: two daemons on the same ones would each undo what the other does. Without a place for pins there is
/// nothing to lock yet.
fn lock_pins(control: &Control) -> Result<Option<PinLock>, ServeError> {
    match control.lock_pins() {
        Ok(lock) => Ok(Some(lock)),
        Err(error @ ControlError::Dataplane(DataplaneError::PinsInUse { .. })) => {
            Err(ServeError::Control(error))
        }
        // the keeper says so, and tries again
        Err(_) => Ok(None),
    }
}

/// Looks whether large messages have a place where they may lie, as the daemon does when it starts.
///
/// # Errors
/// What keeps the daemon from starting.
pub fn check_temporary_directory(config: &Config) -> Result<(), ServeError> {
    spill_directory(config).map(drop)
}

/// Where large messages go while they arrive. Better not to start than to refuse each of them.
fn spill_directory(config: &Config) -> Result<SpillDirectory, ServeError> {
    let path = config.temporary_directory.clone();
    let directory = SpillDirectory::new(path.clone());
    directory.probe().map_err(|source| ServeError::TemporaryDirectory { path, source })?;
    Ok(directory)
}

fn next_hop(config: &Config, replies: ReplyTable) -> NextHop {
    match &config.next_hop {
        config::NextHop::Maildir(path) => NextHop::maildir(path, config.hostname.as_str(), replies),
        config::NextHop::Server { protocol, address, client } => {
            let hostname = config.hostname.as_str().to_owned();
            let settings =
                SmtpSettings { address: address.clone(), protocol: *protocol, client: *client, hostname };
            NextHop::smtp(settings, replies)
        }
    }
}
