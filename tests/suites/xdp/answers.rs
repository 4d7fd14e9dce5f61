//! The program's own answers, frame by frame: every rule of TCP and SMTP that it keeps, as rows.
//!
//! The frames that have to come back are made from scratch by `sixgate_tests::packet::answer`,
//! their texts by the one reply table. The suite `dialogs` tests whether clients accept them.

mod commands;
mod cookies;
mod cpus;
mod endings;
mod events;
mod handshake;
mod headroom;
mod hosts;
mod hot;
mod jumbo;
mod limits;
mod lines;
mod lockstep;
mod model;
mod numbers;
mod property;
pub(crate) mod session;
mod stream;
mod switches;
