//! The licenses of the crates that the binary contains: one text with all of them, and Debian's
//! copyright file.
//!
//! It owns which licenses are permitted, and which files of a crate have their texts.

use std::{
    collections::{BTreeMap, BTreeSet},
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use spdx::{Expression, LicenseReq, Licensee, ParseMode};

use super::architecture::Architecture;
use crate::exec;

/// A crate of others in the binary.
struct Bundled {
    name: String,
    version: String,
    /// The licenses that it is used under, by their SPDX names.
    used: Vec<String>,
    holders: Vec<String>,
    /// Texts, by the file's path in the crate.
    texts: Vec<(String, String)>,
}

/// Writes `third-party-licenses.txt` and `copyright` into `folder`, for the packages of every
/// architecture.
///
/// # Errors
/// Each crate whose license is missing, not permitted, or without a text.
pub(super) fn write(folder: &Path) -> Result<()> {
    let crates = bundled()?;
    fs::write(folder.join("third-party-licenses.txt"), licenses(&crates))
        .context("cannot write target/dist/third-party-licenses.txt")?;
    fs::write(folder.join("copyright"), copyright(&crates)).context("cannot write target/dist/copyright")
}

/// The crates of others, in the order of their names.
fn bundled() -> Result<Vec<Bundled>> {
    let linked: BTreeSet<(String, String)> = ["sixgate", "sixgate-ebpf"]
        .into_iter()
        .map(linked)
        .collect::<Result<Vec<_>>>()?
        .into_iter()
        .flatten()
        .collect();
    let metadata = exec::output(exec::cargo().args(["metadata", "--locked", "--format-version", "1"]))?;
    let metadata: Value = serde_json::from_str(&metadata).context("`cargo metadata` did not print JSON")?;
    let packages = metadata["packages"].as_array().context("`cargo metadata` named no packages")?;
    let (mut crates, mut problems) = (Vec::new(), Vec::new());
    for package in packages {
        let text = |key: &str| package[key].as_str().unwrap_or_default().to_owned();
        let (name, version) = (text("name"), text("version"));
        // those without a source are our own
        if package["source"].is_null() || !linked.contains(&(name.clone(), version.clone())) {
            continue;
        }
        let manifest = PathBuf::from(text("manifest_path"));
        let folder = manifest.parent().context("a manifest without a folder")?;
        let texts = texts(folder)?;
        match used(&name, &text("license"), !texts.is_empty()) {
            Ok(used) => {
                let authors = package["authors"].as_array().into_iter().flatten();
                let authors = authors.filter_map(Value::as_str).map(str::to_owned).collect();
                let holders = holders(&name, &texts, authors);
                crates.push(Bundled { name, version, used, holders, texts });
            }
            Err(problem) => problems.push(format!("{name} {version}: {problem}")),
        }
    }
    ensure!(problems.is_empty(), "licenses of crates in the binary:\n  {}", problems.join("\n  "));
    crates.sort_by(|one, other| (&one.name, &one.version).cmp(&(&other.name, &other.version)));
    Ok(crates)
}

/// Names and versions of what is linked into the binary of `package`: not build scripts and
/// procedural macros, and what these use.
fn linked(package: &str) -> Result<Vec<(String, String)>> {
    let mut tree = exec::cargo();
    tree.args(["tree", "--locked", "--package", package, "--edges", "normal,no-proc-macro"]);
    tree.args(["--prefix", "none", "--format", "{p}"]);
    for architecture in [Architecture::Amd64, Architecture::Arm64] {
        tree.args(["--target", architecture.of_rust()]);
    }
    let lines = exec::output(&mut tree)?;
    let crates = lines.lines().filter_map(|line| {
        let (name, rest) = line.split_once(" v")?;
        Some((name.to_owned(), rest.split(' ').next()?.to_owned()))
    });
    Ok(crates.collect())
}

/// The licenses that a crate is used under, of those that it offers.
///
/// # Errors
/// A license that is not permitted, or a missing text.
fn used(name: &str, offered: &str, has_text: bool) -> Result<Vec<String>, String> {
    let expression = Expression::parse_mode(offered, ParseMode::LAX)
        .map_err(|error| format!("its license {offered:?} cannot be read: {}", error.reason))?;
    let permitted = match WITHOUT_TEXT.iter().find(|(without, _)| *without == name) {
        Some((_, license)) if !has_text => std::slice::from_ref(license),
        _ if has_text => PERMITTED,
        _ => return Err("it has no file with its license's text".to_owned()),
    };
    let licensees = permitted.iter().map(|license| Licensee::parse(license)).collect::<Result<Vec<_>, _>>();
    let licensees = licensees.map_err(|error| format!("the list of permitted licenses: {error}"))?;
    let chosen = expression
        .minimized_requirements(&licensees)
        .map_err(|_| format!("its license {offered:?} is not permitted (xtask/src/dist/licenses.rs)"))?;
    Ok(chosen.iter().map(LicenseReq::to_string).collect())
}

/// The texts in a crate's folder, and in those parts of it that are compiled.
fn texts(folder: &Path) -> Result<Vec<(String, String)>> {
    let mut found = Vec::new();
    collect(folder, folder, &mut found)?;
    found.sort();
    Ok(found)
}

fn collect(root: &Path, folder: &Path, found: &mut Vec<(String, String)>) -> Result<()> {
    let cannot_read = || format!("cannot read {}", folder.display());
    for entry in fs::read_dir(folder).with_context(cannot_read)? {
        let entry = entry.with_context(cannot_read)?;
        let (path, name) = (entry.path(), entry.file_name().to_string_lossy().to_lowercase());
        let kind = entry.file_type().with_context(cannot_read)?;
        let is_license = NAMES.iter().any(|start| name.starts_with(start));
        if kind.is_dir() {
            if folder != root || is_license || COMPILED.contains(&name.as_str()) {
                collect(root, &path, found)?;
            }
        } else if is_license && !name.ends_with(".rs") || folder.ends_with("LICENSES") {
            let text = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let shown = path.strip_prefix(root).unwrap_or(&path).display().to_string();
            found.push((shown, String::from_utf8_lossy(&text).into_owned()));
        }
    }
    Ok(())
}

/// The holders of the copyright: as the texts name them, or the authors.
fn holders(name: &str, texts: &[(String, String)], authors: Vec<String>) -> Vec<String> {
    let mut holders = BTreeSet::new();
    for line in texts.iter().flat_map(|(_, text)| text.lines()) {
        let line = line.trim().trim_start_matches(['*', '/', '#', ' ']);
        let Some(rest) = line.strip_prefix("Copyright ") else { continue };
        let holder =
            ["(c)", "(C)", "©"].iter().fold(rest.trim(), |rest, sign| rest.trim_start_matches(sign).trim());
        // a sentence of the license, or the example at the end of the Apache license
        let is_notice = rest != holder || rest.starts_with(|first: char| first.is_ascii_digit());
        if is_notice && holder.contains(char::is_alphabetic) && !holder.contains("yyyy") {
            holders.insert(holder.to_owned());
        }
    }
    match (holders.is_empty(), authors.is_empty()) {
        (false, _) => holders.into_iter().collect(),
        (true, false) => authors,
        (true, true) => vec![format!("The authors of {name}")],
    }
}

/// All texts, each once.
fn licenses(crates: &[Bundled]) -> String {
    let mut written = String::from(HEAD);
    for one in crates {
        written.push_str(&format!("  {} {}: {}\n", one.name, one.version, one.used.join(" and ")));
    }
    let mut texts: BTreeMap<String, (Vec<String>, &str)> = BTreeMap::new();
    for one in crates {
        for (file, text) in &one.texts {
            let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
            let (places, _) = texts.entry(words).or_insert_with(|| (Vec::new(), text));
            places.push(format!("{} {}, {file}", one.name, one.version));
        }
    }
    let mut texts: Vec<_> = texts.into_values().collect();
    texts.sort();
    for (files, text) in texts {
        written.push_str(&format!(
            "\n{}\n\n  {}\n\n{}\n",
            "=".repeat(80),
            files.join("\n  "),
            text.trim_end()
        ));
    }
    written
}

/// Debian's copyright file: ours, then a paragraph for each crate, then one for each license that
/// ours does not have.
fn copyright(crates: &[Bundled]) -> String {
    let mut written = OWN_COPYRIGHT.trim_end().to_owned();
    written.push('\n');
    let mut licenses = BTreeSet::new();
    for one in crates {
        let used: Vec<_> = one.used.iter().map(|license| of_debian(license)).collect();
        written.push_str(&format!(
            "\nFiles: vendor/{}-{}/*\nCopyright: {}\nLicense: {}\n",
            one.name,
            one.version,
            one.holders.join("\n "),
            used.join(" and ")
        ));
        licenses.extend(used);
    }
    for license in licenses.into_iter().filter(|license| !OWN.contains(license)) {
        written.push_str(&format!("\nLicense: {license}\n{SEE}\n"));
    }
    written
}

/// The name of a license in Debian's copyright files.
fn of_debian(license: &str) -> &str {
    match license {
        "MIT" => "Expat",
        other => other,
    }
}

/// Licenses of crates in the binary, the preferred ones first: each lets it be given away without
/// its source, with the text of the license.
const PERMITTED: &[&str] = &[
    "MIT",
    "Apache-2.0",
    "ISC",
    "BSD-2-Clause",
    "BSD-3-Clause",
    "Unicode-3.0",
    "Zlib",
    "0BSD",
    "BSL-1.0",
    "Unlicense",
];
/// Crates without a file of their license, and the one that they are used under: its text is
/// LICENSE-APACHE, which asks for no notice of each author.
const WITHOUT_TEXT: &[(&str, &str)] =
    &[("aya-ebpf", "Apache-2.0"), ("aya-ebpf-bindings", "Apache-2.0"), ("maud", "Apache-2.0")];
/// How the names of files and folders with licenses begin, in lower case.
const NAMES: &[&str] = &["license", "licence", "copying", "copyright", "notice", "unlicense"];
/// Folders of a crate whose parts may have licenses of their own. Others have tests and examples.
const COMPILED: &[&str] = &["src", "third_party"];

const OWN_COPYRIGHT: &str = include_str!("../../../packaging/deb/copyright");
/// The licenses whose paragraphs are in it.
const OWN: &[&str] = &["Expat", "Apache-2.0"];
const SEE: &str = " The text, with the notices of each crate, is in
 /usr/share/doc/sixgate/third-party-licenses.txt.";
const HEAD: &str = "\
Licenses of what the binary sixgate contains beside its own code, which is under MIT or Apache-2.0.

SQLite (https://sqlite.org/copyright.html) is in the public domain. Rust's standard library is by
the Rust Project Developers, under Apache-2.0 or MIT, with tables under Unicode-3.0; its release has
COPYRIGHT-library.html, which names its parts.

The crates, and the licenses under which they are used. The texts follow, each with the files that
have it.

";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_crate_is_used_under_a_permitted_license_that_it_offers() {
        assert_eq!(used("a", "Apache-2.0/MIT", true), Ok(vec!["MIT".to_owned()]));
        assert_eq!(
            used("a", "(Apache-2.0 OR MIT) AND Unicode-3.0", true),
            Ok(vec!["MIT".to_owned(), "Unicode-3.0".to_owned()])
        );
        assert_eq!(used("a", "GPL-3.0-only OR ISC", true), Ok(vec!["ISC".to_owned()]));
    }

    #[test]
    fn a_license_that_is_not_permitted_or_has_no_text_is_an_error() {
        for offered in ["GPL-3.0-only", "MIT AND MPL-2.0", "", "of our own"] {
            assert!(used("a", offered, true).is_err(), "{offered}");
        }
        assert!(used("a", "MIT", false).is_err());
    }

    #[test]
    fn a_crate_without_a_text_may_be_excepted_by_name() {
        assert_eq!(used("maud", "MIT OR Apache-2.0", false), Ok(vec!["Apache-2.0".to_owned()]));
        assert!(used("maud", "MIT", false).is_err());
    }

    #[test]
    fn holders_are_read_from_the_notices() {
        let text =
            "Copyright (c) 2015 One\nCopyright 2016, Two\nCopyright [yyyy] [name]\nCopyright notices stay";
        let texts = [("LICENSE".to_owned(), text.to_owned())];
        assert_eq!(holders("a", &texts, Vec::new()), ["2015 One", "2016, Two"]);
        assert_eq!(holders("a", &[], vec!["Three".to_owned()]), ["Three"]);
        assert_eq!(holders("a", &[], Vec::new()), ["The authors of a"]);
    }
}
