//! STARTTLS (RFC 3207) with a client of rustls.

use std::{fs, os::unix::fs::symlink};

use sixgate_tests::{
    client::Client,
    site::{GATE, OTHER, SENDER, Site},
    timeouts::patience,
};

use crate::{NAME, can_run, site, site_with_tls, start_tls};

const MESSAGE: &str = "Subject: through TLS\r\n\r\n.dot\r\n";

/// Sends everything up to the end of a message, and asserts that it was taken.
fn deliver(client: &mut Client, message: &str) {
    client.say("EHLO mail.sender.example").unwrap();
    for line in ["MAIL FROM:<a@sender.example>", "RCPT TO:<user@contoso.com>", "DATA"] {
        assert!(client.say(line).unwrap().code < 400, "{}", client.transcript());
    }
    assert_eq!(client.message(message).unwrap().code, 250, "{}", client.transcript());
}

#[test]
fn a_session_begins_anew_inside_tls_and_says_so_behind() {
    if !can_run(&[]) {
        return;
    }
    let (site, authority) = site_with_tls("");
    let daemon = site.serve(&["--no-xdp"]);
    let mut client = site.connect(SENDER, GATE);
    start_tls(&mut client, &authority.client(None).unwrap());
    assert_eq!(client.say("MAIL FROM:<a@sender.example>").unwrap().code, 503, "EHLO is forgotten");
    let offer = client.say("EHLO mail.sender.example").unwrap();
    assert!(!offer.lines.iter().any(|line| line.contains("STARTTLS")), "{offer:?}");
    assert_eq!(client.say("STARTTLS").unwrap().code, 503);
    deliver(&mut client, MESSAGE);
    assert_eq!(client.say("QUIT").unwrap().code, 221);
    client.closed().unwrap();
    let delivered = site.delivered();
    let [message] = delivered.as_slice() else { panic!("{delivered:?}") };
    assert!(message.ends_with(MESSAGE), "{message}");
    for wanted in ["\r\n\t(version=TLS1.3 cipher=TLS_AES_", "\r\n\tby gate.example (sixgate) with ESMTPS id "]
    {
        assert!(message.contains(wanted), "{wanted} in\n{message}");
    }
    assert!(daemon.wait_for_log("version=\"TLS1.3\"").unwrap().contains("cipher=\"TLS_AES_"));
}

#[test]
fn without_a_certificate_and_in_a_refused_session_nothing_is_offered() {
    if !can_run(&[]) {
        return;
    }
    let (with, _authority) = site_with_tls("");
    let without = site("");
    for (site, destination) in [(&with, OTHER), (&without, GATE), (&without, OTHER)] {
        let _daemon = site.serve(&["--no-xdp"]);
        let mut client = site.connect(SENDER, destination);
        client.reply().unwrap();
        let offer = client.say("EHLO mail.sender.example").unwrap();
        assert!(!offer.lines.iter().any(|line| line.contains("STARTTLS")), "{destination}: {offer:?}");
        assert_eq!(client.say("STARTTLS").unwrap().last(), "502 5.5.1 Command not implemented");
        assert_eq!(client.say("NOOP").unwrap().code, 250);
    }
}

/// CVE-2011-0411: an attacker on the path sends data behind the client's STARTTLS.
#[test]
fn what_is_injected_in_the_clear_is_never_obeyed() {
    if !can_run(&[]) {
        return;
    }
    let (site, authority) = site_with_tls("");
    let _daemon = site.serve(&["--no-xdp"]);
    let evil = "EHLO evil.example\r\nMAIL FROM:<evil@sender.example>\r\nRCPT TO:<user@contoso.com>\r\nDATA\r\nSubject: evil\r\n\r\n";
    for injected in [evil.to_owned(), "NOOP\r\n".repeat(10), "\r\n.\r\n".to_owned(), evil.repeat(300)] {
        let mut client = site.connect(SENDER, GATE);
        client.reply().unwrap();
        client.say("EHLO mail.sender.example").unwrap();
        client.write(format!("STARTTLS\r\n{injected}").as_bytes()).unwrap();
        assert_eq!(client.reply().unwrap().last(), "220 2.0.0 Ready to start TLS");
        // what came with STARTTLS is dropped, and does not hinder; what comes later breaks the
        // handshake
        if client.encrypt(&authority.client(None).unwrap(), NAME).is_ok() {
            assert_eq!(client.say("MAIL FROM:<a@sender.example>").unwrap().code, 503, "{injected:?}");
            deliver(&mut client, MESSAGE);
        } else {
            assert!(injected.len() > 16 * 1024, "{injected:?} hinders");
        }
    }
    let delivered = site.delivered();
    assert!(delivered.len() >= 3, "{delivered:?}");
    assert!(delivered.iter().all(|message| message.ends_with(MESSAGE) && !message.contains("evil")));
}

