//! Smuggling (CVE-2023-51764 to -51766): any octets that some server takes for the end of a
//! message, after DATA and in chunks, in the clear and through TLS, before next hops of every kind.
//! One message arrives, or none.

use std::sync::Arc;

use rustls::ClientConfig;
use sixgate_tests::{
    client::Client,
    site::{GATE, SENDER, Site},
};

use crate::{
    can_run,
    next_hops::{Kind, NextHop},
    site_with_tls, start_tls,
};

/// What some server or other takes for the end of a message, or for the end of a line before it,
/// and RFC 5321 does not.
const ENDS: [&str; 16] = [
    "\n.\n",
    "\n.\r\n",
    "\r\n.\n",
    "\r.\r\n",
    "\r.\r",
    "\r\n.\r",
    "\n.\r",
    "\r\n\r.\r\n",
    "\r\n.\r\r\n",
    "\r\r\n.\r\n",
    "\n\n.\r\n",
    "\r\n\0.\r\n",
    "\r\n.\0\r\n",
    "\0",
    "\n",
    "\r",
];
/// What would come behind.
const SMUGGLED: &str =
    "MAIL FROM:<evil@sender.example>\r\nRCPT TO:<user@contoso.com>\r\nDATA\r\nSubject: evil\r\n\r\n.\r\n";
const BARE: &str = "550 5.6.0 Lines end with <CRLF>; bare <CR>, bare <LF> and NUL are not accepted";

#[test]
fn no_other_end_ends_a_message_before_any_next_hop() {
    if !can_run(&[]) {
        return;
    }
    for kind in Kind::ALL {
        let (site, authority) = site_with_tls("");
        let (site, next_hop) = NextHop::start(kind, site);
        let _daemon = site.serve(&["--no-xdp"]);
        let tls = authority.client(None).unwrap();
        let ways = if kind == Kind::SmtpTcp { vec![None, Some(&tls)] } else { vec![None] };
        for config in ways {
            for end in ENDS {
                let content = format!("Subject: a\r\n\r\nhello{end}{SMUGGLED}");
                refused_after_data(&site, config, &content);
                refused_in_chunks(&site, config, &content, "Subject: a\r\n\r\nhello".len() + 1);
            }
        }
        assert!(next_hop.messages(&site).is_empty(), "{kind:?}");
        // and it would have taken them
        one_message(&site, &next_hop);
    }
}

fn begin(site: &Site, config: Option<&Arc<ClientConfig>>) -> Client {
    let mut client = site.connect(SENDER, GATE);
    match config {
        Some(config) => start_tls(&mut client, config),
        None => drop(client.reply().unwrap()),
    }
    client.say("EHLO mail.sender.example").unwrap();
    client.say("MAIL FROM:<a@sender.example>").unwrap();
    assert_eq!(client.say("RCPT TO:<user@contoso.com>").unwrap().code, 250, "{}", client.transcript());
    client
}

fn refused_after_data(site: &Site, config: Option<&Arc<ClientConfig>>, content: &str) {
    let mut client = begin(site, config);
    client.say("DATA").unwrap();
    client.write(content.as_bytes()).unwrap();
    assert_eq!(client.reply().unwrap().unnamed(), BARE, "{content:?}");
    client.closed().unwrap();
}

/// In one chunk, and cut at `cut` in two, the second of which is the last.
fn refused_in_chunks(site: &Site, config: Option<&Arc<ClientConfig>>, content: &str, cut: usize) {
    for chunks in [vec![content], vec![&content[..cut], &content[cut..]]] {
        let mut client = begin(site, config);
        let last = chunks.len() - 1;
        for (at, chunk) in chunks.into_iter().enumerate() {
            let mark = if at == last { " LAST" } else { "" };
            client.write(format!("BDAT {}{mark}\r\n{chunk}", chunk.len()).as_bytes()).unwrap();
            let reply = client.reply().unwrap();
            if reply.code == 250 && at < last {
                continue;
            }
            assert_eq!(reply.unnamed(), BARE, "{content:?}");
            client.closed().unwrap();
            break;
        }
    }
}

/// Octets that are content in chunks and would be an end after DATA are content at the next hop,
/// too.
fn one_message(site: &Site, next_hop: &NextHop) {
    let mut client = begin(site, None);
    let content = format!("Subject: a\r\n\r\n.\r\n..\r\nhello\r\n.\r\n{SMUGGLED}end");
    client.write(format!("BDAT {} LAST\r\n{content}", content.len()).as_bytes()).unwrap();
    assert_eq!(client.reply().unwrap().code, 250, "{}", client.transcript());
    assert_eq!(client.say("NOOP").unwrap().code, 250);
    let wanted = match next_hop.keeps_dots_doubled() {
        true => format!("{content}\r\n").replace("\r\n.", "\r\n.."),
        false => format!("{content}\r\n"),
    };
    let messages = next_hop.messages(site);
    let texts: Vec<_> = messages.iter().map(|message| String::from_utf8_lossy(message)).collect();
    assert_eq!(texts, [wanted]);
}
