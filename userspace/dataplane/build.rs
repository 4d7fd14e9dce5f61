//! Builds the XDP program twice, once to be traced, and leaves the objects in `OUT_DIR` for
//! `object`.
//!
//! It owns the choice of the programs only; how one is built is `ebpf/builder`'s business.

use std::process::ExitCode;

use sixgate_ebpf_builder::{Program, build};

fn main() -> ExitCode {
    let program = Program { package: "sixgate-ebpf", folder: "ebpf", object: "sixgate.bpf.o", features: &[] };
    build(&[program, Program { object: "sixgate_trace.bpf.o", features: &["trace"], ..program }])
}
