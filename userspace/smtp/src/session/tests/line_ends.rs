//! Lines that end with anything but CRLF, and the lines of other protocols: each ends the session.

use super::pair::Pair;
use crate::session::Admission;

#[test]
fn the_words_of_another_protocol_end_the_session() {
    for opening in ["PROXY TCP6 ::1 ::1 1 25\r\n", "POST / HTTP/1.1\r\nHost: gate.example\r\n\r\n"] {
        let mut pair = Pair::new(Admission::Serve);
        pair.hear();
        assert_eq!(pair.say(opening.as_bytes()), "500 5.5.1 This is SMTP\r\n");
        assert!(pair.session.is_closing());
    }
    let mut pair = Pair::new(Admission::Serve);
    pair.hear();
    let heard = pair.say(b"\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x24");
    assert!(
        heard.ends_with("500 5.5.2 Lines end with <CRLF>; bare <CR>, bare <LF> and NUL are not accepted\r\n")
    );
    assert!(pair.session.is_closing());
}

#[test]
fn line_ends_other_than_crlf_end_the_session() {
    for (said, wanted) in [
        (&b"HELO a\n"[..], "500 5.5.2 "),
        (b"HELO a\r\nNO\rOP\r\n", "500 5.5.2 "),
        (b"HELO a\r\nMAIL FROM:<>\r\nRCPT TO:<u@contoso.com>\r\nDATA\r\nx\n.\r\nQUIT\r\n", "550 5.6.0 "),
    ] {
        let mut pair = Pair::new(Admission::Serve);
        let heard = pair.say(said);
        assert!(heard.lines().last().unwrap().starts_with(wanted), "{heard}");
        assert!(pair.session.is_closing());
        assert!(pair.messages.is_empty());
    }
}

#[test]
fn a_bare_line_end_in_a_command_ends_the_session_anywhere_however_split() {
    let begun = "EHLO a\r\n";
    let mail = "EHLO a\r\nMAIL FROM:<>\r\n";
    let recipient = "EHLO a\r\nMAIL FROM:<>\r\nRCPT TO:<u@contoso.com>\r\n";
    let chunk = "EHLO a\r\nMAIL FROM:<>\r\nRCPT TO:<u@contoso.com>\r\nBDAT 3\r\na\r\n";
    let whole = "EHLO a\r\nMAIL FROM:<>\r\nRCPT TO:<u@contoso.com>\r\nBDAT 3 LAST\r\na\r\n";
    let data = "EHLO a\r\nMAIL FROM:<>\r\nRCPT TO:<u@contoso.com>\r\nDATA\r\na\r\n.\r\n";
    let skipped = "EHLO a\r\nBDAT 3 LAST\r\n\n\0\r";
    let ends = ["\n", "\r", "\0", "\r\r\n", "\n\r\n", "\0\r\n", "\r\0\n", "\n\n", "\r\r"];
    for before in ["", begun, mail, recipient, chunk, whole, data, skipped] {
        for end in ends {
            for command in ["NOOP", "RCPT TO:<evil@contoso.com>", "DATA", "BDAT 0 LAST", "QUIT", ""] {
                let said = format!("{before}{command}{end}RSET\r\nMAIL FROM:<evil@b.example>\r\n");
                for length in [1, 2, 7, said.len()] {
                    let mut pair = Pair::new(Admission::Serve);
                    let delivered = usize::from([whole, data].contains(&before));
                    let mut heard = String::new();
                    for octets in said.as_bytes().chunks(length) {
                        heard += &pair.say(octets);
                    }
                    assert!(
                        heard.lines().last().unwrap().starts_with("500 5.5.2 Lines end with"),
                        "{said:?} by {length}: {heard}"
                    );
                    assert!(pair.session.is_closing() && pair.session.transaction().is_none());
                    assert_eq!(pair.messages.len(), delivered, "{said:?} by {length}");
                }
            }
        }
    }
}
