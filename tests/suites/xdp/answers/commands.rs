//! Whole dialogues, octet by octet against the reply table: each verb, each order, each length,
//! each reason.
//!
//! Every command is sent twice: the second time its reply has to be the same, numbers included.

use std::{collections::BTreeSet, net::Ipv6Addr};

use sixgate_common::{
    flow::FlowKey,
    refuse::{COMMANDS_MAX, LINE_MAX, ReplyId},
    settings::{REFUSE_AT_GREETING, Settings},
    stat::Stat,
};
use sixgate_dataplane::Projection;
use sixgate_tests::gate;

use super::{
    lines::long,
    lockstep::Lockstep,
    session::{ANSWERING, CLIENT, about, configure, greeting, line, load, replied, text},
};
use crate::program::{NEEDS, NO_PTR, OPTED_IN, OURS, projection};

pub(super) const EHLO: &[u8] = b"EHLO mail.example\r\n";
const MAIL: &[u8] = b"MAIL FROM:<sender@mail.example>\r\n";
pub(super) const RCPT: &[u8] = b"RCPT TO:<user@contoso.com>\r\n";
const QUIT: &[u8] = b"QUIT\r\n";

#[test]
fn who_has_not_opted_in_is_refused_at_each_recipient() {
    if !gate::require(NEEDS) {
        return;
    }
    let mut program = load();
    let mut lockstep = Lockstep::usual(&mut program);
    lockstep.expect_reply(&mut program, EHLO, &text(ReplyId::Ehlo));
    lockstep.expect_reply(&mut program, MAIL, &text(ReplyId::Mail));
    let refused = "550 5.2.1 Service unavailable, [contoso.com] does not accept email over IPv6.\r\n";
    assert_eq!(about(ReplyId::NotOptedIn, "contoso.com"), refused);
    lockstep.expect_reply(&mut program, RCPT, refused);
    lockstep.expect_reply(
        &mut program,
        b"rcpt to:<other@Fabrikam.Example>\r\n",
        &about(ReplyId::NotOptedIn, "Fabrikam.Example"),
    );
    lockstep.expect_reply(&mut program, b"DATA\r\n", &text(ReplyId::NoRecipients));
    lockstep.expect_reply(&mut program, b"RSET\r\n", &text(ReplyId::Rset));
    lockstep.expect_reply(&mut program, RCPT, &text(ReplyId::BadSequence));
    lockstep.expect_last_reply(&mut program, QUIT, &text(ReplyId::Quit));
}

#[test]
fn a_domain_that_is_marked_is_refused_temporarily_in_each_form() {
    if !gate::require(NEEDS) {
        return;
    }
    let mut program = load();
    let mut lockstep = Lockstep::usual(&mut program);
    lockstep.expect_reply(&mut program, EHLO, &text(ReplyId::Ehlo));
    lockstep.expect_reply(&mut program, MAIL, &text(ReplyId::Mail));
    let later = "450 4.2.1 Service unavailable, [later.example] does not accept email over IPv6.\r\n";
    assert_eq!(about(ReplyId::NotOptedInTemporary, "later.example"), later);
    let temporary = |subject: &str| about(ReplyId::NotOptedInTemporary, subject);
    let permanent = |subject: &str| about(ReplyId::NotOptedIn, subject);
    let ours = OURS.to_string();
    for (path, wanted) in [
        ("<u@later.example>", temporary("later.example")),
        ("<u@LATER.Example>", temporary("LATER.Example")),
        // what is not a name is looked up and not echoed
        ("<u@later.example.>", temporary(&ours)),
        ("<\"a@b> c\"@later.example>", temporary("later.example")),
        ("<@relay.example:u@later.example> NOTIFY=NEVER", temporary("later.example")),
        ("<\u{fc}@b\u{fc}cher.example>", temporary(&ours)),
        ("<\u{fc}@B\u{fc}cher.EXAMPLE.>", temporary(&ours)),
        ("<u@later.example..>", permanent(&ours)),
        ("<u@sub.later.example>", permanent("sub.later.example")),
        ("<u@ater.example>", permanent("ater.example")),
        ("<u@contoso.com>", permanent("contoso.com")),
        ("<later.example>", permanent(&ours)),
        ("u@later.example", permanent(&ours)),
    ] {
        lockstep.expect_reply(&mut program, format!("RCPT TO:{path}\r\n").as_bytes(), &wanted);
    }
    assert_eq!(program.counter(Stat::AlsoTemporary), 7);
    // for want of reverse DNS it is refused as any other
    let mut lockstep = Lockstep::open(&mut program, NO_PTR, OPTED_IN, &greeting());
    lockstep.expect_reply(&mut program, EHLO, &text(ReplyId::Ehlo));
    lockstep.expect_reply(&mut program, MAIL, &text(ReplyId::Mail));
    lockstep.expect_reply(
        &mut program,
        b"RCPT TO:<u@later.example>\r\n",
        &about(ReplyId::NoPtr, &NO_PTR.to_string()),
    );
}

