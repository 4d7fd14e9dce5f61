//! The one function that makes verdicts.
//!
//! It looks nothing up, formats nothing and knows no socket: evidence in, verdict out.

use crate::policy::evidence::{CheckOutcome, Evidence, OptInStatus, PtrOutcome};

/// The operator's decisions, from the configuration.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Policy {
    /// Refuse, or only report what would have been refused.
    pub mode: Mode,
    /// Whether a PTR record must lead back to the address.
    pub demand_forward_confirmation: bool,
    /// Whether a sender may prove itself by a certificate, for which it must be served first.
    pub client_trust: bool,
    /// Whether shadow mode may leave every recipient to the next hop: it learns who the client is,
    /// or is a Maildir, which sends nothing on.
    pub next_hop_judges: bool,
}

/// Refusals that are temporary unless the operator wants them to be permanent (RFC 7372 3.3 and 3.4
/// have 550 for both).
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct PermanentRefusals {
    /// Reverse DNS: [`Refusal::NoPtr`] and [`Refusal::PtrNotConfirmed`].
    pub no_ptr: bool,
    /// SPF and DKIM: [`Refusal::NotAuthenticated`].
    pub not_authenticated: bool,
}

/// Refusals that are permanent unless the operator wants them to be temporary, so that senders fall
/// back to IPv4.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct TemporaryRefusals {
    /// [`Refusal::AddressNotOptedIn`] and [`Refusal::DomainNotOptedIn`], at RCPT.
    pub not_opted_in: bool,
}

/// How verdicts take effect.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Mode {
    /// Refuse what is to be refused.
    Enforce,
    /// Pass on, count and log what enforce would have refused.
    Shadow,
}

impl Mode {
    /// As it is written in the configuration.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Enforce => "enforce",
            Self::Shadow => "shadow",
        }
    }
}

/// When a decision is due.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Stage {
    /// At accept: may the whole session be refused from what is known already?
    Connection,
    /// At RCPT TO.
    Recipient,
    /// At the end of DATA.
    Message,
}

/// The outcome of a decision. Only [`decide`] makes one.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// The session goes on.
    Accept,
    /// Go on, and record what enforce would have refused.
    AcceptInShadow(Refusal),
    /// The command is refused, for this reason.
    Refuse(Refusal),
}

/// Why something is refused.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Refusal {
    /// The destination address has not opted in.
    AddressNotOptedIn,
    /// DNS could not answer, and the answer matters.
    DnsFailure,
    /// The recipient's domain is none of those that take mail here.
    DomainNotOptedIn,
    /// The source has no PTR record.
    NoPtr,
    /// No name of the source's PTR records leads back to it, and that is demanded.
    PtrNotConfirmed,
    /// The message passes neither SPF nor DKIM.
    NotAuthenticated,
    /// The same, of a message without a sender: a bounce, for which the HELO name counts.
    NullSender,
    /// The recipient's local part asks for routing to elsewhere.
    Routed,
    /// The message passes neither SPF nor DKIM, and one of its keys is being tested: its signature
    /// counts for nothing, and nothing is refused for good because of it.
    TestingKey,
}

impl Refusal {
    /// The name for logs and counters.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::AddressNotOptedIn => "address_not_opted_in",
            Self::DnsFailure => "dns_failure",
            Self::DomainNotOptedIn => "domain_not_opted_in",
            Self::NoPtr => "no_ptr",
            Self::PtrNotConfirmed => "ptr_not_confirmed",
            Self::NotAuthenticated => "not_authenticated",
            Self::NullSender => "null_sender",
            Self::Routed => "routed",
            Self::TestingKey => "testing_key",
        }
    }
}

/// Decides what is due at `stage`.
#[must_use]
pub fn decide(policy: &Policy, stage: Stage, evidence: &Evidence) -> Verdict {
    let relay = if stage == Stage::Recipient { relay_refusal(evidence) } else { None };
    if let (Some(refusal), Mode::Shadow, false) = (relay, policy.mode, policy.next_hop_judges) {
        return Verdict::Refuse(refusal);
    }
    let refusal = match stage {
        Stage::Connection | Stage::Recipient => source_refusal(policy, stage, evidence).or(relay),
        Stage::Message => message_refusal(evidence),
    };
    match (refusal, policy.mode) {
        (None, _) => Verdict::Accept,
        (Some(refusal), Mode::Enforce) => Verdict::Refuse(refusal),
        (Some(refusal), Mode::Shadow) => Verdict::AcceptInShadow(refusal),
    }
}

/// The reason to refuse the recipient. The next hop trusts this host's address: no client, trusted
/// or in shadow, may send through it to anywhere else.
fn relay_refusal(evidence: &Evidence) -> Option<Refusal> {
    let recipient = evidence.recipient?;
    if recipient.domain == OptInStatus::NotOptedIn {
        Some(Refusal::DomainNotOptedIn)
    } else {
        recipient.asks_for_routing.then_some(Refusal::Routed)
    }
}

