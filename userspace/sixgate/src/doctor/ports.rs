//! Who listens at sixgate's addresses, by /proc/net/tcp6
//! (Documentation/networking/proc_net_tcp.rst).
//!
//! It connects to nothing.

use std::{
    fs,
    net::{IpAddr, Ipv6Addr, SocketAddrV6},
    path::PathBuf,
};

use sixgate_base::endpoint::Endpoint;

use super::report::CheckReport;

/// A listening TCP socket for IPv6.
#[derive(Clone, Debug)]
struct Listener {
    address: SocketAddrV6,
    inode: u64,
}

/// A process that holds a socket.
#[derive(Clone, Debug)]
struct Holder {
    pid: u32,
    name: String,
}

/// Who listens at each of `addresses`; `daemon` is the process of a daemon that answers commands.
/// Blocks while it looks through the processes.
pub(super) fn check(addresses: &[Endpoint], daemon: Option<u32>) -> Vec<CheckReport> {
    let Some(listeners) = listeners() else {
        return vec![CheckReport::not_checked("listen.port", "cannot read /proc/net/tcp6")];
    };
    addresses.iter().map(|address| of_address(address, &listeners, daemon).about(address)).collect()
}

fn of_address(address: &Endpoint, listeners: &[Listener], daemon: Option<u32>) -> CheckReport {
    let id = "listen.port";
    let found: Vec<&Listener> = listeners.iter().filter(|listener| collides(address, listener)).collect();
    let Some(listener) = found.first() else {
        return match daemon {
            None => CheckReport::ok(id, "free; sixgate is not running"),
            Some(_) => CheckReport::error(
                id,
                "nothing listens there, although the daemon runs",
                "systemctl restart sixgate",
            ),
        };
    };
    let held: Vec<(&Listener, Vec<Holder>)> =
        found.iter().map(|listener| (*listener, holders(listener.inode))).collect();
    let is_ours = |holder: &Holder| Some(holder.pid) == daemon || holder.name == OUR_NAME;
    let other = held.iter().find(|(_, holders)| !holders.is_empty() && !holders.iter().any(is_ours));
    match other {
        None if held.iter().all(|(_, holders)| holders.is_empty()) => match daemon {
            Some(pid) => CheckReport::ok(id, format!("the daemon listens (pid {pid})")),
            None => CheckReport::error(
                id,
                format!("another process listens at {}, which is not visible from here", listener.address),
                "ss -6 -l -t -n -p",
            ),
        },
        None => CheckReport::ok(id, "sixgate listens"),
        // the socket unit's
        Some((_, holders)) if holders.iter().all(|holder| holder.pid == 1) => {
            CheckReport::ok(id, "systemd listens for sixgate.socket")
        }
        Some((listener, holders)) => {
            let named: Vec<String> =
                holders.iter().map(|holder| format!("{} (pid {})", holder.name, holder.pid)).collect();
            let cure = holders.first().map_or_else(String::new, |holder| cure(&holder.name, address.port()));
            CheckReport::error(id, format!("{} listens at {}", named.join(", "), listener.address), cure)
        }
    }
}

/// How another mail server leaves the port to sixgate.
fn cure(name: &str, port: u16) -> String {
    match name {
        "master" => format!(
            "postconf -M# smtp/inet && postconf -M '0.0.0.0:{port}/inet=0.0.0.0:{port} inet n - y - - smtpd' && \
             postfix reload"
        ),
        "exim4" | "exim" => {
            "set local_interfaces = <; [0.0.0.0]:25 ; [::1]:10025 in Exim's configuration (on Debian: \
             dc_local_interfaces='[0.0.0.0]:25 ; [::1]:10025' in /etc/exim4/update-exim4.conf.conf), and restart it"
                .to_owned()
        }
        "smtpd" => "set `listen on 0.0.0.0` in smtpd.conf, and restart OpenSMTPD".to_owned(),
        name => format!("have {name} listen at 0.0.0.0:{port} only"),
    }
}

