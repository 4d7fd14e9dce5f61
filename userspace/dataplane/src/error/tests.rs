//! The sentences that are made of the log of the verifier. No program is loaded here.

use super::{verifier::COMPLAINT_MAX, *};

fn message(log: &str, code: i32) -> String {
    DataplaneError::refused(log, io::Error::from_raw_os_error(code)).to_string()
}

#[test]
fn what_the_verifier_misses_is_named() {
    let unknown = "0: (61) r6 = *(u32 *)(r1 +4)\n2: (85) call bpf_xdp_get_buff_len#188\n\
                   unknown func bpf_xdp_get_buff_len#188\n\
                   processed 3 insns (limit 1000000) max_states_per_insn 0\n";
    let lacking = message(unknown, libc::EINVAL);
    assert!(
        lacking.contains(") lacks a helper that the XDP program calls (unknown func bpf_xdp_get"),
        "{lacking}"
    );
    let refused = message("R4 invalid zero-sized read: u64=[0,2559]\nprocessed 143467 insns\n", libc::EACCES);
    assert!(refused.starts_with("the verifier of this kernel (Linux "), "{refused}");
    assert!(
        refused.contains("refused the XDP program (R4 invalid zero-sized read: u64=[0,2559])"),
        "{refused}"
    );
    assert!(!refused.contains("6.1 or later"), "{refused}");
    assert!(message("", libc::EINVAL).contains("BPF_F_XDP_HAS_FRAGS"));
    assert!(message(&"x".repeat(4000), libc::EACCES).len() < 2 * COMPLAINT_MAX);
}

#[test]
fn missing_rights_are_not_taken_for_a_missing_feature() {
    let log = "R7 has pointer with unsupported alu operation, pointer arithmetic with it prohibited for !root\n\
               processed 7 insns (limit 1000000)\n";
    for text in [message(log, libc::EACCES), message("", libc::EPERM)] {
        assert!(text.contains("CAP_PERFMON"), "{text}");
    }
}

#[test]
fn the_systems_error_is_found_below_the_librarys() {
    let error = ProgramError::SyscallError(aya::sys::SyscallError {
        call: "bpf_link_create",
        io_error: io::Error::from_raw_os_error(libc::EBUSY),
    });
    assert_eq!(system_error(error).raw_os_error(), Some(libc::EBUSY));
    assert_eq!(system_error(ProgramError::NotLoaded).to_string(), "the program is not loaded");
}
