//! One signature, read: the values of its tags (RFC 6376 3.5), or why it cannot count with any
//! message and key. No DNS, no hashing.

use data_encoding::{BASE64, HEXUPPER_PERMISSIVE};

use crate::{
    dkim::{
        bounds::{CLOCK_SKEW, DkimLimit, MAX_NAMES},
        canonical::Canonicalization,
        crypto::Algorithm,
        result::{DkimResult, Settled},
        tags::Tags,
    },
    dns::{LONGEST_NAME, ascii_name},
    trace::SignatureTags,
};

/// A signature that may be good: what is needed to verify it.
#[derive(Clone, Debug)]
pub(super) struct Signature {
    /// The algorithm, tag `a=`.
    pub(super) algorithm: Algorithm,
    /// `c=`, for the header.
    pub(super) header_form: Canonicalization,
    /// `c=`, for the body.
    pub(super) body_form: Canonicalization,
    /// `h=`, in lower case.
    pub(super) names: Vec<String>,
    /// The hash of the body, tag `bh=`.
    pub(super) body_hash: Vec<u8>,
    /// `l=`; more than any body has for a number beyond 64 bits.
    pub(super) body_length: Option<u64>,
    /// The signature itself, tag `b=`.
    pub(super) octets: Vec<u8>,
    /// Where its key is.
    pub(super) key_name: String,
    /// Whether `i=` lies below `d=`, which a key may forbid.
    pub(super) identity: IdentityScope,
}

/// Where `i=` lies.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum IdentityScope {
    /// In the very domain of `d=`, or not given.
    Domain,
    /// In a subdomain.
    Subdomain,
}

impl Signature {
    /// Reads the tags of a signature that is to be verified at `now`, in seconds since 1970.
    ///
    /// # Errors
    /// What keeps the signature from counting.
    pub(super) fn read(tags: &Tags<'_>, now: u64) -> Result<Self, Settled> {
        if required(tags, "v")? != "1" {
            return Err(UNKNOWN_VERSION);
        }
        for name in ["a", "b", "bh", "d", "h", "s"] {
            required(tags, name)?;
        }
        let algorithm = algorithm(required(tags, "a")?)?;
        let (header_form, body_form) = forms(tags.get("c"))?;
        if tags.get("q").is_some() {
            if tags.list("q").any(str::is_empty) {
                return Err(MALFORMED);
            }
            if !tags.list("q").any(|method| method == "dns/txt") {
                return Err(UNKNOWN_QUERY);
            }
        }
        let names = names(tags)?;
        in_time(tags, now)?;
        let domain = domain_name(required(tags, "d")?).ok_or(BAD_NAME)?;
        let key_name = key_name(required(tags, "s")?, &domain).ok_or(BAD_NAME)?;
        Ok(Self {
            algorithm,
            header_form,
            body_form,
            names,
            body_hash: tags.base64("bh").ok_or(BAD_BASE64)?,
            body_length: number(tags, "l")?,
            octets: tags.base64("b").ok_or(BAD_BASE64)?,
            key_name,
            identity: identity(tags.get("i"), &domain)?,
        })
    }

    /// Its contents, as the findings' signature number `at`.
    pub(super) fn shown(&self, at: usize) -> SignatureTags {
        SignatureTags {
            signature: at,
            canonicalization: format!("{}/{}", self.header_form.name(), self.body_form.name()),
            signed_fields: self.names.clone(),
            body_hash: BASE64.encode(&self.body_hash),
            body_length: self.body_length,
            key_name: self.key_name.clone(),
        }
    }
}

fn required<'a>(tags: &Tags<'a>, name: &str) -> Result<&'a str, Settled> {
    tags.get(name).filter(|value| !value.is_empty()).ok_or(TAG_MISSING)
}

fn algorithm(name: &str) -> Result<Algorithm, Settled> {
    match name {
        "rsa-sha256" => Ok(Algorithm::RsaSha256),
        "ed25519-sha256" => Ok(Algorithm::Ed25519Sha256),
        "rsa-sha1" => Err(SHA1),
        _ => Err(UNKNOWN_ALGORITHM),
    }
}

/// Of header and body; a single name is the header's (RFC 6376 3.5).
fn forms(text: Option<&str>) -> Result<(Canonicalization, Canonicalization), Settled> {
    let form = |name| match name {
        "simple" => Ok(Canonicalization::Simple),
        "relaxed" => Ok(Canonicalization::Relaxed),
        _ => Err(UNKNOWN_CANONICALIZATION),
    };
    let text = text.unwrap_or("simple/simple");
    let (header, body) = text.split_once('/').unwrap_or((text, "simple"));
    Ok((form(header)?, form(body)?))
}

