//! A bad network between an honest sender and the program: segments of any size, in any order,
//! several times or never.
//!
//! Each answer is compared with the model at once; the sender then does what its TCP would do.

use sixgate_common::stat::Stat;
use sixgate_tests::packet::tcp::{ACK, FIN, PSH, RST, SYN};

use super::{
    model::Dialogue,
    session::{Observed, Segment, Sender},
};
use crate::program::Program;

/// When the sender sends its next command.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Manners {
    /// As soon as it can, regardless of the capabilities that were offered.
    Hasty,
    /// After the reply to the one before.
    Patient,
    /// So, and its end after the last reply.
    Conforming,
}

/// A sender's TCP, and what is on its way.
pub(crate) struct Stream<'a> {
    sender: &'a Sender,
    input: &'a [u8],
    dialogue: &'a Dialogue,
    manners: Manners,
    /// All before it was acknowledged (SND.UNA).
    acknowledged: usize,
    /// The offset to send next (SND.NXT); behind the input when the FIN was sent.
    next: usize,
    /// Which octets have come, the program's FIN last.
    ack: Vec<bool>,
    /// Segments on their way to the program.
    going: Vec<Going>,
    /// Answers on their way to the sender.
    coming: Vec<Observed>,
    /// The program has seen nothing behind it.
    delivered: usize,
    /// A segment was taken for the end of the handshake, and was answered with the greeting.
    is_mistaken: bool,
}

/// A segment on its way.
#[derive(Clone, Copy, Debug)]
struct Going {
    flags: u8,
    at: i32,
    ack: usize,
    start: usize,
    end: usize,
}

impl<'a> Stream<'a> {
    /// A session whose greeting has been sent, and lost unless [`Self::hear_greeting`] is called.
    pub(crate) fn new(sender: &'a Sender, input: &'a [u8], dialogue: &'a Dialogue, manners: Manners) -> Self {
        Self {
            sender,
            input,
            dialogue,
            manners,
            acknowledged: 0,
            next: 0,
            ack: vec![false; dialogue.sent.len() + 1],
            going: Vec::new(),
            coming: Vec::new(),
            delivered: 0,
            is_mistaken: false,
        }
    }

    /// Whether a segment of a dialogue without its state was taken for the end of the handshake, as
    /// happens once in 8192 times (docs/limits.md). What follows is not the model's.
    pub(crate) const fn is_mistaken(&self) -> bool {
        self.is_mistaken
    }

    /// The greeting arrives, at first or after it was sent again.
    pub(crate) fn hear_greeting(&mut self) {
        self.ack[..self.dialogue.greeting()].fill(true);
    }

    /// All input of the sender has been sent and answered, with the ends of both directions.
    pub(crate) fn is_complete(&self) -> bool {
        self.acknowledged > self.input.len() && self.heard_to() > self.dialogue.sent.len()
    }

    /// Sends the octets from `back` before the next one on, at most `length` of them; with the FIN
    /// if nothing follows.
    pub(crate) fn send(&mut self, back: usize, length: usize) {
        let start = (self.next - back.min(self.next - self.acknowledged)).min(self.written());
        let end = (start + length).min(self.written()).min(self.acknowledged + WINDOW).max(start);
        let fin = end == self.input.len()
            && (self.manners != Manners::Conforming || self.heard_to() >= self.dialogue.sent.len());
        let flags = ACK | if fin { FIN } else { 0 } | if end > start { PSH } else { 0 };
        self.next = self.next.max(end + usize::from(fin));
        self.put(flags, place(start), start, end);
    }

    /// Sends an acknowledgement, or the keep-alive that looks like one.
    pub(crate) fn acknowledge(&mut self, is_keep_alive: bool) {
        let at = place(self.next) - i32::from(is_keep_alive && self.next == self.acknowledged);
        self.put(ACK, at, 0, 0);
    }

    fn put(&mut self, flags: u8, at: i32, start: usize, end: usize) {
        let ack = self.heard_to();
        self.going.push(Going { flags, at, ack, start, end });
    }

