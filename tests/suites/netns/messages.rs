//! Messages of all sizes and shapes, from the sender's socket to the Maildir: what passes is there
//! octet for octet, what breaks a rule is refused by that rule, and the session goes on.

use std::fs;

use sixgate_tests::{
    client::Client,
    sign::{self, ED25519_RECORD},
    site::{GATE, SENDER, Site},
};

use crate::{ZONE, can_run, site};

/// A client that has sent all commands before DATA.
fn at_data(site: &Site) -> Client {
    let mut client = site.connect(SENDER, GATE);
    client.reply().unwrap();
    client.say("EHLO mail.sender.example").unwrap();
    begin(&mut client);
    client
}

fn begin(client: &mut Client) {
    for (line, code) in
        [("MAIL FROM:<a@sender.example>", 250), ("RCPT TO:<user@contoso.com>", 250), ("DATA", 354)]
    {
        assert_eq!(client.say(line).unwrap().code, code, "{}", client.transcript());
    }
}

/// What ends with `message` in the Maildir, and what stands before it there.
fn delivered(site: &Site, message: &str) -> Vec<String> {
    site.delivered().into_iter().filter_map(|whole| whole.strip_suffix(message).map(str::to_owned)).collect()
}

#[test]
fn a_message_larger_than_its_memory_is_verified_and_arrives_unchanged() {
    if !can_run() {
        return;
    }
    let zone = format!(
        "{ZONE}\ns._domainkey.signer.example TXT {ED25519_RECORD}\nsigner.example TXT \"v=spf1 -all\"\n"
    );
    let site = Site::new(&zone, "answer = \"daemon\"\nlimits.message_memory = 557056");
    site.sixgate(&format!("optin add {GATE}"));
    site.sixgate("domain add contoso.com");
    let daemon = site.serve(&["--no-xdp"]);
    let body: String = (0..200_000).map(|line| format!("{line} ..a line of some length \t \r\n")).collect();
    let message = format!("From: a@signer.example\r\nSubject: large\r\n\r\n{body}");
    let signer = sign::ed25519("signer.example", "s", &["From", "Subject"]);
    let message = String::from_utf8(sign::signed(&signer, message.as_bytes())).unwrap();
    assert!(message.len() > 4 << 20);

    let mut client = site.connect(SENDER, GATE);
    client.reply().unwrap();
    client.say("EHLO mail.signer.example").unwrap();
    for line in ["MAIL FROM:<a@signer.example>", "RCPT TO:<user@contoso.com>", "DATA"] {
        client.say(line).unwrap();
    }
    // a message in a message: dots, and the same again within one session
    client.write(message.as_bytes()).unwrap();
    assert_eq!(client.say(".").unwrap().code, 250, "{}", daemon.log());
    let altered = message.replace("199999 ..a", "199999 ..b");
    for line in ["MAIL FROM:<a@signer.example>", "RCPT TO:<user@contoso.com>", "DATA"] {
        client.say(line).unwrap();
    }
    client.write(altered.as_bytes()).unwrap();
    assert_eq!(client.say(".").unwrap().last().get(..10), Some("450 4.7.26"), "{}", daemon.log());

    let before = delivered(&site, &message);
    assert_eq!(before.len(), 1, "{}", daemon.log());
    assert!(before[0].contains("dkim=pass") && before[0].contains("spf=fail"), "{}", before[0]);
    assert_eq!(site.delivered().len(), 1);
}

#[test]
fn a_message_that_breaks_a_rule_is_refused_by_it_and_the_session_goes_on() {
    if !can_run() {
        return;
    }
    let settings = "limits = { message_size = 600000, line_length = 998, received = 5 }";
    let (site, daemon) = site(settings);
    let line = |octets: usize| format!("From: a@sender.example\r\n\r\n{}\r\n", "x".repeat(octets));
    let hops = |count: usize| {
        format!("{}From: a@sender.example\r\n\r\nx\r\n", "Received: from a by b; c\r\n".repeat(count))
    };
    let header = |count: usize| {
        format!("From: a@sender.example\r\n{}\r\nx\r\n", "X: 34567890123456\r\n".repeat(count))
    };
    let rows = [
        ("a line of 998", line(998), "250 2.0.0 "),
        ("a line of 999", line(999), "550 5.6.0 "),
        ("one without end", line(500_000), "550 5.6.0 "),
        ("five hops", hops(5), "250 2.0.0 "),
        ("six hops", hops(6), "554 5.4.6 "),
        ("a large header", header(13_000), "250 2.0.0 "),
        ("one too large", header(14_000), "552 5.3.4 Message header "),
        ("too large in all", line(900).repeat(800), "552 5.3.4 Message size "),
        ("no empty line", "From: a@sender.example\r\n".to_owned(), "250 2.0.0 "),
        ("no header", "\r\nx\r\n".to_owned(), "250 2.0.0 "),
        ("nothing at all", String::new(), "250 2.0.0 "),
        ("no header field", "x\r\n".to_owned(), "250 2.0.0 "),
        ("a blank at the start", " x\r\n\r\ny\r\n".to_owned(), "250 2.0.0 "),
        ("octets above 127", "Subject: \u{e4}\r\n\r\n\u{20ac}\r\n".to_owned(), "250 2.0.0 "),
    ];
    let mut client = at_data(&site);
    let mut taken = 0;
    for (index, (claim, message, wanted)) in rows.iter().enumerate() {
        if index > 0 {
            begin(&mut client);
        }
        client.write(message.as_bytes()).unwrap();
        let reply = client.say(".").unwrap();
        assert!(reply.last().starts_with(wanted), "{claim}: {:?}\n{}", reply.last(), daemon.log());
        if reply.code == 250 {
            taken += 1;
            assert!(!delivered(&site, message).is_empty(), "{claim}");
        }
        assert_eq!(site.delivered().len(), taken, "{claim}");
    }
    assert_eq!(client.say("NOOP").unwrap().code, 250);
}