fn names(tags: &Tags<'_>) -> Result<Vec<String>, Settled> {
    if tags.list("h").count() > MAX_NAMES {
        return Err(TOO_MANY_NAMES);
    }
    let names: Vec<String> = tags.list("h").map(str::to_ascii_lowercase).collect();
    // RFC 5322 3.6.8; a semicolon cannot be in here
    let is_field_name =
        |name: &String| !name.is_empty() && name.bytes().all(|octet| octet.is_ascii_graphic());
    if !names.iter().all(is_field_name) {
        return Err(MALFORMED);
    }
    if !names.iter().any(|name| name == "from") {
        return Err(FROM_UNSIGNED);
    }
    Ok(names)
}

/// `x=` lies ahead and behind `t=`, and `t=` does not lie ahead by more than clocks differ.
fn in_time(tags: &Tags<'_>, now: u64) -> Result<(), Settled> {
    let (signed, expires) = (number(tags, "t")?, number(tags, "x")?);
    if let (Some(signed), Some(expires)) = (signed, expires)
        && expires <= signed
    {
        return Err(EXPIRES_TOO_SOON);
    }
    if expires.is_some_and(|expires| expires <= now) {
        return Err(EXPIRED);
    }
    match signed {
        Some(signed) if signed > now.saturating_add(CLOCK_SKEW.as_secs()) => Err(FUTURE),
        _ => Ok(()),
    }
}

/// A number of 1 to 76 digits (RFC 6376 3.5, `l=`); what is beyond 64 bits is as good as endless.
fn number(tags: &Tags<'_>, name: &str) -> Result<Option<u64>, Settled> {
    match tags.get(name) {
        None => Ok(None),
        Some(digits) if is_number(digits) => Ok(Some(digits.parse().unwrap_or(u64::MAX))),
        Some(_) => Err(MALFORMED),
    }
}

fn is_number(text: &str) -> bool {
    (1..=LONGEST_NUMBER).contains(&text.len()) && text.bytes().all(|octet| octet.is_ascii_digit())
}

/// `text` as DNS is asked for it, U-labels as A-labels (RFC 8616 4). There is no final dot (RFC
/// 6376 3.5).
fn domain_name(text: &str) -> Option<String> {
    ascii_name(text).filter(|_| !text.ends_with('.'))
}

fn key_name(selector: &str, domain: &str) -> Option<String> {
    let name = format!("{}._domainkey.{domain}", domain_name(selector)?);
    (name.len() <= LONGEST_NAME).then_some(name)
}

/// Where an identity lies: `[local-part]@domain`, the domain being `domain` or one below. It is
/// quoted-printable (RFC 6376 3.5), the `@` perhaps, too; then there is but one.
fn identity(text: Option<&str>, domain: &str) -> Result<IdentityScope, Settled> {
    let Some(text) = text else {
        return Ok(IdentityScope::Domain);
    };
    let decoded = decoded(text);
    let within = match text.rsplit_once('@') {
        Some((local_part, _)) if !is_local_part(local_part) => return Err(BAD_IDENTITY),
        Some((_, within)) => self::decoded(within),
        None => match decoded.split_once('@') {
            Some((_, within)) => within.to_owned(),
            None => return Err(FOREIGN_IDENTITY),
        },
    };
    // one that holds another `@` is not a name
    let within = domain_name(&within).ok_or(FOREIGN_IDENTITY)?;
    match within.strip_suffix(domain) {
        Some("") => Ok(IdentityScope::Domain),
        Some(labels) if labels.ends_with('.') => Ok(IdentityScope::Subdomain),
        _ => Err(FOREIGN_IDENTITY),
    }
}

/// `text` without dkim-quoted-printable (RFC 6376 2.11). An `=` that begins no octet stands for
/// itself, as other verifiers take it; a result that is not UTF-8 is not a name.
fn decoded(text: &str) -> String {
    let mut octets = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let [first, others @ ..] = rest {
        let hex = others.get(..2).filter(|_| *first == b'=');
        let octet = hex.and_then(|hex| HEXUPPER_PERMISSIVE.decode(hex).ok()?.first().copied());
        octets.push(octet.unwrap_or(*first));
        rest = octet.and_then(|_| others.get(2..)).unwrap_or(others);
    }
    String::from_utf8_lossy(&octets).into_owned()
}

