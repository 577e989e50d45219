//! Every row of the wire conformance suite against our own provider and client, on real sockets.
//!
//! Each row is a test of its own name in the output; what fails is named with what was seen. `cargo xtask
//! conformance` runs the same rows against other implementations too.
#![forbid(unsafe_code)]

use phase_tests::conformance::{self, Cell, Outcome};
use phase_tests::subject::{Phase, Subject};

#[test]
fn every_row_holds_for_our_provider_and_our_client() {
    let subjects: [&dyn Subject; 1] = [&Phase];
    let table = conformance::run(&subjects, &conformance::rows(), &|_| {}).unwrap();
    let failures: Vec<String> = table.failures().map(describe).collect();
    assert!(failures.is_empty(), "{} rows fail:\n{}", failures.len(), failures.join("\n"));
    assert!(table.cells.iter().any(|c| c.outcome == Outcome::Pass));
}

fn describe(cell: &Cell) -> String {
    let Outcome::Fail(why) = &cell.outcome else { return cell.row.id.to_owned() };
    format!("{} ({:?}): {why}", cell.row.id, cell.row.role)
}
