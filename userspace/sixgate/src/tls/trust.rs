//! Who a client is, by its certificate.
//!
//! It checks proofs and chains; it never ends a handshake: a client that shows a certificate that
//! is good for nothing, or that cannot be read, is a sender like any other.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use rustls::client::danger::HandshakeSignatureValid;
use rustls::{
    CertificateError, DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme,
    client::{verify_server_cert_signed_by_trust_anchor, verify_server_name},
    crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::{
        ParsedCertificate, VerifierBuilderError, WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};

use crate::config;

/// The certificate that a client has shown, judged.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum ClientCertificate {
    /// No certificate: it has none, or was not asked for one.
    Absent,
    /// A certificate that is not trusted.
    Flawed(CertificateProblem),
    /// A certificate that is trusted: by this authority's file, or as this name.
    Trusted(String),
}

/// Why a certificate is not trusted. Where several authorities differ about it, the greatest
/// counts: the one that came nearest to trust.
#[derive(Clone, Copy, Debug, Eq, Ord, PartialEq, PartialOrd)]
pub(crate) enum CertificateProblem {
    /// It is not a certificate.
    Unreadable,
    /// The client does not hold its key.
    KeyNotHeld,
    /// No authority vouches for it: another one has issued it, or a certificate in between is
    /// missing.
    UnknownAuthority,
    /// Something else that the authority or we do not allow, such as a key that is too weak.
    Unusable,
    /// Its time has not come.
    NotYetValid,
    /// Its time is over.
    Expired,
    /// It is meant for something else.
    WrongUsage,
    /// It is good, for a name that is not listed.
    NameNotListed,
}

impl CertificateProblem {
    /// For the log.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Unreadable => "unreadable",
            Self::KeyNotHeld => "key_not_held",
            Self::UnknownAuthority => "unknown_authority",
            Self::Unusable => "unusable",
            Self::NotYetValid => "not_yet_valid",
            Self::Expired => "expired",
            Self::WrongUsage => "wrong_usage",
            Self::NameNotListed => "name_not_listed",
        }
    }

    fn of(error: &Error) -> Self {
        let Error::InvalidCertificate(error) = error else {
            return Self::Unusable;
        };
        match error {
            CertificateError::BadEncoding => Self::Unreadable,
            // a signature that is bad is another authority's of the same name
            CertificateError::UnknownIssuer | CertificateError::BadSignature => Self::UnknownAuthority,
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => Self::NotYetValid,
            CertificateError::Expired | CertificateError::ExpiredContext { .. } => Self::Expired,
            CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
                Self::WrongUsage
            }
            _ => Self::Unusable,
        }
    }
}

/// The usage that a certificate is meant for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Usage {
    Client,
    Server,
}

/// An authority, and whom of those that it vouches for we trust.
#[derive(Debug)]
pub(super) struct Authority {
    /// Its name in the log.
    title: String,
    /// None: every holder of a certificate that it vouches for is trusted.
    names: Option<Vec<ServerName<'static>>>,
    roots: Arc<RootCertStore>,
    algorithms: WebPkiSupportedAlgorithms,
    as_client: Arc<dyn ClientCertVerifier>,
}

impl Authority {
    pub(super) fn new(
        trust: &config::ClientTrust,
        roots: RootCertStore,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, VerifierBuilderError> {
        let roots = Arc::new(roots);
        let names = trust.names.as_ref().map(|names| names.iter().filter_map(server_name).collect());
        Ok(Self {
            title: trust.ca.display().to_string(),
            names,
            as_client: WebPkiClientVerifier::builder_with_provider(Arc::clone(&roots), Arc::clone(provider))
                .build()?,
            algorithms: provider.signature_verification_algorithms,
            roots,
        })
    }

    /// By what the holder of the certificate `own` is trusted. Without a list of names the
    /// certificate must be meant for clients. With one it may also be a server's: the name tells
    /// exactly who it is, and public authorities issue no others any more.
    ///
    /// # Errors
    /// The reason why it is not.
    pub(super) fn certify(
        &self,
        own: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<String, CertificateProblem> {
        let parsed = ParsedCertificate::try_from(own).map_err(|_| CertificateProblem::Unreadable)?;
        match (self.usage(&parsed, own, others, now)?, &self.names) {
            (Usage::Client, None) => Ok(self.title.clone()),
            (Usage::Server, None) => Err(CertificateProblem::WrongUsage),
            (_, Some(names)) => {
                let name = names.iter().find(|name| verify_server_name(&parsed, name).is_ok());
                name.map(|name| name.to_str().into_owned()).ok_or(CertificateProblem::NameNotListed)
            }
        }
    }

    /// The usage that the authority vouches for. rustls looks at the usage before the chain, so
    /// that the issuer of a server's certificate is found only by verifying it as a server's.
    fn usage(
        &self,
        parsed: &ParsedCertificate<'_>,
        own: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Result<Usage, CertificateProblem> {
        match self
            .as_client
            .verify_client_cert(own, others, now)
            .map_err(|error| CertificateProblem::of(&error))
        {
            Ok(_) => Ok(Usage::Client),
            Err(CertificateProblem::WrongUsage) => {
                let algorithms = self.algorithms.all;
                verify_server_cert_signed_by_trust_anchor(parsed, &self.roots, others, now, algorithms)
                    .map(|()| Usage::Server)
                    .map_err(|error| CertificateProblem::of(&error))
            }
            Err(flaw) => Err(flaw),
        }
    }
}

/// The settings hold good names only.
fn server_name(name: &config::CertificateName) -> Option<ServerName<'static>> {
    ServerName::try_from(name.as_str().to_owned()).ok()
}

/// Watches one handshake for the proof that the client holds the key of the certificate that it
/// shows. Chains are looked at afterwards.
#[derive(Debug)]
pub(super) struct ProofRecorder {
    algorithms: WebPkiSupportedAlgorithms,
    proof: AtomicBool,
}

impl ProofRecorder {
    pub(super) fn new(provider: &CryptoProvider) -> Self {
        Self { algorithms: provider.signature_verification_algorithms, proof: AtomicBool::new(false) }
    }

    /// Whether the client holds the key.
    pub(super) fn has_seen_a_proof(&self) -> bool {
        self.proof.load(Ordering::Acquire)
    }

    /// A signature that does not prove the key is as good as no certificate: nothing else in the
    /// handshake rests on it.
    fn note(
        &self,
        checked: Result<HandshakeSignatureValid, Error>,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.proof.store(checked.is_ok(), Ordering::Release);
        Ok(HandshakeSignatureValid::assertion())
    }
}

impl ClientCertVerifier for ProofRecorder {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    /// No hints: a client shows what it has, and an untrusted one does not learn whom we trust.
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.note(verify_tls12_signature(message, certificate, signature, &self.algorithms))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.note(verify_tls13_signature(message, certificate, signature, &self.algorithms))
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
