//! One flow on two CPUs at once: the second CPU does not wait, and no answer is sent twice or
//! wrongly.

use std::{
    sync::{
        Barrier,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
};

use aya::programs::Xdp;
use nix::{
    sched::{CpuSet, sched_getaffinity, sched_setaffinity},
    unistd::Pid,
};
use sixgate_common::{
    refuse::{Reason, ReplyId},
    settings::REFUSE_AT_RCPT,
    stat::Stat,
};
use sixgate_tests::{
    gate,
    packet::{
        Packet,
        answer::Answer,
        tcp::{ACK, FIN, PSH, RST, SYN},
    },
};

use super::{
    model::{Dialogue, Refusal},
    session::{CLIENT, Segment, Sender, bare, greeting, line, load, replied, text},
};
use crate::program::{NEEDS, OURS, Program, XDP_DROP, XDP_PASS, XDP_TX, run_once};

/// What came of one segment.
#[derive(Debug)]
enum Seen {
    Passed,
    Dropped,
    Answered(Answer),
}

/// Sends one list of packets on each CPU, as much at the same time as can be.
fn race(xdp: &Xdp, lists: [Vec<Packet>; 2]) -> Vec<(Packet, Seen)> {
    let (cpus, awake, ready) = (two_cpus(), Barrier::new(2), AtomicUsize::new(0));
    thread::scope(|scope| {
        let (awake, ready) = (&awake, &ready);
        let running = lists.into_iter().zip(cpus).map(|(list, cpu)| {
            scope.spawn(move || {
                sched_setaffinity(Pid::from_raw(0), &cpu).unwrap();
                awake.wait();
                // a thread that a barrier wakes is later than the other by as much as a list takes:
                // only two that run meet
                ready.fetch_add(1, Ordering::SeqCst);
                while ready.load(Ordering::SeqCst) < 2 {
                    std::hint::spin_loop();
                }
                list.into_iter().map(|packet| send(xdp, packet)).collect::<Vec<_>>()
            })
        });
        let running: Vec<_> = running.collect();
        running.into_iter().flat_map(|thread| thread.join().unwrap()).collect()
    })
}

fn send(xdp: &Xdp, packet: Packet) -> (Packet, Seen) {
    let seen = match run_once(xdp, &packet.build()) {
        (XDP_PASS, _) => Seen::Passed,
        (XDP_DROP, _) => Seen::Dropped,
        (XDP_TX, frame) => Seen::Answered(Answer::read(&frame, &packet)),
        (action, _) => panic!("action {action}"),
    };
    (packet, seen)
}

/// The first two CPUs that we may use; one twice where there is only one.
pub(super) fn two_cpus() -> [CpuSet; 2] {
    let allowed = sched_getaffinity(Pid::from_raw(0)).unwrap();
    let mut cpus = (0..CpuSet::count()).filter(|cpu| allowed.is_set(*cpu).unwrap());
    let first = cpus.next().unwrap();
    [first, cpus.next().unwrap_or(first)].map(|cpu| {
        let mut set = CpuSet::new();
        set.set(cpu).unwrap();
        set
    })
}

/// Every answer is the model's, at any point of the stream.
fn judge(sender: &Sender, dialogue: &Dialogue, seen: &[(Packet, Seen)]) {
    for (packet, seen) in seen {
        let answer = match seen {
            Seen::Dropped => continue,
            Seen::Passed => panic!("{packet:?} was passed on"),
            Seen::Answered(answer) => answer,
        };
        assert_eq!(answer.flags & (SYN | RST), 0, "{answer:?}");
        let (at, _) = sender.numbers(answer);
        let at = usize::try_from(at).unwrap();
        // an acknowledgement behind our FIN has no octets
        let sent = dialogue.sent.get(at..at + answer.data.len()).unwrap_or_default();
        assert_eq!(sent, answer.data, "{answer:?} at {at} of {} to {packet:?}", dialogue.sent.len());
        if answer.flags & FIN != 0 {
            assert!(dialogue.ends && at + answer.data.len() == dialogue.sent.len(), "{answer:?}");
        }
    }
}

const INPUT: &[&[u8]] = &[
    b"EHLO mail.example\r\n",
    b"MAIL FROM:<a@b.example>\r\n",
    b"RCPT TO:<user@contoso.com>\r\n",
    b"RCPT TO:<user@a-rather-longer-name.Fabrikam.example>\r\n",
    b"NOOP\r\n",
    b"QUIT\r\n",
];

/// One session, every step of it on both CPUs at once.
fn fight(program: &mut Program) {
    let refusal =
        Refusal { reason: Reason::NotOptedIn, refuse_at: REFUSE_AT_RCPT, source: CLIENT, destination: OURS };
    let dialogue = Dialogue::of(refusal, &INPUT.concat());
    let sender = Sender::half_open(program, CLIENT, OURS);
    let hello = || vec![sender.packet(bare(ACK, 0, 0)); 4];
    let before = program.counter(Stat::AlsoBegunNotOptedIn);
    let seen = race(program.xdp(), [hello(), hello()]);
    judge(&sender, &dialogue, &seen);
    assert_eq!(program.counter(Stat::AlsoBegunNotOptedIn) - before, 1);

    let (mut at, mut ack) = (0, dialogue.greeting());
    for (index, (octets, (end, sent))) in INPUT.iter().zip(&dialogue.exchanges).enumerate() {
        let number = |at: usize| i32::try_from(at).unwrap();
        let packet = |sent: Segment<'_>| sender.packet(sent);
        let now = || packet(line(number(at), number(ack), octets));
        let half = packet(line(number(at), number(ack), &octets[..octets.len() / 2]));
        let with_next = packet(line(number(at), number(ack), &INPUT[index..].concat()));
        let next = packet(line(number(*end), number(ack), b"NOOP\r\n"));
        let idle = packet(bare(ACK, number(at), number(ack)));
        let alive = packet(bare(ACK, number(at) - 1, number(ack)));
        let before = program.counter(Stat::AnswerReply);
        let lists = [
            vec![half.clone(), now(), with_next.clone(), now(), alive.clone(), now()],
            vec![idle, now(), next, now(), half, alive, with_next, now()],
        ];
        let seen = race(program.xdp(), lists);
        judge(&sender, &dialogue, &seen);
        assert_eq!(program.counter(Stat::AnswerReply) - before, 1, "{octets:?}");
        assert_eq!(usize::from(sender.entry(program).unwrap().commands), index + 1);
        (at, ack) = (*end, *sent);
    }
    sender.forget(program);
}

#[test]
fn a_session_on_two_cpus_is_one_session() {
    if !gate::require(NEEDS) {
        return;
    }
    let mut program = load();
    let rounds = if gate::long() { 20_000 } else { 300 };
    for _ in 0..rounds {
        fight(&mut program);
    }
    assert_eq!(program.counter(Stat::AlsoEnded), rounds);
}

#[test]
fn sessions_on_two_cpus_do_not_disturb_each_other() {
    if !gate::require(NEEDS) {
        return;
    }
    let mut program = load();
    for _ in 0..200 {
        let senders = [0, 1].map(|_| Sender::usual(&mut program));
        let g = i32::try_from(greeting().len()).unwrap();
        let lists = senders.clone().map(|sender| vec![sender.packet(line(0, g, b"EHLO x\r\n")); 5]);
        for (packet, seen) in race(program.xdp(), lists) {
            let Seen::Answered(Answer { flags, data, .. }) = seen else {
                panic!("{packet:?}: {seen:?}");
            };
            assert_eq!((flags, data), (PSH | ACK, text(ReplyId::Ehlo).into()));
        }
    }
    assert_eq!(program.counter(Stat::DropBusy), 0);
    assert_eq!(program.counter(Stat::AnswerReply), 400);
}

#[test]
fn a_reset_and_a_command_at_once_leave_a_session_or_none() {
    if !gate::require(NEEDS) {
        return;
    }
    let mut program = load();
    for _ in 0..300 {
        let sender = Sender::usual(&mut program);
        let g = i32::try_from(greeting().len()).unwrap();
        let command = sender.packet(line(0, g, b"NOOP\r\n"));
        let reset = sender.packet(bare(RST, 0, 0));
        let ack = sender.packet(bare(ACK, 0, 0));
        let lists = [vec![command.clone(), command], vec![reset.clone(), ack, reset]];
        race(program.xdp(), lists);
        // a new handshake always works
        if sender.entry(&mut program).is_some() {
            sender.forget(&mut program);
        }
        let observed = sender.send(&mut program, bare(ACK, 0, 0));
        assert_eq!(observed, replied(Stat::AnswerGreeting, 0, 0, &greeting()));
    }
}
