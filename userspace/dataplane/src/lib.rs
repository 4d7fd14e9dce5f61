//! The XDP program and its maps: the only importer of aya.
//!
//! [`attach()`] fills the maps and puts the program on interfaces; [`Maps`] is the handle on what
//! is pinned; [`Projection`] is what the opt-in store wants the maps to hold. It knows neither the
//! store nor the policy, and it takes no lock by itself: a process that changes prefixes or
//! settings holds a [`MapsLock`].

mod addresses;
mod attach;
mod attached;
mod cookies;
mod domains;
mod error;
mod events;
mod fallback_reason;
mod flows;
mod held_off;
mod inspection;
mod interface;
mod kernel;
mod layout;
mod loader;
mod lock;
mod maps;
mod mounts;
mod object;
mod other_pins;
mod pinned_link;
mod pins;
mod projection;
mod ptr;
mod reach;
mod stations;
mod stats;
mod topology;
mod trace;
mod trie;
mod vlan;
mod watch;

pub use addresses::{global_addresses, interface_addresses};
pub use attach::{
    AttachMode, AttachPlan, AttachReport, AttachTrial, Attached, Failed, ProgramChange, TriedInterface,
    VlanTags, attach, attach_each, attach_with, occupant, try_attach,
};
pub use attached::{
    AttachedAt, AttachedLink, InterfaceCache, Lost, attached, attached_by_others, can_answer, detach,
    detach_others, forget_link, missing_map, outlooks,
};
pub use cookies::CookieSecret;
pub use error::DataplaneError;
pub use events::{Events, KernelEvent, KernelProgress, Refused};
pub use fallback_reason::{FallbackReason, Outlook, PeerLacks, TagsLack};
pub use flows::{FlowRecord, FlowState};
pub use inspection::{InterfaceReport, inspect_interface};
pub use interface::{InterfaceNow, interface_called, interface_now};
pub use kernel::kernel_release;
pub use loader::Loader;
pub use lock::{MapsLock, PinLock};
pub use maps::{Maps, flow_key};
use nix::time::{ClockId, clock_gettime};
pub use object::{Embedded, ProgramTag, Sizes, embedded_object, embedded_traced_object};
pub use other_pins::{detach_elsewhere, try_detach_elsewhere};
pub use pins::Pins;
pub use projection::{MapChange, MapDifferences, MapEntry, Projection};
pub use ptr::{PtrOrigin, PtrRecord, PtrState};
pub use stations::{Marks, Station, StationUse};
pub use topology::RunMode;
pub use trace::{SegmentOutcome, Trace, TracedSegment};
pub use watch::{NetworkWatch, watch_network};

/// CLOCK_MONOTONIC in nanoseconds: the clock of `bpf_ktime_get_ns`, in which tags and PTR entries
/// count.
#[must_use]
pub fn monotonic_nanoseconds() -> u64 {
    // Linux always has CLOCK_MONOTONIC, and it starts at zero with the machine (clock_gettime(2)).
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("CLOCK_MONOTONIC exists");
    now.tv_sec() as u64 * NANOSECONDS + now.tv_nsec() as u64
}

const NANOSECONDS: u64 = 1_000_000_000;
