//! DKIM signatures for tests and for the demo, with keys that everybody knows.
//!
//! It signs; whether a signature counts is what the tests are about.

use data_encoding::BASE64;
use mail_auth::{
    common::{
        crypto::{Ed25519Key, HashAlgorithm, RsaKey, Sha256, SigningKey},
        headers::HeaderWriter,
    },
    dkim::{Canonicalization, DkimSigner, Done},
};
use rustls::pki_types::{PrivateKeyDer, pem::PemObject};

/// Header fields that [`signed`] covers.
pub const HEADERS: [&str; 5] = ["From", "To", "Subject", "Date", "Message-ID"];

/// The content of the TXT record for [`ed25519`], at `SELECTOR._domainkey.DOMAIN` (RFC 8463 A.2).
pub const ED25519_RECORD: &str = r#""v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=""#;

/// The content of the TXT record for [`rsa2048`], in two strings as it is too long for one.
pub const RSA2048_RECORD: &str = concat!(
    r#""v=DKIM1; k=rsa; p=MIIBIjANBgkqhkiG9w0BAQEFAAOCAQ8AMIIBCgKCAQEAl4RNpbTcCbSKqItKIp45pKEg9lyCVWU2ElU1ej/jkfZyt/1plIOsUQDfpvpULQxLvsAQLLLRugGIYE/vmIZKO8CygnDUP4HtGbVhQNACNzg6+GmiWOVGInEEgwS3EzA1s7C5o8lbsfaOiT1urXCMktHTB0L2" "#,
    r#""ckb9LUt+fhYTT1SJoWwzLiFtPrFSoDpvkEs4IWA+o0PHG/7H26QxZIcrstVgMEEtBb5W9qCRXVOulQ+Pl/1ObFkns4952+OKaJUxQSUFRuR/KNNPl5gbz1EOyFqTYO/DmvcICjQzk0TDk9ruCHTpFrgI/CSxykZe2VsVLYPSKqYpMlK4k5MA27aqwQIDAQAB""#,
);

/// The private key of [`rsa2048`].
pub const RSA2048_PEM: &str = include_str!("sign/rsa2048.pem");

/// A signer with the key of RFC 8463 A.2.
#[must_use]
pub fn ed25519(domain: &str, selector: &str, headers: &[&str]) -> DkimSigner<Ed25519Key, Done> {
    signer(ed25519_key(), domain, selector, headers)
}

/// The key of [`ed25519`].
#[must_use]
pub fn ed25519_key() -> Ed25519Key {
    Ed25519Key::from_seed_and_public_key(&ED25519_SEED, &ED25519_PUBLIC).expect("the key of RFC 8463")
}

/// A signer with the RSA key beside this file.
#[must_use]
pub fn rsa2048(domain: &str, selector: &str, headers: &[&str]) -> DkimSigner<RsaKey<Sha256>, Done> {
    signer(rsa2048_key(), domain, selector, headers)
}

/// The key of [`rsa2048`].
#[must_use]
pub fn rsa2048_key() -> RsaKey<Sha256> {
    let key = PrivateKeyDer::from_pem_slice(RSA2048_PEM.as_bytes()).expect("a key in PEM");
    RsaKey::from_key_der(key).expect("an RSA key")
}

/// `message` with a signature on top.
#[must_use]
pub fn signed<K: SigningKey>(signer: &DkimSigner<K, Done>, message: &[u8]) -> Vec<u8> {
    let signature = signer.sign(message).expect("a message with a header").to_header();
    [signature.as_bytes(), message].concat()
}

/// A signature of which every signed octet is given: it may be as odd as it likes, and verifies.
#[derive(Clone, Copy, Debug)]
pub struct ByHand<'a> {
    /// Its header field, last CRLF included, with `{bh}` and `{b}` for what is computed.
    pub field: &'a str,
    /// What it signs of the header, canonical, without the field itself.
    pub header: &'a str,
    /// What it signs of the body, canonical.
    pub body: &'a str,
    /// The canonicalization of the field itself.
    pub canonicalization: Canonicalization,
}

impl ByHand<'_> {
    /// The field, signed with `key`.
    #[must_use]
    pub fn sign<K: SigningKey>(&self, key: &K) -> String {
        let hash = BASE64.encode(HashAlgorithm::Sha256.hash(self.body.as_bytes()).as_ref());
        let field = self.field.replace("{bh}", &hash);
        let unsigned = match field.split_once("{b}") {
            Some((before, after)) => before.trim_end().to_owned() + after.trim_start(),
            None => field.clone(),
        };
        let own = match self.canonicalization {
            Canonicalization::Relaxed => relaxed(&unsigned),
            Canonicalization::Simple => unsigned.trim_end_matches("\r\n").to_owned(),
        };
        let signed = format!("{}{own}", self.header);
        let signature = key.sign(signed.as_bytes()).expect("a signature");
        field.replace("{b}", &BASE64.encode(&signature))
    }
}

/// A field as "relaxed" wants it, without its CRLF (RFC 6376 3.4.2).
#[must_use]
pub fn relaxed(field: &str) -> String {
    let (name, value) = field.split_once(':').expect("a header field");
    let words: Vec<&str> = value.split([' ', '\t', '\r', '\n']).filter(|word| !word.is_empty()).collect();
    format!("{}:{}", name.trim_end().to_ascii_lowercase(), words.join(" "))
}

fn signer<K: SigningKey>(key: K, domain: &str, selector: &str, headers: &[&str]) -> DkimSigner<K, Done> {
    DkimSigner::from_key(key).domain(domain).selector(selector).headers(headers.iter().copied())
}

/// The private key of [`ed25519`].
pub const ED25519_SEED: [u8; 32] = [
    0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84, 0x4a, 0xf4, 0x92, 0xec, 0x2c, 0xc4, 0x44,
    0x49, 0xc5, 0x69, 0x7b, 0x32, 0x69, 0x19, 0x70, 0x3b, 0xac, 0x03, 0x1c, 0xae, 0x7f, 0x60,
];
const ED25519_PUBLIC: [u8; 32] = [
    0xd7, 0x5a, 0x98, 0x01, 0x82, 0xb1, 0x0a, 0xb7, 0xd5, 0x4b, 0xfe, 0xd3, 0xc9, 0x64, 0x07, 0x3a, 0x0e,
    0xe1, 0x72, 0xf3, 0xda, 0xa6, 0x23, 0x25, 0xaf, 0x02, 0x1a, 0x68, 0xf7, 0x07, 0x51, 0x1a,
];
