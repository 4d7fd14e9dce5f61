//! An explanation as a tree of text, 100 columns wide where blanks allow.
//!
//! It adds no fact. Control characters are escaped by who prints.

use std::net::Ipv6Addr;

use sixgate_common::dest::OptIn;

use super::{
    branch::{Branch, write},
    document::{
        Author, Exchange, Explanation, MESSAGE, PtrCheck, RECIPIENT, Recipient, SignatureCheck,
        SpfCheckShown, SpfChecks, StepShown, StoreRules, TagsShown,
    },
};

impl Explanation {
    /// Whether every reply accepts.
    pub(crate) fn is_accepted(&self) -> bool {
        self.accepted
    }

    /// The lines of the tree, and the verdict.
    pub(crate) fn lines(&self) -> Vec<String> {
        let mut lines = Vec::new();
        lines.push(format!("{} to port 25 of {}", self.from, self.to));
        let branches = self.branches();
        write(&branches, "", &mut lines);
        verdict("verdict", &self.replies, &mut lines);
        if let Some(enforce) = &self.enforce {
            verdict("mode enforce", enforce, &mut lines);
        }
        lines
    }

    fn branches(&self) -> Vec<Branch> {
        let settings = &self.settings;
        let mut branches = vec![Branch::leaf(format!(
            "mode {}, refuse_at {}, answer {} ({})",
            settings.mode,
            settings.refuse_at,
            settings.answer,
            settings.file.display()
        ))];
        branches.extend(self.remarks.iter().map(|remark| Branch::leaf(format!("note: {remark}"))));
        branches.push(self.store.branch(self.from, self.to));
        branches.push(self.first_packet_branch());
        branches.push(self.ptr.as_ref().map_or_else(
            || Branch::leaf("PTR, SPF, DKIM: not checked, the source is trusted".to_owned()),
            |ptr| ptr.branch(self.from, settings.demand_forward_confirmation),
        ));
        branches.extend(self.recipients.iter().map(Recipient::branch));
        if let Some(spf) = &self.spf {
            branches.extend([spf.mail_from(), spf.helo()]);
        }
        branches.extend(self.dkim.iter().flat_map(|signatures| dkim(signatures)));
        if settings.client_certificates && self.ptr.is_some() {
            branches.push(Branch::leaf(
                "a client certificate of [tls.client_trust] would exempt the client from PTR, SPF and DKIM: none is \
                 assumed"
                    .to_owned(),
            ));
        }
        branches.push(replies(&format!("replies in mode {}", settings.mode), &self.replies));
        branches.extend(self.enforce.as_ref().map(|played| replies("replies in mode enforce", played)));
        branches
    }

    fn first_packet_branch(&self) -> Branch {
        let packet = &self.first_packet;
        Branch::leaf(match (packet.refused, packet.by) {
            (Some(refused), Some(by)) => {
                let why = if packet.why.is_empty() { String::new() } else { format!(": {}", packet.why) };
                format!("connection: refused from its first packet ({refused}), answered by the {by}{why}")
            }
            _ => format!("connection: served, {}", packet.why),
        })
    }
}

/// What becomes of the mail, and each reply that refuses.
fn verdict(subject: &str, played: &[Exchange], lines: &mut Vec<String>) {
    let recipients = || played.iter().filter(|exchange| exchange.command.starts_with(RECIPIENT));
    let (all, accepted) = (recipients().count(), recipients().filter(|exchange| !exchange.refuses()).count());
    let has_end = played.last().is_some_and(|exchange| exchange.command == MESSAGE);
    let is_lost =
        played.iter().any(|exchange| exchange.refuses() && !exchange.command.starts_with(RECIPIENT));
    lines.push(match (accepted, has_end) {
        (0, _) => format!("{subject}: refused"),
        _ if is_lost => format!("{subject}: refused"),
        (_, true) => {
            format!("{subject}: accepted for {accepted} of {all} recipients, passed on to the next hop")
        }
        (_, false) => format!("{subject}: {accepted} of {all} recipients accepted, no message judged"),
    });
    for refused in played.iter().filter(|exchange| exchange.refuses()) {
        let reason = refused.refused.map(|reason| format!(" ({reason})")).unwrap_or_default();
        lines.push(format!("  {}{reason}", refused.command));
        match &refused.reply[..] {
            [] => lines.push(format!("    {RESET}")),
            reply => lines.extend(reply.iter().map(|line| format!("    {line}"))),
        }
    }
}

