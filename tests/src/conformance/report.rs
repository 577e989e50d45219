//! Runs rows against subjects, several at a time, and writes the table.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::thread;

use super::{Lab, Level, Outcome, Role, Row};
use crate::Error;
use crate::subject::Subject;

/// Labs at work at the same time: rows mostly wait. What fails is confirmed beside fewer, and then beside one more.
const WORKERS: [usize; 3] = [14, 5, 2];

/// One row against one subject.
#[derive(Clone, Debug)]
pub struct Cell {
    /// The row.
    pub row: &'static Row,
    /// The subject's name.
    pub subject: &'static str,
    /// What was found.
    pub outcome: Outcome,
}

/// What was found, cell by cell, in the order of the list.
#[derive(Clone, Debug, Default)]
pub struct Table {
    /// All cells.
    pub cells: Vec<Cell>,
}

/// Runs every row against every subject. A row that fails beside many others is run again beside few, and the last
/// result counts: a busy machine is no fault of the subject.
///
/// # Errors
/// When a subject cannot be installed.
pub fn run(
    subjects: &[&dyn Subject],
    rows: &[&'static Row],
    tell: &(dyn Fn(&Cell) + Sync),
) -> Result<Table, Error> {
    for subject in subjects {
        subject.install()?;
    }
    let mut jobs: Vec<_> =
        rows.iter().flat_map(|row| subjects.iter().map(move |subject| (*row, *subject))).collect();
    // Taken from the end: the rows that watch for longest are P14, P18 and those that wait in silence.
    jobs.sort_by_key(|(row, _)| LONGEST.contains(&row.id));
    let mut cells = Vec::new();
    for (attempt, workers) in WORKERS.into_iter().enumerate() {
        let is_last = attempt + 1 == WORKERS.len();
        let (again, settled): (Vec<_>, Vec<_>) = at_once(workers, jobs)
            .into_iter()
            .partition(|(cell, _)| !is_last && matches!(cell.outcome, Outcome::Fail(_)));
        settled.iter().for_each(|(cell, _)| tell(cell));
        cells.extend(settled);
        jobs = again.into_iter().map(|(cell, subject)| (cell.row, subject)).collect();
    }
    let mut cells: Vec<Cell> = cells.into_iter().map(|(cell, _)| cell).collect();
    let place = |cell: &Cell| rows.iter().position(|r| std::ptr::eq(*r, cell.row));
    cells.sort_by_key(|cell| place(cell));
    Ok(Table { cells })
}

/// Checks every job, `workers` of them at a time.
fn at_once<'s>(
    workers: usize,
    jobs: Vec<(&'static Row, &'s dyn Subject)>,
) -> Vec<(Cell, &'s dyn Subject)> {
    let (jobs, done) = (Mutex::new(jobs), Mutex::new(Vec::new()));
    // Not in the condition of the loop, where the lock would be held until the job is done.
    let next = || lock(&jobs).pop();
    thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while let Some((row, subject)) = next() {
                    let cell = Cell { row, subject: subject.name(), outcome: check(row, subject) };
                    lock(&done).push((cell, subject));
                }
            });
        }
    });
    done.into_inner().unwrap_or_else(PoisonError::into_inner)
}

const LONGEST: [&str; 7] = ["P18", "P14", "A3", "A5", "R4", "Q2", "Q7"];

