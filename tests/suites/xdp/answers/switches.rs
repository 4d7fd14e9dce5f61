//! Switches thrown while a session lives: it goes on as it began, or it is the host's from its next
//! SYN on; it never gets a wrong octet.

use sixgate::control::compile_replies;
use sixgate_common::{
    dest::OptIn,
    flow::Tag,
    refuse::{REASON_NOT_OPTED_IN, ReplyId},
    settings::{ANSWER_DAEMON, MODE_SHADOW, REFUSE_AT_GREETING, REFUSE_AT_RESET, Settings},
    stat::Stat,
};
use sixgate_dataplane::{Maps, PtrOrigin, PtrState};
use sixgate_smtp::reply::ReplyTable;
use sixgate_tests::{
    gate,
    packet::tcp::{ACK, SYN},
};

use super::session::{
    ANSWERING, CLIENT, Observed, Sender, bare, configure, greeting, line, load, replied, text,
};
use crate::program::{Fate, HOUR, NEEDS, NO_PTR, OPTED_IN, OURS, Program, projection};

const EHLO: &[u8] = b"EHLO x\r\n";
const MAIL: &[u8] = b"MAIL FROM:<>\r\n";

/// Something that a command of sixgate does to the maps.
type Switch = fn(&mut Maps);

fn set(maps: &mut Maps, change: impl FnOnce(&mut Settings)) {
    let mut settings = maps.settings().unwrap();
    change(&mut settings);
    maps.write_settings(&settings).unwrap();
}

/// A session between EHLO and MAIL, the reply to EHLO acknowledged by MAIL only.
fn after_ehlo(program: &mut Program) -> (Sender, i32, i32) {
    let sender = Sender::open(program, CLIENT, OURS, &greeting());
    let g = i32::try_from(greeting().len()).unwrap();
    let observed = sender.send(program, line(0, g, EHLO));
    assert_eq!(observed, replied(Stat::AnswerReply, g, 8, &text(ReplyId::Ehlo)));
    (sender, g, g + i32::try_from(text(ReplyId::Ehlo).len()).unwrap())
}

#[test]
fn a_session_goes_on_with_any_switch() {
    if !gate::require(NEEDS) {
        return;
    }
    // what is switched, and what the next SYN of the same connection then comes to
    let rows: &[(&str, Switch, Stat)] = &[
        ("shadow", |maps| set(maps, |settings| settings.mode = MODE_SHADOW), Stat::ShadowNotOptedIn),
        ("not ready", |maps| maps.clear_ready().unwrap(), Stat::PassNotReady),
        ("opted in", |maps| opt_in(maps), Stat::PassOptedIn),
        ("trusted", |maps| trust(maps), Stat::PassTrusted),
        ("not ours", |maps| unguard(maps), Stat::PassNotOurs),
    ];
    let mut program = load();
    for (name, switch, stat) in rows {
        let (sender, g, next) = after_ehlo(&mut program);
        switch(&mut program.maps);
        sender.go_through(
            &mut program,
            name,
            &[
                (line(0, g, EHLO), replied(Stat::AnswerAgain, g, 8, &text(ReplyId::Ehlo))),
                (line(8, next, MAIL), replied(Stat::AnswerReply, next, 22, &text(ReplyId::Mail))),
                (line(8, next, MAIL), replied(Stat::AnswerAgain, next, 22, &text(ReplyId::Mail))),
            ],
        );
        // a SYN that is passed on makes the old entry void, from any sender
        assert_eq!(program.send(&sender.packet(bare(SYN, -1, 0))), Fate::Passed(*stat), "{name}");
        assert_eq!(sender.entry(&mut program), None, "{name}");
        let observed = sender.send(&mut program, line(8, next, MAIL));
        assert_eq!(observed, Observed::Passed(Stat::PassSegment), "{name}");
        program.maps.project(&projection()).unwrap();
        configure(&mut program, &ANSWERING);
    }
}

fn opt_in(maps: &mut Maps) {
    let mut wanted = projection();
    wanted.optin.insert(OURS.into(), OptIn::In);
    maps.project(&wanted).unwrap();
}

fn trust(maps: &mut Maps) {
    let mut wanted = projection();
    wanted.trust.insert(CLIENT.into());
    maps.project(&wanted).unwrap();
}

fn unguard(maps: &mut Maps) {
    let mut wanted = projection();
    wanted.guard.clear();
    maps.project(&wanted).unwrap();
}

