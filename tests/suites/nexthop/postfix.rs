//! Claims about real mail servers behind: Debian's Postfix with XCLIENT, and smtp-sink with its
//! ways to misbehave.

use std::{
    fs::{self, Permissions},
    net::{Ipv6Addr, SocketAddr, SocketAddrV6},
    os::unix::fs::PermissionsExt as _,
};

use sixgate::nexthop::{Address, Capabilities, ClientName, HEADER_RESERVE};
use sixgate_tests::{
    gate::{self, Need},
    netns::Netns,
    postfix::Postfix,
    smtp_sink::SmtpSink,
};
use tokio::runtime;

use crate::{
    HEADERS, LMTP, LOST, MESSAGE, PROXY, SMTP, Session, UNAVAILABLE, Way, XCLIENT, next_hop, peer::unix,
};

const BEHIND: SocketAddr = SocketAddr::V6(SocketAddrV6::new(Ipv6Addr::LOCALHOST, 25, 0, 0));
const RCPT: &str = "RCPT TO:<b@d.example>";
/// Postfix as the manual tells to set it up behind a gate.
const GATE_IS_TRUSTED: &str = "mynetworks = [::1]/128\nsmtpd_authorized_xclient_hosts = [::1]";

/// A namespace with nothing but loopback, unless something is missing that the tests need.
fn netns() -> Option<Netns> {
    gate::require(&[Need::Root, Need::Postfix]).then(|| Netns::new().expect("a namespace"))
}

/// Runs `task` in `netns`.
fn within<T: Send>(netns: &Netns, task: impl AsyncFnOnce() -> T + Send) -> T {
    netns.run(|| {
        let runtime = runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(task())
    })
}

/// The replies to `commands` in one session of a client with this name.
fn session(netns: &Netns, way: Way, name: &ClientName, commands: &[&str]) -> Vec<String> {
    session_at(&BEHIND.into(), netns, way, name, commands)
}

fn session_at(place: &Address, netns: &Netns, way: Way, name: &ClientName, commands: &[&str]) -> Vec<String> {
    within(netns, async || {
        let mut session = Session::new(&next_hop(way, place.clone()));
        let mut heard = Vec::new();
        for command in commands {
            session.client.name = name.clone();
            heard.extend(session.say(command).await.map(|reply| reply.to_string()));
        }
        session.transport.close().await;
        heard
    })
}

#[test]
fn postfix_sees_the_real_client_through_xclient() {
    let Some(netns) = netns() else { return };
    let postfix = Postfix::start(&netns, BEHIND, GATE_IS_TRUSTED).expect("Postfix");
    let long = format!("{}.example", ["x".repeat(63).as_str(); 3].join("."));
    let rows = [
        (ClientName::Confirmed("mail.sender.example".into()), "mail.sender.example", "helo.sender.example"),
        (ClientName::Claimed("claimed.example".into()), "unknown", "plus+equals=.example"),
        (ClientName::Absent, "unknown", "[IPv6:2001:db8::1]"),
        (ClientName::Failure, "unknown", "x"),
        (ClientName::Confirmed(long.clone()), &long, &long),
    ];
    for (name, shown, helo) in rows {
        let ehlo = format!("EHLO {helo}");
        let heard = session(&netns, XCLIENT, &name, &[&ehlo, RCPT, "DATA"]);
        assert!(heard[1].starts_with("250 2.0.0 Ok: queued as "), "{name:?}: {heard:?}");
        let id = heard[1].trim_end().rsplit(' ').next().expect("an id");
        let line = postfix.wait_for_log(&format!("{id}: client=")).expect("a line");
        assert!(line.ends_with(&format!("client={shown}[2001:db8::1]")), "{name:?}: {line}");
        let received = format!(
            "Received: from {helo} ({shown} [IPv6:2001:db8::1])\n\tby mx.example (Postfix) with ESMTP id {id}"
        );
        let messages = postfix.messages().expect("messages");
        let message = messages.iter().find(|message| message.contains(id)).expect("the message");
        assert!(message.starts_with(&received), "{name:?}: {message}");
        let ours = String::from_utf8([HEADERS, b"Subject: b\r\n"].concat()).expect("a text");
        assert!(message.contains(&ours.replace("\r\n", "\n")), "{message}");
    }
}

