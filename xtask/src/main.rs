//! The project's tasks, as `cargo xtask TASK`.
//!
//! Each task says what it does and how long its steps took, installs what it needs where it may, and
//! otherwise names the command that would. A task ends with exit code 1 when anything in it failed.
#![forbid(unsafe_code)]
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "a task talks to the terminal")]

mod bare;
mod bench;
mod ci;
mod conformance;
mod demo;
mod dist;
mod error;
mod fuzz;
mod initramfs;
mod install;
mod kernel;
mod qemu;
mod size;
mod statics;
mod steps;
mod test;
mod tidy;
mod toolchain;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

pub(crate) use error::Error;

/// The tasks of the Phase discovery project.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", disable_help_subcommand = true)]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Show the main job: announce a signed sample image, discover, fetch and verify it.
    Demo(demo::Options),
    /// Run all tests, after installing what they need.
    Test(test::Options),
    /// Run every check of a change: format, lints, documents, tests, bare targets, licences.
    Ci,
    /// Check the house rules that no compiler knows.
    Tidy(tidy::Options),
    /// Measure beside other implementations and write BENCHMARKS.md.
    Bench(bench::Options),
    /// Check RFC 6762 and RFC 6763 on the wire, ours and other implementations; write CONFORMANCE.md.
    Conformance(conformance::Options),
    /// Look for inputs that break a decoder.
    Fuzz(fuzz::Options),
    /// Put the first file system of a booting machine together.
    Initramfs(initramfs::Options),
    /// Boot a virtual machine over the network into the kernel that it discovers.
    Qemu(qemu::Options),
    /// Build the programs as they are given away, with their digests, into target/dist.
    Dist(dist::Options),
    /// List the sizes of the programs, and of the client as firmware would link it.
    Size(size::Options),
}

fn main() -> ExitCode {
    let outcome = match Arguments::parse().task {
        Task::Demo(options) => demo::run(&options),
        Task::Test(options) => test::run(&options),
        Task::Ci => ci::run(),
        Task::Tidy(options) => tidy::run(&options),
        Task::Bench(options) => bench::run(&options),
        Task::Conformance(options) => conformance::run(&options),
        Task::Fuzz(options) => fuzz::run(&options),
        Task::Initramfs(options) => initramfs::run(&options),
        Task::Qemu(options) => qemu::run(&options),
        Task::Dist(options) => dist::run(&options),
        Task::Size(options) => size::run(&options),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}
