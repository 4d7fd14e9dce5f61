//! COOKIES: the key of the cookies in the program's initial sequence numbers. It is read from a
//! file, which several gates can have, or drawn when the maps are made.
//!
//! Cookies are defined in `sixgate_common`.

use std::{
    fs::File,
    io::Read as _,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use sixgate_common::{
    cookie::{CookieKey, KEYS},
    names,
    settings::Settings,
};

use super::{error::DataplaneError, maps::Maps, monotonic_nanoseconds};

/// A key of 16 octets; its `Debug` does not show it.
#[derive(Clone, Eq, PartialEq)]
pub struct CookieSecret([u8; KEY_LENGTH]);

impl std::fmt::Debug for CookieSecret {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("CookieSecret")
    }
}

impl From<[u8; KEY_LENGTH]> for CookieSecret {
    fn from(octets: [u8; KEY_LENGTH]) -> Self {
        Self(octets)
    }
}

impl CookieSecret {
    /// The key in a file: 32 hexadecimal digits, which only the file's owner may read.
    ///
    /// # Errors
    ///
    /// [`DataplaneError::CookieKey`].
    pub fn read(file: &Path) -> Result<Self, DataplaneError> {
        let refused = |reason: String| DataplaneError::CookieKey { path: file.to_owned(), reason };
        let mut opened = File::open(file).map_err(|error| refused(error.to_string()))?;
        let mode = opened.metadata().map_err(|error| refused(error.to_string()))?.permissions().mode();
        if mode & OTHERS != 0 {
            return Err(refused(format!(
                "others than its owner may read it (mode {:04o}): `chmod 600 {}`",
                mode & 0o7777,
                file.display()
            )));
        }
        let mut text = String::new();
        let read = opened.by_ref().take(FILE_MAX).read_to_string(&mut text);
        read.map_err(|error| refused(error.to_string()))?;
        parse(text.trim_ascii()).ok_or_else(|| {
            refused(format!(
                "it is not a key of 32 hexadecimal digits: `(umask 077; openssl rand -hex 16 > {})` makes one",
                file.display()
            ))
        })
    }

    /// A key that the kernel's random number generator gives.
    ///
    /// # Errors
    ///
    /// [`DataplaneError::System`].
    pub fn draw() -> Result<Self, DataplaneError> {
        random().map(Self)
    }
}

/// As many octets from the kernel's random number generator.
pub(super) fn random<const N: usize>() -> Result<[u8; N], DataplaneError> {
    let mut octets = [0; N];
    let read = File::open(RANDOM).and_then(|mut file| file.read_exact(&mut octets));
    read.map_err(|source| DataplaneError::System { operation: format!("read {RANDOM}"), source })?;
    Ok(octets)
}

fn parse(text: &str) -> Option<CookieSecret> {
    let mut octets = [0; KEY_LENGTH];
    if text.len() != 2 * KEY_LENGTH || !text.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return None;
    }
    for (octet, at) in octets.iter_mut().zip((0..).step_by(2)) {
        *octet = u8::from_str_radix(text.get(at..at + 2)?, 16).ok()?;
    }
    Some(CookieSecret(octets))
}

impl Maps {
    /// Makes `secret` the key of cookies from the next SYN on; without one the key stays, or is
    /// drawn if there is none. Cookies of the two keys before it hold as long as they do anyway. A
    /// clock that was put right counts as a change.
    ///
    /// # Errors
    ///
    /// [`DataplaneError::Map`], [`DataplaneError::System`]; the key in force then stays.
    pub fn set_cookie_key(&mut self, secret: Option<&CookieSecret>) -> Result<(), DataplaneError> {
        let settings = self.settings()?;
        match self.stage_cookie_key(secret)? {
            number if number == settings.cookie => Ok(()),
            cookie => self.write_settings(&Settings { cookie, ..settings }),
        }
    }

    /// Writes the key where the program does not look yet; the number that SETTINGS have to name,
    /// which is the one in force if that key is.
    ///
    /// # Errors
    ///
    /// As [`Self::set_cookie_key`].
    pub fn stage_cookie_key(&mut self, secret: Option<&CookieSecret>) -> Result<u32, DataplaneError> {
        let number = self.settings()?.cookie;
        let present = self.cookie_key(number)?;
        let clock = wall_clock();
        let next = match secret {
            Some(secret) => CookieKey::new(secret.0, clock),
            None if present.valid != 0 => CookieKey { clock, ..present },
            None => CookieKey::new(CookieSecret::draw()?.0, clock),
        };
        if present.is_same(&next) && present.clock.abs_diff(clock) < CLOCK_FORGIVEN {
            return Ok(number);
        }
        let number = number.wrapping_add(1);
        self.cookies
            .set(number % KEYS, next, 0)
            .map_err(|error| DataplaneError::map("write", names::COOKIES, error))?;
        Ok(number)
    }

    fn cookie_key(&self, number: u32) -> Result<CookieKey, DataplaneError> {
        let index = number % KEYS;
        self.cookies.get(&index, 0).map_err(|error| DataplaneError::map("read", names::COOKIES, error))
    }
}

/// Nanoseconds to add to CLOCK_MONOTONIC for the time since 1970.
fn wall_clock() -> u64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    let nanoseconds = u64::try_from(now.as_nanos()).unwrap_or(u64::MAX);
    nanoseconds.wrapping_sub(monotonic_nanoseconds())
}

const KEY_LENGTH: usize = 16;
/// Rights of others than the owner.
const OTHERS: u32 = 0o077;
/// More than a key and the blanks around it.
const FILE_MAX: u64 = 128;
const RANDOM: &str = "/dev/urandom";
/// A clock that is so far off, in nanoseconds, changes nothing: cookies of the epoch before and
/// after hold as well.
const CLOCK_FORGIVEN: u64 = 5_000_000_000;

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_key_is_read_from_a_file_of_its_owner_alone() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("cookie.key");
        let write = |text: &str, mode| {
            fs::write(&file, text).unwrap();
            fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
            CookieSecret::read(&file)
        };
        let key = write("000102030405060708090A0b0c0d0e0f\n", 0o600).unwrap();
        assert_eq!(key.0, [0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15]);
        assert!(!format!("{key:?}").contains('0'));
        for (text, mode, wanted) in [
            ("000102030405060708090a0b0c0d0e0f", 0o640, "(mode 0640): `chmod 600 "),
            ("000102030405060708090a0b0c0d0e0", 0o600, "32 hexadecimal digits"),
            ("+00102030405060708090a0b0c0d0e0f", 0o600, "32 hexadecimal digits"),
            ("", 0o600, "openssl rand -hex 16"),
        ] {
            let error = write(text, mode).unwrap_err().to_string();
            assert!(error.contains(wanted), "{error}");
        }
        fs::remove_file(&file).unwrap();
        assert!(CookieSecret::read(&file).unwrap_err().to_string().contains("No such file"));
    }
}
