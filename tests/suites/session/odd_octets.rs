//! What others send is in the log as values: no octet of it ends a line, steers a terminal or
//! passes for another field, in text and in JSON.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, Write as _},
    net::{TcpListener, TcpStream},
    thread,
};

use sixgate_tests::{
    certs::Authority,
    daemon::Daemon,
    site::{GATE, OTHER, Site},
};

use crate::{NAME, can_run};

/// What must not be in the log as it is, what could pass for other fields, and a name to find them.
const ODD: [&[u8]; 5] = [
    b"odd\x1b[2J\x07\x7f\xc2\x9b\xe2\x80\xae\xe2\x80\xa8 forged=1 forged=\"1\\\" forged=2",
    b"odd\" forged=1 x=\"\\",
    b"odd\xff\x80 forged=1",
    b"odd\0 forged=1",
    b"odd\r2026-01-01T00:00:00.000000Z  INFO forged=1",
];
/// Where they stand in what a client sends, `%` for them; EHLO is sent before, and a dot and QUIT
/// after.
const COMMANDS: [&[u8]; 18] = [
    b"EHLO %",
    b"HELO %",
    b"MAIL FROM:<%@sender.example>",
    b"MAIL FROM:<\"%\"@sender.example>",
    b"MAIL FROM:<a@%>",
    b"MAIL FROM:<a@sender.example> SIZE=%",
    b"MAIL FROM:<a@sender.example>\r\nRCPT TO:<%@contoso.com>",
    b"MAIL FROM:<a@sender.example>\r\nRCPT TO:<\"%\"@contoso.com>",
    b"MAIL FROM:<a@sender.example>\r\nRCPT TO:<user@%>",
    b"MAIL FROM:<a@sender.example>\r\nRCPT TO:<user@contoso.com>\r\nBDAT %",
    b"XCLIENT NAME=% ADDR=%",
    b"%",
    b"MAIL FROM:<a@sender.example>\r\nRCPT TO:<user@contoso.com>\r\nDATA\r\nMessage-ID: <%>\r\n",
    b"MAIL FROM:<a@sender.example>\r\nRCPT TO:<user@contoso.com>\r\nDATA\r\n\
      DKIM-Signature: v=1; a=rsa-sha256; d=%; s=%; i=%; h=from; bh=MTIz; b=MTIz\r\n",
    b"MAIL FROM:<a@sender.example>\r\nRCPT TO:<user@contoso.com>\r\nDATA\r\n\
      DKIM-Signature: v=1; a=%; c=%; d=sender.example; s=a; h=%; bh=MTIz; b=MTIz\r\n",
    b"MAIL FROM:<\"odd \\\" forged=1 = \\\\\"@sender.example>\r\n\
      RCPT TO:<\"odd \\\" forged=1\"@elsewhere.example>\r\nRCPT TO:<user@contoso.com>\r\nDATA\r\n",
    b"MAIL FROM:<odd\xe2\x80\xae\xe2\x80\xa8@sender.example> SMTPUTF8\r\n\
      RCPT TO:<odd\xc2\x9b@elsewhere.example>\r\nRCPT TO:<user@contoso.com>\r\nDATA\r\n",
    b"MAIL FROM:<a@failing.example>\r\nRCPT TO:<user@contoso.com>\r\nDATA\r\n",
];
/// Recipients that the mail server behind refuses, each in its way, and one whose message it
/// refuses.
const REFUSED: [&str; 4] = ["refused", "ours", "unreadable", "message"];
/// Lines that were written, or the test proves nothing: each begins so, and has the field with odd
/// octets in it.
const SEEN: [(&str, &str); 12] = [
    ("command refused", "mail_from"),
    ("command refused", "recipient"),
    ("recipient refused", "mail_from"),
    ("recipient refused", "recipient"),
    ("message", "mail_from"),
    ("message", "message_id"),
    ("message", "spf_explanation"),
    ("message", "reply"),
    ("recipient refused by the next hop", "reply"),
    ("refused", "mail_from"),
    ("refused", "recipient"),
    ("delivery to the next hop failed", "error"),
];
/// Sessions of one daemon.
const GROUP: usize = 20;
const HOP: &str = "[::1]:10025";