#[test]
fn postfix_judges_the_real_client() {
    let Some(netns) = netns() else { return };
    let relay = "RCPT TO:<b@elsewhere.example>";
    let postfix = Postfix::start(&netns, BEHIND, GATE_IS_TRUSTED).expect("Postfix");
    let by = |way| session(&netns, way, &ClientName::Absent, &[relay, RCPT]);
    // Why `domains = "all"` needs XCLIENT: as ourselves we may send anywhere.
    assert_eq!(by(SMTP), ["250 2.1.5 Ok\r\n", "250 2.1.5 Ok\r\n"]);
    assert_eq!(by(XCLIENT), ["554 5.7.1 <b@elsewhere.example>: Relay access denied\r\n", "250 2.1.5 Ok\r\n"]);
    let line = postfix.wait_for_log("Relay access denied").expect("a line");
    assert!(
        line.contains("from unknown[2001:db8::1]") && line.contains("helo=<helo.sender.example>"),
        "{line}"
    );
}

#[test]
fn postfix_grants_rights_to_confirmed_names_only() {
    let Some(netns) = netns() else { return };
    let settings = format!(
        "{GATE_IS_TRUSTED}\nsmtpd_client_restrictions = check_client_access inline:{{mail.sender.example=REJECT}}"
    );
    let _postfix = Postfix::start(&netns, BEHIND, &settings).expect("Postfix");
    let name = "mail.sender.example".to_owned();
    let refused = "554 5.7.1 <mail.sender.example[2001:db8::1]>: Client host rejected: Access denied\r\n";
    for (name, wanted) in
        [(ClientName::Confirmed(name.clone()), refused), (ClientName::Claimed(name), "250 2.1.5 Ok\r\n")]
    {
        assert_eq!(session(&netns, XCLIENT, &name, &[RCPT]), [wanted], "{name:?}");
    }
}

#[test]
fn postfix_that_does_not_take_xclient_from_us_gets_no_mail() {
    let Some(netns) = netns() else { return };
    let postfix = Postfix::start(&netns, BEHIND, "").expect("Postfix");
    assert_eq!(session(&netns, XCLIENT, &ClientName::Absent, &[RCPT]), [UNAVAILABLE]);
    let probed = within(&netns, async || next_hop(XCLIENT, BEHIND).probe().await);
    assert_eq!(probed.expect_err("no XCLIENT").to_string(), "[::1]:25 does not offer XCLIENT NAME ADDR");
    drop(postfix);
}

#[test]
fn postfix_sees_the_real_client_through_a_proxy_header() {
    let Some(netns) = netns() else { return };
    let settings =
        "mynetworks = [::1]/128\nsmtpd_upstream_proxy_protocol = haproxy\nsmtpd_client_port_logging = yes";
    let tcp = Postfix::start(&netns, BEHIND, settings).expect("Postfix");
    let socket = Postfix::start_at_socket(&netns, settings).expect("Postfix");
    let relay = "RCPT TO:<b@elsewhere.example>";
    for (postfix, place) in [(&tcp, BEHIND.into()), (&socket, unix(&socket.socket()))] {
        let heard = session_at(&place, &netns, PROXY, &ClientName::Absent, &[relay, RCPT, "DATA"]);
        assert_eq!(heard[0], "554 5.7.1 <b@elsewhere.example>: Relay access denied\r\n", "{place}");
        assert!(heard[2].starts_with("250 2.0.0 Ok: queued as "), "{place}: {heard:?}");
        let id = heard[2].trim_end().rsplit(' ').next().expect("an id");
        let line = postfix.wait_for_log(&format!("{id}: client=")).expect("a line");
        assert!(line.ends_with("client=unknown[2001:db8::1]:40000"), "{place}: {line}");
        let messages = postfix.messages().expect("messages");
        let received = "Received: from helo.sender.example (unknown [IPv6:2001:db8::1])\n\tby mx.example";
        assert!(messages[0].starts_with(received), "{place}: {messages:?}");
        let probed = within(&netns, async || next_hop(PROXY, place.clone()).probe().await);
        assert!(probed.expect("a probe").smtp_utf8, "{place}");
    }
}

