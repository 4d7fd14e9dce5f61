//! The hashes of a body (RFC 6376 3.7), as many as its signatures need, in one walk through it.
//! What they are compared with is not its business.

use std::{
    collections::BTreeMap,
    io::{self, BufRead},
};

use crate::dkim::{
    canonical::{Body, Canonicalization},
    crypto::{DIGEST, Sha256},
    signature::Signature,
};

/// The questions about a body.
#[derive(Clone, Debug, Default)]
pub(super) struct WantedHashes {
    relaxed: Option<Vec<u64>>,
    simple: Option<Vec<u64>>,
}

/// The answers about a body.
#[derive(Debug, Default)]
pub(super) struct BodyHashes {
    relaxed: Option<Hashes>,
    simple: Option<Hashes>,
}

/// One canonical form of a body.
#[derive(Debug)]
pub(super) struct Hashes {
    /// The octets of the canonical body.
    pub(super) length: u64,
    /// The hash of all of it.
    pub(super) whole: [u8; DIGEST],
    /// The hashes of beginnings of it, by their lengths.
    pub(super) beginnings: BTreeMap<u64, [u8; DIGEST]>,
}

impl WantedHashes {
    /// What `signatures` need.
    pub(super) fn by<'a>(signatures: impl Iterator<Item = &'a Signature>) -> Self {
        let mut wanted = Self::default();
        for signature in signatures {
            let form = match signature.body_form {
                Canonicalization::Relaxed => &mut wanted.relaxed,
                Canonicalization::Simple => &mut wanted.simple,
            };
            form.get_or_insert_default().extend(signature.body_length);
        }
        wanted
    }

    /// How many times the body is hashed.
    pub(super) fn passes(&self) -> u64 {
        u64::from(self.relaxed.is_some()) + u64::from(self.simple.is_some())
    }
}

impl BodyHashes {
    /// Reads `body` to its end, unless `is_over` reports between two reads that the result is not
    /// awaited any more.
    ///
    /// # Errors
    /// It cannot be read, or it was over.
    pub(super) fn of(
        mut body: impl BufRead,
        wanted: WantedHashes,
        is_over: impl Fn() -> bool,
    ) -> io::Result<Self> {
        let mut relaxed = wanted.relaxed.map(|lengths| Hasher::new(Canonicalization::Relaxed, lengths));
        let mut simple = wanted.simple.map(|lengths| Hasher::new(Canonicalization::Simple, lengths));
        loop {
            let octets = match body.fill_buf() {
                Ok([]) => break,
                Ok(octets) => octets.get(..READ_MAX).unwrap_or(octets),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                Err(error) => return Err(error),
            };
            if is_over() {
                return Err(io::ErrorKind::TimedOut.into());
            }
            for hasher in relaxed.iter_mut().chain(&mut simple) {
                hasher.write(octets);
            }
            let count = octets.len();
            body.consume(count);
        }
        Ok(Self { relaxed: relaxed.map(Hasher::finish), simple: simple.map(Hasher::finish) })
    }

    /// The hash that `bh=` of `signature` has to be; none if it covers more than there is.
    pub(super) fn of_signature(&self, signature: &Signature) -> Option<&[u8; DIGEST]> {
        let hashes = self.form(signature.body_form)?;
        match signature.body_length {
            Some(length) if length < hashes.length => hashes.beginnings.get(&length),
            Some(length) if length > hashes.length => None,
            // all of it is signed, with or without an explicit length
            Some(_) | None => Some(&hashes.whole),
        }
    }

    /// Those of one form, if they were wanted.
    pub(super) fn form(&self, form: Canonicalization) -> Option<&Hashes> {
        match form {
            Canonicalization::Relaxed => self.relaxed.as_ref(),
            Canonicalization::Simple => self.simple.as_ref(),
        }
    }
}

/// Makes one form and hashes it.
struct Hasher {
    body: Body,
    digests: Digests,
    /// Canonical octets that have not been hashed yet: there may be few in each of very many
    /// pieces.
    pending: Vec<u8>,
}

struct Digests {
    so_far: Sha256,
    length: u64,
    /// Lengths at which a hash is wanted, the next one last.
    ahead: Vec<u64>,
    beginnings: BTreeMap<u64, [u8; DIGEST]>,
}

impl Hasher {
    fn new(form: Canonicalization, mut lengths: Vec<u64>) -> Self {
        lengths.sort_unstable_by(|one, other| other.cmp(one));
        lengths.dedup();
        let digests =
            Digests { so_far: Sha256::new(), length: 0, ahead: lengths, beginnings: BTreeMap::new() };
        Self { body: Body::new(form), digests, pending: Vec::with_capacity(PENDING) }
    }

