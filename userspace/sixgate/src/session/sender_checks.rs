//! What one session has found out about its sender, and the verdicts drawn from it.
//!
//! It starts checks and keeps their evidence; the checks are in `sixgate_auth`, the rules in
//! `sixgate_smtp::policy`.

use std::{
    net::Ipv6Addr,
    sync::Arc,
    time::{Duration, Instant},
};

use sixgate_auth::{
    dkim::DkimSignature,
    dns::Resolver,
    ptr::{PtrResult, Unanswered},
    spf::{self, SpfCheck, SpfReason, SpfResult, SpfResults},
};
use sixgate_smtp::{
    command::{MailFrom, Mailbox, RcptTo},
    policy::{
        Mode, Refusal, Stage, TemporaryDomains, Verdict, decide,
        evidence::{Endpoints, Evidence},
    },
    session::{Hello, Transaction},
};
use tokio::{task::JoinError, time::timeout_at};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};
use tracing::{Instrument, error};

use crate::{
    evidence::{self, Findings},
    message_store::StoredMessage,
    metrics::{Check, Metrics},
    mirror::reverse_dns::ReverseDns,
    services::Services,
    session_id::SessionId,
    session_log::PostfixClient,
    store_view::{StoreFacts, StoreView},
};

/// How long a DNS failure answers for further recipients of the same session.
const FAILURE_LIFETIME: Duration = Duration::from_secs(30);

/// Where facts about clients come from.
pub(crate) struct FactSources {
    pub(crate) store: Arc<StoreView>,
    pub(crate) dns: Resolver,
    pub(crate) reverse_dns: Arc<ReverseDns>,
}

/// One session's findings.
pub(super) struct SenderChecks {
    sources: Arc<FactSources>,
    services: Arc<Services>,
    endpoints: Endpoints,
    /// The store's facts at the last command.
    facts: StoreFacts,
    ptr: Option<PtrResult>,
    ptr_learned: Instant,
    ptr_lookup: Option<AbortOnDropHandle<PtrResult>>,
    spf: Option<SpfResults>,
    spf_lookup: Option<SpfLookup>,
    dkim: Vec<DkimSignature>,
    /// Whether the present message has no sender.
    null_sender: bool,
    /// The certificate by which the sender has proved itself, as the log names it.
    certified: Option<String>,
    /// What shadow mode has passed on already, so that each reason is counted once a message.
    shadowed: Vec<Refusal>,
}

/// A check of SPF that goes on beside the session.
struct SpfLookup {
    check: AbortOnDropHandle<SpfResults>,
    /// Cancelled when the client can wait no longer.
    late: CancellationToken,
}

impl SpfLookup {
    /// What both identities have come to at `deadline`.
    async fn evidence(mut self, deadline: tokio::time::Instant) -> Result<SpfResults, JoinError> {
        if let Ok(evidence) = timeout_at(deadline, &mut self.check).await {
            return evidence;
        }
        self.late.cancel();
        self.check.await
    }
}

impl SenderChecks {
    pub(super) fn new(
        sources: Arc<FactSources>,
        services: Arc<Services>,
        endpoints: Endpoints,
        facts: StoreFacts,
    ) -> Self {
        Self {
            sources,
            services,
            endpoints,
            facts,
            ptr: None,
            ptr_learned: Instant::now(),
            ptr_lookup: None,
            spf: None,
            spf_lookup: None,
            dkim: Vec::new(),
            null_sender: false,
            certified: None,
            shadowed: Vec::new(),
        }
    }

    /// Whether what is to be refused is passed on, as far as it can be.
    pub(super) fn is_shadow(&self) -> bool {
        self.services.policy.mode == Mode::Shadow
    }

    /// The services by which the sender is judged.
    pub(super) fn services(&self) -> &Services {
        &self.services
    }

    /// Judges by other settings from now on, between two messages.
    pub(super) fn adopt(&mut self, services: Arc<Services>) {
        self.services = services;
    }

    /// Both ends of the connection.
    pub(super) fn endpoints(&self) -> Endpoints {
        self.endpoints
    }

    /// Reverse DNS, as far as it is known.
    pub(super) fn ptr(&self) -> Option<&PtrResult> {
        self.ptr.as_ref()
    }

    /// SPF of the present message, as far as it is known.
    pub(super) fn spf(&self) -> Option<&SpfResults> {
        self.spf.as_ref()
    }

