//! XCLIENT: tells the next hop who the client is (Postfix's XCLIENT_README).
//!
//! It owns which attributes are sent and how they are written; it does no IO. A name that is merely
//! claimed never goes into NAME, because a mail server takes that for verified and grants rights by
//! it.

use sixgate_common::domain::is_domain_name;

use super::settings::Protocol;
use crate::nexthop::client::{ClientInfo, ClientName};

/// Longest XCLIENT command, CRLF included (RFC 5321 4.5.3.1.4).
const LINE_MAX: usize = 512;
/// Longest value of an attribute as Postfix takes it, encoded, in octets.
const VALUE_MAX: usize = 255;
/// The name or value is not known, and will not be.
const UNAVAILABLE: &str = "[UNAVAILABLE]";
/// DNS could not answer at the moment.
const TEMPORARILY_UNAVAILABLE: &str = "[TEMPUNAVAIL]";
/// Without these two the client's identity is not passed on: a mail server would keep the name that
/// it found for us.
const REQUIRED_BY_SMTP: &str = "XCLIENT NAME ADDR";
/// Dovecot's LMTP server has no notion of a client's name.
const REQUIRED_BY_LMTP: &str = "XCLIENT ADDR";

/// The extension that a next hop has to offer to learn who the client is, with the attributes.
pub(super) fn required(protocol: Protocol) -> &'static str {
    match protocol {
        Protocol::Smtp => REQUIRED_BY_SMTP,
        Protocol::Lmtp => REQUIRED_BY_LMTP,
    }
}

/// Whether a next hop that takes the attributes in `offered` learns what is `required`.
pub(super) fn is_sufficient(offered: &[String], required: &str) -> bool {
    required.split(' ').skip(1).all(|name| is_offered(name, offered))
}

/// The commands that tell who `client` is, CRLF included, using none but the attributes in
/// `offered`.
pub(super) fn commands(client: &ClientInfo, offered: &[String]) -> Vec<String> {
    let mut commands = vec![String::from("XCLIENT")];
    for (name, value) in attributes(client) {
        let value = xtext(&value);
        if !is_offered(name, offered) || value.len() > VALUE_MAX {
            continue;
        }
        let attribute = format!(" {name}={value}");
        match commands.last_mut() {
            Some(command) if command.len() + attribute.len() + "\r\n".len() <= LINE_MAX => {
                command.push_str(&attribute);
            }
            _ => commands.push(format!("XCLIENT{attribute}")),
        }
    }
    for command in &mut commands {
        command.push_str("\r\n");
    }
    commands
}

fn is_offered(name: &str, offered: &[String]) -> bool {
    offered.iter().any(|offered| offered == name)
}

