//! Builds the XDP program and leaves the object in `OUT_DIR` for `object`.
//!
//! It owns the choice of the program only; how one is built is `ebpf/builder`'s business.

use std::process::ExitCode;

use sixgate_ebpf_builder::Program;

fn main() -> ExitCode {
    Program { package: "sixgate-ebpf", folder: "ebpf", object: "sixgate.bpf.o" }.build()
}