    fn write(&mut self, octets: &[u8]) {
        let Self { body, digests, pending } = self;
        body.write(octets, &mut |octets| digests.collect(pending, octets));
    }

    fn finish(self) -> Hashes {
        let Self { body, mut digests, mut pending } = self;
        body.finish(&mut |octets| digests.collect(&mut pending, octets));
        digests.update(&pending);
        let Digests { so_far, length, beginnings, .. } = digests;
        Hashes { length, whole: so_far.finish(), beginnings }
    }
}

impl Digests {
    fn collect(&mut self, pending: &mut Vec<u8>, octets: &[u8]) {
        if pending.len() + octets.len() > PENDING {
            self.update(pending);
            pending.clear();
        }
        if octets.len() > PENDING {
            self.update(octets);
        } else {
            pending.extend_from_slice(octets);
        }
    }

    fn update(&mut self, mut octets: &[u8]) {
        while let Some(next) = self.ahead.last().copied()
            && let Some((before, after)) =
                usize::try_from(next - self.length).ok().and_then(|count| octets.split_at_checked(count))
        {
            self.hash(before);
            self.beginnings.insert(next, self.so_far.clone().finish());
            self.ahead.pop();
            octets = after;
        }
        self.hash(octets);
    }

    fn hash(&mut self, octets: &[u8]) {
        self.so_far.update(octets);
        self.length += octets.len() as u64;
    }
}

/// Octets that are hashed without asking whether the result is still awaited.
const READ_MAX: usize = 64 << 10;
/// Octets that are hashed at once if they come in smaller pieces.
const PENDING: usize = 4 << 10;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn hash(octets: &[u8]) -> [u8; DIGEST] {
        let mut hash = Sha256::new();
        hash.update(octets);
        hash.finish()
    }

    fn wanted(relaxed: &[u64], simple: &[u64]) -> WantedHashes {
        WantedHashes { relaxed: Some(relaxed.to_vec()), simple: Some(simple.to_vec()) }
    }

    #[test]
    fn empty_bodies_have_the_hashes_of_the_rfc() {
        let hashes =
            BodyHashes::of(io::empty(), wanted(&[0, 1], &[0, 2, 3]), || false).expect("an empty body");
        // RFC 6376 3.4.3 and 3.4.4
        let in_base64 = |form| data_encoding::BASE64.encode(&hashes.form(form).expect("it was wanted").whole);
        assert_eq!(in_base64(Canonicalization::Simple), "frcCV1k9oG9oKj3dpUqdJg1PxRT2RSN/XKdLCPjaYaY=");
        assert_eq!(in_base64(Canonicalization::Relaxed), "47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=");
        let simple = hashes.form(Canonicalization::Simple).expect("it was wanted");
        assert_eq!((simple.length, simple.beginnings.keys().copied().collect::<Vec<_>>()), (2, vec![0, 2]));
    }

    #[test]
    fn only_what_is_wanted_is_hashed() {
        let none = BodyHashes::of(&b"a"[..], WantedHashes::default(), || false).expect("a body");
        assert!(
            none.form(Canonicalization::Relaxed).is_none() && none.form(Canonicalization::Simple).is_none()
        );
        assert_eq!((WantedHashes::default().passes(), wanted(&[], &[]).passes()), (0, 2));
    }

    #[test]
    fn hashing_stops_when_the_result_is_not_awaited() {
        assert!(BodyHashes::of(io::BufReader::new(io::repeat(b'a')), wanted(&[], &[]), || true).is_err());
    }

    /// A build without optimization hashes slowly.
    const CASES: u32 = if cfg!(debug_assertions) { 32 } else { 256 };

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(CASES))]
        #[test]
        fn every_hash_is_the_one_of_its_octets(
            lines in proptest::collection::vec("[ -~\t]{0,200}", 0..60),
            lengths in proptest::collection::vec(0_u64..12_000, 0..5),
        ) {
            let text = lines.join("\r\n");
            let hashes =
                BodyHashes::of(text.as_bytes(), wanted(&lengths, &lengths), || false).expect("a body");
            for form in [Canonicalization::Relaxed, Canonicalization::Simple] {
                let mut canonical = Vec::new();
                let mut body = Body::new(form);
                body.write(text.as_bytes(), &mut |octets| canonical.extend_from_slice(octets));
                body.finish(&mut |octets| canonical.extend_from_slice(octets));
                let found = hashes.form(form).expect("it was wanted");
                prop_assert_eq!(found.length, canonical.len() as u64);
                prop_assert_eq!(found.whole, hash(&canonical));
                for length in &lengths {
                    let beginning = usize::try_from(*length).ok().and_then(|length| canonical.get(..length));
                    prop_assert_eq!(found.beginnings.get(length).copied(), beginning.map(hash));
                }
            }
        }
    }
}