/// ADDR comes last: once it is sent, the next hop judges us by that address, and usually takes no
/// further XCLIENT. A HELO name that is too long when encoded is left to the EHLO that follows,
/// which has it as well.
fn attributes(client: &ClientInfo) -> [(&'static str, String); 8] {
    let ends = &client.endpoints;
    let (name, reverse_name) = names(&client.name);
    let protocol = if client.esmtp { "ESMTP" } else { "SMTP" };
    [
        ("PROTO", protocol.to_owned()),
        ("HELO", client.helo.to_string()),
        ("DESTADDR", format!("IPV6:{}", ends.destination)),
        ("DESTPORT", ends.destination_port.to_string()),
        ("PORT", ends.source_port.to_string()),
        ("REVERSE_NAME", reverse_name),
        ("NAME", name),
        ("ADDR", format!("IPV6:{}", ends.source)),
    ]
}

/// The values of NAME (verified) and REVERSE_NAME (the PTR record's name). Names that no mail
/// server would take for host names count as absent.
fn names(name: &ClientName) -> (String, String) {
    let usable = |name: &&String| {
        let labels = name.replace('_', "x");
        is_domain_name(labels.as_bytes())
    };
    let or_unavailable = |name: Option<&String>| name.map_or(UNAVAILABLE, String::as_str).to_owned();
    match name {
        ClientName::Confirmed(name) => {
            let name = or_unavailable(Some(name).filter(usable));
            (name.clone(), name)
        }
        ClientName::Claimed(name) => (UNAVAILABLE.to_owned(), or_unavailable(Some(name).filter(usable))),
        ClientName::Absent => (UNAVAILABLE.to_owned(), UNAVAILABLE.to_owned()),
        ClientName::Failure => (TEMPORARILY_UNAVAILABLE.to_owned(), TEMPORARILY_UNAVAILABLE.to_owned()),
    }
}

/// xtext of RFC 3461 4: what is not visible ASCII, and `+` and `=`, becomes `+` and two hexadecimal
/// digits.
fn xtext(value: &str) -> String {
    let mut encoded = String::with_capacity(value.len());
    for octet in value.bytes() {
        match octet {
            b'+' | b'=' => encoded.push_str(&format!("+{octet:02X}")),
            b'!'..=b'~' => encoded.push(char::from(octet)),
            _ => encoded.push_str(&format!("+{octet:02X}")),
        }
    }
    encoded
}

#[cfg(test)]
mod tests {
    use super::*;
    use sixgate_smtp::{command::Command, policy::evidence::Endpoints};

    const ALL: &str = "NAME ADDR PROTO HELO REVERSE_NAME PORT LOGIN DESTADDR DESTPORT";

    fn client(name: ClientName, helo: &str) -> ClientInfo {
        ClientInfo {
            endpoints: Endpoints {
                source: "2001:db8::1".parse().expect("an address"),
                source_port: 40000,
                destination: "2001:db8::25".parse().expect("an address"),
                destination_port: 25,
            },
            name,
            helo: match Command::parse(format!("EHLO {helo}").as_bytes()) {
                Ok(Command::Ehlo(name)) => name,
                other => panic!("{other:?}"),
            },
            esmtp: true,
        }
    }

    fn offered(names: &str) -> Vec<String> {
        names.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn only_a_confirmed_name_is_given_as_verified() {
        let rows = [
            (ClientName::Confirmed("mail.example".into()), "REVERSE_NAME=mail.example NAME=mail.example"),
            (ClientName::Confirmed("a_b.example".into()), "REVERSE_NAME=a_b.example NAME=a_b.example"),
            (
                ClientName::Confirmed("a b\r\n.example".into()),
                "REVERSE_NAME=[UNAVAILABLE] NAME=[UNAVAILABLE]",
            ),
            (ClientName::Claimed("mail.example".into()), "REVERSE_NAME=mail.example NAME=[UNAVAILABLE]"),
            (ClientName::Claimed("a..b".into()), "REVERSE_NAME=[UNAVAILABLE] NAME=[UNAVAILABLE]"),
            (ClientName::Absent, "REVERSE_NAME=[UNAVAILABLE] NAME=[UNAVAILABLE]"),
            (ClientName::Failure, "REVERSE_NAME=[TEMPUNAVAIL] NAME=[TEMPUNAVAIL]"),
        ];
        for (name, wanted) in rows {
            let commands = commands(&client(name.clone(), "helo.example"), &offered(ALL));
            let front = "PROTO=ESMTP HELO=helo.example DESTADDR=IPV6:2001:db8::25 DESTPORT=25 PORT=40000";
            let wanted = format!("XCLIENT {front} {wanted} ADDR=IPV6:2001:db8::1\r\n");
            assert_eq!(commands, [wanted], "{name:?}");
        }
    }

    #[test]
    fn nothing_is_sent_that_is_not_offered() {
        let rows = [
            ("NAME ADDR", "XCLIENT NAME=[UNAVAILABLE] ADDR=IPV6:2001:db8::1\r\n"),
            ("HELO ADDR NAME", "XCLIENT HELO=h NAME=[UNAVAILABLE] ADDR=IPV6:2001:db8::1\r\n"),
        ];
        for (names, wanted) in rows {
            assert_eq!(commands(&client(ClientName::Absent, "h"), &offered(names)), [wanted], "{names}");
        }
    }

    #[test]
    fn without_name_and_address_it_is_not_enough() {
        // for SMTP and for LMTP
        let rows = [
            (ALL, true, true),
            ("ADDR NAME", true, true),
            ("ADDR PORT TTL TIMEOUT", false, true),
            ("NAME PORT", false, false),
            ("", false, false),
        ];
        for (names, smtp, lmtp) in rows {
            let enough = |protocol| is_sufficient(&offered(names), required(protocol));
            assert_eq!((enough(Protocol::Smtp), enough(Protocol::Lmtp)), (smtp, lmtp), "{names}");
        }
    }

    #[test]
    fn no_command_is_longer_than_a_command_may_be() {
        let label = "x".repeat(60);
        let name = ClientName::Confirmed([label.as_str(); 4].join("."));
        let commands = commands(&client(name, &"h".repeat(255)), &offered(ALL));
        assert_eq!(commands.len(), 3);
        for command in &commands {
            assert!(command.starts_with("XCLIENT ") && command.ends_with("\r\n"), "{command}");
            assert!(command.len() <= LINE_MAX, "{command}");
        }
        let with_address: Vec<bool> = commands.iter().map(|line| line.contains(" ADDR=")).collect();
        assert_eq!(with_address, [false, false, true]);
    }

    #[test]
    fn values_are_xtext() {
        assert_eq!(xtext("a+b=c\x7f [é]"), "a+2Bb+3Dc+7F+20[+C3+A9]");
        let commands = commands(&client(ClientName::Absent, &"+".repeat(255)), &offered(ALL));
        assert!(!commands.concat().contains("HELO"));
    }
}
