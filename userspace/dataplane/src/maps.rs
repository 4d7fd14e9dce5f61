//! Handles on the pinned maps: settings, replies, tags.
//!
//! Keys of cookies are `cookies`'.
//! Prefixes are `projection`'s, stations `stations`', PTR entries `ptr`'s, counters `stats`',
//! connections `flows`'.

use std::net::SocketAddrV6;

use aya::maps::{Array, HashMap, LpmTrie, Map, MapData, MapError, PerCpuArray};
use sixgate_common::{
    cookie::CookieKey,
    dest::{DestEntry, MemberEntry},
    flow::{FlowKey, Tag},
    names::{self, SETTINGS_ENTRIES},
    ptr::PtrEntry,
    refuse::ReplyId,
    reply::{self, REPLY_MAX, Reply},
    settings::{ANSWER_FALLBACK, ANSWER_KERNEL, READY, Revision, Settings},
    slot::{Slot, SlotKey},
    station::{StationEntry, StationKey},
};

use super::{
    domains::DomainMap,
    error::{DataplaneError, is_absent},
    layout,
    object::Sizes,
    pins::{PinSet, Pins},
};

/// The maps of the pinned set. A process that changes prefixes or settings holds the lock on the
/// maps ([`super::MapsLock`]).
pub struct Maps {
    settings: Array<MapData, Settings>,
    in_force: Array<MapData, u32>,
    pub(super) cookies: Array<MapData, CookieKey>,
    pub(super) stations: HashMap<MapData, StationKey, StationEntry>,
    replies: Array<MapData, Reply>,
    pub(super) flows: HashMap<MapData, FlowKey, Tag>,
    pub(super) slots: Array<MapData, Slot>,
    pub(super) slot_key: Array<MapData, SlotKey>,
    pub(super) optin: LpmTrie<MapData, [u8; 16], DestEntry>,
    pub(super) guard: LpmTrie<MapData, [u8; 16], MemberEntry>,
    pub(super) trust: LpmTrie<MapData, [u8; 16], MemberEntry>,
    pub(super) domains: DomainMap,
    pub(super) ptr: HashMap<MapData, [u8; 16], PtrEntry>,
    pub(super) stats: PerCpuArray<MapData, u64>,
    sizes: Sizes,
}

impl Maps {
    /// Opens the pinned maps; nothing when nothing is pinned.
    ///
    /// # Errors
    ///
    /// [`DataplaneError::OtherLayout`] beside a set of another layout,
    /// [`DataplaneError::PinMissing`] when a map is missing, [`DataplaneError::LayoutDiffers`] when
    /// one is of another shape; [`DataplaneError::NoRights`], [`DataplaneError::Map`].
    pub fn open(pins: &Pins) -> Result<Option<Self>, DataplaneError> {
        pins.live()?.map(|set| Self::open_set(&set)).transpose()
    }

    pub(super) fn open_set(set: &PinSet) -> Result<Self, DataplaneError> {
        for name in names::ALL {
            layout::examine(set, name)?;
        }
        Ok(Self {
            settings: open(set, names::SETTINGS)?,
            in_force: open(set, names::IN_FORCE)?,
            cookies: open(set, names::COOKIES)?,
            stations: open(set, names::STATIONS)?,
            replies: open(set, names::REPLIES)?,
            flows: open(set, names::FLOWS)?,
            slots: open(set, names::SLOTS)?,
            slot_key: open(set, names::SLOT_KEY)?,
            optin: open(set, names::OPTIN)?,
            guard: open(set, names::GUARD)?,
            trust: open(set, names::TRUST)?,
            domains: open(set, names::DOMAINS)?,
            ptr: open(set, names::PTR)?,
            stats: open(set, names::STATS)?,
            sizes: Sizes {
                optin: layout::examine(set, names::OPTIN)?,
                guard: layout::examine(set, names::GUARD)?,
                trust: layout::examine(set, names::TRUST)?,
                ptr: layout::examine(set, names::PTR)?,
                flows: layout::examine(set, names::FLOWS)?,
            },
        })
    }

    /// The sizes with which the maps were made; the configuration may have changed since.
    #[must_use]
    pub const fn sizes(&self) -> Sizes {
        self.sizes
    }

    /// The program's settings.
    ///
    /// # Errors
    ///
    /// [`DataplaneError::Map`].
    pub fn settings(&self) -> Result<Settings, DataplaneError> {
        let index = self.in_force()?;
        self.settings.get(&index, 0).map_err(|error| DataplaneError::map("read", names::SETTINGS, error))
    }

    /// Tells the program what to do, from the next SYN on: all of it or, if a write fails, nothing
    /// of it.
    ///
    /// # Errors
    ///
    /// [`DataplaneError::Map`].
    pub fn write_settings(&mut self, settings: &Settings) -> Result<(), DataplaneError> {
        let next = (self.in_force()? + 1) % SETTINGS_ENTRIES;
        self.settings
            .set(next, settings, 0)
            .map_err(|error| DataplaneError::map("write", names::SETTINGS, error))?;
        self.in_force.set(0, next, 0).map_err(|error| DataplaneError::map("write", names::IN_FORCE, error))
    }

    fn in_force(&self) -> Result<u32, DataplaneError> {
        let index =
            self.in_force.get(&0, 0).map_err(|error| DataplaneError::map("read", names::IN_FORCE, error))?;
        Ok(index % SETTINGS_ENTRIES)
    }

