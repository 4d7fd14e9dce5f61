//! Refused sessions over a link that loses a tenth of all packets, each way: never a wrong reply, and every session that
//! was greeted ends with the right one.

use std::{
    io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _},
    net::{Shutdown, SocketAddrV6, TcpStream},
    thread,
    time::Duration,
};

use anyhow::{Context as _, Result, bail, ensure};
use aya::programs::XdpMode;
use sixgate_tests::{
    gate,
    site::{OTHER, SENDER, Site},
    xdp_helper::Lossy,
};

use crate::kernel::{Link, NEEDS, OUTSIDE, Scene};

/// What is said, and what has to be heard.
const DIALOGUE: &[(&str, &[&str])] = &[
    (
        "EHLO mail.sender.example",
        &["250-gate.example", "250-SIZE 52428800", "250-8BITMIME", "250-SMTPUTF8", "250 ENHANCEDSTATUSCODES"],
    ),
    ("MAIL FROM:<a@sender.example>", &["250 2.1.0 Sender ok"]),
    (
        "RCPT TO:<user@contoso.com>",
        &["550 5.2.1 Service unavailable, [contoso.com] does not accept email over IPv6."],
    ),
    (
        "RCPT TO:<user@Fabrikam.example>",
        &["550 5.2.1 Service unavailable, [Fabrikam.example] does not accept email over IPv6."],
    ),
    ("DATA", &["554 5.5.1 No valid recipients"]),
    ("QUIT", &["221 2.0.0 gate.example closing connection"]),
];

/// How a session ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum End {
    /// It heard everything.
    Complete,
    /// It was never greeted.
    Silence,
}

#[test]
fn a_lossy_link_loses_no_refusal() {
    if !gate::require(NEEDS) {
        return;
    }
    let scene = Scene::new(Link::Lossy, "", "").unwrap();
    let site = &scene.site;
    let mut lossy = Lossy::attach(&site.outside, OUTSIDE, XdpMode::Driver, 0).unwrap();
    let daemon = site.serve(&[]);
    // the sender's address, and the neighbours', before anything is lost
    drop(site.connect(SENDER, OTHER));
    lossy.set(LOSS).unwrap();
    let ends: Vec<End> = thread::scope(|scope| {
        let running: Vec<_> = (0..SESSIONS).map(|_| scope.spawn(|| session(site))).collect();
        running.into_iter().map(|session| session.join().unwrap().unwrap()).collect()
    });
    let drops = lossy.drops().unwrap();
    assert!(drops.incoming > 0 && drops.outgoing > 0, "{drops:?}");
    let complete = ends.iter().filter(|end| **end == End::Complete).count();
    // a handshake's last acknowledgement may be lost, and with it the session
    assert!(complete * 4 >= SESSIONS * 3, "{complete} of {SESSIONS} sessions were greeted");
    let begun = site.counter("answer_greeting");
    assert!(begun > complete as u64, "{begun} sessions begun, {complete} complete");
    assert_eq!(site.counter("tag_not_opted_in"), 0);
    daemon.stop().unwrap();
}

/// One session, from the SYN to the end.
fn session(site: &Site) -> Result<End> {
    let address = |address: &str, port| SocketAddrV6::new(address.parse().unwrap(), port, 0, 0);
    let stream = site.outside.connect(address(SENDER, 0), address(OTHER, 25)).context("connect")?;
    stream.set_read_timeout(Some(GREETING_WITHIN))?;
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    let mut greeting = String::new();
    match stream.read_line(&mut greeting) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(End::Silence),
        read => ensure!(read? > 0 && greeting == "220 gate.example ESMTP sixgate\r\n", "{greeting:?}"),
    }
    stream.get_ref().set_read_timeout(Some(REPLY_WITHIN))?;
    for (line, wanted) in DIALOGUE {
        stream.get_mut().write_all(format!("{line}\r\n").as_bytes())?;
        hear(&mut stream, wanted).with_context(|| format!("after {line:?}"))?;
    }
    stream.get_ref().shutdown(Shutdown::Write)?;
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).context("after the end")?;
    ensure!(rest.is_empty(), "more came: {:?}", String::from_utf8_lossy(&rest));
    Ok(End::Complete)
}

fn hear(stream: &mut BufReader<TcpStream>, wanted: &[&str]) -> Result<()> {
    for wanted in wanted {
        let mut line = String::new();
        if stream.read_line(&mut line)? == 0 {
            bail!("the connection ended where {wanted:?} was due");
        }
        ensure!(line == format!("{wanted}\r\n"), "heard  {line:?}\nwanted {wanted:?}");
    }
    Ok(())
}

/// Sessions at the same time.
const SESSIONS: usize = 60;
/// Of 1000 packets, each way.
const LOSS: u32 = 100;
/// A greeting that is lost is sent again after 1, 2, 4 and 8 seconds.
const GREETING_WITHIN: Duration = Duration::from_secs(20);
/// A reply comes when its command comes again: after 0.2 s, 0.4 s, 0.8 s and so on.
const REPLY_WITHIN: Duration = Duration::from_secs(60);
