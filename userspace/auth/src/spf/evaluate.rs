//! check_host() (RFC 7208 4): evaluates records for one sender, asking DNS no more than the limits
//! allow.
//!
//! The meaning of a result for the message is decided elsewhere. It keeps no time: the caller cuts
//! it off.

mod lookups;
mod outcome;

use std::{net::IpAddr, pin::Pin};

use crate::{
    dns::Resolver,
    spf::{
        evaluate::{
            lookups::Lookups,
            outcome::{Match, Stop, along},
        },
        limits::{MAX_DNS_TERMS, MAX_OTHER_FAMILY, MAX_SERVERS, VoidTerms},
        macros::{DomainSpec, MacroContext, MacroString, NoName, Values},
        name::DomainName,
        record::{LONGEST_RECORD, Mechanism, PrefixLengths, Record, Selection, select},
        result::{SpfReason, SpfResult},
    },
    trace::{Recorder, Step, TermOutcome},
};

pub(super) use outcome::EvaluationOutcome;

/// Whom an evaluation is about. The same for all the records that it comes across.
#[derive(Clone, Copy, Debug)]
pub(super) struct Subject<'a> {
    /// Never an IPv4-mapped IPv6 address (RFC 7208 5).
    pub(super) client: IpAddr,
    pub(super) local_part: &'a str,
    pub(super) sender_domain: &'a str,
    pub(super) helo: &'a str,
    pub(super) receiver: &'a str,
    /// Seconds since 1970.
    pub(super) timestamp: u64,
    /// Terms for which DNS may have nothing.
    pub(super) voids: VoidTerms,
}

/// One evaluation, with what it has used up.
pub(super) struct Evaluation<'a> {
    lookups: Lookups<'a>,
    recorder: &'a Recorder,
    subject: Subject<'a>,
    dns_terms: usize,
    void_terms: usize,
    other_family: usize,
}

impl<'a> Evaluation<'a> {
    pub(super) fn new(dns: &'a Resolver, subject: Subject<'a>) -> Self {
        Self {
            lookups: Lookups::new(dns, subject.client),
            recorder: dns.recorder(),
            subject,
            dns_terms: 0,
            void_terms: 0,
            other_family: 0,
        }
    }

    /// check_host() for `domain`.
    pub(super) async fn check_host(&mut self, domain: DomainName) -> EvaluationOutcome {
        self.evaluate(domain).await.unwrap_or_else(|Stop { result, reason, trail }| EvaluationOutcome {
            result,
            reason,
            trail,
            explanation: None,
        })
    }

    /// The explanation that `exp=` leads to (RFC 7208 6.2); none when there is anything wrong with
    /// it.
    pub(super) async fn explain(&mut self, target: &DomainSpec, domain: &DomainName) -> Option<String> {
        let name = self.expand(target, domain).await.ok()?;
        let texts = self.lookups.texts(&name).await.ok()?;
        let [text] = &texts[..] else {
            return None;
        };
        let text = Some(text).filter(|text| text.len() <= LONGEST_RECORD)?;
        let text = MacroString::parse(text, MacroContext::Explanation).ok()?;
        let needed = text.needs_validated_name();
        let validated = self.validated_name(domain, needed).await;
        let explanation = text.expand(&self.subject.values(domain, &validated));
        Some(explanation).filter(|explanation| !explanation.is_empty())
    }