#[test]
fn what_is_no_handshake_ends_the_connection_without_a_word() {
    if !can_run(&[]) {
        return;
    }
    let (site, authority) = site_with_tls("");
    let daemon = site.serve(&["--no-xdp"]);
    for octets in [
        &b"EHLO mail.sender.example\r\nMAIL FROM:<a@sender.example>\r\n"[..],
        b"\x16\x03\x01\0\x05hello",
        b"\0",
    ] {
        let mut client = site.connect(SENDER, GATE);
        client.reply().unwrap();
        client.say("EHLO mail.sender.example").unwrap();
        client.say("STARTTLS").unwrap();
        client.write(octets).unwrap();
        client.hang_up().unwrap();
        let mut heard = Vec::new();
        // at most an alert of TLS, which is not a line
        while let Ok(Some(line)) = client.line() {
            heard.push(line);
        }
        assert!(heard.is_empty(), "{heard:?}");
    }
    daemon.wait_for_log("the TLS handshake failed").unwrap();
    // and the daemon goes on
    let mut client = site.connect(SENDER, GATE);
    start_tls(&mut client, &authority.client(None).unwrap());
    deliver(&mut client, MESSAGE);
}

#[test]
fn a_handshake_has_its_time() {
    if !can_run(&[]) {
        return;
    }
    let (site, _authority) = site_with_tls("limits.command_timeout = \"2s\"");
    let metrics = site.folder().join("metrics.prom");
    let site = site.configured(&format!("metrics.file = {metrics:?}"));
    let daemon = site.serve(&["--no-xdp"]);
    let mut client = site.connect(SENDER, GATE);
    client.reply().unwrap();
    client.say("EHLO mail.sender.example").unwrap();
    client.say("STARTTLS").unwrap();
    client.wait_at_most(patience()).unwrap();
    client.closed().unwrap();
    daemon.wait_for_log("the TLS handshake took too long").unwrap();
    daemon.stop().unwrap();
    let counted = fs::read_to_string(metrics).unwrap();
    for wanted in [
        "sixgate_limits_reached_total{limit=\"tls_handshake\"} 1\n",
        "sixgate_tls_handshakes_total{outcome=\"failed\"} 1\n",
    ] {
        assert!(counted.contains(wanted), "{wanted} in\n{counted}");
    }
}

/// As Exim does behind its last chunk.
#[test]
fn who_says_quit_and_ends_its_side_gets_all_replies() {
    if !can_run(&[]) {
        return;
    }
    let (site, authority) = site_with_tls("");
    let _daemon = site.serve(&["--no-xdp"]);
    for (encrypted, quit) in [(false, "QUIT"), (true, "QUIT"), (false, "QUIT "), (false, "quit \t now")] {
        let mut client = site.connect(SENDER, GATE);
        if encrypted {
            start_tls(&mut client, &authority.client(None).unwrap());
        } else {
            client.reply().unwrap();
        }
        client.say("EHLO mail.sender.example").unwrap();
        let group =
            "MAIL FROM:<a@sender.example>\r\nRCPT TO:<user@contoso.com>\r\nBDAT 11 LAST\r\nA: b\r\n\r\nc\r\n";
        client.write(format!("{group}{quit}\r\n").as_bytes()).unwrap();
        client.hang_up().unwrap();
        let codes: Vec<u16> = (0..4).map(|_| client.reply().unwrap().code).collect();
        assert_eq!(codes, [250, 250, 250, 221], "{}", client.transcript());
        client.closed().unwrap();
    }
    assert_eq!(site.delivered().len(), 4);
}

#[test]
fn a_client_that_vanishes_leaves_nothing_behind() {
    if !can_run(&[]) {
        return;
    }
    let (site, authority) = site_with_tls("");
    let daemon = site.serve(&["--no-xdp"]);
    let config = authority.client(None).unwrap();
    for dot in [false, true] {
        let mut client = site.connect(SENDER, GATE);
        start_tls(&mut client, &config);
        client.say("EHLO mail.sender.example").unwrap();
        for line in ["MAIL FROM:<a@sender.example>", "RCPT TO:<user@contoso.com>", "DATA"] {
            client.say(line).unwrap();
        }
        client.write(if dot { b"Subject: half\r\n.\r" } else { b"Subject: half\r\n" }).unwrap();
        if dot {
            client.hang_up().unwrap();
            client.closed().unwrap();
        }
        // otherwise without close_notify
    }
    let (_, log) = daemon.stop().unwrap();
    assert!(!log.contains("panicked"), "{log}");
    assert!(site.delivered().is_empty());
}

