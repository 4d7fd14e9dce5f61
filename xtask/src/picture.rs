//! `picture`: draws the pictures of the documents, each from a text beside it.
//!
//! It owns the form of the text, which docs/pictures/ways.txt explains, and the look of the SVG. A
//! text has one drawing, octet for octet, so that `tidy` can compare; what a picture shows is not
//! known here.

use std::{collections::BTreeMap, fmt::Write as _, fs};

use anyhow::{Context as _, Result, anyhow, bail};

use crate::exec;

/// Draws every picture anew.
pub(crate) fn run() -> Result<()> {
    let folder = exec::root().join(FOLDER);
    for entry in fs::read_dir(&folder).with_context(|| format!("cannot list {FOLDER}"))? {
        let path = entry.with_context(|| format!("cannot list {FOLDER}"))?.path();
        if path.extension().is_some_and(|end| end == "txt") {
            let name = path.display();
            let text = fs::read_to_string(&path).with_context(|| format!("cannot read {name}"))?;
            let picture = draw(&text).with_context(|| format!("cannot draw {name}"))?;
            let drawn = path.with_extension("svg");
            fs::write(&drawn, picture).with_context(|| format!("cannot write {}", drawn.display()))?;
            println!("picture: {}", drawn.display());
        }
    }
    Ok(())
}

/// The SVG of a text.
///
/// # Errors
///
/// Names the first line that cannot be read.
pub(crate) fn draw(text: &str) -> Result<String> {
    let mut picture = Picture::default();
    for (at, line) in text.lines().enumerate() {
        if !line.trim().is_empty() && !line.starts_with('#') {
            picture.take(line).with_context(|| format!("line {}: {line}", at + 1))?;
        }
    }
    Ok(picture.finish())
}

#[derive(Default)]
struct Picture {
    size: (f32, f32),
    boxes: BTreeMap<String, Node>,
    /// Areas, which lie below all else.
    ground: String,
    /// Everything else, in the order of the text.
    body: String,
}

/// A box around a point.
struct Node {
    x: f32,
    y: f32,
    width: f32,
    height: f32,
}

impl Picture {
    fn take(&mut self, line: &str) -> Result<()> {
        let (head, texts) = line.split_once('|').unwrap_or((line, ""));
        let texts: Vec<&str> = texts.split('|').map(str::trim).collect();
        let words: Vec<&str> = head.split_whitespace().collect();
        match &words[..] {
            ["size", width, height] => self.size = (number(width)?, number(height)?),
            ["area", x, y, width, height] => {
                let (left, top) = (number(x)?, number(y)?);
                let _ = writeln!(
                    self.ground,
                    "<rect class=\"area\" x=\"{x}\" y=\"{y}\" width=\"{width}\" height=\"{height}\" rx=\"12\"/>"
                );
                write_lines(&mut self.ground, left + 14.0, top + 22.0, "start", &texts, true);
            }
            ["box", name, shape, x, y, width, height] => {
                let area =
                    Node { x: number(x)?, y: number(y)?, width: number(width)?, height: number(height)? };
                self.body += &area.outline(shape)?;
                let first = area.y + 5.0 - LINE * (texts.len() as f32 - 1.0) / 2.0;
                let lower = if *shape == "store" { 5.0 } else { 0.0 };
                write_lines(&mut self.body, area.x, first + lower, "middle", &texts, true);
                self.boxes.insert((*name).to_owned(), area);
            }
            ["arrow", class, heads, points @ ..] if points.len() > 1 => {
                let points: Vec<String> =
                    points.iter().map(|point| self.point(point)).collect::<Result<_>>()?;
                let start =
                    if *heads == "both" { format!(" marker-start=\"url(#{class})\"") } else { "".into() };
                let _ = writeln!(
                    self.body,
                    "<polyline class=\"{class}\" points=\"{}\"{start} marker-end=\"url(#{class})\"/>",
                    points.join(" ")
                );
            }
            ["text", x, y, anchor] => {
                write_lines(&mut self.body, number(x)?, number(y)?, anchor, &texts, false);
            }
            _ => bail!("expected size, area, box, arrow or text with their values"),
        }
        Ok(())
    }

    /// `X,Y`, or a side of a box with an offset along it.
    fn point(&self, text: &str) -> Result<String> {
        if let Some((x, y)) = text.split_once(',') {
            return Ok(format!("{},{}", number(x)?, number(y)?));
        }
        let (name, side) = text.split_once('.').ok_or_else(|| anyhow!("{text} is not a point"))?;
        let area = self.boxes.get(name).ok_or_else(|| anyhow!("no box {name} above this line"))?;
        let at = side.find(['+', '-']).unwrap_or(side.len());
        let (side, offset) = side.split_at(at);
        let offset = if offset.is_empty() { 0.0 } else { number(offset)? };
        let (across, down) = (area.width / 2.0, area.height / 2.0);
        let (x, y) = match side {
            "left" => (area.x - across, area.y + offset),
            "right" => (area.x + across, area.y + offset),
            "top" => (area.x + offset, area.y - down),
            "bottom" => (area.x + offset, area.y + down),
            _ => bail!("{side} is not a side: use left, right, top or bottom"),
        };
        Ok(format!("{x},{y}"))
    }

