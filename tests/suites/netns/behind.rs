//! A mail server behind the gate: Debian's Postfix sees the real client, and wherever in a delivery
//! the daemon is killed, what the sender was told is true.

use std::{
    fs::{self, Permissions},
    io::{BufRead as _, BufReader, Write as _},
    net::{Ipv6Addr, SocketAddr, SocketAddrV6, TcpListener, TcpStream},
    os::unix::fs::PermissionsExt as _,
    sync::{
        Arc, Mutex,
        mpsc::{self, Receiver, Sender},
    },
    thread,
};

use sixgate::nexthop::Address;
use sixgate_tests::{
    daemon::Daemon,
    gate::{self, Need},
    postfix::Postfix,
    site::{GATE, SENDER, Site},
    smtp_sink::SmtpSink,
};

use crate::{ORDINARY, can_run, site};

pub(crate) const BEHIND: SocketAddrV6 = SocketAddrV6::new(Ipv6Addr::LOCALHOST, 10025, 0, 0);
pub(crate) const PLAIN: &str = "next_hop = { smtp = \"[::1]:10025\" }";
const XCLIENT: &str = "next_hop = { smtp = \"[::1]:10025\", client = \"xclient\" }";

/// What Postfix behind the gate takes, and from whom it takes XCLIENT.
pub(crate) const TAKEN: &str = "virtual_mailbox_domains = contoso.com\nmynetworks = [::1]/128\n\
                     smtpd_authorized_xclient_hosts = [::1]";

fn with_postfix(settings: &str) -> Option<(Site, Postfix, Daemon)> {
    with_server(settings, |site| Postfix::start(&site.gate, BEHIND.into(), TAKEN).unwrap())
}

/// A site with a mail server that was there before its daemon.
pub(crate) fn with_server<T>(settings: &str, start: impl FnOnce(&Site) -> T) -> Option<(Site, T, Daemon)> {
    if !can_run() || !gate::require(&[Need::Postfix]) {
        return None;
    }
    let (site, first) = site(settings);
    first.stop().unwrap();
    let server = start(&site);
    let daemon = site.serve(&[]);
    Some((site, server, daemon))
}

#[test]
fn postfix_behind_the_gate_sees_the_real_client() {
    let Some((site, postfix, _daemon)) = with_postfix(XCLIENT) else { return };
    let sent = site.swaks(SENDER, GATE, ORDINARY);
    assert_eq!(sent.code, 0, "{}", sent.output);
    let line = postfix.wait_for_log("client=mail.sender.example[2001:db8:51::4]").unwrap();
    let queued = line.split_once(": client=").unwrap().0.rsplit(' ').next().unwrap().to_owned();
    assert!(sent.output.contains(&format!("queued as {queued}")), "{}\n{line}", sent.output);
    let messages = postfix.messages().unwrap();
    assert_eq!(messages.len(), 1, "{messages:?}");
    for wanted in ["Authentication-Results: gate.example;", "(mail.sender.example [IPv6:2001:db8:51::4])"] {
        assert!(messages[0].contains(wanted), "{wanted} in\n{}", messages[0]);
    }
}

#[test]
fn postfix_behind_the_gate_knows_the_name_of_a_trusted_client() {
    let strict = format!("{TAKEN}\nsmtpd_client_restrictions = reject_unknown_client_hostname");
    let start = |site: &Site| Postfix::start(&site.gate, BEHIND.into(), &strict).unwrap();
    let Some((site, postfix, _daemon)) = with_server(XCLIENT, start) else { return };
    site.sixgate(&format!("trust add {SENDER}"));
    let sent = site.swaks(SENDER, GATE, ORDINARY);
    assert_eq!(sent.code, 0, "{}", sent.output);
    postfix.wait_for_log("client=mail.sender.example[2001:db8:51::4]").unwrap();
}

#[test]
fn postfix_behind_the_gate_refuses_to_relay_for_the_real_client() {
    let settings = format!("domains = \"all\"\n{XCLIENT}");
    let Some((site, postfix, _daemon)) = with_postfix(&settings) else { return };
    let foreign =
        ["--helo", "mail.sender.example", "--from", "a@sender.example", "--to", "u@elsewhere.example"];
    let sent = site.swaks(SENDER, GATE, &foreign);
    assert!(sent.output.contains("554 5.7.1"), "{}\n{}", sent.output, postfix.log());
    assert!(postfix.messages().unwrap().is_empty());
}

