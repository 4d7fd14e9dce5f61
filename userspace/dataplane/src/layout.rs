//! The shape of each map of layout v5, to compare pinned maps with: aya opens any map that lies
//! under a name.
//!
//! Names and value types are `sixgate_common`'s; the object in `ebpf/` has the same, and a test
//! compares both.

use aya::maps::{MapInfo, MapType};
use sixgate_common::{
    cookie::CookieKey,
    dest::{DestEntry, MemberEntry},
    event::EventShare,
    flow::{FlowKey, PartialLine, Tag},
    names,
    ptr::PtrEntry,
    reply::Reply,
    settings::Settings,
    slot::{Note, Slot, SlotKey},
    station::{StationEntry, StationKey},
};

use super::{error::DataplaneError, pins::PinSet};

/// What makes two maps interchangeable. The number of entries does not: an existing map keeps its
/// own.
#[derive(Clone, Copy, Debug)]
struct Shape {
    kind: MapType,
    key: usize,
    value: usize,
    flags: u32,
}

/// Compares the pinned map `name` with this build's shape; its number of entries.
///
/// # Errors
///
/// [`DataplaneError::PinMissing`] when it is missing, [`DataplaneError::LayoutDiffers`] when it
/// differs.
pub(super) fn examine(set: &PinSet, name: &'static str) -> Result<u32, DataplaneError> {
    let differs =
        |difference| DataplaneError::LayoutDiffers { map: name, path: set.path().to_owned(), difference };
    let file = set.map(name);
    // what may not be looked at is not missing
    if !file.try_exists().map_err(|error| DataplaneError::file("look for", &file, error))? {
        return Err(DataplaneError::PinMissing { map: name, path: set.path().to_owned() });
    }
    let info = MapInfo::from_pin(&file).map_err(|error| DataplaneError::map("open", name, error))?;
    match difference(&info, shape(name)) {
        Some(difference) => Err(differs(difference)),
        None => Ok(info.max_entries()),
    }
}

/// What differs between a map and a shape, for people.
fn difference(found: &MapInfo, wanted: Shape) -> Option<String> {
    let kind = found.map_type().ok();
    if kind != Some(wanted.kind) {
        return Some(format!("its kind is {kind:?}, not {:?}", wanted.kind));
    }
    for (what, found, wanted) in [
        ("key size", found.key_size() as usize, wanted.key),
        ("value size", found.value_size() as usize, wanted.value),
        ("flags", found.map_flags() as usize, wanted.flags as usize),
    ] {
        if found != wanted {
            return Some(format!("its {what} is {found}, not {wanted}"));
        }
    }
    None
}

fn shape(name: &str) -> Shape {
    let (kind, key, value, flags) = match name {
        names::SETTINGS => (MapType::Array, INDEX, size_of::<Settings>(), 0),
        names::IN_FORCE => (MapType::Array, INDEX, INDEX, 0),
        names::STATIONS => (MapType::Hash, size_of::<StationKey>(), size_of::<StationEntry>(), 0),
        names::OPTIN => (MapType::LpmTrie, PREFIX, size_of::<DestEntry>(), NO_PREALLOC),
        names::GUARD | names::TRUST => (MapType::LpmTrie, PREFIX, size_of::<MemberEntry>(), NO_PREALLOC),
        names::DOMAINS => (MapType::Hash, size_of::<u64>(), size_of::<MemberEntry>(), 0),
        names::PTR => (MapType::LruHash, ADDRESS, size_of::<PtrEntry>(), 0),
        names::FLOWS => (MapType::LruHash, size_of::<FlowKey>(), size_of::<Tag>(), 0),
        names::PARTIAL_LINES => (MapType::LruHash, size_of::<FlowKey>(), size_of::<PartialLine>(), 0),
        names::SLOTS => (MapType::Array, INDEX, size_of::<Slot>(), names::MMAPABLE),
        names::NOTES => (MapType::Array, INDEX, size_of::<Note>(), 0),
        names::SLOT_KEY => (MapType::Array, INDEX, size_of::<SlotKey>(), 0),
        names::COOKIES => (MapType::Array, INDEX, size_of::<CookieKey>(), 0),
        names::REPLIES => (MapType::Array, INDEX, size_of::<Reply>(), 0),
        names::STATS => (MapType::PerCpuArray, INDEX, size_of::<u64>(), 0),
        names::EVENT_SHARES => (MapType::Array, INDEX, size_of::<EventShare>(), 0),
        // EVENTS, the last of `names::ALL`
        _ => (MapType::RingBuf, 0, 0, 0),
    };
    Shape { kind, key, value, flags }
}

const INDEX: usize = size_of::<u32>();
const ADDRESS: usize = 16;
/// A prefix length and an address.
const PREFIX: usize = size_of::<u32>() + ADDRESS;
/// BPF_F_NO_PREALLOC, which the kernel demands of a trie (kernel/bpf/lpm_trie.c).
const NO_PREALLOC: u32 = 1;
