//! The Received header field that sixgate adds (RFC 5321 4.4).
//!
//! It owns the field's form; every value of a stranger that gets into it is bounded and harmless by type.

use std::fmt;

use crate::{
    policy::evidence::Endpoints,
    smtp::session::{Hello, Tls, Transaction},
};

/// What the field says.
#[derive(Clone, Copy, Debug)]
pub struct Received<'a> {
    /// Our name.
    pub hostname: &'a str,
    /// Both ends of the connection.
    pub endpoints: Endpoints,
    /// EHLO or HELO.
    pub hello: &'a Hello,
    /// How the connection is encrypted, if it is.
    pub tls: Option<&'a Tls>,
    /// A name of the source from its PTR records, if there is one.
    pub source_name: Option<&'a str>,
    /// The transaction; its recipient is named if it is the only one (RFC 5321 7.2).
    pub transaction: &'a Transaction,
    /// The identifier that the log uses.
    pub id: &'a str,
    /// The date, as RFC 5322 3.3 writes it.
    pub date: &'a str,
}

/// The field, folded, with its final CRLF.
impl fmt::Display for Received<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let source_name = self.source_name.filter(|name| is_plain(name)).unwrap_or("unknown");
        write!(f, "Received: from {}", Plain(self.hello.name.as_str()))?;
        write!(f, "\r\n\t({source_name} [IPv6:{}])", self.endpoints.source)?;
        // the registry of mail transmission types of IANA (RFC 3848, RFC 6531 4.3) has none for HELO after STARTTLS
        let protocol = match (self.transaction.mail.smtp_utf8, self.hello.extended, self.tls.is_some()) {
            (true, _, true) => "UTF8SMTPS",
            (true, _, false) => "UTF8SMTP",
            (false, true, true) => "ESMTPS",
            (false, true, false) => "ESMTP",
            (false, false, _) => "SMTP",
        };
        if let Some(Tls { version, cipher }) = self.tls {
            write!(f, "\r\n\t(version={version} cipher={cipher})")?;
        }
        write!(f, "\r\n\tby {} (sixgate) with {protocol} id {}", self.hostname, self.id)?;
        if let [recipient] = self.transaction.recipients.as_slice() {
            write!(f, "\r\n\tfor <{recipient}>")?;
        }
        write!(f, ";\r\n\t{}\r\n", self.date)
    }
}

/// A stranger's name for itself; what could be taken for the field's own punctuation becomes a question mark.
struct Plain<'a>(&'a str);

impl fmt::Display for Plain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|char| write!(f, "{}", if is_plain_char(char) { char } else { '?' }))
    }
}

fn is_plain(text: &str) -> bool {
    text.chars().all(is_plain_char)
}

fn is_plain_char(char: char) -> bool {
    char.is_ascii_alphanumeric() || ".-_:[]".contains(char)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::smtp::command::Command;

    fn received(helo: &str, recipients: &[&str], source_name: Option<&str>) -> String {
        let Ok(Command::Ehlo(name)) = Command::parse(format!("EHLO {helo}").as_bytes()) else {
            panic!("{helo}");
        };
        let Ok(Command::Mail(mail)) = Command::parse(b"MAIL FROM:<a@b.example>") else {
            panic!("no MAIL");
        };
        let recipients = recipients
            .iter()
            .map(|recipient| match Command::parse(format!("RCPT TO:<{recipient}>").as_bytes()) {
                Ok(Command::Rcpt(rcpt)) => rcpt,
                other => panic!("{other:?}"),
            })
            .collect();
        let endpoints = Endpoints {
            source: "2001:db8::1".parse().unwrap(),
            source_port: 1,
            destination: "2001:db8::25".parse().unwrap(),
            destination_port: 25,
        };
        let hello = Hello { name, extended: true };
        let transaction = Transaction { mail, recipients };
        let (hostname, id, date) = ("gate.example", "s1", "Sat, 21 Nov 2026 04:08:04 +0000");
        let (hello, transaction, tls) = (&hello, &transaction, None);
        Received { hostname, endpoints, hello, tls, source_name, transaction, id, date }.to_string()
    }

    #[test]
    fn it_names_both_ends_and_a_single_recipient() {
        assert_eq!(
            received("mail.example", &["u@contoso.com"], Some("mail.example")),
            "Received: from mail.example\r\n\t(mail.example [IPv6:2001:db8::1])\r\n\tby gate.example (sixgate) with \
             ESMTP id s1\r\n\tfor <u@contoso.com>;\r\n\tSat, 21 Nov 2026 04:08:04 +0000\r\n"
        );
    }

    #[test]
    fn several_recipients_are_not_told_of_each_other() {
        assert!(!received("a", &["u@contoso.com", "v@contoso.com"], None).contains("contoso"));
    }

    #[test]
    fn a_strange_name_cannot_look_like_a_part_of_the_field() {
        let field = received("x(by;id)\\\"", &["u@contoso.com"], Some("evil);x"));
        assert!(
            field.starts_with("Received: from x?by?id???\r\n\t(unknown [IPv6:2001:db8::1])\r\n"),
            "{field}"
        );
    }
}
