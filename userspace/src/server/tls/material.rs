//! What TLS needs from files: certificate chain, private key, trusted authorities.
//!
//! It reads them and checks that they fit together. It does not notice when they change.

use std::{
    fs::File,
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use rustls::{
    RootCertStore, ServerConfig,
    crypto::{CryptoProvider, ring},
    pki_types::{
        CertificateDer, PrivateKeyDer, UnixTime,
        pem::{self, PemObject},
    },
    server::{NoServerSessionStorage, ParsedCertificate, VerifierBuilderError},
    sign::{CertifiedKey, SingleCertAndKey},
    version::{TLS12, TLS13},
};

use super::trust::{Authority, Credential, Flaw, Witness};
use crate::{bounded, config};

/// What is wrong with a file of `[tls]`.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// It cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// It is not PEM.
    #[error("{} is not a PEM file of the kind that is wanted", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: pem::Error,
    },
    /// It is PEM, and has no certificate in it.
    #[error("{} has no certificate in it", path.display())]
    Empty {
        /// The file.
        path: PathBuf,
    },
    /// A certificate in it cannot be an authority.
    #[error("{} has a certificate in it that cannot be used", path.display())]
    Authority {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: rustls::Error,
    },
    /// The authorities in it cannot be used.
    #[error("{} has no authority in it that can be used", path.display())]
    Authorities {
        /// The file.
        path: PathBuf,
        /// Why.
        #[source]
        source: VerifierBuilderError,
    },
    /// The certificate is not the key's, or one of them is of a kind that nobody can use.
    #[error("the certificate {} and the key {} do not go together", certificate.display(), key.display())]
    Pair {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// Why.
        #[source]
        source: rustls::Error,
    },
}

/// Certificate, key and trusted authorities as they were in their files at one time.
#[derive(Debug)]
pub(super) struct Material {
    pub(super) provider: Arc<CryptoProvider>,
    shown: Arc<SingleCertAndKey>,
    authorities: Vec<Authority>,
}

impl Material {
    /// Reads all files.
    pub(super) fn load(settings: &config::Tls) -> Result<Self, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let (certificate, key) = (&settings.certificate, &settings.key);
        let chain = certificates(certificate)?;
        let octets = read(key)?;
        let private = PrivateKeyDer::from_pem_slice(&octets)
            .map_err(|source| TlsError::Pem { path: key.clone(), source })?;
        let pair = CertifiedKey::from_der(chain, private, &provider);
        let pair = pair.map_err(|source| TlsError::Pair {
            certificate: certificate.clone(),
            key: key.clone(),
            source,
        })?;
        let trusted = settings.client_trust.iter().map(|trust| authority(trust, &provider));
        let authorities = trusted.collect::<Result<_, _>>()?;
        Ok(Self { shown: Arc::new(SingleCertAndKey::from(pair)), authorities, provider })
    }

    /// The settings of one handshake. Where clients may prove themselves, `witness` hears of it.
    /// Sessions are never resumed: each one proves itself anew, and none of their secrets is kept.
    pub(super) fn server_config(&self, witness: &Arc<Witness>) -> Result<Arc<ServerConfig>, rustls::Error> {
        let builder = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&TLS13, &TLS12])?;
        let builder = if self.authorities.is_empty() {
            builder.with_no_client_auth()
        } else {
            builder.with_client_cert_verifier(Arc::clone(witness) as _)
        };
        let mut config = builder.with_cert_resolver(Arc::clone(&self.shown) as _);
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Arc::new(config))
    }

    /// What a client is worth that has shown `chain`; `proof`: whether it holds the key of the first certificate.
    pub(super) fn certify(&self, chain: &[CertificateDer<'_>], proof: bool, now: UnixTime) -> Credential {
        let Some((own, others)) = chain.split_first() else {
            return Credential::Absent;
        };
        if !proof {
            // nobody can hold the key of what is no certificate
            let is_readable = ParsedCertificate::try_from(own).is_ok();
            return Credential::Flawed(if is_readable { Flaw::KeyNotHeld } else { Flaw::Unreadable });
        }
        let mut nearest = Flaw::Unreadable;
        for authority in &self.authorities {
            match authority.certify(own, others, now) {
                Ok(trusted_by) => return Credential::Trusted(trusted_by),
                Err(flaw) => nearest = nearest.max(flaw),
            }
        }
        Credential::Flawed(nearest)
    }
}

fn authority(trust: &config::ClientTrust, provider: &Arc<CryptoProvider>) -> Result<Authority, TlsError> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(&trust.ca)? {
        roots.add(certificate).map_err(|source| TlsError::Authority { path: trust.ca.clone(), source })?;
    }
    Authority::new(trust, roots, provider)
        .map_err(|source| TlsError::Authorities { path: trust.ca.clone(), source })
}

/// All certificates of a file, at least one.
fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let octets = read(path)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&octets).collect();
    let certificates = certificates.map_err(|source| TlsError::Pem { path: path.to_owned(), source })?;
    if certificates.is_empty() {
        return Err(TlsError::Empty { path: path.to_owned() });
    }
    Ok(certificates)
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    let read = File::open(path).and_then(|file| bounded::read_to_end(file, FILE_MAX));
    read.map_err(|source| TlsError::Read { path: path.to_owned(), source })
}

/// Longest file, octets: the authorities of a whole system take a quarter of a MiB.
const FILE_MAX: u64 = 4 << 20;
