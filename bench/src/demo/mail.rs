//! The demo's senders: their DNS records, and their messages.
//!
//! It owns no connection.

use anyhow::{Context as _, Result};
use data_encoding::BASE64;
use mail_auth::{
    common::{crypto::Ed25519Key, headers::HeaderWriter as _},
    dkim::DkimSigner,
};

use super::stage::SENDERS;

/// A DKIM key, new for each demo.
pub(super) struct Key {
    pkcs8: Vec<u8>,
    public: String,
}

impl Key {
    pub(super) fn generate() -> Result<Self> {
        let pkcs8 = Ed25519Key::generate_pkcs8().context("cannot make a DKIM key")?;
        let public = Ed25519Key::from_pkcs8_der(&pkcs8).context("cannot read the DKIM key")?.public_key();
        Ok(Self { public: BASE64.encode(&public), pkcs8 })
    }

    /// `message` with a DKIM-Signature of signed.example in front.
    pub(super) fn sign(&self, message: &str) -> Result<String> {
        let key = Ed25519Key::from_pkcs8_der(&self.pkcs8).context("cannot read the DKIM key")?;
        let signature = DkimSigner::from_key(key)
            .domain("signed.example")
            .selector("demo")
            .headers(["From", "To", "Subject"])
            .sign(message.as_bytes())
            .context("cannot sign")?;
        Ok(signature.to_header() + message)
    }
}

/// The DNS records: the second sender has no reverse DNS, and a name without a line does not exist.
pub(super) fn zone(key: &Key) -> Result<String> {
    let [first, _, third, fourth, fifth] = SENDERS;
    Ok(format!(
        "{first} PTR mail.first.example
         {third} PTR mail.unproven.example
         unproven.example MX 10 mail.unproven.example
         {fourth} PTR mail.spf.example
         mail.spf.example AAAA {fourth}
         spf.example TXT \"v=spf1 ip6:{fourth} -all\"
         {fifth} PTR mail.forwarder.example
         mail.forwarder.example AAAA {fifth}
         signed.example TXT \"v=spf1 -all\"
         demo._domainkey.signed.example TXT \"v=DKIM1; k=ed25519; p={}\"",
        key.public
    ))
}

/// A short message with CRLF at its lines' ends.
pub(super) fn message(from: &str, subject: &str) -> String {
    format!("From: <{from}>\r\nTo: <user@contoso.com>\r\nSubject: {subject}\r\n\r\nHello over IPv6.\r\n")
}
