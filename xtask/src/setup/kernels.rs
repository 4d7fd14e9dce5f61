//! Debian's kernels for virtual machines: fetched with apt, unpacked below target/vm/kernels, never
//! installed.
//!
//! It owns the suites and the names of the packages, and apt's state for them: the machine's own
//! lists and sources stay as they are. It boots nothing.

use std::{
    cmp::Ordering,
    fmt, fs,
    path::{Path, PathBuf},
    process::Command,
    str::FromStr,
};

use anyhow::{Context as _, Result, bail, ensure};

use super::{SetupStep, debian, perform};
use crate::exec;

/// A series of kernels, such as 6.1, or 6.12-rt for those with PREEMPT_RT.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(crate) struct Series {
    version: String,
    real_time: bool,
}

impl FromStr for Series {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (version, real_time) = text.strip_suffix("-rt").map_or((text, false), |version| (version, true));
        let numbers: Vec<&str> = version.split('.').collect();
        let is_number = |part: &&str| !part.is_empty() && part.bytes().all(|octet| octet.is_ascii_digit());
        if numbers.len() != 2 || !numbers.iter().all(is_number) {
            return Err("a series is two numbers, such as 6.1, or 6.1-rt for PREEMPT_RT".to_owned());
        }
        Ok(Self { version: version.to_owned(), real_time })
    }
}

impl fmt::Display for Series {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.version, if self.real_time { "-rt" } else { "" })
    }
}

/// An unpacked kernel.
#[derive(Clone, Debug)]
pub(crate) struct Kernel {
    pub(crate) series: Series,
    /// As `uname -r` prints it.
    pub(crate) release: String,
    pub(crate) image: PathBuf,
    /// Its folder below lib/modules.
    pub(crate) modules: PathBuf,
}

/// The newest kernel of each of `series`; what is missing is fetched.
pub(crate) fn kernels(series: &[Series]) -> Result<Vec<Kernel>> {
    let missing: Vec<&Series> = series.iter().filter(|series| !folder(series).is_dir()).collect();
    if !missing.is_empty() {
        let archive = Archive::open()?;
        let steps =
            missing.iter().map(|series| archive.unpack(series)).collect::<Result<Vec<SetupStep>>>()?;
        perform(steps)?;
    }
    series.iter().map(unpacked).collect()
}

fn root() -> PathBuf {
    exec::target().join("vm")
}

fn folder(series: &Series) -> PathBuf {
    root().join("kernels").join(series.to_string())
}

/// The kernel in the folder of `series`.
fn unpacked(series: &Series) -> Result<Kernel> {
    let folder = folder(series);
    let broken = || format!("{} has no whole kernel: remove it, it is fetched again", folder.display());
    let modules = ["usr/lib/modules", "lib/modules"]
        .iter()
        .filter_map(|place| only_entry(&folder.join(place)))
        .next()
        .with_context(broken)?;
    let release = modules.file_name().unwrap_or_default().to_string_lossy().into_owned();
    // newer packages have the image beside the modules
    let images = [folder.join("boot").join(format!("vmlinuz-{release}")), modules.join("vmlinuz")];
    let image = images.into_iter().find(|image| image.is_file()).with_context(broken)?;
    Ok(Kernel { series: series.clone(), release, image, modules })
}

fn only_entry(folder: &Path) -> Option<PathBuf> {
    Some(fs::read_dir(folder).ok()?.next()?.ok()?.path())
}

/// Debian's archive, seen through lists of our own.
struct Archive {
    state: PathBuf,
}

