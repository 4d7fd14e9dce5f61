//! The kinds of difference between us and dkimpy that somebody has looked at. docs/policy.md lists
//! them.

use sixgate_auth::dkim::{DkimResult, DkimSignature};

use super::{Theirs, generate::Plan};

/// Why the two differ, if it is a kind of difference that has been judged. `mended` is their result
/// for the message as [`readable`] has it.
pub(super) fn judge(
    plan: &Plan,
    message: &str,
    ours: &DkimSignature,
    theirs: &Theirs,
    mended: &Theirs,
) -> Option<&'static str> {
    if ours.result == DkimResult::Pass {
        unread(plan, message, mended).or_else(|| too_strict(plan, theirs))
    } else {
        too_lax(ours).or_else(|| misread(message, mended))
    }
}

/// The same message for a verifier that knows no blank before a colon, and no body without a last
/// line end.
pub(super) fn readable(message: &str) -> String {
    let (header, body) = message.split_once("\r\n\r\n").unwrap_or((message, ""));
    let lines: Vec<String> = header.split("\r\n").map(without_blank).collect();
    let end = if message.ends_with("\r\n") { "" } else { "\r\n" };
    format!("{}\r\n\r\n{body}{end}", lines.join("\r\n"))
}

fn without_blank(line: &str) -> String {
    match line.split_once(':') {
        Some((name, value)) if !line.starts_with([' ', '\t']) => format!("{}:{value}", name.trim_end()),
        _ => line.to_owned(),
    }
}

/// A message that passes here, and there once they can read it. A part that is signed to the octet
/// cannot be mended: there, all that is left to see is that the one field that has to be there once
/// is.
fn unread(plan: &Plan, message: &str, mended: &Theirs) -> Option<&'static str> {
    let header = message.split_once("\r\n\r\n").map_or(message, |(header, _)| header);
    let lines: Vec<String> = header.split("\r\n").map(without_blank).collect();
    let is_from = |line: &&String| line.get(..5).is_some_and(|name| name.eq_ignore_ascii_case("from:"));
    if lines.join("\r\n") != header {
        let may_pass = if plan.relaxed.0 { mended.passes } else { lines.iter().filter(is_from).count() == 1 };
        return may_pass.then_some(KNOWS_NO_BLANK);
    }
    (mended.passes && !message.ends_with("\r\n")).then_some(KEEPS_BLANKS)
}

/// What passes there only as long as they cannot read it.
fn misread(message: &str, mended: &Theirs) -> Option<&'static str> {
    match readable(message).strip_prefix(message) {
        _ if mended.passes => None,
        Some("") => None,
        Some(_) => Some(KEEPS_BLANKS),
        None => Some(KNOWS_NO_BLANK),
    }
}

const KNOWS_NO_BLANK: &str = "dkimpy knows no blank before a colon, and takes From with one for an mbox line";
const KEEPS_BLANKS: &str = "dkimpy keeps blanks at the end of a relaxed body without a last line end";

/// What passes here.
fn too_strict(plan: &Plan, theirs: &Theirs) -> Option<&'static str> {
    if theirs.said.starts_with("q= value is not dns/txt") {
        return Some("dkimpy takes one method in q= only");
    }
    if theirs.said.starts_with("b= value is not valid base64") {
        return Some("dkimpy demands the padding of base64");
    }
    if plan.names.iter().any(|name| name.eq_ignore_ascii_case("dkim-signature")) {
        return Some("dkimpy takes the signature itself for a field of h=");
    }
    let edited = |with| plan.edits.iter().any(|(_, edit)| *edit == with);
    if edited("v=1; unknown=a b=c;") {
        return Some("dkimpy takes ` b=` in another tag for b=");
    }
    if edited("b={b} ; ") || edited(";\r\n b=\r\n {b}\r\n ") {
        return Some("dkimpy keeps blanks behind b=");
    }
    if plan.record.1.contains(";;") {
        return Some("dkimpy takes no empty element in a key record");
    }
    if plan.record.0.contains("s=x:email") {
        return Some("dkimpy takes one service in s= only");
    }
    None
}

/// What passes there.
fn too_lax(ours: &DkimSignature) -> Option<&'static str> {
    Some(match ours.reason? {
        "From is not signed" | "a required tag is missing" => "dkimpy does not demand From in h=",
        "no From field" => "dkimpy does not demand a From field",
        "more than one From field" => "dkimpy passes several From fields if h= has as many",
        "malformed signature" => "dkimpy does not look at the names in h=",
        "d= or s= is no name" => "dkimpy takes a final dot in d=",
        "l= is larger than the body" => "dkimpy cuts l= to the body",
        "l= leaves a part of the body unsigned" => "dkimpy accepts a part of the body",
        "more than one key record" => "dkimpy takes the first key record",
        unusable if unusable.contains("no key record") || unusable.contains("without usable key") => {
            "dkimpy takes v= anywhere in a key record, and a tag without a name"
        }
        "the key is for testing only" => "dkimpy does not look at t=y",
        "the key is not for sha256" => "dkimpy does not look at h= of a key record",
        "the key is not for subdomains" => "dkimpy does not look at t=s",
        "the key is not for mail" => "dkimpy does not look at s= of a key record",
        "signature expired" | "t= is in the future" | "x= is not after t=" => "dkimpy allows ten hours",
        _ => return None,
    })
}
