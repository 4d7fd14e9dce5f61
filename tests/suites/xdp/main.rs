//! The XDP program and its maps: packets through BPF_PROG_TEST_RUN, and attaching to real interfaces.

mod attaching;
mod decisions;
mod headers;
mod program;