#[test]
fn postfix_behind_the_gate_sees_the_real_client_by_the_proxy_protocol() {
    let settings = "domains = \"all\"\nnext_hop = { smtp = \"[::1]:10025\", client = \"proxy\" }";
    let taken = format!("{TAKEN}\nsmtpd_upstream_proxy_protocol = haproxy");
    let start = |site: &Site| Postfix::start(&site.gate, BEHIND.into(), &taken).unwrap();
    let Some((site, postfix, _daemon)) = with_server(settings, start) else { return };
    let sent = site.swaks(SENDER, GATE, ORDINARY);
    assert_eq!(sent.code, 0, "{}", sent.output);
    postfix.wait_for_log(": client=unknown[2001:db8:51::4]").unwrap();
    let messages = postfix.messages().unwrap();
    assert_eq!(messages.len(), 1, "{messages:?}");
    let received = "Received: from mail.sender.example (unknown [IPv6:2001:db8:51::4])";
    assert!(messages[0].contains(received), "{}", messages[0]);
    let foreign =
        ["--helo", "mail.sender.example", "--from", "a@sender.example", "--to", "u@elsewhere.example"];
    let sent = site.swaks(SENDER, GATE, &foreign);
    assert!(sent.output.contains("554 5.7.1"), "{}\n{}", sent.output, postfix.log());
}

#[test]
fn postfix_behind_the_gate_is_reached_through_a_unix_socket() {
    let Some((site, postfix, daemon)) =
        with_server(PLAIN, |site| Postfix::start_at_socket(&site.gate, TAKEN).unwrap())
    else {
        return;
    };
    // where the socket is, is known only now
    daemon.stop().unwrap();
    let site = site.configured(&format!("next_hop = {{ smtp = \"unix:{}\" }}", postfix.socket().display()));
    let _daemon = site.serve(&[]);
    let sent = site.swaks(SENDER, GATE, ORDINARY);
    assert_eq!(sent.code, 0, "{}", sent.output);
    assert_eq!(postfix.messages().unwrap().len(), 1, "{}", sent.output);
}

#[test]
fn an_lmtp_server_behind_the_gate_gets_each_recipient_by_itself() {
    if !can_run() || !gate::require(&[Need::Postfix]) {
        return;
    }
    // smtp-sink gives its rights up before it listens
    let folder = tempfile::tempdir().unwrap();
    fs::set_permissions(folder.path(), Permissions::from_mode(0o777)).unwrap();
    let socket = folder.path().join("lmtp");
    for place in [SocketAddr::V6(BEHIND).into(), Address::Unix(socket.as_path().try_into().unwrap())] {
        let settings = format!("next_hop = {{ lmtp = \"{place}\" }}");
        let start = |site: &Site| SmtpSink::start(&site.gate, place, &["-L"]).unwrap();
        let Some((site, sink, _daemon)) = with_server(&settings, start) else { return };
        let send = |to| {
            site.swaks(
                SENDER,
                GATE,
                &["--helo", "mail.sender.example", "--from", "a@sender.example", "--to", to],
            )
        };
        let sent = send("user@contoso.com,other@contoso.com");
        assert!(sent.output.contains("452 4.5.3 One recipient"), "{}", sent.output);
        let sent = send("other@contoso.com");
        assert_eq!(sent.code, 0, "{}", sent.output);
        let messages = sink.messages().unwrap();
        let recipient = |message: &String| {
            let line = message.lines().find_map(|line| line.strip_prefix("X-Rcpt-Args: "));
            line.unwrap().to_owned()
        };
        let mut recipients: Vec<String> = messages.iter().map(recipient).collect();
        recipients.sort();
        assert_eq!(recipients, ["<other@contoso.com>", "<user@contoso.com>"], "{settings}");
    }
}

