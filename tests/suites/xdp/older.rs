//! A sixgate program of another version, in place of the one that was attached.
//!
//! It is the embedded object with one number changed: it miscounts, and has another tag.

use std::fs;

use aya::{
    EbpfLoader,
    programs::{
        Xdp,
        links::{FdLink, PinnedLink},
        xdp::XdpLink,
    },
};
use sixgate_common::names;
use sixgate_dataplane::{Loader, Pins, embedded_object};

/// Makes the pinned link of `interface` run another program, pinned in place of the attached one.
pub(crate) fn run_another_program(pins: &Pins, interface: &str) {
    let directory = pins.directory();
    let ours = Loader::default().embedded().unwrap().tag.to_string();
    for object in variants() {
        let mut loader = EbpfLoader::new();
        for name in names::ALL {
            loader.map_pin_path(name, directory.join(name));
        }
        let Ok(mut object) = loader.load(&object) else {
            continue;
        };
        let program: &mut Xdp = object.program_mut(names::PROGRAM).unwrap().try_into().unwrap();
        if program.load().is_err() || format!("{:016x}", program.info().unwrap().tag()) == ours {
            continue;
        }
        fs::remove_file(directory.join("program")).unwrap();
        program.pin(directory.join("program")).unwrap();
        let mut links = fs::read_dir(directory.join("links")).unwrap().map(|entry| entry.unwrap().path());
        let link = links.find(|path| path.to_str().unwrap().ends_with(&format!("-{interface}"))).unwrap();
        let link = PinnedLink::from_pin(link).unwrap();
        program.attach_to_link(XdpLink::try_from(FdLink::from(link)).unwrap()).unwrap();
        return;
    }
    panic!("no variant of the program loads");
}

/// The object with one immediate value changed, at each position that looks like `r0 = n` to
/// `r9 = n` (BPF_ALU64 | BPF_MOV | BPF_K); some of these positions are not instructions.
fn variants() -> impl Iterator<Item = Vec<u8>> {
    let object = embedded_object();
    (0..object.len() / INSTRUCTION).map(|index| index * INSTRUCTION).filter_map(move |at| {
        match object[at..at + INSTRUCTION] {
            [0xb7, 0..=9, 0, 0, number @ 1..=60, 0, 0, 0] => {
                let mut changed = object.to_vec();
                changed[at + 4] = number - 1;
                Some(changed)
            }
            _ => None,
        }
    })
}

const INSTRUCTION: usize = 8;