fn check(row: &Row, subject: &dyn Subject) -> Outcome {
    let outcome = Lab::new(subject).and_then(|mut lab| (row.check)(&mut lab));
    outcome.unwrap_or_else(|error| Outcome::Fail(error.to_string()))
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Table {
    /// The cells of one role that failed.
    pub fn failures(&self) -> impl Iterator<Item = &Cell> {
        self.cells.iter().filter(|c| matches!(c.outcome, Outcome::Fail(_)))
    }

    /// The table as Markdown: a matrix for each role, then the evidence.
    #[must_use]
    pub fn markdown(&self) -> String {
        let mut text = String::from(HEAD);
        for (role, title) in [(Role::Responder, "Responders"), (Role::Querier, "Queriers")] {
            let cells: Vec<_> = self.cells.iter().filter(|c| c.row.role == role).collect();
            if !cells.is_empty() {
                // Writing into a String cannot fail.
                let _ = writeln!(text, "\n## {title}\n");
                matrix(&mut text, &cells);
            }
        }
        text
    }
}

fn matrix(text: &mut String, cells: &[&Cell]) {
    let mut subjects: Vec<&str> = Vec::new();
    for cell in cells {
        if !subjects.contains(&cell.subject) {
            subjects.push(cell.subject);
        }
    }
    subjects.sort_by_key(|name| (!name.starts_with("phase"), *name));
    let at: BTreeMap<(&str, &str), &Cell> =
        cells.iter().map(|c| ((c.row.id, c.subject), *c)).collect();
    let _ = writeln!(text, "| row | section | level | rule | {} |", subjects.join(" | "));
    let _ = writeln!(text, "|---|---|---|---|{}", "---|".repeat(subjects.len()));
    let mut evidence = Vec::new();
    let mut last = "";
    for cell in cells.iter().filter(|c| std::mem::replace(&mut last, c.row.id) != c.row.id) {
        let row = cell.row;
        let mut marks = Vec::new();
        for subject in &subjects {
            let outcome = at.get(&(row.id, *subject)).map(|c| &c.outcome);
            marks.push(mark(row.id, subject, outcome, &mut evidence));
        }
        let level = level(row.level);
        let _ = writeln!(
            text,
            "| {} | {} | {level} | {} | {} |",
            row.id,
            row.section,
            row.text,
            marks.join(" | ")
        );
    }
    let counts: Vec<String> = subjects.iter().map(|s| count(cells, s)).collect();
    let _ = writeln!(text, "| **passed of applicable** | | | | {} |\n", counts.join(" | "));
    for (number, line) in evidence.iter().enumerate() {
        let _ = writeln!(text, "{}. {line}", number + 1);
    }
}

fn count(cells: &[&Cell], subject: &str) -> String {
    let of = |wanted: fn(&Outcome) -> bool| {
        cells.iter().filter(|c| c.subject == subject && wanted(&c.outcome)).count()
    };
    let passed = of(|o| *o == Outcome::Pass);
    format!("{passed} of {}", passed + of(|o| matches!(o, Outcome::Fail(_))))
}

fn mark(id: &str, subject: &str, outcome: Option<&Outcome>, evidence: &mut Vec<String>) -> String {
    let mut noted = |sign: &str, why: &str| {
        let here = crate::process::workspace_root().display().to_string();
        let why = why.lines().next().unwrap_or_default().replace('|', "\\|").replace(&here, "");
        evidence.push(format!("{id} {subject}: {why}"));
        format!("{sign} ({})", evidence.len())
    };
    match outcome {
        Some(Outcome::Pass) => "✔".to_owned(),
        Some(Outcome::Fail(why)) => noted("✘", why),
        Some(Outcome::NotApplicable(why)) => noted("–", why),
        None => String::new(),
    }
}

const fn level(level: Level) -> &'static str {
    match level {
        Level::Must => "MUST",
        Level::Should => "SHOULD",
        Level::May => "may",
    }
}

const HEAD: &str = "\
# Conformance

What RFC 6762 (mDNS) and RFC 6763 (DNS-SD, sections marked SD) ask, row by row, checked by a scripted peer on real
sockets in network namespaces. Written by `cargo xtask conformance`; nothing here is typed by hand.

✔ seen · ✘ not seen, with what was seen instead · – does not apply. A cross is confirmed by a second run with little
beside it. Windows of minutes and hours are shortened as the rule says; the simulator holds them in full length.
";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_marked_and_explained() {
        let row = super::super::rows()[0];
        let cell = |subject, outcome| Cell { row, subject, outcome };
        let table = Table {
            cells: vec![
                cell("phase", Outcome::Pass),
                cell("other", Outcome::Fail("id 7 | odd".into())),
            ],
        };
        let text = table.markdown();
        assert!(text.contains("| ✔ | ✘ (1) |"), "{text}");
        assert!(text.contains("1. W1 other: id 7 \\| odd"), "{text}");
        assert!(text.contains("| 1 of 1 | 0 of 1 |"), "{text}");
        assert_eq!(table.failures().count(), 1);
    }
}