    /// One of the segments on their way arrives, and stays on its way if it comes `again`.
    pub(crate) fn deliver(&mut self, program: &mut Program, which: impl FnOnce(usize) -> usize, again: bool) {
        if self.going.is_empty() {
            return;
        }
        let which = which(self.going.len());
        let going = if again { self.going[which] } else { self.going.swap_remove(which) };
        let Going { flags, at, ack, start, end } = going;
        let sent = Segment { flags, at, ack: place(ack), data: &self.input[start..end] };
        let observed = self.sender.send(program, sent);
        self.delivered = self.delivered.max(end + usize::from(flags & FIN != 0));
        let greets = matches!(observed, Observed::Answered { stat: Stat::AnswerGreeting, at: 1.., .. });
        if greets && self.manners == Manners::Conforming {
            self.is_mistaken = true;
            return;
        }
        self.judge(&sent, &observed);
        if matches!(observed, Observed::Answered { .. }) {
            self.coming.push(observed);
        }
    }

    /// One of the answers on their way arrives, and stays on its way if it comes `again`.
    pub(crate) fn expect_reply(&mut self, which: impl FnOnce(usize) -> usize, again: bool) {
        if self.coming.is_empty() {
            return;
        }
        let which = which(self.coming.len());
        let observed = if again { self.coming[which].clone() } else { self.coming.swap_remove(which) };
        let Observed::Answered { flags, at, ack, data, .. } = observed else {
            return;
        };
        self.acknowledged = self.acknowledged.max(usize::try_from(ack).unwrap());
        let at = usize::try_from(at).unwrap();
        let end = (at + data.len() + usize::from(flags & FIN != 0)).min(self.ack.len());
        self.ack[at.min(end)..end].fill(true);
    }

    /// Everything on its way is lost.
    pub(crate) fn lose_all(&mut self) {
        self.going.clear();
        self.coming.clear();
    }

    /// The sender's timer expires: it sends again from what is not acknowledged on, and everything
    /// arrives.
    pub(crate) fn retransmit(&mut self, program: &mut Program) {
        // timers run for longer than the rate limit counts
        self.sender.let_time_pass(program);
        self.send(usize::MAX, SEGMENT);
        self.deliver(program, |_| 0, false);
        self.expect_reply(|_| 0, false);
    }

    /// No octet is wrong, nothing is acknowledged that was not sent, nothing ends before its end.
    fn judge(&self, sent: &Segment<'_>, observed: &Observed) {
        let Observed::Answered { stat, flags, at, ack, data } = observed else {
            let is_right = matches!(observed, Observed::Dropped(stat) if *stat != Stat::DropReset);
            assert!(is_right, "{sent:?}: {observed:?}");
            return;
        };
        assert_eq!(flags & (RST | SYN), 0, "{sent:?}: {observed:?}");
        let all = &self.dialogue.sent;
        let at = usize::try_from(*at).unwrap();
        let end = at + data.len();
        let wanted = all.get(at..end).unwrap_or_default();
        assert_eq!(data.as_bytes(), wanted, "{sent:?}: {stat:?} at {at}");
        if flags & FIN != 0 {
            let may_end = self.dialogue.ends || self.delivered > self.input.len();
            // without its state the program does not know whether its end was acknowledged
            let again = self.manners == Manners::Conforming && data.is_empty() && end == all.len() + 1;
            assert!(may_end && (end == all.len() || again), "{sent:?}: {observed:?}");
        }
        let beyond = usize::from(self.manners == Manners::Conforming);
        assert!(at <= all.len() + 1 + beyond, "{sent:?}: {observed:?}");
        let ack = usize::try_from(*ack).unwrap();
        assert!(ack <= self.delivered, "{sent:?}: {observed:?}, but only {} was sent", self.delivered);
    }

    /// All before it has come without a gap (RCV.NXT).
    fn heard_to(&self) -> usize {
        self.ack.iter().position(|ack| !ack).unwrap_or(self.ack.len())
    }

    /// How much of its input the sender's application has written.
    fn written(&self) -> usize {
        let ack = self.heard_to();
        if self.manners == Manners::Hasty {
            return self.input.len();
        }
        if ack < self.dialogue.greeting() {
            return 0;
        }
        // the first command whose reply has not come is the last one that is written
        let open = self.dialogue.exchanges.iter().find(|(_, reply)| *reply > ack);
        open.map_or(self.input.len(), |(end, _)| *end)
    }
}

fn place(at: usize) -> i32 {
    i32::try_from(at).unwrap()
}

/// Octets in a segment: what the program offers to take.
const SEGMENT: usize = 1220;
/// Octets that may be on their way.
const WINDOW: usize = 2440;