impl Archive {
    /// Brings the lists up to date if they are old.
    fn open() -> Result<Self> {
        let state = root().join("apt");
        let archive = Self { state };
        let marker = archive.state.join("updated");
        if debian::is_recent(&marker) {
            return Ok(archive);
        }
        for folder in ["lists/partial", "archives/partial"] {
            let folder = archive.state.join(folder);
            fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
        }
        let list = archive.state.join("sources.list");
        fs::write(&list, sources()?).with_context(|| format!("cannot write {}", list.display()))?;
        perform(vec![SetupStep {
            what: "package lists below target/vm/apt".to_owned(),
            why: "which kernels Debian has; the machine's own lists stay as they are",
            needs_root: false,
            commands: vec![archive.command("apt-get", &["--quiet", "--quiet", "update"])],
        }])?;
        fs::write(&marker, "").with_context(|| format!("cannot write {}", marker.display()))?;
        Ok(archive)
    }

    /// `program` of apt with our lists and sources.
    fn command(&self, program: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(program);
        let state = self.state.display();
        for option in [
            format!("Dir::State::Lists={state}/lists"),
            format!("Dir::Cache={state}"),
            format!("Dir::Etc::SourceList={state}/sources.list"),
            "Dir::Etc::SourceParts=/dev/null".to_owned(),
            "APT::Sandbox::User=root".to_owned(),
            "Acquire::Languages=none".to_owned(),
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false".to_owned(),
        ] {
            command.arg("-o").arg(option);
        }
        command.args(arguments);
        command
    }

    /// The step that unpacks the newest kernel of `series`.
    fn unpack(&self, series: &Series) -> Result<SetupStep> {
        let names = exec::output(&mut self.command("apt-cache", &["pkgnames", "linux-"]))?;
        let packages = packages(series, &names)?;
        let (folder, download) = (folder(series), root().join("kernels").join(format!("{series}.download")));
        let tree = download.join("root");
        let mut make = Command::new("mkdir");
        make.arg("--parents").arg(&tree);
        // apt-get downloads into the working directory, which a pasted command has to know too
        let fetching = self.command("apt-get", &["--quiet", "--quiet", "download"]);
        let mut fetch = Command::new("env");
        fetch.arg("--chdir").arg(&download).arg(fetching.get_program()).args(fetching.get_args());
        fetch.args(&packages);
        let mut extract = Command::new("find");
        extract.arg(&download).args(["-maxdepth", "1", "-name", "*.deb"]);
        extract.args(["-exec", "dpkg-deb", "--extract", "{}"]).arg(&tree).arg(";");
        let mut rename = Command::new("mv");
        rename.arg(&tree).arg(&folder);
        let mut remove = Command::new("rm");
        remove.arg("--recursive").arg(&download);
        Ok(SetupStep {
            what: format!("Linux {series} ({}) below target/vm/kernels, not installed", packages.join(" ")),
            why: "boots in a virtual machine",
            needs_root: false,
            commands: vec![make, fetch, extract, rename, remove],
        })
    }
}

/// The suites that have the kernels, from the archive that this machine uses.
fn sources() -> Result<String> {
    let mut targets = Command::new("apt-get");
    targets.args(["indextargets", "--format", "$(REPO_URI)", "Created-By: Packages"]);
    let uris = exec::output(&mut targets)?;
    let uri = uris.lines().find(|uri| uri.trim_end_matches('/').ends_with("/debian")).context(
        "apt has no source of Debian's archive (an address that ends in /debian), where the kernels are",
    )?;
    let lines = SUITES.iter().map(|suite| format!("deb [signed-by={KEYRING}] {uri} {suite} main\n"));
    Ok(lines.collect())
}

/// The packages with image and modules of the newest kernel of `series`, out of all `names`.
fn packages(series: &Series, names: &str) -> Result<Vec<String>> {
    let versions: Vec<&str> = names.lines().filter_map(|name| version(name, series.real_time)).collect();
    let start = format!("{}.", series.version);
    let newest = versions.iter().filter(|version| version.starts_with(&start)).max_by(|a, b| order(a, b));
    let Some(newest) = newest else {
        let mut others: Vec<String> = versions.iter().filter_map(|version| two_numbers(version)).collect();
        others.sort_by(|a, b| order(a, b));
        others.dedup();
        let suites = SUITES.join(", ");
        bail!("no package of Linux {series} in Debian's suites {suites}; they have {}", others.join(", "));
    };
    let flavour = if series.real_time { "rt-amd64" } else { "amd64" };
    // since 7.2 the first depends on the two others and has nothing in it
    let parts = ["image", "binary", "modules"].map(|part| format!("linux-{part}-{newest}-{flavour}"));
    let known: Vec<String> = parts.into_iter().filter(|name| names.lines().any(|it| it == name)).collect();
    ensure!(!known.is_empty(), "no package of Linux {newest}");
    Ok(known)
}

