//! A next hop that is slow, goes away, comes back, or rejects sixgate instead of senders, as
//! `status` and the log report it.

use std::{
    io::{BufRead as _, BufReader, Write as _},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::{
        Arc, Mutex,
        mpsc::{self, Receiver},
    },
    thread,
};

use sixgate_tests::{
    client::Client,
    site::{GATE, SENDER, Site},
};

use super::{is_broken, is_good};
use crate::{can_run, site};

const HOP: &str = "[::1]:10025";
const TAKEN: &str = "250 2.1.5 ok";

/// A site whose next hop is at [`HOP`].
fn site_behind() -> Site {
    site(&format!("next_hop = {{ smtp = \"{HOP}\" }}"))
}

fn listen(site: &Site) -> TcpListener {
    site.gate.listen(HOP.parse::<SocketAddr>().unwrap()).unwrap()
}

/// Serves as many connections, each to its end; RCPT TO gets the reply that stands in `rcpt` then.
fn serve(listener: &TcpListener, connections: usize, rcpt: &Mutex<&'static str>) {
    for stream in listener.incoming().take(connections) {
        let _ = converse(stream.unwrap(), rcpt);
    }
}

fn converse(mut stream: TcpStream, rcpt: &Mutex<&'static str>) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    stream.write_all(b"220 mx.example\r\n")?;
    while let Some(line) = lines.next() {
        let line = line?;
        let reply = match line.get(..4).unwrap_or_default() {
            "EHLO" => "250-mx.example\r\n250 8BITMIME",
            "RCPT" => *rcpt.lock().unwrap(),
            "DATA" => {
                stream.write_all(b"354 go\r\n")?;
                lines.by_ref().map_while(Result::ok).find(|line| line == ".");
                "250 2.0.0 taken"
            }
            "QUIT" => "221 2.0.0 bye",
            _ => "250 2.0.0 ok",
        };
        stream.write_all(format!("{reply}\r\n").as_bytes())?;
    }
    Ok(())
}

/// A client that has given a recipient, and the reply to it.
fn recipient(site: &Site) -> (Client, String) {
    let mut client = site.connect(SENDER, GATE);
    client.reply().unwrap();
    for command in ["EHLO mail.sender.example", "MAIL FROM:<a@sender.example>"] {
        client.say(command).unwrap();
    }
    let reply = client.say("RCPT TO:<user@contoso.com>").unwrap().unnamed().to_owned();
    (client, reply)
}

fn deliver(site: &Site) {
    let (mut client, reply) = recipient(site);
    assert_eq!(reply, TAKEN);
    assert_eq!(client.say("DATA").unwrap().code, 354);
    assert_eq!(client.message("Subject: a\n\nb\n").unwrap().last(), "250 2.0.0 taken");
}

/// A next hop that greets once the test lets it.
fn greet_late(listener: TcpListener, may_greet: Receiver<()>) {
    thread::spawn(move || {
        let _ = may_greet.recv();
        serve(&listener, usize::MAX, &Mutex::new(TAKEN));
    });
}

#[test]
fn a_next_hop_that_greets_after_ten_seconds_is_used() {
    if !can_run(&[]) {
        return;
    }
    let site = site_behind();
    let (let_greet, may_greet) = mpsc::channel();
    greet_late(listen(&site), may_greet);
    // serves once it has waited long enough for the first probe
    let daemon = site.serve(&["--no-xdp"]);
    daemon.wait_for_log("the next hop does not reply to its first probe").unwrap();
    is_broken(&site, "the next hop has not replied to a probe for ");
    let greeting = site.connect(SENDER, GATE).reply().unwrap();
    assert!(greeting.last().starts_with("421 4.4.1 "), "{greeting:?}");
    drop(let_greet);
    // the same probe
    daemon.wait_for_log("the next hop is slow to reply to a probe").unwrap();
    deliver(&site);
    is_good(&site);
    let (_, log) = daemon.stop().unwrap();
    assert!(!log.contains("is not usable"), "{log}");
}

#[test]
fn a_session_finds_out_first_that_the_next_hop_is_gone_or_back() {
    if !can_run(&[]) {
        return;
    }
    let site = site_behind();
    let listener = listen(&site);
    // the probe's connection, and no other
    let probed = thread::spawn(move || serve(&listener, 1, &Mutex::new(TAKEN)));
    let daemon = site.serve(&["--no-xdp"]);
    probed.join().unwrap();
    is_good(&site);
    let (_, reply) = recipient(&site);
    assert_eq!(reply, "451 4.4.1 Mail server is not available, please try again later.");
    is_broken(&site, "the next hop is not usable: the connection to [::1]:10025 failed while connecting");
    daemon.wait_for_log("the next hop is not usable error=").unwrap();
    let listener = listen(&site);
    thread::spawn(move || serve(&listener, usize::MAX, &Mutex::new(TAKEN)));
    deliver(&site);
    is_good(&site);
    daemon.wait_for_log("the next hop is usable again").unwrap();
}

#[test]
fn a_next_hop_that_rejects_our_own_address_at_each_recipient_is_reported() {
    const REJECTED: &str = "450 4.7.1 Client host rejected: cannot find your reverse hostname, [::1]";
    if !can_run(&[]) {
        return;
    }
    let site = site_behind();
    let listener = listen(&site);
    let rcpt = Arc::new(Mutex::new("450 4.7.1 <user@contoso.com>: Recipient address rejected: Greylisted"));
    let replies = Arc::clone(&rcpt);
    thread::spawn(move || serve(&listener, usize::MAX, &replies));
    let daemon = site.serve(&["--no-xdp"]);
    let replies = |answer: &'static str, wanted: &str| {
        *rcpt.lock().unwrap() = answer;
        for _ in 0..3 {
            let (mut client, reply) = recipient(&site);
            assert_eq!(reply, wanted);
            client.say("QUIT").unwrap();
        }
    };
    let recipients = |wanted: &'static str| replies(wanted, wanted);
    recipients("450 4.7.1 <user@contoso.com>: Recipient address rejected: Greylisted");
    is_good(&site);
    recipients(REJECTED);
    let problem = "the next hop rejects sixgate's own address or host name instead of the sender's";
    is_broken(&site, &format!("{problem}: {REJECTED}"));
    let line = daemon.wait_for_log(problem).unwrap();
    assert!(line.contains(" WARN ") && line.contains(&format!("reply=\"{REJECTED}\"")), "{line}");
    // no sender returns its message for what is about the gate
    for rejected in [
        "550 5.7.1 Client host [::1] blocked",
        "554 ::1 is listed at rbl.example",
        "504 5.5.2 <gate.example>: Helo command rejected: need fully-qualified hostname",
    ] {
        replies(rejected, "451 4.4.1 Mail server is not available, please try again later.");
    }
    // a reload of other settings keeps all that is known about the next hop
    let hop = format!("next_hop = {{ smtp = \"{HOP}\" }}");
    site.write(&format!("{hop}\nlimits.message_size = 9000000\npermanent_refusals = [\"no_ptr\"]"));
    site.expect("reload", 0, &["changed: "]);
    is_broken(&site, problem);
    recipients(TAKEN);
    is_good(&site);
    daemon.wait_for_log("the next hop accepts recipients from sixgate again").unwrap();
}
