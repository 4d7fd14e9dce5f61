//! A pinned link as the kernel shows it: which program it holds, and on which interface.
//!
//! The interface's index is what counts: its name may change, and the link stays where it is.

use std::{fs, io, path::Path};

use aya::programs::links::{FdLink, Link as _, PinnedLink};

use super::error::DataplaneError;

/// The kernel's description of a link.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct LinkState {
    /// The kernel's number for it, as `bpftool link` shows it.
    pub(super) id: u32,
    pub(super) program: u32,
    /// The interface's index; none when that is gone, or when the link was detached.
    pub(super) index: Option<u32>,
}

/// Reads the pin at `file`; nothing if there is none.
///
/// # Errors
///
/// [`DataplaneError::NoRights`], [`DataplaneError::System`].
pub(super) fn read(file: &Path) -> Result<Option<LinkState>, DataplaneError> {
    let failed = |error| DataplaneError::aya(format!("examine the link {}", file.display()), error);
    match PinnedLink::from_pin(file) {
        Ok(link) => state(&FdLink::from(link)).map(Some),
        Err(_) if !file.try_exists().unwrap_or(true) => Ok(None),
        Err(error) => Err(failed(error)),
    }
}

/// Asks the kernel for the state of an open link.
///
/// # Errors
///
/// [`DataplaneError::System`].
pub(super) fn state(link: &FdLink) -> Result<LinkState, DataplaneError> {
    let info = link.info().map_err(|error| DataplaneError::aya("examine a link", error))?;
    let index = index(link, info.id()).map_err(|error| DataplaneError::system("examine a link", error))?;
    Ok(LinkState { id: info.id(), program: info.program_id(), index })
}

/// The index by way of /proc (net/core/dev.c, `bpf_xdp_link_show_fdinfo`): aya does not hand it
/// out. Nor does it hand out the descriptor's number but in the text of its id; the link's own id,
/// which the kernel shows beside, proves it right.
fn index(link: &FdLink, id: u32) -> io::Result<Option<u32>> {
    let shown = format!("{:?}", link.id());
    let number: String = shown.chars().filter(char::is_ascii_digit).collect();
    let text = fs::read_to_string(format!("/proc/self/fdinfo/{number}"))?;
    if field(&text, "link_id") != Some(id) {
        return Err(io::Error::other("/proc/self/fdinfo shows another descriptor"));
    }
    Ok(field(&text, "ifindex").filter(|index| *index != 0))
}

fn field(text: &str, name: &str) -> Option<u32> {
    text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_read_by_their_whole_names() {
        let text = "pos:\t0\nlink_type:\txdp\nlink_id:\t5\nprog_tag:\t00ab\nprog_id:\t12\nifindex:\t1004\n";
        assert_eq!(field(text, "link_id"), Some(5));
        assert_eq!(field(text, "ifindex"), Some(1004));
        assert_eq!(field(text, "prog"), None);
        assert_eq!(field(text, "ino"), None);
    }
}
