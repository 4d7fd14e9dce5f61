//! The host: the rights of this process, the kernel, its settings, and the clock.
//!
//! It reads, and loads the XDP program once to see whether the kernel takes it; it sets nothing.

use std::{fs, path::Path, process::Stdio, time::Duration};

use nix::unistd::geteuid;
use sixgate_dataplane::{DataplaneError, Loader, kernel_release};
use tokio::{process::Command, time::timeout};

use super::report::{CheckOutcome, CheckReport};

/// Whether this process may look at everything.
pub(super) fn rights() -> CheckReport {
    match geteuid().is_root() {
        true => CheckReport::ok("host.rights", "run by root"),
        false => {
            CheckReport::not_checked("host.rights", "not run by root: checks that need rights are left out")
                .cured_by("sudo sixgate doctor")
        }
    }
}

/// The kernel's release.
pub(super) fn kernel() -> CheckReport {
    let id = "kernel.version";
    match kernel_release() {
        Some((release, false)) => CheckReport::ok(id, format!("Linux {release}")),
        Some((release, true)) => CheckReport::warning(
            id,
            format!("Linux {release} is older than 6.1, the oldest on which the XDP program was run"),
            "boot a kernel of Linux 6.1 or later, or set answer = \"daemon\"",
        ),
        None => CheckReport::not_checked(id, "uname(2) does not tell the release"),
    }
}

/// Whether the kernel loads the XDP program, and whether that can answer by itself. Blocks while
/// the verifier works. `is_wanted`: whether the configuration names interfaces.
pub(super) fn program(is_wanted: bool) -> CheckReport {
    let id = "kernel.program";
    match Loader::default().embedded() {
        Ok(embedded) => match embedded.fallback_reason {
            None => CheckReport::ok(id, "the kernel loads the XDP program"),
            Some(reason) => CheckReport::warning(
                id,
                format!("the XDP program cannot answer by itself: {reason}; the daemon answers instead"),
                "boot a kernel that has it, or set answer = \"daemon\"",
            ),
        },
        Err(error @ (DataplaneError::NoRights { .. } | DataplaneError::NoProgram)) => {
            CheckReport::not_checked(id, error.to_string())
        }
        Err(error) => {
            let outcome = if is_wanted { CheckOutcome::Error } else { CheckOutcome::Warning };
            CheckReport::sentence(id, outcome, format!("{:#}", anyhow::Error::new(error)))
        }
    }
}

/// The kernel's settings that matter to IPv6 and BPF.
pub(super) fn settings() -> Vec<CheckReport> {
    vec![
        setting("kernel.bpf_jit", "net.core.bpf_jit_enable", |value| match value {
            "0" => Rating::Warning("the XDP program is interpreted, ten times slower", "1"),
            _ => Rating::Fine("BPF programs are compiled"),
        }),
        setting("kernel.unprivileged_bpf", "kernel.unprivileged_bpf_disabled", |value| match value {
            "0" => Rating::Fine("users without rights may load BPF programs; sixgate does not need that"),
            _ => Rating::Fine("BPF needs rights, which sixgate has"),
        }),
        setting("kernel.ipv6", "net.ipv6.conf.all.disable_ipv6", |value| match value {
            "0" => Rating::Fine("IPv6 is on"),
            _ => Rating::Error("IPv6 is off: no mail arrives over it", "0"),
        }),
        setting("kernel.bindv6only", "net.ipv6.bindv6only", |value| match value {
            "0" => {
                Rating::Fine("a server at [::] takes IPv4, too; sixgate's sockets take IPv6 only in any case")
            }
            _ => Rating::Fine("a server at [::] takes IPv6 only, as sixgate's sockets do"),
        }),
        router_advertisements(),
    ]
}