/// Whether the kernel gives `address` to no other socket while there is `listener`.
fn collides(address: &Endpoint, listener: &Listener) -> bool {
    let IpAddr::V6(wanted) = address.ip() else { return false };
    let theirs = *listener.address.ip();
    address.port() == listener.address.port()
        && (wanted == theirs || wanted.is_unspecified() || theirs.is_unspecified())
}

fn listeners() -> Option<Vec<Listener>> {
    let table = fs::read_to_string("/proc/thread-self/net/tcp6").ok()?;
    Some(table.lines().skip(1).filter_map(listener).take(LISTENERS_MAX).collect())
}

/// A line of the table, if it is of a socket that listens.
fn listener(line: &str) -> Option<Listener> {
    let fields: Vec<&str> = line.split_whitespace().collect();
    let [_, local, _, state, _, _, _, _, _, inode, ..] = fields.as_slice() else { return None };
    let (address, port) = local.split_once(':')?;
    if *state != LISTEN || address.len() != 32 {
        return None;
    }
    // four numbers of 32 bits in the host's order
    let mut octets = Vec::with_capacity(16);
    for at in (0..32).step_by(8) {
        octets.extend(u32::from_str_radix(address.get(at..at + 8)?, 16).ok()?.to_ne_bytes());
    }
    let octets: [u8; 16] = octets.try_into().ok()?;
    let port = u16::from_str_radix(port, 16).ok()?;
    let address = SocketAddrV6::new(Ipv6Addr::from(octets), port, 0, 0);
    Some(Listener { address, inode: inode.parse().ok()? })
}

/// The processes that have the socket open, as far as this user may look.
fn holders(inode: u64) -> Vec<Holder> {
    let wanted = PathBuf::from(format!("socket:[{inode}]"));
    let Ok(processes) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = processes.flatten().filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let holds = |pid: &u32| {
        fs::read_dir(format!("/proc/{pid}/fd")).is_ok_and(|descriptors| {
            descriptors.flatten().any(|entry| fs::read_link(entry.path()).is_ok_and(|link| link == wanted))
        })
    };
    let named = |pid: u32| {
        let name = fs::read_to_string(format!("/proc/{pid}/comm")).unwrap_or_default();
        Holder { pid, name: name.trim().to_owned() }
    };
    pids.filter(holds).take(HOLDERS_MAX).map(named).collect()
}

/// TCP_LISTEN (include/net/tcp_states.h), in hexadecimal.
const LISTEN: &str = "0A";
/// The name of the daemon's process.
const OUR_NAME: &str = "sixgate";
/// Listening sockets that are looked at.
const LISTENERS_MAX: usize = 10_000;
/// Processes of one socket that are named.
const HOLDERS_MAX: usize = 4;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_sockets_that_listen_are_read_and_those_in_the_way_collide() {
        let line = |address: &str, state: &str| {
            format!(
                "   0: {address} 00000000000000000000000000000000:0000 {state} 00000000:00000000 00:00000000 00000000     0        0 4711 1 0000000000000000 100 0 0 10 0"
            )
        };
        let any = format!("{:032}:0019", 0);
        assert!(listener(&line(&any, "01")).is_none(), "a connection");
        assert!(listener("sl local_address").is_none());
        let octets: String = "2001:db8::25"
            .parse::<Ipv6Addr>()
            .unwrap()
            .octets()
            .chunks(4)
            .map(|part| format!("{:08X}", u32::from_ne_bytes(part.try_into().unwrap())))
            .collect();
        let one = listener(&line(&format!("{octets}:0019"), LISTEN)).unwrap();
        assert_eq!((one.address.to_string().as_str(), one.inode), ("[2001:db8::25]:25", 4711));
        let any = listener(&line(&any, LISTEN)).unwrap();
        for (address, listener, wanted) in [
            ("[::]:25", &one, true),
            ("[2001:db8::25]:25", &one, true),
            ("[2001:db8::26]:25", &one, false),
            ("[2001:db8::25]:26", &one, false),
            ("[2001:db8::26]:25", &any, true),
        ] {
            assert_eq!(collides(&address.parse().unwrap(), listener), wanted, "{address}");
        }
    }
}
