//! Signatures made by hand: each verifies, so that only what is odd about it can keep it from
//! passing.

use mail_auth::dkim::Canonicalization;
use sixgate_tests::sign::{self, ByHand};

use super::MESSAGE;

/// A plain signature over From and the body of [`MESSAGE`].
const FIELD: &str =
    "DKIM-Signature: v=1; a=rsa-sha256; c=relaxed/relaxed; d=a.example; s=s; h=from; bh={bh}; b={b}\r\n";
pub(super) const FROM: &str = "from:Joe <joe@a.example>\r\n";
pub(super) const BODY: &str = "Good morning,\r\n\r\nyours.\r\n";

/// [`MESSAGE`] with the plain signature, in which `what` has been replaced by `with` before it was
/// made.
pub(super) fn edited(what: &str, with: &str) -> String {
    over(what, with, BODY)
}

/// As [`edited`], over another body or a part of it.
pub(super) fn over(what: &str, with: &str, body: &str) -> String {
    assert!(FIELD.contains(what), "{what}");
    let field = FIELD.replacen(what, with, 1);
    let by_hand = ByHand { field: &field, header: FROM, body, canonicalization: Canonicalization::Relaxed };
    by_hand.sign(&sign::rsa2048_key()) + MESSAGE
}

/// A message whose header and body are given, in both canonical forms.
pub(super) struct Said<'a> {
    /// `c=`, without which it is simple.
    pub(super) c: &'a str,
    /// The signed fields: `h=` of the signature.
    pub(super) h: &'a str,
    /// As it is sent, empty line and body included.
    pub(super) message: &'a str,
    /// What of it is signed, canonical.
    pub(super) header: &'a str,
    /// The body, in the same two forms.
    pub(super) body: &'a str,
}

impl Said<'_> {
    /// The message, signed with RSA.
    pub(super) fn signed(&self) -> String {
        let form = if self.c.starts_with("c=relaxed") {
            Canonicalization::Relaxed
        } else {
            Canonicalization::Simple
        };
        let field = format!(
            "DKIM-Signature: v=1; a=rsa-sha256; {}d=a.example; s=s;\r\n\th={};\r\n\tbh={{bh}};\r\n\tb={{b}}\r\n",
            self.c, self.h
        );
        let by_hand = ByHand { field: &field, header: self.header, body: self.body, canonicalization: form };
        by_hand.sign(&sign::rsa2048_key()) + self.message
    }
}