/// The meaning of a value, and the value that is better.
enum Rating {
    Fine(&'static str),
    Warning(&'static str, &'static str),
    Error(&'static str, &'static str),
}

fn setting(id: &'static str, name: &'static str, judge: impl FnOnce(&str) -> Rating) -> CheckReport {
    let Some(value) = read(name) else {
        return CheckReport::not_checked(id, "this kernel or network namespace does not have it").about(name);
    };
    let report = match judge(&value) {
        Rating::Fine(meaning) => CheckReport::ok(id, format!("{value}: {meaning}")),
        Rating::Warning(meaning, better) => {
            CheckReport::warning(id, format!("{value}: {meaning}"), format!("sysctl -w {name}={better}"))
        }
        Rating::Error(meaning, better) => {
            CheckReport::error(id, format!("{value}: {meaning}"), format!("sysctl -w {name}={better}"))
        }
    };
    report.about(name)
}

/// A host that forwards ignores the routers that it depends on, unless it is told not to
/// (Documentation/networking/ip-sysctl.rst, `accept_ra`).
fn router_advertisements() -> CheckReport {
    let (id, name) = ("kernel.accept_ra", "net.ipv6.conf.all.accept_ra");
    let values = (read("net.ipv6.conf.all.forwarding"), read(name));
    let report = match (values.0.as_deref(), values.1.as_deref()) {
        (Some("0"), Some(value)) => CheckReport::ok(
            id,
            format!("{value}: this host does not forward, and takes router advertisements as set"),
        ),
        (Some(_), Some("1")) if !has_default_route() => CheckReport::warning(
            id,
            "1: this host forwards, ignores router advertisements therefore, and has no default route",
            format!("sysctl -w {name}=2"),
        ),
        (Some(_), Some(value)) => CheckReport::ok(id, format!("{value}: this host forwards")),
        _ => CheckReport::not_checked(id, "this network namespace does not have it"),
    };
    report.about(name)
}

/// Whether this host hands packets on to others.
pub(super) fn forwards() -> bool {
    read("net.ipv6.conf.all.forwarding").is_some_and(|value| value != "0")
}

/// Whether replies find a way out.
pub(super) fn route() -> CheckReport {
    let id = "network.route";
    match has_default_route() {
        true => CheckReport::ok(id, "there is a default route for IPv6"),
        false => CheckReport::warning(
            id,
            "there is no default route for IPv6: senders outside of this network are not reached",
            "ip -6 route add default via ROUTER dev INTERFACE",
        ),
    }
}

fn has_default_route() -> bool {
    default_interface().is_some()
}

/// The interface of the preferred default route, by /proc/net/ipv6_route (net/ipv6/route.c).
pub(crate) fn default_interface() -> Option<String> {
    let table = fs::read_to_string("/proc/thread-self/net/ipv6_route").unwrap_or_default();
    let routes = table.lines().filter_map(|line| {
        let fields: Vec<&str> = line.split_whitespace().collect();
        let [address, "00", _, _, _, metric, _, _, _, device] = fields.as_slice() else { return None };
        let is_default = address.bytes().all(|octet| octet == b'0') && *device != "lo";
        is_default.then(|| (u32::from_str_radix(metric, 16).unwrap_or(u32::MAX), (*device).to_owned()))
    });
    routes.min().map(|(_, device)| device)
}

fn read(name: &str) -> Option<String> {
    let path = Path::new("/proc/sys").join(name.replace('.', "/"));
    Some(fs::read_to_string(path).ok()?.trim().to_owned())
}

/// Whether the clock is kept right: signatures and certificates have a time.
pub(super) async fn clock() -> CheckReport {
    let id = "host.clock";
    let mut command = Command::new("timedatectl");
    command.args(["show", "--property=NTPSynchronized", "--value"]).stdin(Stdio::null()).kill_on_drop(true);
    match timeout(CLOCK_TIMEOUT, command.output()).await {
        Ok(Ok(output)) => match String::from_utf8_lossy(&output.stdout).trim() {
            "yes" => CheckReport::ok(id, "synchronised"),
            "no" => CheckReport::warning(
                id,
                "not synchronised: DKIM signatures with x= and certificates are judged by it",
                "timedatectl set-ntp true",
            ),
            _ => CheckReport::not_checked(id, "timedatectl does not answer"),
        },
        Ok(Err(error)) => CheckReport::not_checked(id, format!("cannot run timedatectl: {error}")),
        Err(_) => CheckReport::not_checked(id, "timedatectl does not answer in time"),
    }
}

/// How long systemd-timedated is waited for, which may have to be started.
const CLOCK_TIMEOUT: Duration = Duration::from_secs(5);
