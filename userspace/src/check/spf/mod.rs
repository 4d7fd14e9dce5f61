//! SPF (RFC 7208) of both identities, by mail-auth behind a thin adapter: none of its types leaves this module.
//!
//! It picks the record and the identities itself; what the result means for the message is decided in `policy`.

use std::{net::Ipv6Addr, time::Duration};

use mail_auth::{SpfResult as LibraryResult, spf::verify::SpfParameters};
use tokio::time::{Instant, timeout_at};
use tracing::debug;

use crate::{
    dns::{Dns, LONGEST_NAME, ascii_name},
    policy::evidence::{SpfCheck, SpfEvidence, SpfResult},
};

/// How long a check may take in all; then the result is `temperror` (RFC 7208 4.6.4 asks for at least 20 s).
pub const TIME_LIMIT: Duration = Duration::from_secs(20);

/// What a session says about its sender.
#[derive(Clone, Copy, Debug)]
pub struct SpfQuery<'a> {
    /// Where the connection comes from.
    pub client: Ipv6Addr,
    /// The argument of EHLO or HELO.
    pub helo: &'a str,
    /// The reverse-path without its angle brackets; none for the null reverse-path.
    pub mail_from: Option<&'a str>,
    /// Our own name, for the macro `%{r}`.
    pub host_name: &'a str,
}

/// Checks the HELO identity (RFC 7208 2.3) and the MAIL FROM identity (2.4), both at a time.
/// Ends within [`TIME_LIMIT`].
pub async fn check(dns: &Dns, query: &SpfQuery<'_>) -> SpfEvidence {
    let deadline = Instant::now() + TIME_LIMIT;
    let helo = Identity::helo(query.helo);
    let Some(mail_from) = query.mail_from else {
        // postmaster@HELO is what the HELO check assumes as well
        let helo = helo.check(dns, query, deadline).await;
        return SpfEvidence { mail_from: helo.clone(), helo };
    };
    let mail_from = Identity::mail_from(mail_from);
    let (helo, mail_from) =
        tokio::join!(helo.check(dns, query, deadline), mail_from.check(dns, query, deadline));
    SpfEvidence { helo, mail_from }
}

/// Whom a check is about.
enum Identity {
    /// Nothing that SPF has a result for but `none` (RFC 7208 4.3).
    Unusable {
        claimed: String,
    },
    Usable {
        local_part: String,
        domain: String,
    },
}

impl Identity {
    fn helo(helo: &str) -> Self {
        match checkable(helo) {
            Some(domain) => Self::Usable { local_part: POSTMASTER.to_owned(), domain },
            None => Self::Unusable { claimed: shown(helo) },
        }
    }

    fn mail_from(path: &str) -> Self {
        let (local_part, domain) = path.rsplit_once('@').unwrap_or((path, ""));
        let local_part = if local_part.is_empty() { POSTMASTER } else { local_part }.to_owned();
        match checkable(domain) {
            Some(domain) => Self::Usable { local_part, domain },
            None => Self::Unusable { claimed: shown(domain) },
        }
    }

    async fn check(self, dns: &Dns, query: &SpfQuery<'_>, deadline: Instant) -> SpfCheck {
        match self {
            Self::Unusable { claimed } => SpfCheck { domain: claimed, result: SpfResult::None },
            Self::Usable { local_part, domain } => {
                let evaluated = evaluate(dns, query, &local_part, &domain);
                let result = timeout_at(deadline, evaluated).await.unwrap_or(SpfResult::TempError);
                SpfCheck { domain, result }
            }
        }
    }
}

/// `text` as a domain that check_host() takes: a name of several labels and no address (RFC 7208 2.3, 4.3).
fn checkable(text: &str) -> Option<String> {
    let name = ascii_name(text)?;
    let (_, top) = name.rsplit_once('.')?;
    (!top.bytes().all(|octet| octet.is_ascii_digit())).then_some(name)
}

/// What a stranger claims, as it may be kept for logs: bounded, and without control characters.
fn shown(claimed: &str) -> String {
    claimed.chars().filter(|character| !character.is_control()).take(LONGEST_NAME).collect()
}

async fn evaluate(dns: &Dns, query: &SpfQuery<'_>, local_part: &str, domain: &str) -> SpfResult {
    let texts = match dns.txt(domain).await {
        Ok(answer) => answer.records,
        Err(failure) => {
            debug!(domain, %failure, "SPF record not to be had");
            return SpfResult::TempError;
        }
    };
    // The library takes the first of several records, and takes any octet.
    match texts.iter().filter(|text| is_record(text)).collect::<Vec<_>>()[..] {
        [] => return SpfResult::None,
        [record] if record.iter().all(|octet| matches!(octet, b' '..=b'~')) => {}
        _ => return SpfResult::PermError,
    }
    let sender = format!("{local_part}@{domain}");
    let parameters =
        SpfParameters::verify_mail_from(query.client.into(), query.helo, query.host_name, &sender);
    match dns.authenticator().verify_spf(parameters).await.result() {
        LibraryResult::Pass => SpfResult::Pass,
        LibraryResult::Fail => SpfResult::Fail,
        LibraryResult::SoftFail => SpfResult::SoftFail,
        LibraryResult::Neutral => SpfResult::Neutral,
        LibraryResult::TempError => SpfResult::TempError,
        LibraryResult::PermError => SpfResult::PermError,
        LibraryResult::None => SpfResult::None,
    }
}

/// Whether a TXT record is an SPF record (RFC 7208 4.5).
fn is_record(text: &[u8]) -> bool {
    match text.split_at_checked(VERSION.len()) {
        Some((version, rest)) => {
            version.eq_ignore_ascii_case(VERSION) && matches!(rest.first(), None | Some(b' '))
        }
        None => false,
    }
}

const POSTMASTER: &str = "postmaster";
const VERSION: &[u8] = b"v=spf1";

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
            assert_eq!(checkable(text).as_deref(), wanted, "{text:?}");
        }
    }
}