impl StoreRules {
    fn branch(&self, from: Ipv6Addr, to: Ipv6Addr) -> Branch {
        let trust = match self.trust {
            Some(prefix) => format!("trust: {prefix} holds {from}, which is exempt"),
            None => format!("trust: no prefix holds {from}"),
        };
        let optin = match &self.optin {
            Some(rule) if rule.decision == OptIn::In => {
                format!("optin: {} in: {to} has opted in", rule.prefix)
            }
            Some(rule) => format!("optin: {} out: {to} has not opted in", rule.prefix),
            None => format!("optin: no prefix holds {to}: it has not opted in"),
        };
        let guard = match &self.guard {
            Some(rule) => format!("guard: {} ({}) holds {to}", rule.prefix, rule.origin),
            None => format!("guard: no prefix holds {to}"),
        };
        let below = [trust, optin, guard].map(Branch::leaf).into();
        Branch::new(format!("store {}", self.file.display()), below)
    }
}

impl PtrCheck {
    fn branch(&self, source: Ipv6Addr, demanded: bool) -> Branch {
        let why = match (self.reason, &self.name) {
            (Some(reason), Some(name)) => format!(": {reason} ({name})"),
            (Some(reason), None) => format!(": {reason}"),
            (None, Some(name)) => format!(": {name}"),
            (None, None) => String::new(),
        };
        let mut below: Vec<Branch> = Vec::new();
        below.extend(self.map.iter().map(|map| Branch::leaf(format!("the PTR map has: {map}"))));
        below.extend(branches(&self.steps));
        if self.result == "fail" && !demanded {
            below.push(Branch::leaf("which is enough: demand_forward_confirmation is false".to_owned()));
        }
        Branch::new(format!("PTR of {source}: {}{why}", self.result), below)
    }
}

impl Recipient {
    fn branch(&self) -> Branch {
        let domain = match (&self.domain, self.opted_in) {
            (_, _) if self.all_domains => "domains = \"all\": the next hop decides".to_owned(),
            (Some(domain), true) => format!("domain {domain} takes mail here"),
            (Some(domain), false) => format!("domain {domain} is not listed: `sixgate domain add {domain}`"),
            (None, true) => "it has no domain, and is taken everywhere".to_owned(),
            (None, false) => "it has no domain name that could be listed".to_owned(),
        };
        let temporary = if self.temporary { ", marked temporary" } else { "" };
        let routing = if self.asks_for_routing { ", its local part asks for routing" } else { "" };
        // it may end with a command, which is copied
        Branch::literal(format!("recipient {}: {domain}{temporary}{routing}", self.recipient))
    }
}

impl SpfChecks {
    fn mail_from(&self) -> Branch {
        self.mail_from.branch("SPF of MAIL FROM", "", [self.dns_terms_max, self.void_terms_max])
    }

    fn helo(&self) -> Branch {
        self.helo.branch("SPF of HELO", ", does not decide", [self.dns_terms_max, self.void_terms_max])
    }
}

impl SpfCheckShown {
    fn branch(&self, subject: &str, end: &str, limits: [usize; 2]) -> Branch {
        let mut below = branches(&self.steps);
        if let Some([dns, void]) = counted(&self.steps) {
            let [dns_max, void_max] = limits;
            below.push(Branch::leaf(format!(
                "limits: {dns} of {dns_max} terms that ask DNS, {void} of {void_max} void"
            )));
        }
        let said = self.explanation.iter().map(|text| Branch::leaf(format!("the domain explains: {text}")));
        below.extend(said);
        let domain = if self.domain.is_empty() { "(no domain)" } else { &self.domain };
        Branch::new(format!("{subject} {domain}: {} ({}){end}", self.result, self.why), below)
    }
}

/// The counts of the last term: those that ask DNS, and void ones.
fn counted(steps: &[StepShown]) -> Option<[usize; 2]> {
    let mut counted = None;
    for step in steps {
        if let StepShown::Term { dns_terms, void_terms, steps, .. } = step {
            let own = Some([*dns_terms, *void_terms]);
            let inner = self::counted(steps);
            counted = counted.max(own).max(inner);
        }
    }
    counted
}

/// The steps; a record that was the whole answer to the question before it is not repeated.
fn branches(steps: &[StepShown]) -> Vec<Branch> {
    let is_repeated = |at: usize| {
        let before = at.checked_sub(1).and_then(|at| steps.get(at));
        matches!(steps.get(at), Some(StepShown::Record { record: Some(_), .. }))
            && matches!(before, Some(StepShown::Query { answer: Some(records), .. }) if records.len() == 1)
    };
    let shown = steps.iter().enumerate().filter(|(at, _)| !is_repeated(*at));
    shown
        .map(|(at, step)| match step {
            StepShown::Record { domain, record: None } => {
                let before = at.checked_sub(1).and_then(|at| steps.get(at));
                Branch::leaf(match before.map_or(0, StepShown::spf_records) {
                    0 | 1 => format!("{domain} has no SPF record"),
                    several => format!("{domain} has {several} SPF records: only one is allowed"),
                })
            }
            step => step.branch(),
        })
        .collect()
}

impl StepShown {
    /// Records of its answer that are SPF records by their version (RFC 7208 4.5).
    fn spf_records(&self) -> usize {
        let Self::Query { answer: Some(records), .. } = self else {
            return 0;
        };
        let is_spf = |record: &&String| {
            let text = record.trim_matches('"').to_ascii_lowercase();
            text.strip_prefix("v=spf1").is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
        };
        records.iter().filter(is_spf).count()
    }