#[test]
fn postscreen_sees_both_ends_through_a_proxy_header() {
    let Some(netns) = netns() else { return };
    let settings = "postscreen_upstream_proxy_protocol = haproxy\npostscreen_access_list = static:permit";
    let postfix = Postfix::start_postscreen(&netns, BEHIND, settings).expect("Postfix");
    let heard = session(&netns, PROXY, &ClientName::Absent, &[RCPT, "DATA"]);
    postfix.wait_for_log("CONNECT from [2001:db8::1]:40000 to [2001:db8::25]:25").expect("a line");
    assert!(heard[1].starts_with("250 2.0.0 Ok: queued as "), "{heard:?}");
}

#[test]
fn postfix_and_we_have_to_agree_about_the_proxy_header() {
    let Some(netns) = netns() else { return };
    let deaf = "postscreen_greet_action = enforce\npostscreen_greet_wait = 1s";
    for start in [Postfix::start, Postfix::start_postscreen] {
        let _postfix = start(&netns, BEHIND, deaf).expect("Postfix");
        assert_eq!(session(&netns, PROXY, &ClientName::Absent, &[RCPT]), [UNAVAILABLE]);
    }
    let expects = "smtpd_upstream_proxy_protocol = haproxy\nsmtpd_upstream_proxy_timeout = 1s";
    let _postfix = Postfix::start(&netns, BEHIND, expects).expect("Postfix");
    assert_eq!(session(&netns, SMTP, &ClientName::Absent, &[RCPT]), [UNAVAILABLE]);
}

#[test]
fn postfix_takes_mail_over_a_unix_socket() {
    let Some(netns) = netns() else { return };
    let postfix = Postfix::start_at_socket(&netns, "").expect("Postfix");
    let place = unix(&postfix.socket());
    let commands = [RCPT, "DATA", "MAIL FROM:<>", RCPT, "DATA"];
    let heard = session_at(&place, &netns, SMTP, &ClientName::Absent, &commands);
    let codes: Vec<&str> = heard.iter().map(|reply| &reply[..9]).collect();
    assert_eq!(codes, ["250 2.1.5", "250 2.0.0", "250 2.1.5", "250 2.0.0"], "{heard:?}");
    assert_eq!(postfix.messages().expect("messages").len(), 2);
}

#[test]
fn postfix_takes_addresses_in_utf_8() {
    let Some(netns) = netns() else { return };
    let postfix = Postfix::start(&netns, BEHIND, "").expect("Postfix");
    let commands = ["MAIL FROM:<用户@sender.example> SMTPUTF8", "RCPT TO:<ü@d.example>", "DATA"];
    let heard = session(&netns, SMTP, &ClientName::Absent, &commands);
    assert!(heard[1].starts_with("250 2.0.0 Ok: queued as "), "{heard:?}");
    postfix.wait_for_log("from=<用户@sender.example> to=<ü@d.example> proto=ESMTP").expect("a line");
}

