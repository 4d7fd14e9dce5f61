//! The command line as its users see it: the real binary, run as a process.
//!
//! Other suites test the daemon's use of the store.

mod answers;
mod changes;
mod concurrent;
mod doubts;
mod dry_run;
mod errors;
mod exchange;
mod help;
mod history;
mod host;
mod installation;
mod kernel;
mod map_faults;
mod maps;
mod namespaces;
mod reference;
mod ways_out;
