//! The one place where the opt-in store and the maps change together, under the store's lock.
//!
//! The store is the truth and the maps are its projection. What a prefix means, and how a map is written,
//! is not its business.

mod answer;
mod attach;
mod configured;
mod guard;
mod keep;
mod replies;
mod status;
mod wanted;

use std::{
    collections::BTreeSet,
    net::{IpAddr, Ipv6Addr},
    sync::{Arc, RwLock},
};

use sixgate_common::settings::{self, Settings};

use crate::{
    config::{Answer, Config, GuardSource, InterfaceName, XdpMode},
    dataplane::{self, Changes, DataplaneError, Entry, Loader, Maps, PinLock, Pins, Projection, Sizes},
    endpoint::Endpoint,
    policy::Mode,
    store::{Contents, OptIn, Outcome, Store, StoreError},
};

use configured::{Configured, Present};

pub use answer::Answering;
pub use attach::{Attachment, Attempts};
pub use guard::GuardOrigin;
pub use keep::{Keeper, Looked, Notice, Urgency};
pub use replies::compile_replies;
pub use status::{Counts, InterfaceStatus, Status};

/// Store and maps of one configuration. Its functions block, at most as long as the store's lock is waited
/// for; nothing is opened in between.
#[derive(Clone, Debug)]
pub struct Control {
    store: Store,
    pins: Pins,
    guard: GuardSource,
    present: Present,
    sizes: Sizes,
    /// The interfaces that the program is to run on, and in which mode.
    interfaces: Vec<InterfaceName>,
    mode: XdpMode,
    /// Where the daemon listens.
    listening: Vec<Ipv6Addr>,
    /// What was found out about loading this binary's program.
    loader: Loader,
}

/// What can go wrong with store and maps.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The store; nothing was changed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The XDP program or its maps; the store was not changed.
    #[error(transparent)]
    Dataplane(#[from] DataplaneError),
    /// The store has the change, the maps have not all of it.
    #[error(
        "the maps could not be brought in line with the store, which holds: the XDP program refuses nothing until \
         a command or the daemon succeeds"
    )]
    NotProjected {
        /// What failed.
        source: DataplaneError,
    },
}

impl Control {
    /// Store and maps as `config` says. Nothing is opened yet.
    #[must_use]
    pub fn new(config: &Config) -> Self {
        Self {
            store: Store::new(&config.store),
            pins: Pins::new(&config.xdp.bpffs),
            guard: config.xdp.guard,
            present: Arc::new(RwLock::new(Arc::new(Configured::from(config)))),
            sizes: Sizes {
                optin: config.xdp.optin_entries.get(),
                ptr: config.xdp.ptr_entries.get(),
                flows: config.xdp.flow_entries.get(),
                ..Sizes::default()
            },
            interfaces: config.xdp.interfaces.clone(),
            mode: config.xdp.mode,
            listening: config.listen.addresses.iter().filter_map(ipv6).collect(),
            loader: Loader::default(),
        }
    }

    /// The store, to be read.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The maps, if the program is attached.
    pub fn maps(&self) -> Result<Option<Maps>, ControlError> {
        Ok(Maps::open(&self.pins)?)
    }

    /// Whether the XDP program is to answer, as far as the configuration says.
    fn expects_kernel(&self) -> bool {
        self.configured().settings.answer == settings::ANSWER_KERNEL
    }

    /// Locks the pins, for a daemon's life.
    ///
    /// # Errors
    ///
    /// [`ControlError::Dataplane`]; [`DataplaneError::PinsInUse`] while another daemon has them.
    pub fn lock_pins(&self) -> Result<PinLock, ControlError> {
        Ok(self.pins.lock()?)
    }

    /// Changes the store by `edit`, then the maps; returns what `edit` returned. The maps are brought in
    /// line even if `edit` changed nothing.
    ///
    /// # Errors
    ///
    /// [`ControlError::NotProjected`]: the store has the change, and `ready` is cleared. Every other error
    /// leaves store and maps as they were.
    pub fn change(
        &self,
        edit: impl FnOnce(&mut Contents) -> Vec<Outcome>,
    ) -> Result<Vec<Outcome>, ControlError> {
        let mut owned = self.store.own()?;
        let before = owned.read()?;
        // before the store is written: who may not open the maps changes nothing
        let maps = self.maps()?;
        let mut contents = before.clone();
        let outcomes = edit(&mut contents);
        if contents != before {
            owned.write(&contents)?;
        }
        if let Some(maps) = maps {
            self.project(maps, &contents)?;
        }
        Ok(outcomes)
    }

