//! A sender that waits for each reply, and sends everything several times.
//!
//! It knows where it is in both directions; the commands are the tests'.

use std::net::Ipv6Addr;

use sixgate_common::{slot::FLAG_FIN_SENT, stat::Stat};
use sixgate_tests::packet::tcp::{ACK, FIN, PSH};

use super::session::{CLIENT, Observed, Sender, bare, greeting, line};
use crate::program::{OURS, Program};

/// A sender that waits for each reply.
pub(super) struct Lockstep {
    pub(super) sender: Sender,
    pub(super) at: i32,
    pub(super) ack: i32,
}

impl Lockstep {
    pub(super) fn open(
        program: &mut Program,
        source: Ipv6Addr,
        destination: Ipv6Addr,
        greeting: &str,
    ) -> Self {
        let sender = Sender::open(program, source, destination, greeting);
        Self { sender, at: 0, ack: length(greeting) }
    }

    pub(super) fn usual(program: &mut Program) -> Self {
        Self::open(program, CLIENT, OURS, &greeting())
    }

    /// Sends `octets`, which are one command, and gets the reply `wanted`, twice; the program keeps
    /// the connection open.
    pub(super) fn expect_reply(&mut self, program: &mut Program, octets: &[u8], wanted: &str) {
        self.exchange(program, octets, wanted, 0);
    }

    /// The same, and the program ends the connection.
    pub(super) fn expect_last_reply(&mut self, program: &mut Program, octets: &[u8], wanted: &str) {
        self.exchange(program, octets, wanted, FIN);
        let entry = self.sender.entry(program).unwrap();
        assert_ne!(entry.flags & FLAG_FIN_SENT, 0);
    }

    fn exchange(&mut self, program: &mut Program, octets: &[u8], wanted: &str, fin: u8) {
        let shown = String::from_utf8_lossy(octets).into_owned();
        let sent = line(self.at, self.ack, octets);
        let answer = |stat| Observed::Answered {
            stat,
            flags: PSH | ACK | fin,
            at: self.ack,
            ack: self.at + length(octets),
            data: wanted.to_owned(),
        };
        for stat in [Stat::AnswerReply, Stat::AnswerAgain, Stat::AnswerAgain] {
            assert_eq!(self.sender.send(program, sent), answer(stat), "{shown:?}");
        }
        self.at += length(octets);
        self.ack += length(wanted) + i32::from(fin);
        let observed = self.sender.send(program, bare(ACK, self.at, self.ack));
        assert_eq!(observed, Observed::Dropped(Stat::DropSilent), "{shown:?}");
    }
}

pub(super) fn length(octets: impl AsRef<[u8]>) -> i32 {
    i32::try_from(octets.as_ref().len()).unwrap()
}
