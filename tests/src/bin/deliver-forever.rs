//! Delivers numbered messages to a Maildir until it is killed, and prints each answer: the victim
//! of crash tests.
//!
//! It checks nothing.

use std::{env, future::pending, io::Write as _};

use anyhow::{Context as _, Result, bail};
use sixgate::{
    message_store::Outgoing,
    nexthop::{ClientInfo, ClientName, NextHop},
};
use sixgate_smtp::{
    command::{Command, HelloName, MailFrom, RcptTo},
    policy::evidence::Endpoints,
    reply::ReplyTable,
};

/// What each message ends with, so that a truncated one is seen.
const END: &str = "the end\r\n";

#[tokio::main]
async fn main() -> Result<()> {
    let mut arguments = env::args().skip(1);
    let path = arguments.next().context("usage: deliver-forever MAILDIR OCTETS")?;
    let octets: usize = arguments.next().context("no number of octets")?.parse()?;
    let next_hop = NextHop::maildir(path, "gate.example", ReplyTable::new("gate.example", 0));
    next_hop.probe().await?;
    let (client, mail, rcpt) = envelope()?;
    let mut transport = next_hop.transport(None);
    let body = "x".repeat(octets) + "\r\n" + END;
    for number in 0_u64.. {
        transport.recipient(&client, &mail, 0, &rcpt).await;
        let headers = format!("X-Number: {number}\r\n\r\n");
        let message = Outgoing::new(headers, body.clone().into_bytes().into(), &[]);
        let reply = transport.deliver(&message, pending()).await;
        let mut out = std::io::stdout();
        write!(out, "{number} {reply}")?;
        out.flush()?;
    }
    Ok(())
}

fn envelope() -> Result<(ClientInfo, MailFrom, RcptTo)> {
    let mail = match Command::parse(b"MAIL FROM:<a@sender.example>") {
        Ok(Command::Mail(mail)) => mail,
        other => bail!("{other:?}"),
    };
    let rcpt = match Command::parse(b"RCPT TO:<b@d.example>") {
        Ok(Command::Rcpt(rcpt)) => rcpt,
        other => bail!("{other:?}"),
    };
    Ok((client()?, mail, rcpt))
}

fn client() -> Result<ClientInfo> {
    let endpoints = Endpoints {
        source: "2001:db8::1".parse()?,
        source_port: 40000,
        destination: "2001:db8::25".parse()?,
        destination_port: 25,
    };
    Ok(ClientInfo { endpoints, name: ClientName::Absent, helo: helo()?, esmtp: true })
}

fn helo() -> Result<HelloName> {
    match Command::parse(b"EHLO sender.example") {
        Ok(Command::Ehlo(name)) => Ok(name),
        other => bail!("{other:?}"),
    }
}
