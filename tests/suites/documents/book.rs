//! The commands of a document: fenced blocks marked `console`, whose lines begin with `# `.
//!
//! It runs nothing.

use std::{fs, path::Path};

/// One fenced block of commands.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    /// The heading that it stands below.
    pub(crate) heading: String,
    /// The document, and the line of its first command.
    pub(crate) place: String,
    /// The script for a shell: the commands without their prompts.
    pub(crate) script: String,
    /// The lines of the block marked `text` that follows: parts of the output.
    pub(crate) shown: Vec<String>,
}

/// The blocks of `document`, a path below the repository's root.
pub(crate) fn blocks(document: &str) -> Vec<Block> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(document);
    let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    parse(document, &text)
}

fn parse(document: &str, text: &str) -> Vec<Block> {
    let (mut heading, mut blocks) = (String::new(), Vec::new());
    // the block that is being read, or a fence of another kind
    let mut inside: Option<Option<Block>> = None;
    let mut is_output = false;
    for (at, line) in text.lines().enumerate() {
        match (&mut inside, line) {
            (None, "```console") => {
                let place = format!("{document}:{}", at + 2);
                let (heading, script, shown) = (heading.clone(), String::new(), Vec::new());
                inside = Some(Some(Block { heading, place, script, shown }));
            }
            (None, line) if line.starts_with("```") => {
                is_output = line == "```text";
                inside = Some(None);
            }
            (None, line) if line.starts_with('#') => {
                line.trim_start_matches('#').trim().clone_into(&mut heading)
            }
            (None, _) => {}
            (Some(block), "```") => {
                blocks.extend(block.take());
                inside = None;
            }
            // a command after its prompt, or a line of a here-document
            (Some(Some(block)), line) => {
                block.script += line.strip_prefix("# ").unwrap_or(line);
                block.script.push('\n');
            }
            (Some(None), line) if is_output => {
                blocks.last_mut().into_iter().for_each(|block: &mut Block| block.shown.push(line.to_owned()));
            }
            (Some(None), _) => {}
        }
    }
    assert!(inside.is_none(), "{document} ends within a block");
    blocks
}

#[test]
fn prompts_are_taken_off_and_other_blocks_are_passed_over() {
    let text = "# One\n```toml\na = 1\n```\n## Two\n```console\n# cat <<'END'\n[x]\nEND\n# true\n```\n\n```text\n1\n```\n";
    let blocks = parse("book.md", text);
    let [block] = &blocks[..] else { panic!("{blocks:?}") };
    assert_eq!((block.heading.as_str(), block.place.as_str()), ("Two", "book.md:7"));
    assert_eq!(block.script, "cat <<'END'\n[x]\nEND\ntrue\n");
    assert_eq!(block.shown, ["1"]);
}
