//! A sender's side of one connection, sent segment by segment.
//!
//! It is not a TCP: it sends what a row tells it to, and claims nothing but that a session begins
//! as all do.

use std::net::Ipv6Addr;

use sixgate::control::compile_replies;
use sixgate_common::{
    flow::FlowKey,
    refuse::ReplyId,
    settings::{ANSWER_KERNEL, Settings},
    slot::Slot,
    stat::Stat,
};
use sixgate_dataplane::flow_key;
use sixgate_smtp::reply::ReplyTable;
use sixgate_tests::packet::{
    Packet,
    answer::Answer,
    tcp::{ACK, PSH, SYN},
};

use crate::program::{ENFORCE, Fate, OURS, Program};

/// The program answers by itself.
pub(crate) const ANSWERING: Settings = Settings { answer: ANSWER_KERNEL, ..ENFORCE };
/// A sender of whom nothing is known.
pub(crate) const CLIENT: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0xf, 0, 0, 0xa, 0, 0x99);

/// The program with filled maps and replies, told to answer by itself.
pub(crate) fn load() -> Program {
    let mut program = Program::load();
    configure(&mut program, &ANSWERING);
    program
}

/// Changes the settings of the program, and writes the usual replies.
pub(crate) fn configure(program: &mut Program, settings: &Settings) {
    let Settings { generation, cookie, .. } = program.maps.settings().unwrap();
    program.maps.write_settings(&Settings { generation, cookie, ..*settings }).unwrap();
    program.maps.write_replies(&compile_replies(&table())).unwrap();
}

/// The reply table of all tests here.
pub(crate) fn table() -> ReplyTable {
    ReplyTable::new("gate.example", 36_700_160)
}

/// A reply that is about nothing.
pub(crate) fn text(id: ReplyId) -> String {
    about(id, "")
}

/// A reply about `subject`.
pub(crate) fn about(id: ReplyId, subject: &str) -> String {
    table().refusing(id, subject).to_string()
}

/// The greeting of a session that is refused later.
pub(crate) fn greeting() -> String {
    text(ReplyId::Greeting)
}

/// A segment of the sender. Numbers count from the first octet behind each side's SYN.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Segment<'a> {
    pub(crate) flags: u8,
    pub(crate) at: i32,
    pub(crate) ack: i32,
    pub(crate) data: &'a [u8],
}

/// What comes of it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) enum Observed {
    Passed(Stat),
    Dropped(Stat),
    /// Numbers as in [`Segment`].
    Answered {
        stat: Stat,
        flags: u8,
        at: i32,
        ack: i32,
        data: String,
    },
}

/// Data, acknowledging `ack`.
pub(crate) const fn line(at: i32, ack: i32, data: &[u8]) -> Segment<'_> {
    Segment { flags: PSH | ACK, at, ack, data }
}

/// A segment without data.
pub(crate) const fn bare(flags: u8, at: i32, ack: i32) -> Segment<'static> {
    Segment { flags, at, ack, data: b"" }
}

/// A reply and its acknowledgement.
pub(crate) fn replied(stat: Stat, at: i32, ack: i32, data: &str) -> Observed {
    Observed::Answered { stat, flags: PSH | ACK, at, ack, data: data.to_owned() }
}

/// An answer without data.
pub(crate) const fn signalled(stat: Stat, flags: u8, at: i32, ack: i32) -> Observed {
    Observed::Answered { stat, flags, at, ack, data: String::new() }
}

/// One connection's sender.
#[derive(Clone, Debug)]
pub(crate) struct Sender {
    packet: Packet,
    key: FlowKey,
    /// The number of the first octet behind our SYN.
    first: u32,
    /// The number of the first octet behind the other side's.
    cookie: u32,
}

impl Sender {
    /// Opens a connection that the program answers: SYN, SYN-ACK, and no more.
    pub(crate) fn half_open(program: &mut Program, source: Ipv6Addr, destination: Ipv6Addr) -> Self {
        let packet = program.next_connection().source(source).destination(destination);
        Self::half_open_with(program, &packet)
    }

