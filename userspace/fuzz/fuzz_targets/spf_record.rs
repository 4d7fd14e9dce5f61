//! SPF records: a record is understood as it was written, no error hides behind correct terms, and
//! the reason against a wrong record can be shown.
//!
//! Macros are tried by the target `spf_macro`, the evaluation of records by the suites.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sixgate_auth::spf::record::{LONGEST_RECORD, LONGEST_TERM, MAX_TERMS, Record, Selection, select};

fuzz_target!(|text: &[u8]| {
    let is_record =
        text.to_ascii_lowercase() == b"v=spf1" || text.to_ascii_lowercase().starts_with(b"v=spf1 ");
    let texts = [b"other text".to_vec(), text.to_vec()];
    assert_eq!(select(&texts), if is_record { Selection::One(text) } else { Selection::None });
    match Record::parse(text) {
        Ok(record) => {
            assert!(is_record && text.len() <= LONGEST_RECORD);
            says_what_was_written(text, &record);
            is_wrong_with_anything_wrong(text);
        }
        Err(error) => {
            assert!(error.term.len() <= LONGEST_TERM, "{}", error.term);
            assert!(error.term.bytes().all(|octet| octet.is_ascii_graphic()), "{}", error.term);
        }
    }
});

fn says_what_was_written(text: &[u8], record: &Record) {
    let terms = text[6..].split(|octet| *octet == b' ').filter(|term| !term.is_empty());
    assert!(text.iter().all(|octet| matches!(octet, b' '..=b'~')));
    let modifiers = [&record.redirect, &record.explanation].into_iter().flatten().count();
    let understood = record.directives.len() + modifiers + record.others.len();
    assert_eq!(understood, terms.count());
    assert!(understood <= MAX_TERMS);
    let printed = record.to_string();
    if printed.len() <= LONGEST_RECORD {
        assert_eq!(Record::parse(printed.as_bytes()).as_ref(), Ok(record), "{printed}");
    }
}

/// RFC 7208 4.6: a syntax error anywhere, behind a match too, makes the whole record wrong.
fn is_wrong_with_anything_wrong(text: &[u8]) {
    for wrong in WRONG {
        let (before, behind) = ([b"v=spf1 ", *wrong, &text[6..]].concat(), [text, b" ", wrong].concat());
        for record in [before, behind] {
            assert!(Record::parse(&record).is_err(), "{}", record.escape_ascii());
        }
    }
}

/// No terms, wherever they stand.
const WRONG: &[&[u8]] =
    &[b"ip4:1.2.3.256", b"ip6:::1::", b"a/33", b"mx//129", b"all:", b"redirect=%", b"=x", b"\x7f"];
