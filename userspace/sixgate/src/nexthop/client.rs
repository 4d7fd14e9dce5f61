//! The identity of a client that a next hop is sent.
//!
//! Plain values; how they are sent is in `smtp`.

use sixgate_auth::ptr::PtrResult;
use sixgate_smtp::{command::HelloName, policy::evidence::Endpoints};

/// Who the client is, for a next hop that wants to know.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ClientInfo {
    /// Both ends of its connection.
    pub endpoints: Endpoints,
    /// Its name by reverse DNS.
    pub name: ClientName,
    /// The name it gave itself in EHLO or HELO.
    pub helo: HelloName,
    /// Whether it sent EHLO.
    pub esmtp: bool,
}

/// A client's name by reverse DNS. A confirmed name and a merely claimed one stay apart, because
/// mail servers grant rights by name.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum ClientName {
    /// This PTR name leads back to the address.
    Confirmed(String),
    /// A PTR record has this name, and no address record confirms it.
    Claimed(String),
    /// There is no PTR name.
    Absent,
    /// DNS could not answer, or was not asked.
    Failure,
}

impl ClientName {
    /// The name that the evidence allows; none stands for reverse DNS that was not looked up, about
    /// which nothing is known.
    #[must_use]
    pub fn from_evidence(ptr: Option<&PtrResult>) -> Self {
        match ptr {
            Some(PtrResult::NoRecord) => Self::Absent,
            None | Some(PtrResult::TempError(_)) => Self::Failure,
            Some(PtrResult::Pass { name }) => Self::Confirmed(name.clone()),
            Some(PtrResult::Fail { names }) => names.first().cloned().map_or(Self::Absent, Self::Claimed),
        }
    }
}
