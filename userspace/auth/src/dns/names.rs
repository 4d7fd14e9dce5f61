//! Domain names as text: the form in which DNS is asked, and the form in which records are shown.
//!
//! It asks nothing.

use hickory_proto::rr::{Name, RData};
use mail_auth::common::to_a_label;

/// The longest domain name in text, without the final dot (RFC 1035 2.3.4).
pub const LONGEST_NAME: usize = 253;
const LONGEST_LABEL: usize = 63;

/// `name` in the form that DNS asks for and records show: A-labels (RFC 5890 2.3.2.1), lower case,
/// no final dot. `None` if it is not like a host name: other characters than letters, digits, `-`
/// and `_`, or lengths beyond RFC 1035 2.3.4.
#[must_use]
pub fn ascii_name(name: &str) -> Option<String> {
    // No name of so many octets becomes shorter as A-labels than DNS allows.
    if name.len() > 4 * LONGEST_NAME {
        return None;
    }
    let name = to_a_label(name.strip_suffix('.').unwrap_or(name)).to_ascii_lowercase();
    let label_is_good = |label: &str| {
        (1..=LONGEST_LABEL).contains(&label.len())
            && label.bytes().all(|octet| octet.is_ascii_alphanumeric() || matches!(octet, b'-' | b'_'))
    };
    (name.len() <= LONGEST_NAME && name.split('.').all(label_is_good)).then_some(name)
}

pub(super) fn pointer(data: &RData) -> Option<String> {
    match data {
        RData::PTR(name) => Some(text(name)),
        _ => None,
    }
}

fn text(name: &Name) -> String {
    let mut text = name.to_ascii();
    if text.ends_with('.') {
        text.pop();
    }
    text
}

/// The labels as they are, so that the name can be asked about again. An octet that is not visible
/// ASCII, and a dot inside a label, becomes `\DDD`, which is another name, and none that exists.
pub(crate) fn plain_text(name: &Name) -> String {
    let octet = |octet: &u8| match octet {
        b'.' | ..=b' ' | 0x7f.. => format!("\\{octet:03}"),
        _ => char::from(*octet).to_string(),
    };
    let labels: Vec<String> = name.iter().map(|label| label.iter().map(octet).collect()).collect();
    labels.join(".")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_is_taken_in_one_form_or_not_at_all() {
        let long_label = "a".repeat(64);
        let long_name = ["abcdefg"; 32].join(".");
        let rows = [
            ("Mail.Example.", Some("mail.example")),
            ("bücher.example", Some("xn--bcher-kva.example")),
            ("s1._domainkey.example", Some("s1._domainkey.example")),
            ("", None),
            (".", None),
            ("a..example", None),
            ("a b.example", None),
            ("a\r\nb.example", None),
            ("[IPv6:::1]", None),
            (long_label.as_str(), None),
            (long_name.as_str(), None),
        ];
        for (name, wanted) in rows {
            assert_eq!(ascii_name(name).as_deref(), wanted, "{name:?}");
        }
    }
}
