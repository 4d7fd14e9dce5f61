//! The questions to the checks about a sender, and their findings as the policy takes them.
//!
//! It translates; what it means for a message is decided in `sixgate_smtp::policy`. Sessions and
//! `sixgate explain` both use it.

use std::net::Ipv6Addr;

use sixgate_auth::{
    dkim::{DkimResult, DkimSignature, TESTING_KEY},
    dns::Resolver,
    ptr::{PtrResult, Unanswered},
    spf::{SpfQuery, SpfResult, SpfResults},
};
use sixgate_common::refuse::Reason;
use sixgate_smtp::{
    command::{Mailbox, RcptTo},
    policy::{
        Refusal, Verdict,
        evidence::{CheckOutcome, Evidence, OptInStatus, PtrOutcome, RecipientEvidence},
    },
    session::{Admission, Offer},
};

use crate::{
    config::{self, Config, Domains},
    nexthop::Capabilities,
    store::Marks,
    store_view::StoreFacts,
};

/// Everything that is known about a sender and its message.
pub(crate) struct Findings<'a> {
    pub(crate) facts: &'a StoreFacts,
    /// It has proved itself by a certificate.
    pub(crate) certified: bool,
    pub(crate) ptr: Option<&'a PtrResult>,
    pub(crate) spf: Option<&'a SpfResults>,
    pub(crate) dkim: &'a [DkimSignature],
    pub(crate) null_sender: bool,
}

impl Findings<'_> {
    /// The same for the policy, where `recipient` is the recipient that is judged.
    pub(crate) fn evidence(&self, config: &Config, recipient: Option<&RcptTo>) -> Evidence {
        let StoreFacts { trusted, destination, recipient: marks } = *self.facts;
        Evidence {
            certified: self.certified,
            ptr: self.ptr.map(of_ptr),
            recipient: recipient.map(|recipient| of_recipient(config.domains, marks, recipient)),
            spf: self.spf.map(of_spf),
            dkim: self.dkim.iter().map(of_dkim).collect(),
            null_sender: self.null_sender,
            ..Evidence::at_connect(trusted.is_some(), destination)
        }
    }
}

/// The resolver that `config` describes.
pub(crate) fn resolver(config: &Config) -> Resolver {
    let config::Dns { servers, timeout, attempts } = &config.dns;
    Resolver::within(config.dns_bounds(), servers, *timeout, *attempts)
}

/// What SPF is asked about a client that sent these names.
pub(crate) fn spf_query<'a>(
    config: &'a Config,
    client: Ipv6Addr,
    helo: &'a str,
    mail_from: Option<&'a str>,
) -> SpfQuery<'a> {
    let (host_name, voids) = (config.hostname.as_str(), config.void_terms());
    SpfQuery { client: client.into(), helo, mail_from, host_name, voids }
}

/// Whether a session is served after the verdict at its connection; none: as far as the sender is
/// concerned it is.
pub(crate) fn refused_from_the_start(verdict: Verdict) -> Option<Reason> {
    match verdict {
        Verdict::Refuse(Refusal::AddressNotOptedIn) => Some(Reason::NotOptedIn),
        Verdict::Refuse(Refusal::NoPtr) => Some(Reason::NoPtr),
        Verdict::Accept | Verdict::AcceptInShadow(_) | Verdict::Refuse(_) => None,
    }
}

/// How a session is refused for `reason`.
pub(crate) fn refusing(config: &Config, reason: Reason) -> Admission {
    Admission::Refuse { reason, refuse_at: config.refuse_at.number() }
}

/// The extensions that a session offers before a next hop with these capabilities.
pub(crate) fn offer(config: &Config, capabilities: Capabilities, start_tls: bool) -> Offer {
    let Capabilities { eight_bit_mime, size, smtp_utf8 } = capabilities;
    let most = u64::from(config.limits.message_size.get());
    let message_size = most.min(size.unwrap_or(u64::MAX));
    Offer { eight_bit_mime, size: size.is_some(), smtp_utf8, start_tls, message_size }
}

/// Whether a recipient takes mail here, by the `marks` of its domain, and whether it asks for more
/// than that. Where every domain is left to the next hop, a route is no more than another domain.
pub(crate) fn of_recipient(domains: Domains, marks: Marks, recipient: &RcptTo) -> RecipientEvidence {
    let listed = match (domains, recipient) {
        (Domains::All, _) | (Domains::Listed, RcptTo::Postmaster(_)) => true,
        (Domains::Listed, RcptTo::Mailbox(_)) => marks.opted_in,
    };
    RecipientEvidence {
        domain: if listed { OptInStatus::OptedIn } else { OptInStatus::NotOptedIn },
        asks_for_routing: domains == Domains::Listed
            && recipient.mailbox().is_some_and(Mailbox::asks_for_routing),
    }
}

/// Reverse DNS of the client.
pub(crate) fn of_ptr(ptr: &PtrResult) -> PtrOutcome {
    match ptr {
        PtrResult::Pass { .. } => PtrOutcome::Confirmed,
        PtrResult::Fail { .. } => PtrOutcome::NotConfirmed,
        PtrResult::TempError(Unanswered::Names { .. }) => PtrOutcome::ConfirmationUnknown,
        PtrResult::TempError(Unanswered::Record) => PtrOutcome::Unknown,
        PtrResult::NoRecord => PtrOutcome::NoRecord,
    }
}

/// SPF of the MAIL FROM identity. That of HELO decides nothing.
pub(crate) fn of_spf(spf: &SpfResults) -> CheckOutcome {
    match spf.mail_from.result {
        SpfResult::Pass => CheckOutcome::Pass,
        SpfResult::TempError => CheckOutcome::TempError,
        SpfResult::None
        | SpfResult::Neutral
        | SpfResult::Fail
        | SpfResult::SoftFail
        | SpfResult::PermError => CheckOutcome::NoPass,
    }
}

/// The outcome of one signature's check.
pub(crate) fn of_dkim(signature: &DkimSignature) -> CheckOutcome {
    match signature.result {
        DkimResult::Pass => CheckOutcome::Pass,
        DkimResult::TempError => CheckOutcome::TempError,
        _ if signature.reason == Some(TESTING_KEY) => CheckOutcome::TestingKey,
        DkimResult::Fail | DkimResult::Neutral | DkimResult::Policy | DkimResult::PermError => {
            CheckOutcome::NoPass
        }
    }
}

#[cfg(test)]
mod tests {
    use sixgate_auth::spf::{SpfCheck, SpfReason};

    use super::*;

    #[test]
    fn the_helo_identity_never_decides() {
        let check = |result| SpfCheck::new("a.example".to_owned(), result, SpfReason::NoMatch);
        let spf = |helo, mail_from| of_spf(&SpfResults { helo: check(helo), mail_from: check(mail_from) });
        assert_eq!(spf(SpfResult::Pass, SpfResult::None), CheckOutcome::NoPass);
        assert_eq!(spf(SpfResult::TempError, SpfResult::Fail), CheckOutcome::NoPass);
        assert_eq!(spf(SpfResult::Fail, SpfResult::Pass), CheckOutcome::Pass);
        assert_eq!(spf(SpfResult::Pass, SpfResult::TempError), CheckOutcome::TempError);
    }
}
