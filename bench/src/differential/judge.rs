//! The judged kinds of difference between sixgate and pyspf; docs/policy.md gives the reasons.
//!
//! The mended pyspf has to agree with sixgate: the text of an error excuses no difference.

use sixgate_auth::spf::{SpfCheck, SpfReason};

use super::Theirs;

/// Why the two differ, if it is a kind of difference that has been judged.
pub(super) fn judge(ours: &SpfCheck, plain: &Theirs, mended: &Theirs) -> Option<&'static str> {
    let says = |part: &str| plain.said.contains(part);
    if !mended.agrees_with(ours) {
        return (ours.reason == SpfReason::BadMacro)
            .then_some("macros that the grammar does not have are taken");
    }
    Some(match plain.result.as_str() {
        "permerror" if says("Void lookup") => "void lookups are counted by question",
        "permerror" if says("trivial recursion") => {
            "a record that includes itself fails before it is reached"
        }
        "permerror" if says("invalid-macro-char") => "%% is refused at the end of a macro string",
        "permerror" if says("at most once") => "unknown modifiers are refused when they occur twice",
        "permerror" if says("Too many DNS lookups") => "a redirect that is not followed counts as a term",
        "temperror" => "DNS errors of PTR names and of servers behind one that matches count",
        _ => "macros are expanded differently",
    })
}