#[test]
fn a_mark_of_a_domain_holds_from_the_next_recipient_but_not_a_repetition() {
    if !gate::require(NEEDS) {
        return;
    }
    let mut program = load();
    let mut lockstep = Lockstep::usual(&mut program);
    lockstep.expect_reply(&mut program, EHLO, &text(ReplyId::Ehlo));
    lockstep.expect_reply(&mut program, MAIL, &text(ReplyId::Mail));
    let Lockstep { sender, at, ack } = lockstep;
    let rcpt = b"RCPT TO:<u@later.example>\r\n";
    let reply = about(ReplyId::NotOptedInTemporary, "later.example");
    let end = at + rcpt.len() as i32;
    let observed = sender.send(&mut program, line(at, ack, rcpt));
    assert_eq!(observed, replied(Stat::AnswerReply, ack, end, &reply));
    program.maps.project(&Projection { temporary: BTreeSet::new(), ..projection() }).unwrap();
    let observed = sender.send(&mut program, line(at, ack, rcpt));
    assert_eq!(observed, replied(Stat::AnswerAgain, ack, end, &reply));
    let ack = ack + reply.len() as i32;
    let permanent = about(ReplyId::NotOptedIn, "later.example");
    let observed = sender.send(&mut program, line(end, ack, rcpt));
    assert_eq!(observed, replied(Stat::AnswerReply, ack, end + rcpt.len() as i32, &permanent));
}

#[test]
fn who_has_no_ptr_record_is_refused_at_each_recipient_in_every_style() {
    if !gate::require(NEEDS) {
        return;
    }
    let mut program = load();
    for refuse_at in [1, REFUSE_AT_GREETING, 3] {
        configure(&mut program, &Settings { refuse_at, ..ANSWERING });
        let mut lockstep = Lockstep::open(&mut program, NO_PTR, OPTED_IN, &greeting());
        lockstep.expect_reply(&mut program, b"HELO mail.example\r\n", &text(ReplyId::Helo));
        lockstep.expect_reply(&mut program, b"MAIL FROM:<>\r\n", &text(ReplyId::Mail));
        let refused = "450 4.7.25 Service unavailable, sending IPv6 address [2001:db8:8::1] must have reverse DNS record.\r\n";
        lockstep.expect_reply(&mut program, RCPT, refused);
        lockstep.expect_reply(&mut program, RCPT, refused);
        lockstep.expect_last_reply(&mut program, QUIT, &text(ReplyId::Quit));
    }
}

#[test]
fn after_a_refusing_greeting_only_quit_is_accepted() {
    if !gate::require(NEEDS) {
        return;
    }
    let mut program = load();
    configure(&mut program, &Settings { refuse_at: REFUSE_AT_GREETING, ..ANSWERING });
    let refused =
        "554 gate.example Service unavailable, [2001:db8:2::25] does not accept email over IPv6.\r\n";
    let mut lockstep = Lockstep::open(&mut program, CLIENT, OURS, refused);
    for line in [EHLO, MAIL, RCPT, b"NOOP\r\n", b"RSET\r\n", b"\r\n", b"EHLO\r\n", &long("", LINE_MAX + 1)] {
        lockstep.expect_reply(&mut program, line, &text(ReplyId::BadSequence));
    }
    lockstep.expect_last_reply(&mut program, QUIT, &text(ReplyId::Quit));
}

