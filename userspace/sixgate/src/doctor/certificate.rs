//! The certificate for STARTTLS: whether it can be used, until when, and for which names.
//!
//! What its names have to be follows from DNS, in `names`.

use std::{
    fs,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use jiff::Timestamp;
use nix::unistd::{Uid, User, geteuid};

use super::report::CheckReport;
use crate::{
    config::{self, Config},
    store::Store,
    tls::{ChainCertificate, Denied, Reader, TlsError, check_tls, inspect_certificate},
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
        Err(TlsError::Denied { path, denied }) => {
            return (unreadable(id, &path, &denied), Some(Offered::default()));
        }
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
    if let Some((path, denied)) = denied_to_daemon(config, settings) {
        return (unreadable(id, &path, &denied), Some(Offered { names, chain: facts.chain }));
    }
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

fn unreadable(id: &'static str, path: &Path, denied: &Denied) -> CheckReport {
    CheckReport::error(id, format!("the daemon cannot read it: {denied}"), denied.cure())
        .about(path.display())
}

/// The first file that the daemon's user, who owns the store, may not read. Only root can find that
/// out for another user.
fn denied_to_daemon(config: &Config, settings: &config::Tls) -> Option<(PathBuf, Denied)> {
    let store = fs::metadata(Store::new(&config.store).path()).ok()?;
    let (uid, gid) = (store.uid(), store.gid());
    if !geteuid().is_root() || uid == 0 {
        return None;
    }
    let is_known = User::from_uid(Uid::from_raw(uid)).is_ok_and(|user| user.is_some());
    let groups = if is_known { "--init-groups" } else { "--clear-groups" };
    let authorities = settings.client_trust.iter().map(|trust| &trust.ca);
    let path = [&settings.certificate, &settings.key].into_iter().chain(authorities).find(|path| {
        let mut command = Command::new("setpriv");
        command.args(["--reuid", &uid.to_string(), "--regid", &gid.to_string(), groups]);
        let tested =
            command.args(["test", "-r"]).arg(path).stdin(Stdio::null()).stderr(Stdio::null()).status();
        tested.is_ok_and(|status| status.code() == Some(NOT_READABLE))
    })?;
    Some((path.clone(), Reader::with_id(uid, gid).denied(path)))
}

/// The exit code of test(1) for "no".
const NOT_READABLE: i32 = 1;
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
