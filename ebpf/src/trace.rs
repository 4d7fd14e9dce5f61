//! The outcome of the segment at hand, for `sixgate trace`: logged with aya-log where its addresses
//! match.
//!
//! Only the object that is built with the feature `trace` has any of it; in the other one the
//! functions here are empty. It decides nothing about a segment and changes no frame.

#[cfg(feature = "trace")]
mod record;

use aya_ebpf::programs::XdpContext;
use sixgate_common::refuse::Reason;

use crate::parse::Headers;

/// Notes the segment whose headers were found, before it is judged: an answer overwrites its frame.
#[inline(always)]
pub(crate) fn begin(context: &XdpContext, headers: Headers) {
    #[cfg(feature = "trace")]
    record::begin(context, headers);
    #[cfg(not(feature = "trace"))]
    let _ = (context, headers);
}

/// Notes why the opening SYN at hand is refused.
#[inline(always)]
pub(crate) fn refused(reason: Reason) {
    #[cfg(feature = "trace")]
    record::refused(reason);
    #[cfg(not(feature = "trace"))]
    let _ = reason;
}

/// Logs the outcome: the counter's number and the XDP action.
#[inline(always)]
pub(crate) fn end(stat: u32, action: u32) {
    #[cfg(feature = "trace")]
    record::end(stat, action);
    #[cfg(not(feature = "trace"))]
    let _ = (stat, action);
}
