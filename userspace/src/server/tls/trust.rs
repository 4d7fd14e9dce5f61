//! Who a client is, by its certificate.
//!
//! It checks proofs and chains; it never ends a handshake: whoever shows a certificate that is good for nothing, or that
//! nobody can read, is a sender like any other.

use std::sync::{
    Arc,
    atomic::{AtomicBool, Ordering},
};

use rustls::client::danger::HandshakeSignatureValid;
use rustls::{
    DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme,
    client::{WebPkiServerVerifier, danger::ServerCertVerifier, verify_server_name},
    crypto::{CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
    server::{
        ParsedCertificate, VerifierBuilderError, WebPkiClientVerifier,
        danger::{ClientCertVerified, ClientCertVerifier},
    },
};

use crate::config;

/// An authority, and whom of those that it vouches for we trust.
#[derive(Debug)]
pub(super) struct Authority {
    /// What the log calls it.
    title: String,
    /// None: everybody.
    names: Option<Vec<ServerName<'static>>>,
    as_client: Arc<dyn ClientCertVerifier>,
    as_server: Arc<WebPkiServerVerifier>,
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
            as_server: WebPkiServerVerifier::builder_with_provider(roots, Arc::clone(provider)).build()?,
        })
    }

    /// By what the holder of the certificate `own` is trusted. Without a list of names the certificate must be meant for
    /// clients. With one it may also be a server's: the name says exactly who it is, and public authorities issue no
    /// others any more.
    pub(super) fn certify(
        &self,
        own: &CertificateDer<'_>,
        others: &[CertificateDer<'_>],
        now: UnixTime,
    ) -> Option<String> {
        let is_client = || self.as_client.verify_client_cert(own, others, now).is_ok();
        let Some(names) = &self.names else {
            return is_client().then(|| self.title.clone());
        };
        let parsed = ParsedCertificate::try_from(own).ok()?;
        let name = names.iter().find(|name| verify_server_name(&parsed, name).is_ok())?;
        let is_server = || self.as_server.verify_server_cert(own, others, name, &[], now).is_ok();
        (is_client() || is_server()).then(|| name.to_str().into_owned())
    }
}

/// The settings hold good names only.
fn server_name(name: &config::CertificateName) -> Option<ServerName<'static>> {
    ServerName::try_from(name.as_str().to_owned()).ok()
}

/// Watches one handshake for the proof that the client holds the key of the certificate that it shows. Chains are looked
/// at afterwards.
#[derive(Debug)]
pub(super) struct Witness {
    algorithms: WebPkiSupportedAlgorithms,
    proof: AtomicBool,
}

impl Witness {
    pub(super) fn new(provider: &CryptoProvider) -> Self {
        Self { algorithms: provider.signature_verification_algorithms, proof: AtomicBool::new(false) }
    }

    /// Whether the client holds the key.
    pub(super) fn has_seen_a_proof(&self) -> bool {
        self.proof.load(Ordering::Acquire)
    }

    /// A signature that is no proof is as good as no certificate: nothing else in the handshake rests on it.
    fn note(
        &self,
        checked: Result<HandshakeSignatureValid, Error>,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.proof.store(checked.is_ok(), Ordering::Release);
        Ok(HandshakeSignatureValid::assertion())
    }
}

impl ClientCertVerifier for Witness {
    fn client_auth_mandatory(&self) -> bool {
        false
    }

    /// No hints: a client shows what it has, and a stranger does not learn whom we trust.
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
