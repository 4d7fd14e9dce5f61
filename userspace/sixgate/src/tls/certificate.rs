//! Facts in a certificate that rustls does not tell: until when it is valid, and whether it is an
//! authority's.
//!
//! It verifies no signature, and does not decide about trust.

use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use rustls::pki_types::CertificateDer;
use x509_parser::{certificate::X509Certificate, prelude::FromDer as _, x509::X509Version};

/// The end of our own certificate's validity (RFC 5280 4.1.2.5).
#[derive(Debug)]
pub(super) struct Expiry {
    path: PathBuf,
    until: Timestamp,
}

impl Expiry {
    /// That of `certificate`, which lies in the file `path`; none if it cannot be read from it.
    pub(super) fn of(certificate: &CertificateDer<'_>, path: &Path) -> Option<Self> {
        let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
        let until = Timestamp::from_second(parsed.validity().not_after.timestamp()).ok()?;
        Some(Self { path: path.to_owned(), until })
    }

    /// In seconds since 1970.
    pub(super) fn seconds(&self) -> Option<u64> {
        self.until.as_second().try_into().ok()
    }

    /// The warning about it at the time `now`: that it has expired, or expires soon.
    pub(super) fn warning(&self, now: Timestamp) -> Option<String> {
        let left = self.until.duration_since(now);
        let event = match left {
            _ if left.is_negative() => "expired at",
            _ if left <= SOON => "expires at",
            _ => return None,
        };
        Some(format!("our certificate {} {event} {}: renew it", self.path.display(), self.until))
    }
}

/// Why `certificate` cannot be an authority's: its subject, as written in it; none if it can.
///
/// It has to state that it may issue others (RFC 5280 4.2.1.9). Old roots of version 1 cannot state
/// that, and one that issued itself vouches for its own holder only.
pub(super) fn subject_of_no_authority(certificate: &CertificateDer<'_>) -> Option<String> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let constraints = parsed.basic_constraints().ok().flatten();
    let may_issue = constraints.is_some_and(|constraints| constraints.value.ca);
    let cannot_say = parsed.version() != X509Version::V3;
    let issued_itself = parsed.subject().as_raw() == parsed.issuer().as_raw();
    (!may_issue && !cannot_say && !issued_itself).then(|| parsed.subject().to_string())
}

/// How long before its end a certificate is warned of: automatic renewal has happened long before.
const SOON: SignedDuration = SignedDuration::from_hours(7 * 24);
