//! Names and default sizes of the BPF maps, and the version of their layout.
//!
//! In `ebpf/` the identifier of each static is the name; user space uses only these constants.

/// Version of the layout of all maps: the name of the pin directory's innermost part (`v5`). It
/// changes with any change of a key, a value, a kind or a meaning in this crate.
pub const LAYOUT: &str = "v5";

/// The XDP program's name.
pub const PROGRAM: &str = "sixgate";

/// array(2): [`crate::settings::Settings`], one record in force and one to be written next.
pub const SETTINGS: &str = "SETTINGS";
/// array(1): the index of the record of SETTINGS that is in force, a u32.
pub const IN_FORCE: &str = "IN_FORCE";
/// hash: [`crate::station::StationKey`] to [`crate::station::StationEntry`].
pub const STATIONS: &str = "STATIONS";
/// LPM trie: destination prefix to [`crate::dest::DestEntry`].
pub const OPTIN: &str = "OPTIN";
/// LPM trie: destination prefix that is ours to [`crate::dest::MemberEntry`].
pub const GUARD: &str = "GUARD";
/// LPM trie: source prefix to [`crate::dest::MemberEntry`].
pub const TRUST: &str = "TRUST";
/// hash: [`crate::domain::domain_key`] of a recipients' domain whose refusal is temporary to
/// [`crate::dest::MemberEntry`].
pub const DOMAINS: &str = "DOMAINS";
/// LRU hash: source address to [`crate::ptr::PtrEntry`].
pub const PTR: &str = "PTR";
/// LRU hash: [`crate::flow::FlowKey`] to [`crate::flow::Tag`].
pub const FLOWS: &str = "FLOWS";
/// array: an index of [`crate::slot::SlotKey::places`] to [`crate::slot::Slot`].
pub const SLOTS: &str = "SLOTS";
/// array: the slot's index to [`crate::slot::Note`].
pub const NOTES: &str = "NOTES";
/// array(1): the key of the slots' hash, [`crate::slot::SlotKey`].
pub const SLOT_KEY: &str = "SLOT_KEY";
/// LRU hash: [`crate::flow::FlowKey`] to [`crate::flow::PartialLine`].
pub const PARTIAL_LINES: &str = "PARTIAL_LINES";
/// array(4): the number of a key modulo 4 to [`crate::cookie::CookieKey`].
pub const COOKIES: &str = "COOKIES";
/// array: [`crate::reply::index`] to [`crate::reply::Reply`].
pub const REPLIES: &str = "REPLIES";
/// per-CPU array: [`crate::stat::Stat`] to a u64.
pub const STATS: &str = "STATS";
/// ring buffer: records of [`crate::event`] about the sessions that the kernel refuses.
pub const EVENTS: &str = "EVENTS";

/// array: [`crate::event::EventShare::index`] to [`crate::event::EventShare`].
pub const EVENT_SHARES: &str = "EVENT_SHARES";

/// Every map, in the order in which they are made.
pub const ALL: [&str; 18] = [
    SETTINGS,
    IN_FORCE,
    COOKIES,
    STATIONS,
    OPTIN,
    GUARD,
    TRUST,
    DOMAINS,
    PTR,
    FLOWS,
    SLOTS,
    NOTES,
    SLOT_KEY,
    PARTIAL_LINES,
    REPLIES,
    STATS,
    EVENT_SHARES,
    EVENTS,
];

/// BPF_F_MMAPABLE (linux/bpf.h), the flag of SLOTS.
pub const MMAPABLE: u32 = 1 << 10;

/// Records of SETTINGS.
pub const SETTINGS_ENTRIES: u32 = 2;
/// Bound of STATIONS, in Ethernet addresses: those of each attached interface and of the bridges
/// and bonds above it.
pub const STATIONS_ENTRIES: u32 = 1 << 10;
/// Default bound of OPTIN, in prefixes (`xdp.optin_entries` changes it).
pub const OPTIN_ENTRIES: u32 = 1 << 21;
/// Bound of GUARD, in prefixes.
pub const GUARD_ENTRIES: u32 = 1 << 14;
/// Bound of TRUST, in prefixes.
pub const TRUST_ENTRIES: u32 = 1 << 16;
/// Bound of DOMAINS, in spellings of domains: one for each domain, and two more for one with an
/// A-label.
pub const DOMAINS_ENTRIES: u32 = 1 << 16;
/// Default bound of PTR, in addresses; least recently used entries give way (`xdp.ptr_entries`
/// changes it).
pub const PTR_ENTRIES: u32 = 1 << 17;
/// Default bound of FLOWS, in tags; least recently used entries give way (`xdp.flow_entries`
/// changes it).
pub const FLOWS_ENTRIES: u32 = 1 << 16;
/// Bound of PARTIAL_LINES, in unfinished lines; least recently used entries give way.
pub const PARTIAL_LINES_ENTRIES: u32 = 1 << 10;
/// Bytes of the EVENTS ring buffer; a power of two and a multiple of the page size.
pub const EVENTS_BYTES: u32 = 1 << 21;
