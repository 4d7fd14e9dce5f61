//! The steps of a check: the questions to DNS with their answers, the terms of SPF records, the
//! contents of DKIM signatures.
//!
//! It records and checks nothing. A [`Resolver`](crate::Resolver) carries the [`Recorder`]; without
//! one, as in a mail server's sessions, each step costs a comparison and nothing is formatted.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use hickory_proto::rr::{Name, RData, RecordType};
use sixgate_base::endpoint::Endpoint;

use crate::{
    dns::{DnsAnswer, DnsFailure, plain_text},
    spf::{SpfReason, SpfResult},
};

/// Where the steps of a check are kept. A clone shares them. Their number is bounded by the limits
/// of the checks.
#[derive(Clone, Debug, Default)]
pub struct Recorder(Option<Arc<Mutex<Open>>>);

/// One step of a check.
#[derive(Clone, Debug)]
pub enum Step {
    /// A question to DNS.
    Query(Query),
    /// The SPF check of one identity.
    Identity(SpfIdentityKind, Vec<Self>),
    /// The SPF record of a domain.
    SpfRecord {
        /// The domain that was asked about.
        domain: String,
        /// The record, escaped; none if the domain has none, or several.
        record: Option<String>,
    },
    /// A term of an SPF record.
    Term(Term),
    /// A DKIM signature, as it was read.
    Signature(SignatureTags),
    /// The hash of the message's body, in the form that a DKIM signature names.
    BodyHash {
        /// Which of the findings' signatures.
        signature: usize,
        /// The hash that was computed, base64; none if the signature covers more than the body.
        computed: Option<String>,
        /// Octets of the canonical body.
        length: u64,
    },
    /// The hash of the signed header fields, of a DKIM signature that does not verify.
    HeaderHash {
        /// Which of the findings' signatures.
        signature: usize,
        /// The SHA-256 of the fields in the form that the signature names, its own field last,
        /// base64.
        computed: String,
        /// Octets of that form.
        length: usize,
    },
}

/// A question to DNS, and the answer to it.
#[derive(Clone, Debug)]
pub struct Query {
    /// The name, absolute, without the final dot.
    pub name: String,
    /// The type of the records, such as `TXT`.
    pub kind: String,
    /// The data of the records, escaped; empty for NXDOMAIN and NODATA. Or why there is no answer.
    pub answer: Result<Vec<String>, DnsFailure>,
    /// The servers that are asked, of which one has answered; those of the cache's answer, too.
    pub servers: Vec<Endpoint>,
}

/// The two identities of RFC 7208 2.3 and 2.4.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SpfIdentityKind {
    /// The argument of EHLO or HELO; that of a null reverse-path, too.
    Helo,
    /// The domain of MAIL FROM.
    MailFrom,
}

/// A term of an SPF record.
#[derive(Clone, Debug)]
pub struct Term {
    /// As it stands in the record, in its canonical spelling.
    pub text: String,
    /// The name that it is about, macros expanded; none for terms without a name, and where macros
    /// lead to none.
    pub target: Option<String>,
    /// Its questions, and the terms of the record that it led to.
    pub steps: Vec<Step>,
    /// Its result; none if the check was cut off.
    pub outcome: Option<TermOutcome>,
    /// Terms that ask DNS, until and with this one (RFC 7208 4.6.4).
    pub dns_terms: usize,
    /// Terms for which DNS has nothing, until and with this one.
    pub void_terms: usize,
}

/// The result of a term of an SPF record.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TermOutcome {
    /// It matches the client.
    Match,
    /// It does not.
    NoMatch,
    /// A redirect: the record of its target replaces this one.
    Followed,
    /// It ends the check.
    Stop(SpfResult, SpfReason),
}

/// The contents of a DKIM signature.
#[derive(Clone, Debug)]
pub struct SignatureTags {
    /// Which of the findings' signatures.
    pub signature: usize,
    /// `c=`, header and body.
    pub canonicalization: String,
    /// `h=`, in lower case.
    pub signed_fields: Vec<String>,
    /// The tag `bh=`, base64.
    pub body_hash: String,
    /// The tag `l=`, octets.
    pub body_length: Option<u64>,
    /// Where the key is looked up.
    pub key_name: String,
}

/// Steps that are complete, and terms that are not, the inner ones last.
#[derive(Debug, Default)]
struct Open {
    done: Vec<Entry>,
    terms: Vec<(Term, Vec<Entry>)>,
}

/// A step, or steps that are recorded at the same time as others.
#[derive(Debug)]
enum Entry {
    Step(Step),
    Term(Term, Vec<Self>),
    Identity(SpfIdentityKind, Recorder),
}

impl Recorder {
    /// A recorder that keeps what it is told.
    #[must_use]
    pub fn new() -> Self {
        Self(Some(Arc::default()))
    }

    /// The steps until now, in their order. Terms that the check was cut off in have no outcome.
    #[must_use]
    pub fn steps(&self) -> Vec<Step> {
        let Some(mut open) = self.open() else {
            return Vec::new();
        };
        while let Some((term, entries)) = open.terms.pop() {
            open.push(Entry::Term(term, entries));
        }
        open.done.iter().map(Entry::step).collect()
    }

