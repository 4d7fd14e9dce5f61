//! How a session goes on: one segment moves its state from one reply to the next.
//!
//! It owns the order in which sequence numbers and phases change. `tcp` decides whether a
//! segment is answered, `smtp` with which reply.

use aya_ebpf::programs::XdpContext;
use sixgate_common::{
    domain::Span,
    event::Ending,
    flow::{
        ACKNOWLEDGMENT_SHIFT, ACKNOWLEDGMENTS_MAX, FLAG_ACKNOWLEDGED, FLAG_FIN_RECEIVED, FLAG_FIN_SENT,
        FLAG_HELD_BACK, FLAG_SKIPPING, Flow, PHASE_TAG,
    },
    line,
    refuse::{Phase, ReplyId},
    settings::Settings,
    stat::Stat,
};

use super::{
    checksum, event,
    outgoing::{Answer, Outgoing},
    scratch::Scratch,
    smtp::{self, AnsweredCommand, Reading},
    tcp::{self, Found, Kind},
    try_lock::TryLock,
};
use crate::{
    frame::Linear,
    maps::{count, now},
    parse::{Segment, TcpFlags},
};

/// Goes on with a session, one CPU at a time.
///
/// # Errors
///
/// The segment is not the session's, but may complete a handshake; the counter for it if it does
/// not.
#[inline(always)]
pub(super) fn resume(
    context: &XdpContext,
    segment: &Segment,
    scratch: Scratch,
    settings: &Settings,
    flow: *mut Flow,
) -> Result<Answer, Stat> {
    // SAFETY: the entry stays readable while the program runs. If it gives way to another one
    // meanwhile, which the map does with the least recently used only, that one's sender has to
    // send again.
    let (lock, flow) = unsafe { (TryLock::lock(&raw mut (*flow).busy), &mut *flow) };
    let Some(_lock) = lock else {
        return Ok(Answer::Drop(Stat::DropBusy));
    };
    if flow.phase == PHASE_TAG {
        return Err(Stat::PassCookie);
    }
    Session { context, segment, scratch, settings, flow }.converse()
}