#[test]
fn what_others_send_is_never_more_than_a_value_in_the_log() {
    if !can_run(&[]) {
        return;
    }
    let groups = groups();
    // of a network each, as the lines about one are limited
    let sources: Vec<String> = (0..120).map(|number| format!("2001:db8:51:{number:x}::4")).collect();
    for format in ["text", "json"] {
        let site = site(&sources, format);
        serve_odd_replies(site.gate.listen(HOP.parse().unwrap()).unwrap());
        let mut sources = sources.iter();
        let mut log = Vec::new();
        for group in &groups {
            let file = site.folder().join("log");
            let out = File::create(&file).unwrap();
            let daemon =
                Daemon::start_logging_to(out, Some(&site.gate), &site.config(), &["--no-xdp"]).unwrap();
            for (destination, octets) in group {
                send(&site, sources.next().expect("a source"), destination, octets);
            }
            daemon.stop().unwrap();
            log.extend(fs::read(file).unwrap());
        }
        check(format, &log);
    }
}

/// The input, and the address to which it is sent. A daemon gets so many of a group as leave no
/// more lines than it logs in a second.
fn groups() -> Vec<Vec<(&'static str, Vec<u8>)>> {
    let mut all = Vec::new();
    for (command, odd) in COMMANDS.iter().flat_map(|command| ODD.map(|odd| (command, odd))) {
        let parts: Vec<&[u8]> = command.split(|octet| *octet == b'%').collect();
        let command = parts.join(odd);
        all.push((GATE, [b"EHLO mail.sender.example\r\n", &command[..], b"\r\n.\r\nQUIT\r\n"].concat()));
    }
    for recipient in REFUSED {
        let mail = "EHLO mail.sender.example\r\nMAIL FROM:<a@sender.example>\r\n";
        let rest = "DATA\r\nSubject: a\r\n\r\nb\r\n.\r\nQUIT\r\n";
        all.push((GATE, format!("{mail}RCPT TO:<{recipient}@contoso.com>\r\n{rest}").into()));
    }
    for odd in ODD {
        let said = [b"EHLO ", odd, b"\r\nMAIL FROM:<", odd, b"@sender.example>\r\nRCPT TO:<", odd].concat();
        all.push((OTHER, [&said[..], b"@contoso.com>\r\nQUIT\r\n"].concat()));
        all.push((GATE, [b"EHLO mail.sender.example\r\nSTARTTLS\r\n", &client_hello(odd)[..]].concat()));
    }
    all.chunks(GROUP).map(<[_]>::to_vec).collect()
}

/// A site with a certificate, whose DNS has odd octets in reverse DNS and explanations; GATE and
/// contoso.com have opted in.
fn site(sources: &[String], format: &str) -> Site {
    let odd_name = "odd\\027[2J\\255\\000\\034\\032forged=1.sender.example";
    let pointers: String = sources.iter().map(|source| format!("{source} PTR {odd_name}\n")).collect();
    let zone = format!(
        "{pointers}sender.example TXT \"v=spf1 ip6:2001:db8:51::/48 -all\"\n\
         failing.example TXT \"v=spf1 -all exp=why.failing.example\"\n\
         why.failing.example TXT \"odd forged=1 = %{{h}} %{{s}} \\\\\"\n"
    );
    let authority = Authority::new("of the gate");
    let site = Site::new(&zone, "answer = \"daemon\"");
    authority.issue(NAME).install(site.folder()).unwrap();
    let folder = site.folder().display();
    let tls = format!("[tls]\ncertificate = \"{folder}/certificate.pem\"\nkey = \"{folder}/key.pem\"\n");
    let site = site.configured(&format!("log.format = {format:?}\nnext_hop = {{ smtp = {HOP:?} }}\n{tls}"));
    site.sixgate(&format!("optin add {GATE}"));
    site.sixgate("domain add contoso.com");
    site.route("2001:db8:51::/48");
    site
}

