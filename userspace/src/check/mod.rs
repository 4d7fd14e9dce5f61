//! Mechanism: finds out about senders and messages, and returns evidence. It never decides.

pub mod ptr;
