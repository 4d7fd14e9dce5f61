//! Pins and their names, without a bpf file system.

use super::*;

#[test]
fn an_interface_keeps_its_name_through_the_file_system() {
    for (interface, name) in [
        ("eth0", "eth0"),
        ("enp3s0.100", "enp3s0%2E100"),
        ("a%2E", "a%252E"),
        ("wan-0_x", "wan-0_x"),
        ("ü", "%C3%BC"),
    ] {
        assert_eq!(escape(interface), name);
        assert_eq!(unescape(name), interface);
    }
}

#[test]
fn a_links_file_tells_the_name_that_its_interface_had() {
    let directory = tempfile::tempdir().unwrap();
    let set = PinSet(directory.path().to_owned());
    make_directory(&set.links()).unwrap();
    for (interface, file) in [("eth0", "12-eth0"), ("wan-0", "7-wan-0"), ("enp3s0.100", "8-enp3s0%2E100")] {
        let id = file.split('-').next().unwrap().parse().unwrap();
        assert_eq!(set.link(id, interface).file_name().unwrap(), file);
        fs::write(set.link(id, interface), "").unwrap();
    }
    // as an earlier layout named them
    fs::write(set.links().join("lan-1"), "").unwrap();
    let names: Vec<String> = set.link_files().unwrap().into_iter().map(|file| file.interface).collect();
    assert_eq!(names, ["eth0", "wan-0", "enp3s0.100", "lan-1"]);
}

#[test]
fn a_set_of_another_layout_keeps_this_one_from_use() {
    let directory = tempfile::tempdir().unwrap();
    let pins = Pins::new(directory.path());
    fs::create_dir(directory.path().join("v1")).unwrap();
    let error = pins.live().unwrap_err().to_string();
    assert!(error.contains(&directory.path().join("v1").display().to_string()), "{error}");
    assert!(pins.own().unwrap().is_none());
    fs::remove_dir(directory.path().join("v1")).unwrap();
    fs::create_dir(directory.path().join("detached")).unwrap();
    assert!(pins.live().unwrap().is_none());
}

#[test]
fn a_damaged_escape_is_kept_as_it_is() {
    assert_eq!(unescape("a%2"), "a%2");
    assert_eq!(unescape("a%zz"), "a%zz");
}

#[test]
fn only_v_and_a_number_is_a_layout() {
    assert!(is_layout("v1") && is_layout("v27"));
    assert!(!is_layout("v1_new") && !is_layout("v") && !is_layout("other"));
}

#[test]
fn a_directory_outside_of_a_bpffs_is_refused_with_the_command_that_helps() {
    let directory = tempfile::tempdir().unwrap();
    let pins = directory.path().join("sixgate");
    let error = Pins::new(&pins).prepare().unwrap_err();
    let wanted = format!("`mount -t bpf bpf {}`", pins.display());
    assert!(error.to_string().contains(&wanted), "{error}");
    assert!(!pins.exists());
}

#[test]
fn where_nothing_is_pinned_there_is_no_set() {
    let directory = tempfile::tempdir().unwrap();
    assert!(Pins::new(directory.path()).live().unwrap().is_none());
}