#[test]
fn postfix_is_understood() {
    let Some(netns) = netns() else { return };
    let postfix = Postfix::start(&netns, BEHIND, "message_size_limit = 100000").expect("Postfix");
    let probed = within(&netns, async || next_hop(SMTP, BEHIND).probe().await).expect("a probe");
    let wanted = Capabilities { eight_bit_mime: true, size: Some(100_000 - HEADER_RESERVE), smtp_utf8: true };
    assert_eq!(probed, wanted);
    let commands = [
        "MAIL FROM:<> SIZE=99001",
        RCPT,
        "RSET",
        "MAIL FROM:<a@sender.example> SIZE=99000 BODY=8BITMIME",
        RCPT,
        "DATA",
        "MAIL FROM:<>",
        RCPT,
        "DATA",
    ];
    let heard = session(&netns, SMTP, &ClientName::Absent, &commands);
    let codes: Vec<&str> = heard.iter().map(|reply| &reply[..9]).collect();
    assert_eq!(codes, ["552 5.3.4", "250 2.1.5", "250 2.0.0", "250 2.1.5", "250 2.0.0"], "{heard:?}");
    assert_eq!(postfix.messages().expect("messages").len(), 2);
}

#[test]
fn postfix_that_ran_out_of_patience_is_asked_once_more() {
    let Some(netns) = netns() else { return };
    let settings = "smtpd_timeout = 1s\ndefault_process_limit = 1";
    let postfix = Postfix::start(&netns, BEHIND, settings).expect("Postfix");
    let reply = within(&netns, async || {
        let next_hop = next_hop(SMTP, BEHIND);
        let mut session = Session::new(&next_hop);
        assert_eq!(session.say(RCPT).await.expect("a reply").code(), 250);
        postfix.wait_for_log("timeout after RCPT from ").expect("a line");
        // Its only process takes this connection once it has closed the other.
        next_hop.probe().await.expect("a probe");
        session.say("DATA").await.expect("a reply").to_string()
    });
    assert!(reply.starts_with("250 2.0.0 Ok: queued as "), "{reply}");
    assert_eq!(postfix.messages().expect("messages").len(), 1);
}

#[test]
fn smtp_sink_gets_the_message_or_its_refusal_gets_to_the_sender() {
    let Some(netns) = netns() else { return };
    let good = ["250 2.1.5 Ok\r\n", "250 2.0.0 Ok\r\n"];
    let rows: &[(&[&str], &[&str])] = &[
        (&[], &good),
        (&["-8"], &good),
        (&["-e"], &good),
        (&["-E"], &good),
        (&["-f", "CONNECT"], &[UNAVAILABLE]),
        (&["-Q", "EHLO"], &[UNAVAILABLE]),
        (&["-q", "EHLO"], &[UNAVAILABLE]),
        (&["-f", "MAIL"], &[UNAVAILABLE]),
        (&["-r", "RCPT"], &["450 4.3.0 Error: command failed\r\n"]),
        (&["-q", "RCPT"], &[LOST]),
        (&["-f", "DATA"], &[good[0], UNAVAILABLE]),
        (&["-q", "DATA"], &[good[0], LOST]),
        (&["-Q", "DATA"], &[good[0], "451 4.0.0 Server closing connection\r\n"]),
        (&["-r", "."], &[good[0], "450 4.3.0 Error: command failed\r\n"]),
        (&["-f", "."], &[good[0], UNAVAILABLE]),
        (&["-q", "."], &[good[0], LOST]),
        (&["-Q", "."], &[good[0], "451 4.0.0 Server closing connection\r\n"]),
        (&["-q", "QUIT"], &good),
    ];
    for (options, wanted) in rows {
        let sink = SmtpSink::start(&netns, BEHIND, options).expect("smtp-sink");
        let commands = if wanted.len() == 1 { vec![RCPT] } else { vec![RCPT, "DATA"] };
        let heard = session(&netns, SMTP, &ClientName::Absent, &commands);
        assert_eq!(heard, *wanted, "{options:?}");
        if wanted[wanted.len() - 1].starts_with("250") {
            let messages = sink.messages().expect("messages");
            let text = String::from_utf8([HEADERS, MESSAGE].concat()).expect("a text").replace("\r\n", "\n");
            assert!(messages.iter().any(|message| message.contains(&text)), "{options:?}: {messages:?}");
        }
    }
}

