//! Certificates for tests: authorities that live as long as a test, and what they issue.
//!
//! It shows and checks none: servers and clients do.

use std::{
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    sync::Arc,
    time::Duration,
};

use anyhow::{Context as _, Result, bail};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    date_time_ymd,
};
use rustls::{
    ClientConfig, RootCertStore, SignatureScheme,
    client::ResolvesClientCert,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    sign::CertifiedKey,
};

/// An authority of its own.
#[derive(Debug)]
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

/// A certificate and its key, PEM.
#[derive(Clone, Debug)]
pub struct Pair {
    /// The certificate, in PEM.
    pub certificate: String,
    /// Its private key.
    pub key: String,
}

impl Authority {
    /// An authority that calls itself `name`.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no name is a good list of names");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("keys can be made");
        let pem = params.self_signed(&key).expect("an authority can sign for itself").pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    /// Its own certificate, PEM.
    #[must_use]
    pub fn pem(&self) -> &str {
        &self.pem
    }

    /// Its TLSA record, as text.
    ///
    /// # Errors
    /// If a parameter has no meaning.
    pub fn tlsa(&self, usage: u8, selector: u8, matching: u8) -> Result<String> {
        tlsa(&self.pem, usage, selector, matching)
    }

    /// A certificate for the DNS name `name`.
    #[must_use]
    pub fn issue(&self, name: &str) -> Pair {
        self.sign(CertificateParams::new(vec![name.to_owned()]).expect("a DNS name"))
    }

    /// The same, valid from one time to another, in seconds since 1970.
    ///
    /// # Panics
    /// If one of them is before 1970.
    #[must_use]
    pub fn issue_for(&self, name: &str, from: i64, until: i64) -> Pair {
        let time = |seconds: i64| {
            date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds.try_into().expect("later than 1970"))
        };
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a DNS name");
        (params.not_before, params.not_after) = (time(from), time(until));
        self.sign(params)
    }

    /// The same, meant for `usage` and nothing else.
    #[must_use]
    pub fn issue_meant_for(&self, name: &str, usage: ExtendedKeyUsagePurpose) -> Pair {
        let mut params = CertificateParams::new(vec![name.to_owned()]).expect("a DNS name");
        params.extended_key_usages = vec![usage];
        self.sign(params)
    }

    fn sign(&self, params: CertificateParams) -> Pair {
        let key = KeyPair::generate().expect("keys can be made");
        let certificate = params.signed_by(&key, &self.issuer).expect("an authority can sign").pem();
        Pair { certificate, key: key.serialize_pem() }
    }

    /// The TLS configuration of a client that accepts servers of this authority only, and presents
    /// `shown` on request, with or without a valid certificate and key.
    ///
    /// # Errors
    /// If `shown` is not PEM.
    pub fn client(&self, shown: Option<&Pair>) -> Result<Arc<ClientConfig>> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.pem.as_bytes())?)?;
        let provider = ring::default_provider();
        let shown = match shown {
            None => None,
            Some(pair) => {
                let certificate = CertificateDer::from_pem_slice(pair.certificate.as_bytes())?;
                let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes())?;
                let key = provider.key_provider.load_private_key(key)?;
                Some(Arc::new(CertifiedKey::new(vec![certificate], key)))
            }
        };
        let config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_client_cert_resolver(Arc::new(Shown(shown)));
        Ok(Arc::new(config))
    }
}

/// The certificate that a client presents, for any request of the server.
#[derive(Debug)]
struct Shown(Option<Arc<CertifiedKey>>);

impl ResolvesClientCert for Shown {
    fn resolve(&self, _: &[&[u8]], _: &[SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.clone()
    }

    fn has_certs(&self) -> bool {
        self.0.is_some()
    }
}

/// The TLSA record (RFC 6698 2.2) of a certificate, as openssl(1) takes it apart.
fn tlsa(pem: &str, usage: u8, selector: u8, matching: u8) -> Result<String> {
    let select = match selector {
        0 => "openssl x509 -outform DER",
        1 => "openssl x509 -noout -pubkey | openssl pkey -pubin -outform DER",
        _ => bail!("no selector {selector}"),
    };
    let data = match matching {
        0 => "od -A n -v -t x1 | tr -d ' \\n'",
        1 => "sha256sum | cut -d ' ' -f 1",
        2 => "sha512sum | cut -d ' ' -f 1",
        _ => bail!("no matching type {matching}"),
    };
    let mut shell = Command::new("sh")
        .args(["-c", &format!("{select} | {data}")])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot run openssl")?;
    shell.stdin.take().context("it has a pipe")?.write_all(pem.as_bytes())?;
    let output = shell.wait_with_output()?;
    Ok(format!("{usage} {selector} {matching} {}", String::from_utf8(output.stdout)?.trim()))
}

impl Pair {
    /// Its TLSA record, as text.
    ///
    /// # Errors
    /// If a parameter has no meaning.
    pub fn tlsa(&self, usage: u8, selector: u8, matching: u8) -> Result<String> {
        tlsa(&self.certificate, usage, selector, matching)
    }

    /// The same, whose certificate is followed by that of `authority`.
    #[must_use]
    pub fn with_authority(&self, authority: &Authority) -> Self {
        Self { certificate: format!("{}{}", self.certificate, authority.pem), key: self.key.clone() }
    }

    /// Leaves both as `certificate.pem` and `key.pem` in `folder`, one renamed after the other, as
    /// clients of ACME do.
    ///
    /// # Errors
    /// If they cannot be written.
    pub fn install(&self, folder: &Path) -> Result<()> {
        for (name, text) in [("certificate.pem", &self.certificate), ("key.pem", &self.key)] {
            let new = folder.join("new.pem");
            fs::write(&new, text).with_context(|| format!("cannot write {}", new.display()))?;
            fs::rename(&new, folder.join(name))
                .with_context(|| format!("cannot rename {}", new.display()))?;
        }
        Ok(())
    }

    /// Writes both into one file in `folder`, for programs that want them so.
    ///
    /// # Errors
    /// If it cannot be written.
    pub fn in_one_file(&self, folder: &Path) -> Result<PathBuf> {
        let path = folder.join("pair.pem");
        fs::write(&path, format!("{}{}", self.key, self.certificate))
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }
}
