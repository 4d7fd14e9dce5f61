//! A refused session, packet by packet, without a network: the client's side of TCP and SMTP over
//! BPF_PROG_TEST_RUN.
//!
//! It is a client that nothing gets lost for; it measures nothing.

use anyhow::{Context as _, Result, ensure};
use sixgate_common::{flow::FlowKey, slot::Slot};
use sixgate_dataplane::flow_key;

use super::{
    rig::{Outcome, Rig, Scene, XDP_TX},
    segment::{Ends, Segment},
};
use sixgate_tests::packet::tcp;

/// A packet of the session, and what there was when it came.
#[derive(Clone, Debug)]
pub(super) struct Scored {
    /// The kind of packet.
    pub(super) name: &'static str,
    pub(super) frame: Vec<u8>,
    pub(super) key: FlowKey,
    pub(super) before: Slot,
    /// What became of it.
    pub(super) outcome: Outcome,
}

impl Scored {
    /// The state to restore, so that the program handles the packet again.
    pub(super) fn scene(&self) -> Scene<'_> {
        Scene { frame: &self.frame, key: self.key, slot: self.before }
    }
}

/// Plays a whole session that is refused at RCPT, as a Linux host and a patient SMTP client would,
/// and returns its packets to the server.
///
/// # Errors
/// If the program does not answer as promised.
pub(super) fn play(rig: &mut Rig, ends: Ends) -> Result<Vec<Scored>> {
    let mut client =
        Client { rig, ends, packets: Vec::new(), sequence: INITIAL_SEQUENCE, acknowledged: 0, over: false };
    let syn_ack = client.say("SYN", tcp::SYN, b"")?.context("the SYN is not answered")?;
    ensure!(syn_ack.flags & (tcp::SYN | tcp::ACK) == tcp::SYN | tcp::ACK, "no SYN-ACK: {syn_ack:?}");
    client.expect("handshake ACK", tcp::ACK, b"", "220 ")?;
    for (name, line, reply) in COMMANDS {
        client.expect(name, tcp::ACK | tcp::PSH, line.as_bytes(), reply)?;
    }
    ensure!(client.over, "the server does not end the connection after QUIT");
    client.say("ACK of the FIN", tcp::ACK, b"")?;
    client.say("FIN", tcp::ACK | tcp::FIN, b"")?;
    Ok(client.packets)
}

struct Client<'a> {
    rig: &'a mut Rig,
    ends: Ends,
    packets: Vec<Scored>,
    sequence: u32,
    acknowledged: u32,
    /// The server's FIN was received.
    over: bool,
}

impl Client<'_> {
    /// Sends a segment and demands a reply that begins with `reply`.
    fn expect(&mut self, name: &'static str, flags: u8, payload: &[u8], reply: &str) -> Result<()> {
        let answer = self.say(name, flags, payload)?.with_context(|| format!("{name} is not answered"))?;
        let text = String::from_utf8_lossy(&answer.payload).into_owned();
        ensure!(text.starts_with(reply) && text.ends_with("\r\n"), "{name} is answered by {text:?}");
        ensure!(answer.acknowledged == self.sequence, "{name} is not acknowledged: {answer:?}");
        Ok(())
    }

    /// Sends a segment; the answer, if there is one.
    fn say(&mut self, name: &'static str, flags: u8, payload: &[u8]) -> Result<Option<Segment>> {
        let segment = Segment {
            sequence: self.sequence,
            acknowledged: self.acknowledged,
            flags,
            payload: payload.to_vec(),
        };
        let frame = segment.frame(self.ends);
        let key = flow_key(&self.ends.source, &self.ends.destination);
        let before = self.rig.slot(&key);
        let outcome = self.rig.once(&frame)?;
        self.sequence = segment.end();
        let answer = (outcome.action == XDP_TX).then(|| Segment::read(&outcome.frame)).flatten();
        if let Some(answer) = &answer {
            self.acknowledged = answer.end();
            self.over |= answer.flags & tcp::FIN != 0;
        }
        self.packets.push(Scored { name, frame, key, before, outcome });
        Ok(answer)
    }
}

const INITIAL_SEQUENCE: u32 = 1_000_000;

/// Name, line, and how the reply begins.
const COMMANDS: [(&str, &str, &str); 4] = [
    ("EHLO", "EHLO mail.sender.example\r\n", "250-"),
    ("MAIL", "MAIL FROM:<a@sender.example>\r\n", "250 "),
    ("RCPT", "RCPT TO:<user@contoso.com>\r\n", "550 5.2.1 "),
    ("QUIT", "QUIT\r\n", "221 "),
];