#[test]
fn smtp_sink_takes_mail_by_lmtp() {
    let Some(netns) = netns() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    // it gives its rights up before it listens
    fs::set_permissions(folder.path(), Permissions::from_mode(0o777)).expect("a folder");
    let places = [BEHIND.into(), unix(&folder.path().join("lmtp"))];
    let other = "RCPT TO:<c@d.example>";
    for place in places {
        let sink = SmtpSink::start(&netns, place.clone(), &["-L"]).expect("smtp-sink");
        let commands = [RCPT, other, "DATA", other, "DATA"];
        let heard = session_at(&place, &netns, LMTP, &ClientName::Absent, &commands);
        let codes: Vec<&str> = heard.iter().map(|reply| &reply[..9]).collect();
        assert_eq!(
            codes,
            ["250 2.1.5", "452 4.5.3", "250 2.2.0", "250 2.1.5", "250 2.2.0"],
            "{place}: {heard:?}"
        );
        let text = String::from_utf8([HEADERS, MESSAGE].concat()).expect("a text").replace("\r\n", "\n");
        let messages = sink.messages().expect("messages");
        let (first, second): (Vec<_>, Vec<_>) =
            messages.iter().partition(|message| message.contains("X-Rcpt-Args: <b@d.example>"));
        assert!(first.len() == 1 && second.len() == 1, "{place}: {messages:?}");
        assert!(messages.iter().all(|message| message.contains(&text)), "{place}: {messages:?}");
        // by SMTP it is not understood
        assert_eq!(session_at(&place, &netns, SMTP, &ClientName::Absent, &[RCPT]), [UNAVAILABLE], "{place}");
    }
}

#[test]
fn smtp_sink_by_lmtp_gets_the_message_or_its_refusal_gets_to_the_sender() {
    let Some(netns) = netns() else { return };
    let good = "250 2.1.5 Ok\r\n";
    let rows: &[(&[&str], &[&str])] = &[
        (&["-Q", "LHLO"], &[UNAVAILABLE]),
        (&["-q", "LHLO"], &[UNAVAILABLE]),
        (&["-f", "LHLO"], &[UNAVAILABLE]),
        (&["-q", "RCPT"], &[LOST]),
        (&["-r", "."], &[good, "450 4.3.0 Error: command failed\r\n"]),
        (&["-f", "."], &[good, UNAVAILABLE]),
        (&["-q", "."], &[good, LOST]),
        (&["-Q", "."], &[good, "451 4.0.0 Server closing connection\r\n"]),
    ];
    for (options, wanted) in rows {
        let options = [&["-L"], *options].concat();
        let _sink = SmtpSink::start(&netns, BEHIND, &options).expect("smtp-sink");
        let commands = if wanted.len() == 1 { vec![RCPT] } else { vec![RCPT, "DATA"] };
        assert_eq!(session(&netns, LMTP, &ClientName::Absent, &commands), *wanted, "{options:?}");
    }
}

#[test]
fn a_refusal_by_smtp_sink_within_the_message_is_read() {
    let Some(netns) = netns() else { return };
    let _sink = SmtpSink::start(&netns, BEHIND, &["-A", "0"]).expect("smtp-sink");
    let line = [[b'x'; 998].as_slice(), b"\r\n"].concat().repeat(1000);
    let reply = within(&netns, async || {
        let mut session = Session::new(&next_hop(SMTP, BEHIND));
        session.say(RCPT).await;
        session.deliver(&vec![line.as_slice(); 50]).await.to_string()
    });
    assert!(reply.starts_with("550 5.0.0 "), "{reply}");
}

#[test]
fn smtp_sink_takes_too_little_of_xclient() {
    let Some(netns) = netns() else { return };
    let _sink = SmtpSink::start(&netns, BEHIND, &[]).expect("smtp-sink");
    // It offers XCLIENT without ADDR.
    assert_eq!(session(&netns, XCLIENT, &ClientName::Absent, &[RCPT]), [UNAVAILABLE]);
}
