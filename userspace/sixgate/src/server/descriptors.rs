//! The process's bound of open files, made large enough for what the configuration allows.
//!
//! It opens nothing.

use nix::sys::resource::{Resource, getrlimit, setrlimit};
use sixgate_auth::dns::MAX_APART;
use tracing::{info, warn};

use crate::config::Limits;

/// Raises RLIMIT_NOFILE to what `limits` may need, as far as the hard limit allows; logs a warning
/// if that is too little. The hard limit is the operator's and stays.
pub(super) fn raise_limit(limits: &Limits) {
    let needed = needed(limits);
    let (soft, hard) = match getrlimit(Resource::RLIMIT_NOFILE) {
        Ok(limits) => limits,
        Err(error) => return warn!("cannot read RLIMIT_NOFILE: {error}"),
    };
    let wanted = needed.min(hard);
    if soft < wanted {
        match setrlimit(Resource::RLIMIT_NOFILE, wanted, hard) {
            Ok(()) => info!(from = soft, to = wanted, "RLIMIT_NOFILE raised"),
            Err(error) => return warn!("cannot raise RLIMIT_NOFILE from {soft} to {wanted}: {error}"),
        }
    }
    if hard < needed {
        warn!(
            "RLIMIT_NOFILE is {hard} at most: limits.connections = {} and limits.dns_concurrency = {} may need {needed} \
             descriptors; raise it (systemd: LimitNOFILE), or lower them",
            limits.connections, limits.dns_concurrency
        );
    }
}

fn needed(limits: &Limits) -> u64 {
    let of = |number: u32, each: u64| u64::from(number).saturating_mul(each);
    of(limits.connections.get(), PER_CONNECTION)
        .saturating_add(of(limits.dns_concurrency.get(), PER_QUESTION))
        .saturating_add(OTHERS)
}

/// Of one connection: the client's socket, the message's temporary file, and the next hop's socket,
/// or the file in the Maildir and a second handle of it or of its directory.
const PER_CONNECTION: u64 = 4;
/// Of one question: each server that is asked at a time is sent two datagrams at most.
const PER_QUESTION: u64 = 2 * MAX_APART as u64;
/// Descriptors that are open regardless of the load: listening sockets, maps, store, log, runtime.
const OTHERS: u64 = 64;