#[test]
fn a_next_hop_without_xclient_gets_no_mail() {
    let Some((site, hop, _daemon)) = with_server(XCLIENT, |site| Hop::start(site, "never")) else { return };
    let sent = site.swaks(SENDER, GATE, ORDINARY);
    assert!(sent.output.contains("451 4.4.1 Mail server is not available"), "{}", sent.output);
    assert_eq!(hop.taken(), 0);
}

#[test]
fn what_the_sender_was_sent_is_true_wherever_the_daemon_is_killed() {
    for (step, taken) in [("MAIL", 0), ("RCPT", 0), ("DATA", 0), (".", 1), ("answered", 1)] {
        let Some((site, hop, daemon)) = with_server(PLAIN, |site| Hop::start(site, step)) else { return };
        let mut client = site.connect(SENDER, GATE);
        client.reply().unwrap();
        client.say("EHLO mail.sender.example").unwrap();
        client.write(DIALOGUE).unwrap();
        hop.reached.recv().unwrap();
        daemon.kill().unwrap();
        hop.go_on.send(()).unwrap();
        let mut told = false;
        while let Ok(Some(line)) = client.line() {
            told |= line == "250 2.0.0 taken";
        }
        hop.gone.recv().unwrap();
        assert_eq!(hop.taken(), taken, "killed at {step}");
        assert!(!told || taken == 1, "killed at {step}: the sender was told of a message that is nowhere");
    }
}

/// A mail server that stops at one step of a delivery until it is told to go on.
struct Hop {
    /// The step was reached.
    reached: Receiver<()>,
    go_on: Sender<()>,
    /// The connection in which that was has ended.
    gone: Receiver<()>,
    taken: Arc<Mutex<usize>>,
}

impl Hop {
    fn start(site: &Site, step: &'static str) -> Self {
        let listener: TcpListener = site.gate.listen(SocketAddr::V6(BEHIND)).unwrap();
        let (tell_reached, reached) = mpsc::channel();
        let (go_on, wait) = mpsc::channel();
        let (tell_gone, gone) = mpsc::channel();
        let taken = Arc::new(Mutex::new(0));
        let count = Arc::clone(&taken);
        // ends with the process: it waits for connections that no client makes any more
        thread::spawn(move || {
            for stream in listener.incoming().map_while(Result::ok) {
                let stop = |at: &str| {
                    if at == step {
                        let _ = tell_reached.send(());
                        let _ = wait.recv();
                    }
                };
                if converse(stream, stop, &count).is_some_and(|stopped| stopped) {
                    let _ = tell_gone.send(());
                }
            }
        });
        Self { reached, go_on, gone, taken }
    }

    fn taken(&self) -> usize {
        *self.taken.lock().unwrap()
    }
}

/// One session; whether it was one with mail. None if it broke before.
fn converse(mut stream: TcpStream, stop: impl Fn(&str), taken: &Mutex<usize>) -> Option<bool> {
    let mut lines = BufReader::new(stream.try_clone().ok()?).lines().map_while(Result::ok);
    let mut mail = false;
    stream.write_all(b"220 behind.example\r\n").ok()?;
    while let Some(line) = lines.next() {
        let verb = line.split(' ').next().unwrap_or_default();
        if line != PROBE {
            mail |= verb == "MAIL";
            stop(verb);
        }
        // a client that is gone does not get the reply; only the messages that were taken count
        let _ = match verb {
            "EHLO" => stream.write_all(b"250-behind.example\r\n250 8BITMIME\r\n"),
            "DATA" => {
                let _ = stream.write_all(b"354 go\r\n");
                if lines.by_ref().any(|line| line == ".") {
                    *taken.lock().unwrap() += 1;
                    stop(".");
                    let _ = stream.write_all(b"250 2.0.0 taken\r\n");
                    stop("answered");
                }
                Ok(())
            }
            _ => stream.write_all(b"250 2.0.0 ok\r\n"),
        };
    }
    Some(mail)
}

/// How the daemon tries whether its mail is taken.
const PROBE: &str = "MAIL FROM:<>";
/// All in one, as PIPELINING allows once the recipient's answer does not matter to the client.
const DIALOGUE: &[u8] = b"MAIL FROM:<a@sender.example>\r\nRCPT TO:<user@contoso.com>\r\nDATA\r\n\
    Subject: killed\r\n\r\nwhole\r\n.\r\n";