    /// Brings the maps in line with the store and lets the program refuse; says what changed last in the
    /// maps, none if the program is not attached. While there is no store, `last` stands for it: a file that is
    /// gone for a moment must not refuse everything.
    ///
    /// # Errors
    ///
    /// [`ControlError::NotProjected`]: `ready` is cleared.
    pub fn reconcile(&self, last: &Contents) -> Result<Option<Changes>, ControlError> {
        let owned = self.store.own()?;
        let read = owned.read_if_there()?;
        let contents = read.as_ref().unwrap_or(last);
        self.maps()?.map(|maps| self.project(maps, contents)).transpose()
    }

    /// What the maps have to hold.
    fn projection(
        &self,
        contents: &Contents,
        interfaces: &BTreeSet<u32>,
    ) -> Result<Projection, DataplaneError> {
        let decision = |optin: &OptIn| match optin {
            OptIn::In => dataplane::OptIn::In,
            OptIn::Out => dataplane::OptIn::Out,
        };
        let optin = contents.optin.entries().iter().map(|(prefix, optin)| (*prefix, decision(optin)));
        Ok(Projection {
            optin: optin.collect(),
            guard: self.guarded(contents, interfaces)?.into_keys().collect(),
            trust: contents.trust.entries().keys().copied().collect(),
        })
    }

    fn project(&self, mut maps: Maps, contents: &Contents) -> Result<Changes, ControlError> {
        self.try_project(&mut maps, contents).map_err(|source| {
            // best effort, since something is wrong with the maps already: the first error is the one to tell
            let _ = maps.clear_ready();
            ControlError::NotProjected { source }
        })
    }

    /// The program may refuse again only after the maps were read back.
    fn try_project(&self, maps: &mut Maps, contents: &Contents) -> Result<Changes, DataplaneError> {
        let wanted = self.projection(contents, &self.attached_interfaces()?)?;
        let changes = match maps.project(&wanted) {
            Err(DataplaneError::MapFull { .. }) if fits(&wanted, maps.sizes()) => {
                make_room(maps, &wanted)?;
                maps.project(&wanted)?
            }
            projected => projected?,
        };
        if maps.settings()?.ready != settings::READY {
            let left = maps.difference(&wanted)?;
            if !left.is_empty() {
                return Err(DataplaneError::NotProjected { differences: left.len() });
            }
            maps.set_ready()?;
        }
        Ok(changes)
    }
}

/// Whether the maps can hold `wanted`, once what is not wanted is gone.
fn ipv6(address: &Endpoint) -> Option<Ipv6Addr> {
    match address.ip() {
        IpAddr::V6(ip) => Some(ip),
        IpAddr::V4(_) => None,
    }
}

fn fits(wanted: &Projection, sizes: Sizes) -> bool {
    let fits = |count: usize, bound: u32| u32::try_from(count).is_ok_and(|count| count <= bound);
    fits(wanted.optin.len(), sizes.optin)
        && fits(wanted.guard.len(), sizes.guard)
        && fits(wanted.trust.len(), sizes.trust)
}

/// Removes what is not wanted first, where old and new entries together are too many. Entries are missing
/// meanwhile, so that the program may refuse nothing until all are there.
fn make_room(maps: &mut Maps, wanted: &Projection) -> Result<(), DataplaneError> {
    maps.clear_ready()?;
    let mut kept = wanted.clone();
    for entry in maps.difference(wanted)?.added {
        match entry {
            Entry::OptIn(prefix, _) => {
                kept.optin.remove(&prefix);
            }
            Entry::Guard(prefix) => {
                kept.guard.remove(&prefix);
            }
            Entry::Trust(prefix) => {
                kept.trust.remove(&prefix);
            }
        }
    }
    maps.project(&kept)?;
    Ok(())
}

/// The configuration as the XDP program takes it, not ready yet.
fn settings(config: &Config) -> Settings {
    Settings {
        mode: match config.mode {
            Mode::Enforce => settings::MODE_ENFORCE,
            Mode::Shadow => settings::MODE_SHADOW,
        },
        answer: match config.answer {
            Answer::Kernel => settings::ANSWER_KERNEL,
            Answer::Daemon => settings::ANSWER_DAEMON,
        },
        refuse_at: config.refuse_at.number(),
        ready: 0,
        generation: 0,
    }
}
