//! The Received header field that sixgate adds (RFC 5321 4.4).
//!
//! It owns the field's form; every value of a client that gets into it is bounded and harmless by
//! type.

use std::fmt;

use crate::{
    command::{Mailbox, RcptTo},
    policy::evidence::Endpoints,
    session::{Tls, Transaction},
};

/// The contents of the field.
#[derive(Clone, Copy, Debug)]
pub struct Received<'a> {
    /// The host name of this server.
    pub hostname: &'a str,
    /// Both ends of the connection.
    pub endpoints: Endpoints,
    /// How the connection is encrypted, if it is.
    pub tls: Option<&'a Tls>,
    /// The name of the source that leads back to it, if there is one: readers take what stands here
    /// for verified.
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
        write!(f, "Received: from {}", Plain(self.transaction.hello.name.as_str()))?;
        write!(f, "\r\n\t({source_name} [IPv6:{}])", self.endpoints.source)?;
        // the registry of mail transmission types of IANA (RFC 3848, RFC 6531 4.3) has none for
        // HELO after STARTTLS
        let protocol =
            match (self.transaction.mail.smtp_utf8, self.transaction.hello.extended, self.tls.is_some()) {
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
        // a field outside ASCII needs SMTPUTF8 (RFC 6532)
        let shown = |recipient: &RcptTo| {
            self.transaction.mail.smtp_utf8 || recipient.mailbox().is_none_or(Mailbox::is_ascii)
        };
        if let [recipient] = self.transaction.recipients.as_slice()
            && shown(recipient)
        {
            write!(f, "\r\n\tfor <{recipient}>")?;
        }
        write!(f, ";\r\n\t{}\r\n", self.date)
    }
}

/// A client's name for itself; characters that could be taken for the field's own punctuation
/// become question marks.
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
    use std::sync::Arc;

    use super::*;
    use crate::command::Command;
    use crate::session::Hello;

    fn received(helo: &str, recipients: &[&str], source_name: Option<&str>) -> String {
        field(&format!("EHLO {helo}"), "MAIL FROM:<a@b.example>", recipients, source_name, None)
    }

    fn field(
        hello: &str,
        mail: &str,
        recipients: &[&str],
        source_name: Option<&str>,
        tls: Option<&Tls>,
    ) -> String {
        let hello = match Command::parse(hello.as_bytes()) {
            Ok(Command::Ehlo(name)) => Hello { name, extended: true },
            Ok(Command::Helo(name)) => Hello { name, extended: false },
            other => panic!("{hello}: {other:?}"),
        };
        let Ok(Command::Mail(mail)) = Command::parse(mail.as_bytes()) else {
            panic!("{mail}");
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
        let transaction = Transaction { hello: Arc::new(hello), mail: Arc::new(mail), recipients };
        let (hostname, id, date) = ("gate.example", "s1", "Sat, 21 Nov 2026 04:08:04 +0000");
        let transaction = &transaction;
        Received { hostname, endpoints, tls, source_name, transaction, id, date }.to_string()
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
    fn it_says_by_which_protocol_and_how_encrypted() {
        let tls = Tls { version: "TLS1.3", cipher: "TLS_AES_256_GCM_SHA384".to_owned() };
        let comment = "\r\n\t(version=TLS1.3 cipher=TLS_AES_256_GCM_SHA384)\r\n\tby ";
        for (hello, utf8, ascii) in
            [("EHLO a.example", "UTF8SMTP", "ESMTP"), ("HELO a.example", "UTF8SMTP", "SMTP")]
        {
            for (mail, protocol) in
                [("MAIL FROM:<a@b.example> SMTPUTF8", utf8), ("MAIL FROM:<a@b.example>", ascii)]
            {
                let plain = field(hello, mail, &[], None, None);
                assert!(
                    plain.contains(&format!(" with {protocol} id ")) && !plain.contains("version="),
                    "{plain}"
                );
                let protocol = if protocol == "SMTP" { "SMTP".to_owned() } else { format!("{protocol}S") };
                let encrypted = field(hello, mail, &[], None, Some(&tls));
                assert!(encrypted.contains(&format!(" with {protocol} id ")), "{encrypted}");
                assert!(encrypted.contains(comment), "{encrypted}");
            }
        }
    }

    #[test]
    fn several_recipients_are_not_shown_to_each_other() {
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
