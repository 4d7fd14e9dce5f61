//! What kernel and daemon share, as a whole: the maps follow the opt-in store and the
//! configuration.
//!
//! It owns when the store is copied into the maps. How that is done is `control`'s business.

use std::{
    net::Ipv6Addr,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use ipnet::Ipv6Net;
use sixgate_dataplane::{DataplaneError, PinLock, Pins};
use sixgate_smtp::policy::evidence::OptInStatus;
use tokio::{sync::watch, time::timeout};
use tracing::{error, info};

use crate::{
    config::Config,
    control::{Control, ControlError, Destinations, Keeper, Tracing},
    mirror::kernel_maps::KernelMaps,
    rights,
    services::InForce,
    store::PrefixSet,
    store_view::StoreView,
};

/// The store and the maps that show it to the kernel.
pub(crate) struct Mirror {
    maps: Arc<KernelMaps>,
    control: Arc<Control>,
    in_force: InForce,
    /// The daemon's lock on the pins, until the keeper has it.
    pin_lock: Mutex<Option<PinLock>>,
    /// Whether the store could not be copied into the maps.
    is_behind: AtomicBool,
    /// Whether the interfaces have been looked at, and the XDP program attached where that can be.
    is_settled: watch::Sender<bool>,
    /// What keeps the XDP program from being attached as a whole.
    problems: Mutex<Vec<String>>,
}

impl Mirror {
    /// Locks the pins; what is attached already is used from now on. `is_successor`: a daemon that
    /// has the lock is about to give it up, and the keeper tries again.
    ///
    /// # Errors
    ///
    /// [`DataplaneError::PinsInUse`] while another daemon has the pins.
    pub(crate) fn open(
        config: &Config,
        no_xdp: bool,
        in_force: InForce,
        is_successor: bool,
    ) -> Result<Self, ControlError> {
        let control = Control::new(config);
        let pin_lock = match (!no_xdp).then(|| lock_pins(&control)) {
            None => None,
            Some(Err(_)) if is_successor => None,
            Some(lock) => lock?,
        };
        let pins = (!no_xdp).then(|| Pins::new(&config.xdp.bpffs));
        let mirror = Self {
            maps: Arc::new(KernelMaps::new(pins)),
            control: Arc::new(control),
            in_force,
            pin_lock: Mutex::new(pin_lock),
            is_behind: AtomicBool::new(false),
            is_settled: watch::Sender::new(false),
            problems: Mutex::default(),
        };
        mirror.clear_absent();
        Ok(mirror)
    }

    /// The maps, if there are any.
    pub(crate) const fn maps(&self) -> &Arc<KernelMaps> {
        &self.maps
    }

    /// Store and maps; none if the daemon was started without XDP.
    pub(crate) fn control_of_maps(&self) -> Option<Arc<Control>> {
        self.maps.has_pins().then(|| Arc::clone(&self.control))
    }

    /// Puts another configuration in force in the maps: all of it or, on an error, nothing. Blocks
    /// while the maps are written.
    ///
    /// # Errors
    ///
    /// The maps cannot be written, or the store cannot be read.
    pub(crate) fn reconfigure(&self, config: &Config) -> Result<(), ControlError> {
        if self.maps.has_pins() {
            self.control.reconfigure(config)?;
        }
        Ok(())
    }

    /// Replaces the ordinary XDP program by the traced one. Blocks while the kernel verifies it.
    ///
    /// # Errors
    ///
    /// Why that cannot be done, as text.
    pub(crate) fn trace(&self, source: Ipv6Net, destination: Option<Ipv6Net>) -> Result<Tracing, String> {
        if !self.maps.has_pins() {
            return Err(NO_XDP.to_owned());
        }
        if !rights::can_attach() {
            return Err(NO_RIGHTS.to_owned());
        }
        let traced = self.control.trace(source, destination);
        traced.map_err(|error| format!("{:#}", anyhow::Error::new(error)))
    }

    /// The problems of the maps and interfaces, for an administrator.
    pub(crate) fn problems(&self) -> Vec<String> {
        let behind = self.is_behind().then(|| BEHIND.to_owned());
        let attaching = self.problems.lock().unwrap_or_else(PoisonError::into_inner).clone();
        behind.into_iter().chain(attaching).collect()
    }

    /// Sets what keeps the XDP program from being attached as a whole.
    pub(super) fn set_problems(&self, problems: Vec<String>) {
        *self.problems.lock().unwrap_or_else(PoisonError::into_inner) = problems;
    }

    /// Waits until the interfaces have been looked at, [`SETTLING_MAX`] at most; whether they have.
    /// The daemon serves before, so that a question right after its start would find the program
    /// attached nowhere.
    pub(crate) async fn settled(&self) -> bool {
        let mut is_settled = self.is_settled.subscribe();
        timeout(SETTLING_MAX, is_settled.wait_for(|is_settled| *is_settled)).await.is_ok()
    }

    /// Notes that the interfaces have been looked at.
    pub(super) fn settle(&self) {
        self.is_settled.send_if_modified(|is_settled| !std::mem::replace(is_settled, true));
    }

    /// Copies the store into the maps, as far as they show another revision; and `addresses`, if
    /// those of the interfaces may have changed. What fails is tried again when the interfaces are
    /// looked at.
    pub(crate) async fn follow(&self, addresses: bool) {
        if !self.maps.is_attached() {
            return;
        }
        let control = Arc::clone(&self.control);
        let addresses = addresses || self.is_behind();
        let done = tokio::task::spawn_blocking(move || control.reconcile(addresses)).await;
        let done = done.map_err(anyhow::Error::new).and_then(|done| done.map_err(anyhow::Error::new));
        let was_behind = self.is_behind.swap(done.is_err(), Ordering::Relaxed);
        match done {
            Ok(_) if was_behind => info!("the BPF maps follow the opt-in store again"),
            Ok(true) => info!("the BPF maps were behind the opt-in store: they are in line with it again"),
            Err(error) if !was_behind => {
                error!("cannot copy the opt-in store into the BPF maps, retrying: {error:#}")
            }
            Ok(_) | Err(_) => {}
        }
    }

    /// Takes over the maps if they have just come; whether the store has to be copied into them. A
    /// thread does that: it waits for those that use the maps.
    pub(super) async fn refresh_maps(self: &Arc<Self>) -> bool {
        let mirror = Arc::clone(self);
        tokio::task::spawn_blocking(move || mirror.look_for_maps()).await.unwrap_or_default()
    }

    fn look_for_maps(&self) -> bool {
        let have_come = self.maps.refresh();
        if have_come {
            self.clear_absent();
        }
        have_come || self.is_behind()
    }

    /// What looks after the interfaces; none if started without XDP.
    pub(super) fn keeper(&self) -> Option<Keeper> {
        let lock = self.pin_lock.lock().unwrap_or_else(PoisonError::into_inner).take();
        self.maps.has_pins().then(|| Keeper::new(Arc::clone(&self.control), lock))
    }

    /// Takes out of the maps what senders are not to be refused for any more: where the
    /// configuration in force trusts certificates, that they have no PTR record.
    pub(crate) fn clear_absent(&self) {
        if self.in_force.get().policy.client_trust {
            self.maps.forget_absent();
        }
    }

    fn is_behind(&self) -> bool {
        self.is_behind.load(Ordering::Relaxed)
    }
}

impl Destinations for StoreView {
    fn guard(&self) -> PrefixSet {
        self.refresh();
        self.look(|contents| contents.guard.clone())
    }

    fn opt_in_status(&self, address: Ipv6Addr) -> OptInStatus {
        self.destination(address)
    }
}

/// Locks the pins: two daemons on the same ones would each undo what the other does. Without a
/// directory for pins there is nothing to lock yet.
fn lock_pins(control: &Control) -> Result<Option<PinLock>, ControlError> {
    match control.lock_pins() {
        Ok(lock) => Ok(Some(lock)),
        Err(error @ ControlError::Dataplane(DataplaneError::PinsInUse { .. })) => Err(error),
        // the keeper logs the error, and tries again
        Err(_) => Ok(None),
    }
}

/// How long `sixgate status` waits for a daemon that has just started: old kernels verify the
/// program for seconds.
const SETTLING_MAX: Duration = Duration::from_secs(20);

const NO_RIGHTS: &str = "this daemon lacks the rights to load an XDP program (CAP_NET_ADMIN, CAP_BPF, CAP_PERFMON); \
                         for the time of a trace `systemctl edit sixgate` can add them: see `man sixgate-trace`";
const NO_XDP: &str =
    "the daemon was started with --no-xdp and leaves the XDP program alone: start it without that";
const BEHIND: &str = "the opt-in store cannot be copied into the BPF maps: see the daemon's log";
