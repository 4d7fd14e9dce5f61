//! What all sessions share: the settings in force, resolver, caches, store, maps and counters.
//!
//! It owns their making and the chores that keep them up to date. What a setting means is in `services`.

use std::{
    net::Ipv6Addr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use sixgate_dataplane::{DataplaneError, PinLock, Pins, PtrOrigin, PtrRecord, PtrState};
use sixgate_smtp::policy::evidence::{PtrEvidence, Unanswered};
use tokio::{sync::watch, time::timeout};
use tokio_util::sync::CancellationToken;
use tracing::{error, info};

use crate::{
    check::ptr::{PtrCache, PtrFinding},
    config::{self, Config, Limits},
    control::{Control, ControlError, Keeper},
    dns::Dns,
    log_limit::LogLimiter,
    server::{
        connections::{ConnectionBounds, ConnectionLimits},
        kernel::Kernel,
        limits::OctetBudget,
        metrics::Metrics,
        next_hop_watch::NextHopWatch,
        run::ServeError,
        services::{Services, connection_bounds},
        store_view::StoreView,
        tls::HandshakeLoad,
    },
};

/// What all sessions share.
pub(crate) struct Context {
    /// What the configuration in force says.
    services: watch::Sender<Arc<Services>>,
    pub(crate) dns: Dns,
    pub(crate) store: Arc<StoreView>,
    pub(crate) kernel: Kernel,
    pub(crate) metrics: Metrics,
    pub(crate) next_hop_watch: NextHopWatch,
    pub(crate) connections: Arc<ConnectionLimits>,
    pub(crate) memory: Arc<OctetBudget>,
    pub(crate) disk: Arc<OctetBudget>,
    pub(crate) log_limiter: Arc<LogLimiter>,
    pub(crate) handshakes: HandshakeLoad,
    /// Cancelled when sessions have had their time to finish after the daemon was told to stop.
    pub(crate) cut_off: CancellationToken,
    control: Arc<Control>,
    /// The daemon's lock on the pins, until the keeper has it.
    pin_lock: Mutex<Option<PinLock>>,
    /// Whether the store could not be carried over into the maps.
    maps_are_behind: AtomicBool,
    /// Whether the interfaces have been looked at, and the XDP program attached where that can be.
    is_settled: watch::Sender<bool>,
    ptr_cache: PtrCache,
}

impl Context {
    /// Sets everything up; what is attached already is used from now on.
    pub(crate) fn new(
        config: &Config,
        store: StoreView,
        no_xdp: bool,
        log_limiter: Arc<LogLimiter>,
    ) -> Result<Arc<Self>, ServeError> {
        let services = Services::new(config)?;
        let control = Control::new(config);
        let pin_lock = if no_xdp { None } else { lock_pins(&control)? };
        let Limits { message_memory, message_disk, .. } = &config.limits;
        let config::Dns { servers, timeout, attempts } = &config.dns;
        let dns = Dns::within(config.dns_bounds(), servers, *timeout, *attempts);
        Ok(Arc::new(Self {
            store: Arc::new(store),
            kernel: Kernel::new((!no_xdp).then(|| Pins::new(&config.xdp.bpffs))),
            metrics: Metrics::new(),
            next_hop_watch: NextHopWatch::default(),
            connections: ConnectionLimits::new(ConnectionBounds::from(&config.limits)),
            memory: OctetBudget::new(message_memory.get()),
            disk: OctetBudget::new(message_disk.get()),
            log_limiter,
            handshakes: HandshakeLoad::new().map_err(ServeError::Threads)?,
            ptr_cache: PtrCache::new(dns.clone()),
            cut_off: CancellationToken::new(),
            control: Arc::new(control),
            pin_lock: Mutex::new(pin_lock),
            maps_are_behind: AtomicBool::new(false),
            is_settled: watch::Sender::new(false),
            dns,
            services: watch::Sender::new(Arc::new(services)),
        }))
    }

    /// What the configuration in force says. Who needs several things of it takes it once.
    pub(crate) fn services(&self) -> Arc<Services> {
        Arc::clone(&self.services.borrow())
    }

    /// Puts other settings in force, for maps and sessions: all of them or, on an error, none. Blocks while the maps are
    /// written.
    pub(crate) fn replace(&self, next: Services) -> Result<(), ControlError> {
        if self.kernel.has_pins() {
            self.control.reconfigure(&next.config)?;
        }
        let limits = &next.limits;
        self.connections.rebound(ConnectionBounds::from(limits));
        self.memory.resize(limits.message_memory.get());
        self.disk.resize(limits.message_disk.get());
        next.next_hop.set_bounds(connection_bounds(limits));
        self.services.send_replace(Arc::new(next));
        Ok(())
    }

    /// What is not as it should be, for an administrator.
    pub(crate) fn problems(&self) -> Vec<String> {
        let services = self.services();
        let behind = self.maps_are_behind().then(|| MAPS_BEHIND.to_owned());
        let tls = services.tls.as_ref().and_then(|tls| tls.problem());
        [self.next_hop_watch.problem(), behind, tls].into_iter().flatten().collect()
    }

    /// Says that the interfaces have been looked at.
    pub(crate) fn settle(&self) {
        self.is_settled.send_if_modified(|is_settled| !std::mem::replace(is_settled, true));
    }

    /// Waits until the interfaces have been looked at, [`SETTLING_MAX`] at most; whether they have. The daemon serves
    /// before, so that a question right after its start would find the program attached nowhere.
    pub(crate) async fn settled(&self) -> bool {
        let mut is_settled = self.is_settled.subscribe();
        timeout(SETTLING_MAX, is_settled.wait_for(|is_settled| *is_settled)).await.is_ok()
    }

    /// Whether the store could not be copied into the maps.
    pub(crate) fn maps_are_behind(&self) -> bool {
        self.maps_are_behind.load(Ordering::Relaxed)
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
        if !(is_absent && self.services().policy.client_trust) {
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
        if state == PtrState::Exists || !self.services().policy.client_trust {
            self.kernel.remember_ptr(source, state, lifetime);
        }
    }

    /// Takes out of the maps what senders are not to be refused for any more.
    pub(crate) fn clear_maps(&self) {
        if self.services().policy.client_trust {
            self.kernel.forget_absent();
        }
    }

    /// Carries the store over into the maps, as far as they show another revision; and `addresses`, if those of the
    /// interfaces may have changed. What fails is tried again when the interfaces are looked at.
    pub(crate) async fn reconcile(&self, addresses: bool) {
        if !self.kernel.is_attached() {
            return;
        }
        let control = Arc::clone(&self.control);
        let addresses = addresses || self.maps_are_behind.load(Ordering::Relaxed);
        let done = tokio::task::spawn_blocking(move || control.reconcile(addresses)).await;
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
        have_come || self.maps_are_behind()
    }

    /// What looks after the interfaces; none if started without XDP.
    pub(crate) fn keeper(&self) -> Option<Keeper> {
        let lock = self.pin_lock.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.kernel.has_pins().then(|| Keeper::new(Arc::clone(&self.control), lock))
    }
}

/// How long `sixgate status` waits for a daemon that has just started: old kernels verify the program for seconds.
const SETTLING_MAX: Duration = Duration::from_secs(20);

const MAPS_BEHIND: &str = "the opt-in store cannot be copied into the BPF maps: see the daemon's log";

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
