//! SPF (RFC 7208) of both identities: an evaluator of our own, in parts.
//!
//! `record` reads records, `macros` expands what stands in them into a `name`, `evaluate` asks DNS.
//! The meaning of a result for the message is not its business.

mod evaluate;
mod limits;
pub mod macros;
pub mod name;
pub mod record;
mod result;

use std::{
    net::IpAddr,
    time::{Duration, SystemTime},
};

use tokio::time::{Instant, timeout_at};
use tokio_util::sync::CancellationToken;

pub use limits::{MAX_DNS_TERMS, MAX_NAMES, MAX_OTHER_FAMILY, MAX_QUERIES, MAX_SERVERS, VoidTerms};

use crate::{
    dns::{LONGEST_NAME, Resolver, ascii_name},
    spf::{
        evaluate::{Evaluation, EvaluationOutcome, Subject},
        name::DomainName,
    },
    trace::SpfIdentityKind,
};

pub use result::{SpfCheck, SpfReason, SpfResult, SpfResults};

/// How long a check may take in all; then the result is `temperror` (RFC 7208 4.6.4 asks for at
/// least 20 s).
pub const TIME_LIMIT: Duration = Duration::from_secs(20);
/// The most octets of the text that names the deciding term.
pub const LONGEST_TRAIL: usize = 256;

/// The facts that a session gives about its sender.
#[derive(Clone, Copy, Debug)]
pub struct SpfQuery<'a> {
    /// Where the connection comes from. An IPv4-mapped address is taken for the IPv4 address (RFC
    /// 7208 5).
    pub client: IpAddr,
    /// The argument of EHLO or HELO.
    pub helo: &'a str,
    /// The reverse-path without its angle brackets; none for the null reverse-path.
    pub mail_from: Option<&'a str>,
    /// Our own name, for the macro `%{r}`.
    pub host_name: &'a str,
    /// Which terms are void, and how many may be.
    pub voids: VoidTerms,
}

impl<'a> SpfQuery<'a> {
    /// A session of `client`, which sent `helo` and `mail_from`. The host has no name for `%{r}`,
    /// and RFC 7208's limit of void lookups holds.
    #[must_use]
    pub const fn new(client: IpAddr, helo: &'a str, mail_from: Option<&'a str>) -> Self {
        Self { client, helo, mail_from, host_name: "unknown", voids: VoidTerms::DEFAULT }
    }
}

/// Checks the HELO identity (RFC 7208 2.3) and the MAIL FROM identity (2.4), both at a time.
/// Ends within [`TIME_LIMIT`], and asks DNS at most [`MAX_QUERIES`] questions for each.
pub async fn check(dns: &Resolver, query: &SpfQuery<'_>) -> SpfResults {
    check_until(dns, query, &CancellationToken::new()).await
}

/// As [`check`], and ends as soon as `late` is cancelled, with what each identity has come to until
/// then.
pub async fn check_until(dns: &Resolver, query: &SpfQuery<'_>, late: &CancellationToken) -> SpfResults {
    let time = Time { limit: Instant::now() + TIME_LIMIT, late };
    let helo = SpfIdentity::helo(query.helo);
    let Some(mail_from) = query.mail_from else {
        // postmaster@HELO is what the HELO check assumes as well
        let helo = helo.check(&dns.identity(SpfIdentityKind::Helo), query, time).await;
        return SpfResults { mail_from: helo.clone(), helo };
    };
    let mail_from = SpfIdentity::mail_from(mail_from);
    let [of_helo, of_mail] =
        [SpfIdentityKind::Helo, SpfIdentityKind::MailFrom].map(|kind| dns.identity(kind));
    let (helo, mail_from) =
        tokio::join!(helo.check(&of_helo, query, time), mail_from.check(&of_mail, query, time));
    SpfResults { helo, mail_from }
}

/// When a check is over at the latest.
#[derive(Clone, Copy)]
struct Time<'a> {
    limit: Instant,
    late: &'a CancellationToken,
}

impl Time<'_> {
    /// What `work` comes to, if it is in time.
    async fn allows<T>(self, work: impl Future<Output = T>) -> Option<T> {
        timeout_at(self.limit, self.late.run_until_cancelled(work)).await.ok().flatten()
    }
}

/// Whom a check is about.
enum SpfIdentity {
    /// Nothing that SPF has a result for but `none` (RFC 7208 4.3).
    Unusable {
        claimed: String,
    },
    Usable {
        local_part: String,
        domain: DomainName,
    },
}

impl SpfIdentity {
    fn helo(helo: &str) -> Self {
        match checkable(helo) {
            Some(domain) => Self::Usable { local_part: POSTMASTER.to_owned(), domain },
            None => Self::Unusable { claimed: shown(helo) },
        }
    }

