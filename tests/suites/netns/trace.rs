//! `sixgate trace` shows what the XDP program does with each segment, and leaves no trace of
//! itself.

use std::net::SocketAddrV6;

use sixgate_tests::{
    packet::{Packet, tcp::RST},
    scene::{Link, Scene},
    site::{GATE, INTERFACE, OTHER, SENDER, Site},
    trace::{Trace, program},
};
use socket2::{Domain, Protocol, Socket, Type};

use crate::{ZONE, can_run};

const BYSTANDER: &str = "2001:db8:51::5";
const NOT_OPTED_IN: &str = "(the destination has not opted in)";

/// A scene whose program answers natively; GATE has opted in.
fn scene() -> Scene {
    let scene = Scene::new(Link::Native, ZONE, "answer = \"kernel\"").unwrap();
    scene.site.sixgate(&format!("optin add {GATE}"));
    scene.site.sixgate("domain add contoso.com");
    scene
}

/// A whole session that is refused, but for its greeting and its end.
const COMMANDS: &[(&str, u16)] = &[
    ("EHLO mail.sender.example", 250),
    ("MAIL FROM:<a@sender.example>", 250),
    ("RCPT TO:<user@contoso.com>", 550),
];

#[test]
fn each_segment_of_a_refused_session_is_shown_with_its_answer() {
    if !can_run() {
        return;
    }
    let scene = scene();
    let _daemon = scene.site.serve(&[]);
    let trace =
        Trace::start(&scene.site, &format!("--source {SENDER} --destination 2001:db8:25::/64")).unwrap();
    // of another source, and before: it would be the first
    let mut bystander = scene.connect(BYSTANDER, OTHER).unwrap();
    bystander.reply().unwrap();
    let mut client = scene.connect(SENDER, OTHER).unwrap();
    client.reply().unwrap();
    for (command, code) in COMMANDS {
        assert_eq!(client.say(command).unwrap().code, *code, "{command}");
    }
    assert_eq!(client.say("QUIT").unwrap().code, 221);
    client.closed().unwrap();
    trace.wait_for("and a FIN").unwrap();
    drop(client);
    let fin = trace.wait_for(" FIN ACK seq ").unwrap();
    assert!(fin.contains(": dropped: ") || fin.contains(": answered with "), "{fin}");

    let shown = trace.shown();
    let lines: Vec<&str> = shown.lines().collect();
    let wanted = [
        " SYN seq ",
        ": answered with a SYN-ACK: the session is refused ",
        " ACK seq ",
        ": answered with reply 220: the handshake of a refused session is complete ",
        ": answered with reply 250: a command of a refused session is complete ",
        ": answered with reply 250: ",
        ": answered with reply 550: ",
        ": answered with reply 221 and a FIN: ",
    ];
    let mut rest = shown.as_str();
    for text in wanted {
        let at = rest.find(text).unwrap_or_else(|| panic!("no {text:?} in its place in\n{shown}"));
        rest = &rest[at + text.len()..];
    }
    let ends = format!(" {INTERFACE} [{SENDER}]:");
    assert!(lines.iter().all(|line| line.contains(&ends)), "{shown}");
    assert!(lines.iter().all(|line| line.contains(&format!(" > [{OTHER}]:25 "))), "{shown}");
    assert!(lines.iter().all(|line| line.contains(NOT_OPTED_IN)), "{shown}");
    // the QUIT line and its CRLF
    assert!(
        lines.iter().any(|line| line.contains(" PSH ACK seq ") && line.contains(" length 6: ")),
        "{shown}"
    );
}

