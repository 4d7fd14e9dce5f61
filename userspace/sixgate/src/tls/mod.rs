//! TLS of the sessions that asked for it (RFC 3207): the certificate that is shown, always the one
//! that lies in its file, and the handshake.
//!
//! It owns no setting and no SMTP. Who a client certificate stands for is in `trust`; what that is
//! worth is decided in `sixgate_smtp::policy`.

mod certificate;
mod denied;
mod load;
mod material;
mod trust;

use std::{
    io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};

use jiff::Timestamp;
use rustls::{ProtocolVersion, ServerConfig, ServerConnection, SupportedCipherSuite, pki_types::UnixTime};
use sixgate_base::file_version::{FileVersion, file_version};
use sixgate_smtp::session::Tls;
use tokio::{net::TcpStream, time::Instant};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tracing::{error, info, warn};

use crate::config;

pub use denied::Denied;
pub use material::TlsError;

pub(crate) use denied::Reader;

pub(crate) use load::HandshakeLoad;
pub(crate) use trust::ClientCertificate;

pub(crate) use certificate::ChainCertificate;
pub(crate) use material::inspect_certificate;

use material::Material;
use trust::ProofRecorder;

/// Checks the files that `settings` name, as the daemon does when it starts. Returns the warning
/// about them, if there is one although they can be used.
///
/// # Errors
/// The problem of one of them, or of two together.
pub fn check_tls(settings: &config::Tls) -> Result<Option<String>, TlsError> {
    Material::load(settings).map(|material| material.warning(Timestamp::now()))
}

/// Certificate, key and trusted authorities, kept up to date.
#[derive(Debug)]
pub(crate) struct TlsView {
    settings: config::Tls,
    loaded: Mutex<Loaded>,
}

#[derive(Debug)]
struct Loaded {
    versions: Vec<Option<FileVersion>>,
    material: Arc<Material>,
    /// Whether files of these versions could not be read, perhaps for want of a descriptor: they
    /// are tried again at the next look.
    unread: bool,
    /// Why the files of these versions cannot be used.
    problem: Option<String>,
    /// When our certificate was warned of last, since it was read.
    warned: Option<Instant>,
}

impl Loaded {
    /// The warning about our certificate that is due now: once when it is read or its end comes
    /// near, then once a day.
    fn due_warning(&mut self) -> Option<String> {
        if self.warned.is_some_and(|warned| warned.elapsed() < WARN_AGAIN) {
            return None;
        }
        let warning = self.material.warning(Timestamp::now())?;
        self.warned = Some(Instant::now());
        Some(warning)
    }
}

/// What one handshake needs.
pub(crate) struct Handshake {
    material: Arc<Material>,
    proofs: Arc<ProofRecorder>,
    config: Arc<ServerConfig>,
}

impl Handshake {
    /// Makes `stream` an encrypted one, as a server. The caller bounds the time.
    ///
    /// # Errors
    /// The handshake failed, or the client is gone.
    pub(crate) async fn accept(self, stream: TcpStream) -> io::Result<Secured> {
        let Self { material, proofs, config } = self;
        let stream = TlsAcceptor::from(config).accept(stream).await?;
        let (_, connection) = stream.get_ref();
        let chain = connection.peer_certificates().unwrap_or_default();
        let credential = material.certify(chain, proofs.has_seen_a_proof(), UnixTime::now());
        Ok(Secured { tls: facts(connection), credential, stream })
    }
}

/// A connection that is encrypted now.
pub(crate) struct Secured {
    pub(crate) stream: TlsStream<TcpStream>,
    /// The facts about it for the Received field.
    pub(crate) tls: Tls,
    /// The client's certificate, as far as one was shown.
    pub(crate) credential: ClientCertificate,
}

