//! The start of a session with a mail server: greeting, EHLO, and who the client is.
//!
//! It owns the rule that mail goes out only over a connection that knows the client, where one was asked for. It
//! starts no transaction.

use tokio::time::Instant;

use super::{
    ClientIdentity, SmtpSettings,
    connection::{Connection, Progress},
    ehlo::Offer,
    reader::ServerReply,
    xclient,
};
use crate::nexthop::{ClientInfo, NextHopError, error::Step};

/// Connects and says EHLO, or HELO where no extension is needed.
pub(super) async fn greet(
    settings: &SmtpSettings,
    deadline: Instant,
) -> Result<Box<Connection>, NextHopError> {
    let address = settings.address;
    let refused =
        |step, reply: ServerReply| NextHopError::Refused { address, step, reply: reply.to_string() };
    let mut connection = Connection::connect(address, deadline).await?;
    let greeting = connection.reply(Step::Greeting, deadline).await?;
    if !greeting.is_positive() {
        return Err(refused(Step::Greeting, greeting));
    }
    let reply = ehlo(&mut connection, &settings.hostname, deadline).await?;
    if reply.is_positive() {
        connection.offer = Offer::read(&reply);
        return Ok(connection);
    }
    if !reply.is_permanent() || settings.client != ClientIdentity::None {
        return Err(refused(Step::Ehlo, reply));
    }
    let line = format!("HELO {}\r\n", settings.hostname);
    let reply = connection.command(Step::Helo, &line, deadline).await?;
    if reply.is_positive() { Ok(connection) } else { Err(refused(Step::Helo, reply)) }
}

/// The attributes of XCLIENT that the next hop takes.
pub(super) fn xclient_attributes(connection: &Connection) -> Result<&[String], NextHopError> {
    let missing = NextHopError::NotOffered { address: connection.address(), extension: "XCLIENT NAME ADDR" };
    let offered = connection.offer.xclient.as_deref();
    offered.filter(|offered| xclient::is_sufficient(offered)).ok_or(missing)
}

/// Tells a next hop that greeted us who the client is, if that is configured. A refusal of what it hears is about the
/// client, and so an answer for it.
pub(super) async fn introduce(
    mut connection: Box<Connection>,
    settings: &SmtpSettings,
    client: &ClientInfo,
    deadline: Instant,
) -> Result<Progress, NextHopError> {
    match settings.client {
        ClientIdentity::None => return Ok(Progress::Ready(connection)),
        ClientIdentity::Xclient => {}
    }
    for line in xclient::commands(client, xclient_attributes(&connection)?) {
        let reply = connection.command(Step::Xclient, &line, deadline).await?;
        if reply.code() != 220 {
            return Err(NextHopError::Refused {
                address: connection.address(),
                step: Step::Xclient,
                reply: reply.to_string(),
            });
        }
    }
    // The session starts over, and the name in this EHLO is what the next hop takes for the client's.
    let reply = ehlo(&mut connection, client.helo.as_str(), deadline).await?;
    if !reply.is_positive() {
        return connection.answer(Step::Ehlo, &reply).map(Progress::Refused);
    }
    connection.offer = Offer::read(&reply);
    connection.client = Some(client.clone());
    Ok(Progress::Ready(connection))
}

async fn ehlo(
    connection: &mut Connection,
    name: &str,
    deadline: Instant,
) -> Result<ServerReply, NextHopError> {
    connection.command(Step::Ehlo, &format!("EHLO {name}\r\n"), deadline).await
}
