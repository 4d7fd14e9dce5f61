//! SPF macros: an expansion is the same by a second reading of RFC 7208 7, fits where it goes, and
//! can be shown.
//!
//! An input is four lines: local part, sender's domain, HELO, macro string. The source of validated
//! names is not tried here.

#![no_main]

use std::net::{IpAddr, Ipv6Addr};

use libfuzzer_sys::fuzz_target;
use sixgate_auth::spf::{
    macros::{DomainSpec, LONGEST_EXPLANATION, MacroContext, MacroString, Values},
    name::DomainName,
};

fuzz_target!(|input: &str| {
    let mut lines = input.splitn(4, '\n');
    let mut line = || lines.next().unwrap_or_default();
    let (local_part, sender_domain, helo, text) = (line(), line(), line(), line());
    // what a session lets through
    let shown = |value: &str| value.len() <= 255 && !value.contains(char::is_control);
    let Some(domain) = DomainName::new(sender_domain).filter(|_| shown(local_part) && shown(helo)) else {
        return;
    };
    let values = Values {
        local_part,
        sender_domain,
        domain: &domain,
        client: IpAddr::V6(CLIENT),
        helo,
        validated: "mail.validated.example",
        receiver: "gate.example",
        timestamp: 1_700_000_000,
    };
    explanation(text, &values);
    name(text, &values);
});

fn explanation(text: &str, values: &Values<'_>) {
    let Ok(string) = MacroString::parse(text.as_bytes(), MacroContext::Explanation) else {
        assert_eq!(plainly_expanded(text, values), None, "{text:?}");
        return;
    };
    assert_eq!(
        MacroString::parse(string.to_string().as_bytes(), MacroContext::Explanation).as_ref(),
        Ok(&string)
    );
    let expanded = string.expand(values);
    assert!(expanded.len() <= LONGEST_EXPLANATION && !expanded.contains(char::is_control));
    let wanted = plainly_expanded(text, values).expect("both read it");
    assert_eq!(expanded, wanted[..wanted.floor_char_boundary(LONGEST_EXPLANATION)]);
}

fn name(text: &str, values: &Values<'_>) {
    let Ok(spec) = DomainSpec::parse(text.as_bytes()) else {
        return;
    };
    assert!(MacroString::parse(text.as_bytes(), MacroContext::Record).is_ok() && !text.contains(' '));
    assert_eq!(DomainSpec::parse(spec.to_string().as_bytes()).as_ref(), Ok(&spec));
    let whole = plainly_expanded(text, values).expect("both read it");
    let mut wanted = whole.strip_suffix('.').unwrap_or(&whole);
    while wanted.len() > NAME_MAX {
        wanted = wanted.split_once('.').map_or("", |(_, rest)| rest);
    }
    let found = spec.expand(values).ok();
    // what is cut off need not be ASCII, and must not be looked at by both
    if whole.is_ascii() {
        assert_eq!(found, DomainName::new(wanted), "{whole:?}");
    }
    if let Some(found) = found {
        assert!((1..=NAME_MAX).contains(&found.as_str().len()));
        assert!(found.as_str().split('.').all(|label| (1..=63).contains(&label.len())));
    }
}

/// RFC 7208 7.1 to 7.4 read once more, for explanations, without bounds. None if it is not a macro
/// string.
fn plainly_expanded(text: &str, values: &Values<'_>) -> Option<String> {
    let mut expanded = String::new();
    let mut rest = text;
    while let Some(letter) = rest.chars().next() {
        rest = &rest[letter.len_utf8()..];
        if letter != '%' {
            if !matches!(letter, ' '..='~') {
                return None;
            }
            expanded.push(letter);
            continue;
        }
        let kind = rest.chars().next()?;
        rest = &rest[kind.len_utf8()..];
        match kind {
            '%' => expanded.push('%'),
            '_' => expanded.push(' '),
            '-' => expanded.push_str("%20"),
            '{' => {
                let (inside, behind) = rest.split_once('}')?;
                expanded.push_str(&plain_macro(inside, values)?);
                rest = behind;
            }
            _ => return None,
        }
    }
    Some(expanded)
}

fn plain_macro(inside: &str, values: &Values<'_>) -> Option<String> {
    let letter = inside.chars().next()?;
    let value = match letter.to_ascii_lowercase() {
        's' => format!("{}@{}", values.local_part, values.sender_domain),
        'l' => values.local_part.to_owned(),
        'o' => values.sender_domain.to_owned(),
        'd' => values.domain.as_str().to_owned(),
        'i' => NIBBLES.to_owned(),
        'p' => values.validated.to_owned(),
        'v' => "ip6".to_owned(),
        'h' => values.helo.to_owned(),
        'c' => CLIENT.to_string(),
        'r' => values.receiver.to_owned(),
        't' => values.timestamp.to_string(),
        _ => return None,
    };
    let transformers = &inside[1..];
    let rest = transformers.trim_start_matches(|digit: char| digit.is_ascii_digit());
    let digits = &transformers[..transformers.len() - rest.len()];
    let (reverse, delimiters) = match rest.strip_prefix(['r', 'R']) {
        Some(delimiters) => (true, delimiters),
        None => (false, rest),
    };
    if !delimiters.chars().all(|letter| ".-+,/_=".contains(letter)) {
        return None;
    }
    let delimiters = if delimiters.is_empty() { "." } else { delimiters };
    let mut parts: Vec<&str> = value.split(|letter| delimiters.contains(letter)).collect();
    if reverse {
        parts.reverse();
    }
    if !digits.is_empty() {
        // more digits than any number has: all parts
        let keep = digits.parse::<u128>().unwrap_or(u128::MAX).min(1 << 20) as usize;
        if keep == 0 {
            return None;
        }
        parts.drain(..parts.len().saturating_sub(keep));
    }
    let joined = parts.join(".");
    if letter.is_ascii_lowercase() {
        return Some(joined);
    }
    let plain = |octet: u8| octet.is_ascii_alphanumeric() || b"-._~".contains(&octet);
    let escaped =
        |octet: u8| if plain(octet) { char::from(octet).to_string() } else { format!("%{octet:02X}") };
    Some(joined.bytes().map(escaped).collect())
}

const CLIENT: Ipv6Addr = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0xcb01);
const NIBBLES: &str = "2.0.0.1.0.D.B.8.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.C.B.0.1";
const NAME_MAX: usize = 253;
