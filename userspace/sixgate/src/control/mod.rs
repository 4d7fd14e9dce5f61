//! The only module that changes the opt-in store and the maps together, under the lock on the maps.
//!
//! The store is the truth and the maps are its projection. The meaning of a prefix, and how a map
//! is written, are defined elsewhere.

mod attach;
mod attach_request;
mod configured;
mod empty;
mod facts;
mod follow;
mod guard;
mod keep;
mod reconfigure;
mod rehearsal;
mod replies;
mod responder;
mod setting_names;
mod status;
mod trace;
mod wanted;

use std::{
    net::{IpAddr, Ipv6Addr},
    path::PathBuf,
    sync::{Arc, RwLock},
    time::Duration,
};

use sixgate_base::endpoint::Endpoint;
use sixgate_common::settings;
use sixgate_dataplane::{CookieSecret, DataplaneError, Loader, Maps, MapsLock, PinLock, Pins, Sizes};

use crate::{
    config::{Config, Domains, GuardSource},
    rights,
    store::{Author, Backup, Consent, Database, Edit, Store, StoreError},
};

use attach_request::AttachRequest;
use configured::{Configured, Present};

pub use attach::{Attachment, Attempts};
pub(crate) use empty::{no_destination, no_domain};
pub use facts::{Facts, FactsRequest, KernelRefusals, TakeFacts};
pub use guard::{Destinations, GuardOrigin};
pub use keep::{Keeper, Looked, Notice, Urgency};
pub use rehearsal::Restoring;
pub use replies::compile_replies;
pub use responder::Responder;
pub use status::{EntryCounts, InterfaceStatus, Status, kernel_settings};
pub use trace::Tracing;

/// Store and maps of one configuration. Its functions block, at most as long as another process is
/// waited for that changes either; nothing is opened in between.
#[derive(Clone, Debug)]
pub struct Control {
    store: Store,
    pins: Pins,
    guard: GuardSource,
    present: Present,
    sizes: Sizes,
    /// The file of the key of cookies.
    cookie_key: Option<PathBuf>,
    /// Where the daemon listens.
    listening: Vec<Ipv6Addr>,
    /// Facts that were found out about loading this binary's program.
    loader: Loader,
    /// Whether this process may load the program and attach it.
    can_attach: bool,
    /// Where a daemon asks another process to attach.
    attach_request: AttachRequest,
    /// Whether the maps are the daemon's, which uses another store.
    leaves_maps: bool,
    /// Whether changes are tried only.
    is_dry_run: bool,
}

/// An operation on store and maps failed.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// The store; nothing was changed.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The XDP program or its maps; the store was not changed.
    #[error(transparent)]
    Dataplane(#[from] DataplaneError),
    /// The maps show a store that is not there.
    #[error(
        "the XDP program's maps hold opted-in destinations, whose store is not at {}: is the volume mounted? Nothing was \
         changed; `sixgate init --force` makes a new store, and mail to all of them is refused",
        path.display()
    )]
    MapsHoldEntries {
        /// Where the store should be.
        path: PathBuf,
    },
    /// A change that was tried would not fit into a map.
    #[error(
        "the map {map} has {bound} entries at most, and this would make {wanted}: the opt-in store would have the change, and \
         the XDP program would refuse nothing; nothing was changed"
    )]
    NoSpace {
        /// The name of the map.
        map: &'static str,
        /// How many entries it can hold.
        bound: u32,
        /// How many it would have to hold.
        wanted: usize,
    },
    /// The store has the change, the maps have not all of it.
    #[error(
        "the maps could not be brought in line with the store, which holds: the XDP program refuses nothing until \
         a command or the daemon succeeds"
    )]
    NotProjected {
        /// The error of the maps.
        source: DataplaneError,
    },
    /// The store has the change, and the maps were not touched.
    #[error(
        "the opt-in store has the change, the BPF maps may not have it yet: the daemon copies it, or `sixgate attach`"
    )]
    Behind {
        /// Why the maps were not touched.
        source: Box<Self>,
    },
}