/// The reason to refuse the connection itself: destination address, then PTR.
fn source_refusal(policy: &Policy, stage: Stage, evidence: &Evidence) -> Option<Refusal> {
    if evidence.trusted {
        return None;
    }
    if evidence.destination == OptInStatus::NotOptedIn {
        return Some(Refusal::AddressNotOptedIn);
    }
    if evidence.certified || (stage == Stage::Connection && policy.client_trust) {
        return None;
    }
    let refusal = match evidence.ptr {
        None if stage == Stage::Connection => return None,
        Some(PtrOutcome::Confirmed) => return None,
        Some(PtrOutcome::NoRecord) => Refusal::NoPtr,
        Some(PtrOutcome::NotConfirmed) if policy.demand_forward_confirmation => Refusal::PtrNotConfirmed,
        Some(PtrOutcome::ConfirmationUnknown) if policy.demand_forward_confirmation => Refusal::DnsFailure,
        // there is a PTR record
        Some(PtrOutcome::NotConfirmed | PtrOutcome::ConfirmationUnknown) => return None,
        // never an acceptance for want of an answer
        None | Some(PtrOutcome::Unknown) => Refusal::DnsFailure,
    };
    // A whole session is refused only for what stays true: DNS may have recovered by the next RCPT.
    (stage == Stage::Recipient || refusal == Refusal::NoPtr).then_some(refusal)
}