#[test]
fn a_message_without_a_temporary_file_is_refused_and_smaller_ones_pass() {
    if !can_run() {
        return;
    }
    let (site, first) = site("");
    first.stop().unwrap();
    let directory = site.folder().join("large");
    let site = site.configured(&format!("temporary_directory = {directory:?}"));
    // ExecStartPre
    let wanted = format!("cannot make a temporary file in {}", directory.display());
    let checked = site.run("config check");
    let told = String::from_utf8_lossy(&checked.stderr);
    assert!(
        checked.status.success() && told.contains(&format!("warning: temporary_directory: {wanted}")),
        "{told}"
    );
    let daemon = site.serve(&[]);
    let line = daemon.wait_for_log(&wanted).unwrap();
    assert!(line.contains("WARN"), "{line}");
    let status = site.run("status");
    assert_eq!(status.status.code(), Some(1), "{status:?}");
    assert!(String::from_utf8_lossy(&status.stderr).contains(&wanted), "{status:?}");
    let large = "0123456789abcdef\r\n".repeat(20_000);
    let mut client = at_data(&site);
    client.write(format!("\r\n{large}").as_bytes()).unwrap();
    assert!(client.say(".").unwrap().last().starts_with("451 4.3.0 "), "{}", client.transcript());
    daemon.wait_for_log(&format!("cannot write a temporary file in {}", directory.display())).unwrap();
    begin(&mut client);
    assert_eq!(client.message("Subject: small\n\nx").unwrap().code, 250);
    fs::create_dir(&directory).unwrap();
    begin(&mut client);
    client.write(format!("\r\n{large}").as_bytes()).unwrap();
    assert_eq!(client.say(".").unwrap().code, 250, "{}", daemon.log());
    assert_eq!(fs::read_dir(&directory).unwrap().count(), 0);
    assert_eq!(site.delivered().len(), 2);
}

#[test]
fn what_a_sender_says_cannot_pass_for_a_field_of_the_log() {
    if !can_run() {
        return;
    }
    let (site, daemon) = site("");
    let mut client = site.connect(SENDER, GATE);
    client.reply().unwrap();
    client.say("EHLO mail.sender.example").unwrap();
    client.say("MAIL FROM:<\"x outcome=refused\"@sender.example>").unwrap();
    client.say("RCPT TO:<\"y reason=none\"@elsewhere.example>").unwrap();
    client.say("RCPT TO:<user@contoso.com>").unwrap();
    client.say("DATA").unwrap();
    assert_eq!(client.message("Message-ID: <one@x.example>\nSubject: x\n\nx").unwrap().code, 250);
    let line = daemon.wait_for_log("outcome=\"delivered\"").unwrap();
    assert!(line.contains(r#"mail_from="\"x outcome=refused\"@sender.example""#), "{line}");
    assert!(line.contains(r#"to="user@contoso.com" message_id="<one@x.example>""#), "{line}");
    let line = daemon.wait_for_log("recipient refused").unwrap();
    assert!(line.contains(r#"recipient="\"y reason=none\"@elsewhere.example""#), "{line}");
    let rest = r#"list="domains" mail_from="\"x outcome=refused\"@sender.example" reply="550 5.2.1 Service unavailable, [elsewhere.example] does"#;
    assert!(line.contains(rest), "{line}");
}

#[test]
fn the_messages_of_one_network_leave_room_for_those_of_others() {
    if !can_run() {
        return;
    }
    // a /64 has half of what it leaves free: two messages, and the third does not fit
    let rows = [
        ("message_memory", 2_300_000, 300_000, "message_memory_share"),
        ("message_disk", 1_900_000, 500_000, "message_disk_share"),
    ];
    for (setting, room, chunk, counter) in rows {
        let zone = format!("{ZONE}\n2001:db8:52::4 PTR mail.other.example");
        let site = Site::new(&zone, &format!("limits = {{ message_size = 600000, {setting} = {room} }}"));
        let metrics = site.folder().join("sixgate.prom");
        let site = site.configured(&format!("answer = \"daemon\"\nmetrics.file = {metrics:?}"));
        site.route("2001:db8:52::/64");
        site.sixgate(&format!("optin add {GATE}"));
        site.sixgate("domain add contoso.com");
        let daemon = site.serve(&["--no-xdp"]);
        let mut clients = Vec::new();
        for (source, wanted) in
            [(SENDER, "250"), (SENDER, "250"), (SENDER, "452 4.3.1 "), ("2001:db8:52::4", "250")]
        {
            let mut client = site.connect(source, GATE);
            client.reply().unwrap();
            for line in ["EHLO a.example", "MAIL FROM:<a@sender.example>", "RCPT TO:<user@contoso.com>"] {
                assert_eq!(client.say(line).unwrap().code, 250, "{}", client.transcript());
            }
            let content = format!("\r\n{}", "0123456789abcdef\r\n".repeat(chunk / 18));
            client.send(&format!("BDAT {}", content.len())).unwrap();
            client.write(content.as_bytes()).unwrap();
            let reply = client.reply().unwrap();
            assert!(reply.last().starts_with(wanted), "{setting} {source}: {reply:?}");
            clients.push(client);
        }
        drop(clients);
        daemon.stop().unwrap();
        let metrics = fs::read_to_string(metrics).unwrap();
        assert!(metrics.contains(&format!("limit=\"{counter}\"}} 1\n")), "{metrics}");
    }
}
