//! A configuration and a store of a test's own, and the binary run on them.

use std::{
    fs::{self, File},
    os::{fd::AsRawFd, unix::process::CommandExt},
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
};

use serde_json::{Value, json};
use sixgate_tests::{daemon::binary, netns::Netns};
use tempfile::TempDir;

/// A temporary directory with `sixgate.toml` and the directory `state` for the store.
pub(crate) struct Installation {
    directory: TempDir,
    netns: Option<Netns>,
}

/// How a command ended.
#[derive(Debug, Eq, PartialEq)]
pub(crate) struct Ran {
    pub(crate) code: Option<i32>,
    pub(crate) data: String,
    pub(crate) messages: String,
}

impl Installation {
    /// A test folder whose pins do not exist.
    pub(crate) fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let pins = directory.path().join("pins");
        Self::with(directory, None, &pins, "")
    }

    /// A test folder whose commands run in `netns`, with pins in `pins` and more lines in `[xdp]`.
    pub(crate) fn inside(netns: Netns, pins: &Path, xdp: &str) -> Self {
        Self::with(TempDir::new().unwrap(), Some(netns), pins, xdp)
    }

    fn with(directory: TempDir, netns: Option<Netns>, pins: &Path, xdp: &str) -> Self {
        let place = Self { directory, netns };
        fs::create_dir(place.path("state")).unwrap();
        place.configure("", pins, xdp);
        place.done("init");
        place
    }

    /// Writes the configuration anew, with more lines before the first table and in `[xdp]`. The
    /// daemon answers, unless the lines set another mode.
    pub(crate) fn configure(&self, more: &str, pins: &Path, xdp: &str) {
        let answer = if more.contains("answer") { "" } else { "answer = \"daemon\"" };
        let text = format!(
            "hostname = \"gate.example\"\nstore = {:?}\ncontrol_socket = {:?}\n{answer}\n{more}\n[xdp]\nbpffs = \
             {pins:?}\n{xdp}\n",
            self.store(),
            self.path("control")
        );
        fs::write(self.config(), text).unwrap();
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.path("sixgate.toml")
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.path("state/store.db")
    }

    /// The whole store, as `export` prints it.
    pub(crate) fn contents(&self) -> String {
        self.done("store export")
    }

    /// Runs `sixgate` with these arguments on the same store, but where nothing is attached: the
    /// state that a command leaves if it dies right after it changed the store.
    pub(crate) fn done_without_maps(&self, words: &str) {
        let config = self.path("aside.toml");
        let text = format!(
            "hostname = \"gate.example\"\nstore = {:?}\n[xdp]\nbpffs = {:?}\n",
            self.store(),
            self.path("none")
        );
        fs::write(&config, text).unwrap();
        let mut command = command();
        command.arg("--config").arg(config).args(words.split_whitespace());
        let ran = ran(self.start(&mut command).wait_with_output().unwrap());
        assert_eq!(ran.code, Some(0), "sixgate {words}: {ran:?}");
    }

    /// The names in the store's directory, sorted.
    pub(crate) fn state(&self) -> Vec<String> {
        let entries = fs::read_dir(self.path("state")).unwrap();
        let mut names: Vec<String> =
            entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
        names.sort();
        names
    }

    /// The command with these arguments, ready to be started.
    pub(crate) fn command(&self, words: &str) -> Command {
        let mut command = command();
        command.arg("--config").arg(self.config()).args(words.split_whitespace());
        command
    }

    /// Starts `sixgate` with these arguments.
    pub(crate) fn spawn(&self, words: &str) -> Child {
        self.start(&mut self.command(words))
    }

    fn start(&self, command: &mut Command) -> Child {
        match &self.netns {
            Some(netns) => netns.spawn(command).unwrap(),
            None => command.spawn().unwrap(),
        }
    }

    /// Runs `sixgate` with these arguments.
    pub(crate) fn run(&self, words: &str) -> Ran {
        ran(self.spawn(words).wait_with_output().unwrap())
    }

    /// Runs another binary with these arguments.
    pub(crate) fn run_binary(&self, binary: &Path, words: &str) -> Ran {
        let mut command = Command::new(binary);
        command.arg("--config").arg(self.config()).args(words.split_whitespace());
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        ran(self.start(&mut command).wait_with_output().unwrap())
    }

    /// Runs `sixgate` with these arguments as a user without any right. The binary is named by a
    /// handle: that user may not look into the folder where it was built.
    pub(crate) fn run_as_nobody(&self, words: &str) -> Ran {
        let binary = File::open(binary()).unwrap();
        let mut command = Command::new(format!("/proc/self/fd/{}", binary.as_raw_fd()));
        command.arg("--config").arg(self.config()).args(words.split_whitespace());
        command.uid(NOBODY).gid(NOBODY);
        command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        ran(self.start(&mut command).wait_with_output().unwrap())
    }

    /// Runs `sixgate` with these arguments, which must succeed; returns its output.
    pub(crate) fn done(&self, words: &str) -> String {
        let ran = self.run(words);
        assert_eq!(ran.code, Some(0), "sixgate {words}: {ran:?}");
        ran.data
    }

    /// Runs `sixgate` with these arguments and `--json`.
    pub(crate) fn json(&self, words: &str) -> Value {
        let ran = self.run(&format!("{words} --json"));
        serde_json::from_str(&ran.data).unwrap_or_else(|error| panic!("sixgate {words}: {error}: {ran:?}"))
    }

    /// The output of `status` about a daemon that is not running.
    pub(crate) fn daemon_is_down(&self) -> String {
        format!(
            "the daemon is not running: nothing answers at {} (No such file or directory (os error 2)); `systemctl start \
             sixgate`, or restart one that was started with another control_socket",
            self.path("control").display()
        )
    }

    /// `status` reports no problem but that there is no daemon.
    #[track_caller]
    pub(crate) fn agrees(&self) {
        let status = self.json("status");
        assert_eq!(status["problems"], json!([self.daemon_is_down()]), "{status}");
        assert_eq!(status["differences"], json!([]), "{status}");
        assert_eq!(self.run("status").code, Some(1));
    }

    /// Runs `sixgate` with these arguments, which must fail with `code` and a message that contains
    /// `wanted`.
    pub(crate) fn fails(&self, words: &str, code: i32, wanted: &str) {
        let ran = self.run(words);
        assert_eq!(ran.code, Some(code), "sixgate {words}: {ran:?}");
        assert!(ran.messages.contains(wanted), "sixgate {words}: {ran:?} lacks {wanted:?}");
    }
}

/// The binary in an environment without variables for it.
pub(crate) fn command() -> Command {
    let mut command = Command::new(binary());
    for variable in ["COLUMNS", "RUST_LOG", "SIXGATE_CONFIG"] {
        command.env_remove(variable);
    }
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

pub(crate) fn ran(output: Output) -> Ran {
    Ran {
        code: output.status.code(),
        data: String::from_utf8(output.stdout).unwrap(),
        messages: String::from_utf8(output.stderr).unwrap(),
    }
}

/// The user and group `nobody` and `nogroup`.
const NOBODY: u32 = 65534;