/// The version in the name of a package with a kernel's image: of one for servers and PCs, not of a
/// cloud's.
fn version(package: &str, real_time: bool) -> Option<&str> {
    let version = package.strip_prefix("linux-image-")?.strip_suffix("-amd64")?;
    let version = if real_time { version.strip_suffix("-rt")? } else { version };
    let is_plain = version.split(['.', '-', '+']).all(|part| {
        part.starts_with("deb") || !part.is_empty() && part.bytes().all(|octet| octet.is_ascii_digit())
    });
    (is_plain && version.contains('.')).then_some(version)
}

fn two_numbers(version: &str) -> Option<String> {
    let mut parts = version.split('.');
    Some(format!("{}.{}", parts.next()?, parts.next()?))
}

/// By the numbers in them.
fn order(one: &str, other: &str) -> Ordering {
    let numbers = |text: &str| -> Vec<u32> {
        text.split(|letter: char| !letter.is_ascii_digit()).filter_map(|part| part.parse().ok()).collect()
    };
    numbers(one).cmp(&numbers(other))
}

/// Debian 12, 13 and what is backported to it.
const SUITES: &[&str] = &["bookworm", "trixie", "trixie-backports"];
const KEYRING: &str = "/usr/share/keyrings/debian-archive-keyring.gpg";

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: &str = "linux-image-amd64\nlinux-image-6.1.0-47-amd64\nlinux-image-6.1.0-50-amd64\n\
        linux-image-6.1.0-50-amd64-dbg\nlinux-image-6.1.0-51-amd64-unsigned\nlinux-image-6.1.0-52-cloud-amd64\n\
        linux-image-6.1.0-49-rt-amd64\nlinux-image-6.12.9+deb13-amd64\nlinux-image-6.12.107+deb13-amd64\n\
        linux-image-7.2.9+deb13-amd64\nlinux-binary-7.2.9+deb13-amd64\nlinux-modules-7.2.9+deb13-amd64\n";

    #[test]
    fn the_newest_kernel_of_a_series_is_chosen() {
        for (series, wanted) in [
            ("6.1", vec!["linux-image-6.1.0-50-amd64"]),
            ("6.1-rt", vec!["linux-image-6.1.0-49-rt-amd64"]),
            ("6.12", vec!["linux-image-6.12.107+deb13-amd64"]),
            (
                "7.2",
                vec![
                    "linux-image-7.2.9+deb13-amd64",
                    "linux-binary-7.2.9+deb13-amd64",
                    "linux-modules-7.2.9+deb13-amd64",
                ],
            ),
        ] {
            assert_eq!(packages(&series.parse().unwrap(), NAMES).unwrap(), wanted, "{series}");
        }
    }

    #[test]
    fn a_series_that_debian_lacks_is_named_with_those_that_it_has() {
        let error = packages(&"6.6".parse().unwrap(), NAMES).unwrap_err().to_string();
        assert!(error.starts_with("no package of Linux 6.6 in Debian's suites"), "{error}");
        assert!(error.ends_with("they have 6.1, 6.12, 7.2"), "{error}");
    }

    #[test]
    fn what_is_not_a_series_is_refused() {
        for text in ["6", "6.1.0", "six.one", "6.1-cloud", "", "6."] {
            assert!(text.parse::<Series>().is_err(), "{text}");
        }
    }
}
