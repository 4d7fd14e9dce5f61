//! The cryptography, by mail-auth: SHA-256 and the two kinds of signatures. Its types do not leave
//! this module, and it parses nothing that a sender wrote but the octets of a key.

use data_encoding::BASE64;
use mail_auth::common::{
    crypto::{Algorithm as Library, HashContext, HashImpl, Sha256 as LibrarySha256},
    headers::Writer,
    parse::TxtRecordParser,
    verify::DomainKey,
};

use crate::dkim::der;

/// The algorithms that can pass (RFC 8301 3.1, RFC 8463 3).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Algorithm {
    /// RSASSA-PKCS1-v1_5 with SHA-256.
    RsaSha256,
    /// PureEdDSA over the SHA-256 of what is signed.
    Ed25519Sha256,
}

/// The octets of a SHA-256.
pub(super) const DIGEST: usize = 32;

/// A SHA-256 in the making. A clone goes on by itself.
#[derive(Clone)]
pub(super) struct Sha256(<LibrarySha256 as HashImpl>::Context);

impl Sha256 {
    pub(super) fn new() -> Self {
        Self(LibrarySha256::hasher())
    }

    pub(super) fn update(&mut self, octets: &[u8]) {
        self.0.write(octets);
    }

    pub(super) fn finish(self) -> [u8; DIGEST] {
        let mut digest = [0; DIGEST];
        for (octet, of_library) in digest.iter_mut().zip(self.0.complete().as_ref()) {
            *octet = *of_library;
        }
        digest
    }
}

/// A public key for one algorithm.
pub(super) struct PublicKey {
    key: DomainKey,
    algorithm: Library,
    /// Of the modulus; none for keys that have one size only.
    rsa_bits: Option<usize>,
}

impl PublicKey {
    /// The key in `octets`: DER for RSA (RFC 6376 3.6.1), as SubjectPublicKeyInfo or bare; the 32
    /// octets themselves for Ed25519 (RFC 8463 4). None if they hold no such key.
    pub(super) fn read(algorithm: Algorithm, octets: &[u8]) -> Option<Self> {
        let (kind, octets, rsa_bits, algorithm) = match algorithm {
            Algorithm::RsaSha256 => {
                let key = der::rsa_public_key(octets)?;
                ("rsa", key.octets, Some(key.bits), Library::RsaSha256)
            }
            Algorithm::Ed25519Sha256 => {
                ("ed25519", (octets.len() == ED25519).then_some(octets)?, None, Library::Ed25519Sha256)
            }
        };
        // the library takes keys in records only: it reads one that we wrote
        let record = format!("v=DKIM1; k={kind}; p={}", BASE64.encode(octets));
        let key = DomainKey::parse(record.as_bytes()).ok()?;
        Some(Self { key, algorithm, rsa_bits })
    }

    /// Bits of an RSA key's modulus.
    pub(super) fn rsa_bits(&self) -> Option<usize> {
        self.rsa_bits
    }

    /// Whether `signature` is one of `octets` by the owner of this key.
    pub(super) fn verifies(&self, octets: &[u8], signature: &[u8]) -> bool {
        self.key.p.verify_bytes(octets, signature, self.algorithm).is_ok()
    }
}

/// Octets of an Ed25519 key.
const ED25519: usize = 32;
