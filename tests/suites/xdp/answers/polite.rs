//! A sender that waits for each reply, and sends everything several times.
//!
//! It knows where it is in both directions; the commands are the tests'.

use std::net::Ipv6Addr;

use sixgate_common::{slot::FLAG_FIN_SENT, stat::Stat};
use sixgate_tests::packet::tcp::{ACK, FIN, PSH};

use super::session::{STRANGER, Sender, Told, bare, greeting, line};
use crate::program::{OURS, Program};

/// A sender that waits for each reply.
pub(super) struct Polite {
    pub(super) sender: Sender,
    pub(super) at: i32,
    pub(super) heard: i32,
}

impl Polite {
    pub(super) fn open(
        program: &mut Program,
        source: Ipv6Addr,
        destination: Ipv6Addr,
        greeting: &str,
    ) -> Self {
        let sender = Sender::open(program, source, destination, greeting);
        Self { sender, at: 0, heard: length(greeting) }
    }

    pub(super) fn usual(program: &mut Program) -> Self {
        Self::open(program, STRANGER, OURS, &greeting())
    }

    /// Sends `octets`, which are one command, and gets the reply `wanted`, twice; the program keeps
    /// the connection open.
    pub(super) fn hear(&mut self, program: &mut Program, octets: &[u8], wanted: &str) {
        self.exchange(program, octets, wanted, 0);
    }

    /// The same, and the program ends the connection.
    pub(super) fn hear_last(&mut self, program: &mut Program, octets: &[u8], wanted: &str) {
        self.exchange(program, octets, wanted, FIN);
        let entry = self.sender.entry(program).unwrap();
        assert_ne!(entry.flags & FLAG_FIN_SENT, 0);
    }

    fn exchange(&mut self, program: &mut Program, octets: &[u8], wanted: &str, fin: u8) {
        let shown = String::from_utf8_lossy(octets).into_owned();
        let said = line(self.at, self.heard, octets);
        let answer = |stat| Told::Answered {
            stat,
            flags: PSH | ACK | fin,
            at: self.heard,
            heard: self.at + length(octets),
            data: wanted.to_owned(),
        };
        for stat in [Stat::AnswerReply, Stat::AnswerAgain, Stat::AnswerAgain] {
            assert_eq!(self.sender.say(program, said), answer(stat), "{shown:?}");
        }
        self.at += length(octets);
        self.heard += length(wanted) + i32::from(fin);
        let told = self.sender.say(program, bare(ACK, self.at, self.heard));
        assert_eq!(told, Told::Dropped(Stat::DropSilent), "{shown:?}");
    }
}

pub(super) fn length(octets: impl AsRef<[u8]>) -> i32 {
    i32::try_from(octets.as_ref().len()).unwrap()
}
