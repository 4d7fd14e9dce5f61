//! Real handshakes over loopback: who is trusted by its certificate, and which certificate we show.

use std::{fs, os::unix::fs::symlink};

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
    date_time_ymd,
};
use rustls::{
    ClientConfig, RootCertStore, SupportedProtocolVersion,
    client::ResolvesClientCert,
    crypto::ring,
    pki_types::{CertificateDer, PrivateKeyDer, ServerName, pem::PemObject},
    sign::{CertifiedKey, SigningKey},
    version::{TLS12, TLS13},
};
use tempfile::TempDir;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};
use tokio_rustls::TlsConnector;

use super::*;

mod files;

/// An authority of its own.
struct Ca {
    issuer: Issuer<'static, KeyPair>,
    pem: String,
}

impl Ca {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let pem = params.self_signed(&key).unwrap().pem();
        Self { issuer: Issuer::new(params, key), pem }
    }

    fn issue(&self, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Pair {
        let mut params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        change(&mut params);
        let key = KeyPair::generate().unwrap();
        let certificate = params.signed_by(&key, &self.issuer).unwrap().pem();
        Pair { certificate, key: key.serialize_pem() }
    }
}

/// A certificate and its key, PEM.
#[derive(Clone)]
struct Pair {
    certificate: String,
    key: String,
}

impl Pair {
    fn shown(&self) -> Arc<CertifiedKey> {
        let certificate = CertificateDer::from_pem_slice(self.certificate.as_bytes()).unwrap();
        Arc::new(CertifiedKey::new(vec![certificate], self.signing_key()))
    }

    fn signing_key(&self) -> Arc<dyn SigningKey> {
        let key = PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap();
        ring::default_provider().key_provider.load_private_key(key).unwrap()
    }
}

/// Shows a fixed certificate, regardless of the server's request.
#[derive(Debug)]
struct Shown(Option<Arc<CertifiedKey>>);

impl ResolvesClientCert for Shown {
    fn resolve(&self, _: &[&[u8]], _: &[rustls::SignatureScheme]) -> Option<Arc<CertifiedKey>> {
        self.0.clone()
    }

    fn has_certs(&self) -> bool {
        self.0.is_some()
    }
}

/// A gate's files.
struct Files {
    folder: TempDir,
    ours: Ca,
}

impl Files {
    fn new() -> Self {
        let files = Self { folder: tempfile::tempdir().unwrap(), ours: Ca::new("ours") };
        files.renew("gate.example");
        files
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A new certificate under another name, as a client of ACME leaves it: one file renamed, then
    /// the other.
    fn renew(&self, name: &str) {
        let pair = self.ours.issue(name, |_| {});
        for (file, text) in [("chain.pem", pair.certificate), ("key.pem", pair.key)] {
            fs::write(self.path("new"), text).unwrap();
            fs::rename(self.path("new"), self.path(file)).unwrap();
        }
    }

    fn settings(&self, client_trust: Vec<config::ClientTrust>) -> config::Tls {
        let (certificate, key) = (self.path("chain.pem"), self.path("key.pem"));
        config::Tls { certificate, key, client_trust }
    }

    fn trust(&self, authority: &Ca, names: &[&str]) -> Vec<config::ClientTrust> {
        let ca = self.path("ca.pem");
        fs::write(&ca, &authority.pem).unwrap();
        let names = names.iter().map(|name| name.parse().unwrap()).collect::<Vec<_>>();
        vec![config::ClientTrust { ca, names: (!names.is_empty()).then_some(names) }]
    }

    /// A handshake with a client that takes a server called `name` and shows `shown`.
    async fn shake(
        &self,
        view: &TlsView,
        version: &'static SupportedProtocolVersion,
        name: &str,
        shown: Option<Arc<CertifiedKey>>,
    ) -> io::Result<Secured> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_slice(self.ours.pem.as_bytes()).unwrap()).unwrap();
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_protocol_versions(&[version])
            .unwrap()
            .with_root_certificates(roots)
            .with_client_cert_resolver(Arc::new(Shown(shown)));
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let listener = TcpListener::bind("[::1]:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let client = async {
            let stream = TcpStream::connect(address).await?;
            let mut stream = TlsConnector::from(Arc::new(config)).connect(name, stream).await?;
            stream.write_all(b"x").await?;
            stream.flush().await?;
            io::Result::Ok(stream)
        };
        let server = async {
            let (stream, _) = listener.accept().await?;
            let mut secured = view.handshake().map_err(io::Error::other)?.accept(stream).await?;
            let mut octet = [0];
            secured.stream.read_exact(&mut octet).await?;
            Ok(secured)
        };
        let (_client, secured) = tokio::try_join!(client, server)?;
        Ok(secured)
    }
}