impl ControlError {
    /// The error of the maps, where the store has the change already.
    fn after_store(self) -> Self {
        match self {
            Self::NotProjected { .. } | Self::Behind { .. } => self,
            source => Self::Behind { source: Box::new(source) },
        }
    }
}

/// A store that its backup replaced.
#[derive(Debug)]
pub struct Restored {
    /// The backup that replaced it.
    pub backup: Backup,
    /// Where the store of before is kept, if there was one.
    pub aside: Option<PathBuf>,
    /// The revision that the maps showed before.
    pub shown: Option<u64>,
}

impl Control {
    /// Store and maps that `config` names. Nothing is opened yet.
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
            cookie_key: config.xdp.cookie_key.clone(),
            listening: config.listen.addresses.iter().filter_map(ipv6).collect(),
            loader: Loader::default(),
            can_attach: rights::can_attach(),
            attach_request: AttachRequest::of(&config.control_socket()),
            leaves_maps: false,
            is_dry_run: false,
        }
    }

    /// Changes the store alone from now on: the maps show that of a daemon which uses another one.
    pub fn leave_maps(&mut self) {
        self.leaves_maps = true;
    }

    /// The key of cookies in the file that the configuration names, as it is now.
    fn cookie_key(&self) -> Result<Option<CookieSecret>, DataplaneError> {
        self.cookie_key.as_deref().map(CookieSecret::read).transpose()
    }

    /// The maps, if the program is attached and they are to show this store.
    fn maps_of_store(&self) -> Result<Option<Maps>, ControlError> {
        if self.leaves_maps { Ok(None) } else { self.maps() }
    }

    /// The store, to be read.
    #[must_use]
    pub fn store(&self) -> &Store {
        &self.store
    }

    /// The maps, if the program is attached.
    ///
    /// # Errors
    ///
    /// [`ControlError::Dataplane`] if the pins cannot be opened, or are those of another version.
    pub fn maps(&self) -> Result<Option<Maps>, ControlError> {
        Ok(Maps::open(&self.pins)?)
    }

    /// Makes a new, empty store; in a dry run it makes the checks alone.
    ///
    /// # Errors
    ///
    /// [`StoreError::Exists`]; [`StoreError::Earlier`], [`StoreError::OnlyBackup`] and
    /// [`ControlError::MapsHoldEntries`] without `force`.
    pub fn init(&self, force: bool) -> Result<(), ControlError> {
        if !force {
            if self.store.will_take_over() {
                return Err(self.store.earlier().into());
            }
            if let Some(error) = self.store.only_backup() {
                return Err(error.into());
            }
        }
        let maps = match self.maps() {
            // such maps show no store of this version
            Err(ControlError::Dataplane(_)) if force => None,
            found => found?,
        };
        if let Some(maps) = &maps
            && !force
            && !self.store.path().exists()
            && maps.holds_optin()?
        {
            return Err(ControlError::MapsHoldEntries { path: self.store.path().to_owned() });
        }
        if self.is_dry_run {
            return Ok(self.store.check_create()?);
        }
        Ok(self.store.create()?)
    }

    /// Replaces a store that is missing or damaged by the backup, with `force` a good one, too, and
    /// brings the maps in line.
    ///
    /// # Errors
    ///
    /// [`StoreError::Good`] without `force`; [`ControlError::NotProjected`] and
    /// [`ControlError::Behind`]: the store is replaced even so.
    pub fn restore(&self, force: bool) -> Result<Restored, ControlError> {
        let shown = self.shown();
        let (backup, aside) = self.store.restore(force)?;
        // the backup's history lacks it
        self.store.open()?.record(&Author::of_this_process())?;
        self.reconcile(false).map_err(ControlError::after_store)?;
        Ok(Restored { backup, aside, shown })
    }

    /// The revision that the maps show, as far as there are maps that can be read.
    #[must_use]
    pub fn shown(&self) -> Option<u64> {
        let settings = self.maps().ok()??.settings().ok()?;
        Some(settings.shown.number()).filter(|number| *number > 0)
    }

    /// The process that has the lock on the pins, a daemon; none where that cannot be found out.
    #[must_use]
    pub fn pins_holder(&self) -> Option<u32> {
        self.pins.holder()
    }

    /// Whether the XDP program is to answer, by the configuration alone.
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

    /// Changes the store by `edit`, then the maps; returns what `edit` returned. In a dry run it
    /// does the same and takes it back.
    ///
    /// # Errors
    ///
    /// [`ControlError::NotProjected`]: the store has the change, and `ready` is cleared.
    /// [`ControlError::Behind`]: the store has the change, and the maps are as they were. Every
    /// other error leaves store and maps as they were; [`StoreError::Empties`] without consent,
    /// [`ControlError::NoSpace`] in a dry run.
    pub fn change<T>(
        &self,
        consent: Consent,
        edit: impl FnOnce(&mut Edit<'_>) -> Result<T, StoreError>,
    ) -> Result<T, ControlError> {
        let mut database = self.store.open()?;
        database.check_writable()?;
        // before the store is changed: a user who may not open the maps changes nothing
        let maps = self.maps_of_store()?;
        let lock = maps.is_some().then(|| self.pins.lock_maps(MAPS_WAIT)).transpose()?;
        let checked = |editing: &mut Edit<'_>| {
            let had = (editing.opts_anything_in()?, editing.opts_any_domain_in()?);
            let value = edit(editing)?;
            if !consent.empty
                && self.configured().settings.mode == settings::MODE_ENFORCE
                && editing.takes_away()
            {
                self.check_left(editing, had)?;
            }
            Ok::<_, StoreError>(value)
        };
        if self.is_dry_run {
            return database.rehearse(|editing| {
                let value = checked(editing)?;
                match &maps {
                    Some(maps) if editing.is_changed() => self.check_space(maps, editing)?,
                    _ => {}
                }
                Ok(value)
            });
        }
        let edited = database.edit(&Author::of_this_process(), checked)?;
        self.bring_maps_along(lock, &mut database).map_err(ControlError::after_store)?;
        Ok(edited.value)
    }

    /// Brings the maps in line with a store that has just changed. Without `lock` there were none
    /// before, and there may be now, which show the revision before this one.
    fn bring_maps_along(&self, lock: Option<MapsLock>, database: &mut Database) -> Result<(), ControlError> {
        let Some(mut maps) = self.maps_of_store()? else {
            return Ok(());
        };
        let _lock = match lock {
            Some(lock) => lock,
            None => self.pins.lock_maps(MAPS_WAIT)?,
        };
        self.follow(&mut maps, database)
    }

    /// Whether a change leaves what mail needs, if that was there before.
    fn check_left(&self, editing: &Edit<'_>, (had_in, had_domain): (bool, bool)) -> Result<(), StoreError> {
        if had_in && !editing.opts_anything_in()? {
            return Err(StoreError::Empties {
                what: "destination opted in",
                then: "every sender to this host is refused",
            });
        }
        if self.configured().domains == Domains::Listed && had_domain && !editing.opts_any_domain_in()? {
            return Err(StoreError::Empties {
                what: "domain that takes mail",
                then: "every recipient is refused",
            });
        }
        Ok(())
    }
}

fn ipv6(address: &Endpoint) -> Option<Ipv6Addr> {
    match address.ip() {
        IpAddr::V6(ip) => Some(ip),
        IpAddr::V4(_) => None,
    }
}

/// How long another process is waited for that changes the maps: it may fill them with millions of
/// prefixes.
const MAPS_WAIT: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_after_the_store_has_a_change_does_not_deny_the_change() {
        let missing = || StoreError::Missing { path: "/store.db".into() };
        for error in [ControlError::from(missing()), DataplaneError::NotProjected { differences: 1 }.into()] {
            let reason = error.to_string();
            let error = error.after_store().after_store();
            assert!(error.to_string().starts_with("the opt-in store has the change, "), "{error}");
            let ControlError::Behind { source } = error else { panic!("{error}") };
            assert_eq!(source.to_string(), reason);
        }
        let source = DataplaneError::NotProjected { differences: 1 };
        let error = ControlError::NotProjected { source }.after_store();
        assert!(matches!(error, ControlError::NotProjected { .. }), "{error}");
    }
}