#[test]
fn each_verb_has_its_reply_in_each_phase() {
    if !gate::require(NEEDS) {
        return;
    }
    use ReplyId::{
        BadSequence, Ehlo, Helo, Help, Mail, NoName, NoRecipients, Noop, NotOffered, NotOptedIn, Rset,
        Syntax, Unknown, Vrfy,
    };
    let mut program = load();
    // before EHLO, after it, after MAIL
    let rows: &[(&str, [ReplyId; 3])] = &[
        ("EHLO mail.example", [Ehlo; 3]),
        ("ehlo [IPv6:2001:db8::1]", [Ehlo; 3]),
        ("EHLO", [NoName; 3]),
        ("EHLO    ", [NoName; 3]),
        ("HELO mail.example", [Helo; 3]),
        ("hElO x", [Helo; 3]),
        ("HELO", [NoName; 3]),
        ("MAIL FROM:<a@b.example>", [BadSequence, Mail, BadSequence]),
        ("mail from:<a@b.example> SIZE=1000 BODY=8BITMIME", [BadSequence, Mail, BadSequence]),
        ("MAIL FROM:nonsense", [BadSequence, Mail, BadSequence]),
        ("MAIL", [Syntax; 3]),
        ("MAIL FROM", [Syntax; 3]),
        ("MAIL  FROM:<>", [Syntax; 3]),
        ("RCPT TO:<user@contoso.com>", [BadSequence, BadSequence, NotOptedIn]),
        ("RCPT contoso.com", [Syntax; 3]),
        ("DATA", [BadSequence, BadSequence, NoRecipients]),
        ("RSET", [Rset; 3]),
        ("NOOP", [Noop; 3]),
        ("NOOP with words", [Noop; 3]),
        ("noop\twith a tab", [Unknown; 3]),
        ("VRFY user", [Vrfy; 3]),
        ("EXPN list", [Vrfy; 3]),
        ("HELP", [Help; 3]),
        ("HELP MAIL", [Help; 3]),
        ("STARTTLS", [NotOffered; 3]),
        ("starttls now", [NotOffered; 3]),
        ("AUTH PLAIN AHgAeQ==", [NotOffered; 3]),
        ("BDAT 10 LAST", [Unknown; 3]),
        ("XCLIENT ADDR=::1", [Unknown; 3]),
        ("GET / HTTP/1.1", [Unknown; 3]),
        ("", [Unknown; 3]),
        (" ", [Unknown; 3]),
        (" QUIT", [Unknown; 3]),
        ("QUI", [Unknown; 3]),
        ("QUITS", [Unknown; 3]),
        ("DATAX", [Unknown; 3]),
        ("\u{1}\u{7f}", [Unknown; 3]),
    ];
    for (command, wanted) in rows {
        for (phase, wanted) in wanted.iter().enumerate() {
            let mut lockstep = Lockstep::usual(&mut program);
            let before: [(&[u8], ReplyId); 2] = [(EHLO, Ehlo), (MAIL, Mail)];
            for (line, reply) in &before[..phase] {
                lockstep.expect_reply(&mut program, line, &text(*reply));
            }
            let subject = if *wanted == NotOptedIn { "contoso.com" } else { "" };
            let octets = [command.as_bytes(), b"\r\n"].concat();
            lockstep.expect_reply(&mut program, &octets, &about(*wanted, subject));
            lockstep.expect_last_reply(&mut program, b"quit \r\n", &text(ReplyId::Quit));
        }
    }
}

