//! RSA public keys in DER (X.690): their octets and their size. The use of a key is not its
//! business.

use pkcs1::{ALGORITHM_OID, RsaPublicKeyRef, der::Decode};
use spki::SubjectPublicKeyInfoRef;

/// An RSA public key.
#[derive(Debug, Eq, PartialEq)]
pub(super) struct RsaPublicKey<'a> {
    /// RSAPublicKey of RFC 8017 A.1.1.
    pub(super) octets: &'a [u8],
    /// Of the modulus, to the bit.
    pub(super) bits: usize,
}

/// Reads a SubjectPublicKeyInfo (RFC 5280 4.1) of RSA (RFC 3279 2.3.1), or an RSAPublicKey without
/// it. None if it is neither in DER, or if anything follows.
pub(super) fn rsa_public_key(octets: &[u8]) -> Option<RsaPublicKey<'_>> {
    let octets = match SubjectPublicKeyInfoRef::from_der(octets) {
        Ok(info) if info.algorithm.oid == ALGORITHM_OID => info.subject_public_key.as_bytes()?,
        Ok(_) => return None,
        Err(_) => octets,
    };
    let modulus = RsaPublicKeyRef::from_der(octets).ok()?.modulus.as_bytes();
    let unused = usize::try_from(modulus.first()?.leading_zeros()).ok()?;
    let bits = (modulus.len() * 8).checked_sub(unused).filter(|bits| *bits > 0)?;
    Some(RsaPublicKey { octets, bits })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const BIT_STRING: u8 = 0x03;
    const INTEGER: u8 = 0x02;
    const OBJECT_IDENTIFIER: u8 = 0x06;
    /// The object identifier rsaEncryption, 1.2.840.113549.1.1.1 (RFC 8017 A.1).
    const RSA_ENCRYPTION: &[u8] = &[0x2a, 0x86, 0x48, 0x86, 0xf7, 0x0d, 0x01, 0x01, 0x01];
    const SEQUENCE: u8 = 0x30;

    fn element(tag: u8, content: &[u8]) -> Vec<u8> {
        let length = u16::try_from(content.len()).expect("a short element").to_be_bytes();
        let length = match length {
            [0, low @ 0..=0x7f] => vec![low],
            [0, low] => vec![0x81, low],
            [high, low] => vec![0x82, high, low],
        };
        [&[tag], length.as_slice(), content].concat()
    }

    fn bare(modulus: &[u8]) -> Vec<u8> {
        let integers = [element(INTEGER, modulus), element(INTEGER, &[1, 0, 1])].concat();
        element(SEQUENCE, &integers)
    }

    fn wrapped(key: &[u8]) -> Vec<u8> {
        wrapped_with(0, key)
    }

    /// `unused`: how many bits of the last octet do not belong to the key.
    fn wrapped_with(unused: u8, key: &[u8]) -> Vec<u8> {
        let algorithm = [element(OBJECT_IDENTIFIER, RSA_ENCRYPTION), vec![5, 0]].concat();
        let bits = [&[unused], key].concat();
        element(SEQUENCE, &[element(SEQUENCE, &algorithm), element(BIT_STRING, &bits)].concat())
    }

    #[test]
    fn the_size_of_a_key_is_exact_to_the_bit() {
        let modulus = |first: &[u8], octets: usize| [first, &vec![0xff; octets]].concat();
        let rows = [
            (modulus(&[0, 0x80], 127), 1024),
            (modulus(&[0x7f], 127), 1023),
            (modulus(&[0x01], 127), 1017),
            (modulus(&[0, 0xff], 63), 512),
            (modulus(&[0, 0x80], 255), 2048),
            (modulus(&[1], 0), 1),
        ];
        for (modulus, bits) in rows {
            let key = bare(&modulus);
            let wanted = Some(RsaPublicKey { octets: &key, bits });
            assert_eq!(rsa_public_key(&key), wanted);
            assert_eq!(rsa_public_key(&wrapped(&key)), wanted);
        }
    }

    #[test]
    fn what_is_no_rsa_key_is_reported() {
        let good = bare(&[0x7f; 128]);
        let other = [element(OBJECT_IDENTIFIER, &[0x2b, 0x65, 0x70]), vec![5, 0]].concat();
        let other =
            [element(SEQUENCE, &other), element(BIT_STRING, &[&[0], good.as_slice()].concat())].concat();
        let content = &good[3..];
        let long_form = [&[SEQUENCE, 0x83, 0, 0, u8::try_from(content.len()).unwrap()], content].concat();
        let rows = [
            ("nothing", Vec::new()),
            ("cut off", good[..good.len() - 1].to_vec()),
            ("something behind", [good.as_slice(), &[0]].concat()),
            ("something behind, wrapped", [wrapped(&good).as_slice(), &[0]].concat()),
            ("zero", bare(&[0])),
            ("negative", bare(&[0x80; 128])),
            ("zeros before the modulus (X.690 8.3.2)", bare(&[[0].as_slice(), &[0x7f; 128]].concat())),
            ("a length in more octets than it needs (X.690 10.1)", long_form),
            ("bits of an octet left over", wrapped_with(3, &good)),
            ("no integers", element(SEQUENCE, &[])),
            ("another algorithm", element(SEQUENCE, &other)),
            ("a long length", vec![SEQUENCE, 0x84, 0xff, 0xff, 0xff, 0xff]),
        ];
        for (row, octets) in rows {
            assert_eq!(rsa_public_key(&octets), None, "{row}");
        }
    }

    proptest! {
        #[test]
        fn any_octets_are_read(octets in any::<Vec<u8>>()) {
            for octets in [octets.clone(), element(SEQUENCE, &octets)] {
                if let Some(key) = rsa_public_key(&octets) {
                    prop_assert!(key.bits <= 8 * octets.len());
                }
            }
        }
    }
}