/// RFC 5321 4.1.2 and RFC 6531 3.3, with dots anywhere, as in addresses that are in use; or
/// nothing. So no reader can find another `@` or a comment in it.
fn is_local_part(text: &str) -> bool {
    let is_atext =
        |char: char| !char.is_ascii() || char.is_ascii_alphanumeric() || ATEXT_AND_DOT.contains(char);
    match text.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
        None => text.chars().all(is_atext),
        Some(quoted) => {
            let mut chars = quoted.chars();
            while let Some(char) = chars.next() {
                let escaped =
                    if char == '\\' { chars.next() } else { Some(char).filter(|char| *char != '"') };
                if escaped.is_none_or(char::is_control) {
                    return false;
                }
            }
            true
        }
    }
}

const ATEXT_AND_DOT: &str = "!#$%&'*+-/=?^_`{|}~.";
const LONGEST_NUMBER: usize = 76;

const BAD_BASE64: Settled = Settled::new(DkimResult::PermError, "bad base64");
const BAD_IDENTITY: Settled = Settled::new(DkimResult::PermError, "i= is not an address");
const BAD_NAME: Settled = Settled::new(DkimResult::PermError, "d= or s= is not a name");
const EXPIRED: Settled = Settled::new(DkimResult::PermError, "signature expired");
const EXPIRES_TOO_SOON: Settled = Settled::new(DkimResult::PermError, "x= is not after t=");
const FOREIGN_IDENTITY: Settled = Settled::new(DkimResult::PermError, "i= is not within d=");
const FROM_UNSIGNED: Settled = Settled::new(DkimResult::PermError, "From is not signed");
const FUTURE: Settled = Settled::new(DkimResult::PermError, "t= is in the future");
pub(super) const MALFORMED: Settled = Settled::new(DkimResult::PermError, "malformed signature");
const SHA1: Settled = Settled::new(DkimResult::Policy, "rsa-sha1 is not accepted");
const TAG_MISSING: Settled = Settled::new(DkimResult::PermError, "a required tag is missing");
const TOO_MANY_NAMES: Settled = Settled::beyond(DkimLimit::Names, "too many names in h=");
const UNKNOWN_ALGORITHM: Settled = Settled::new(DkimResult::Neutral, "unknown algorithm");
const UNKNOWN_CANONICALIZATION: Settled = Settled::new(DkimResult::Neutral, "unknown canonicalization");
const UNKNOWN_QUERY: Settled = Settled::new(DkimResult::Neutral, "unknown query method");
const UNKNOWN_VERSION: Settled = Settled::new(DkimResult::Neutral, "unknown version");

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: u64 = 1_800_000_000;
    const GOOD: &str = "v=1; a=rsa-sha256; b=AAAA; bh=AAAA; d=a.example; s=s; h=from";

    fn read(list: &str) -> Result<Signature, Settled> {
        Signature::read(&Tags::of_signature(list.as_bytes()).expect("a list"), NOW)
    }

    #[test]
    fn times_may_be_huge_and_clocks_may_differ_a_little() {
        let digits = |count: usize| "9".repeat(count);
        let ahead = |seconds: u64| (NOW + seconds).to_string();
        let skew = CLOCK_SKEW.as_secs();
        let rows = [
            (format!("t={NOW}"), None),
            (format!("t={}", ahead(skew)), None),
            (format!("t={}", ahead(skew + 1)), Some(FUTURE)),
            (format!("t={}", digits(76)), Some(FUTURE)),
            (format!("t={}", digits(77)), Some(MALFORMED)),
            (format!("x={}", digits(76)), None),
            (format!("x={}", digits(77)), Some(MALFORMED)),
            (format!("x={}", ahead(1)), None),
            (format!("x={NOW}"), Some(EXPIRED)),
            (format!("x={}", ahead(1) + "; t=1"), None),
            (format!("x={0}; t={0}", ahead(60)), Some(EXPIRES_TOO_SOON)),
            (format!("x={0}; t={0}", digits(76)), Some(EXPIRES_TOO_SOON)),
            ("t=".to_owned(), Some(MALFORMED)),
            ("t=-1".to_owned(), Some(MALFORMED)),
            ("t=+1".to_owned(), Some(MALFORMED)),
            ("t=1 0".to_owned(), Some(MALFORMED)),
            ("x=\u{661}".to_owned(), Some(MALFORMED)),
        ];
        for (tags, flaw) in rows {
            assert_eq!(read(&format!("{GOOD}; {tags}")).err(), flaw, "{tags}");
        }
        let length = |tag: &str| read(&format!("{GOOD}; {tag}")).map(|signature| signature.body_length);
        assert_eq!(length("l=0"), Ok(Some(0)));
        assert_eq!(length("l=007"), Ok(Some(7)));
        assert_eq!(length(&format!("l={}", digits(76))), Ok(Some(u64::MAX)));
        assert_eq!(length(&format!("l={}", digits(77))), Err(MALFORMED));
    }

    #[test]
    fn an_identity_lies_in_its_domain_or_below() {
        let rows = [
            (None, Ok(IdentityScope::Domain)),
            (Some("@a.example"), Ok(IdentityScope::Domain)),
            (Some("joe@A.Example"), Ok(IdentityScope::Domain)),
            (Some("j..o.e.@a.example"), Ok(IdentityScope::Domain)),
            (Some("j=40e+x/y@a.example"), Ok(IdentityScope::Domain)),
            (Some("jürgen@a.example"), Ok(IdentityScope::Domain)),
            (Some("\"joe@x (y)\"@a.example"), Ok(IdentityScope::Domain)),
            (Some(r#""a\"b\\"@a.example"#), Ok(IdentityScope::Domain)),
            (Some("\"\"@a.example"), Ok(IdentityScope::Domain)),
            // dkim-quoted-printable
            (Some("joe=40a.example"), Ok(IdentityScope::Domain)),
            (Some("=40a.example"), Ok(IdentityScope::Domain)),
            (Some("joe@a=2Eexample"), Ok(IdentityScope::Domain)),
            (Some("joe@a=2eexample"), Ok(IdentityScope::Domain)),
            (Some("joe=3Dx=20y@news=2Ea.example"), Ok(IdentityScope::Subdomain)),
            (Some("joe=40news.a.example"), Ok(IdentityScope::Subdomain)),
            (Some("bounce=x=b.example@a.example"), Ok(IdentityScope::Domain)),
            (Some("joe=40b.example"), Err(FOREIGN_IDENTITY)),
            (Some("joe=40b.example=40a.example"), Err(FOREIGN_IDENTITY)),
            (Some("joe@b.example=40a.example"), Err(FOREIGN_IDENTITY)),
            (Some("joe@a.example=00"), Err(FOREIGN_IDENTITY)),
            (Some("joe@=FFa.example"), Err(FOREIGN_IDENTITY)),
            (Some("joe@=4"), Err(FOREIGN_IDENTITY)),
            (Some("joe@a.example="), Err(FOREIGN_IDENTITY)),
            (Some("joe@x@a.example"), Err(BAD_IDENTITY)),
            (Some("(joe)@a.example"), Err(BAD_IDENTITY)),
            (Some("joe,jim@a.example"), Err(BAD_IDENTITY)),
            (Some("joe\\@a.example"), Err(BAD_IDENTITY)),
            (Some("joe x@a.example"), Err(BAD_IDENTITY)),
            (Some("\"joe@a.example"), Err(BAD_IDENTITY)),
            (Some("\"@a.example"), Err(BAD_IDENTITY)),
            (Some("\"a\"b\"@a.example"), Err(BAD_IDENTITY)),
            (Some(r#""a\"@a.example"#), Err(BAD_IDENTITY)),
            (Some("@b.a.example"), Ok(IdentityScope::Subdomain)),
            (Some("@ba.example"), Err(FOREIGN_IDENTITY)),
            (Some("@example"), Err(FOREIGN_IDENTITY)),
            (Some("@.a.example"), Err(FOREIGN_IDENTITY)),
            (Some("a.example"), Err(FOREIGN_IDENTITY)),
            (Some(""), Err(FOREIGN_IDENTITY)),
            (Some("@"), Err(FOREIGN_IDENTITY)),
            (Some("@a.example."), Err(FOREIGN_IDENTITY)),
        ];
        for (text, wanted) in rows {
            assert_eq!(identity(text, "a.example"), wanted, "{text:?}");
        }
        assert_eq!(identity(Some("@bücher.example"), "xn--bcher-kva.example"), Ok(IdentityScope::Domain));
    }

    #[test]
    fn one_word_of_a_canonicalization_is_the_headers() {
        let rows = [
            (None, Some((Canonicalization::Simple, Canonicalization::Simple))),
            (Some("relaxed"), Some((Canonicalization::Relaxed, Canonicalization::Simple))),
            (Some("simple"), Some((Canonicalization::Simple, Canonicalization::Simple))),
            (Some("simple/relaxed"), Some((Canonicalization::Simple, Canonicalization::Relaxed))),
            (Some("relaxed/relaxed"), Some((Canonicalization::Relaxed, Canonicalization::Relaxed))),
            (Some("relaxed/"), None),
            (Some("/relaxed"), None),
            (Some("relaxed/simple/simple"), None),
            (Some("Relaxed"), None),
            (Some("nofws"), None),
            (Some(""), None),
        ];
        for (text, wanted) in rows {
            assert_eq!(forms(text).ok(), wanted, "{text:?}");
        }
    }
}
