//! Clients that keep to no rule: none of them may get anything accepted that is not owed, or hurt
//! the others.
//!
//! Their replies do not matter, as long as none is 250 to a message.

use std::time::Duration;

use anyhow::{Result, ensure};

use crate::{
    dice::Dice,
    ledger::Said,
    letter::{DOMAIN, Letter},
    wire::Wire,
    world::World,
};

/// One session of a client that keeps to no rule. That the gate hangs up is not an error here.
pub(crate) fn session(world: &World, dice: &mut Dice) -> Result<()> {
    match dice.below(10) {
        0 => smuggler(world, dice),
        1 => garbage(world, dice),
        2 => cut_off(world, dice),
        3 => half_closed(world, dice),
        4 => gone_before_the_reply(world, dice),
        5 => endless_line(world, dice),
        6 => giant_header(world, dice),
        7 => giant_message(world, dice),
        8 => false_chunks(world, dice),
        _ => chatterer(world, dice),
    }
}

/// A session as slow as it may be, or slower: one octet at a time. Each is a test of patience of
/// its own.
pub(crate) fn slow_session(world: &World, dice: &mut Dice) -> Result<()> {
    let mut wire = in_transaction(world, dice)?;
    let in_data = dice.one_in(2);
    if in_data {
        wire.say("DATA", "354 ")?;
    }
    while !world.is_over() {
        if wire.write(b"x").is_err() || !wire.listen(SLOWNESS)? {
            return Ok(());
        }
    }
    Ok(())
}

fn in_transaction(world: &World, dice: &mut Dice) -> Result<Wire> {
    let mut wire = Wire::open(world.source(dice), world.gate)?;
    wire.say("EHLO mail.soak.example", "250 ")?;
    wire.say(&format!("MAIL FROM:<a@{DOMAIN}>"), "250 2.1.0")?;
    wire.say("RCPT TO:<u@gate.example>", "250 ")?;
    Ok(wire)
}

/// A message with an end that only others take for one, and a second message behind it.
fn smuggler(world: &World, dice: &mut Dice) -> Result<()> {
    let mut wire = in_transaction(world, dice)?;
    wire.say("DATA", "354 ")?;
    let mut octets = refused_letter(world, dice).on_the_wire();
    octets.truncate(octets.len() - b".\r\n".len());
    octets.extend_from_slice(dice.pick(FALSE_ENDS));
    octets.extend_from_slice(
        format!(
            "MAIL FROM:<b@{DOMAIN}>\r\nRCPT TO:<u@gate.example>\r\nDATA\r\nSubject: smuggled\r\n\r\n.\r\n"
        )
        .as_bytes(),
    );
    // the gate may have hung up
    let _ = wire.write(&octets);
    let heard = wire.rest();
    ensure!(!heard.contains("250 "), "a smuggler heard {heard:?}");
    ensure!(heard.is_empty() || heard.starts_with("550 5.6.0"), "a smuggler heard {heard:?}");
    Ok(())
}

/// Chunks with a bare line end in them, chunks that never end, and commands that stand in them.
fn false_chunks(world: &World, dice: &mut Dice) -> Result<()> {
    let mut wire = in_transaction(world, dice)?;
    let mut octets = refused_letter(world, dice).octets;
    octets.extend_from_slice(dice.pick(FALSE_ENDS));
    octets.extend_from_slice(format!("MAIL FROM:<b@{DOMAIN}>\r\n\n").as_bytes());
    let announced = if dice.one_in(2) { octets.len() } else { 2_000_000 };
    let _ = wire.write(format!("BDAT {announced} LAST\r\n").as_bytes());
    let _ = wire.write(&octets);
    let _ = wire.half_close();
    let heard = wire.rest();
    ensure!(!heard.contains("250 "), "false chunks heard {heard:?}");
    Ok(())
}

fn garbage(world: &World, dice: &mut Dice) -> Result<()> {
    let mut wire = Wire::open(world.source(dice), world.gate)?;
    let octets: Vec<u8> = (0..dice.below(3000)).map(|_| dice.below(256) as u8).collect();
    let _ = wire.write(&octets);
    let _ = wire.half_close();
    let heard = wire.rest();
    ensure!(!heard.contains("354 "), "garbage heard {heard:?}");
    Ok(())
}

/// Ends with a reset somewhere within a message.
fn cut_off(world: &World, dice: &mut Dice) -> Result<()> {
    within_a_message(world, dice)?.reset()
}

