//! The mail servers that the documents put sixgate in front of: Debian's packages at their usual
//! paths, with Debian's configuration.
//!
//! It starts none: its scripts are run by the machine that `host` makes.

use std::path::PathBuf;

use sixgate_tests::{gate::Need, opensmtpd, postfix, unpacked};

/// The mail server that a machine has at first.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Server {
    Postfix,
    /// The same with rspamd as its milter.
    PostfixWithRspamd,
    Exim,
    OpenSmtpd,
}

impl Server {
    /// The needs of its tests.
    pub(crate) const fn needs(self) -> &'static [Need] {
        match self {
            Self::Postfix => &[Need::Postfix],
            Self::PostfixWithRspamd => &[Need::Postfix, Need::Rspamd],
            Self::Exim => &[Need::EximHeavy],
            Self::OpenSmtpd => &[Need::OpenSmtpd],
        }
    }

    /// Where its packages are unpacked.
    pub(crate) fn folders(self) -> Vec<PathBuf> {
        let folders = match self {
            Self::Postfix => vec![postfix::folder()],
            Self::PostfixWithRspamd => vec![postfix::folder(), unpacked::rspamd()],
            Self::Exim => vec![unpacked::exim_heavy()],
            Self::OpenSmtpd => vec![opensmtpd::folder()],
        };
        folders.into_iter().map(|folder| folder.expect("`cargo xtask setup` unpacks it")).collect()
    }

    /// What installs and starts it; `$1` is the first of [`Server::folders`].
    pub(crate) fn script(self) -> String {
        match self {
            Self::Postfix => POSTFIX.to_owned(),
            Self::PostfixWithRspamd => [POSTFIX, RSPAMD].concat(),
            Self::Exim => EXIM.to_owned(),
            Self::OpenSmtpd => OPENSMTPD.to_owned(),
        }
    }

    /// What prints the messages that it took.
    pub(crate) const fn mailbox(self) -> &'static str {
        match self {
            Self::Postfix | Self::PostfixWithRspamd => {
                "cd /var/spool/postfix/hold && for file in *; do [ ! -e \"$file\" ] || postcat -hb \"$file\"; done"
            }
            Self::Exim => "[ ! -e /var/mail/user ] || cat /var/mail/user",
            Self::OpenSmtpd => "find /var/home/user/Maildir/new -type f -exec cat {} + || true",
        }
    }
}

const POSTFIX: &str = include_str!("postfix.sh");
const RSPAMD: &str = include_str!("rspamd.sh");
const EXIM: &str = include_str!("exim.sh");
const OPENSMTPD: &str = include_str!("opensmtpd.sh");
