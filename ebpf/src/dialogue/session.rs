//! How a session goes on: one segment moves its state from one reply to the next.
//!
//! It owns the order in which sequence numbers and phases change. `tcp` decides whether a
//! segment is answered, `smtp` with which reply.

use aya_ebpf::programs::XdpContext;
use sixgate_common::{
    domain::Span,
    event::Ending,
    flow::KEPT_MAX,
    line,
    refuse::{Phase, ReplyId},
    settings::Settings,
    slot::{
        ACKNOWLEDGMENT_SHIFT, ACKNOWLEDGMENTS_MAX, FLAG_ACKNOWLEDGED, FLAG_FIN_RECEIVED, FLAG_FIN_SENT,
        FLAG_HELD_BACK, FLAG_KEPT, FLAG_RESUMED, FLAG_SKIPPING, Note, Slot,
    },
    stat::Stat,
};

use super::{
    checksum, event,
    outgoing::{Answer, Outgoing},
    scratch::Scratch,
    smtp::{self, AnsweredCommand, Reading},
    tcp::{self, Found, Kind},
};
use crate::{
    frame::Linear,
    maps::{count, now},
    parse::{Segment, TcpFlags},
};

/// Goes on with a session, whose slot the caller has locked.
///
/// # Errors
///
/// The segment is not the session's, but may complete a handshake; the counter for it if it does
/// not.
#[inline(always)]
pub(super) fn resume(
    context: &XdpContext,
    scratch: Scratch,
    settings: &Settings,
    slot: &mut Slot,
    note: &mut Note,
) -> Result<Answer, Stat> {
    Session { context, segment: scratch.segment(), scratch, settings, slot, note }.converse()
}

/// A session, and the segment at hand.
struct Session<'a> {
    context: &'a XdpContext,
    segment: &'a Segment,
    scratch: Scratch,
    settings: &'a Settings,
    slot: &'a mut Slot,
    note: &'a mut Note,
}

/// The octets that a session reads next.
struct Input {
    /// Where they start in the frame.
    at: usize,
    /// How many there are.
    available: usize,
    /// Whether the sender's FIN follows them.
    ends: bool,
    /// Whether they were answered before.
    again: bool,
}

