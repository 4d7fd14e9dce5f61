//! A mail server looked at for an administrator: what it offers to sixgate itself.
//!
//! It starts no transaction, and nothing that sessions know depends on it.

use std::time::Duration;

use tokio::time::Instant;

use super::{opening, settings::SmtpSettings, xclient};
use crate::nexthop::error::NextHopError;

/// The offer of a mail server in its reply to EHLO or LHLO.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ServerOffer {
    /// What matters to senders, as keywords: 8BITMIME, SMTPUTF8, SIZE.
    pub extensions: String,
    /// Whether it takes XCLIENT from this host, with the attributes that are needed.
    pub has_xclient: bool,
    /// Whether it offers STARTTLS, which is not used on the way to it.
    pub has_starttls: bool,
}

/// Connects by `settings`, and asks for the mail server's extensions, within `wait`.
///
/// # Errors
/// [`NextHopError`]: it cannot be reached, or does not take sixgate's EHLO.
pub async fn inspect_server(settings: &SmtpSettings, wait: Duration) -> Result<ServerOffer, NextHopError> {
    let deadline = Instant::now() + wait;
    let connection = opening::greet(settings, deadline).await?;
    let offer = &connection.offer;
    let needed = xclient::required(settings.protocol);
    let has_xclient = offer.xclient.as_deref().is_some_and(|offered| xclient::is_sufficient(offered, needed));
    let found = ServerOffer { extensions: offer.to_string(), has_xclient, has_starttls: offer.starttls };
    connection.quit(deadline).await;
    Ok(found)
}
