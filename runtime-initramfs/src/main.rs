//! `phase-boot`: chooses the command, by its first argument or by the name it was called by.

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    use phase_boot::commands;
    use phase_boot::console::{Console, Step};
    use phase_boot::options::{Command, Options, Request};
    use phase_core::exit::Exit;

    if phase_boot::init::is_first_process() {
        commands::boot::first_process();
    }
    let console = Console::of_process();
    let exit = match Options::of_arguments(std::env::args_os()) {
        Ok(Request::Print(text)) => phase_boot::console::print(&text),
        Ok(Request::Run(Command::Discover, options)) => commands::discover::run(&options, console),
        Ok(Request::Run(Command::Fetch, options)) => commands::fetch::run(&options, console),
        Ok(Request::Run(Command::Verify, options)) => commands::verify::run(&options, console),
        Ok(Request::Run(Command::Kexec, options)) => commands::kexec::run(&options, console),
        Ok(Request::Run(Command::Boot, options)) => commands::boot::run(&options, console),
        Err(error) => console.failed(Step::Boot, Exit::Usage, format_args!("{error}")),
    };
    exit.code().into()
}

#[cfg(not(target_os = "linux"))]
fn main() -> std::process::ExitCode {
    use std::io::Write as _;
    let _ = writeln!(std::io::stderr(), "phase-boot: runs on Linux alone");
    std::process::ExitCode::from(2)
}