impl Session<'_> {
    #[inline(always)]
    fn converse(&mut self) -> Result<Answer, Stat> {
        if self.slot.flags & FLAG_RESUMED != 0 {
            self.find_kept();
        }
        let Self { segment, slot, note, .. } = self;
        let Found { kind, number } = tcp::react(slot, segment).forget_ranges(self.scratch.slot());
        match kind {
            Kind::NotOurs => return Err(Stat::PassSegment),
            Kind::Handshake => return Err(Stat::DropSilent),
            _ => {}
        }
        if !checksum::holds(self.context) {
            return Ok(Answer::Pass(Stat::PassChecksum));
        }
        if segment.flags.has(TcpFlags::ACK) && segment.acknowledgment == slot.send_next {
            slot.flags |= FLAG_ACKNOWLEDGED;
        }
        let again = match kind {
            Kind::NotOurs | Kind::Handshake => return Err(Stat::PassSegment),
            Kind::Silent if number == Stat::DropEarly as u32 => return Ok(Answer::Drop(Stat::DropEarly)),
            Kind::Silent => return Ok(Answer::Drop(Stat::DropSilent)),
            Kind::Acknowledge => return Ok(self.acknowledge_again(number)),
            Kind::Forget => {
                if !slot.is_over() {
                    event::ended(&segment.tuple, slot, note, Ending::Reset, now());
                }
                slot.state = 0;
                return Ok(Answer::Drop(Stat::DropReset));
            }
            Kind::Finish => return Ok(self.finish(0)),
            Kind::Drain => {
                let more = number.wrapping_sub(slot.receive_next);
                slot.line = slot.line.checked_add(more as u16).unwrap_or(0);
                slot.receive_next = number;
                if segment.flags.has(TcpFlags::FIN) {
                    slot.flags |= FLAG_FIN_RECEIVED;
                }
                return Ok(self.acknowledge(number));
            }
            Kind::Command => false,
            Kind::Again => true,
        };
        Ok(self.command_line(number as usize, again))
    }

    /// The state that was made anew may be from before an unfinished line was kept and
    /// acknowledged: the client goes on behind it.
    #[inline(always)]
    fn find_kept(&mut self) {
        let Self { context, segment, slot, note, .. } = self;
        let ahead = segment.sequence.wrapping_sub(slot.receive_next);
        if ahead > KEPT_MAX as u32 || segment.acknowledgment != slot.send_next {
            return;
        }
        let (kept, behind) = smtp::kept_before(segment);
        if kept == 0 || ahead + behind == 0 || segment.payload == 0 || !checksum::holds(context) {
            return;
        }
        slot.receive_next = segment.sequence.wrapping_add(behind);
        slot.line = 0;
        slot.reply = 0;
        slot.flags = slot.flags & !FLAG_HELD_BACK | FLAG_KEPT;
        note.kept = kept;
        note.kept_last = 0;
    }

    /// The octets behind the first `skip` ones of the payload.
    #[inline(always)]
    fn input(&self, skip: usize, again: bool) -> Option<Input> {
        let at = self.segment.payload_at + (skip & OFFSET_MASK);
        let end = self.segment.payload_at + self.segment.payload;
        let readable = Linear::of(self.context).readable();
        let available = if end > readable { readable } else { end }.wrapping_sub(at);
        if available > OFFSET_MASK || at > OFFSET_MASK {
            return None;
        }
        let ends = self.segment.flags.has(TcpFlags::FIN) && end <= readable;
        let memory = self.scratch.slot();
        Some(Input {
            at: memory.forget_range(at),
            available: memory.forget_range(available),
            ends: memory.forget_range(ends.into()) != 0,
            again: memory.forget_range(again.into()) != 0,
        })
    }

    /// One command line and its reply.
    #[inline(always)]
    fn command_line(&mut self, skip: usize, again: bool) -> Answer {
        let Some(input) = self.input(skip, again) else {
            return Answer::Drop(Stat::DropIncomplete);
        };
        let Input { at, available, ends, again } = input;
        let kept = match self.slot.flags & FLAG_KEPT {
            0 => 0,
            _ if again => self.note.kept_last,
            _ => self.note.kept,
        };
        let Self { context, scratch, slot, note, .. } = self;
        match smtp::read(context, scratch.slot(), slot, note.skipped, at, available, kept, again) {
            Reading::Command(command) if again => self.repeat(&command),
            Reading::Command(command) => {
                // what was kept is acknowledged already
                let octets = command.octets.wrapping_sub(kept as usize);
                self.reply(&command, octets, ends && octets == available)
            }
            Reading::Damaged => Answer::Drop(Stat::DropOutdated),
            _ if again => Answer::Drop(Stat::DropIncomplete),
            Reading::LineLost => self.lose(),
            Reading::Skipped(octets) => {
                let skipped = if self.slot.flags & FLAG_SKIPPING == 0 { 0 } else { self.note.skipped };
                self.note.skipped = line::skip(skipped, octets).1;
                let octets = octets.wrapping_sub(kept as usize);
                self.slot.flags |= FLAG_SKIPPING;
                self.take(octets);
                if ends && octets == available {
                    self.finish(0)
                } else {
                    self.acknowledge(self.slot.receive_next)
                }
            }
            // the daemon drops an unfinished line at the end of input, too
            Reading::Incomplete if ends => self.finish(available as u32),
            Reading::Incomplete => self.hold(kept as usize + available, available),
        }
    }

    /// An unfinished line. A client that sends the rest at once has it merged when it sends again;
    /// one that waits for the acknowledgement of the first part before it sends the rest (RFC 9293
    /// 3.7.4, Nagle) would wait for ever.
    #[inline(always)]
    fn hold(&mut self, length: usize, available: usize) -> Answer {
        let slot = &mut *self.slot;
        if slot.flags & (FLAG_HELD_BACK | FLAG_KEPT) == 0
            || slot.flags & FLAG_HELD_BACK == 0 && self.note.kept == 0
        {
            slot.flags |= FLAG_HELD_BACK;
            return Answer::Drop(Stat::DropIncomplete);
        }
        let end = slot.receive_next.wrapping_add(available as u32);
        if !smtp::keep_line(self.scratch, &self.segment.tuple, end, length as u32) {
            return Answer::Drop(Stat::DropIncomplete);
        }
        self.take(available);
        self.note.kept = length as u16;
        self.note.kept_last = 0;
        self.slot.flags |= FLAG_KEPT;
        self.acknowledge(self.slot.receive_next)
    }

    /// Takes octets that are acknowledged without a reply.
    #[inline(always)]
    fn take(&mut self, octets: usize) {
        let slot = &mut *self.slot;
        slot.receive_next = slot.receive_next.wrapping_add(octets as u32);
        slot.line = 0;
        slot.reply = 0;
        slot.acknowledgments = 0;
        slot.flags &= !(FLAG_HELD_BACK | FLAG_KEPT);
    }

    /// The part of a line that was acknowledged is no longer there.
    #[inline(always)]
    fn lose(&mut self) -> Answer {
        let Self { segment, scratch, slot, note, .. } = self;
        event::ended(&segment.tuple, slot, note, Ending::Dismissed, now());
        slot.flags |= FLAG_FIN_SENT;
        slot.set_phase(Phase::Closing as u8);
        let outgoing = Outgoing::bare(slot.send_next, slot.receive_next, TcpFlags::RST | TcpFlags::ACK);
        scratch.send(outgoing, Stat::AnswerLineLost)
    }

    /// Answers a command, of which `octets` are new; `finishes`: the sender's FIN follows it.
    #[inline(always)]
    fn reply(&mut self, command: &AnsweredCommand, octets: usize, finishes: bool) -> Answer {
        let AnsweredCommand { number, next, domain, goes_on, skipped, .. } = *command;
        let Self { segment, scratch, settings, slot, note, .. } = self;
        let Some(reply) = smtp::text(slot.generation, settings.generation, number) else {
            return Answer::Drop(Stat::DropOutdated);
        };
        let subject = smtp::subject(*scratch, &segment.tuple, number, domain);
        let length = reply.length as u32 + subject.length as u32;
        let closes = finishes || next == Phase::Closing as u8;
        let (line, said) = (octets as u32 + u32::from(finishes), length + u32::from(closes));
        slot.line = line as u16;
        slot.receive_next = slot.receive_next.wrapping_add(line);
        slot.reply = said as u16;
        slot.send_next = slot.send_next.wrapping_add(said);
        slot.commands = slot.commands.saturating_add(1);
        slot.acknowledgments = 0;
        slot.set_phase(if closes { Phase::Closing as u8 } else { next });
        slot.last_reply = number;
        if slot.flags & FLAG_KEPT != 0 {
            note.kept_last = note.kept;
            note.kept = 0;
            if note.kept_last == 0 {
                slot.flags &= !FLAG_KEPT;
            }
        }
        if goes_on != 0 {
            note.skipped = skipped;
        }
        slot.flags = slot.flags & !(FLAG_SKIPPING | FLAG_HELD_BACK) | goes_on as u8;
        if closes {
            slot.flags |= FLAG_FIN_SENT;
        }
        if finishes {
            slot.flags |= FLAG_FIN_RECEIVED;
        }
        smtp::keep_argument(*scratch, &segment.tuple, slot, note, number, command.octets);
        if number == ReplyId::TooManyCommands as u8 {
            count(Stat::AlsoTooManyCommands);
        }
        if closes {
            let ending = if number == ReplyId::Quit as u8 {
                Ending::Quit
            } else if next == Phase::Closing as u8 {
                Ending::Dismissed
            } else {
                Ending::Closed
            };
            event::ended(&segment.tuple, slot, note, ending, now());
        }
        self.send_reply(subject, Stat::AnswerReply)
    }

    /// Sends the last reply again, with a FIN if the sender's came meanwhile.
    #[inline(always)]
    fn repeat(&mut self, command: &AnsweredCommand) -> Answer {
        let Self { segment, scratch, settings, slot, .. } = self;
        let Some(reply) = smtp::text(slot.generation, settings.generation, command.number) else {
            return Answer::Drop(Stat::DropOutdated);
        };
        let subject = smtp::subject(*scratch, &segment.tuple, command.number, command.domain);
        let length = reply.length as u32 + subject.length as u32;
        let fin = u32::from(slot.flags & FLAG_FIN_SENT != 0);
        if length + fin != u32::from(slot.reply) {
            // these are not the octets that were answered
            return Answer::Drop(Stat::DropSilent);
        }
        let end = segment.sequence.wrapping_add(segment.payload as u32);
        if segment.flags.has(TcpFlags::FIN) && fin == 0 && end == slot.receive_next {
            self.end_both();
        }
        self.send_reply(subject, Stat::AnswerAgain)
    }

    /// Takes the sender's FIN behind `dropped` octets of an unfinished line, and sends ours: with
    /// the greeting, if that may be lost. For a FIN that comes again, so does ours.
    #[inline(always)]
    fn finish(&mut self, dropped: u32) -> Answer {
        if self.slot.flags & FLAG_FIN_RECEIVED == 0 {
            self.slot.receive_next = self.slot.receive_next.wrapping_add(dropped);
            self.end_both();
            self.slot.line = 0;
        }
        let Self { segment, scratch, settings, slot, .. } = self;
        let fin = slot.send_next.wrapping_sub(1);
        if slot.commands == 0
            && slot.flags & FLAG_ACKNOWLEDGED == 0
            && let Some(reply) = smtp::text(slot.generation, settings.generation, slot.last_reply)
        {
            let subject = smtp::subject(*scratch, &segment.tuple, slot.last_reply, Span::EMPTY);
            if reply.length as u32 + subject.length as u32 + 1 == u32::from(slot.reply) {
                return self.send_reply(subject, Stat::AnswerFin);
            }
        }
        let outgoing = Outgoing::bare(fin, slot.receive_next, TcpFlags::ACK | TcpFlags::FIN);
        scratch.send(outgoing, Stat::AnswerFin)
    }

    /// Both sides have sent all that they will.
    #[inline(always)]
    fn end_both(&mut self) {
        let Self { segment, slot, note, .. } = self;
        slot.receive_next = slot.receive_next.wrapping_add(1);
        slot.line = slot.line.wrapping_add(1);
        slot.send_next = slot.send_next.wrapping_add(1);
        slot.reply = slot.reply.wrapping_add(1);
        slot.flags |= FLAG_FIN_RECEIVED | FLAG_FIN_SENT;
        slot.set_phase(Phase::Closing as u8);
        // a session that was over may have lost its state before the client's end came
        if slot.commands > 0 || slot.flags & FLAG_RESUMED == 0 {
            event::ended(&segment.tuple, slot, note, Ending::Closed, now());
        }
    }

    /// Sends the last reply, at its sequence number.
    #[inline(always)]
    fn send_reply(&self, subject: Span, stat: Stat) -> Answer {
        let slot = &*self.slot;
        let fin = if slot.flags & FLAG_FIN_SENT != 0 { TcpFlags::FIN } else { 0 };
        let flags = TcpFlags::ACK | TcpFlags::PSH | fin;
        let outgoing = Outgoing {
            reply: smtp::reply_index(slot.generation, slot.last_reply),
            subject,
            ..Outgoing::bare(slot.send_last(), slot.receive_next, flags)
        };
        self.scratch.send(outgoing, stat)
    }

    /// An acknowledgement for a segment that brings nothing new, unless there were too many: two
    /// sides that correct each other's numbers must not go on for ever, and forged segments cost
    /// one packet each until the limit is reached. What brings the session on, and time, begin the
    /// count anew.
    #[inline(always)]
    fn acknowledge_again(&mut self, number: u32) -> Answer {
        let slot = &mut *self.slot;
        let at = ((now() >> ACKNOWLEDGMENT_SHIFT) as u8) << 4;
        let count = if slot.acknowledgments & 0xf0 == at { slot.acknowledgments & 0xf } else { 0 };
        if count >= ACKNOWLEDGMENTS_MAX {
            return Answer::Drop(Stat::DropAckLimit);
        }
        slot.acknowledgments = at | (count + 1);
        self.acknowledge(number)
    }

    /// An acknowledgement without data.
    #[inline(always)]
    fn acknowledge(&self, number: u32) -> Answer {
        self.scratch.send(Outgoing::bare(self.slot.send_next, number, TcpFlags::ACK), Stat::AnswerAck)
    }
}

/// More than any offset in a frame that is read; a mask that the verifier understands.
const OFFSET_MASK: usize = 0x3fff;
