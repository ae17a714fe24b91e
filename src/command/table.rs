//! A table for people: aligned, with notes below its rows, coloured on a terminal alone.

use std::io::IsTerminal as _;

/// How a word is to be seen.
#[derive(Clone, Copy, Debug)]
pub(super) enum Colour {
    Green,
    Yellow,
    Red,
    Grey,
}

impl Colour {
    const fn code(self) -> &'static str {
        match self {
            Self::Green => "32",
            Self::Yellow => "33",
            Self::Red => "31",
            Self::Grey => "90",
        }
    }

    /// The word in this colour.
    pub(super) fn paint(self, word: &str) -> String {
        format!("\u{1b}[{}m{word}\u{1b}[0m", self.code())
    }
}

/// Whether standard output is a terminal whose owner has not ruled colours out.
pub(super) fn colour() -> bool {
    std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Rows of equally many cells.
#[derive(Debug)]
pub(super) struct Table<const N: usize> {
    head: [&'static str; N],
    /// Which cell is coloured.
    coloured: usize,
    rows: Vec<Row<N>>,
}

/// A line and what stands below it.
#[derive(Debug)]
pub(super) struct Row<const N: usize> {
    pub(super) cells: [String; N],
    pub(super) colour: Colour,
    pub(super) notes: Vec<String>,
}

impl<const N: usize> Table<N> {
    /// No rows yet; the cell at `coloured` is the one that catches the eye.
    pub(super) fn new(head: [&'static str; N], coloured: usize) -> Self {
        Self { head, coloured, rows: Vec::new() }
    }

    /// One row more.
    pub(super) fn push(&mut self, row: Row<N>) {
        self.rows.push(row);
    }

    /// The whole, a line each.
    pub(super) fn text(&self, colour: bool) -> String {
        let cells = |n: usize| self.rows.iter().map(move |row| row.cells[n].chars().count());
        let widths: [usize; N] = std::array::from_fn(|n| cells(n).chain([self.head[n].len()]).max().unwrap_or(0));
        let mut lines = vec![line(&self.head.map(str::to_owned), &widths, None)];
        for row in &self.rows {
            lines.push(line(&row.cells, &widths, colour.then_some((self.coloured, row.colour))));
            lines.extend(row.notes.iter().map(|note| format!("{}  {note}", " ".repeat(widths[0]))));
        }
        lines.join("\n") + "\n"
    }
}

fn line(cells: &[String], widths: &[usize], coloured: Option<(usize, Colour)>) -> String {
    let cell = |(n, (cell, width)): (usize, (&String, &usize))| {
        let blank = " ".repeat(width - cell.chars().count() + 2);
        match coloured.filter(|(at, _)| *at == n) {
            Some((_, colour)) => colour.paint(cell) + &blank,
            None => format!("{cell}{blank}"),
        }
    };
    let text: String = cells.iter().zip(widths).enumerate().map(cell).collect();
    text.trim_end().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_stand_below_each_other_with_colours_or_without() {
        let mut table = Table::new(["KEY", "VERDICT", "WHY"], 1);
        let cells = ["long-name", "é", "x"].map(str::to_owned);
        table.push(Row { cells, colour: Colour::Green, notes: vec!["to do: y".into()] });
        table.push(Row { cells: ["1", "dead", ""].map(str::to_owned), colour: Colour::Red, notes: Vec::new() });
        let plain = "KEY        VERDICT  WHY\nlong-name  é        x\n           to do: y\n1          dead\n";
        assert_eq!(table.text(false), plain);
        let coloured = table.text(true);
        assert!(coloured.contains("\u{1b}[31mdead\u{1b}[0m"));
        let stripped =
            ["32", "31", "0"].iter().fold(coloured, |text, code| text.replace(&format!("\u{1b}[{code}m"), ""));
        assert_eq!(stripped, plain);
    }
}