#[test]
fn a_session_goes_on_while_the_next_ones_are_refused_otherwise() {
    if !gate::require(NEEDS) {
        return;
    }
    let mut program = load();
    for refuse_at in [REFUSE_AT_GREETING, REFUSE_AT_RESET] {
        configure(&mut program, &ANSWERING);
        let (sender, _, next) = after_ehlo(&mut program);
        configure(&mut program, &Settings { refuse_at, ..ANSWERING });
        let observed = sender.send(&mut program, line(8, next, MAIL));
        assert_eq!(observed, replied(Stat::AnswerReply, next, 22, &text(ReplyId::Mail)));
    }
    configure(&mut program, &ANSWERING);
    let (sender, _, next) = after_ehlo(&mut program);
    configure(&mut program, &Settings { answer: ANSWER_DAEMON, ..ANSWERING });
    let observed = sender.send(&mut program, line(8, next, MAIL));
    assert_eq!(observed, replied(Stat::AnswerReply, next, 22, &text(ReplyId::Mail)));
    // the next SYN leaves a tag, and the connection is the host's
    let fate = program.send(&sender.packet(bare(SYN, -1, 0)));
    assert_eq!(fate, Fate::Passed(Stat::TagNotOptedIn));
    let tag = program.tag(sender.key()).unwrap();
    assert_eq!(tag, Tag::new(REASON_NOT_OPTED_IN, tag.opened));
    for sent in [bare(ACK, 0, 0), line(8, next, MAIL)] {
        assert_eq!(sender.send(&mut program, sent), Observed::Passed(Stat::PassSegment));
    }
    assert_eq!((program.tag(sender.key()), sender.entry(&mut program)), (Some(tag), None));
}

#[test]
fn a_session_without_ptr_goes_on_when_the_record_appears() {
    if !gate::require(NEEDS) {
        return;
    }
    let mut program = load();
    let sender = Sender::open(&mut program, NO_PTR, OPTED_IN, &greeting());
    program.maps.ptr_set(NO_PTR, PtrState::Exists, PtrOrigin::Dns, HOUR).unwrap();
    let g = i32::try_from(greeting().len()).unwrap();
    let observed = sender.send(&mut program, line(0, g, EHLO));
    assert_eq!(observed, replied(Stat::AnswerReply, g, 8, &text(ReplyId::Ehlo)));
    // its next connection is let through
    assert_eq!(program.send(&sender.packet(bare(SYN, -1, 0))), Fate::Passed(Stat::PassOptedIn));
    assert_eq!(sender.entry(&mut program), None);
}

#[test]
fn a_session_gets_the_texts_with_which_it_began() {
    if !gate::require(NEEDS) {
        return;
    }
    let mut program = load();
    let named = |host: &str| ReplyTable::new(host, 1000);
    let rename = |program: &mut Program, host: &str| {
        program.maps.write_replies(&compile_replies(&named(host))).unwrap();
    };
    let (mut sender, g, next) = after_ehlo(&mut program);
    let old = line(0, g, EHLO);
    // with a longer name, and with a shorter one: the numbers would differ, too
    for host in ["a-much-longer-name.gate.example", "g.example"] {
        rename(&mut program, host);
        let observed = sender.send(&mut program, old);
        assert_eq!(observed, replied(Stat::AnswerAgain, g, 8, &text(ReplyId::Ehlo)), "{host}");
        let wanted = named(host).refusing(ReplyId::Greeting, "").to_string();
        Sender::open(&mut program, CLIENT, OURS, &wanted);
    }
    let observed = sender.send(&mut program, line(8, next, b"HELO x\r\n"));
    assert_eq!(observed, replied(Stat::AnswerReply, next, 16, &text(ReplyId::Helo)));
    // the third change replaces its texts
    rename(&mut program, "third.example");
    for sent in [line(8, next, b"HELO x\r\n"), line(16, next + 18, b"NOOP\r\n")] {
        assert_eq!(sender.send(&mut program, sent), Observed::Dropped(Stat::DropOutdated));
    }
    // the same names again do not change anything
    let third = named("third.example").refusing(ReplyId::Greeting, "").to_string();
    sender = Sender::open(&mut program, CLIENT, OURS, &third);
    for _ in 0..5 {
        rename(&mut program, "third.example");
    }
    let observed = sender.send(&mut program, line(0, i32::try_from(third.len()).unwrap(), b"NOOP\r\n"));
    assert!(matches!(observed, Observed::Answered { stat: Stat::AnswerReply, .. }), "{observed:?}");
}
