//! Command lines: one that is understood can be written and understood again, has no octet that a
//! next hop or a log could take for something else, and is the same to the kernel's reader.
//!
//! Where lines end is tried by the target `line`.

#![no_main]

use libfuzzer_sys::fuzz_target;
use sixgate_common::{domain::recipient_domain, line::verb, refuse::Verb};
use sixgate_smtp::command::{Body, Command, MailFrom, Mailbox, RcptTo};

fuzz_target!(|line: &[u8]| {
    // lines have none of these: see `line`
    if line.iter().any(|octet| matches!(octet, b'\r' | b'\n' | 0)) {
        return;
    }
    let Ok(command) = Command::parse(line) else {
        return;
    };
    same_in_the_kernel(line, &command);
    match &command {
        Command::Mail(mail) => {
            if let Some(mailbox) = &mail.reverse_path {
                fit_to_be_passed_on(mailbox);
            }
            let again = Command::parse(written_mail(mail).as_bytes());
            assert_eq!(again.as_ref(), Ok(&command));
        }
        Command::Rcpt(recipient) => {
            if let RcptTo::Mailbox(mailbox) = recipient {
                fit_to_be_passed_on(mailbox);
            }
            let again = Command::parse(format!("RCPT TO:<{recipient}>").as_bytes());
            assert_eq!(again.as_ref(), Ok(&command));
        }
        Command::Ehlo(name) | Command::Helo(name) => {
            assert!(name.as_str().bytes().all(|octet| octet.is_ascii_graphic()));
            assert!((1..=255).contains(&name.as_str().len()));
        }
        _ => {}
    }
});

fn written_mail(mail: &MailFrom) -> String {
    let path = mail.reverse_path.as_ref().map(Mailbox::to_string).unwrap_or_default();
    let mut line = format!("MAIL FROM:<{path}>");
    if let Some(size) = mail.size {
        line += &format!(" SIZE={size}");
    }
    match mail.body {
        None => {}
        Some(Body::SevenBit) => line += " BODY=7BIT",
        Some(Body::EightBitMime) => line += " BODY=8BITMIME",
    }
    if mail.smtp_utf8 {
        line += " SMTPUTF8";
    }
    line
}

/// RFC 5321 4.5.3.1.2 and 4.5.3.1.3, and nothing that ends a line or a path.
fn fit_to_be_passed_on(mailbox: &Mailbox) {
    let text = mailbox.to_string();
    assert!(!text.contains(char::is_control), "{text:?}");
    assert!(text.is_ascii() == mailbox.is_ascii() && text.chars().count() <= 254, "{text:?}");
    assert!(!mailbox.local_part().is_empty() && mailbox.domain().len() <= 255, "{text:?}");
    let plain = |octet: u8| octet.is_ascii_alphanumeric() || b"-_.[]:".contains(&octet);
    let domain = mailbox.domain_name().unwrap_or_else(|| mailbox.domain());
    assert!(domain.bytes().all(plain), "{text:?}");
    if !mailbox.local_part().starts_with('"') {
        assert!(!mailbox.local_part().contains([' ', '<', '>', '"', '\\', '@', ':', ',']), "{text:?}");
    }
}

/// The kernel answers refused sessions with its own reading of the same line.
fn same_in_the_kernel(line: &[u8], command: &Command) {
    let verb = verb(line, 0, line.len());
    let agrees = match verb {
        Verb::Ehlo => matches!(command, Command::Ehlo(_)),
        Verb::Helo => matches!(command, Command::Helo(_)),
        Verb::Mail => matches!(command, Command::Mail(_)),
        Verb::Rcpt => matches!(command, Command::Rcpt(_)),
        Verb::Data => matches!(command, Command::Data),
        Verb::Quit => matches!(command, Command::Quit),
        Verb::Rset => matches!(command, Command::Rset),
        _ => true,
    };
    assert!(agrees, "{verb:?} and {command:?}");
    if let (Verb::Rcpt, Command::Rcpt(recipient)) = (verb, command) {
        let span = recipient_domain(line, 0, line.len());
        let found = span.map(|span| &line[span.start..span.start + span.length]);
        // the kernel knows ASCII between angle brackets only, and names the address where the
        // daemon names another domain
        let domain = recipient.mailbox().filter(|mailbox| mailbox.domain().is_ascii());
        let domain = domain.and_then(Mailbox::domain_name).map(str::as_bytes);
        assert!(found.is_none() || found == domain, "{found:?} and {domain:?}");
    }
}
