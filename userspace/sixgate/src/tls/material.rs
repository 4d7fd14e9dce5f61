//! What TLS needs from files: certificate chain, private key, trusted authorities.
//!
//! It reads them and checks that they fit together. It does not notice when they change.

use std::{
    io,
    path::{Path, PathBuf},
    sync::Arc,
};

use jiff::Timestamp;
use rustls::{
    InconsistentKeys, RootCertStore, ServerConfig,
    crypto::{CryptoProvider, ring},
    pki_types::{
        CertificateDer, PrivateKeyDer, UnixTime,
        pem::{self, PemObject},
    },
    server::{NoServerSessionStorage, ParsedCertificate, VerifierBuilderError},
    sign::{CertifiedKey, SigningKey, SingleCertAndKey},
    version::{TLS12, TLS13},
};

use super::certificate::{CertificateFacts, Expiry, subject_of_no_authority};
use super::denied::{Denied, Reader};
use super::trust::{Authority, CertificateProblem, ClientCertificate, ProofRecorder};
use sixgate_base::bounded;

use crate::config;

/// Why a file of `[tls]` cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// It cannot be read.
    #[error("cannot read {}", path.display())]
    Read {
        /// The path of the file.
        path: PathBuf,
        /// The error of the read.
        #[source]
        source: io::Error,
    },
    /// The user of this process may not read it.
    #[error("cannot read {}: {denied}: `{}`", path.display(), denied.cure())]
    Denied {
        /// The path of the file.
        path: PathBuf,
        /// Why, and the command that helps.
        denied: Denied,
    },
    /// It is not PEM.
    #[error("{} is not a PEM file of the kind that is wanted", path.display())]
    Pem {
        /// The path of the file.
        path: PathBuf,
        /// The error of the PEM parser.
        #[source]
        source: pem::Error,
    },
    /// It is PEM, and has no certificate in it.
    #[error("{} has no certificate in it", path.display())]
    Empty {
        /// The path of the file.
        path: PathBuf,
    },
    /// It is a private key that only a passphrase opens.
    #[error("the key {} is encrypted; sixgate cannot ask for a passphrase: use an unencrypted key", path.display())]
    Encrypted {
        /// The path of the key's file.
        path: PathBuf,
    },
    /// It is a private key that cannot sign here.
    #[error(
        "the key {} is broken or of a kind that is not supported: RSA of 2048 to 4096 bits, ECDSA with P-256 or P-384, and Ed25519 are",
        path.display()
    )]
    Key {
        /// The path of the key's file.
        path: PathBuf,
    },
    /// The certificates are not in the order of RFC 8446 4.4.2.
    #[error(
        "the certificate of the key {} is number {position} in {}: put it first, then the intermediate certificates",
        key.display(), certificate.display()
    )]
    Order {
        /// The certificates' file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// Where ours stands, counted from 1.
        position: usize,
    },
    /// A certificate in it is not an authority's.
    #[error(
        "certificate {position} in {} (\"{}\") is not a CA certificate: use that of the CA that issued it",
        path.display(), subject.escape_debug()
    )]
    NoAuthority {
        /// The path of the file.
        path: PathBuf,
        /// Where it stands, counted from 1.
        position: usize,
        /// The subject, as written in the certificate.
        subject: String,
    },
    /// A certificate in it cannot be an authority.
    #[error("{} has a certificate in it that cannot be used", path.display())]
    Authority {
        /// The path of the file.
        path: PathBuf,
        /// The error of rustls.
        #[source]
        source: rustls::Error,
    },
    /// The authorities in it cannot be used.
    #[error("{} has no authority in it that can be used", path.display())]
    Authorities {
        /// The path of the file.
        path: PathBuf,
        /// The error of rustls.
        #[source]
        source: VerifierBuilderError,
    },
    /// The certificate is not the key's, or one of them is of a kind that no client can use.
    #[error("the certificate {} and the key {} do not go together", certificate.display(), key.display())]
    Pair {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// The error of rustls.
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
    expiry: Option<Expiry>,
}

impl Material {
    /// Reads all files.
    pub(super) fn load(settings: &config::Tls) -> Result<Self, TlsError> {
        let provider = Arc::new(ring::default_provider());
        let (certificate, key) = (&settings.certificate, &settings.key);
        let chain = certificates(certificate)?;
        let expiry = chain.first().and_then(|own| Expiry::of(own, certificate));
        let pair = CertifiedKey::new(chain, signing_key(key, &provider)?);
        match pair.keys_match() {
            // a key that does not tell its public part is shown by the handshake
            Ok(()) | Err(rustls::Error::InconsistentKeys(InconsistentKeys::Unknown)) => {}
            Err(source) => {
                let (certificate, key) = (certificate.clone(), key.clone());
                return Err(match position_of_own(&pair) {
                    Some(position) => TlsError::Order { certificate, key, position },
                    None => TlsError::Pair { certificate, key, source },
                });
            }
        }
        let trusted = settings.client_trust.iter().map(|trust| authority(trust, &provider));
        let authorities = trusted.collect::<Result<_, _>>()?;
        Ok(Self { shown: Arc::new(SingleCertAndKey::from(pair)), authorities, expiry, provider })
    }

