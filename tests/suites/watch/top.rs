//! `sixgate top`: one picture as text, of what the daemon saw.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    process::{Child, Command, Stdio},
    thread::{self, JoinHandle},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};
use sixgate_tests::{
    daemon,
    gate::Need,
    site::{GATE, OTHER, SENDER, Site},
    timeouts::wait_until,
};

use crate::{can_run, site};

#[test]
fn one_picture_has_rates_refusals_lists_and_health() {
    if !can_run(&[Need::Program("swaks")]) {
        return;
    }
    // the control socket is enough
    let site = site("http.listen = \"\"");
    site.expect("top --once", 2, &["no daemon answers"]);
    let daemon = site.serve(&["--no-xdp"]);
    site.expect("top --once", 0, &["no problem is known", "no refusal since the start"]);
    // nothing is drawn on what is not a terminal
    site.expect("top", 1, &["the output is not a terminal: use `sixgate top --once`"]);
    let _ = site.swaks(SENDER, GATE, &["--from", "a@sender.example", "--to", "user@contoso.com"]);
    let _ = site.rcpt(SENDER, OTHER);
    wait_until("the picture has the refusal", || {
        site.ran("top --once").1.contains("from <a@sender.example>")
    });
    let picture = site.sixgate("top --once");
    assert!(!picture.contains('\u{1b}'), "{picture}");
    // the columns are as wide as the picture
    let picture = picture.split_whitespace().collect::<Vec<_>>().join(" ");
    for words in [
        "gate.example enforce mode, sixgate ",
        "last hour 1 1 0 last day 1 1 0",
        "0 sessions open; refusals by the daemon",
        "Refusals a minute, last hour (highest 1)",
        "destination has not opted in 1 1 ",
        "2001:db8:51::/64 2 1 ",
        "DNS usable",
        " 2001:db8:51::4 > 2001:db8:25::99 destination has not opted in from <a@sender.example> to <user@contoso.com>",
    ] {
        assert!(picture.contains(words), "{words}: {picture}");
    }
    daemon.stop().unwrap();
}

/// The signals that end it.
const SIGNALS: [Signal; 3] = [Signal::SIGTERM, Signal::SIGHUP, Signal::SIGINT];

/// `sixgate top` in a terminal of its own, by script(1).
struct InTerminal {
    child: Child,
    /// The device, the process, and the terminal's settings before it.
    facts: [String; 3],
    drawn: JoinHandle<String>,
    folder: tempfile::TempDir,
}

impl InTerminal {
    fn start(site: &Site, rows: u16, columns: u16) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let at = folder.path().display();
        let facts = folder.path().join("facts");
        nix::unistd::mkfifo(&facts, nix::sys::stat::Mode::S_IRWXU).unwrap();
        let (binary, config) = (daemon::binary().display().to_string(), site.config().display().to_string());
        let script = format!(
            "export TERM=xterm; stty rows {rows} cols {columns}; \
             sh -c 'printf \"%s\\n\" $(tty) $$ $(stty -g) > {at}/facts; \
             exec {binary} --config {config} top --interval 60'; \
             echo $? > {at}/code; stty -g > {at}/settings"
        );
        let mut command = Command::new("script");
        command.args(["--quiet", "--flush", "--command", &script, "/dev/null"]);
        command.stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = site.gate.spawn(&mut command).unwrap();
        let mut output = child.stdout.take().unwrap();
        let drawn = thread::spawn(move || {
            let mut drawn = Vec::new();
            let _ = output.read_to_end(&mut drawn);
            String::from_utf8_lossy(&drawn).into_owned()
        });
        let lines = BufReader::new(fs::File::open(&facts).unwrap()).lines();
        let facts: Vec<String> = lines.map(Result::unwrap).collect();
        Self { child, facts: facts.try_into().unwrap(), drawn, folder }
    }

    fn keys(&mut self, keys: &str) {
        self.child.stdin.as_mut().unwrap().write_all(keys.as_bytes()).unwrap();
    }

    fn resize(&self, rows: u16, columns: u16) {
        let (rows, columns) = (rows.to_string(), columns.to_string());
        let sizes = ["rows", &rows, "cols", &columns];
        assert!(Command::new("stty").args(["-F", &self.facts[0]]).args(sizes).status().unwrap().success());
    }

    /// Waits until it catches all that ends it. The shell that starts it catches one of them.
    fn wait_for_handlers(&self) {
        wait_until("it catches the signals", || {
            SIGNALS.iter().all(|signal| catches(&self.facts[1], *signal))
        });
    }

    fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.facts[1].parse().unwrap()), signal).unwrap();
    }

    /// Waits for its end, which leaves the terminal as it was. What it drew.
    fn end(mut self) -> String {
        self.child.wait().unwrap();
        let drawn = self.drawn.join().unwrap();
        let read = |name: &str| fs::read_to_string(self.folder.path().join(name)).unwrap();
        assert_eq!(read("code"), "0\n", "{drawn}");
        assert_eq!(read("settings").trim(), self.facts[2], "the settings of the terminal");
        // the alternate screen is left, and the cursor is shown
        assert!(drawn.contains("\u{1b}[?1049h"), "{drawn:?}");
        let (_, after) = drawn.rsplit_once("\u{1b}[?1049l").unwrap_or_else(|| panic!("{drawn:?}"));
        assert!(!after.contains("\u{1b}[?25l"), "{drawn:?}");
        drawn
    }
}

#[test]
fn each_size_is_drawn_and_the_terminal_is_left_as_it_was() {
    if !can_run(&[Need::Program("script"), Need::Program("stty")]) {
        return;
    }
    let site = site("http.listen = \"\"");
    let daemon = site.serve(&["--no-xdp"]);
    for (rows, columns) in [(48, 160), (24, 80), (5, 20), (1, 1)] {
        let mut top = InTerminal::start(&site, rows, columns);
        // any key, then the one that ends it
        top.keys("x");
        top.keys("q");
        let drawn = top.end();
        assert!(rows == 1 || drawn.contains("gate.example"), "{rows}x{columns}: {drawn:?}");
    }
    let mut top = InTerminal::start(&site, 24, 80);
    top.wait_for_handlers();
    top.resize(10, 30);
    top.resize(60, 200);
    top.keys("\u{3}");
    top.end();
    for signal in SIGNALS {
        let top = InTerminal::start(&site, 24, 80);
        top.wait_for_handlers();
        top.signal(signal);
        top.end();
    }
    daemon.stop().unwrap();
}

/// Whether that process has a handler for `signal`.
fn catches(pid: &str, signal: Signal) -> bool {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or_default();
    mask & (1 << (signal as u64 - 1)) != 0
}