#[tokio::test]
async fn a_client_is_trusted_for_proof_chain_and_name_and_never_refused() {
    let files = Files::new();
    let (partners, others) = (Ca::new("partners"), Ca::new("others"));
    let partner = partners.issue("mail.partner.example", |_| {});
    let meant_for =
        |usage| partners.issue("mail.partner.example", |params| params.extended_key_usages = vec![usage]);
    let expired = partners.issue("mail.partner.example", |params| {
        (params.not_before, params.not_after) = (date_time_ymd(2001, 1, 1), date_time_ymd(2002, 1, 1));
    });
    let stolen = Arc::new(CertifiedKey::new(
        partner.shown().cert.clone(),
        others.issue("mail.partner.example", |_| {}).signing_key(),
    ));
    let absurd =
        Arc::new(CertifiedKey::new(vec![CertificateDer::from(vec![1, 2, 3])], partner.signing_key()));
    let client = ExtendedKeyUsagePurpose::ClientAuth;
    let server = ExtendedKeyUsagePurpose::ServerAuth;
    let code = ExtendedKeyUsagePurpose::CodeSigning;
    let early = partners.issue("mail.partner.example", |params| {
        (params.not_before, params.not_after) = (date_time_ymd(2101, 1, 1), date_time_ymd(2102, 1, 1));
    });
    let namesake = Ca::new("partners").issue("mail.partner.example", |_| {});
    let other = others.issue("mail.partner.example", |_| {});
    let strange_server =
        others.issue("mail.partner.example", |params| params.extended_key_usages = vec![server.clone()]);
    let issued = |name| partners.issue(name, |_| {}).shown();
    let everybody: &[&str] = &[];
    let one = &["mail.partner.example"][..];
    let two = &["other.example", "mail.partner.example"][..];
    let rows = [
        ("any of the authority", everybody, Some(partner.shown()), "trusted"),
        ("for clients", everybody, Some(meant_for(client.clone()).shown()), "trusted"),
        ("for servers", everybody, Some(meant_for(server.clone()).shown()), "wrong_usage"),
        ("for something else", everybody, Some(meant_for(code.clone()).shown()), "wrong_usage"),
        ("no certificate", everybody, None, "absent"),
        ("another authority", everybody, Some(other.shown()), "unknown_authority"),
        ("another authority, for servers", everybody, Some(strange_server.shown()), "unknown_authority"),
        ("another authority of the same name", everybody, Some(namesake.shown()), "unknown_authority"),
        ("expired", everybody, Some(expired.shown()), "expired"),
        ("too early", everybody, Some(early.shown()), "not_yet_valid"),
        ("stolen", everybody, Some(stolen), "key_not_held"),
        ("absurd", everybody, Some(absurd), "unreadable"),
        ("the name", one, Some(partner.shown()), "trusted"),
        ("one of the names", two, Some(partner.shown()), "trusted"),
        ("the name, for clients", one, Some(meant_for(client).shown()), "trusted"),
        ("the name, for servers", one, Some(meant_for(server).shown()), "trusted"),
        ("the name, for something else", one, Some(meant_for(code).shown()), "wrong_usage"),
        ("a wildcard for it", one, Some(issued("*.partner.example")), "trusted"),
        ("another name", one, Some(issued("evil.partner.example")), "name_not_listed"),
        ("a longer name", one, Some(issued("mail.partner.example.evil.example")), "name_not_listed"),
        ("the name, another authority", one, Some(other.shown()), "unknown_authority"),
        ("the name, expired", one, Some(expired.shown()), "expired"),
    ];
    for (claim, names, shown, wanted) in rows {
        let view = TlsView::open(&files.settings(files.trust(&partners, names))).unwrap();
        for version in [&TLS12, &TLS13] {
            let secured = files.shake(&view, version, "gate.example", shown.clone()).await;
            let secured = secured.unwrap_or_else(|error| panic!("{claim}: {error}"));
            let found = match &secured.credential {
                ClientCertificate::Absent => "absent",
                ClientCertificate::Flawed(flaw) => flaw.name(),
                ClientCertificate::Trusted(_) => "trusted",
            };
            assert_eq!(found, wanted, "{claim} {version:?}");
        }
    }
}

