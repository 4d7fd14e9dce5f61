//! Warnings of a store without what mail needs, with the same text in `sixgate status`, in
//! `sixgate attach` and at the start of the daemon.
//!
//! It looks at nothing: the callers know what the store has.

/// That no domain is listed although the configuration asks for it; `passes_on`: shadow mode, and a
/// next hop that may judge recipients.
pub(crate) fn no_domain(passes_on: bool) -> String {
    format!(
        "no domain is listed: {} every recipient; list each domain that takes mail over IPv6: \
         sixgate domain add example.com",
        refuses(passes_on)
    )
}

/// That no destination has opted in.
pub(crate) fn no_destination(is_shadow: bool) -> String {
    format!(
        "no destination has opted in: {} all mail but that of trusted sources; opt the addresses in that take mail \
         over IPv6: sixgate optin add 2001:db8::25",
        refuses(is_shadow)
    )
}

const fn refuses(passes_on: bool) -> &'static str {
    if passes_on { "enforce would refuse" } else { "sixgate refuses" }
}
