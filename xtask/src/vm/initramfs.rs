//! The content of a machine's memory when it starts: programs with their libraries, the kernel's
//! network drivers, our own binaries, the files that suites read.
//!
//! It chooses and packs; it builds nothing. Two archives stand one behind the other: the programs,
//! made anew each time, and the drivers, made once for each kernel. Neither is compressed: an
//! emulated processor would take longer to unpack it than the host takes to copy it.

use std::{
    collections::BTreeSet,
    ffi::OsString,
    fs::{self, File},
    io::Write as _,
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use anyhow::{Context as _, Result, ensure};

use crate::{exec, setup::kernels::Kernel};

/// A program that goes into the machine.
pub(super) struct Program {
    pub(super) path: PathBuf,
    /// Its name in /usr/bin of the machine.
    pub(super) name: &'static str,
}

/// Packs `binaries` of ours and what they need around them.
pub(super) fn pack_programs(folder: &Path, binaries: &[Program]) -> Result<PathBuf> {
    let root = folder.join("programs");
    make_empty(&root)?;
    for place in FOLDERS {
        make(&root.join(place))?;
    }
    copy(&find("busybox")?, &root.join("bin/busybox"))?;
    // the kernel starts this one when a module is missing
    std::os::unix::fs::symlink("/bin/busybox", root.join("sbin/modprobe")).context("cannot link modprobe")?;
    let mut libraries = BTreeSet::new();
    for name in TOOLS {
        let path = find(name)?;
        libraries.extend(libraries_of(&path)?);
        copy(&path, &root.join("usr/bin").join(name))?;
    }
    for Program { path, name } in binaries {
        libraries.extend(libraries_of(path)?);
        let mut strip = Command::new("strip");
        strip.arg("-o").arg(root.join("usr/bin").join(name)).arg(path);
        exec::output(&mut strip)?;
    }
    for library in &libraries {
        copy(library, &inside(&root, library))?;
    }
    let scripts = exec::root().join(SCRIPTS);
    // where the suites were built to look for them
    copy_folder(&scripts, &inside(&root, &scripts))?;
    let init = root.join("init");
    fs::write(&init, INIT).with_context(|| format!("cannot write {}", init.display()))?;
    exec::output(Command::new("chmod").arg("755").arg(&init))?;
    pack(&root, &folder.join("programs.cpio"))
}

/// Packs the network drivers of `kernel`, unless that was done before.
pub(super) fn pack_modules(folder: &Path, kernel: &Kernel) -> Result<PathBuf> {
    let archive = folder.join(format!("modules-{}.cpio", kernel.release));
    if archive.is_file() {
        return Ok(archive);
    }
    let root = folder.join(format!("modules-{}", kernel.release));
    make_empty(&root)?;
    let to = root.join("lib/modules").join(&kernel.release);
    copy_modules(&kernel.modules, &kernel.modules.join("kernel"), &to)?;
    // what depmod reads; not every package has each of them
    for list in ["modules.order", "modules.builtin", "modules.builtin.modinfo"] {
        let file = kernel.modules.join(list);
        if file.is_file() {
            copy(&file, &to.join(list))?;
        }
    }
    unpack_modules(&to)?;
    exec::output(Command::new(find("depmod")?).arg("-b").arg(&root).arg(&kernel.release))?;
    // whole or absent: a broken one would be taken for a good one the next time
    let packed = pack(&root, &archive.with_extension("new"))?;
    fs::rename(&packed, &archive).with_context(|| format!("cannot rename {}", packed.display()))?;
    fs::remove_dir_all(&root).with_context(|| format!("cannot remove {}", root.display()))?;
    Ok(archive)
}

/// One archive behind the other, as the kernel takes them.
pub(super) fn join(parts: &[&Path], whole: &Path) -> Result<()> {
    let failed = || format!("cannot write {}", whole.display());
    let mut file = File::create(whole).with_context(failed)?;
    for part in parts {
        let mut part = File::open(part).with_context(|| format!("cannot open {}", part.display()))?;
        std::io::copy(&mut part, &mut file).with_context(failed)?;
    }
    Ok(())
}

/// Copies what is below `from`, a part of `modules`, and is of use in a machine.
fn copy_modules(modules: &Path, from: &Path, to: &Path) -> Result<()> {
    for entry in entries(from)? {
        if entry.is_dir() {
            copy_modules(modules, &entry, to)?;
            continue;
        }
        let relative = entry.strip_prefix(modules).unwrap_or(&entry);
        let name = relative.to_string_lossy();
        if MODULES.iter().any(|part| name.contains(part)) {
            copy(&entry, &to.join(relative))?;
        }
    }
    Ok(())
}

/// busybox loads modules as they are.
fn unpack_modules(folder: &Path) -> Result<()> {
    let (mut xz, mut zstd) = (Vec::new(), Vec::new());
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in entries(&folder)? {
            match entry.extension().and_then(|end| end.to_str()) {
                _ if entry.is_dir() => folders.push(entry),
                Some("xz") => xz.push(entry),
                Some("zst") => zstd.push(entry),
                _ => {}
            }
        }
    }
    if !xz.is_empty() {
        exec::output(Command::new("xz").arg("--decompress").args(&xz))?;
    }
    if !zstd.is_empty() {
        exec::output(Command::new("zstd").args(["--decompress", "--quiet", "--rm"]).args(&zstd))?;
    }
    Ok(())
}

