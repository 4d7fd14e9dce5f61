//! DANE for SMTP (RFC 7672): whether TLSA records are of the certificate chain that is offered, as
//! senders that insist on them judge it.
//!
//! The records are looked up in `names`, the chain is read by `tls`.

use std::fmt::Write as _;

use ring::digest::{SHA256, SHA512, digest};
use sixgate_auth::dns::{DnsFailure, Tlsa};

use super::{
    certificate::Offered,
    report::{CheckOutcome, CheckReport},
};
use crate::tls::ChainCertificate;

const ID: &str = "domain.dane";

/// The report on the TLSA records of `server`, a mail server's name: at least one.
pub(super) fn check(server: &str, records: &[Tlsa], offered: &Offered) -> CheckReport {
    let Some(own) = offered.chain.first() else {
        return CheckReport::not_checked(ID, format!("{server}: the certificate cannot be read"));
    };
    let advised = hex(digest(&SHA256, &own.public_key).as_ref());
    let cure = format!("publish in DNS: _25._tcp.{server}. TLSA 3 1 1 {advised}");
    let usable: Vec<&Tlsa> = records.iter().filter(|record| is_usable(record)).collect();
    let fitting = usable.iter().filter(|record| fits(record, &offered.chain));
    // a sender compares the name for an authority's record only (RFC 7672 3.1.1, 3.1.2)
    let (by_authority, by_key): (Vec<&Tlsa>, Vec<&Tlsa>) =
        fitting.copied().partition(|record| record.usage == DANE_TA);
    let accepted = by_key.len() + if offered.names.covers(server) { by_authority.len() } else { 0 };
    match (usable.len(), accepted) {
        (0, _) => CheckReport::warning(
            ID,
            format!(
                "the TLSA records of {server} are of no kind that mail servers use: senders encrypt without \
                 checking the certificate"
            ),
            cure,
        ),
        (all, 1..) => CheckReport::ok(
            ID,
            format!("{accepted} of {all} TLSA records of {server} match the certificate that is offered"),
        ),
        (_, 0) if !by_authority.is_empty() => CheckReport::error(
            ID,
            format!(
                "a TLSA record of {server} matches the CA, but the certificate does not have that name: senders with \
                 DANE do not deliver"
            ),
            cure,
        ),
        (1, 0) => CheckReport::error(ID, format!("the TLSA record of {server} {MISMATCH}"), cure),
        (all, 0) => {
            CheckReport::error(ID, format!("each of the {all} TLSA records of {server} {MISMATCH}"), cure)
        }
    }
}

/// The report where the records of `server` cannot be looked up: senders with DANE retry then (RFC
/// 7672 2.1.2).
pub(super) fn not_known(server: &str, failure: &DnsFailure) -> CheckReport {
    let found = format!("{failure}; senders with DANE retry mail for {server} meanwhile");
    CheckReport::sentence(ID, CheckOutcome::NotChecked, found)
}

/// Whether mail servers use a record like this one: not the usages of PKIX (RFC 7672 3.1.3).
fn is_usable(record: &Tlsa) -> bool {
    matches!(record.usage, DANE_TA | DANE_EE) && record.selector <= 1 && record.matching <= 2
}

/// Whether a usable record is of the certificate (DANE-EE), or of an authority that is offered
/// behind it (DANE-TA, RFC 7671 5.2).
fn fits(record: &Tlsa, chain: &[ChainCertificate]) -> bool {
    let (own, authorities) = chain.split_at(chain.len().min(1));
    let candidates = if record.usage == DANE_EE { own } else { authorities };
    candidates.iter().any(|certificate| {
        let selected = if record.selector == 0 { &certificate.whole } else { &certificate.public_key };
        match record.matching {
            1 => digest(&SHA256, selected).as_ref() == record.data,
            2 => digest(&SHA512, selected).as_ref() == record.data,
            _ => *selected == record.data,
        }
    })
}

fn hex(octets: &[u8]) -> String {
    octets.iter().fold(String::new(), |mut text, octet| {
        // writing to a string cannot fail
        let _ = write!(text, "{octet:02x}");
        text
    })
}

const DANE_TA: u8 = 2;
const DANE_EE: u8 = 3;
const MISMATCH: &str = "does not match the certificate that is offered: senders with DANE do not deliver";