/// A session, and the segment at hand.
struct Session<'a> {
    context: &'a XdpContext,
    segment: &'a Segment,
    scratch: Scratch,
    settings: &'a Settings,
    flow: &'a mut Flow,
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
        let Self { segment, flow, .. } = self;
        let Found { kind, number } = tcp::react(flow, segment).forget_ranges(self.scratch.slot());
        match kind {
            Kind::NotOurs => return Err(Stat::PassCookie),
            Kind::Handshake => return Err(Stat::DropSilent),
            _ => {}
        }
        if !checksum::holds(self.context) {
            return Ok(Answer::Pass(Stat::PassChecksum));
        }
        if segment.flags.has(TcpFlags::ACK) && segment.acknowledgment == flow.send_next {
            flow.flags |= FLAG_ACKNOWLEDGED;
        }
        let again = match kind {
            Kind::NotOurs | Kind::Handshake => return Err(Stat::PassCookie),
            Kind::Silent if number == Stat::DropEarly as u32 => return Ok(Answer::Drop(Stat::DropEarly)),
            Kind::Silent => return Ok(Answer::Drop(Stat::DropSilent)),
            Kind::Acknowledge => return Ok(self.acknowledge_again(number)),
            Kind::Forget => {
                if !flow.is_over() {
                    event::ended(&segment.tuple, flow, Ending::Reset, now());
                }
                return Ok(Answer::Forget);
            }
            Kind::Finish => return Ok(self.finish(0)),
            Kind::Drain => {
                flow.receive_next = number;
                if segment.flags.has(TcpFlags::FIN) {
                    flow.flags |= FLAG_FIN_RECEIVED;
                }
                return Ok(self.acknowledge(number));
            }
            Kind::Command => false,
            Kind::Again => true,
        };
        Ok(self.command_line(number as usize, again))
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
        let slot = self.scratch.slot();
        Some(Input {
            at: slot.forget_range(at),
            available: slot.forget_range(available),
            ends: slot.forget_range(ends.into()) != 0,
            again: slot.forget_range(again.into()) != 0,
        })
    }

    /// One command line and its reply.
    #[inline(always)]
    fn command_line(&mut self, skip: usize, again: bool) -> Answer {
        let Some(input) = self.input(skip, again) else {
            return Answer::Drop(Stat::DropIncomplete);
        };
        let Input { at, available, ends, again } = input;
        let kept = if again { self.flow.kept_last } else { self.flow.kept };
        match smtp::read(self.context, self.scratch.slot(), self.flow, at, available, kept, again) {
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
                self.flow.skipped = line::skip(self.flow.skipped, octets).1;
                let octets = octets.wrapping_sub(kept as usize);
                self.flow.flags |= FLAG_SKIPPING;
                self.take(octets);
                if ends && octets == available {
                    self.finish(0)
                } else {
                    self.acknowledge(self.flow.receive_next)
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
        let flow = &mut *self.flow;
        if flow.kept == 0 && flow.flags & FLAG_HELD_BACK == 0 {
            flow.flags |= FLAG_HELD_BACK;
            return Answer::Drop(Stat::DropIncomplete);
        }
        if !smtp::keep_line(self.scratch, &self.segment.tuple) {
            return Answer::Drop(Stat::DropIncomplete);
        }
        self.take(available);
        self.flow.kept = length as u16;
        self.acknowledge(self.flow.receive_next)
    }

    /// Takes octets that are acknowledged without a reply.
    #[inline(always)]
    fn take(&mut self, octets: usize) {
        let flow = &mut *self.flow;
        flow.receive_next = flow.receive_next.wrapping_add(octets as u32);
        flow.receive_last = flow.receive_next;
        flow.send_last = flow.send_next;
        flow.acknowledgments = 0;
        flow.kept = 0;
        flow.kept_last = 0;
        flow.flags &= !FLAG_HELD_BACK;
    }

    /// The part of a line that was acknowledged is no longer there.
    #[inline(always)]
    fn lose(&mut self) -> Answer {
        let Self { segment, scratch, flow, .. } = self;
        event::ended(&segment.tuple, flow, Ending::Dismissed, now());
        flow.flags |= FLAG_FIN_SENT;
        flow.phase = Phase::Closing as u8;
        let outgoing = Outgoing::bare(flow.send_next, flow.receive_next, TcpFlags::RST | TcpFlags::ACK);
        scratch.send(outgoing, Stat::AnswerLineLost)
    }

    /// Answers a command, of which `octets` are new; `finishes`: the sender's FIN follows it.
    #[inline(always)]
    fn reply(&mut self, command: &AnsweredCommand, octets: usize, finishes: bool) -> Answer {
        let AnsweredCommand { number, next, domain, goes_on, skipped, .. } = *command;
        let Self { segment, scratch, settings, flow, .. } = self;
        let Some(reply) = smtp::text(flow.generation, settings.generation, number) else {
            return Answer::Drop(Stat::DropOutdated);
        };
        let subject = smtp::subject(*scratch, &segment.tuple, number, domain);
        let length = reply.length as u32 + subject.length as u32;
        let closes = finishes || next == Phase::Closing as u8;
        flow.receive_last = flow.receive_next;
        flow.receive_next = flow.receive_next.wrapping_add(octets as u32 + u32::from(finishes));
        flow.send_last = flow.send_next;
        flow.send_next = flow.send_next.wrapping_add(length + u32::from(closes));
        flow.commands = flow.commands.saturating_add(1);
        flow.acknowledgments = 0;
        flow.phase = if closes { Phase::Closing as u8 } else { next };
        flow.last_reply = number;
        flow.kept_last = flow.kept;
        flow.kept = 0;
        flow.flags = flow.flags & !(FLAG_SKIPPING | FLAG_HELD_BACK) | goes_on as u8;
        flow.skipped = skipped;
        if closes {
            flow.flags |= FLAG_FIN_SENT;
        }
        if finishes {
            flow.flags |= FLAG_FIN_RECEIVED;
        }
        smtp::keep_argument(*scratch, &segment.tuple, flow, number, command.octets);
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
            event::ended(&segment.tuple, flow, ending, now());
        }
        self.send_reply(subject, Stat::AnswerReply)
    }

    /// Sends the last reply again, with a FIN if the sender's came meanwhile.
    #[inline(always)]
    fn repeat(&mut self, command: &AnsweredCommand) -> Answer {
        let Self { segment, scratch, settings, flow, .. } = self;
        let Some(reply) = smtp::text(flow.generation, settings.generation, command.number) else {
            return Answer::Drop(Stat::DropOutdated);
        };
        let subject = smtp::subject(*scratch, &segment.tuple, command.number, command.domain);
        let length = reply.length as u32 + subject.length as u32;
        let fin = u32::from(flow.flags & FLAG_FIN_SENT != 0);
        if flow.send_last.wrapping_add(length + fin) != flow.send_next {
            // these are not the octets that were answered
            return Answer::Drop(Stat::DropSilent);
        }
        let end = segment.sequence.wrapping_add(segment.payload as u32);
        if segment.flags.has(TcpFlags::FIN) && fin == 0 && end == flow.receive_next {
            self.end_both();
        }
        self.send_reply(subject, Stat::AnswerAgain)
    }

    /// Takes the sender's FIN behind `dropped` octets of an unfinished line, and sends ours: with
    /// the greeting, if that may be lost. For a FIN that comes again, so does ours.
    #[inline(always)]
    fn finish(&mut self, dropped: u32) -> Answer {
        if self.flow.flags & FLAG_FIN_RECEIVED == 0 {
            self.flow.receive_next = self.flow.receive_next.wrapping_add(dropped);
            self.end_both();
            self.flow.receive_last = self.flow.receive_next;
        }
        let Self { segment, scratch, settings, flow, .. } = self;
        let fin = flow.send_next.wrapping_sub(1);
        if flow.commands == 0
            && flow.flags & FLAG_ACKNOWLEDGED == 0
            && let Some(reply) = smtp::text(flow.generation, settings.generation, flow.last_reply)
        {
            let subject = smtp::subject(*scratch, &segment.tuple, flow.last_reply, Span::EMPTY);
            if flow.send_last.wrapping_add(reply.length as u32 + subject.length as u32) == fin {
                return self.send_reply(subject, Stat::AnswerFin);
            }
        }
        let outgoing = Outgoing::bare(fin, flow.receive_next, TcpFlags::ACK | TcpFlags::FIN);
        scratch.send(outgoing, Stat::AnswerFin)
    }

    /// Both sides have sent all that they will.
    #[inline(always)]
    fn end_both(&mut self) {
        let flow = &mut *self.flow;
        flow.receive_next = flow.receive_next.wrapping_add(1);
        flow.send_next = flow.send_next.wrapping_add(1);
        flow.flags |= FLAG_FIN_RECEIVED | FLAG_FIN_SENT;
        flow.phase = Phase::Closing as u8;
        event::ended(&self.segment.tuple, flow, Ending::Closed, now());
    }

    /// Sends the last reply, at its sequence number.
    #[inline(always)]
    fn send_reply(&self, subject: Span, stat: Stat) -> Answer {
        let flow = &*self.flow;
        let fin = if flow.flags & FLAG_FIN_SENT != 0 { TcpFlags::FIN } else { 0 };
        let flags = TcpFlags::ACK | TcpFlags::PSH | fin;
        let outgoing = Outgoing {
            reply: smtp::reply_index(flow.generation, flow.last_reply),
            subject,
            ..Outgoing::bare(flow.send_last, flow.receive_next, flags)
        };
        self.scratch.send(outgoing, stat)
    }

    /// An acknowledgement for a segment that brings nothing new, unless there were too many: two
    /// sides that correct each other's numbers must not go on for ever, and forged segments cost
    /// one packet each until the limit is reached. What brings the session on, and time, begin the
    /// count anew.
    #[inline(always)]
    fn acknowledge_again(&mut self, number: u32) -> Answer {
        let flow = &mut *self.flow;
        let at = (now() >> ACKNOWLEDGMENT_SHIFT) as u32;
        if flow.acknowledged_at != at {
            flow.acknowledged_at = at;
            flow.acknowledgments = 0;
        }
        if flow.acknowledgments >= ACKNOWLEDGMENTS_MAX {
            return Answer::Drop(Stat::DropAckLimit);
        }
        flow.acknowledgments += 1;
        self.acknowledge(number)
    }

    /// An acknowledgement without data.
    #[inline(always)]
    fn acknowledge(&self, number: u32) -> Answer {
        self.scratch.send(Outgoing::bare(self.flow.send_next, number, TcpFlags::ACK), Stat::AnswerAck)
    }
}

/// More than any offset in a frame that is read; a mask that the verifier understands.
const OFFSET_MASK: usize = 0x3fff;
