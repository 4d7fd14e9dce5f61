//! The start of a session with a mail server: PROXY header, greeting, EHLO or LHLO, and XCLIENT.
//!
//! It owns the rule that mail goes out only over a connection that knows the client, where one was
//! asked for. It starts no transaction.

use tokio::time::Instant;

use super::{
    connection::{Connection, DialogueProgress},
    ehlo::Offer,
    proxy,
    reader::ServerReply,
    settings::{ClientIdentity, Protocol, SmtpSettings},
    xclient,
};
use crate::nexthop::{
    address::Address,
    client::ClientInfo,
    error::{NextHopError, Step},
    ourselves,
};

/// Begins a transaction and gives it up, as no next hop refuses it unless it would refuse all of
/// our mail: for want of TLS or authentication, for example. A refusal that is not about us may be
/// about our address, which no mail comes from. Before that, the next hop has to be ready to learn
/// who clients are, where it is to know them.
pub(super) async fn try_mail(
    connection: &mut Connection,
    settings: &SmtpSettings,
    deadline: Instant,
) -> Result<(), NextHopError> {
    if settings.client == ClientIdentity::Xclient {
        xclient_attributes(connection, settings.protocol)?;
    }
    let reply = connection.command(Step::Mail, "MAIL FROM:<>\r\n", deadline).await?;
    if connection.answer(Step::Mail, &reply)?.is_positive() {
        connection.command(Step::Rset, "RSET\r\n", deadline).await?;
    }
    Ok(())
}

/// Connects as ourselves and sends EHLO or LHLO, or HELO where no extension is needed.
pub(super) async fn greet(
    settings: &SmtpSettings,
    deadline: Instant,
) -> Result<Box<Connection>, NextHopError> {
    let mut connection = connect(settings, &proxy::local(), deadline).await?;
    let line = hello(settings.protocol, &settings.hostname);
    let reply = connection.command(Step::Hello, &line, deadline).await?;
    if reply.is_positive() {
        connection.offer = Offer::read(&reply);
        return Ok(connection);
    }
    let plain = settings.protocol == Protocol::Smtp && settings.client == ClientIdentity::None;
    if !reply.is_permanent() || !plain {
        return Err(connection.refused(Step::Hello, &reply));
    }
    let line = format!("HELO {}\r\n", settings.hostname);
    let reply = connection.command(Step::Helo, &line, deadline).await?;
    connection.rejected_ehlo = true;
    if reply.is_positive() { Ok(connection) } else { Err(connection.refused(Step::Helo, &reply)) }
}

/// Connects on the client's behalf, by a PROXY header, and sends EHLO or LHLO with the client's
/// name: the next hop holds that name against the client's address.
pub(super) async fn represent(
    settings: &SmtpSettings,
    client: &ClientInfo,
    deadline: Instant,
) -> Result<DialogueProgress, NextHopError> {
    let mut connection = connect(settings, &proxy::of_client(&client.endpoints), deadline).await?;
    let line = hello(settings.protocol, client.helo.as_str());
    // A next hop that does not expect the header takes it for commands, and this may be the answer
    // to one of them: such an answer is about us.
    let reply = connection.command(Step::ClientHello, &line, deadline).await?;
    met(connection, client, &reply)
}

/// Tells a next hop that greeted us who the client is, by XCLIENT.
pub(super) async fn introduce(
    mut connection: Box<Connection>,
    settings: &SmtpSettings,
    client: &ClientInfo,
    deadline: Instant,
) -> Result<DialogueProgress, NextHopError> {
    for line in xclient::commands(client, xclient_attributes(&connection, settings.protocol)?) {
        let reply = connection.command(Step::Xclient, &line, deadline).await?;
        if reply.code() != 220 {
            return Err(connection.refused(Step::Xclient, &reply));
        }
    }
    // The session starts over, and the name in this EHLO is what the next hop takes for the
    // client's.
    let line = hello(settings.protocol, client.helo.as_str());
    let reply = connection.command(Step::ClientHello, &line, deadline).await?;
    met(connection, client, &reply)
}

/// The next hop's reply to EHLO or LHLO with the client's name. A refusal that is about the client
/// is an answer for it.
fn met(
    mut connection: Box<Connection>,
    client: &ClientInfo,
    reply: &ServerReply,
) -> Result<DialogueProgress, NextHopError> {
    if !reply.is_positive() {
        return connection.answer(Step::ClientHello, reply).map(DialogueProgress::Refused);
    }
    connection.offer = Offer::read(reply);
    connection.client = Some(client.clone());
    Ok(DialogueProgress::Ready(connection))
}

/// Connects, sends `proxy_header` if there is one, and waits for the greeting. A
/// refusing greeting is never the client's fault: that is how mail servers answer a PROXY header
/// that they do not expect.
async fn connect(
    settings: &SmtpSettings,
    proxy_header: &[u8],
    deadline: Instant,
) -> Result<Box<Connection>, NextHopError> {
    let mut connection = Connection::connect(&settings.address, deadline).await?;
    // the address may have become this host's since the start
    if let Address::Tcp(server) = &settings.address
        && settings.listening.iter().any(|own| ourselves::takes(own, server))
        && connection.is_to_this_host()
    {
        return Err(NextHopError::Ourselves { address: settings.address.clone() });
    }
    if settings.client == ClientIdentity::Proxy {
        connection.write(Step::Proxy, proxy_header, deadline).await?;
    }
    let greeting = connection.reply(Step::Greeting, deadline).await?;
    if greeting.is_positive() { Ok(connection) } else { Err(connection.refused(Step::Greeting, &greeting)) }
}

/// EHLO or LHLO.
fn hello(protocol: Protocol, name: &str) -> String {
    format!("{} {name}\r\n", protocol.hello())
}

/// The attributes of XCLIENT that the next hop takes.
fn xclient_attributes(connection: &Connection, protocol: Protocol) -> Result<&[String], NextHopError> {
    let extension = xclient::required(protocol);
    let offered = connection.offer.xclient.as_deref();
    offered
        .filter(|offered| xclient::is_sufficient(offered, extension))
        .ok_or_else(|| NextHopError::NotOffered { address: connection.address().clone(), extension })
}