    fn mail_from(path: &str) -> Self {
        let (local_part, domain) = path.rsplit_once('@').unwrap_or((path, ""));
        let local_part = if local_part.is_empty() { POSTMASTER.to_owned() } else { unquoted(local_part) };
        match checkable(domain) {
            Some(domain) => Self::Usable { local_part, domain },
            None => Self::Unusable { claimed: shown(domain) },
        }
    }

    async fn check(self, dns: &Resolver, query: &SpfQuery<'_>, time: Time<'_>) -> SpfCheck {
        match self {
            Self::Unusable { claimed } => SpfCheck::new(claimed, SpfResult::None, SpfReason::NoDomain),
            Self::Usable { local_part, domain } => {
                let subject = Subject {
                    client: query.client.to_canonical(),
                    local_part: &local_part,
                    sender_domain: domain.as_str(),
                    helo: query.helo,
                    receiver: query.host_name,
                    timestamp: now(),
                    voids: query.voids,
                };
                // each domain has a part of the network's budget: a provider's other mail is not
                // held up by one record
                let dns = dns.about(domain.as_str());
                evaluated(Evaluation::new(&dns, subject), &domain, time).await
            }
        }
    }
}

async fn evaluated(mut evaluation: Evaluation<'_>, domain: &DomainName, time: Time<'_>) -> SpfCheck {
    let checked = domain.to_string();
    let Some(outcome) = time.allows(evaluation.check_host(domain.clone())).await else {
        return SpfCheck::new(checked, SpfResult::TempError, SpfReason::TimeLimit);
    };
    let EvaluationOutcome { result, reason, trail, explanation } = outcome;
    let explanation = match (result, explanation) {
        (SpfResult::Fail, Some((target, domain))) => {
            time.allows(evaluation.explain(&target, &domain)).await.flatten()
        }
        _ => None,
    };
    SpfCheck { domain: checked, result, reason, term: cut(trail), explanation }
}

/// `text` as a domain that check_host() takes (RFC 7208 2.3, 4.3), in A-labels.
fn checkable(text: &str) -> Option<DomainName> {
    DomainName::new(&ascii_name(text)?).filter(DomainName::can_be_checked)
}

/// A local part without the quotes that it needs in SMTP: `"joe"` and `joe` are the same (RFC 5321
/// 4.1.2).
fn unquoted(local_part: &str) -> String {
    let Some(quoted) = local_part.strip_prefix('"').and_then(|quoted| quoted.strip_suffix('"')) else {
        return local_part.to_owned();
    };
    let mut plain = String::with_capacity(quoted.len());
    let mut letters = quoted.chars();
    while let Some(letter) = letters.next() {
        plain.push(if letter == '\\' { letters.next().unwrap_or(letter) } else { letter });
    }
    plain
}

/// A client's claim, as it may be kept for logs: bounded, and without control characters.
fn shown(claimed: &str) -> String {
    claimed.chars().filter(|character| !character.is_control()).take(LONGEST_NAME).collect()
}

/// Its end, where the term stands that decided; it is visible ASCII and spaces.
fn cut(trail: String) -> String {
    match trail.len().checked_sub(LONGEST_TRAIL) {
        None | Some(0) => trail,
        Some(surplus) => format!("...{}", trail.get(surplus + 3..).unwrap_or_default()),
    }
}

/// Seconds since 1970, for `%{t}`.
fn now() -> u64 {
    SystemTime::UNIX_EPOCH.elapsed().map_or(0, |since| since.as_secs())
}

const POSTMASTER: &str = "postmaster";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_name_of_several_labels_is_checked() {
        let rows = [
            ("mail.example", Some("mail.example")),
            ("MAIL.Example.", Some("mail.example")),
            ("münchen.example", Some("xn--mnchen-3ya.example")),
            ("localhost", None),
            ("[IPv6:2001:db8::25]", None),
            ("[192.0.2.1]", None),
            ("192.0.2.1", None),
            ("2001:db8::25", None),
            ("a..example", None),
            ("", None),
        ];
        for (text, wanted) in rows {
            assert_eq!(checkable(text).as_ref().map(DomainName::as_str), wanted, "{text:?}");
        }
    }

    #[test]
    fn quotes_are_no_part_of_a_local_part() {
        let rows = [
            ("joe", "joe"),
            (r#""joe""#, "joe"),
            (r#""joe \"the\\ x""#, r#"joe "the\ x"#),
            (r#"""#, r#"""#),
            (r#""\"#, r#""\"#),
            ("", ""),
        ];
        for (text, wanted) in rows {
            assert_eq!(unquoted(text), wanted, "{text}");
        }
    }

    #[test]
    fn a_long_trail_keeps_its_end() {
        assert_eq!(cut("mx".to_owned()), "mx");
        let whole = "x".repeat(LONGEST_TRAIL);
        assert_eq!(cut(whole.clone()), whole);
        let long = cut(format!("{whole} > a:b.example"));
        assert_eq!(
            (long.len(), long.starts_with("...x"), long.ends_with(" > a:b.example")),
            (256, true, true)
        );
    }
}
