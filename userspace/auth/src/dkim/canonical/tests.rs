//! Both forms, against the text of RFC 6376 and against a second, simple-minded reading of it.

use proptest::prelude::*;

use super::*;
use crate::fields::fields;

fn body(form: Canonicalization, pieces: &[&[u8]]) -> Vec<u8> {
    let mut octets = Vec::new();
    let mut sink = |piece: &[u8]| octets.extend_from_slice(piece);
    let mut body = Body::new(form);
    for piece in pieces {
        body.write(piece, &mut sink);
    }
    body.finish(&mut sink);
    octets
}

fn signed(header: &str, names: &[&str], own: usize, form: Canonicalization) -> String {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let octets = Header::new(fields(header.as_bytes()).collect()).signed(&names, own, form);
    String::from_utf8(octets).expect("text")
}

#[test]
fn the_examples_of_the_rfc() {
    // RFC 6376 3.4.5
    let header = "A: X\r\nB : Y\t\r\n\tZ  \r\nS:\r\n";
    assert_eq!(signed(header, &["a", "b"], 2, Canonicalization::Relaxed), "a:X\r\nb:Y Z\r\ns:");
    assert_eq!(signed(header, &["a", "b"], 2, Canonicalization::Simple), "A: X\r\nB : Y\t\r\n\tZ  \r\nS:");
    let text = b" C \r\nD \t E\r\n\r\n\r\n";
    assert_eq!(body(Canonicalization::Relaxed, &[text]), b" C\r\nD E\r\n");
    assert_eq!(body(Canonicalization::Simple, &[text]), b" C \r\nD \t E\r\n");
}

#[test]
fn bodies_in_both_forms() {
    let rows: [(&[u8], &[u8], &[u8]); 18] = [
        (b"", b"", b"\r\n"),
        (b"\r\n", b"", b"\r\n"),
        (b"\r\n\r\n\r\n", b"", b"\r\n"),
        (b" ", b"", b" \r\n"),
        (b" \t\r\n \r\n", b"", b" \t\r\n \r\n"),
        (b"a", b"a\r\n", b"a\r\n"),
        (b"a\r\n", b"a\r\n", b"a\r\n"),
        (b"a \t\r\n", b"a\r\n", b"a \t\r\n"),
        (b"a  b\t\tc\r\n", b"a b c\r\n", b"a  b\t\tc\r\n"),
        (b"\ta\r\n", b" a\r\n", b"\ta\r\n"),
        (b"a\r\n\r\n", b"a\r\n", b"a\r\n"),
        (b"a\r\n \t\r\n\r\n", b"a\r\n", b"a\r\n \t\r\n"),
        (b"a\r\n \r\nb\r\n  \r\n", b"a\r\n\r\nb\r\n", b"a\r\n \r\nb\r\n  \r\n"),
        (b"\r\n\r\na", b"\r\n\r\na\r\n", b"\r\n\r\na\r\n"),
        (b"a\r", b"a\r\r\n", b"a\r\r\n"),
        (b"a\n\r\n", b"a\n\r\n", b"a\n\r\n"),
        (b"a\rb\r\r\n", b"a\rb\r\r\n", b"a\rb\r\r\n"),
        (b"a \r b", b"a \r b\r\n", b"a \r b\r\n"),
    ];
    for (text, relaxed, simple) in rows {
        let shown = text.escape_ascii().to_string();
        assert_eq!(
            body(Canonicalization::Relaxed, &[text]).escape_ascii().to_string(),
            relaxed.escape_ascii().to_string(),
            "{shown}"
        );
        assert_eq!(
            body(Canonicalization::Simple, &[text]).escape_ascii().to_string(),
            simple.escape_ascii().to_string(),
            "{shown}"
        );
    }
}

#[test]
fn what_does_not_change_is_given_out_at_once_from_where_it_lies() {
    let rows: [(Canonicalization, &[u8], &[&str]); 5] = [
        (Canonicalization::Simple, b"a  b\t\r\n\r\nc \r\n\r\n", &["a  b\t\r\n\r\nc "]),
        (Canonicalization::Relaxed, b"a b\r\n\r\n c\r\n\r\n", &["a b\r\n\r\n c"]),
        (Canonicalization::Relaxed, b"a\tb\r\nc d", &["a", " ", "b\r\nc d"]),
        (Canonicalization::Relaxed, b"a b \r\nc", &["a b", "\r\n", "c"]),
        (Canonicalization::Relaxed, b"\r\n a", &["\r\n", " ", "a"]),
    ];
    for (form, piece, wanted) in rows {
        let mut found = Vec::new();
        Body::new(form).write(piece, &mut |octets| {
            let lies_there = piece.as_ptr_range().contains(&octets.as_ptr());
            found.push((String::from_utf8_lossy(octets).into_owned(), lies_there));
        });
        let texts: Vec<&str> = found.iter().map(|(text, _)| text.as_str()).collect();
        assert_eq!(texts, wanted, "{form:?}");
        assert!(found.iter().all(|(text, lies_there)| *lies_there || text.trim().is_empty()), "{form:?}");
    }
}