impl TlsView {
    /// Reads the files for the first time.
    pub(crate) fn open(settings: &config::Tls) -> Result<Self, TlsError> {
        // first the versions: what changes in between is read again
        let versions = versions(settings);
        let material = Arc::new(Material::load(settings)?);
        Ok(Self {
            settings: settings.clone(),
            loaded: Mutex::new(Loaded { versions, material, unread: false, problem: None, warned: None }),
        })
    }

    /// Reads the files again if one of them is another than before: by its name, whether it was
    /// replaced, or a symbolic link on the way to it. What cannot be used leaves in force what was.
    pub(crate) fn refresh(&self) {
        drop(self.current());
    }

    /// When our certificate, as it is now, ends, seconds since 1970.
    pub(crate) fn certificate_end(&self) -> Option<u64> {
        self.current().certificate_end()
    }

    /// The problem of the files as they are now, or of our certificate.
    pub(crate) fn problem(&self) -> Option<String> {
        let material = self.current();
        let loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        loaded.problem.clone().or_else(|| material.warning(Timestamp::now()))
    }

    /// A handshake that can begin.
    ///
    /// # Errors
    /// The certificate cannot be used with any protocol, which loading it would have shown.
    pub(crate) fn handshake(&self) -> Result<Handshake, rustls::Error> {
        let material = self.current();
        let proofs = Arc::new(ProofRecorder::new(&material.provider));
        let config = material.server_config(&proofs)?;
        Ok(Handshake { material, proofs, config })
    }

    fn current(&self) -> Arc<Material> {
        let mut loaded = self.loaded.lock().unwrap_or_else(PoisonError::into_inner);
        let versions = versions(&self.settings);
        if versions != loaded.versions || loaded.unread {
            let said = std::mem::take(&mut loaded.unread) && versions == loaded.versions;
            loaded.versions = versions;
            match Material::load(&self.settings) {
                Ok(material) => {
                    info!("the certificate for TLS has changed");
                    loaded.problem = None;
                    loaded.material = Arc::new(material);
                    loaded.warned = None;
                }
                Err(error) => {
                    loaded.unread = matches!(error, TlsError::Read { .. });
                    let problem = format!(
                        "the new certificate for TLS cannot be used, the last good one stays in force: {:#}",
                        anyhow::Error::new(error)
                    );
                    if !said {
                        error!("{problem}");
                    }
                    loaded.problem = Some(problem);
                }
            }
        }
        if let Some(warning) = loaded.due_warning() {
            warn!("{warning}");
        }
        Arc::clone(&loaded.material)
    }
}

/// The pause between two warnings about one certificate.
const WARN_AGAIN: Duration = Duration::from_secs(24 * 60 * 60);

/// The files' versions now; none for what cannot be looked at.
fn versions(settings: &config::Tls) -> Vec<Option<FileVersion>> {
    files(settings).map(|path| file_version(path).ok().flatten()).collect()
}

fn files(settings: &config::Tls) -> impl Iterator<Item = &Path> {
    let authorities = settings.client_trust.iter().map(|trust| &trust.ca);
    [&settings.certificate, &settings.key].into_iter().chain(authorities).map(PathBuf::as_path)
}

/// Version and cipher suite, in the terms of other mail servers.
fn facts(connection: &ServerConnection) -> Tls {
    let version = match connection.protocol_version() {
        Some(ProtocolVersion::TLSv1_3) => "TLS1.3",
        Some(ProtocolVersion::TLSv1_2) => "TLS1.2",
        // nothing else is ever agreed on
        _ => "unknown",
    };
    let suite = connection.negotiated_cipher_suite().map(|suite: SupportedCipherSuite| suite.suite());
    let suite = suite.and_then(|suite| suite.as_str()).unwrap_or("unknown");
    // the registry of IANA has no version in the names of TLS 1.3
    let cipher = suite.strip_prefix("TLS13_").map_or_else(|| suite.to_owned(), |name| format!("TLS_{name}"));
    Tls { version, cipher }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a client and a server of the tests")]
mod tests;
