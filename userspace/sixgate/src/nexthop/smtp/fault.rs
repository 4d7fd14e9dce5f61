//! Whose fault a refusal of the mail server behind is: the sender's, who gets it as it is, or our
//! own, of which no sender may learn for good.
//!
//! It owns that decision for all commands, by SMTP and LMTP. It does no IO, and does not decide
//! what follows.

use sixgate_smtp::reply::Reply;

use crate::nexthop::error::Step;

/// Whose fault a refusal is.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Fault {
    /// The sender's, its message's or the recipient's.
    Sender,
    /// Ours: the mail server behind does not take mail from sixgate as it is set up, or does not
    /// understand it. A sender that learned of that would return the message, and the next one,
    /// until an administrator notices.
    Ours,
}

/// The classes of RFC 3463 that a 501 may have in its enhanced code.
const ADDRESS: u16 = 1;
const NOT_SAID: u16 = 0;
/// Subject and detail of a syntax error (RFC 3463 3.6).
const SYNTAX: (u16, u16) = (5, 2);

impl Fault {
    /// Whose fault `reply` is, the refusal that came at `step`.
    ///
    /// A 550 with a policy's code (5.7.1) is the sender's: mail servers give it for senders and
    /// recipients. 555 is ours although it is about parameters of MAIL and RCPT: those that are
    /// sent are the next hop's own offer.
    pub(super) fn of(step: Step, reply: &Reply) -> Self {
        match step {
            // the next hop knows nothing but sixgate so far
            Step::Connect | Step::Proxy | Step::Greeting | Step::Hello | Step::Helo | Step::Xclient => {
                Self::Ours
            }
            _ => Self::by_code(step, reply),
        }
    }

    fn by_code(step: Step, reply: &Reply) -> Self {
        match reply.code() {
            // not a command, not implemented, out of order, unknown parameters (RFC 5321 4.2.2)
            500 | 502 | 503 | 555 => Self::Ours,
            // TLS or authentication is missing (RFC 3207 4, RFC 4954 6, RFC 5248 2.4)
            523..=525 | 530..=539 => Self::Ours,
            // an address, in mail servers without enhanced codes (Exim) as well; or a command that
            // we wrote badly
            501 => match (step, reply.enhanced().map(|enhanced| (enhanced.subject, enhanced.detail))) {
                (_, Some((ADDRESS, _))) => Self::Sender,
                (Step::Mail | Step::Rcpt, None | Some((NOT_SAID, _))) => Self::Sender,
                // the client's name in EHLO, in Postfix, as in its 504; an address, in Sendmail
                (Step::ClientHello | Step::Mail | Step::Rcpt, Some(SYNTAX)) => Self::Sender,
                _ => Self::Ours,
            },
            _ => Self::Sender,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whose_fault_a_refusal_is_depends_on_code_and_step() {
        use Fault::{Ours, Sender};
        let steps = [Step::ClientHello, Step::Mail, Step::Rcpt, Step::Data, Step::Message, Step::FinalDot];
        for code in 400..560 {
            let reply = Reply::from_next_hop(code, [b"no".as_slice()]).expect("a reply");
            for step in steps {
                let is_address = matches!(step, Step::Mail | Step::Rcpt);
                let wanted = match code {
                    500 | 502 | 503 | 523 | 524 | 525 | 530..=539 | 555 => Ours,
                    501 if !is_address => Ours,
                    _ => Sender,
                };
                assert_eq!(Fault::of(step, &reply), wanted, "{code} {step:?}");
            }
            for step in [Step::Greeting, Step::Hello, Step::Helo, Step::Xclient] {
                assert_eq!(Fault::of(step, &reply), Ours, "{code} {step:?}");
            }
        }
    }

    #[test]
    fn a_501_is_the_senders_where_it_is_about_an_address() {
        use Fault::{Ours, Sender};
        let rows = [
            (Step::Mail, "5.1.7 bad sender", Sender),
            (Step::Rcpt, "5.1.3 bad recipient", Sender),
            (Step::Rcpt, "<a@d>: malformed address", Sender),
            (Step::Mail, "5.5.4 Syntax: MAIL FROM:<address>", Ours),
            (Step::Rcpt, "5.5.2 <a_b>: Helo command rejected: Invalid name", Sender),
            (Step::ClientHello, "5.5.2 <a_b>: Helo command rejected: Invalid name", Sender),
            (Step::Mail, "5.5.2 Syntax error in parameters scanning \"FROM\"", Sender),
            (Step::Data, "5.5.2 Syntax error", Ours),
            (Step::Rcpt, "5.5.4 unsupported option", Ours),
            (Step::Data, "5.5.4 Syntax: DATA", Ours),
            (Step::FinalDot, "5.1.8 bad domain of the sender", Sender),
            (Step::ClientHello, "5.5.4 invalid name", Ours),
        ];
        for (step, text, wanted) in rows {
            let reply = Reply::from_next_hop(501, [text.as_bytes()]).expect("a reply");
            assert_eq!(Fault::of(step, &reply), wanted, "{step:?} {text}");
        }
    }
}