#[test]
fn a_large_message_comes_through_tls_octet_for_octet() {
    if !can_run(&[]) {
        return;
    }
    let (site, authority) = site_with_tls("");
    let _daemon = site.serve(&["--no-xdp"]);
    let body: String = (0..100_000).map(|line| format!("{line} ..a line of some length \t \r\n")).collect();
    let message = format!("Subject: large\r\n\r\n{body}");
    let mut client = site.connect(SENDER, GATE);
    start_tls(&mut client, &authority.client(None).unwrap());
    client.say("EHLO mail.sender.example").unwrap();
    for chunked in [false, true] {
        client.say("MAIL FROM:<a@sender.example>").unwrap();
        client.say("RCPT TO:<user@contoso.com>").unwrap();
        if chunked {
            for chunk in message.as_bytes().chunks(999_999) {
                let mut octets = format!("BDAT {}\r\n", chunk.len()).into_bytes();
                octets.extend_from_slice(chunk);
                client.write(&octets).unwrap();
                assert_eq!(client.reply().unwrap().code, 250);
            }
            assert_eq!(client.say("BDAT 0 LAST").unwrap().code, 250);
        } else {
            client.say("DATA").unwrap();
            client.write(message.as_bytes()).unwrap();
            assert_eq!(client.say(".").unwrap().code, 250);
        }
    }
    let delivered = site.delivered();
    assert_eq!(delivered.len(), 2);
    assert!(delivered.iter().all(|whole| whole.ends_with(&message)), "other octets");
}

#[test]
fn a_renewed_certificate_is_shown_without_a_restart() {
    if !can_run(&[]) {
        return;
    }
    let (site, authority) = site_with_tls("");
    let config = authority.client(None).unwrap();
    // as certbot keeps them: links to generations
    let generation = |number: u32, name: &str| {
        let folder = site.folder().join(format!("archive{number}"));
        fs::create_dir(&folder).unwrap();
        authority.issue(name).install(&folder).unwrap();
        for file in ["certificate.pem", "key.pem"] {
            let link = site.folder().join("link");
            symlink(folder.join(file), &link).unwrap();
            fs::rename(&link, site.folder().join(file)).unwrap();
        }
    };
    generation(1, NAME);
    let daemon = site.serve(&["--no-xdp"]);
    let shows = |name: &str| handshake(&site, &config, name);
    assert!(shows(NAME));
    generation(2, "renewed.example");
    assert!(shows("renewed.example") && !shows(NAME));
    daemon.wait_for_log("the certificate for TLS has changed").unwrap();
    // there is no connection: the daemon logs it by itself
    fs::remove_file(site.folder().join("key.pem")).unwrap();
    fs::write(site.folder().join("key.pem"), "no key").unwrap();
    daemon.wait_for_log("the new certificate for TLS cannot be used").unwrap();
    assert!(shows("renewed.example"));
    generation(3, "repaired.example");
    assert!(shows("repaired.example"));
    let check = site.sixgate("config check");
    assert!(check.ends_with("good\n"), "{check}");
    fs::remove_file(site.folder().join("certificate.pem")).unwrap();
    let check = site.run("config check");
    let said = String::from_utf8_lossy(&check.stderr);
    assert_eq!(check.status.code(), Some(1), "{said}");
    assert!(said.contains("tls: cannot read ") && said.contains("certificate.pem: No such file"), "{said}");
    drop(daemon);
    let error = site.try_serve(&["--no-xdp"]).unwrap_err().to_string();
    assert!(error.contains("cannot offer STARTTLS: cannot read "), "{error}");
}

/// Whether the handshake of a client that asks for `name` succeeds.
fn handshake(site: &Site, config: &std::sync::Arc<rustls::ClientConfig>, name: &str) -> bool {
    let mut client = site.connect(SENDER, GATE);
    client.reply().unwrap();
    client.say("EHLO mail.sender.example").unwrap();
    assert_eq!(client.say("STARTTLS").unwrap().code, 220);
    client.encrypt(config, name).is_ok()
}

#[test]
fn what_libraries_say_about_a_client_is_not_logged() {
    if !can_run(&[sixgate_tests::gate::Need::Program("openssl")]) {
        return;
    }
    let (site, _authority) = site_with_tls("");
    let daemon = site.serve(&["--no-xdp"]);
    // rustls warns of an address where a name has to be (RFC 6066 3)
    let mut command = std::process::Command::new("openssl");
    command.args(["s_client", "-starttls", "smtp", "-servername", "192.0.2.1", "-connect"]);
    command.arg(format!("[{GATE}]:25")).stdin(std::process::Stdio::null());
    drop(site.connect(SENDER, GATE));
    assert!(site.outside.spawn(&mut command).unwrap().wait().is_ok());
    daemon.wait_for_log("cipher=").unwrap();
    let (_, log) = daemon.stop().unwrap();
    assert!(!log.contains("rustls") && !log.contains("192.0.2.1"), "{log}");
}