#[test]
fn many_empty_lines_are_given_out_when_text_follows() {
    for count in [15, 16, 17, 1000] {
        let text = format!("a{}b", "\r\n".repeat(count));
        let wanted = format!("{text}\r\n");
        assert_eq!(body(Canonicalization::Relaxed, &[text.as_bytes()]), wanted.as_bytes());
        assert_eq!(body(Canonicalization::Simple, &[text.as_bytes()]), wanted.as_bytes());
    }
}

#[test]
fn a_relaxed_field_keeps_its_words_only() {
    let rows = [
        ("SUBJect: AbC\r\n", "subject:AbC"),
        ("Subject  \t:\t a\r\n", "subject:a"),
        ("Subject:a \t b\r\n", "subject:a b"),
        ("Subject:\r\n\ta\r\n \r\n  b \r\n", "subject:a b"),
        ("Subject:\r\n", "subject:"),
        ("Subject: \t\r\n \r\n", "subject:"),
        ("Subject: a\x0cb\x0b \r\n", "subject:a\x0cb\x0b"),
        ("Subject: a:b; b=c\r\n", "subject:a:b; b=c"),
        ("Subject: last", "subject:last"),
    ];
    for (field, wanted) in rows {
        let header = format!("{field}{}S: v\r\n", if field.ends_with("\r\n") { "" } else { "\r\n" });
        assert_eq!(
            signed(&header, &["subject"], 1, Canonicalization::Relaxed),
            format!("{wanted}\r\ns:v"),
            "{field:?}"
        );
    }
}

#[test]
fn fields_are_taken_from_the_bottom_and_each_once() {
    let header = "S: own; b=x\r\nA: 1\r\nB: 2\r\na: 3\r\nS: other; b=y\r\n";
    let rows: [(&[&str], &str); 6] = [
        (&["a"], "a:3\r\n"),
        (&["a", "a"], "a:3\r\na:1\r\n"),
        (&["a", "b", "a", "a", "b"], "a:3\r\nb:2\r\na:1\r\n"),
        (&["c"], ""),
        (&["s"], "s:other; b=y\r\n"),
        (&["s", "s"], "s:other; b=y\r\n"),
    ];
    for (names, wanted) in rows {
        assert_eq!(
            signed(header, names, 0, Canonicalization::Relaxed),
            format!("{wanted}s:own; b="),
            "{names:?}"
        );
    }
    assert_eq!(signed(header, &["s", "s"], 4, Canonicalization::Simple), "S: own; b=x\r\nS: other; b=");
}

/// RFC 6376 3.4.3 and 3.4.4 as they are written, line by line.
fn as_written(form: Canonicalization, text: &str) -> String {
    let mut lines: Vec<String> = text.split("\r\n").map(str::to_owned).collect();
    if form == Canonicalization::Relaxed {
        for line in &mut lines {
            let blanks = |character: char| matches!(character, ' ' | '\t');
            let texts = line.trim_end_matches(blanks).replace('\t', " ");
            *line = texts.split("  ").collect::<Vec<_>>().join(" ");
            while line.contains("  ") {
                *line = line.replace("  ", " ");
            }
        }
    }
    while lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
    match (lines.is_empty(), form) {
        (true, Canonicalization::Relaxed) => String::new(),
        _ => lines.join("\r\n") + "\r\n",
    }
}

proptest! {
    #[test]
    fn a_body_is_what_the_rfc_says_in_any_pieces_it_comes(
        text in "(a|b|:|\r\n|\r\n|\r|\n| |\t){0,40}",
        cuts in proptest::collection::vec(0_usize..80, 0..6),
    ) {
        let mut cuts: Vec<usize> = cuts.into_iter().map(|cut| cut.min(text.len())).collect();
        cuts.extend([0, text.len()]);
        cuts.sort_unstable();
        let pieces: Vec<&[u8]> = cuts.windows(2).map(|cut| &text.as_bytes()[cut[0]..cut[1]]).collect();
        for form in [Canonicalization::Relaxed, Canonicalization::Simple] {
            let canonical = body(form, &pieces);
            prop_assert_eq!(
                String::from_utf8_lossy(&canonical), as_written(form, &text), "{:?} of {:?}", form, text
            );
            // what is canonical stays as it is
            let again = body(form, &[canonical.as_slice()]);
            prop_assert_eq!(again, canonical);
        }
    }

    #[test]
    fn a_relaxed_field_survives_any_folding(texts in proptest::collection::vec("[!-~]{1,9}", 0..9), gaps in proptest::collection::vec("( |\t|\r\n |\r\n\t){1,4}", 10)) {
        let folded: String = texts.iter().zip(&gaps).map(|(text, gap)| format!("{gap}{text}")).collect();
        let header = format!("X \t:{folded}{}\r\nS:\r\n", gaps[9]);
        let wanted = format!("x:{}\r\ns:", texts.join(" "));
        prop_assert_eq!(signed(&header, &["x"], 1, Canonicalization::Relaxed), wanted);
    }
}