/// The pass rule: any pass, else any temporary error, else nothing passed.
fn message_refusal(evidence: &Evidence) -> Option<Refusal> {
    let any = |wanted| evidence.spf.iter().chain(&evidence.dkim).any(|outcome| *outcome == wanted);
    if evidence.sender_is_known() || any(CheckOutcome::Pass) {
        None
    } else if any(CheckOutcome::TempError) {
        Some(Refusal::DnsFailure)
    } else if any(CheckOutcome::TestingKey) {
        Some(Refusal::TestingKey)
    } else if evidence.null_sender {
        Some(Refusal::NullSender)
    } else {
        Some(Refusal::NotAuthenticated)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::evidence::RecipientEvidence;

    const ENFORCE: Policy = Policy {
        mode: Mode::Enforce,
        demand_forward_confirmation: false,
        client_trust: false,
        next_hop_judges: false,
    };
    const SHADOW: Policy = Policy { mode: Mode::Shadow, ..ENFORCE };
    const TOLD: Policy = Policy { next_hop_judges: true, ..SHADOW };
    const CONFIRM: Policy = Policy { demand_forward_confirmation: true, ..ENFORCE };
    const CERTIFY: Policy = Policy { client_trust: true, ..ENFORCE };

    fn session(trusted: bool, destination: OptInStatus, ptr: Option<PtrOutcome>) -> Evidence {
        Evidence { ptr, ..Evidence::at_connect(trusted, destination) }
    }

    #[test]
    fn a_recipient_is_decided_in_the_order_destination_ptr_domain() {
        use OptInStatus::{NotOptedIn as Out, OptedIn as In};
        use Refusal::*;
        use Verdict::*;
        let pass = Some(PtrOutcome::Confirmed);
        let fail = Some(PtrOutcome::NotConfirmed);
        let absent = Some(PtrOutcome::NoRecord);
        let silence = Some(PtrOutcome::Unknown);
        let half = Some(PtrOutcome::ConfirmationUnknown);
        let rows = [
            (ENFORCE, false, Out, absent, Out, Refuse(AddressNotOptedIn)),
            (ENFORCE, false, In, absent, Out, Refuse(NoPtr)),
            (ENFORCE, false, In, silence, Out, Refuse(DnsFailure)),
            (ENFORCE, false, In, fail, Out, Refuse(DomainNotOptedIn)),
            (ENFORCE, false, In, pass, In, Accept),
            (ENFORCE, false, In, fail, In, Accept),
            (ENFORCE, false, In, half, In, Accept),
            (ENFORCE, false, In, None, In, Refuse(DnsFailure)),
            (ENFORCE, true, Out, None, In, Accept),
            (ENFORCE, true, Out, None, Out, Refuse(DomainNotOptedIn)),
            (SHADOW, false, Out, absent, In, AcceptInShadow(AddressNotOptedIn)),
            (SHADOW, false, In, silence, In, AcceptInShadow(DnsFailure)),
            (SHADOW, false, Out, absent, Out, Refuse(DomainNotOptedIn)),
            (SHADOW, true, Out, None, Out, Refuse(DomainNotOptedIn)),
            (TOLD, false, Out, absent, Out, AcceptInShadow(AddressNotOptedIn)),
            (TOLD, false, In, pass, Out, AcceptInShadow(DomainNotOptedIn)),
            (TOLD, true, Out, None, Out, AcceptInShadow(DomainNotOptedIn)),
            (TOLD, false, In, pass, In, Accept),
            (Policy { next_hop_judges: true, ..ENFORCE }, true, In, None, Out, Refuse(DomainNotOptedIn)),
            (CONFIRM, false, In, pass, In, Accept),
            (CONFIRM, false, In, fail, In, Refuse(PtrNotConfirmed)),
            (CONFIRM, false, In, half, In, Refuse(DnsFailure)),
            (CONFIRM, false, In, silence, In, Refuse(DnsFailure)),
            (CONFIRM, false, In, absent, In, Refuse(NoPtr)),
        ];
        for (row, (policy, trusted, destination, ptr, recipient, wanted)) in rows.into_iter().enumerate() {
            let recipient = RecipientEvidence { domain: recipient, asks_for_routing: false };
            let evidence = Evidence { recipient: Some(recipient), ..session(trusted, destination, ptr) };
            assert_eq!(decide(&policy, Stage::Recipient, &evidence), wanted, "row {row}");
        }
    }

    #[test]
    fn a_whole_session_is_refused_only_for_what_is_known_for_certain() {
        let at = |ptr| decide(&ENFORCE, Stage::Connection, &session(false, OptInStatus::OptedIn, ptr));
        assert_eq!(at(None), Verdict::Accept);
        assert_eq!(at(Some(PtrOutcome::Unknown)), Verdict::Accept);
        assert_eq!(at(Some(PtrOutcome::NoRecord)), Verdict::Refuse(Refusal::NoPtr));
    }

    #[test]
    fn a_certificate_spares_what_dns_would_say_and_nothing_else() {
        use OptInStatus::{NotOptedIn as Out, OptedIn as In};
        let rows = [
            (In, In, Verdict::Accept),
            (Out, In, Verdict::Refuse(Refusal::AddressNotOptedIn)),
            (In, Out, Verdict::Refuse(Refusal::DomainNotOptedIn)),
        ];
        for (destination, domain, wanted) in rows {
            let evidence = Evidence {
                certified: true,
                recipient: Some(RecipientEvidence { domain, asks_for_routing: false }),
                ..session(false, destination, Some(PtrOutcome::NoRecord))
            };
            assert_eq!(decide(&CERTIFY, Stage::Recipient, &evidence), wanted, "{destination:?} {domain:?}");
        }
        let unsigned = Evidence { certified: true, ..message(CheckOutcome::NoPass, &[]) };
        assert_eq!(decide(&CERTIFY, Stage::Message, &unsigned), Verdict::Accept);
    }

    #[test]
    fn who_may_prove_itself_by_a_certificate_is_served_until_rcpt() {
        let rows = [
            (CERTIFY, Stage::Connection, OptInStatus::OptedIn, Verdict::Accept),
            (CERTIFY, Stage::Recipient, OptInStatus::OptedIn, Verdict::Refuse(Refusal::NoPtr)),
            (
                CERTIFY,
                Stage::Connection,
                OptInStatus::NotOptedIn,
                Verdict::Refuse(Refusal::AddressNotOptedIn),
            ),
        ];
        for (policy, stage, destination, wanted) in rows {
            let evidence = session(false, destination, Some(PtrOutcome::NoRecord));
            assert_eq!(decide(&policy, stage, &evidence), wanted, "{stage:?} {destination:?}");
        }
    }

    #[test]
    fn one_pass_is_enough_and_a_temporary_error_is_never_a_failure() {
        use CheckOutcome::{NoPass, Pass, TempError};
        let rows: [(_, &[CheckOutcome], Verdict); 8] = [
            (Pass, &[], Verdict::Accept),
            (NoPass, &[NoPass, Pass], Verdict::Accept),
            (TempError, &[Pass], Verdict::Accept),
            (Pass, &[TempError], Verdict::Accept),
            (TempError, &[], Verdict::Refuse(Refusal::DnsFailure)),
            (NoPass, &[TempError], Verdict::Refuse(Refusal::DnsFailure)),
            (NoPass, &[], Verdict::Refuse(Refusal::NotAuthenticated)),
            (NoPass, &[NoPass, NoPass], Verdict::Refuse(Refusal::NotAuthenticated)),
        ];
        for (spf, dkim, wanted) in rows {
            let evidence = message(spf, dkim);
            assert_eq!(decide(&ENFORCE, Stage::Message, &evidence), wanted, "{spf:?} {dkim:?}");
        }
    }

    #[test]
    fn bounces_and_keys_that_are_tested_are_distinguished() {
        let mut bounce =
            Evidence { null_sender: true, ..message(CheckOutcome::NoPass, &[CheckOutcome::NoPass]) };
        assert_eq!(decide(&ENFORCE, Stage::Message, &bounce), Verdict::Refuse(Refusal::NullSender));
        bounce.dkim[0] = CheckOutcome::TestingKey;
        assert_eq!(decide(&ENFORCE, Stage::Message, &bounce), Verdict::Refuse(Refusal::TestingKey));
    }

    fn message(mail_from: CheckOutcome, dkim: &[CheckOutcome]) -> Evidence {
        Evidence {
            spf: Some(mail_from),
            dkim: dkim.to_vec(),
            ..Evidence::at_connect(false, OptInStatus::OptedIn)
        }
    }
}
