//! Facts in a certificate that rustls does not tell: until when and for which names it is valid,
//! and whether it is an authority's.
//!
//! It verifies no signature, and does not decide about trust.

use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use rustls::pki_types::CertificateDer;
use x509_parser::{
    certificate::X509Certificate, extensions::GeneralName, prelude::FromDer as _, x509::X509Version,
};

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

/// Facts in a server's certificate, as far as it can be read.
#[derive(Clone, Debug, Default)]
pub(crate) struct CertificateFacts {
    /// Its DNS names (RFC 5280 4.2.1.6).
    pub(crate) names: Vec<String>,
    /// The end of its validity.
    pub(crate) until: Option<Timestamp>,
    /// The chain that is offered with it, itself first; empty if one of them cannot be read.
    pub(crate) chain: Vec<ChainCertificate>,
}

/// A certificate of a chain, DER.
#[derive(Clone, Debug)]
pub(crate) struct ChainCertificate {
    pub(crate) whole: Vec<u8>,
    /// The SubjectPublicKeyInfo in it (RFC 5280 4.1.2.7).
    pub(crate) public_key: Vec<u8>,
}

impl ChainCertificate {
    fn of(certificate: &CertificateDer<'_>) -> Option<Self> {
        let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
        Some(Self { whole: certificate.to_vec(), public_key: parsed.public_key().raw.to_vec() })
    }
}

impl CertificateFacts {
    /// Those of the first certificate in `chain`.
    pub(super) fn of(chain: &[CertificateDer<'_>]) -> Self {
        let own = chain.first().and_then(|own| X509Certificate::from_der(own).ok());
        let Some((_, parsed)) = own else { return Self::default() };
        let names = parsed.subject_alternative_name().ok().flatten();
        let names = names.into_iter().flat_map(|names| &names.value.general_names);
        let dns_name = |name: &GeneralName<'_>| match name {
            GeneralName::DNSName(name) => Some((*name).to_owned()),
            _ => None,
        };
        Self {
            names: names.filter_map(dns_name).take(NAMES_MAX).collect(),
            until: Timestamp::from_second(parsed.validity().not_after.timestamp()).ok(),
            chain: chain.iter().map(ChainCertificate::of).collect::<Option<_>>().unwrap_or_default(),
        }
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
/// Names of one certificate that are looked at.
const NAMES_MAX: usize = 100;
