//! The files of `[tls]`: which cannot be used, and why; and which should be renewed.
//!
//! The keys beside it were made by openssl for these tests alone and guard nothing; two have the
//! passphrase `secret`.

use std::time::Duration;

use rcgen::date_time_ymd;

use super::*;

/// The problem of the files of `settings`.
fn wrong(settings: &config::Tls) -> String {
    format!("{:#}", anyhow::Error::new(check_tls(settings).unwrap_err()))
}

#[test]
fn what_cannot_be_used_is_named() {
    let files = Files::new();
    let good = files.settings(Vec::new());
    assert_eq!(check_tls(&good).unwrap(), None);
    let (empty, mixed) = (files.path("empty.pem"), files.path("mixed.pem"));
    fs::write(&empty, "").unwrap();
    fs::write(&mixed, files.ours.issue("gate.example", |_| {}).key).unwrap();
    let key = |name| config::Tls { key: files.path(name), ..good.clone() };
    for (settings, wanted) in [
        (key("none.pem"), "cannot read FOLDER/none.pem: No such file"),
        (key("empty.pem"), "FOLDER/empty.pem is not a PEM file of the kind that is wanted"),
        (
            key("mixed.pem"),
            "the certificate FOLDER/chain.pem and the key FOLDER/mixed.pem do not go together: ",
        ),
        (
            config::Tls { certificate: empty.clone(), ..good.clone() },
            "FOLDER/empty.pem has no certificate in it",
        ),
        (
            files.settings(vec![config::ClientTrust { ca: empty, names: None }]),
            "FOLDER/empty.pem has no certificate in it",
        ),
    ] {
        let said = wrong(&settings).replace(files.folder.path().to_str().unwrap(), "FOLDER");
        assert!(said.starts_with(wanted), "{said}");
    }
}

#[test]
fn a_key_that_is_encrypted_or_of_another_kind_is_called_that() {
    let files = Files::new();
    let settings = config::Tls { key: files.path("odd.pem"), ..files.settings(Vec::new()) };
    let encrypted = "odd.pem is encrypted; sixgate cannot ask for a passphrase: use an unencrypted key";
    let unsupported = "odd.pem is broken or of a kind that is not supported: RSA of 2048 to 4096 bits, ";
    for (pem, wanted) in [
        (include_str!("encrypted.pem"), encrypted),
        (include_str!("encrypted_legacy.pem"), encrypted),
        (include_str!("p521.pem"), unsupported),
        (include_str!("rsa1024.pem"), unsupported),
    ] {
        for text in [pem.to_owned(), pem.replace('\n', "\r\n")] {
            fs::write(&settings.key, text).unwrap();
            let said = wrong(&settings);
            assert!(said.contains(wanted), "{pem}: {said}");
        }
    }
}

#[test]
fn our_own_certificate_has_to_stand_first() {
    let files = Files::new();
    let settings = files.settings(Vec::new());
    let own = fs::read_to_string(&settings.certificate).unwrap();
    for (chain, position) in [
        (format!("{own}{}", files.ours.pem), None),
        (format!("{}{own}", files.ours.pem), Some(2)),
        (format!("{0}{0}{own}", Ca::new("another").pem), Some(3)),
    ] {
        fs::write(&settings.certificate, chain).unwrap();
        let Some(position) = position else {
            assert!(check_tls(&settings).is_ok());
            continue;
        };
        let said = wrong(&settings);
        let wanted = format!("is number {position} in {}: put it first", settings.certificate.display());
        assert!(said.contains(&wanted), "{said}");
    }
}

#[tokio::test]
async fn who_vouches_for_clients_is_an_authority_or_vouches_for_itself() {
    let files = Files::new();
    let mut partners = Ca::new("partners");
    partners.pem += &partners.issue("mail.partner.example", |_| {}).certificate;
    let said = wrong(&files.settings(files.trust(&partners, &[])));
    assert!(
        said.starts_with("certificate 2 in ")
            && said.ends_with("is not a CA certificate: use that of the CA that issued it"),
        "{said}"
    );
    assert!(said.contains("ca.pem (\"CN=rcgen self signed cert\") "), "{said}");

    let key = KeyPair::generate().unwrap();
    let alone = CertificateParams::new(vec!["mail.partner.example".to_owned()]).unwrap();
    partners.pem = alone.self_signed(&key).unwrap().pem();
    let alone = Pair { certificate: partners.pem.clone(), key: key.serialize_pem() };
    let view = TlsView::open(&files.settings(files.trust(&partners, &[]))).unwrap();
    let secured = files.shake(&view, &TLS13, "gate.example", Some(alone.shown())).await.unwrap();
    assert!(matches!(secured.credential, ClientCertificate::Trusted(_)), "{:?}", secured.credential);
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_certificate_is_warned_of_once_a_version_and_once_a_day() {
    const DAY: Duration = Duration::from_secs(24 * 60 * 60);
    let files = Files::new();
    let settings = files.settings(Vec::new());
    let lasting = |until: std::time::SystemTime| {
        let pair = files.ours.issue("gate.example", |params| {
            params.not_before = date_time_ymd(2001, 1, 1);
            params.not_after = until.into();
        });
        fs::write(&settings.key, pair.key).unwrap();
        fs::write(&settings.certificate, pair.certificate).unwrap();
    };
    let now = std::time::SystemTime::now();
    let soon = Duration::from_secs(60 * 60);
    for (until, wanted) in [
        (now - soon, Some("chain.pem expired at 20")),
        (now + 7 * DAY - soon, Some("chain.pem expires at 20")),
        (now + 7 * DAY + soon, None),
    ] {
        lasting(until);
        let view = TlsView::open(&settings).unwrap();
        let due = || view.loaded.lock().unwrap().due_warning();
        let Some(wanted) = wanted else {
            assert_eq!(due(), None);
            continue;
        };
        assert!(due().unwrap().contains(wanted));
        tokio::time::advance(DAY - soon).await;
        assert_eq!(due(), None, "within a day");
        tokio::time::advance(soon).await;
        assert!(due().unwrap().contains(wanted), "the next day");
        assert_eq!(due(), None);
    }
}