    /// DKIM of the present message, as far as it is known.
    pub(super) fn dkim(&self) -> &[DkimSignature] {
        &self.dkim
    }

    /// The sender has proved itself by the certificate of that name.
    pub(super) fn certify(&mut self, trusted_by: &str) {
        self.certified = Some(trusted_by.to_owned());
    }

    /// The client, as lines in Postfix's form name it.
    pub(super) fn postfix(&self, id: SessionId, hello: Option<&Hello>) -> PostfixClient {
        PostfixClient {
            number: id.number(),
            source: self.endpoints.source,
            name: self.ptr().and_then(PtrResult::confirmed_name).map(str::to_owned),
            helo: hello.map(|hello| hello.name.to_string()),
            extended: hello.is_some_and(|hello| hello.extended),
        }
    }

    /// Recalls what is known about the source's reverse DNS without asking.
    pub(super) async fn recall_ptr(&mut self) {
        if self.sources.reverse_dns.is_known_absent(self.endpoints.source).await {
            self.learned_ptr(PtrResult::NoRecord);
        }
    }

    /// Asks the store for its present facts, once for each command: everything that is decided
    /// about the command rests on one state of the store, and a session in progress follows the
    /// store's changes.
    pub(super) fn ask_store(&mut self, recipient: Option<&RcptTo>) {
        let Endpoints { source, destination, .. } = self.endpoints;
        let domain = recipient.and_then(RcptTo::mailbox).and_then(Mailbox::domain_name);
        self.facts = self.sources.store.facts(source, destination, domain);
    }

    /// The store's facts at this command.
    pub(super) fn facts(&self) -> &StoreFacts {
        &self.facts
    }

    /// Draws the verdict that is due, and counts what shadow mode lets pass.
    pub(super) fn decide(&mut self, stage: Stage, recipient: Option<&RcptTo>) -> Verdict {
        let verdict = decide(&self.services.policy, stage, &self.evidence(recipient));
        // at connect it is not yet known whether there is a message: it would be counted twice
        match verdict {
            Verdict::AcceptInShadow(refusal) if stage != Stage::Connection => self.count_shadow(refusal),
            _ => {}
        }
        verdict
    }

    /// Everything that is known now.
    pub(super) fn evidence(&self, recipient: Option<&RcptTo>) -> Evidence {
        let findings = Findings {
            facts: &self.facts,
            certified: self.certified.is_some(),
            ptr: self.ptr.as_ref(),
            spf: self.spf.as_ref(),
            dkim: &self.dkim,
            null_sender: self.null_sender,
        };
        findings.evidence(&self.services.config, recipient)
    }

    /// Starts the checks that will be needed of the sender, while the client sends its EHLO.
    pub(super) fn begin_session(&mut self) {
        if self.ptr.is_none() && self.needs_ptr() {
            let reverse_dns = Arc::clone(&self.sources.reverse_dns);
            let source = self.endpoints.source;
            let metrics = Arc::clone(&self.services.metrics);
            let lookup = async move { look_up(&reverse_dns, source, &metrics).await }.in_current_span();
            self.ptr_lookup = Some(AbortOnDropHandle::new(tokio::spawn(lookup)));
        }
    }

    /// Waits for reverse DNS. An answer is kept for the session; a failure is asked about again
    /// after a while.
    pub(super) async fn learn_ptr(&mut self) {
        let known = match self.ptr {
            None => false,
            Some(PtrResult::TempError(_)) => self.ptr_learned.elapsed() < FAILURE_LIFETIME,
            Some(_) => true,
        };
        if known || !self.needs_ptr() {
            return;
        }
        let evidence = match &mut self.ptr_lookup {
            Some(lookup) => lookup.await.unwrap_or(PtrResult::TempError(Unanswered::Record)),
            None => look_up(&self.sources.reverse_dns, self.endpoints.source, &self.services.metrics).await,
        };
        self.ptr_lookup = None;
        self.learned_ptr(evidence);
    }

    fn learned_ptr(&mut self, evidence: PtrResult) {
        self.services.metrics.ptr(evidence.text());
        self.ptr = Some(evidence);
        self.ptr_learned = Instant::now();
    }

    /// Starts what will be needed of a message's sender, while the message arrives.
    pub(super) fn begin_message(&mut self, hello: &Hello, mail: &MailFrom) {
        self.forget_message();
        if !self.is_trusted() {
            self.spf_lookup = Some(self.begin_spf(hello, mail));
        }
    }