/// Sends `octets` after the greeting, each time that TLS begins after its reply, and waits for the
/// end.
fn send(site: &Site, source: &str, destination: &str, octets: &[u8]) {
    let mut client = site.connect(source, destination);
    client.reply().unwrap();
    let start_tls = b"STARTTLS\r\n";
    let plain = octets.windows(start_tls.len()).position(|part| part == start_tls);
    let (first, rest) = octets.split_at(plain.map_or(octets.len(), |at| at + start_tls.len()));
    client.write(first).unwrap();
    if plain.is_some() {
        while client.line().unwrap().is_some_and(|line| line != "220 2.0.0 Ready to start TLS") {}
        client.write(rest).unwrap();
    }
    while client.line().is_ok_and(|line| line.is_some()) {}
}

/// A TLS record with a ClientHello (RFC 8446 4.1.2) that names the server `name` and offers nothing
/// else.
fn client_hello(name: &[u8]) -> Vec<u8> {
    let sized = |octets: &[u8]| [&u16::try_from(octets.len()).unwrap().to_be_bytes(), octets].concat();
    let names = sized(&[&[0], &sized(name)[..]].concat());
    let extensions = sized(&[&[0, 0], &sized(&names)[..]].concat());
    let hello = [&[3, 3], &[7; 32][..], &[0, 0, 2, 0x13, 1, 1, 0], &extensions].concat();
    let handshake = [&[1, 0], &sized(&hello)[..]].concat();
    [&[22, 3, 1], &sized(&handshake)[..]].concat()
}

/// A mail server whose replies have odd octets in them, as long as the test runs.
fn serve_odd_replies(listener: TcpListener) {
    thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            thread::spawn(move || reply_oddly(stream));
        }
    });
}

fn reply_oddly(mut stream: TcpStream) -> Option<()> {
    let mut reader = BufReader::new(stream.try_clone().ok()?);
    let mut say = |before: &str, after: &str| {
        let odd = ODD[0].escape_ascii().to_string().replace("\\n", "");
        let octets = [before.as_bytes(), ODD[0], odd.as_bytes(), b"\0\xff\r.", after.as_bytes()].concat();
        stream.write_all(&octets).ok()
    };
    let mut refuses_message = false;
    say("220 mx.example ", "\r\n")?;
    loop {
        let mut line = Vec::new();
        reader.read_until(b'\n', &mut line).ok().filter(|count| *count > 0)?;
        let has = |text: &[u8]| line.windows(text.len()).any(|part| part == text);
        match line.get(..4)? {
            b"EHLO" => {
                say("250-mx.example\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250-XCLIENT ", "\r\n250 SIZE\r\n")?
            }
            b"RCPT" if has(b"<refused@") => say("550 5.1.1 ", "\r\n")?,
            b"RCPT" if has(b"<ours@") => say("530 5.7.0 ", "\r\n")?,
            b"RCPT" if has(b"<unreadable@") => say("2", "\r\n")?,
            b"DATA" => {
                say("354 ", "\r\n")?;
                while line != b".\r\n" {
                    line.clear();
                    reader.read_until(b'\n', &mut line).ok().filter(|count| *count > 0)?;
                }
                say(if refuses_message { "554 5.6.0 " } else { "250 2.0.0 " }, "\r\n")?;
            }
            b"QUIT" => return say("221 ", "\r\n"),
            _ => {
                refuses_message = has(b"<message@");
                say("250 2.0.0 ", "\r\n")?;
            }
        }
    }
}

