//! Runs the wire conformance suite and writes its table.
//!
//! `conformance [--subject NAME]... [--row ID]... [--output FILE]`; without a subject, all of them.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a command-line program")]

use std::process::ExitCode;

use phase_tests::conformance::{self, Cell, Outcome, Role};
use phase_tests::subject::{self, Subject};

fn main() -> ExitCode {
    match run() {
        Ok(code) => code,
        Err(error) => {
            eprintln!("conformance: {error}");
            ExitCode::from(2)
        }
    }
}

#[derive(Default)]
struct Options {
    subjects: Vec<String>,
    rows: Vec<String>,
    output: Option<String>,
}

fn run() -> Result<ExitCode, Box<dyn std::error::Error>> {
    let options = parse(std::env::args().skip(1))?;
    let all = subject::all();
    let subjects: Vec<&dyn Subject> = all
        .iter()
        .map(AsRef::as_ref)
        .filter(|s| options.subjects.is_empty() || options.subjects.iter().any(|n| n == s.name()))
        .collect();
    let mut rows = conformance::rows();
    rows.retain(|r| options.rows.is_empty() || options.rows.iter().any(|id| id == r.id));
    if subjects.is_empty() || rows.is_empty() {
        let names: Vec<_> = all.iter().map(|s| s.name()).collect();
        return Err(format!("no such subject or row; subjects: {}", names.join(", ")).into());
    }
    let table = conformance::run(&subjects, &rows, &tell)?;
    if let Some(path) = options.output {
        std::fs::write(path, table.markdown())?;
    }
    let ours = table.failures().filter(|c| c.subject.starts_with("phase")).count();
    Ok(if ours == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn tell(cell: &Cell) {
    let role = if cell.row.role == Role::Querier { " (querier)" } else { "" };
    match &cell.outcome {
        Outcome::Pass => println!("{}{role} {}: pass", cell.row.id, cell.subject),
        Outcome::Fail(why) => println!("{}{role} {}: FAIL: {why}", cell.row.id, cell.subject),
        Outcome::NotApplicable(why) => {
            println!("{}{role} {}: not applicable: {why}", cell.row.id, cell.subject);
        }
    }
}

fn parse(mut arguments: impl Iterator<Item = String>) -> Result<Options, String> {
    let mut options = Options::default();
    while let Some(flag) = arguments.next() {
        let mut value = || arguments.next().ok_or_else(|| format!("{flag} needs a value"));
        match flag.as_str() {
            "--subject" => options.subjects.push(value()?),
            "--row" => options.rows.push(value()?),
            "--output" => options.output = Some(value()?),
            other => return Err(format!("{other}: not an option; try --subject, --row, --output")),
        }
    }
    Ok(options)
}
