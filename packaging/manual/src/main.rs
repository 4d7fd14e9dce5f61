//! `manual DIRECTORY`: writes sixgate's manual pages to `DIRECTORY/man`, and the completions of
//! shells to `DIRECTORY/completions`.
//!
//! It owns their names. The pages of commands are `commands`', that of the configuration is
//! `settings`'.

mod commands;
mod lines;
mod settings;

use std::{
    fs,
    path::{Path, PathBuf},
    process::ExitCode,
};

use anyhow::{Context as _, Result};
use clap::{CommandFactory as _, Parser};
use clap_complete::Shell;
use sixgate::cli::Cli;

/// Writes sixgate's manual pages and completions
#[derive(Parser)]
#[command(name = "manual")]
struct ManualOptions {
    /// The directory for them; it is made
    directory: PathBuf,
}

fn main() -> ExitCode {
    match write(&ManualOptions::parse().directory) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("manual: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn write(directory: &Path) -> Result<()> {
    let man = made(&directory.join("man"))?;
    for page in commands::pages().context("cannot render the pages of the commands")? {
        save(&man.join(&page.name), &page.text)?;
    }
    save(&man.join("sixgate.toml.5"), settings::page(SETTINGS).as_bytes())?;
    let completions = made(&directory.join("completions"))?;
    for (shell, name) in SHELLS {
        let mut text = Vec::new();
        clap_complete::generate(*shell, &mut Cli::command(), PROGRAM, &mut text);
        save(&completions.join(name), &text)?;
    }
    Ok(())
}

fn made(directory: &Path) -> Result<PathBuf> {
    fs::create_dir_all(directory).with_context(|| format!("cannot make {}", directory.display()))?;
    Ok(directory.to_owned())
}

fn save(path: &Path, text: &[u8]) -> Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

const PROGRAM: &str = "sixgate";
/// The configuration that packages install, with a comment for each key.
const SETTINGS: &str = include_str!("../../sixgate.toml");
/// The shells, and the names under which they look for a completion of `sixgate`.
const SHELLS: &[(Shell, &str)] =
    &[(Shell::Bash, "sixgate"), (Shell::Zsh, "_sixgate"), (Shell::Fish, "sixgate.fish")];
