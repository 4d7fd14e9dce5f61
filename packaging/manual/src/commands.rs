//! A manual page for each command, from the definition of the command line: sixgate(8),
//! sixgate-optin(8), sixgate-optin-add(8) and so on.
//!
//! The text is that of `--help`; each page has a section with the pages around it.

use std::io;

use clap::{Command, CommandFactory as _};
use clap_mangen::{
    Man,
    roff::{Roff, bold, roman},
};
use sixgate::cli::Cli;

use crate::lines;

/// A page in roff, and the name of its file.
#[derive(Debug)]
pub(crate) struct Page {
    /// Such as `sixgate-optin.8`.
    pub(crate) name: String,
    /// The page, in roff.
    pub(crate) text: Vec<u8>,
}

/// The page of `sixgate`, and one for each command and verb.
///
/// # Errors
/// A page that cannot be rendered.
pub(crate) fn pages() -> io::Result<Vec<Page>> {
    let mut root = Cli::command().disable_help_subcommand(true).about(ABOUT);
    root.build();
    let mut pages = Vec::new();
    add(&root, None, &mut pages)?;
    Ok(pages)
}

fn add(command: &Command, above: Option<&str>, pages: &mut Vec<Page>) -> io::Result<()> {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name());
    pages.push(Page { name: format!("{name}.{SECTION}"), text: text(command, name, above)? });
    for below in shown(command) {
        add(below, Some(name), pages)?;
    }
    Ok(())
}

fn text(command: &Command, name: &str, above: Option<&str>) -> io::Result<Vec<u8>> {
    let source = format!("sixgate {}", env!("CARGO_PKG_VERSION"));
    let man = Man::new(command.clone()).section(SECTION).source(source).manual(MANUAL);
    let mut page = Vec::new();
    man.render_title(&mut page)?;
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_description_section(&mut page)?;
    man.render_options_section(&mut page)?;
    if shown(command).next().is_some() {
        man.render_subcommands_section(&mut page)?;
    }
    let mut end = Roff::new();
    if let Some(help) = command.get_after_long_help().or_else(|| command.get_after_help()) {
        end.control("SH", ["NOTES"]);
        lines::add(&mut end, &help.to_string());
    }
    if above.is_none() {
        files(&mut end);
    }
    see_also(&mut end, command, name, above);
    end.to_writer(&mut page)?;
    Ok(page)
}

fn files(roff: &mut Roff) {
    roff.control("SH", ["FILES"]);
    for (file, about) in FILES {
        roff.control("TP", []);
        roff.text([bold(*file)]);
        roff.text([roman(*about)]);
    }
}

fn see_also(roff: &mut Roff, command: &Command, name: &str, above: Option<&str>) {
    let below = shown(command).map(|below| format!("{name}-{}", below.get_name()));
    let mut pages: Vec<String> = above.map(str::to_owned).into_iter().chain(below).collect();
    pages.sort();
    roff.control("SH", ["SEE ALSO"]);
    let mut list = Vec::new();
    for page in pages {
        list.extend([bold(page), roman(format!("({SECTION}), "))]);
    }
    list.extend([bold("sixgate.toml"), roman("(5)")]);
    roff.text(list);
}

fn shown(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|below| !below.is_hide_set())
}

/// What `sixgate` is, without its name, which the page puts before it.
const ABOUT: &str = "a gate for mail that arrives over IPv6";
const SECTION: &str = "8";
const MANUAL: &str = "System Administration";
/// The files that an administrator looks for.
const FILES: &[(&str, &str)] = &[
    ("/etc/sixgate/sixgate.toml", "The configuration: sixgate.toml(5)."),
    ("/var/lib/sixgate/store.db", "The opt-in store, which sixgate init creates."),
    ("/sys/fs/bpf/sixgate", "The pinned maps and links of the XDP program."),
    ("/run/sixgate/control", "The socket at which commands reach the daemon."),
];

#[cfg(test)]
mod tests {
    use super::*;

    fn page<'a>(pages: &'a [Page], name: &str) -> &'a str {
        let page = pages.iter().find(|page| page.name == name);
        std::str::from_utf8(&page.unwrap_or_else(|| panic!("no page {name}")).text).unwrap()
    }

    #[test]
    fn every_command_has_a_page() {
        let pages = pages().unwrap();
        let mut wanted = vec!["sixgate.8".to_owned()];
        for command in Cli::command().get_subcommands() {
            wanted.push(format!("sixgate-{}.8", command.get_name()));
            let verbs = command.get_subcommands();
            wanted.extend(verbs.map(|verb| format!("sixgate-{}-{}.8", command.get_name(), verb.get_name())));
        }
        let names: Vec<&str> = pages.iter().map(|page| page.name.as_str()).collect();
        assert_eq!(names, wanted);
    }

    #[test]
    fn a_page_has_options_examples_and_links() {
        let pages = pages().unwrap();
        let text = page(&pages, "sixgate-optin-add.8");
        for part in [
            ".TH sixgate-optin-add 8 ",
            ".SH NAME\nsixgate\\-optin\\-add \\- Opt destinations in\n",
            "\\fB\\-\\-out\\fR",
            "Examples:\n.RS 4\n.nf\nsixgate optin add ",
            "\\fBsixgate\\-optin\\fR(8), \\fBsixgate.toml\\fR(5)",
        ] {
            assert!(text.contains(part), "{part:?} is not in:\n{text}");
        }
    }
}