#[tokio::test]
async fn of_several_authorities_the_one_that_came_nearest_says_what_is_wrong() {
    let files = Files::new();
    let (partners, others) = (Ca::new("partners"), Ca::new("others"));
    let mut trust = files.trust(&partners, &["other.example"]);
    let ca = files.path("others.pem");
    fs::write(&ca, &others.pem).unwrap();
    trust.push(config::ClientTrust { ca, names: None });
    let shown = partners.issue("mail.partner.example", |_| {}).shown();
    for _ in 0..2 {
        let view = TlsView::open(&files.settings(trust.clone())).unwrap();
        let secured = files.shake(&view, &TLS13, "gate.example", Some(Arc::clone(&shown))).await.unwrap();
        assert_eq!(secured.credential, ClientCertificate::Flawed(trust::CertificateProblem::NameNotListed));
        trust.reverse();
    }
}

#[tokio::test]
async fn version_and_cipher_are_named_as_others_name_them() {
    let files = Files::new();
    let view = TlsView::open(&files.settings(Vec::new())).unwrap();
    for (version, name, start) in
        [(&TLS12, "TLS1.2", "TLS_ECDHE_ECDSA_WITH_"), (&TLS13, "TLS1.3", "TLS_AES_")]
    {
        let secured = files.shake(&view, version, "gate.example", None).await.unwrap();
        assert_eq!(secured.tls.version, name);
        assert!(secured.tls.cipher.starts_with(start), "{}", secured.tls.cipher);
    }
}

#[tokio::test]
async fn a_renewed_certificate_is_shown_and_a_broken_one_is_not() {
    let files = Files::new();
    let view = TlsView::open(&files.settings(Vec::new())).unwrap();
    let shows = async |name: &str| files.shake(&view, &TLS13, name, None).await.is_ok();
    assert!(shows("gate.example").await);
    files.renew("renamed.example");
    assert!(shows("renamed.example").await, "renamed");
    fs::write(files.path("chain.pem"), "no PEM").unwrap();
    assert!(shows("renamed.example").await, "a broken file");
    fs::remove_file(files.path("chain.pem")).unwrap();
    assert!(shows("renamed.example").await, "a missing file");
    fs::write(files.path("chain.pem"), files.ours.issue("other.example", |_| {}).certificate).unwrap();
    assert!(shows("renamed.example").await, "another's key");
    files.renew("repaired.example");
    assert!(shows("repaired.example").await, "repaired");
}

#[tokio::test]
async fn a_symbolic_link_that_leads_elsewhere_now_is_followed() {
    let files = Files::new();
    let generation = |number: u32, name: &str| {
        let pair = files.ours.issue(name, |_| {});
        let folder = files.path(&format!("archive{number}"));
        fs::create_dir(&folder).unwrap();
        fs::write(folder.join("chain.pem"), pair.certificate).unwrap();
        fs::write(folder.join("key.pem"), pair.key).unwrap();
        symlink(&folder, files.path("new")).unwrap();
        fs::rename(files.path("new"), files.path("live")).unwrap();
    };
    generation(1, "first.example");
    let live = files.path("live");
    let (certificate, key) = (live.join("chain.pem"), live.join("key.pem"));
    let view = TlsView::open(&config::Tls { certificate, key, client_trust: Vec::new() }).unwrap();
    assert!(files.shake(&view, &TLS13, "first.example", None).await.is_ok());
    generation(2, "second.example");
    assert!(files.shake(&view, &TLS13, "second.example", None).await.is_ok());
}
