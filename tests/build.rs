//! Builds the helper programs of `tests/ebpf` and leaves the object in `OUT_DIR` for `xdp_helper`.
//!
//! It owns the choice of the programs only; how they are built is `ebpf/builder`'s business.

use std::process::ExitCode;

use sixgate_ebpf_builder::{Program, build};

fn main() -> ExitCode {
    build(&[Program {
        package: "sixgate-tests-ebpf",
        folder: "tests/ebpf",
        object: "helpers.bpf.o",
        features: &[],
    }])
}
