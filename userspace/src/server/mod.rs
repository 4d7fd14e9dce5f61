//! The daemon: sockets, tasks and limits around the sans-IO session.
