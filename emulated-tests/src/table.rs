//! Text tables.

use console::measure_text_width;

/// Formats rows as lines. The first column is left-aligned, `sides` gives the others: `l` or `r`.
pub fn table(rows: &[Vec<String>], sides: &str) -> String {
    let sides: Vec<char> = std::iter::once('l').chain(sides.chars()).collect();
    let width = |column: usize| rows.iter().map(|row| measure_text_width(&row[column])).max().unwrap_or(0);
    let widths: Vec<usize> = (0..sides.len()).map(width).collect();
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths).zip(&sides).map(|((cell, width), side)| {
            let space = " ".repeat(width - measure_text_width(cell));
            if *side == 'l' { format!("{cell}{space}") } else { format!("{space}{cell}") }
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    rows.iter().map(line).collect()
}
