//! Configurations: every one in `bad/` is refused for the reason in its file `expected`, with its
//! line; every one in `good/` and the shipped one are taken.
//!
//! UPDATE_GOLDEN=1 writes the files `expected` anew. Other suites test the effect of the settings.

use std::{
    env, fs,
    path::{Path, PathBuf},
};

use sixgate::config::Config;

#[test]
fn every_bad_configuration_is_refused_for_its_reason() {
    let mut wrong = Vec::new();
    for directory in entries("bad") {
        let file = directory.join("sixgate.toml");
        let error = match Config::load(&file) {
            Ok(_) => "taken".to_owned(),
            Err(error) => error.to_string(),
        };
        let found = error.replace(&format!("{}/", directory.display()), "") + "\n";
        let golden = directory.join("expected");
        if env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&golden, &found).expect("the folder can be written to");
        }
        let expected = fs::read_to_string(&golden).unwrap_or_default();
        if found == "taken\n" || found != expected {
            wrong.push(format!("{}\n  expected: {expected}  found:    {found}", directory.display()));
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn every_good_configuration_is_taken() {
    for file in entries("good") {
        if let Err(error) = Config::load(&file) {
            panic!("{error}");
        }
    }
}

#[test]
fn the_shipped_configuration_is_taken() {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/sixgate.toml");
    assert!(Config::load(&file).is_ok());
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let error = Config::load(Path::new("/nonexistent/sixgate.toml")).unwrap_err();
    assert_eq!(
        error.to_string(),
        "there is no configuration /nonexistent/sixgate.toml; `sixgate init --next-hop smtp://[::1]:10025` makes one, or \
         --config names another file"
    );
    let error = Config::load(Path::new("/")).unwrap_err();
    assert_eq!(error.to_string(), "cannot read the configuration /");
}

fn entries(kind: &str) -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("suites/configs").join(kind);
    let mut entries: Vec<PathBuf> =
        fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    entries.sort();
    assert!(!entries.is_empty(), "nothing in {}", folder.display());
    entries
}
