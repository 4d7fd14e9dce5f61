//! Clients that keep to the rules: those whose mail is owed acceptance, and those whose mail must
//! be refused, each with the reply that is promised for it.
//!
//! Any other reply than the one that is due is an error.

use std::net::Ipv6Addr;

use anyhow::{Context as _, Result, ensure};

use crate::{
    dice::Dice,
    ledger::Said,
    letter::{DENIED, DOMAIN, Letter, SIGNED},
    wire::Wire,
    world::World,
};

/// One session of a client that keeps to the rules.
pub(crate) fn session(world: &World, dice: &mut Dice) -> Result<()> {
    match dice.below(12) {
        0..=3 => good(world, dice, Way::Spf),
        4 => good(world, dice, Way::Dkim),
        5 => pipelined(world, dice),
        10 => in_chunks(world, dice),
        6 => without_ptr(world),
        7 => to_others(world, dice),
        8 => not_opted_in(world),
        11 => by_certificate(world, dice),
        _ => unauthenticated(world, dice),
    }
}

/// What makes a message acceptable.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Way {
    Dkim,
    Spf,
}

impl Way {
    fn sender(self) -> &'static str {
        match self {
            Self::Dkim => SIGNED,
            Self::Spf => DOMAIN,
        }
    }

    fn letter(self, world: &World, dice: &mut Dice) -> Letter {
        let size = match dice.below(20) {
            0 => BIG + dice.below(BIG),
            1..=3 => 20_000 + dice.below(60_000),
            _ => 400 + dice.below(4000),
        };
        let letter = Letter::new(world.ledger.number(), size, dice);
        let letter = if self == Self::Dkim { letter.signed() } else { letter };
        world.ledger.sent(letter.number, &letter.octets);
        letter
    }
}

/// One to three messages, one command at a time; the connection is left politely or not.
fn good(world: &World, dice: &mut Dice, way: Way) -> Result<()> {
    let mut wire = Wire::open(world.source(dice), world.gate)?;
    wire.say("EHLO mail.soak.example", "250 ")?;
    if dice.one_in(4) {
        wire = wire.encrypt(&world.tls, "gate.example")?;
        wire.say("EHLO mail.soak.example", "250 ")?;
    }
    for _ in 0..=dice.below(3) {
        let size = if dice.one_in(2) { " SIZE=3000000 BODY=8BITMIME" } else { "" };
        wire.say(&format!("MAIL FROM:<a@{}>{size}", way.sender()), "250 2.1.0")?;
        wire.say("RCPT TO:<user@gate.example>", "250 ")?;
        for recipient in 0..dice.below(3) {
            let wanted = world.next_hop.to_further_recipients();
            wire.say(&format!("RCPT TO:<user{recipient}@gate.example>"), wanted)?;
        }
        if dice.one_in(8) {
            wire.say("RSET", "250 2.0.0")?;
            continue;
        }
        wire.say("DATA", "354 ")?;
        let letter = way.letter(world, dice);
        wire.write(&letter.on_the_wire())?;
        settle(world, &letter, &wire.reply().context("after a message")?)?;
    }
    if dice.one_in(2) { wire.say("QUIT", "221 ") } else { Ok(()) }
}

/// Everything that may be sent at once, at once.
fn pipelined(world: &World, dice: &mut Dice) -> Result<()> {
    let mut wire = Wire::open(world.source(dice), world.gate)?;
    wire.say("EHLO mail.soak.example", "250 ")?;
    wire.write(
        format!(
            "MAIL FROM:<a@{DOMAIN}>\r\nRCPT TO:<u@gate.example>\r\nRCPT TO:<u@other.example>\r\nRCPT TO:<v@gate.example>\r\nDATA\r\n"
        )
        .as_bytes(),
    )?;
    for wanted in ["250 2.1.0", "250 ", "550 5.2.1", world.next_hop.to_further_recipients(), "354 "] {
        wire.expect(wanted)?;
    }
    let letter = Way::Spf.letter(world, dice);
    let mut wire_form = letter.on_the_wire();
    wire_form.extend_from_slice(b"NOOP\r\nQUIT\r\n");
    wire.write(&wire_form)?;
    settle(world, &letter, &wire.reply()?)?;
    wire.expect("250 2.0.0")?;
    wire.expect("221 ")
}

/// A message in chunks (RFC 3030) whose borders are anywhere, and commands right behind the last
/// one.
fn in_chunks(world: &World, dice: &mut Dice) -> Result<()> {
    let mut wire = Wire::open(world.source(dice), world.gate)?;
    wire.say("EHLO mail.soak.example", "250 ")?;
    wire.say(&format!("MAIL FROM:<a@{DOMAIN}> BODY=8BITMIME"), "250 2.1.0")?;
    wire.say("RCPT TO:<u@gate.example>", "250 ")?;
    let letter = Way::Spf.letter(world, dice);
    let mut rest = &letter.octets[..];
    while let Some((chunk, behind)) = rest.split_at_checked(1 + dice.below(100_000)) {
        rest = behind;
        wire.write(format!("BDAT {}\r\n", chunk.len()).as_bytes())?;
        wire.write(chunk)?;
        wire.expect("250 2.0.0")?;
    }
    wire.write(format!("BDAT {} LAST\r\n", rest.len()).as_bytes())?;
    wire.write(rest)?;
    wire.write(b"NOOP\r\nQUIT\r\n")?;
    settle(world, &letter, &wire.reply()?)?;
    wire.expect("250 2.0.0")?;
    wire.expect("221 ")
}

