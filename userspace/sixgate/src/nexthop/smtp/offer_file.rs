//! The last offer of the mail server behind, in a file: for a start of the daemon while that server
//! is away.
//!
//! It owns the file and its form: it is whole or absent. An offer of another server, or to another
//! set-up, counts as absent.

use std::{
    fs, io,
    io::Write as _,
    path::{Path, PathBuf},
    sync::{Mutex, PoisonError},
};

use serde::{Deserialize, Serialize};
use tempfile::NamedTempFile;
use tracing::warn;

use super::settings::{ClientIdentity, Protocol, SmtpSettings};
use sixgate_base::bounded;

use crate::nexthop::{
    capabilities::Capabilities,
    error::{NextHopError, as_value},
};

/// Longest file, in octets.
const FILE_MAX: u64 = 4096;

/// The file, and what is known to stand in it.
#[derive(Debug)]
pub(super) struct OfferFile {
    path: PathBuf,
    server: OfferOwner,
    written: Mutex<Option<Capabilities>>,
}

/// Whose offer it is, and to whom.
#[derive(Clone, Debug, Deserialize, Eq, PartialEq, Serialize)]
struct OfferOwner {
    next_hop: String,
    protocol: String,
    client: ClientIdentity,
}

#[derive(Deserialize, Serialize)]
struct OfferDocument {
    #[serde(flatten)]
    server: OfferOwner,
    eight_bit_mime: bool,
    smtp_utf8: bool,
    size: Option<u64>,
}

impl OfferFile {
    pub(super) fn new(path: PathBuf, settings: &SmtpSettings) -> Self {
        let protocol = match settings.protocol {
            Protocol::Smtp => "smtp",
            Protocol::Lmtp => "lmtp",
        };
        let server = OfferOwner {
            next_hop: settings.address.to_string(),
            protocol: protocol.to_owned(),
            client: settings.client,
        };
        Self { path, server, written: Mutex::new(None) }
    }

    /// The last offer, if there is one of this server. What cannot be read is logged, and is none.
    pub(super) fn read(&self) -> Option<Capabilities> {
        let document = match self.try_read() {
            Ok(document) => document,
            Err(source) if source.kind() == io::ErrorKind::NotFound => return None,
            Err(source) => {
                let error = self.failed("read", source);
                warn!(error = as_value(&error), "the next hop's last offer is unknown");
                return None;
            }
        };
        let OfferDocument { server, eight_bit_mime, smtp_utf8, size } = document;
        let offer = (server == self.server).then_some(Capabilities { eight_bit_mime, size, smtp_utf8 });
        *self.written.lock().unwrap_or_else(PoisonError::into_inner) = offer;
        offer
    }

    fn try_read(&self) -> io::Result<OfferDocument> {
        let octets = bounded::read_to_end(bounded::open(&self.path)?, FILE_MAX)?;
        serde_json::from_slice(&octets).map_err(io::Error::other)
    }

    /// Writes `offer`, unless it stands there. It waits for the disk.
    ///
    /// # Errors
    /// The file could not be replaced, and is as it was.
    pub(super) fn write(&self, offer: Capabilities) -> Result<(), NextHopError> {
        let mut written = self.written.lock().unwrap_or_else(PoisonError::into_inner);
        if *written == Some(offer) {
            return Ok(());
        }
        self.replace(offer).map_err(|source| self.failed("write", source))?;
        *written = Some(offer);
        Ok(())
    }

    fn replace(&self, offer: Capabilities) -> io::Result<()> {
        let Capabilities { eight_bit_mime, size, smtp_utf8 } = offer;
        let document = OfferDocument { server: self.server.clone(), eight_bit_mime, smtp_utf8, size };
        let mut text = serde_json::to_vec_pretty(&document).map_err(io::Error::other)?;
        text.push(b'\n');
        let directory = self.path.parent().unwrap_or_else(|| Path::new("/"));
        let mut file = NamedTempFile::new_in(directory)?;
        file.write_all(&text)?;
        file.as_file().sync_all()?;
        file.persist(&self.path)?;
        fs::File::open(directory)?.sync_all()
    }

    fn failed(&self, action: &'static str, source: io::Error) -> NextHopError {
        NextHopError::OfferFile { action, path: self.path.clone(), source }
    }
}

#[cfg(test)]
mod tests {
    use std::{num::NonZeroU32, time::Duration};

    use super::*;
    use crate::nexthop::ConnectionBounds;

    const OFFER: Capabilities = Capabilities { eight_bit_mime: true, size: Some(u64::MAX), smtp_utf8: false };

    fn settings(address: &str) -> SmtpSettings {
        SmtpSettings {
            address: address.parse().unwrap(),
            protocol: Protocol::Smtp,
            client: ClientIdentity::Xclient,
            hostname: "gate.example".into(),
            bounds: ConnectionBounds { connections: NonZeroU32::MIN, idle: Duration::MAX },
            listening: Vec::new(),
            offer_file: None,
        }
    }

    #[test]
    fn an_offer_is_read_as_it_was_written_and_by_the_same_set_up_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("offer.json");
        let of = |settings: &SmtpSettings| OfferFile::new(path.clone(), settings);
        let usual = settings("[::1]:25");
        assert_eq!(of(&usual).read(), None, "absent");
        of(&usual).write(OFFER).unwrap();
        assert_eq!(of(&usual).read(), Some(OFFER));
        let changed = Capabilities { size: None, smtp_utf8: true, ..OFFER };
        of(&usual).write(changed).unwrap();
        assert_eq!(of(&usual).read(), Some(changed));
        for other in [
            settings("[::1]:26"),
            SmtpSettings { protocol: Protocol::Lmtp, ..usual.clone() },
            SmtpSettings { client: ClientIdentity::None, ..usual.clone() },
        ] {
            assert_eq!(of(&other).read(), None, "{other:?}");
        }
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1, "nothing is left behind");
    }

    #[test]
    fn what_cannot_be_read_is_no_offer_and_is_replaced() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("offer.json");
        let long = " ".repeat(5000);
        for text in ["", "{", "[]", "{\"next_hop\": \"[::1]:25\"}", &long] {
            fs::write(&path, text).unwrap();
            let file = OfferFile::new(path.clone(), &settings("[::1]:25"));
            assert_eq!(file.read(), None, "{text}");
            file.write(OFFER).unwrap();
            assert_eq!(file.read(), Some(OFFER), "{text}");
        }
    }

    #[test]
    fn a_failure_names_the_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("missing/offer.json");
        let error = OfferFile::new(path.clone(), &settings("[::1]:25")).write(OFFER).unwrap_err();
        assert_eq!(error.to_string(), format!("cannot write {}", path.display()));
    }
}