#[test]
fn a_session_that_is_accepted_is_shown_as_passed_with_the_reason() {
    if !can_run() {
        return;
    }
    let scene = scene();
    let _daemon = scene.site.serve(&[]);
    let trace = Trace::start(&scene.site, "--source 2001:db8:51::/64 --json --count 2").unwrap();
    let mut client = scene.connect(SENDER, GATE).unwrap();
    client.reply().unwrap();
    let (status, shown, notes) = trace.end().unwrap();
    assert!(status.success() && notes.contains("2 segments shown: the count is reached"), "{notes}");
    let lines: Vec<serde_json::Value> =
        shown.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(lines.len(), 2, "{shown}");
    for (line, (flags, counter, why)) in lines.iter().zip([
        ("SYN", "pass_opted_in", "the destination has opted in"),
        ("ACK", "pass_segment", "the segment is not of a session that the kernel refuses"),
    ]) {
        assert_eq!(line["action"], "passed", "{line}");
        assert_eq!(line["counter"], counter, "{line}");
        assert_eq!(line["why"], why, "{line}");
        assert!(line["flags"].as_str().unwrap().starts_with(flags), "{line}");
        assert!(line["reason"].is_null() && line["reply"].is_null(), "{line}");
    }
}

#[test]
fn a_command_that_is_killed_leaves_the_ordinary_program_and_its_sessions() {
    if !can_run() {
        return;
    }
    let scene = scene();
    let daemon = scene.site.serve(&[]);
    let ordinary = program(&scene.site.gate, INTERFACE);
    let mut client = scene.connect(SENDER, OTHER).unwrap();
    client.reply().unwrap();
    assert_eq!(client.say(COMMANDS[0].0).unwrap().code, 250);

    let trace = Trace::start(&scene.site, &format!("--source {SENDER}")).unwrap();
    let traced = program(&scene.site.gate, INTERFACE);
    assert!(traced.is_some() && traced != ordinary, "{traced:?}");
    assert_eq!(client.say(COMMANDS[1].0).unwrap().code, 250);
    trace.wait_for(": answered with reply 250: ").unwrap();
    let status = scene.site.sixgate("status");
    assert!(status.contains(&format!("trace      source {SENDER}/128, since ")), "{status}");
    assert!(!status.contains("attach again"), "{status}");
    let second = scene.site.run(&format!("trace --source {SENDER} --duration 1s"));
    let text = String::from_utf8_lossy(&second.stderr);
    assert_eq!(second.status.code(), Some(1), "{text}");
    assert!(text.contains("nothing is traced: a trace is already running (source "), "{text}");
    assert_eq!(program(&scene.site.gate, INTERFACE), traced);

    trace.kill().unwrap();
    daemon.wait_for_log("the XDP program is no longer traced").unwrap();
    assert_eq!(program(&scene.site.gate, INTERFACE), ordinary);
    assert_eq!(client.say(COMMANDS[2].0).unwrap().code, 550);
    assert!(!scene.site.sixgate("status").contains("trace "), "it is over");
    scene.answered(1).unwrap();
    // another one can begin
    Trace::start(&scene.site, &format!("--source {SENDER}")).unwrap().kill().unwrap();
}

#[test]
fn a_daemon_that_ends_or_starts_puts_the_ordinary_program_back() {
    if !can_run() {
        return;
    }
    let scene = scene();
    let daemon = scene.site.serve(&[]);
    let ordinary = program(&scene.site.gate, INTERFACE);
    let trace = Trace::start(&scene.site, "--source ::/0").unwrap();
    daemon.stop().unwrap();
    assert_eq!(program(&scene.site.gate, INTERFACE), ordinary);
    let (status, _, notes) = trace.end().unwrap();
    assert_eq!(status.code(), Some(1), "{notes}");
    assert!(notes.contains("the daemon is stopping"), "{notes}");

    let daemon = scene.site.serve(&[]);
    let ordinary = program(&scene.site.gate, INTERFACE);
    let trace = Trace::start(&scene.site, "--source ::/0").unwrap();
    daemon.kill().unwrap();
    assert_ne!(program(&scene.site.gate, INTERFACE), ordinary);
    assert_eq!(trace.end().unwrap().0.code(), Some(2));
    // without a daemon the kernel goes on refusing
    let mut client = scene.connect(SENDER, OTHER).unwrap();
    client.reply().unwrap();
    let _next = scene.site.serve(&[]);
    assert_eq!(program(&scene.site.gate, INTERFACE), ordinary);
    assert_eq!(client.say(COMMANDS[0].0).unwrap().code, 250);
}

