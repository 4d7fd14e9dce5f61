//! DKIM: a message in any form that is signed here by a second reading of RFC 6376 passes; the same
//! message, altered, passes only if the alteration means nothing to that reading; and without the
//! key nothing passes.
//!
//! Keys come from a DNS server of its own; the suites try which forms of keys are taken.

#![no_main]

use std::{num::NonZeroU8, sync::LazyLock, time::Duration};

use data_encoding::BASE64;
use libfuzzer_sys::fuzz_target;
use ring::{
    digest::{SHA256, digest},
    signature::Ed25519KeyPair,
};
use sixgate::message_store::{MessageBuffer, SpillDirectory};
use sixgate_auth::{
    dkim::{DkimResult, DkimSettings, DkimSignature, DkimVerifier},
    dns::Resolver,
};
use sixgate_fuzz::{
    canonical::{self, Form, Parts, divide},
    names,
    script::{self, Script},
};
use tokio::{runtime::Runtime, time::Instant};

fuzz_target!(|input: &[u8]| {
    let (mut script, text) = script::split(input);
    let message = with_crlf(text);
    let raw = verify(&message);
    assert!(raw.iter().all(|found| found.result != DkimResult::Pass), "a pass without the key: {raw:?}");
    raw.iter().for_each(can_be_shown);
    if !is_ordinary(&divide(&message).fields) || has_signature(&divide(&message).fields) {
        return;
    }
    let signed = sign(&message, &mut script);
    let found = verify(&signed.octets);
    assert_eq!(found[0].result, DkimResult::Pass, "{:?}: {}", found[0], signed.octets.escape_ascii());
    let altered = alter(&signed.octets, &mut script);
    let found = verify(&altered);
    let passes = found.iter().any(|found| found.result == DkimResult::Pass);
    let (ours, theirs) = (divide(&signed.octets), divide(&altered));
    if ours.fields.first() != theirs.fields.first() {
        // what of the signature itself may change and still be read the same is not claimed here
        return;
    }
    let same = is_ordinary(&theirs.fields[1..]) && signed.means_the_same(&theirs);
    assert_eq!(passes, same, "{found:?}: {} became {}", signed.octets.escape_ascii(), altered.escape_ascii());
});

/// `text` with CRLF at the end of each line, and nothing that a session refuses.
fn with_crlf(text: &[u8]) -> Vec<u8> {
    let lines = text.split(|octet| *octet == b'\n').map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let plain = |line: &[u8]| -> Vec<u8> {
        line.iter().copied().filter(|octet| !matches!(octet, b'\r' | 0)).chain(*b"\r\n").collect()
    };
    lines.flat_map(plain).collect()
}

/// A header of well-formed fields with one From.
fn is_ordinary(fields: &[&[u8]]) -> bool {
    let names: Vec<Vec<u8>> = fields.iter().filter_map(|field| canonical::name(field)).collect();
    names.len() == fields.len()
        && names.len() <= FIELDS_MAX
        && names.iter().all(|name| !name.is_empty() && name.iter().all(u8::is_ascii_graphic))
        && names.iter().filter(|name| *name == b"from").count() == 1
}

fn has_signature(fields: &[&[u8]]) -> bool {
    fields.iter().any(|field| canonical::name(field).is_some_and(|name| name == b"dkim-signature"))
}

/// A signed message, and how it was signed.
struct Signed {
    octets: Vec<u8>,
    /// The part of the body that the signature covers.
    header: Vec<u8>,
    body: Vec<u8>,
    names: Vec<Vec<u8>>,
    forms: (Form, Form),
}

impl Signed {
    /// Whether an altered message is the same to the signature.
    fn means_the_same(&self, altered: &Parts<'_>) -> bool {
        covered(&altered.fields, &self.names, self.forms.0) == self.header
            && canonical::body(altered.body, self.forms.1) == self.body
    }
}

fn sign(message: &[u8], script: &mut Script<'_>) -> Signed {
    let form = |choice: u8| if choice % 2 == 0 { Form::Simple } else { Form::Relaxed };
    let forms = (form(script.choose()), form(script.choose()));
    let parts = divide(message);
    // From, and of the others those that the script wants, and more often than they are there
    let mut names = vec![b"from".to_vec()];
    names.extend(
        parts.fields.iter().filter_map(|field| canonical::name(field)).filter(|name| {
            script.choose() % 3 != 0 && !name.iter().any(|octet| matches!(octet, b':' | b';'))
        }),
    );
    names.truncate(NAMES_MAX);
    let header = covered(&parts.fields, &names, forms.0);
    let body = canonical::body(parts.body, forms.1);
    let listed: Vec<String> = names.iter().map(|name| String::from_utf8_lossy(name).into_owned()).collect();
    let start = format!(
        "DKIM-Signature: v=1; a=ed25519-sha256; c={}/{}; d={DOMAIN};\r\n\ts={SELECTOR}; h={};\r\n\tbh={}; b=",
        forms.0.name(),
        forms.1.name(),
        listed.join(":\r\n\t"),
        BASE64.encode(digest(&SHA256, &body).as_ref()),
    );
    let mut own = canonical::field(format!("{start}\r\n").as_bytes(), forms.0);
    own.truncate(own.len() - 2);
    let hash = digest(&SHA256, &[&header[..], &own].concat());
    let signature = format!("{start}{}\r\n", BASE64.encode(KEY.sign(hash.as_ref()).as_ref()));
    Signed { octets: [signature.as_bytes(), message].concat(), header, body, names, forms }
}

