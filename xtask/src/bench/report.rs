//! Markdown tables, and their place in BENCHMARKS.md.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use crate::Error;

/// A table with a head line.
#[derive(Debug)]
pub(crate) struct Table {
    /// The heading above it.
    pub(crate) title: String,
    /// What was done, and how to read it.
    pub(crate) explanation: String,
    /// The names of the columns.
    pub(crate) columns: Vec<&'static str>,
    /// The rows, with a cell for each column.
    pub(crate) rows: Vec<Vec<String>>,
}

/// The tables as Markdown.
pub(crate) fn markdown(tables: &[Table]) -> String {
    let mut text = String::new();
    for table in tables {
        let line = table.columns.iter().map(|_| "---").collect::<Vec<_>>().join("|");
        // Writing into a String cannot fail.
        let _ = write!(
            text,
            "### {}\n\n{}\n\n| {} |\n|{line}|\n",
            table.title,
            table.explanation,
            table.columns.join(" | ")
        );
        for row in &table.rows {
            let _ = writeln!(text, "| {} |", row.join(" | "));
        }
        text.push('\n');
    }
    text
}

/// Replaces the section `name` of the file at `path`, or adds it at the end.
///
/// # Errors
/// When the file cannot be read or written.
pub(crate) fn write_section(path: &Path, name: &str, content: &str) -> Result<(), Error> {
    let old = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(e) if e.kind() == std::io::ErrorKind::NotFound => "# Benchmarks\n".to_owned(),
        Err(e) => return Err(Error::os(format!("read {}", path.display()), e)),
    };
    fs::write(path, with_section(&old, name, content))
        .map_err(|e| Error::os(format!("write {}", path.display()), e))
}

fn with_section(old: &str, name: &str, content: &str) -> String {
    let begin = format!("<!-- {name}: written by `cargo xtask {name}` -->\n");
    let end = format!("<!-- end of {name} -->\n");
    let section = format!("{begin}{}\n{end}", content.trim_end());
    let Some((before, rest)) = old.split_once(&begin) else {
        return format!("{}\n\n{section}", old.trim_end());
    };
    let after = rest.split_once(&end).map_or("", |(_, after)| after);
    format!("{before}{section}{after}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_section_is_added_once_and_then_replaced() {
        let once = with_section("# B\n", "bench lan", "one\n");
        let twice = with_section(&format!("{once}\nmore\n"), "bench lan", "two\n");
        assert!(once.starts_with("# B\n\n<!-- bench lan") && once.contains("one"));
        assert!(twice.contains("two") && !twice.contains("one") && twice.ends_with("more\n"));
    }

    #[test]
    fn a_table_has_a_line_for_each_row() {
        let table = Table {
            title: "T".into(),
            explanation: "E.".into(),
            columns: vec!["a", "b"],
            rows: vec![vec!["1".into(), "2".into()]],
        };
        assert_eq!(markdown(&[table]), "### T\n\nE.\n\n| a | b |\n|---|---|\n| 1 | 2 |\n\n");
    }
}
