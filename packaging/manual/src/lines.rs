//! Text with line breaks, as the helps and the configuration's comments have it, in roff.
//!
//! Lines that are indented are examples: they stay lines. All others are filled.

use clap_mangen::roff::{Roff, roman};

/// Adds `text`: an empty line begins a paragraph, and so does the end of an example.
pub(crate) fn add(roff: &mut Roff, text: &str) {
    let mut is_example = false;
    for line in text.lines() {
        if line.trim().is_empty() {
            leave_example(roff, &mut is_example);
            roff.control("PP", []);
        } else if let Some(example) = line.strip_prefix("  ") {
            if !is_example {
                roff.control("RS", ["4"]);
                roff.control("nf", []);
                is_example = true;
            }
            roff.text([roman(example)]);
        } else {
            leave_example(roff, &mut is_example);
            roff.text([roman(line)]);
        }
    }
    leave_example(roff, &mut is_example);
}

fn leave_example(roff: &mut Roff, is_example: &mut bool) {
    if *is_example {
        roff.control("fi", []);
        roff.control("RE", []);
        *is_example = false;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn examples_stay_lines_and_text_is_filled() {
        let mut roff = Roff::new();
        add(&mut roff, "One line\nand another.\n\nExamples:\n  sixgate a\n  sixgate b\n\nThe end.");
        let text = roff.to_roff();
        let wanted = "One line\nand another.\n.PP\nExamples:\n.RS 4\n.nf\nsixgate a\nsixgate b\n.fi\n.RE\n.PP\nThe end.\n";
        assert_eq!(text, wanted);
    }
}