    /// The warning about our own certificate at the time `now`, although it can be used.
    pub(super) fn warning(&self, now: Timestamp) -> Option<String> {
        self.expiry.as_ref().and_then(|expiry| expiry.warning(now))
    }

    /// When our own certificate ends, seconds since 1970, if it can be read from it.
    pub(super) fn certificate_end(&self) -> Option<u64> {
        self.expiry.as_ref().and_then(Expiry::seconds)
    }

    /// The settings of one handshake. Where clients may prove themselves, `proofs` records it.
    /// Sessions are never resumed: each one proves itself anew, and none of their secrets is kept.
    pub(super) fn server_config(
        &self,
        proofs: &Arc<ProofRecorder>,
    ) -> Result<Arc<ServerConfig>, rustls::Error> {
        let builder = ServerConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_protocol_versions(&[&TLS13, &TLS12])?;
        let builder = if self.authorities.is_empty() {
            builder.with_no_client_auth()
        } else {
            builder.with_client_cert_verifier(Arc::clone(proofs) as _)
        };
        let mut config = builder.with_cert_resolver(Arc::clone(&self.shown) as _);
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
        Ok(Arc::new(config))
    }

    /// The verdict on a client that has shown `chain`; `proof`: whether it holds the key of the
    /// first certificate.
    pub(super) fn certify(
        &self,
        chain: &[CertificateDer<'_>],
        proof: bool,
        now: UnixTime,
    ) -> ClientCertificate {
        let Some((own, others)) = chain.split_first() else {
            return ClientCertificate::Absent;
        };
        if !proof {
            // no client can hold the key of octets that are not a certificate
            let is_readable = ParsedCertificate::try_from(own).is_ok();
            return ClientCertificate::Flawed(if is_readable {
                CertificateProblem::KeyNotHeld
            } else {
                CertificateProblem::Unreadable
            });
        }
        let mut nearest = CertificateProblem::Unreadable;
        for authority in &self.authorities {
            match authority.certify(own, others, now) {
                Ok(trusted_by) => return ClientCertificate::Trusted(trusted_by),
                Err(flaw) => nearest = nearest.max(flaw),
            }
        }
        ClientCertificate::Flawed(nearest)
    }
}

fn signing_key(path: &Path, provider: &CryptoProvider) -> Result<Arc<dyn SigningKey>, TlsError> {
    let octets = read(path)?;
    let key = PrivateKeyDer::from_pem_slice(&octets).map_err(|source| match is_encrypted(&octets) {
        true => TlsError::Encrypted { path: path.to_owned() },
        false => TlsError::Pem { path: path.to_owned(), source },
    })?;
    // the library's error is about all its formats at once
    provider.key_provider.load_private_key(key).map_err(|_| TlsError::Key { path: path.to_owned() })
}

/// Whether a key that cannot be read is so since it is encrypted: PKCS #8 (RFC 7468 11), or the
/// older form of RFC 1421 4.6.1.1.
fn is_encrypted(pem: &[u8]) -> bool {
    let marks = [&b"-----BEGIN ENCRYPTED PRIVATE KEY-----"[..], b"Proc-Type: 4,ENCRYPTED"];
    pem.split(|octet| *octet == b'\n').any(|line| marks.contains(&line.trim_ascii()))
}

/// Where in the chain the certificate of its key stands, counted from 1.
fn position_of_own(pair: &CertifiedKey) -> Option<usize> {
    let public = pair.key.public_key()?;
    let is_own = |certificate: &CertificateDer<'_>| {
        ParsedCertificate::try_from(certificate)
            .is_ok_and(|parsed| parsed.subject_public_key_info() == public)
    };
    pair.cert.iter().position(is_own).map(|before| before + 1)
}

fn authority(trust: &config::ClientTrust, provider: &Arc<CryptoProvider>) -> Result<Authority, TlsError> {
    let mut roots = RootCertStore::empty();
    for (before, certificate) in certificates(&trust.ca)?.into_iter().enumerate() {
        if let Some(subject) = subject_of_no_authority(&certificate) {
            return Err(TlsError::NoAuthority { path: trust.ca.clone(), position: before + 1, subject });
        }
        roots.add(certificate).map_err(|source| TlsError::Authority { path: trust.ca.clone(), source })?;
    }
    Authority::new(trust, roots, provider)
        .map_err(|source| TlsError::Authorities { path: trust.ca.clone(), source })
}

/// Facts in our own certificate, whether or not it goes with its key.
///
/// # Errors
/// The file cannot be read, or has no certificate in it.
pub(crate) fn inspect_certificate(settings: &config::Tls) -> Result<CertificateFacts, TlsError> {
    Ok(CertificateFacts::of(&certificates(&settings.certificate)?))
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
    let read = bounded::open(path).and_then(|file| bounded::read_to_end(file, FILE_MAX));
    read.map_err(|source| match source.kind() {
        io::ErrorKind::PermissionDenied => {
            TlsError::Denied { path: path.to_owned(), denied: Reader::of_this_process().denied(path) }
        }
        _ => TlsError::Read { path: path.to_owned(), source },
    })
}

/// Longest file, octets: the authorities of a whole system take a quarter of a MiB.
const FILE_MAX: u64 = 4 << 20;
