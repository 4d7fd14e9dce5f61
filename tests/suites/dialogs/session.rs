//! One refused session as a patient sender goes through it, every octet compared.
//!
//! It is for sessions by the thousand; the scripts tell more.

use std::{
    io::{BufRead as _, BufReader, ErrorKind, Read as _, Write as _},
    net::{Shutdown, TcpStream},
    time::Duration,
};

use anyhow::{Context as _, Result, ensure};

/// The lines to send, and the reply that each must get.
const DIALOGUE: &[(&str, &str)] = &[
    (
        "EHLO mail.sender.example\r\n",
        "250-gate.example\r\n250-SIZE 52428800\r\n250-8BITMIME\r\n250-SMTPUTF8\r\n250 ENHANCEDSTATUSCODES\r\n",
    ),
    ("MAIL FROM:<a@sender.example>\r\n", "250 2.1.0 Sender ok\r\n"),
    (
        "RCPT TO:<user@contoso.com>\r\n",
        "550 5.2.1 Service unavailable, [contoso.com] does not accept email over IPv6.\r\n",
    ),
    (
        "RCPT TO:<user@Fabrikam.example>\r\n",
        "550 5.2.1 Service unavailable, [Fabrikam.example] does not accept email over IPv6.\r\n",
    ),
    ("DATA\r\n", "554 5.5.1 No valid recipients\r\n"),
    ("QUIT\r\n", "221 2.0.0 gate.example closing connection\r\n"),
];

/// How a session ended.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum End {
    /// It received every reply.
    Complete,
    /// It was never greeted.
    Silence,
}

/// Goes through a session on a new connection; the greeting may take `greeting_within`, each reply
/// `reply_within`.
pub(crate) fn play(stream: TcpStream, greeting_within: Duration, reply_within: Duration) -> Result<End> {
    stream.set_read_timeout(Some(greeting_within))?;
    stream.set_nodelay(true)?;
    let mut stream = BufReader::new(stream);
    let mut greeting = String::new();
    match stream.read_line(&mut greeting) {
        Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(End::Silence),
        read => ensure!(read? > 0 && greeting == "220 gate.example ESMTP sixgate\r\n", "{greeting:?}"),
    }
    stream.get_ref().set_read_timeout(Some(reply_within))?;
    for (line, wanted) in DIALOGUE {
        stream.get_mut().write_all(line.as_bytes())?;
        let mut heard = vec![0; wanted.len()];
        stream.read_exact(&mut heard).with_context(|| format!("after {line:?}"))?;
        let heard = String::from_utf8_lossy(&heard);
        ensure!(heard == *wanted, "after {line:?}\nheard  {heard:?}\nwanted {wanted:?}");
    }
    stream.get_ref().shutdown(Shutdown::Write)?;
    let mut rest = Vec::new();
    stream.read_to_end(&mut rest).context("after the end")?;
    ensure!(rest.is_empty(), "more came: {:?}", String::from_utf8_lossy(&rest));
    Ok(End::Complete)
}