/// Makes an archive of all that is below `root`.
fn pack(root: &Path, archive: &Path) -> Result<PathBuf> {
    let mut names = Vec::new();
    list(root, Path::new(""), &mut names)?;
    let failed = || format!("cannot pack {}", archive.display());
    let mut cpio = Command::new("cpio");
    cpio.args(["--create", "--format=newc", "--owner=0:0", "--null", "--quiet"]).current_dir(root);
    cpio.stdin(Stdio::piped()).stdout(File::create(archive).with_context(failed)?);
    let mut cpio = cpio.spawn().with_context(failed)?;
    let mut stdin = cpio.stdin.take().with_context(failed)?;
    for name in names {
        stdin
            .write_all(name.as_encoded_bytes())
            .and_then(|()| stdin.write_all(b"\0"))
            .with_context(failed)?;
    }
    drop(stdin);
    let status = cpio.wait().with_context(failed)?;
    ensure!(status.success(), "cannot pack {}: cpio ended with {status}", archive.display());
    Ok(archive.to_owned())
}

/// Adds the names of all that is below `root`/`folder`, folders before what is in them.
fn list(root: &Path, folder: &Path, names: &mut Vec<OsString>) -> Result<()> {
    for entry in entries(&root.join(folder))? {
        let name = folder.join(entry.file_name().unwrap_or_default());
        names.push(name.clone().into_os_string());
        if entry.is_dir() && !entry.is_symlink() {
            list(root, &name, names)?;
        }
    }
    Ok(())
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let failed = || format!("cannot list {}", folder.display());
    let mut entries = Vec::new();
    for entry in fs::read_dir(folder).with_context(failed)? {
        entries.push(entry.with_context(failed)?.path());
    }
    entries.sort();
    Ok(entries)
}

/// The libraries that the dynamic linker loads for `program`, itself included.
fn libraries_of(program: &Path) -> Result<Vec<PathBuf>> {
    let text = exec::output(Command::new("ldd").arg(program))?;
    Ok(text.split_whitespace().filter(|word| word.starts_with('/')).map(PathBuf::from).collect())
}

/// `name` in PATH, or where administrators' programs are.
fn find(name: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(name))
        .find(|file| file.is_file())
        .with_context(|| format!("{name} is not installed: `cargo xtask setup vm`"))
}

fn inside(root: &Path, path: &Path) -> PathBuf {
    root.join(path.strip_prefix("/").unwrap_or(path))
}

fn make(folder: &Path) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))
}

fn make_empty(folder: &Path) -> Result<()> {
    if folder.is_dir() {
        fs::remove_dir_all(folder).with_context(|| format!("cannot remove {}", folder.display()))?;
    }
    make(folder)
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    make(to.parent().unwrap_or(to))?;
    fs::copy(from, to)
        .map(drop)
        .with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))
}

fn copy_folder(from: &Path, to: &Path) -> Result<()> {
    for entry in entries(from)? {
        let to = to.join(entry.file_name().unwrap_or_default());
        if entry.is_dir() { copy_folder(&entry, &to)? } else { copy(&entry, &to)? }
    }
    Ok(())
}

const INIT: &str = include_str!("init.sh");
/// The dialogues, which the guest reads.
const SCRIPTS: &str = "tests/suites/dialogs";
const TOOLS: &[&str] = &["ip", "bridge", "ethtool", "bpftool"];
const FOLDERS: &[&str] =
    &["bin", "sbin", "usr/bin", "proc", "sys", "dev", "run", "tmp", "etc", "root", "var/lib", "var/tmp"];
/// Parts of paths of modules: drivers of cards and virtual interfaces, and what they depend on.
const MODULES: &[&str] = &[
    "drivers/net/veth.",
    "drivers/net/virtio_net.",
    "drivers/net/net_failover.",
    "drivers/net/dummy.",
    "drivers/net/tun.",
    "drivers/net/tap.",
    "drivers/net/bonding/",
    "drivers/net/vmxnet3/",
    "drivers/net/macvlan.",
    "drivers/net/wireguard/",
    "drivers/net/ethernet/intel/e1000e/",
    "drivers/virtio/",
    "drivers/ptp/",
    "drivers/pps/",
    "drivers/dca/",
    "net/8021q/",
    "net/802/",
    "net/llc/",
    "net/bridge/",
    "net/core/",
    "net/sched/",
    "net/ipv4/",
    "net/ipv6/",
    "net/tls/",
    "/crypto/",
    "kernel/lib/",
];
