//! The XDP program and its maps: packets through BPF_PROG_TEST_RUN, and attaching to real
//! interfaces.

mod answers;
mod attaching;
mod bridged;
mod decisions;
mod headers;
mod host;
mod maps;
mod no_room;
mod older;
mod program;
mod refusing;
mod sessions;
mod stations;
mod tap;
mod traffic;
