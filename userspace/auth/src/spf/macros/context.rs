//! What macros are read and expanded with: the position of the text, the values of the letters, and
//! the errors of a text.
//!
//! It reads and expands nothing.

use std::net::IpAddr;

use crate::spf::name::DomainName;

/// Where a macro string stands: some letters are for explanations only.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum MacroContext {
    /// In a term of a record.
    Record,
    /// In the text that `exp=` leads to, where there may also be spaces.
    Explanation,
}

/// Text that is not a macro string, or that cannot stand where it stands.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum BadMacro {
    /// An octet that is neither visible ASCII nor, in an explanation, a space.
    Octet,
    /// `%` that begins no macro.
    Syntax,
    /// `%{c}`, `%{r}` or `%{t}` outside an explanation.
    Letter,
    /// A domain-spec that ends neither with a macro nor with a top label.
    DomainEnd,
}

/// The values of the macro letters.
#[derive(Clone, Copy, Debug)]
pub struct Values<'a> {
    /// `%{l}`: the local part of the sender.
    pub local_part: &'a str,
    /// `%{o}`: the domain of the sender.
    pub sender_domain: &'a str,
    /// `%{d}`: the domain whose record is evaluated.
    pub domain: &'a DomainName,
    /// `%{i}`, `%{c}`, `%{v}`.
    pub client: IpAddr,
    /// `%{h}`: the HELO or EHLO name.
    pub helo: &'a str,
    /// `%{p}`; see [`super::UNKNOWN`].
    pub validated: &'a str,
    /// `%{r}`: our own name.
    pub receiver: &'a str,
    /// `%{t}`: seconds since 1970.
    pub timestamp: u64,
}
