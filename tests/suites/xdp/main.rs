//! The XDP program and its maps: packets through BPF_PROG_TEST_RUN, and attaching to real
//! interfaces.

mod answers;
mod attaching;
mod bridged;
mod decisions;
mod headers;
mod host;
mod link_addresses;
mod maps;
mod no_room;
mod older;
mod program;
mod refusing;
mod sessions;
mod tap;
mod traffic;
