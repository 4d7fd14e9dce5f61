//! The restrictions from inside, in a thread of its own each: files elsewhere, system calls that
//! are refused, and the reload that would need more.
//!
//! The daemon under them is tried in suite `session`.

use std::{fs, io::ErrorKind, os::unix::fs::symlink, path::Path, process::Command, thread};

use nix::{errno::Errno, sched};

use super::{
    OutsideSandbox,
    files::{FilesError, Reach},
    system_calls::{self, Bpf},
};
use crate::config::Config;

/// A configuration whose files are below `folder`.
fn config(folder: &Path, more: &str) -> Config {
    let state = folder.join("state");
    fs::create_dir_all(&state).unwrap();
    fs::create_dir_all(folder.join("etc")).unwrap();
    let text = format!(
        "hostname = \"gate.example\"\nstore = \"{0}/store.db\"\ncontrol_socket = \"{0}/control\"\n\
         temporary_directory = \"{0}\"\n{more}",
        state.display()
    );
    Config::parse(&text, &folder.join("etc/sixgate.toml")).unwrap()
}

/// A thread can give up more than its process.
fn apart(work: impl FnOnce() + Send + 'static) {
    thread::spawn(work).join().unwrap();
}

#[test]
fn a_restricted_thread_uses_the_files_of_its_configuration_alone() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().to_owned();
    apart(move || {
        let (maildir, file) = (at.join("mail/Maildir"), at.join("etc/sixgate.toml"));
        fs::create_dir(at.join("mail")).unwrap();
        let config = config(&at, &format!("next_hop.maildir = {maildir:?}"));
        fs::write(&file, "").unwrap();
        match Reach::restrict(&config, true) {
            Err(FilesError::Missing) => return eprintln!("skipped: no Landlock"),
            restricted => drop(restricted.unwrap()),
        }
        // written by renaming, also between directories, which are made
        let state = at.join("state");
        for directory in [&maildir, &maildir.join("tmp"), &maildir.join("new")] {
            fs::create_dir(directory).unwrap();
        }
        fs::write(state.join("store.db.new"), "1").unwrap();
        fs::rename(state.join("store.db.new"), state.join("store.db")).unwrap();
        fs::write(maildir.join("tmp/1"), "message").unwrap();
        fs::hard_link(maildir.join("tmp/1"), maildir.join("new/1")).unwrap();
        fs::remove_file(maildir.join("tmp/1")).unwrap();
        // read
        for path in [&file, Path::new("/proc/self/status"), Path::new("/etc/passwd")] {
            fs::read(path).unwrap();
        }
        // neither
        for path in [file, at.join("other"), "/etc/sixgate-test".into(), "/dev/null".into()] {
            let error = fs::write(&path, "").unwrap_err();
            assert_eq!(error.kind(), ErrorKind::PermissionDenied, "{}", path.display());
        }
        for path in ["/", "/dev", "/root"] {
            assert_eq!(fs::read_dir(path).unwrap_err().kind(), ErrorKind::PermissionDenied, "{path}");
        }
        let error = Command::new("/bin/true").status().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::PermissionDenied);
    });
}

#[test]
fn another_file_of_the_next_configuration_is_refused_by_its_setting() {
    let folder = tempfile::tempdir().unwrap();
    let elsewhere = tempfile::tempdir_in("/dev/shm").unwrap();
    let (at, away) = (folder.path(), elsewhere.path());
    let reach = Reach::of(&config(at, ""), true);
    let tls = |key: &Path| format!("tls = {{ certificate = \"/etc/ssl/a.pem\", key = {key:?} }}");
    symlink(away.join("key.pem"), at.join("etc/link.pem")).unwrap();
    fs::write(away.join("key.pem"), "").unwrap();
    for (setting, path, text) in [
        ("", "".into(), tls(Path::new("/nowhere/privkey.pem"))),
        ("", "".into(), tls(Path::new("/etc/letsencrypt/live/gate.example/privkey.pem"))),
        ("", "".into(), format!("metrics.file = {:?}", at.join("state/metrics"))),
        ("", "".into(), "http.listen = \"[::1]:9625\"\nnext_hop.smtp = \"unix:/run/mail\"".to_owned()),
        ("tls.key", away.join("key.pem"), tls(&away.join("key.pem"))),
        ("tls.key", at.join("etc/link.pem"), tls(&at.join("etc/link.pem"))),
        ("metrics.file", at.join("etc/metrics"), format!("metrics.file = {:?}", at.join("etc/metrics"))),
        ("next_hop.maildir", away.join("a/b"), format!("next_hop.maildir = {:?}", away.join("a/b"))),
    ] {
        let outcome = reach.check(&config(at, &text));
        let wanted = if setting.is_empty() { Ok(()) } else { Err(OutsideSandbox { setting, path }) };
        assert_eq!(outcome, wanted, "{text}");
    }
}

#[test]
fn system_calls_that_serve_no_mail_are_refused() {
    for bpf in [Bpf::Unused, Bpf::Maps, Bpf::Attaching] {
        apart(move || {
            sched::unshare(sched::CloneFlags::empty()).unwrap();
            system_calls::restrict(bpf).unwrap();
            assert_eq!(sched::unshare(sched::CloneFlags::empty()), Err(Errno::EPERM));
            let error = Command::new("/bin/true").status().unwrap_err();
            assert_eq!(error.raw_os_error(), Some(Errno::EPERM as i32));
            // threads can still be made, and inherit it
            apart(|| assert_eq!(sched::unshare(sched::CloneFlags::empty()), Err(Errno::EPERM)));
        });
    }
}
