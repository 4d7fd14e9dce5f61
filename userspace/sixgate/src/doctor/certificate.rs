//! The certificate for STARTTLS: whether it can be used, until when, and for which names.
//!
//! What its names have to be follows from DNS, in `names`.

use jiff::Timestamp;

use super::report::CheckReport;
use crate::{
    config::Config,
    tls::{ChainCertificate, check_tls, inspect_certificate},
};

/// The DNS names of a certificate, perhaps with a `*` as the first label.
#[derive(Clone, Debug, Default)]
pub(super) struct CertificateNames(Vec<String>);

impl CertificateNames {
    /// Whether a client that connects to `host` accepts it (RFC 6125 6.4.3).
    pub(super) fn covers(&self, host: &str) -> bool {
        let parent = host.split_once('.').map(|(_, parent)| parent);
        self.0.iter().any(|name| {
            name.eq_ignore_ascii_case(host)
                || name
                    .strip_prefix("*.")
                    .zip(parent)
                    .is_some_and(|(own, parent)| own.eq_ignore_ascii_case(parent))
        })
    }
}

/// The certificate that is offered by STARTTLS; empty if it cannot be used.
#[derive(Clone, Debug, Default)]
pub(super) struct Offered {
    pub(super) names: CertificateNames,
    /// Itself, then the authorities' that are offered with it.
    pub(super) chain: Vec<ChainCertificate>,
}

/// The certificate of `config`; none without STARTTLS.
pub(super) fn check(config: &Config) -> (CheckReport, Option<Offered>) {
    let id = "tls.certificate";
    let Some(settings) = &config.tls else {
        return (CheckReport::ok(id, "STARTTLS is not offered"), None);
    };
    let path = settings.certificate.display();
    let facts = check_tls(settings).and_then(|warning| Ok((warning, inspect_certificate(settings)?)));
    let (warning, facts) = match facts {
        Ok(found) => found,
        Err(error) => {
            let report = CheckReport::error(
                id,
                format!("{:#}", anyhow::Error::new(error)),
                "correct [tls], then: sixgate config check",
            );
            return (report.about(path), Some(Offered::default()));
        }
    };
    let names = CertificateNames(facts.names);
    let hostname = config.hostname.as_str();
    let is_expired = facts.until.is_some_and(|until| until < Timestamp::now());
    let report = match warning {
        Some(warning) if is_expired => CheckReport::error(id, warning, RENEW),
        Some(warning) => CheckReport::warning(id, warning, RENEW),
        None if !names.covers(hostname) => CheckReport::warning(
            id,
            format!("it does not have the name {hostname}, by which sixgate greets"),
            format!("have a certificate issued for {hostname}"),
        ),
        None => {
            let until = facts.until.map(|until| format!(" until {until}")).unwrap_or_default();
            CheckReport::ok(id, format!("valid{until}, for {}", names.0.join(", ")))
        }
    };
    (report.about(path), Some(Offered { names, chain: facts.chain }))
}

const RENEW: &str = "certbot renew";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wildcard_covers_one_label() {
        let names = CertificateNames(vec!["*.example.com".to_owned(), "mx.example.net".to_owned()]);
        for (host, covered) in [
            ("mx.example.com", true),
            ("MX.Example.Net", true),
            ("a.mx.example.com", false),
            ("example.com", false),
            ("localhost", false),
        ] {
            assert_eq!(names.covers(host), covered, "{host}");
        }
    }
}