/// The fields that `names` choose, each name the lowest field that is left (RFC 6376 5.4.2).
fn covered(fields: &[&[u8]], names: &[Vec<u8>], form: Form) -> Vec<u8> {
    let mut left: Vec<&[u8]> = fields.to_vec();
    let mut covered = Vec::new();
    for name in names {
        let lowest = left.iter().rposition(|field| canonical::name(field).as_ref() == Some(name));
        if let Some(at) = lowest {
            covered.extend(canonical::field(left.remove(at), form));
        }
    }
    covered
}

/// One octet more, one less, or another one, somewhere.
fn alter(message: &[u8], script: &mut Script<'_>) -> Vec<u8> {
    let at = (usize::from(script.choose()) << 8 | usize::from(script.choose())) % message.len();
    let octet = script.choose();
    let mut altered = message.to_vec();
    match script.choose() % 4 {
        0 => altered[at] = octet,
        1 => drop(altered.remove(at)),
        2 => altered.insert(at, octet),
        _ => {
            altered.splice(at..at, *b"\r\n ");
        }
    }
    // a session lets no other lines through
    with_crlf(altered.strip_suffix(b"\r\n").unwrap_or(&altered))
}

fn can_be_shown(found: &DkimSignature) {
    for text in [&found.domain, &found.selector, &found.identity, &found.signature_start] {
        assert!(text.len() <= 320 && !text.contains(char::is_control), "{text:?}");
    }
}

fn verify(message: &[u8]) -> Vec<DkimSignature> {
    RUNTIME.block_on(async {
        let mut buffer = MessageBuffer::new(SpillDirectory::new(std::env::temp_dir()));
        buffer.append(message.to_vec()).await.expect("a message in memory");
        let deadline = Instant::now() + Duration::from_secs(5);
        VERIFIER.verify(&DNS, buffer.freeze(), deadline).await.signatures
    })
}

static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime")
});
static VERIFIER: LazyLock<DkimVerifier> = LazyLock::new(|| DkimVerifier::new(DkimSettings::DEFAULT));
static DNS: LazyLock<Resolver> = LazyLock::new(|| {
    let server = names::serve(KEY_NAME, KEY_RECORD).expect("a socket on loopback");
    Resolver::new(&[server], Duration::from_secs(2), NonZeroU8::MIN)
});
/// The key of RFC 8463 A.2.
static KEY: LazyLock<Ed25519KeyPair> =
    LazyLock::new(|| Ed25519KeyPair::from_seed_and_public_key(&SEED, &PUBLIC).expect("a pair"));

const DOMAIN: &str = "signed.example";
const SELECTOR: &str = "s";
const KEY_NAME: &str = "s._domainkey.signed.example";
const KEY_RECORD: &str = "v=DKIM1; k=ed25519; p=11qYAYKxCrfVS/7TyWQHOg7hcvPapiMlrwIaaPcHURo=";
const NAMES_MAX: usize = 100;
const FIELDS_MAX: usize = 900;
const SEED: [u8; 32] = [
    0x9d, 0x61, 0xb1, 0x9d, 0xef, 0xfd, 0x5a, 0x60, 0xba, 0x84, 0x4a, 0xf4, 0x92, 0xec, 0x2c, 0xc4, 0x44,
    0x49, 0xc5, 0x69, 0x7b, 0x32, 0x69, 0x19, 0x70, 0x3b, 0xac, 0x03, 0x1c, 0xae, 0x7f, 0x60,
];
const PUBLIC: [u8; 32] = [
    0xd7, 0x5a, 0x98, 0x01, 0x82, 0xb1, 0x0a, 0xb7, 0xd5, 0x4b, 0xfe, 0xd3, 0xc9, 0x64, 0x07, 0x3a, 0x0e,
    0xe1, 0x72, 0xf3, 0xda, 0xa6, 0x23, 0x25, 0xaf, 0x02, 0x1a, 0x68, 0xf7, 0x07, 0x51, 0x1a,
];
