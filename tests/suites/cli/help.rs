//! The help of each command is a file in `help/`; UPDATE_GOLDEN=1 writes them anew.

use std::{collections::BTreeSet, env, fs, path::Path};

use clap::CommandFactory;
use sixgate::cli::Cli;

use crate::installation::{command, ran};

#[test]
fn the_definition_of_the_commands_is_sound() {
    Cli::command().debug_assert();
}

#[test]
fn the_help_of_each_command_is_its_file() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("suites/cli/help");
    let mut commands = Vec::new();
    collect(&Cli::command(), &mut Vec::new(), &mut commands);
    let mut wrong = Vec::new();
    let mut files = BTreeSet::new();
    for words in commands {
        let ran = ran(command().args(&words).arg("--help").output().unwrap());
        assert_eq!(ran.code, Some(0), "{words:?}");
        // clap leaves blanks on otherwise empty lines
        let help: String = ran.data.lines().map(|line| format!("{}\n", line.trim_end())).collect();
        let file = format!("{}.txt", if words.is_empty() { "sixgate".to_owned() } else { words.join("_") });
        let golden = folder.join(&file);
        if env::var_os("UPDATE_GOLDEN").is_some() {
            fs::write(&golden, &help).unwrap();
        }
        if fs::read_to_string(&golden).ok().as_ref() != Some(&help) {
            wrong.push(format!("--- {file} is not\n{help}"));
        }
        files.insert(file);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    let entries = fs::read_dir(&folder).unwrap();
    let found = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    assert_eq!(files, found, "files without a command, or commands without a file");
}

fn collect(command: &clap::Command, words: &mut Vec<String>, found: &mut Vec<Vec<String>>) {
    found.push(words.clone());
    for inner in command.get_subcommands().filter(|inner| inner.get_name() != "help") {
        words.push(inner.get_name().to_owned());
        collect(inner, words, found);
        words.pop();
    }
}
