//! The session's surroundings, as the script has them: parameters, the replies of policy and next
//! hop, and the space for messages.
//!
//! It makes no claim about sessions.

use std::{num::NonZeroU32, sync::Arc, time::Duration};

use sixgate_smtp::{
    policy::{Mode, Refusal, evidence::Endpoints},
    reply::{Reply, ReplyKind, ReplyTable},
    session::{Admission, Offer, SessionLimits, SessionParameters, StoreFailure},
};

pub(crate) fn parameters(admission: Admission) -> SessionParameters {
    SessionParameters {
        id: String::new(),
        table: Arc::new(ReplyTable::new("gate.example", MESSAGE_MAX)),
        endpoints: Endpoints {
            source: SOURCE.into(),
            source_port: 1024,
            destination: DESTINATION.into(),
            destination_port: 25,
        },
        admission,
        mode: Mode::Enforce,
        offer: Offer {
            eight_bit_mime: true,
            size: true,
            smtp_utf8: true,
            start_tls: true,
            message_size: MESSAGE_MAX,
        },
        limits: SessionLimits {
            recipients: RECIPIENTS_MAX,
            messages: 4,
            line_length: LINE_MAX,
            received: HOPS_MAX,
            errors: 6,
            command_timeout: Duration::from_secs(300),
            data_timeout: Duration::from_secs(180),
            data_rate: NonZeroU32::new(100),
            transaction_timeout: Duration::from_secs(1800),
            session_timeout: Duration::from_secs(3600),
        },
        temporary: Arc::default(),
    }
}

/// Whether a message that begins so can be kept. Its octets decide, so that the pieces in which it
/// arrives do not matter.
pub(crate) fn kept(octets: &[u8]) -> Result<(), StoreFailure> {
    let has = |mark: &[u8]| octets.windows(mark.len()).any(|window| window == mark);
    if has(b"!disk") {
        Err(StoreFailure::Disk)
    } else if has(b"!memory") {
        Err(StoreFailure::Memory)
    } else if has(b"!failure") {
        Err(StoreFailure::Failure)
    } else {
        Ok(())
    }
}

pub(crate) fn recipient_reply(choice: u8) -> Reply {
    match choice {
        b'd' => refused(Refusal::DomainNotOptedIn),
        b'f' => refused(Refusal::DnsFailure),
        b'n' => refused(Refusal::NoPtr),
        b'r' => next_hop(550, b"5.1.1 no such user"),
        b't' => next_hop(421, b"\xff\r\n250 ok"),
        _ => next_hop(250, b"2.1.5 ok"),
    }
}

pub(crate) fn message_reply(choice: u8) -> Reply {
    match choice {
        b'f' => refused(Refusal::DnsFailure),
        b'n' | b'd' => refused(Refusal::NotAuthenticated),
        b'r' => next_hop(554, b"no"),
        b't' => ReplyTable::new("gate.example", MESSAGE_MAX).reply(ReplyKind::NextHopLost),
        _ => next_hop(250, b"2.0.0 queued"),
    }
}

fn next_hop(code: u16, text: &[u8]) -> Reply {
    Reply::from_next_hop(code, [text]).expect("a final code")
}

fn refused(refusal: Refusal) -> Reply {
    let SessionParameters { table, endpoints, .. } = parameters(Admission::Serve);
    table.refusal(refusal, false, endpoints, None)
}

const SOURCE: [u16; 8] = [0x2001, 0xdb8, 1, 0, 0, 0, 0, 1];
const DESTINATION: [u16; 8] = [0x2001, 0xdb8, 0, 0, 0, 0, 0, 0x25];
pub(crate) const MESSAGE_MAX: u64 = 300;
pub(crate) const RECIPIENTS_MAX: usize = 3;
pub(crate) const LINE_MAX: u64 = 70;
pub(crate) const HOPS_MAX: u32 = 2;
