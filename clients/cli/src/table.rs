//! Tables with aligned columns.

use anstyle::Style;

/// One cell.
#[derive(Clone, Debug, Default)]
pub(crate) struct Cell {
    text: String,
    style: Style,
}

impl Cell {
    pub(crate) fn styled(text: impl Into<String>, style: Style) -> Self {
        Self { text: clean(&text.into()), style }
    }

    fn width(&self) -> usize {
        self.text.chars().count()
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::styled(text, Style::new())
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::styled(text, Style::new())
    }
}

/// Text of others must not steer the terminal, and a line break would tear the table.
pub(crate) fn clean(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

/// Writes a table: the head in bold, each column as wide as its widest cell, two spaces between, none at the end of a line.
pub(crate) fn table(head: &[&str], rows: &[Vec<Cell>]) -> String {
    let head: Vec<_> = head.iter().map(|title| Cell::styled(*title, Style::new().bold())).collect();
    let lines: Vec<&[Cell]> = std::iter::once(head.as_slice()).chain(rows.iter().map(Vec::as_slice)).collect();
    let width = |column: usize| lines.iter().filter_map(|line| line.get(column)).map(Cell::width).max().unwrap_or(0);
    let widths: Vec<_> = (0..head.len()).map(width).collect();
    lines.iter().map(|line| write_line(line, &widths)).collect()
}

fn write_line(cells: &[Cell], widths: &[usize]) -> String {
    let last = cells.iter().rposition(|cell| !cell.text.is_empty());
    let mut out = String::new();
    for (index, (cell, width)) in cells.iter().zip(widths).enumerate().take(last.map_or(0, |last| last + 1)) {
        out.push_str(&format!("{}{}{}", cell.style.render(), cell.text, cell.style.render_reset()));
        if Some(index) != last {
            out.push_str(&" ".repeat(width - cell.width() + 2));
        }
    }
    out.push('\n');
    out
}

#[cfg(test)]
mod tests {
    use anstyle::AnsiColor;

    use super::*;

    #[test]
    fn columns_are_aligned_and_lines_have_no_tail() {
        let rows = [
            vec![Cell::from("shop"), Cell::styled("ACTIVE", AnsiColor::Green.on_default()), Cell::from("Wébshop")],
            vec![Cell::from("a-long-name"), Cell::from("NEW"), Cell::from("")],
            vec![Cell::from("x"), Cell::from(""), Cell::from("two\nlines\u{1b}[31m")],
        ];
        let shown = anstream::adapter::strip_str(&table(&["NAME", "STATE", "TITLE"], &rows)).to_string();
        assert_eq!(
            shown,
            "\
NAME         STATE   TITLE
shop         ACTIVE  Wébshop
a-long-name  NEW
x                    two lines [31m
"
        );
    }

    #[test]
    fn styles_surround_the_text_only() {
        let row = vec![Cell::styled("bad", AnsiColor::Red.on_default()), Cell::from("x")];
        assert_eq!(table(&["A", "B"], &[row]).lines().nth(1), Some("\u{1b}[31mbad\u{1b}[0m  x"));
    }
}