    /// Lets the program refuse: the prefixes are those of this revision of the store.
    ///
    /// # Errors
    ///
    /// [`DataplaneError::Map`].
    pub fn set_shown(&mut self, shown: Revision) -> Result<(), DataplaneError> {
        let settings = self.settings()?;
        if settings.ready == READY && settings.shown == shown {
            return Ok(());
        }
        self.write_settings(&Settings { ready: READY, shown, ..settings })
    }

    /// Stops the program from refusing: everything passes to the daemon, which decides from the
    /// store.
    ///
    /// # Errors
    ///
    /// [`DataplaneError::Map`].
    pub fn clear_ready(&mut self) -> Result<(), DataplaneError> {
        let settings = self.settings()?;
        self.write_settings(&Settings { ready: 0, ..settings })
    }

    /// Lets the program answer by itself or not, while it should: nothing is changed when it should
    /// not.
    ///
    /// # Errors
    ///
    /// [`DataplaneError::Map`].
    pub fn set_fallback(&mut self, has_fallback: bool) -> Result<(), DataplaneError> {
        let settings = self.settings()?;
        let answer = if has_fallback { ANSWER_FALLBACK } else { ANSWER_KERNEL };
        match settings.answer {
            ANSWER_KERNEL | ANSWER_FALLBACK => self.write_settings(&Settings { answer, ..settings }),
            _ => Ok(()),
        }
    }

    /// Makes `replies` those of new sessions; sessions that are under way keep theirs. Does nothing
    /// if they are in force already.
    ///
    /// # Errors
    ///
    /// [`DataplaneError::Map`]; the replies in force then stay.
    pub fn write_replies(&mut self, replies: &[(ReplyId, Reply)]) -> Result<(), DataplaneError> {
        let settings = self.settings()?;
        match self.stage_replies(replies)? {
            generation if generation == settings.generation => Ok(()),
            generation => self.write_settings(&Settings { generation, ..settings }),
        }
    }

    /// Writes `replies` where the program does not look yet; the generation that SETTINGS have to
    /// name, which is the one in force if those replies are.
    ///
    /// # Errors
    ///
    /// [`DataplaneError::Map`]; what is in force stays so.
    pub fn stage_replies(&mut self, replies: &[(ReplyId, Reply)]) -> Result<u32, DataplaneError> {
        let settings = self.settings()?;
        let wanted =
            |id| replies.iter().find(|(known, _)| *known == id).map_or(NO_REPLY, |(_, reply)| *reply);
        let mut is_in_force = true;
        for id in ReplyId::ALL {
            is_in_force &= self.reply(settings.generation, id)? == wanted(id);
        }
        if is_in_force {
            return Ok(settings.generation);
        }
        let generation = settings.generation.wrapping_add(1);
        for id in ReplyId::ALL {
            self.replies
                .set(reply::index(generation, id), wanted(id), 0)
                .map_err(|error| DataplaneError::map("write", names::REPLIES, error))?;
        }
        Ok(generation)
    }

    /// A reply of a generation; one of length 0 where there is none.
    ///
    /// # Errors
    ///
    /// [`DataplaneError::Map`].
    pub fn reply(&self, generation: u32, id: ReplyId) -> Result<Reply, DataplaneError> {
        self.reply_at(reply::index(generation, id))
    }

    /// The reply at an index of REPLIES.
    ///
    /// # Errors
    ///
    /// [`DataplaneError::Map`].
    pub(super) fn reply_at(&self, index: u32) -> Result<Reply, DataplaneError> {
        self.replies.get(&index, 0).map_err(|error| DataplaneError::map("read", names::REPLIES, error))
    }

    /// The tag that the program left for a connection, which is deleted.
    ///
    /// # Errors
    ///
    /// [`DataplaneError::Map`].
    pub fn take_tag(&mut self, key: &FlowKey) -> Result<Option<Tag>, DataplaneError> {
        let found = match self.flows.get(key, 0) {
            Err(error) if is_absent(&error) => return Ok(None),
            found => found.map_err(|error| DataplaneError::map("read", names::FLOWS, error))?,
        };
        match self.flows.remove(key) {
            Err(error) if !is_absent(&error) => Err(DataplaneError::map("delete from", names::FLOWS, error)),
            _ => Ok(Some(found)),
        }
    }
}

/// The key under which the program keeps the connection from `sender` to `local`.
#[must_use]
pub fn flow_key(sender: &SocketAddrV6, local: &SocketAddrV6) -> FlowKey {
    FlowKey {
        source: sender.ip().octets(),
        destination: local.ip().octets(),
        source_port: sender.port().to_be_bytes(),
        destination_port: local.port().to_be_bytes(),
    }
}

/// A reply that is not there.
const NO_REPLY: Reply = Reply { length: 0, insert_at: 0, sum: 0, text: [0; REPLY_MAX] };

pub(super) fn open<T: TryFrom<Map, Error = MapError>>(
    set: &PinSet,
    name: &'static str,
) -> Result<T, DataplaneError> {
    MapData::from_pin(set.map(name))
        .and_then(Map::from_map_data)
        .and_then(T::try_from)
        .map_err(|error| DataplaneError::map("open", name, error))
}
