//! Which kernel this is, for people.
//!
//! What it can do is found out by trying, never by its version.

use nix::sys::utsname::uname;

/// The kernel as messages name it: `this kernel (Linux 6.1.0-50-amd64)`.
pub(super) fn this_kernel() -> String {
    match release() {
        Some(release) => format!("this kernel (Linux {release})"),
        None => "this kernel".to_owned(),
    }
}

/// What to do where this kernel refused the program: another kernel helps if it is older than those
/// that were tried.
pub(super) fn advice() -> &'static str {
    match release() {
        Some(release) if is_older_than_tried(&release) => "the XDP program needs Linux 6.1 or later",
        _ => "`sixgate attach -vv` prints the end of the verifier's log",
    }
}

/// The release of the kernel that runs, such as `6.1.0-50-amd64`, and whether it is older than the
/// oldest on which the XDP program was run; none where the kernel does not tell.
#[must_use]
pub fn kernel_release() -> Option<(String, bool)> {
    release().map(|release| {
        let is_older = is_older_than_tried(&release);
        (release, is_older)
    })
}

fn release() -> Option<String> {
    uname().ok().map(|names| names.release().to_string_lossy().into_owned())
}

/// Whether a release is older than the oldest series on which the program was run
/// (docs/operating.md).
fn is_older_than_tried(release: &str) -> bool {
    let mut numbers = release.split(|letter: char| !letter.is_ascii_digit()).map(str::parse::<u32>);
    match (numbers.next(), numbers.next()) {
        (Some(Ok(major)), Some(Ok(minor))) => (major, minor) < OLDEST_TRIED,
        _ => false,
    }
}

const OLDEST_TRIED: (u32, u32) = (6, 1);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_releases_before_6_1_are_older_than_those_that_were_tried() {
        for (release, is_older) in [
            ("6.1.0-50-amd64", false),
            ("6.12.117+deb13-amd64", false),
            ("6.10", false),
            ("7.2.12", false),
            ("6.0.19", true),
            ("5.15.0-generic", true),
            ("5.9", true),
            ("unknown", false),
            ("", false),
        ] {
            assert_eq!(is_older_than_tried(release), is_older, "{release}");
        }
    }
}