/// Ends its side within a message, and listens on.
fn half_closed(world: &World, dice: &mut Dice) -> Result<()> {
    let mut wire = within_a_message(world, dice)?;
    wire.half_close()?;
    let heard = wire.rest();
    ensure!(!heard.contains("250 "), "half a message heard {heard:?}");
    Ok(())
}

fn within_a_message(world: &World, dice: &mut Dice) -> Result<Wire> {
    let mut wire = in_transaction(world, dice)?;
    wire.say("DATA", "354 ")?;
    let on_the_wire = refused_letter(world, dice).on_the_wire();
    wire.write(&on_the_wire[..dice.below(on_the_wire.len())])?;
    Ok(wire)
}

/// Sends a whole message, and is gone before the reply: once is possible, twice is not.
fn gone_before_the_reply(world: &World, dice: &mut Dice) -> Result<()> {
    let mut wire = in_transaction(world, dice)?;
    wire.say("DATA", "354 ")?;
    let letter = Letter::new(world.ledger.number(), 400 + dice.below(100_000), dice);
    world.ledger.sent(letter.number, &letter.octets);
    world.ledger.told(letter.number, Said::Nothing);
    let _ = wire.write(&letter.on_the_wire());
    if dice.one_in(2) { wire.reset() } else { Ok(()) }
}

fn endless_line(world: &World, dice: &mut Dice) -> Result<()> {
    let mut wire = Wire::open(world.source(dice), world.gate)?;
    for _ in 0..dice.below(100) {
        if wire.write(&[b'x'; 4096]).is_err() {
            return Ok(());
        }
    }
    Ok(())
}

/// A header without end, in one line or in many.
fn giant_header(world: &World, dice: &mut Dice) -> Result<()> {
    let mut wire = in_transaction(world, dice)?;
    wire.say("DATA", "354 ")?;
    let line: &[u8] =
        if dice.one_in(2) { b"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx" } else { b"X-Field: value\r\n" };
    let block = line.repeat(4096);
    for _ in 0..40 {
        if wire.write(&block).is_err() {
            return Ok(());
        }
    }
    if wire.write(b"\r\n\r\n.\r\n").is_ok() {
        let heard = wire.reply().unwrap_or_default();
        ensure!(!heard.starts_with('2'), "a giant header heard {heard:?}");
    }
    Ok(())
}

/// More than a message may have.
fn giant_message(world: &World, dice: &mut Dice) -> Result<()> {
    let mut wire = in_transaction(world, dice)?;
    wire.say("DATA", "354 ")?;
    wire.write(b"Subject: giant\r\n\r\n")?;
    let block = b"0123456789012345678901234567890123456789012345678901234567890\r\n".repeat(1024);
    for _ in 0..=world.message_size / block.len() {
        wire.write(&block)?;
    }
    wire.say(".", "552 5.3.4")
}

/// Commands without end, and none that carries mail.
fn chatterer(world: &World, dice: &mut Dice) -> Result<()> {
    let mut wire = Wire::open(world.source(dice), world.gate)?;
    let command = dice.pick(&["NOOP", "RSET", "VRFY x", "HELP", "EHLO a", "FOO", "MAIL FROM:<x", "\t"]);
    let _ = wire.write(format!("{command}\r\n").repeat(300).as_bytes());
    let heard = wire.rest();
    ensure!(heard.is_empty() || heard.contains("421 4.7.0"), "a chatterer heard {heard:?}");
    Ok(())
}

/// A message that cannot come to an end.
fn refused_letter(world: &World, dice: &mut Dice) -> Letter {
    let letter = Letter::new(world.ledger.number(), 400 + dice.below(100_000), dice);
    world.ledger.sent(letter.number, &letter.octets);
    world.ledger.told(letter.number, Said::Refused);
    letter
}

/// What one server or another takes for the end of a message.
const FALSE_ENDS: &[&[u8]] = &[
    b"\n.\n",
    b"\n.\r\n",
    b"\r\n.\n",
    b"\r.\r",
    b"\r.\r\n",
    b"\r\n.\r",
    b"\r\n.\r\r\n",
    b"\r\n\0.\r\n",
    b".\r\0\n",
    b"\r\r\n.\r\n",
    b"\n\n.\r\n",
];
const SLOWNESS: Duration = Duration::from_millis(200);