    fn finish(self) -> String {
        let (width, height) = self.size;
        let markers: String = CLASSES.iter().map(|class| marker(class)).collect();
        format!(
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width} {height}\" width=\"{width}\" \
             height=\"{height}\" font-family=\"Helvetica, Arial, 'DejaVu Sans', sans-serif\" \
             font-size=\"14\">\n<style>\n{STYLE}</style>\n<defs>\n{markers}</defs>\n\
             <rect class=\"ground\" width=\"{width}\" height=\"{height}\"/>\n{}{}</svg>\n",
            self.ground, self.body
        )
    }
}

impl Node {
    fn outline(&self, shape: &str) -> Result<String> {
        let Self { x, y, width, height } = self;
        let (left, top) = (x - width / 2.0, y - height / 2.0);
        let radius = match shape {
            "box" => 8.0,
            "round" => height / 2.0,
            "store" => 8.0,
            _ => bail!("{shape} is not a shape: use box, round or store"),
        };
        let mut outline = format!(
            "<rect class=\"box\" x=\"{left}\" y=\"{top}\" width=\"{width}\" height=\"{height}\" rx=\"{radius}\"/>\n"
        );
        if shape == "store" {
            // the lid of a tin
            let (right, lid) = (left + width, top + 9.0);
            let _ = writeln!(outline, "<polyline class=\"lid\" points=\"{left},{lid} {right},{lid}\"/>");
        }
        Ok(outline)
    }
}

/// Lines of text below each other; the first one in bold if it is a heading.
fn write_lines(to: &mut String, x: f32, y: f32, anchor: &str, lines: &[&str], is_headed: bool) {
    for (at, line) in lines.iter().enumerate() {
        let weight = if is_headed && at == 0 { " font-weight=\"bold\"" } else { "" };
        let y = y + LINE * at as f32;
        let line = line.replace('&', "&amp;").replace('<', "&lt;");
        let _ = writeln!(to, "<text x=\"{x}\" y=\"{y}\" text-anchor=\"{anchor}\"{weight}>{line}</text>");
    }
}

fn marker(class: &str) -> String {
    format!(
        "<marker id=\"{class}\" viewBox=\"0 0 10 10\" refX=\"9\" refY=\"5\" markerWidth=\"9\" markerHeight=\"9\" \
         markerUnits=\"userSpaceOnUse\" orient=\"auto-start-reverse\"><path class=\"{class}-head\" d=\"M0,0 \
         L10,5 L0,10 z\"/></marker>\n"
    )
}

fn number(text: &str) -> Result<f32> {
    text.parse().with_context(|| format!("{text} is not a number"))
}

/// Texts and drawings, in pairs: `ways.txt` and `ways.svg`.
pub(crate) const FOLDER: &str = "docs/pictures";
/// Between two lines of text, pixels.
const LINE: f32 = 18.0;
const CLASSES: &[&str] = &["refused", "message", "facts"];
/// Kinds of arrows differ in their dashes, too, for readers who see no colours; the ground is
/// drawn, so that the text can be read on a page of any colour.
const STYLE: &str = "\
.ground { fill: #ffffff } .area { fill: #f3f5f8; stroke: #b4bdc8 } .box { fill: #ffffff; stroke: #57606a; stroke-width: 1.5 }
.lid { fill: none; stroke: #57606a; stroke-width: 1.5 } text { fill: #1f2328 }
.refused { fill: none; stroke: #bc4c00; stroke-width: 2.2 } .refused-head { fill: #bc4c00 }
.message { fill: none; stroke: #0969da; stroke-width: 2.2; stroke-dasharray: 9 3 } .message-head { fill: #0969da }
.facts { fill: none; stroke: #6e7781; stroke-width: 1.4; stroke-dasharray: 2 4 } .facts-head { fill: #6e7781 }
@media (prefers-color-scheme: dark) {
.ground { fill: #0d1117 } .area { fill: #161b22; stroke: #444c56 } .box { fill: #0d1117; stroke: #9198a1 }
.lid { stroke: #9198a1 } text { fill: #e6edf3 }
.refused { stroke: #f0883e } .refused-head { fill: #f0883e }
.message { stroke: #58a6ff } .message-head { fill: #58a6ff }
.facts { stroke: #9198a1 } .facts-head { fill: #9198a1 }
}
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_has_one_drawing_and_a_bad_line_is_named() {
        let text = "size 100 50\n# note\nbox a box 20 20 20 10 | A<B\narrow facts end a.right+2 90,25\n";
        let drawn = draw(text).unwrap();
        assert_eq!(drawn, draw(text).unwrap());
        assert!(drawn.contains("points=\"30,22 90,25\""), "{drawn}");
        assert!(drawn.contains("A&lt;B"), "{drawn}");
        for bad in ["circle 1 2", "arrow facts end a.right 1,1", "box a cube 1 1 1 1 | a", "size a 1"] {
            let error = format!("{:#}", draw(bad).unwrap_err());
            assert!(error.contains("line 1"), "{error}");
        }
    }
}
