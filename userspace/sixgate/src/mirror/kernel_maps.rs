//! The daemon's side of the BPF maps: takes tags and events, shares PTR results.
//!
//! The maps may come and go while the daemon runs. Without them, or with maps that fail, every
//! answer is "nothing known", and the daemon decides alone.

use std::{
    net::{Ipv6Addr, SocketAddrV6},
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use sixgate_common::stat::Stat;
use sixgate_dataplane::{
    DataplaneError, Events, KernelEvent, Maps, Pins, PtrOrigin, PtrRecord, PtrState, flow_key,
};
use sixgate_smtp::policy::evidence::Endpoints;
use tracing::{info, warn};

/// The maps, if there are any.
pub(crate) struct KernelMaps {
    /// None: started without XDP.
    pins: Option<Pins>,
    maps: Mutex<Option<Maps>>,
    events: Mutex<Option<Events>>,
    /// Whether they could not be opened the last time.
    failing: AtomicBool,
}

impl KernelMaps {
    pub(crate) fn new(pins: Option<Pins>) -> Self {
        let maps =
            Self { pins, maps: Mutex::default(), events: Mutex::default(), failing: AtomicBool::default() };
        maps.refresh();
        maps
    }

    /// Looks whether the maps are there; whether they have just come.
    pub(crate) fn refresh(&self) -> bool {
        let Some(pins) = &self.pins else {
            return false;
        };
        let events = self.refresh_events(pins);
        let mut maps = lock(&self.maps);
        let had = maps.is_some();
        match events.and_then(|()| Maps::open(pins)) {
            Ok(found) => {
                *maps = found;
                self.failing.store(false, Ordering::Relaxed);
            }
            // what is open stays in use: perhaps there is no descriptor to open it again
            Err(error) if !self.failing.swap(true, Ordering::Relaxed) => {
                warn!("cannot open the BPF maps: {:#}", anyhow::Error::new(error));
            }
            Err(_) => {}
        }
        match (had, maps.is_some()) {
            (false, true) => info!("the XDP program is attached: its maps are in use"),
            (true, false) => info!("the XDP program is gone: deciding without it"),
            _ => {}
        }
        !had && maps.is_some()
    }

    /// Whether the daemon works with the XDP program at all.
    pub(crate) const fn has_pins(&self) -> bool {
        self.pins.is_some()
    }

    fn refresh_events(&self, pins: &Pins) -> Result<(), DataplaneError> {
        // no other task may take records between the look at where to go on and the first record
        // from there
        let mut events = lock(&self.events);
        *events = Events::open(pins)?;
        Ok(())
    }

    /// Takes the tag of a connection; whether there was one.
    pub(crate) fn take_tag(&self, endpoints: Endpoints) -> bool {
        let Endpoints { source, source_port, destination, destination_port } = endpoints;
        let sender = SocketAddrV6::new(source, source_port, 0, 0);
        let key = flow_key(&sender, &SocketAddrV6::new(destination, destination_port, 0, 0));
        self.with(|maps| maps.take_tag(&key)).flatten().is_some()
    }

    /// The PTR map's record of an address.
    pub(crate) fn ptr(&self, source: Ipv6Addr) -> Option<PtrRecord> {
        self.with(|maps| maps.ptr_get(source)).flatten()
    }

    /// Tells the kernel the answer of DNS.
    pub(crate) fn remember_ptr(&self, source: Ipv6Addr, state: PtrState, lifetime: Duration) {
        self.with(|maps| maps.ptr_set(source, state, PtrOrigin::Dns, lifetime));
    }

    /// Makes the program forget which sources have no PTR record, except those that commands set.
    pub(crate) fn forget_absent(&self) {
        self.with(|maps| {
            let is_finding =
                |record: &PtrRecord| record.state == PtrState::Absent && record.origin == PtrOrigin::Dns;
            for record in maps.ptr_list()?.into_iter().filter(is_finding) {
                maps.ptr_remove(record.address)?;
            }
            Ok(())
        });
    }

    /// What became of refused sessions since the last call: at most `most` events.
    pub(crate) fn take_events(&self, most: usize) -> Vec<KernelEvent> {
        lock(&self.events).as_mut().map(|events| events.take(most)).unwrap_or_default()
    }

    /// The program's counters; none without maps.
    pub(crate) fn stats(&self) -> Vec<(Stat, u64)> {
        self.with(|maps| maps.stats()).unwrap_or_default()
    }

    /// Whether there are maps.
    pub(crate) fn is_attached(&self) -> bool {
        lock(&self.maps).is_some()
    }

    fn with<T>(&self, use_maps: impl FnOnce(&mut Maps) -> Result<T, DataplaneError>) -> Option<T> {
        match use_maps(lock(&self.maps).as_mut()?) {
            Ok(value) => Some(value),
            Err(error) => {
                warn!("cannot access a BPF map: {:#}", anyhow::Error::new(error));
                None
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