    /// Waits for everything that the verdict about a message rests on.
    pub(super) async fn learn_message(&mut self, transaction: &Transaction, content: StoredMessage) {
        let Transaction { hello, mail, .. } = transaction;
        self.null_sender = mail.reverse_path.is_none();
        if self.is_trusted() {
            return;
        }
        let spf = match self.spf_lookup.take() {
            Some(lookup) => lookup,
            // trust was withdrawn since MAIL
            None => self.begin_spf(hello, mail),
        };
        let deadline = tokio::time::Instant::now() + self.services.limits().verification_timeout;
        let dns = self.sources.dns.on_behalf_of(self.endpoints.source);
        let verify = async {
            let began = Instant::now();
            let dkim = self.services.dkim.verify(&dns, content, deadline).await;
            self.services.metrics.times().check(Check::Dkim, began.elapsed());
            dkim
        };
        let (spf, dkim) = tokio::join!(spf.evidence(deadline), verify);
        self.spf = Some(spf.unwrap_or_else(|failure| broken_off(&failure, hello)));
        let checks = self.spf.iter().flat_map(|spf| [&spf.helo, &spf.mail_from]);
        checks.filter_map(|check| check.reason.limit()).for_each(|limit| self.services.metrics.limit(limit));
        for limit in dkim.limits {
            self.services.metrics.limit(limit.name());
        }
        self.dkim = dkim.signatures;
    }

    /// Forgets a message that is over.
    pub(super) fn forget_message(&mut self) {
        self.spf = None;
        self.spf_lookup = None;
        self.dkim = Vec::new();
        self.shadowed.clear();
    }

    /// Reverse DNS decides nothing about who is trusted, but a next hop may have rules of its own
    /// about names.
    fn needs_ptr(&self) -> bool {
        !self.is_trusted() || self.services.next_hop.sends_names()
    }

    /// Whether the sender is exempt.
    pub(super) fn is_trusted(&self) -> bool {
        self.certified.is_some() || self.facts.trusted.is_some()
    }

    /// The trusted prefix or the certificate's name by which the sender is exempt, for the log.
    pub(super) fn trusted_by(&self) -> Option<String> {
        self.facts.trusted.map(|prefix| prefix.to_string()).or_else(|| self.certified.clone())
    }

    fn begin_spf(&self, hello: &Hello, mail: &MailFrom) -> SpfLookup {
        let services = Arc::clone(&self.services);
        let dns = self.sources.dns.on_behalf_of(self.endpoints.source);
        let client = self.endpoints.source;
        let helo = hello.name.to_string();
        let mail_from = mail.reverse_path.as_ref().map(Mailbox::with_a_labels);
        let late = CancellationToken::new();
        let has_to_end = late.clone();
        let check = async move {
            let query = evidence::spf_query(&services.config, client, &helo, mail_from.as_deref());
            let began = Instant::now();
            let results = spf::check_until(&dns, &query, &has_to_end).await;
            services.metrics.times().check(Check::Spf, began.elapsed());
            results
        };
        SpfLookup { check: AbortOnDropHandle::new(tokio::spawn(check.in_current_span())), late }
    }

    /// The domains whose refusal is temporary, for a session that is refused from its first packet
    /// on.
    pub(super) fn temporary_domains(&self) -> Arc<TemporaryDomains> {
        self.sources.store.temporary_domains()
    }

    /// Counts each reason once a message.
    fn count_shadow(&mut self, refusal: Refusal) {
        if !self.shadowed.contains(&refusal) {
            self.shadowed.push(refusal);
            self.services.metrics.shadow(refusal.name());
        }
    }
}

/// Reverse DNS of `source`, and how long that took.
async fn look_up(reverse_dns: &ReverseDns, source: Ipv6Addr, metrics: &Metrics) -> PtrResult {
    let began = Instant::now();
    let result = reverse_dns.look_up(source).await;
    metrics.times().check(Check::Ptr, began.elapsed());
    result
}

/// The SPF results when the check came to no end at all, which is our own defect.
fn broken_off(failure: &JoinError, hello: &Hello) -> SpfResults {
    error!(%failure, "internal error in the SPF check");
    let unfinished = |domain: String| SpfCheck::new(domain, SpfResult::TempError, SpfReason::BrokenOff);
    SpfResults { helo: unfinished(hello.name.to_string()), mail_from: unfinished(String::new()) }
}
