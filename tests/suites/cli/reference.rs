//! docs/reference.md: its tables of commands and settings are those of the command line and of the
//! packaged configuration; UPDATE_GOLDEN=1 writes them anew.

use std::{env, fmt::Write as _, fs, path::Path};

use clap::CommandFactory as _;
use sixgate::cli::Cli;

#[test]
fn the_reference_has_each_command_and_each_setting() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let file = root.join("docs/reference.md");
    let old = fs::read_to_string(&file).unwrap();
    let configuration = fs::read_to_string(root.join("packaging/sixgate.toml")).unwrap();
    let new = with_table(&old, "commands", &commands());
    let new = with_table(&new, "settings", &settings(&configuration));
    if env::var_os("UPDATE_GOLDEN").is_some() {
        fs::write(&file, &new).unwrap();
    }
    assert!(
        fs::read_to_string(&file).unwrap() == new,
        "docs/reference.md is stale: UPDATE_GOLDEN=1 cargo test -p sixgate-tests --test cli reference::\n{new}"
    );
}

/// `document`, whose lines between the marks of `name` are `table`.
fn with_table(document: &str, name: &str, table: &str) -> String {
    let (begin, end) = (format!("<!-- {name} -->\n"), format!("<!-- end of {name} -->\n"));
    let (before, rest) = document.split_once(&begin).unwrap_or_else(|| panic!("no {begin}"));
    let (_, after) = rest.split_once(&end).unwrap_or_else(|| panic!("no {end}"));
    format!("{before}{begin}\n{table}\n{end}{after}")
}

/// Each command that does something, its manual page, and what it is for.
fn commands() -> String {
    let mut root = Cli::command().disable_help_subcommand(true);
    root.build();
    let mut table = "| command | manual page | what it does |\n|---|---|---|\n".to_owned();
    add(&root, &mut table);
    table
}

fn add(command: &clap::Command, table: &mut String) {
    let below: Vec<_> = command.get_subcommands().filter(|below| !below.is_hide_set()).collect();
    if below.is_empty() || !command.is_subcommand_required_set() && command.get_name() != "sixgate" {
        let name = command.get_display_name().unwrap_or_else(|| command.get_name());
        let about = command.get_about().map(ToString::to_string).unwrap_or_default();
        let words = command.get_bin_name().unwrap_or(name);
        writeln!(table, "| `{words}` | {name}(8) | {about} |").unwrap();
    }
    below.into_iter().for_each(|below| add(below, table));
}

/// Each setting with its default, or the example that stands there as a comment.
fn settings(configuration: &str) -> String {
    let mut table = "| setting | in the packaged file |\n|---|---|\n".to_owned();
    let mut section = String::new();
    for line in configuration.lines() {
        let text = line.trim_start_matches('#').trim();
        if let Some(name) = text.strip_prefix('[').and_then(|name| name.strip_suffix(']')) {
            section = format!("{}.", name.trim_matches(['[', ']']));
            continue;
        }
        let Some((name, value)) = text.split_once(" = ") else { continue };
        if name.bytes().all(|octet| octet.is_ascii_lowercase() || octet.is_ascii_digit() || octet == b'_') {
            let commented = if line.starts_with('#') { " (a comment)" } else { "" };
            let value = value.split(" #").next().unwrap_or(value).trim();
            writeln!(table, "| `{section}{name}` | `{value}`{commented} |").unwrap();
        }
    }
    table
}
