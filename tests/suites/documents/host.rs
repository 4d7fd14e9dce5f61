//! A machine for the documents' commands: a network namespace, mounts and processes of its own, a
//! mail server at its usual paths, DNS, and a sender on the other side of `eth0`.
//!
//! Nothing of it is left on the test's machine when it is dropped.

use std::{
    io::{BufRead as _, BufReader},
    net::{SocketAddr, SocketAddrV6},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use sixgate_tests::{
    client::{Swaks, swaks},
    daemon,
    dns::{DnsServer, Zone},
    netns::Netns,
};
use tempfile::TempDir;
use tokio::runtime::Runtime;

use crate::{book::Block, servers::Server};

/// The address that the documents opt in.
pub(crate) const GATE: &str = "2001:db8:25::25";
/// Another address of the host.
pub(crate) const OTHER: &str = "2001:db8:25::26";
/// The sender, whose reverse DNS and SPF are in order.
pub(crate) const SENDER: &str = "2001:db8:51::5";
/// A sender without reverse DNS.
pub(crate) const NAMELESS: &str = "2001:db8:51::240";

/// The machine, as the documents describe it.
pub(crate) struct Host {
    inside: Netns,
    outside: Netns,
    server: Server,
    holder: Child,
    // the process that everything inside descends from, by its number on the test's machine
    init: u32,
    checkout: PathBuf,
    _folder: TempDir,
    _dns: DnsServer,
    _runtime: Runtime,
}

impl Host {
    /// A machine that has just been given `server`, with a checkout of the project.
    pub(crate) fn new(server: Server) -> Self {
        let (inside, outside) = (Netns::new().unwrap(), Netns::new().unwrap());
        inside.join("eth0", &outside, "outside0").unwrap();
        for address in [GATE, OTHER] {
            inside.add_address("eth0", format!("{address}/64").parse().unwrap()).unwrap();
        }
        for address in [SENDER, NAMELESS] {
            outside.add_address("outside0", format!("{address}/64").parse().unwrap()).unwrap();
        }
        outside.add_address("outside0", "fe80::51/64".parse().unwrap()).unwrap();
        inside.ip("route add default via fe80::51 dev eth0").unwrap();
        outside.ip("route add 2001:db8:25::/64 dev outside0").unwrap();
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        let dns = {
            let _entered = runtime.enter();
            let address: SocketAddr = "[::1]:53".parse().unwrap();
            let (udp, tcp) = (inside.udp(address).unwrap(), inside.listen(address).unwrap());
            Zone::parse(ZONE).unwrap().serve_on(udp, tcp).unwrap()
        };
        let folder = tempfile::tempdir().unwrap();
        let mut holder = Command::new("unshare");
        holder
            .args(["--mount", "--pid", "--fork", "--kill-child", "bash", "-c"])
            .args([&SETUP.replace("@SERVER@", &server.script()), "host"])
            .arg(folder.path())
            .args(server.folders())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut holder = inside.spawn(&mut holder).unwrap();
        let mut line = String::new();
        BufReader::new(holder.stdout.take().unwrap()).read_line(&mut line).unwrap();
        assert_eq!(line, "ready\n", "the machine was not made");
        let init = only_child(holder.id());
        let checkout = PathBuf::from("/usr/src/sixgate");
        let host = Self {
            inside,
            outside,
            server,
            holder,
            init,
            checkout,
            _folder: folder,
            _dns: dns,
            _runtime: runtime,
        };
        host.prepare();
        host
    }

    /// Puts the checkout and the stand-ins there.
    fn prepare(&self) {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").canonicalize().unwrap();
        let bin = "/usr/local/bin";
        let script = format!(
            "mkdir -p sixgate && cp -r {root}/packaging {root}/README.md {root}/docs sixgate/\n\
             cat > {bin}/cargo <<'END'\n{CARGO}END\n\
             cat > {bin}/systemctl <<'END'\n{SYSTEMCTL}END\n\
             cp {bin}/systemctl {bin}/journalctl\n\
             chmod 755 {bin}/*\n",
            root = root.display(),
        );
        let output = self.command(Path::new("/usr/src"), &script);
        assert!(output.status.success(), "{output:?}");
    }

    /// Runs `script` to its end, in the checkout.
    pub(crate) fn run(&self, script: &str) -> Output {
        self.command(&self.checkout, script)
    }

    /// What `script` prints, which has to succeed.
    pub(crate) fn output(&self, script: &str) -> String {
        let output = self.run(script);
        let (stdout, stderr) =
            (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "{script}\n{}\n{stdout}{stderr}{}", output.status, self.logs());
        stdout.into_owned()
    }

    /// Runs the commands of `block`, each of which has to succeed.
    pub(crate) fn follow(&self, block: &Block) -> String {
        println!("--- {} ({})\n{}", block.place, block.heading, block.script);
        let output = self.output(&block.script);
        println!("{output}");
        output
    }

    /// Sends a message to `recipient` through port 25 of `destination`, with swaks.
    pub(crate) fn send(&self, destination: &str, recipient: &str, subject: &str) -> Swaks {
        self.send_as((SENDER, "anna@first.example"), destination, recipient, subject)
    }

    /// The same from another client or sender.
    pub(crate) fn send_as(
        &self,
        (source, sender): (&str, &str),
        destination: &str,
        recipient: &str,
        subject: &str,
    ) -> Swaks {
        let subject = format!("Subject: {subject}");
        let arguments = ["--from", sender, "--to", recipient, "--header", &subject];
        self.swaks(source, destination, &arguments)
    }

    /// Runs swaks with `arguments` against port 25 of `destination`.
    pub(crate) fn swaks(&self, source: &str, destination: &str, arguments: &[&str]) -> Swaks {
        let destination = SocketAddrV6::new(destination.parse().unwrap(), 25, 0, 0);
        let arguments = [arguments, &["--ehlo", "mail.first.example", "--local-interface", source]].concat();
        swaks(&self.outside, destination, &arguments).unwrap()
    }

    /// The messages that the mail server has, as it delivers them.
    pub(crate) fn held(&self) -> String {
        self.output(self.server.mailbox())
    }

    /// The greeting at port 25 of IPv4.
    pub(crate) fn greeting_of_ipv4(&self) -> String {
        self.output("exec 3<>/dev/tcp/127.0.0.1/25 && head -n 1 <&3")
    }

    /// Logs of the mail server and sixgate, for a failure's message.
    fn logs(&self) -> String {
        let logs =
            "tail -n 50 /var/log/mail.log /var/log/exim4/* /var/log/rspamd/* /var/log/sixgate.test.log";
        let output = self.command(Path::new("/"), logs);
        String::from_utf8_lossy(&output.stdout).into_owned()
    }

    fn command(&self, folder: &Path, script: &str) -> Output {
        let target = format!("--target={}", self.init);
        let mut command = Command::new("nsenter");
        command
            .args([&target, "--mount", "--pid", "bash", "-e", "-c"])
            .arg(format!("cd {} && {{\n{script}\n}}", folder.display()))
            .env("PATH", "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
            .env("SIXGATE_UNDER_TEST", daemon::binary())
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        self.inside.spawn(&mut command).unwrap().wait_with_output().unwrap()
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        // ends the init of the namespace, and with it everything inside
        drop(self.holder.stdin.take());
        let _ = self.holder.wait();
    }
}

/// The one child of process `parent`.
fn only_child(parent: u32) -> u32 {
    let path = format!("/proc/{parent}/task/{parent}/children");
    std::fs::read_to_string(path).unwrap().trim().parse().unwrap()
}

const SETUP: &str = include_str!("host.sh");
const CARGO: &str = include_str!("cargo.sh");
const SYSTEMCTL: &str = include_str!("systemctl.pl");
const ZONE: &str = "\
    5.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1.5.0.0.8.b.d.0.1.0.0.2.ip6.arpa. PTR mail.first.example.\n\
    mail.first.example. AAAA 2001:db8:51::5\n\
    first.example. TXT \"v=spf1 ip6:2001:db8:51::/64 -all\"\n\
    5.2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.5.2.0.0.8.b.d.0.1.0.0.2.ip6.arpa. PTR mx.example.com.\n\
    example.com. MX 10 mx.example.com.\n\
    mx.example.com. AAAA 2001:db8:25::25\n\
    second.example. TXT \"v=spf1 ip6:2001:db8:52::/64 -all\"\n\
    broken.example. FAULT servfail\n";
