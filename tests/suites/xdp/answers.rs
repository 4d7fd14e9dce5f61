//! What the program answers by itself, frame by frame: every rule of TCP and SMTP that it keeps, as rows.
//!
//! The frames that have to come back are made from scratch by `sixgate_tests::packet::answer`, their texts by the one
//! reply table. Whether a client gets along with them is the business of the suite `dialogs`.

mod commands;
mod cpus;
mod endings;
mod events;
mod handshake;
mod hosts;
mod jumbo;
mod limits;
mod lines;
mod model;
mod numbers;
mod polite;
mod property;
mod rooms;
pub(crate) mod session;
mod stream;
mod switches;