    /// The same with a packet of which addresses, link layer and extensions are taken.
    pub(crate) fn half_open_with(program: &mut Program, packet: &Packet) -> Self {
        let fate = program.send(packet);
        let Fate::Answered(Stat::AnswerSyn, Answer { flags, sequence, acknowledgment, data }) = &fate else {
            panic!("{packet:?}: {fate:?}");
        };
        assert_eq!((*flags, &data[..]), (SYN | ACK, &b""[..]));
        assert_eq!(*acknowledgment, packet.sequence_number().wrapping_add(1));
        Self {
            packet: packet.clone().data(b""),
            key: flow_key(&packet.sender(), &packet.receiver()),
            first: *acknowledgment,
            cookie: sequence.wrapping_add(1),
        }
    }

    /// Opens a connection and is greeted with `greeting`, which is not acknowledged.
    pub(crate) fn open(
        program: &mut Program,
        source: Ipv6Addr,
        destination: Ipv6Addr,
        greeting: &str,
    ) -> Self {
        let sender = Self::half_open(program, source, destination);
        let observed = sender.send(program, bare(ACK, 0, 0));
        assert_eq!(observed, replied(Stat::AnswerGreeting, 0, 0, greeting));
        sender
    }

    /// The connection of an unknown sender to a destination that has not opted in, greeted.
    pub(crate) fn usual(program: &mut Program) -> Self {
        Self::open(program, CLIENT, OURS, &greeting())
    }

    /// The packet with these flags, numbers and data.
    pub(crate) fn packet(&self, sent: Segment<'_>) -> Packet {
        let at = self.first.wrapping_add_signed(sent.at);
        let ack = if sent.flags & ACK == 0 { 0 } else { self.cookie.wrapping_add_signed(sent.ack) };
        self.packet.clone().flags(sent.flags).sequence(at).acknowledgment(ack).data(sent.data)
    }

    /// Sends a segment.
    pub(crate) fn send(&self, program: &mut Program, sent: Segment<'_>) -> Observed {
        let fate = program.send(&self.packet(sent));
        self.read(fate)
    }

    /// A fate in this connection's numbers.
    pub(crate) fn read(&self, fate: Fate) -> Observed {
        match fate {
            Fate::Passed(stat) => Observed::Passed(stat),
            Fate::Dropped(stat) => Observed::Dropped(stat),
            Fate::Answered(stat, answer) => {
                let (at, ack) = self.numbers(&answer);
                let data = String::from_utf8(answer.data).unwrap();
                Observed::Answered { stat, flags: answer.flags, at, ack, data }
            }
        }
    }

    /// Sequence and acknowledgement number of an answer, in this connection's numbers.
    pub(crate) const fn numbers(&self, answer: &Answer) -> (i32, i32) {
        let at = answer.sequence.wrapping_sub(self.cookie).cast_signed();
        (at, answer.acknowledgment.wrapping_sub(self.first).cast_signed())
    }

    /// Sends one segment after the other; each has to be answered as in its row.
    pub(crate) fn go_through(&self, program: &mut Program, name: &str, rows: &[(Segment<'_>, Observed)]) {
        for (index, (sent, wanted)) in rows.iter().enumerate() {
            let observed = self.send(program, *sent);
            assert_eq!(observed, *wanted, "{name}, segment {}: {}", index + 1, shown(sent));
        }
    }

    pub(crate) const fn key(&self) -> &FlowKey {
        &self.key
    }

    /// Makes it seem long ago that the program acknowledged what brought nothing new.
    pub(crate) fn let_time_pass(&self, program: &mut Program) {
        if let Some(slot) = self.entry(program) {
            program.write_slot(&self.key, Slot { acknowledgments: 0, ..slot });
        }
    }

    /// The program's state of this connection.
    pub(crate) fn entry(&self, program: &mut Program) -> Option<Slot> {
        program.slot(&self.key)
    }

    /// The state of this connection gives way.
    pub(crate) fn forget(&self, program: &mut Program) {
        assert!(program.take_slot(&self.key), "there is no state");
    }
}

/// A segment for people: not all octets of a long one.
fn shown(sent: &Segment<'_>) -> String {
    let Segment { flags, at, ack, data } = sent;
    let start = String::from_utf8_lossy(&data[..data.len().min(80)]);
    format!("flags {flags:#x}, {at}, {ack}, {} octets {start:?}", data.len())
}