    fn branch(&self) -> Branch {
        match self {
            Self::Query { name, kind, answer, failure, servers } => Branch::leaf(match (answer, failure) {
                (Some(records), _) if records.is_empty() => format!("{kind} {name}: no such record"),
                (Some(records), _) => format!("{kind} {name}: {}", records.join(", ")),
                (None, failure) => {
                    let failure = failure.as_deref().unwrap_or("no answer");
                    format!("{kind} {name}: {failure} (asked: {})", servers.join(", "))
                }
            }),
            Self::Record { domain, record: Some(record) } => {
                Branch::leaf(format!("the record of {domain} is {record}"))
            }
            Self::Record { domain, record: None } => Branch::leaf(format!("{domain} has no SPF record")),
            Self::Term { term, target, outcome, reason, steps, .. } => {
                let reason = reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
                let about = target
                    .as_ref()
                    .filter(|target| {
                        !term.ends_with(&format!(":{target}")) && !term.ends_with(&format!("={target}"))
                    })
                    .map(|target| format!(" [{target}]"))
                    .unwrap_or_default();
                Branch::new(format!("{term}{about}: {outcome}{reason}"), branches(steps))
            }
        }
    }
}

/// The signatures, from the top of the message.
fn dkim(signatures: &[SignatureCheck]) -> Vec<Branch> {
    if signatures.is_empty() {
        return vec![Branch::leaf("DKIM: the message has no signature".to_owned())];
    }
    let shown = signatures.iter().enumerate();
    shown
        .map(|(at, signature)| signature.branch(&format!("DKIM {} of {}", at + 1, signatures.len())))
        .collect()
}

impl SignatureCheck {
    fn branch(&self, subject: &str) -> Branch {
        let reason = self.reason.map(|reason| format!(" ({reason})")).unwrap_or_default();
        let identity = if self.identity.is_empty() { String::new() } else { format!(" i={}", self.identity) };
        let text = format!(
            "{subject}, d={} s={}{identity} a={}: {}{reason}",
            self.domain, self.selector, self.algorithm, self.result
        );
        let mut below = self.tags.as_ref().map(TagsShown::branches).unwrap_or_default();
        below.extend(branches(&self.key));
        if let Some(tags) = self.tags.as_ref().filter(|_| self.key.is_empty()) {
            below.push(Branch::leaf(format!("the key at {} was not needed", tags.key_name)));
        }
        Branch::new(text, below)
    }
}

impl TagsShown {
    fn branches(&self) -> Vec<Branch> {
        let length = self.body_length.map(|length| format!(" l={length}")).unwrap_or_default();
        let tags = format!("c={} h={}{length}", self.canonicalization, self.signed_fields.join(":"));
        let mut branches = vec![Branch::leaf(tags)];
        match (&self.computed_body_hash, self.canonical_body_length) {
            (Some(computed), _) if *computed == self.body_hash => {
                branches.push(Branch::leaf(format!("bh={computed}, the hash of the body")));
            }
            (Some(computed), Some(octets)) => branches.extend([
                Branch::leaf(format!("bh={} in the signature", self.body_hash)),
                Branch::leaf(format!(
                    "bh={computed} of the body, {octets} octets in canonical form: it is not the body that was signed"
                )),
            ]),
            (None, Some(octets)) => {
                branches.push(Branch::leaf(format!("the body has {octets} octets in canonical form")));
            }
            _ => {}
        }
        if let (Some(computed), Some(octets)) = (&self.computed_header_hash, self.canonical_header_length) {
            branches.push(Branch::leaf(format!(
                "SHA-256 {computed} of the signed fields, {octets} octets in canonical form: b= is the signature of \
                 another header, or by another key; which field differs cannot be seen, as b= does not contain the fields"
            )));
        }
        branches
    }
}

/// The commands and their replies, literally.
fn replies(text: &str, played: &[Exchange]) -> Branch {
    Branch::new(text.to_owned(), played.iter().map(Exchange::branch).collect())
}

impl Exchange {
    fn branch(&self) -> Branch {
        let mut below: Vec<Branch> = self.reply.iter().cloned().map(Branch::literal).collect();
        if self.reply.is_empty() {
            below.push(Branch::leaf(match self.author {
                Author::Sixgate => RESET.to_owned(),
                Author::NextHop => {
                    "passed on: the reply is the next hop's, which is not asked here".to_owned()
                }
            }));
        }
        let reason = match (self.refused, self.enforce_refuses) {
            (Some(refused), _) => format!("   <- {refused}"),
            (None, Some(refused)) => format!("   <- passed on; mode enforce refuses it: {refused}"),
            (None, None) => String::new(),
        };
        Branch::new(format!("{}{reason}", self.command), below)
    }
}

const RESET: &str = "connection reset";