/// Every line is of printable characters, and has the fields that the daemon gave it.
fn check(format: &str, log: &[u8]) {
    let log = str::from_utf8(log).expect("the log is UTF-8");
    assert!(log.ends_with('\n'), "the last line has an end");
    let mut found = Vec::new();
    for line in log.lines() {
        let is_shown = |character: char| match character {
            ' '..='~' => true,
            '\u{80}'..='\u{9f}' | '\u{2028}'..='\u{202e}' | '\u{feff}' => false,
            _ => character > '\u{a0}',
        };
        assert!(line.chars().all(is_shown), "{}", line.escape_debug());
        let event = if format == "json" { of_json(line) } else { of_text(line) };
        for (name, value) in &event.fields {
            assert_ne!(name, "forged", "{line}");
            if value.contains("odd") {
                found.push((event.message.clone(), name.clone()));
            }
        }
    }
    for (message, name) in SEEN {
        let is_seen = found.iter().any(|(seen, field)| seen == message && field == name);
        assert!(is_seen, "no {message:?} with odd octets in {name}:\n{log}");
    }
}

/// A line of the log, taken apart.
struct Event {
    message: String,
    /// With those of the session.
    fields: Vec<(String, String)>,
}

fn of_json(line: &str) -> Event {
    let line: serde_json::Value = serde_json::from_str(line).expect(line);
    let known = ["timestamp", "level", "fields", "target", "span"];
    assert!(line.as_object().unwrap().keys().all(|key| known.contains(&key.as_str())), "{line}");
    let of = |key: &str| line[key].as_object().cloned().unwrap_or_default();
    let text = |value: &serde_json::Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let fields = of("fields").into_iter().chain(of("span")).map(|(name, value)| (name, text(&value)));
    Event { message: text(&line["fields"]["message"]), fields: fields.collect() }
}

/// `TIME LEVEL session{FIELDS}: target: message FIELDS`.
fn of_text(line: &str) -> Event {
    let (time, rest) = line.split_once(' ').expect(line);
    assert!(time.len() == 27 && time.ends_with('Z'), "{line}");
    let (level, rest) = rest.trim_start().split_once(' ').expect(line);
    assert!(["ERROR", "WARN", "INFO"].contains(&level), "{line}");
    let (session, rest) = match rest.strip_prefix("session{") {
        Some(session) => session.split_once("}: ").expect(line),
        None => ("", rest),
    };
    let (target, rest) = rest.split_once(": ").expect(line);
    assert!(target.starts_with("sixgate"), "{line}");
    let is_name = |name: &str| name.bytes().all(|octet| octet.is_ascii_lowercase() || octet == b'_');
    let first = rest.match_indices('=').find_map(|(at, _)| {
        let start = rest[..at].rfind(' ')?;
        is_name(&rest[start + 1..at]).then_some(start)
    });
    let (message, rest) = rest.split_at(first.unwrap_or(rest.len()));
    assert!(!message.contains('"'), "{line}");
    let mut fields = Vec::new();
    for mut rest in [session, rest.trim_start()] {
        while !rest.is_empty() {
            let (name, value) = rest.split_once('=').expect(line);
            assert!(is_name(name), "{name:?} in {line}");
            let length = match value.strip_prefix('"') {
                Some(text) => 2 + length_of_quoted(text).expect(line),
                None => value.find(' ').unwrap_or(value.len()),
            };
            let (value, after) = value.split_at(length);
            assert!(value.starts_with('"') || !value.contains(['"', '=', '\\']), "{value} in {line}");
            fields.push((name.to_owned(), value.to_owned()));
            assert!(after.is_empty() || after.starts_with(' '), "{after:?} in {line}");
            rest = after.trim_start();
        }
    }
    Event { message: message.to_owned(), fields }
}

/// Octets before the quotation mark that ends a value.
fn length_of_quoted(text: &str) -> Option<usize> {
    let mut is_escaped = false;
    text.bytes().position(|octet| {
        let ends = octet == b'"' && !is_escaped;
        is_escaped = octet == b'\\' && !is_escaped;
        ends
    })
}
