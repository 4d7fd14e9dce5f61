//! Which system calls this process can make: a seccomp filter (seccomp(2)) that refuses, with
//! EPERM, those which serve no mail and change the host, other processes or what this one may do.
//!
//! It lists what is refused, not what is allowed: a C library or kernel of tomorrow makes other
//! calls for the same work. The list of the allowed ones is the unit's (`SystemCallFilter=`).

use std::collections::BTreeMap;

use nix::libc::{self, c_long};
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule, TargetArch,
};

/// Why system calls are not restricted.
#[derive(Debug, thiserror::Error)]
pub(super) enum CallsError {
    /// The filter cannot be made, as for a processor that the library does not know.
    #[error("no seccomp filter: {0}")]
    Filter(#[from] BackendError),
    /// The kernel does not take it.
    #[error("no seccomp filter: the kernel does not take it: {0}")]
    Kernel(#[from] seccompiler::Error),
}

/// For what the daemon uses bpf(2).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Bpf {
    /// For nothing (`--no-xdp`).
    Unused,
    /// For maps that another process has pinned.
    Maps,
    /// For loading and attaching the XDP program, too.
    Attaching,
}

/// Restricts this thread and what it starts.
///
/// # Errors
/// The filter cannot be made or is not taken.
pub(super) fn restrict(bpf: Bpf) -> Result<(), CallsError> {
    let architecture = TargetArch::try_from(std::env::consts::ARCH)?;
    // the C library then makes threads by the older call, whose flags a filter can read
    let clone3 = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    for (refused, errno) in [(clone3, libc::ENOSYS), (refused(bpf)?, libc::EPERM)] {
        let action = SeccompAction::Errno(errno.unsigned_abs());
        let filter = SeccompFilter::new(refused, SeccompAction::Allow, action, architecture)?;
        seccompiler::apply_filter(&BpfProgram::try_from(filter)?)?;
    }
    Ok(())
}

/// The system calls that are refused, some of them with certain arguments only.
fn refused(bpf: Bpf) -> Result<BTreeMap<c_long, Vec<SeccompRule>>, BackendError> {
    let mut refused: BTreeMap<c_long, Vec<SeccompRule>> =
        REFUSED.iter().chain(REFUSED_HERE).map(|call| (*call, Vec::new())).collect();
    let namespaces = NAMESPACES.iter().map(|flag| rule(0, SeccompCmpOp::MaskedEq(*flag), *flag));
    refused.insert(libc::SYS_clone, namespaces.collect::<Result<_, _>>()?);
    match bpf {
        Bpf::Unused => drop(refused.insert(libc::SYS_bpf, Vec::new())),
        Bpf::Maps => {
            let commands = BPF_COMMANDS.iter().map(|command| rule(0, SeccompCmpOp::Eq, *command));
            refused.insert(libc::SYS_bpf, commands.collect::<Result<_, _>>()?);
        }
        Bpf::Attaching => {}
    }
    #[cfg(target_arch = "x86_64")]
    for (call, rules) in refused.clone() {
        refused.insert(call | X32, rules);
    }
    Ok(refused)
}

fn rule(argument: u8, operator: SeccompCmpOp, value: u64) -> Result<SeccompRule, BackendError> {
    SeccompRule::new(vec![SeccompCondition::new(argument, SeccompCmpArgLen::Dword, operator, value)?])
}

/// Those of each processor.
const REFUSED: &[c_long] = &[
    // other programs; the successor is started by the parent process
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_memfd_create,
    libc::SYS_memfd_secret,
    libc::SYS_personality,
    // other processes
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_process_madvise,
    libc::SYS_process_mrelease,
    libc::SYS_pidfd_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_pidfd_send_signal,
    libc::SYS_kcmp,
    libc::SYS_move_pages,
    libc::SYS_migrate_pages,
    // another user or other rights; the service manager has set them
    libc::SYS_setuid,
    libc::SYS_setgid,
    libc::SYS_setreuid,
    libc::SYS_setregid,
    libc::SYS_setresuid,
    libc::SYS_setresgid,
    libc::SYS_setfsuid,
    libc::SYS_setfsgid,
    libc::SYS_setgroups,
    libc::SYS_capset,
    // namespaces and mounts
    libc::SYS_unshare,
    libc::SYS_setns,
    libc::SYS_chroot,
    libc::SYS_pivot_root,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_mount_setattr,
    libc::SYS_move_mount,
    libc::SYS_open_tree,
    libc::SYS_fsopen,
    libc::SYS_fsconfig,
    libc::SYS_fsmount,
    libc::SYS_fspick,
    // files past the checks of their paths, and of all processes
    libc::SYS_name_to_handle_at,
    libc::SYS_open_by_handle_at,
    libc::SYS_fanotify_init,
    libc::SYS_fanotify_mark,
    libc::SYS_mknodat,
    libc::SYS_quotactl,
    libc::SYS_quotactl_fd,
    libc::SYS_swapon,
    libc::SYS_swapoff,
    libc::SYS_acct,
    // the kernel, the host's name and its clocks
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_syslog,
    libc::SYS_sethostname,
    libc::SYS_setdomainname,
    libc::SYS_settimeofday,
    libc::SYS_clock_settime,
    libc::SYS_clock_adjtime,
    libc::SYS_adjtimex,
    libc::SYS_vhangup,
    // parts of the kernel that the daemon does not use, and that have had faults
    libc::SYS_io_uring_setup,
    libc::SYS_io_uring_enter,
    libc::SYS_io_uring_register,
    libc::SYS_userfaultfd,
    libc::SYS_perf_event_open,
    libc::SYS_add_key,
    libc::SYS_request_key,
    libc::SYS_keyctl,
    libc::SYS_lookup_dcookie,
    libc::SYS_nfsservctl,
    libc::SYS_vmsplice,
];

/// Those of this processor alone.
#[cfg(target_arch = "x86_64")]
const REFUSED_HERE: &[c_long] = &[
    libc::SYS_mknod,
    libc::SYS_kexec_file_load,
    libc::SYS_modify_ldt,
    libc::SYS_iopl,
    libc::SYS_ioperm,
    libc::SYS_uselib,
    libc::SYS_ustat,
    libc::SYS_sysfs,
    libc::SYS__sysctl,
    // the x32 ABI has numbers of its own for execve, ptrace, process_vm_readv, process_vm_writev,
    // kexec_load, move_pages, vmsplice and execveat
    520 | X32,
    521 | X32,
    539 | X32,
    540 | X32,
    528 | X32,
    533 | X32,
    532 | X32,
    545 | X32,
];
#[cfg(target_arch = "aarch64")]
const REFUSED_HERE: &[c_long] = &[libc::SYS_kexec_file_load];
#[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
const REFUSED_HERE: &[c_long] = &[];

/// The bit of calls of the x32 ABI, which use the numbers of this processor otherwise
/// (`__X32_SYSCALL_BIT`, asm/unistd.h).
#[cfg(target_arch = "x86_64")]
const X32: c_long = 0x4000_0000;

/// The flags of clone(2) that make namespaces (linux/sched.h). That of a time namespace is not
/// known to it.
const NAMESPACES: [u64; 7] = [
    libc::CLONE_NEWNS as u64,
    libc::CLONE_NEWCGROUP as u64,
    libc::CLONE_NEWUTS as u64,
    libc::CLONE_NEWIPC as u64,
    libc::CLONE_NEWUSER as u64,
    libc::CLONE_NEWPID as u64,
    libc::CLONE_NEWNET as u64,
];

/// Commands of bpf(2) that load, attach, detach or replace programs, or make maps (linux/bpf.h):
/// BPF_MAP_CREATE, _PROG_LOAD, _OBJ_PIN, _PROG_ATTACH, _PROG_DETACH, _PROG_TEST_RUN,
/// _RAW_TRACEPOINT_OPEN, _BTF_LOAD, _LINK_CREATE, _LINK_UPDATE, _ENABLE_STATS, _ITER_CREATE,
/// _LINK_DETACH, _PROG_BIND_MAP, _TOKEN_CREATE.
const BPF_COMMANDS: [u64; 15] = [0, 5, 6, 8, 9, 10, 17, 18, 28, 29, 32, 33, 34, 35, 36];