#[test]
fn a_recipients_domain_is_reported_only_if_it_is_one() {
    if !gate::require(NEEDS) {
        return;
    }
    let mut program = load();
    let label = "a".repeat(63);
    let longest = [&label[..], &label, &label, &label[..61]].join(".");
    assert_eq!(longest.len(), 253);
    let too_long = [&label[..], &label, &label, &label[..62]].join(".");
    let address = OURS.to_string();
    let rows: &[(&str, &str)] = &[
        ("<user@contoso.com>", "contoso.com"),
        ("<user@CONTOSO.com> NOTIFY=NEVER", "CONTOSO.com"),
        ("<a@b>", "b"),
        ("<@relay.example,@other.example:user@contoso.com>", "contoso.com"),
        ("<\"a@b>c\"@contoso.com>", "contoso.com"),
        ("<\"\\\"@x\"@contoso.com>", "contoso.com"),
        (&format!("<u@{longest}>"), &longest),
        (&format!("<{}@{longest}>", "u".repeat(64)), &longest),
        (&format!("<u@{too_long}>"), &address),
        (&format!("<u@{label}a.example>"), &address),
        ("<postmaster>", &address),
        ("<>", &address),
        ("", &address),
        ("<user@[IPv6:2001:db8::1]>", &address),
        ("<user@[192.0.2.1]>", &address),
        ("<user@under_score.example>", &address),
        ("<user@.example>", &address),
        ("<user@example.>", &address),
        ("<user@a..example>", &address),
        ("<user@-a.example>", &address),
        ("<user@a-.example>", &address),
        ("<user@>", &address),
        ("<user@contoso.com", &address),
        ("user@contoso.com", &address),
        ("<user@con toso.com>", &address),
        ("<user@r\u{fc}ben.example>", &address),
        ("<user@a\u{1b}[2J.example>", &address),
        ("<user@<b>.example>", &address),
    ];
    for (path, domain) in rows {
        let mut lockstep = Lockstep::usual(&mut program);
        lockstep.expect_reply(&mut program, EHLO, &text(ReplyId::Ehlo));
        lockstep.expect_reply(&mut program, MAIL, &text(ReplyId::Mail));
        let rcpt = format!("RCPT TO:{path}\r\n");
        lockstep.expect_reply(&mut program, rcpt.as_bytes(), &about(ReplyId::NotOptedIn, domain));
    }
    // a recipient at each position of the line that its end can have
    for length in 30..80 {
        let mut lockstep = Lockstep::usual(&mut program);
        lockstep.expect_reply(&mut program, EHLO, &text(ReplyId::Ehlo));
        lockstep.expect_reply(&mut program, MAIL, &text(ReplyId::Mail));
        let rcpt =
            format!("RCPT TO:<{}@{}.example>\r\n", "u".repeat(length / 2), "d".repeat(length - length / 2));
        let domain = format!("{}.example", "d".repeat(length - length / 2));
        lockstep.expect_reply(&mut program, rcpt.as_bytes(), &about(ReplyId::NotOptedIn, &domain));
    }
}

#[test]
fn addresses_are_written_as_rfc_5952_writes_them() {
    if !gate::require(NEEDS) {
        return;
    }
    let mut program = load();
    configure(&mut program, &Settings { refuse_at: REFUSE_AT_GREETING, ..ANSWERING });
    for destination in [
        "2001:db8::",
        "2001:db8::1",
        "2001:db8:0:1:0:1:0:1",
        "2001:db8:1:dead:1:1:1:1",
        "2001:db8:2:3:4:5:6:7",
        "2001:db8:0:0:1::",
        "2001:db8::1:0:0:1",
        "2001:db8:ffff:ffff:ffff:ffff:ffff:ffff",
        "2001:db8:2:a:b:c:d:0",
        "2001:db8:2:10:100:1000:f0:e00",
    ] {
        let destination: Ipv6Addr = destination.parse().unwrap();
        let wanted = about(ReplyId::GreetingRefused, &destination.to_string());
        let lockstep = Lockstep::open(&mut program, CLIENT, destination, &wanted);
        let FlowKey { destination: octets, .. } = *lockstep.sender.key();
        assert_eq!(octets, destination.octets());
    }
}

#[test]
fn a_session_has_sixty_commands() {
    if !gate::require(NEEDS) {
        return;
    }
    let mut program = load();
    for (last, reply) in [
        (&b"NOOP\r\n"[..], ReplyId::TooManyCommands),
        (RCPT, ReplyId::TooManyCommands),
        (&long("", 600), ReplyId::TooManyCommands),
        (QUIT, ReplyId::Quit),
        (b"\n", ReplyId::BareLineEnd),
    ] {
        let before = program.counter(Stat::AlsoTooManyCommands);
        let mut lockstep = Lockstep::usual(&mut program);
        for at in 0..COMMANDS_MAX {
            let (command, reply) = match at % 3 {
                0 => (&b"NOOP\r\n"[..], ReplyId::Noop),
                1 => (&b"FOO\r\n"[..], ReplyId::Unknown),
                _ => (&b"EHLO x\r\n"[..], ReplyId::Ehlo),
            };
            lockstep.expect_reply(&mut program, command, &text(reply));
        }
        lockstep.expect_last_reply(&mut program, last, &text(reply));
        let raised = program.counter(Stat::AlsoTooManyCommands) - before;
        assert_eq!(raised, u64::from(reply == ReplyId::TooManyCommands));
    }
}
