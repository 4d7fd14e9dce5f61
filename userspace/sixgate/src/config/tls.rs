//! `[tls]`: what STARTTLS needs, and which clients may prove themselves by a certificate.
//!
//! It owns the keys' form. The files are read by the modules that use them.

use std::{fmt, path::PathBuf};

use serde::{
    Deserialize, Deserializer,
    de::{
        Error as _, MapAccess, SeqAccess, Visitor,
        value::{MapAccessDeserializer, SeqAccessDeserializer},
    },
};
use serde_with::DeserializeFromStr;
use sixgate_base::endpoint::ends_in_number;
use sixgate_common::domain::is_domain_name;

use super::values::{self, ValueError};

/// The table `[tls]`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Tls {
    /// A PEM file with our certificate and those between it and its authority, in this order; an
    /// absolute path.
    #[serde(deserialize_with = "values::absolute_path")]
    pub certificate: PathBuf,
    /// A PEM file with its private key, an absolute path.
    #[serde(deserialize_with = "values::absolute_path")]
    pub key: PathBuf,
    /// Clients that are trusted by their certificate; empty: none is asked for one.
    #[serde(default, deserialize_with = "one_or_several")]
    pub client_trust: Vec<ClientTrust>,
}

/// One entry of `tls.client_trust`.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct ClientTrust {
    /// A PEM file with the authorities that a client's certificate has to come from, an absolute
    /// path.
    #[serde(deserialize_with = "values::absolute_path")]
    pub ca: PathBuf,
    /// The names of which the certificate has to be for one; none: every certificate of the
    /// authority is trusted.
    #[serde(default, deserialize_with = "names")]
    pub names: Option<Vec<CertificateName>>,
}

/// A DNS name in a certificate, without a wildcard.
#[derive(Clone, Debug, DeserializeFromStr, Eq, PartialEq)]
pub struct CertificateName(String);

impl CertificateName {
    /// The name as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::str::FromStr for CertificateName {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let is_name = is_domain_name(text.as_bytes()) && text.contains('.');
        // an address would be looked for among the addresses of a certificate
        if is_name && !ends_in_number(text) {
            Ok(Self(text.to_owned()))
        } else {
            Err(ValueError::Name { text: text.to_owned() })
        }
    }
}

/// Rejects an empty list: it would trust no client, and looks as if it trusted all.
fn names<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Vec<CertificateName>>, D::Error> {
    let names = Vec::deserialize(deserializer)?;
    if names.is_empty() {
        return Err(D::Error::custom(
            "at least one name is needed; leave `names` out to trust every certificate of the authority",
        ));
    }
    Ok(Some(names))
}

/// A table, or an array of tables.
fn one_or_several<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<ClientTrust>, D::Error> {
    struct OneOrSeveral;

    impl<'de> Visitor<'de> for OneOrSeveral {
        type Value = Vec<ClientTrust>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a table such as { ca = \"/etc/sixgate/partners.pem\" }, or an array of such tables")
        }

        fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<Self::Value, A::Error> {
            ClientTrust::deserialize(MapAccessDeserializer::new(map)).map(|trust| vec![trust])
        }

        fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<Self::Value, A::Error> {
            let several: Self::Value = Vec::deserialize(SeqAccessDeserializer::new(seq))?;
            if several.is_empty() {
                return Err(A::Error::custom(
                    "at least one authority is needed; leave `client_trust` out to trust no client by its certificate",
                ));
            }
            Ok(several)
        }
    }

    deserializer.deserialize_any(OneOrSeveral)
}