    /// A recorder whose steps stand here, apart from those that are recorded at the same time.
    pub(crate) fn identity(&self, kind: SpfIdentityKind) -> Self {
        let Some(mut open) = self.open() else {
            return Self::default();
        };
        let inner = Self::new();
        open.push(Entry::Identity(kind, inner.clone()));
        inner
    }

    pub(crate) fn step(&self, step: impl FnOnce() -> Step) {
        if let Some(mut open) = self.open() {
            open.push(Entry::Step(step()));
        }
    }

    pub(crate) fn query(
        &self,
        name: &Name,
        kind: RecordType,
        answer: &Result<DnsAnswer<RData>, DnsFailure>,
        servers: impl FnOnce() -> Vec<Endpoint>,
    ) {
        self.step(|| {
            let shown = |answer: &DnsAnswer<RData>| answer.records.iter().map(data).collect();
            Step::Query(Query {
                name: plain_text(name),
                kind: kind.to_string(),
                answer: answer.as_ref().map(shown).map_err(Clone::clone),
                servers: servers(),
            })
        });
    }

    /// Begins the term `text`, to which the next steps belong, until [`Self::end_term`].
    pub(crate) fn begin_term(&self, text: impl FnOnce() -> String) {
        if let Some(mut open) = self.open() {
            let (target, steps, outcome) = (None, Vec::new(), None);
            let term = Term { text: text(), target, steps, outcome, dns_terms: 0, void_terms: 0 };
            open.terms.push((term, Vec::new()));
        }
    }

    /// The name that the present term is about.
    pub(crate) fn target(&self, name: &str) {
        if let Some(mut open) = self.open()
            && let Some((term, _)) = open.terms.last_mut()
        {
            term.target = Some(name.to_owned());
        }
    }

    pub(crate) fn end_term(&self, outcome: TermOutcome, dns_terms: usize, void_terms: usize) {
        if let Some(mut open) = self.open()
            && let Some((term, entries)) = open.terms.pop()
        {
            open.push(Entry::Term(Term { outcome: Some(outcome), dns_terms, void_terms, ..term }, entries));
        }
    }

    /// Entries are whole at every instant.
    fn open(&self) -> Option<MutexGuard<'_, Open>> {
        self.0.as_deref().map(|open| open.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Open {
    fn push(&mut self, entry: Entry) {
        match self.terms.last_mut() {
            Some((_, entries)) => entries.push(entry),
            None => self.done.push(entry),
        }
    }
}

impl Entry {
    fn step(&self) -> Step {
        match self {
            Self::Step(step) => step.clone(),
            Self::Term(term, entries) => {
                Step::Term(Term { steps: entries.iter().map(Self::step).collect(), ..term.clone() })
            }
            Self::Identity(kind, recorder) => Step::Identity(*kind, recorder.steps()),
        }
    }
}

/// A record's data, without control characters.
fn data(data: &RData) -> String {
    match data {
        RData::TXT(strings) => format!("\"{}\"", strings.txt_data.concat().escape_ascii()),
        RData::PTR(name) => plain_text(name),
        RData::MX(server) => format!("{} {}", server.preference, plain_text(&server.exchange)),
        other => other.to_string().escape_default().to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_stand_in_the_terms_that_they_were_made_for() {
        let recorder = Recorder::new();
        let record = |domain: &str| Step::SpfRecord { domain: domain.to_owned(), record: None };
        let (helo, mail) =
            (recorder.identity(SpfIdentityKind::Helo), recorder.identity(SpfIdentityKind::MailFrom));
        mail.begin_term(|| "include:b.example".to_owned());
        mail.target("b.example");
        helo.step(|| record("mail.example"));
        mail.step(|| record("b.example"));
        mail.begin_term(|| "a".to_owned());
        mail.end_term(TermOutcome::NoMatch, 2, 0);
        mail.end_term(TermOutcome::NoMatch, 2, 0);
        mail.begin_term(|| "mx".to_owned());
        let steps = recorder.steps();
        let [Step::Identity(SpfIdentityKind::Helo, helo), Step::Identity(SpfIdentityKind::MailFrom, mail)] =
            &steps[..]
        else {
            panic!("{steps:?}")
        };
        assert!(matches!(&helo[..], [Step::SpfRecord { domain, .. }] if domain == "mail.example"));
        let [Step::Term(include), Step::Term(mx)] = &mail[..] else { panic!("{mail:?}") };
        assert_eq!((include.target.as_deref(), include.steps.len()), (Some("b.example"), 2));
        assert_eq!((include.outcome, mx.outcome), (Some(TermOutcome::NoMatch), None));
    }

    #[test]
    fn without_a_recorder_nothing_is_formatted() {
        let recorder = Recorder::default();
        recorder.step(|| panic!("a step"));
        recorder.begin_term(|| panic!("a term"));
        recorder.identity(SpfIdentityKind::Helo).step(|| panic!("a step"));
        assert!(recorder.steps().is_empty());
    }
}
