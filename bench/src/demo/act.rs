//! The five sessions: who sends what to whom, and what was promised for it.
//!
//! It judges by the whole text of one reply; the rest of the dialogue is only shown.

use anyhow::Result;

use super::{
    mail::{self, Key},
    stage::{self, DOMAIN, NOT_OPTED_IN, OPTED_IN, SENDERS},
};
use sixgate_tests::{client::Client, transcript::Transcript};

/// One session of the demo.
pub(super) struct Act {
    pub(super) title: &'static str,
    pub(super) source: &'static str,
    pub(super) destination: &'static str,
    helo: &'static str,
    mail_from: &'static str,
    message: String,
    pub(super) promise: Promise,
}

/// The reply that the sender has to receive.
pub(super) struct Promise {
    pub(super) moment: Moment,
    /// The reply, or its beginning.
    pub(super) reply: String,
}

/// When a reply is given.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Moment {
    Recipient,
    EndOfData,
}

/// How a session went.
pub(super) struct Played {
    pub(super) transcript: Transcript,
    /// The reply at the moment of the promise.
    pub(super) reply: Result<String>,
}

impl Played {
    pub(super) fn is_as_promised(&self, promise: &Promise) -> bool {
        self.reply.as_ref().is_ok_and(|reply| reply.starts_with(&promise.reply))
    }
}

/// Every session, in the order in which they are played.
pub(super) fn all(key: &Key) -> Result<Vec<Act>> {
    Ok(refused().into_iter().chain(accepted(key)?).collect())
}

fn refused() -> [Act; 3] {
    let [first, second, third, ..] = SENDERS;
    [
        Act {
            title: "the destination has not opted in",
            source: first,
            destination: NOT_OPTED_IN,
            helo: "mail.first.example",
            mail_from: "anna@first.example",
            message: mail::message("anna@first.example", "too early"),
            promise: Promise {
                moment: Moment::Recipient,
                reply: format!("550 5.2.1 Service unavailable, [{DOMAIN}] does not accept email over IPv6."),
            },
        },
        Act {
            title: "it has, but the sender has no reverse DNS",
            source: second,
            destination: OPTED_IN,
            helo: "mail.second.example",
            mail_from: "anna@second.example",
            message: mail::message("anna@second.example", "from nowhere"),
            promise: Promise {
                moment: Moment::Recipient,
                reply: format!(
                    "450 4.7.25 Service unavailable, sending IPv6 address [{second}] must have reverse DNS record."
                ),
            },
        },
        Act {
            title: "reverse DNS, but neither SPF nor DKIM",
            source: third,
            destination: OPTED_IN,
            helo: "mail.unproven.example",
            mail_from: "anna@unproven.example",
            message: mail::message("anna@unproven.example", "anybody could say so"),
            promise: Promise {
                moment: Moment::EndOfData,
                reply: format!(
                    "450 4.7.26 Service unavailable, message sent over IPv6 [{third}] must pass either SPF or DKIM validation."
                ),
            },
        },
    ]
}

fn accepted(key: &Key) -> Result<[Act; 2]> {
    let [.., fourth, fifth] = SENDERS;
    let signed = key.sign(&mail::message("anna@signed.example", "signed, and forwarded"))?;
    Ok([
        Act {
            title: "reverse DNS and SPF",
            source: fourth,
            destination: OPTED_IN,
            helo: "mail.spf.example",
            mail_from: "anna@spf.example",
            message: mail::message("anna@spf.example", "my address may send this"),
            promise: Promise { moment: Moment::EndOfData, reply: "250 2.0.0 ".to_owned() },
        },
        Act {
            title: "reverse DNS and DKIM, though SPF says no",
            source: fifth,
            destination: OPTED_IN,
            helo: "mail.forwarder.example",
            mail_from: "anna@signed.example",
            message: signed,
            promise: Promise { moment: Moment::EndOfData, reply: "250 2.0.0 ".to_owned() },
        },
    ])
}

impl Act {
    /// Plays the session from our end of the link.
    pub(super) fn play(&self) -> Played {
        let mut client = match stage::connect(self.source, self.destination) {
            Ok(client) => client,
            Err(error) => return Played { transcript: Transcript::default(), reply: Err(error) },
        };
        let reply = self.converse(&mut client);
        Played { transcript: client.transcript().clone(), reply }
    }

    fn converse(&self, client: &mut Client) -> Result<String> {
        client.reply()?;
        client.say(&format!("EHLO {}", self.helo))?;
        client.say(&format!("MAIL FROM:<{}>", self.mail_from))?;
        let mut reply = client.say(&format!("RCPT TO:<user@{DOMAIN}>"))?;
        if reply.code < 300 && self.promise.moment == Moment::EndOfData {
            reply = client.say("DATA")?;
            if reply.code == 354 {
                reply = client.message(&self.message)?;
            }
        }
        client.say("QUIT")?;
        client.closed()?;
        Ok(reply.last().to_owned())
    }
}
