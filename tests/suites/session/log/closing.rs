//! The closing line: one for each session that was served, with everything that it came to.
//!
//! Lines about single refusals are tested by [`super`].

use sixgate_tests::site::SENDER;

use super::{connect, serve};
use crate::{can_run, site, site_with_tls};

/// The end of a closing line, and the beginning of it.
const EVENT: &str = "session closed";

#[test]
fn one_line_has_all_that_a_session_came_to() {
    if !can_run(&[]) {
        return;
    }
    let (site, daemon) = serve(site(""));
    let mut client = connect(&site);
    client.say("MAIL FROM:<a@sender.example>").unwrap();
    assert_eq!(client.say("RCPT TO:<user@fabrikam.example>").unwrap().code, 550);
    assert_eq!(client.say("RCPT TO:<user@contoso.com>").unwrap().code, 250);
    client.say("DATA").unwrap();
    let delivered = client.message("Subject: x\r\n\r\n").unwrap();
    assert_eq!(delivered.code, 250);
    assert_eq!(client.say("AUTH PLAIN").unwrap().code, 502);
    client.say("QUIT").unwrap();
    let line = daemon.wait_for_log(EVENT).unwrap();
    let (id, _) = line.split_once(" INFO session{id=").unwrap().1.split_once(' ').unwrap();
    let span = format!("session{{id={id} source={SENDER} destination=");
    for part in [
        span.as_str(),
        "ending=\"quit\" client_name=\"mail.sender.example\" helo=\"mail.sender.example\" commands=7 ",
        "mail_accepted=1 rcpt_accepted=1 rcpt_rejected=1 messages_accepted=1 octets=",
        "reasons=\"domain_not_opted_in=1 not_offered=1\" duration_ms=",
    ] {
        assert!(line.contains(part), "{part} in\n{line}");
    }
    assert_eq!(delivered.session(), Some(id), "{delivered:?}");
    assert!(site.delivered()[0].contains(&format!(" id {id}")), "{:?}", site.delivered());
    let (_, log) = daemon.stop().unwrap();
    assert_eq!(log.matches(EVENT).count(), 1, "{log}");
}

#[test]
fn a_closing_line_tells_how_the_session_ended() {
    if !can_run(&[]) {
        return;
    }
    let (site, daemon) = serve(site_with_tls("[limits]\ncommand_timeout = \"1500ms\"\nerrors = 2\n").0);
    let mut client = connect(&site);
    client.hang_up().unwrap();
    let line = daemon.wait_for_log("ending=\"client_left\"").unwrap();
    assert!(line.contains(EVENT) && line.contains("commands=1 duration_ms="), "{line}");
    let _silent = connect(&site);
    let line = daemon.wait_for_log("ending=\"timeout\"").unwrap();
    assert!(line.contains(EVENT) && !line.contains("reasons="), "{line}");
    let mut client = connect(&site);
    client.write(b"x\r\nx\r\nx\r\n").unwrap();
    let line = daemon.wait_for_log("ending=\"errors\"").unwrap();
    assert!(line.contains("reasons=\"errors=1 unknown_command=2\""), "{line}");
    let mut client = connect(&site);
    client.say("STARTTLS").unwrap();
    client.write(b"NOOP\r\n").unwrap();
    daemon.wait_for_log("ending=\"tls_failed\"").unwrap();
    let mut held = connect(&site);
    held.say("MAIL FROM:<a@sender.example>").unwrap();
    daemon.signal(nix::sys::signal::Signal::SIGTERM).unwrap();
    daemon.wait_for_log("ending=\"stopping\"").unwrap();
}