fn without_ptr(world: &World) -> Result<()> {
    let mut wire = Wire::open(world.nameless, world.gate)?;
    wire.say("EHLO mail.soak.example", "250 ")?;
    wire.say(&format!("MAIL FROM:<a@{DOMAIN}>"), "250 2.1.0")?;
    wire.say("RCPT TO:<u@gate.example>", &refusal_of(world.nameless))?;
    wire.say("DATA", "554 5.5.1")?;
    wire.say("QUIT", "221 ")
}

/// Neither reverse DNS nor SPF: a certificate whose authority is trusted replaces both, any other
/// one replaces nothing.
fn by_certificate(world: &World, dice: &mut Dice) -> Result<()> {
    let is_trusted = dice.one_in(2);
    let shown = if is_trusted { &world.partner } else { &world.stranger };
    let mut wire = Wire::open(world.nameless, world.gate)?;
    wire.say("EHLO mail.partner.example", "250 ")?;
    let mut wire = wire.encrypt(shown, "gate.example")?;
    if !wire.is_encrypted() {
        return wire.say("QUIT", "221 ");
    }
    wire.say("EHLO mail.partner.example", "250 ")?;
    wire.say(&format!("MAIL FROM:<a@{DENIED}>"), "250 2.1.0")?;
    if !is_trusted {
        wire.say("RCPT TO:<u@gate.example>", &refusal_of(world.nameless))?;
        return wire.say("QUIT", "221 ");
    }
    wire.say("RCPT TO:<u@gate.example>", "250 ")?;
    wire.say("DATA", "354 ")?;
    let letter = Way::Spf.letter(world, dice);
    wire.write(&letter.on_the_wire())?;
    settle(world, &letter, &wire.reply()?)?;
    wire.say("QUIT", "221 ")
}

fn refusal_of(source: Ipv6Addr) -> String {
    format!("450 4.7.25 Service unavailable, sending IPv6 address [{source}] must have reverse DNS record.")
}

fn to_others(world: &World, dice: &mut Dice) -> Result<()> {
    let mut wire = Wire::open(world.source(dice), world.gate)?;
    wire.say("EHLO mail.soak.example", "250 ")?;
    wire.say(&format!("MAIL FROM:<a@{DOMAIN}>"), "250 2.1.0")?;
    for recipient in ["u@other.example", "u@sub.gate.example", "u%other.example@gate.example"] {
        wire.say(&format!("RCPT TO:<{recipient}>"), "550 5.")?;
    }
    wire.say("DATA", "554 5.5.1")?;
    wire.say("QUIT", "221 ")
}

fn not_opted_in(world: &World) -> Result<()> {
    let mut wire = Wire::open(world.sources[0], world.other)?;
    wire.say("EHLO mail.soak.example", "250 ")?;
    wire.say(&format!("MAIL FROM:<a@{DOMAIN}>"), "250 2.1.0")?;
    wire.say(
        "RCPT TO:<u@gate.example>",
        "550 5.2.1 Service unavailable, [gate.example] does not accept email over IPv6.",
    )?;
    wire.say("QUIT", "221 ")
}

/// Neither SPF nor DKIM: no record and no signature, a record that fails, a signature that does not
/// hold.
fn unauthenticated(world: &World, dice: &mut Dice) -> Result<()> {
    let source = world.source(dice);
    let mut wire = Wire::open(source, world.gate)?;
    wire.say("EHLO mail.soak.example", "250 ")?;
    let sender = dice.pick(&[SIGNED, DENIED]);
    wire.say(&format!("MAIL FROM:<a@{sender}>"), "250 2.1.0")?;
    wire.say("RCPT TO:<u@gate.example>", "250 ")?;
    wire.say("DATA", "354 ")?;
    let letter = Letter::new(world.ledger.number(), 1000, dice);
    let letter = if dice.one_in(2) { letter.signed().altered() } else { letter };
    world.ledger.sent(letter.number, &letter.octets);
    wire.write(&letter.on_the_wire())?;
    world.ledger.told(letter.number, Said::Refused);
    wire.expect(&format!(
        "450 4.7.26 Service unavailable, message sent over IPv6 [{source}] must pass either SPF or DKIM validation."
    ))?;
    wire.say("QUIT", "221 ")
}

/// Enters the gate's reply to a message: taken, or the next hop would not have it for now.
fn settle(world: &World, letter: &Letter, reply: &str) -> Result<()> {
    let accepted = reply.starts_with("250 ");
    world.ledger.told(letter.number, if accepted { Said::Accepted } else { Said::Refused });
    ensure!(accepted || world.next_hop.may_refuse(reply), "{reply:?} for message {}", letter.number);
    Ok(())
}

/// More than a message may have in memory, octets.
const BIG: usize = 600_000;
