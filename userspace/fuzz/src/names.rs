//! A DNS server that knows one TXT record: nothing else exists.
//!
//! It reads no more of a question than its name.

use std::{
    io,
    net::{Ipv6Addr, SocketAddr, UdpSocket},
    thread,
};

/// Answers TXT questions for `name` with `text`, on a free port of the loopback address, until the
/// process ends.
///
/// # Errors
/// If there is no port.
pub fn serve(name: &'static str, text: &'static str) -> io::Result<SocketAddr> {
    let socket = UdpSocket::bind((Ipv6Addr::LOCALHOST, 0))?;
    let address = socket.local_addr()?;
    thread::spawn(move || {
        let mut query = [0; 1500];
        while let Ok((length, peer)) = socket.recv_from(&mut query) {
            if let Some(answer) = answer(&query[..length], name, text) {
                // the client may be gone
                let _ = socket.send_to(&answer, peer);
            }
        }
    });
    Ok(address)
}

/// RFC 1035 4.1.
fn answer(query: &[u8], name: &str, text: &str) -> Option<Vec<u8>> {
    let (mut asked, mut at) = (String::new(), HEADER);
    while let length @ 1.. = usize::from(*query.get(at)?) {
        asked += &String::from_utf8_lossy(query.get(at + 1..=at + length)?);
        asked.push('.');
        at += 1 + length;
    }
    let question = query.get(HEADER..at + 5)?;
    let is_known =
        asked.trim_end_matches('.').eq_ignore_ascii_case(name) && question.ends_with(&[0, TXT, 0, 1]);
    let code = if is_known { NO_ERROR } else { NX_DOMAIN };
    let mut answer = query.get(..2)?.to_vec();
    answer.extend([0x81, 0x80 | code, 0, 1, 0, u8::from(is_known), 0, 0, 0, 0]);
    answer.extend(question);
    if is_known {
        answer.extend([0xc0, HEADER as u8, 0, TXT, 0, 1, 0, 1, 0x51, 0x80]);
        answer.extend(u16::try_from(text.len() + 1).ok()?.to_be_bytes());
        answer.push(u8::try_from(text.len()).ok()?);
        answer.extend(text.as_bytes());
    }
    Some(answer)
}

const HEADER: usize = 12;
const TXT: u8 = 16;
const NO_ERROR: u8 = 0;
const NX_DOMAIN: u8 = 3;