#[test]
fn a_trace_ends_when_the_program_is_attached_anew() {
    if !can_run() {
        return;
    }
    let scene = scene();
    let _daemon = scene.site.serve(&[]);
    let trace = Trace::start(&scene.site, "--source ::/0").unwrap();
    let traced = program(&scene.site.gate, INTERFACE);
    // the command loads a program of its own
    scene.site.sixgate("attach");
    let ordinary = program(&scene.site.gate, INTERFACE);
    assert_ne!(ordinary, traced);
    let (status, _, notes) = trace.end().unwrap();
    assert_eq!(status.code(), Some(1), "{notes}");
    assert!(notes.contains("the XDP program was attached anew or detached"), "{notes}");
    assert_eq!(program(&scene.site.gate, INTERFACE), ordinary);
}

#[test]
fn lines_beyond_the_rate_limit_are_counted() {
    if !can_run() {
        return;
    }
    let scene = scene();
    let _daemon = scene.site.serve(&[]);
    let trace = Trace::start(&scene.site, &format!("--source {SENDER}")).unwrap();
    let packet = Packet::syn().flags(RST).source(SENDER.parse().unwrap()).destination(GATE.parse().unwrap());
    // the sender has its address, and knows the way
    scene.connect(SENDER, GATE).unwrap().reply().unwrap();
    scene.site.outside.run(|| {
        // a raw socket of this protocol takes whole IPv6 packets (ipv6(7))
        let raw = Socket::new(Domain::IPV6, Type::RAW, Some(Protocol::from(IPPROTO_RAW))).unwrap();
        let to = SocketAddrV6::new(GATE.parse().unwrap(), 0, 0, 0).into();
        for _ in 0..FLOOD {
            // a full queue loses packets, as a link does
            let _ = raw.send_to(&packet.build()[packet.ipv6_offset()..], &to);
        }
    });
    let note = trace.wait_for_note("log rate limit: ").unwrap();
    assert!(note.ends_with(" lines suppressed"), "{note}");
    let line = trace.wait_for(" RST seq ").unwrap();
    assert!(line.contains(": passed to the host: the segment is not of a session that "), "{line}");
}

#[test]
fn what_cannot_be_traced_is_refused_with_what_to_do() {
    if !can_run() {
        return;
    }
    let site = Site::new(ZONE, "answer = \"daemon\"");
    let refused = |arguments: &str, code: i32, words: &str| {
        let output = site.run(&format!("trace {arguments}"));
        let text = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments}: {text}");
        assert!(text.contains(words), "{arguments}: {words:?} in {text}");
    };
    refused("--source ::/0", 2, "the daemon is not running: `systemctl start sixgate`");
    refused("", 2, "--source <PREFIX>");
    refused("--source 192.0.2.0/24", 2, "`192.0.2.0/24` is IPv4: sixgate is about IPv6 only");
    refused("--source ::/0 --destination 2001:db8::1/32", 2, "write 2001:db8::/32");
    refused("--source ::/0 --duration 2h", 2, "a trace lasts 1s at least and 1h at most");
    refused("--source ::/0 --count 0", 2, "0");
    let daemon = site.serve(&["--no-xdp"]);
    refused("--source ::/0", 1, "nothing is traced: the daemon was started with --no-xdp");
    daemon.stop().unwrap();
    let _daemon = site.serve(&[]);
    refused("--source ::/0", 1, "attached to no interface here: `sixgate attach --iface IFACE` attaches it");
    site.sixgate(&format!("attach --iface {INTERFACE}"));
    let ordinary = program(&site.gate, INTERFACE);
    let trace = Trace::start(&site, "--source ::/0 --duration 1s").unwrap();
    let (status, _, notes) = trace.end().unwrap();
    assert!(status.success() && notes.contains("the duration is over"), "{notes}");
    assert_eq!(program(&site.gate, INTERFACE), ordinary);
}

/// So many frames that the limit of a second is passed even if they take ten.
const FLOOD: usize = 20_000;
const IPPROTO_RAW: i32 = 255;