    /// Boxed, as an included record is evaluated by another of these; [`MAX_DNS_TERMS`] bounds how
    /// many.
    fn evaluate(
        &mut self,
        domain: DomainName,
    ) -> Pin<Box<dyn Future<Output = Result<EvaluationOutcome, Stop>> + Send + '_>> {
        Box::pin(async move {
            let Some(record) = self.record(&domain).await? else {
                return Ok(EvaluationOutcome::undecided(SpfResult::None, SpfReason::NoRecord));
            };
            self.follow(record, domain).await
        })
    }

    /// Evaluates `record`, and the one to which it redirects, and so on.
    async fn follow(
        &mut self,
        mut record: Record,
        mut domain: DomainName,
    ) -> Result<EvaluationOutcome, Stop> {
        let mut trail = String::new();
        loop {
            for directive in &record.directives {
                let term = || along(&trail, &directive.to_string());
                self.recorder.begin_term(|| directive.to_string());
                let matched = self.matches(&directive.mechanism, &domain).await;
                self.end_term(TermOutcome::from(&matched));
                if let Match::Yes { trail: inner } = matched.map_err(|stop| stop.after(&term()))? {
                    let explanation = record.explanation.map(|target| (target, domain));
                    return Ok(EvaluationOutcome::matched(directive, along(&term(), &inner), explanation));
                }
            }
            let no_match = EvaluationOutcome::undecided(SpfResult::Neutral, SpfReason::NoMatch);
            let Some(target) = record.redirect else {
                return Ok(no_match);
            };
            let term = format!("redirect={target}");
            trail = along(&trail, &term);
            self.recorder.begin_term(|| term);
            let redirected = self.redirect(&target, &domain).await;
            self.end_term(match &redirected {
                Ok(Some(_)) => TermOutcome::Followed,
                Ok(None) => TermOutcome::NoMatch,
                Err(Stop { result, reason, .. }) => TermOutcome::Stop(*result, *reason),
            });
            match redirected.map_err(|stop| stop.after(&trail))? {
                Some(next) => (record, domain) = next,
                None => return Ok(no_match),
            }
        }
    }

    /// The record to which `redirect=` leads, and its domain; none if the term leads nowhere for
    /// this sender.
    async fn redirect(
        &mut self,
        target: &DomainSpec,
        domain: &DomainName,
    ) -> Result<Option<(Record, DomainName)>, Stop> {
        self.count_term(Some(target))?;
        let nothing_there = || Stop::permanent(SpfReason::RedirectWithoutRecord);
        let target = match self.expand(target, domain).await {
            Ok(target) if target.can_be_checked() => target,
            Err(NoName::NotAscii) => return Ok(None),
            Ok(_) | Err(NoName::Unfit) => return Err(nothing_there()),
        };
        let record = self.record(&target).await?.ok_or_else(nothing_there)?;
        Ok(Some((record, target)))
    }

    async fn matches(&mut self, mechanism: &Mechanism, domain: &DomainName) -> Result<Match, Stop> {
        let client = self.subject.client;
        let matched = match mechanism {
            Mechanism::All => true,
            Mechanism::Ip4(network) => matches!(client, IpAddr::V4(client) if network.contains(&client)),
            Mechanism::Ip6(network) => matches!(client, IpAddr::V6(client) if network.contains(&client)),
            Mechanism::Include(target) => return self.include(target, domain).await,
            Mechanism::A(target, prefixes) => self.a(target.as_ref(), *prefixes, domain).await?,
            Mechanism::Mx(target, prefixes) => self.mx(target.as_ref(), *prefixes, domain).await?,
            Mechanism::Ptr(target) => self.ptr(target.as_ref(), domain).await?,
            Mechanism::Exists(target) => self.exists(target, domain).await?,
        };
        Ok(if matched { Match::Yes { trail: String::new() } } else { Match::No })
    }

    async fn include(&mut self, target: &DomainSpec, domain: &DomainName) -> Result<Match, Stop> {
        self.count_term(Some(target))?;
        let target = match self.expand(target, domain).await {
            Ok(target) if target.can_be_checked() => target,
            Err(NoName::NotAscii) => return Ok(Match::No),
            Ok(_) | Err(NoName::Unfit) => return Err(Stop::permanent(SpfReason::IncludeWithoutRecord)),
        };
        let EvaluationOutcome { result, trail, .. } = self.evaluate(target).await?;
        match result {
            SpfResult::Pass => Ok(Match::Yes { trail }),
            SpfResult::None => Err(Stop::permanent(SpfReason::IncludeWithoutRecord)),
            _ => Ok(Match::No),
        }
    }

    async fn a(
        &mut self,
        target: Option<&DomainSpec>,
        prefixes: PrefixLengths,
        domain: &DomainName,
    ) -> Result<bool, Stop> {
        let Some(name) = self.target(target, domain).await? else {
            return Ok(false);
        };
        let addresses = self.lookups.addresses(&name).await.map_err(Stop::temporary)?;
        let is_void = addresses.is_empty() && !self.has_other_family(&[name]).await;
        self.count_void(is_void)?;
        Ok(addresses.iter().any(|address| prefixes.agree(self.subject.client, *address)))
    }

    async fn mx(
        &mut self,
        target: Option<&DomainSpec>,
        prefixes: PrefixLengths,
        domain: &DomainName,
    ) -> Result<bool, Stop> {
        let Some(name) = self.target(target, domain).await? else {
            return Ok(false);
        };
        let servers = self.lookups.servers(&name).await.map_err(Stop::temporary)?;
        if servers.len() > MAX_SERVERS {
            return Err(Stop::permanent(SpfReason::TooManyServers));
        }
        // the root, which means that there is no server, is not a name
        let names: Vec<DomainName> = servers.iter().filter_map(|server| DomainName::new(server)).collect();
        let mut has_any = names.is_empty() && !servers.is_empty();
        for name in &names {
            let addresses = self.lookups.addresses(name).await.map_err(Stop::temporary)?;
            if addresses.iter().any(|address| prefixes.agree(self.subject.client, *address)) {
                return Ok(true);
            }
            has_any |= !addresses.is_empty();
        }
        // the limit is of terms: one server with an address is enough
        let is_void = !has_any && !self.has_other_family(&names).await;
        self.count_void(is_void)?;
        Ok(false)
    }

    /// Whether one of `names`, none of which has an address of the client's family, has one of the
    /// other, if that matters. Such a term is not void: DNS has what its record means, only nothing
    /// for this client.
    async fn has_other_family(&mut self, names: &[DomainName]) -> bool {
        if self.subject.voids.count_missing_family {
            return false;
        }
        for name in names {
            if self.other_family == MAX_OTHER_FAMILY {
                return true;
            }
            self.other_family += 1;
            // a failure does not prove that there is nothing
            if self.lookups.has_other_family(name).await.unwrap_or(true) {
                return true;
            }
        }
        false
    }

    async fn ptr(&mut self, target: Option<&DomainSpec>, domain: &DomainName) -> Result<bool, Stop> {
        let Some(target) = self.target(target, domain).await? else {
            return Ok(false);
        };
        let void = self.lookups.client_is_nameless().await;
        self.count_void(void)?;
        Ok(self.lookups.first_validated(|name| name.is_within(&target)).await.is_some())
    }

    async fn exists(&mut self, target: &DomainSpec, domain: &DomainName) -> Result<bool, Stop> {
        let Some(name) = self.target(Some(target), domain).await? else {
            return Ok(false);
        };
        // an IPv4 address, with clients of either family (RFC 7208 5.7)
        let found = self.lookups.exists(&name).await.map_err(Stop::temporary)?;
        self.count_void(!found)?;
        Ok(found)
    }

    /// The SPF record of `domain`, read.
    async fn record(&self, domain: &DomainName) -> Result<Option<Record>, Stop> {
        let texts = self.lookups.texts(domain).await.map_err(Stop::temporary)?;
        let selected = select(&texts);
        self.recorder.step(|| Step::SpfRecord {
            domain: domain.to_string(),
            record: match selected {
                Selection::One(text) => Some(text.escape_ascii().to_string()),
                Selection::None | Selection::Several => None,
            },
        });
        match selected {
            Selection::None => Ok(None),
            Selection::Several => Err(Stop::permanent(SpfReason::SeveralRecords)),
            Selection::One(text) => Record::parse(text).map(Some).map_err(|error| Stop {
                result: SpfResult::PermError,
                reason: error.reason,
                trail: error.term,
            }),
        }
    }

    /// Counts a term that asks DNS, and returns the name to ask about; `None` if DNS cannot be
    /// asked, so that nothing matches.
    async fn target(
        &mut self,
        target: Option<&DomainSpec>,
        domain: &DomainName,
    ) -> Result<Option<DomainName>, Stop> {
        self.count_term(target)?;
        match target {
            Some(target) => Ok(self.expand(target, domain).await.ok()),
            None => {
                self.recorder.target(domain.as_str());
                Ok(Some(domain.clone()))
            }
        }
    }

    fn end_term(&self, outcome: TermOutcome) {
        self.recorder.end_term(outcome, self.dns_terms, self.void_terms);
    }

    fn count_term(&mut self, target: Option<&DomainSpec>) -> Result<(), Stop> {
        let by_macro = target.is_some_and(DomainSpec::needs_validated_name);
        self.dns_terms += 1 + usize::from(by_macro);
        if self.dns_terms > MAX_DNS_TERMS {
            return Err(Stop::permanent(SpfReason::TooManyTerms));
        }
        Ok(())
    }

    fn count_void(&mut self, void: bool) -> Result<(), Stop> {
        self.void_terms += usize::from(void);
        if self.void_terms > self.subject.voids.limit.into() {
            return Err(Stop::permanent(SpfReason::TooManyVoids));
        }
        Ok(())
    }

    async fn expand(&mut self, target: &DomainSpec, domain: &DomainName) -> Result<DomainName, NoName> {
        let validated = self.validated_name(domain, target.needs_validated_name()).await;
        let expanded = target.expand(&self.subject.values(domain, &validated));
        if let Ok(name) = &expanded {
            self.recorder.target(name.as_str());
        }
        expanded
    }

    /// The value of `%{p}`, if it is `needed`.
    async fn validated_name(&mut self, domain: &DomainName, needed: bool) -> String {
        if needed { self.lookups.validated_name(domain).await } else { String::new() }
    }
}

impl<'a> Subject<'a> {
    fn values(&self, domain: &'a DomainName, validated: &'a str) -> Values<'a> {
        Values {
            local_part: self.local_part,
            sender_domain: self.sender_domain,
            domain,
            client: self.client,
            helo: self.helo,
            validated,
            receiver: self.receiver,
            timestamp: self.timestamp,
        }
    }
}
