//! The results and steps of the checks, as the explanation has them.
//!
//! It selects and translates; control characters are escaped by who prints.

use sixgate_auth::{
    dkim::{DkimFindings, DkimSignature},
    dns::DnsFailure,
    ptr::{PtrResult, Unanswered},
    spf::{MAX_DNS_TERMS, SpfCheck, SpfResults, VoidTerms},
    trace::{Query, SpfIdentityKind, Step, Term, TermOutcome},
};
use sixgate_dataplane::{PtrOrigin, PtrRecord, PtrState};

use super::document::{PtrCheck, SignatureCheck, SpfCheckShown, SpfChecks, StepShown, TagsShown};

/// Reverse DNS, with the PTR map's record.
pub(super) fn ptr(result: &PtrResult, record: Option<PtrRecord>, taken: &[Step]) -> PtrCheck {
    let map = record.map(|record| {
        let state = match record.state {
            PtrState::Exists => "exists",
            PtrState::Absent => "absent",
        };
        let origin = match record.origin {
            PtrOrigin::Dns => "an earlier answer of DNS",
            PtrOrigin::Command => "`sixgate ptr set`",
        };
        format!("{state}, from {origin}, for {} s more", record.remaining.as_secs())
    });
    let reason = match result {
        PtrResult::TempError(Unanswered::Names { .. }) => {
            Some("there is a PTR record, and DNS does not tell whether its name resolves to the address")
        }
        other => other.reason(),
    };
    PtrCheck {
        result: result.text(),
        reason,
        name: result.name().map(str::to_owned),
        map,
        steps: steps(taken),
    }
}

/// SPF of both identities.
pub(super) fn spf(result: &SpfResults, taken: &[Step], voids: VoidTerms) -> SpfChecks {
    let of = |wanted: SpfIdentityKind| {
        let found = taken.iter().find_map(|step| match step {
            Step::Identity(kind, inner) if *kind == wanted => Some(steps(inner)),
            _ => None,
        });
        found.unwrap_or_default()
    };
    let helo = of(SpfIdentityKind::Helo);
    // a null reverse-path has the steps of HELO
    let has_own = taken.iter().any(|step| matches!(step, Step::Identity(SpfIdentityKind::MailFrom, _)));
    let mail_from = if has_own { of(SpfIdentityKind::MailFrom) } else { helo.clone() };
    SpfChecks {
        mail_from: identity(&result.mail_from, mail_from),
        helo: identity(&result.helo, helo),
        dns_terms_max: MAX_DNS_TERMS,
        void_terms_max: voids.limit.into(),
    }
}

fn identity(check: &SpfCheck, steps: Vec<StepShown>) -> SpfCheckShown {
    SpfCheckShown {
        domain: check.domain.clone(),
        result: check.result.text(),
        why: check.why(),
        explanation: check.explanation.clone(),
        steps,
    }
}

/// DKIM, signature by signature.
pub(super) fn dkim(findings: &DkimFindings, taken: &[Step]) -> Vec<SignatureCheck> {
    findings.signatures.iter().enumerate().map(|(at, found)| signature(at, found, taken)).collect()
}

fn signature(at: usize, found: &DkimSignature, taken: &[Step]) -> SignatureCheck {
    let tags = taken.iter().find_map(|step| match step {
        Step::Signature(tags) if tags.signature == at => Some(tags),
        _ => None,
    });
    let hash = taken.iter().find_map(|step| match step {
        Step::BodyHash { signature, computed, length } if *signature == at => Some((computed, *length)),
        _ => None,
    });
    let header = taken.iter().find_map(|step| match step {
        Step::HeaderHash { signature, computed, length } if *signature == at => Some((computed, *length)),
        _ => None,
    });
    let key = taken.iter().filter(|step| match (step, tags) {
        (Step::Query(query), Some(tags)) => query.name == tags.key_name,
        _ => false,
    });
    SignatureCheck {
        domain: found.domain.clone(),
        selector: found.selector.clone(),
        identity: found.identity.clone(),
        algorithm: found.algorithm,
        result: found.result.text(),
        reason: found.reason,
        tags: tags.map(|tags| TagsShown {
            canonicalization: tags.canonicalization.clone(),
            signed_fields: tags.signed_fields.clone(),
            key_name: tags.key_name.clone(),
            body_length: tags.body_length,
            body_hash: tags.body_hash.clone(),
            computed_body_hash: hash.and_then(|(computed, _)| computed.clone()),
            canonical_body_length: hash.map(|(_, length)| length),
            computed_header_hash: header.map(|(computed, _)| computed.clone()),
            canonical_header_length: header.map(|(_, length)| length),
        }),
        key: key.filter_map(step).collect(),
    }
}

fn steps(taken: &[Step]) -> Vec<StepShown> {
    taken.iter().filter_map(step).collect()
}

/// The steps of identities and signatures are shown with their results.
fn step(taken: &Step) -> Option<StepShown> {
    match taken {
        Step::Query(asked) => Some(query(asked)),
        Step::SpfRecord { domain, record } => {
            Some(StepShown::Record { domain: domain.clone(), record: record.clone() })
        }
        Step::Term(taken) => Some(term(taken)),
        Step::Identity(..) | Step::Signature(_) | Step::BodyHash { .. } | Step::HeaderHash { .. } => None,
    }
}

fn query(Query { name, kind, answer, servers }: &Query) -> StepShown {
    StepShown::Query {
        name: name.clone(),
        kind: kind.clone(),
        answer: answer.as_ref().ok().cloned(),
        failure: answer.as_ref().err().map(failed),
        servers: servers.iter().map(ToString::to_string).collect(),
    }
}

/// Why there is no answer: for the administrator, with the text of the system.
fn failed(failure: &DnsFailure) -> String {
    match failure {
        DnsFailure::Code { code, .. } => format!("the DNS server replied {code}"),
        DnsFailure::Unusable { reason, .. } => format!("no usable answer from DNS: {reason}"),
        other => other.reason().to_owned(),
    }
}

fn term(Term { text, target, steps: inner, outcome, dns_terms, void_terms }: &Term) -> StepShown {
    let (outcome, reason) = match outcome {
        None => ("not finished", None),
        Some(TermOutcome::Match) => ("match", None),
        Some(TermOutcome::NoMatch) => ("no match", None),
        Some(TermOutcome::Followed) => ("followed", None),
        Some(TermOutcome::Stop(result, reason)) => (result.text(), Some(reason.text())),
    };
    StepShown::Term {
        term: text.clone(),
        target: target.clone(),
        outcome,
        reason,
        dns_terms: *dns_terms,
        void_terms: *void_terms,
        steps: steps(inner),
    }
}
