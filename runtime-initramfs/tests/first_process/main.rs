//! The first process, as one: this program runs itself as process 1 of a PID namespace, with a command line of its own
//! in place of /proc/cmdline, and looks at what it says and how it ends.
//!
//! There is no test harness, because a process with threads is not forked. In a PID namespace reboot(2) ends process 1:
//! by SIGINT for switching off and by SIGHUP for starting anew (`pid_namespaces(7)`). Needs root, as namespaces do.
//! Not here: modules and mounts, which a kernel under QEMU shows.

#[cfg(target_os = "linux")]
mod scenarios {
    use std::fs::{self, File};
    use std::io::{Read as _, Write as _};
    use std::process::{Command, Stdio};
    use std::thread;
    use std::time::Duration;

    use phase_boot::console::{Console, Step};
    use phase_boot::init;
    use phase_core::exit::Exit;

    /// Where the work counts its tries, within the namespace's own /tmp.
    const TRIES: &str = "/tmp/tries";

    /// Longer than any scenario takes.
    const PATIENCE: &str = "60";

    pub(super) fn run() {
        if init::is_first_process() {
            init::run(work);
        }
        a_word_that_cannot_be_followed_is_told_and_ends_as_asked();
        work_that_fails_or_dies_begins_again_until_it_succeeds();
        a_shell_follows_a_failure_and_its_end_is_a_new_try();
        programs_of_a_shell_can_end_the_machines_run();
    }

    /// Fails, dies, and then does what the environment says.
    fn work(console: &Console) -> Exit {
        let tries = fs::read(TRIES).map_or(0, |tries| tries.len());
        File::options().create(true).append(true).open(TRIES).unwrap().write_all(b".").unwrap();
        match tries {
            0 => console.failed(Step::Link, Exit::NoNetwork, format_args!("first try")),
            1 => std::process::abort(),
            _ => {
                // A process that is left behind, and taken in by the first one.
                let orphan = "sleep 0.05 & exit 0";
                Command::new("/bin/sh").args(["-c", orphan]).status().unwrap();
                thread::sleep(Duration::from_millis(300));
                let count = "cat /proc/[0-9]*/stat | grep -c ' Z '";
                let zombies = Command::new("/bin/sh").args(["-c", count]).output().unwrap().stdout;
                let zombies = String::from_utf8(zombies).unwrap();
                console.step(Step::Boot, format_args!("left behind: {}", zombies.trim()));
                Exit::Success
            }
        }
    }

    fn a_word_that_cannot_be_followed_is_told_and_ends_as_asked() {
        let (said, status) = first_process("phase.turst=x phase.on-failure=poweroff", "");
        let told = "failed: boot: exit code 2: /proc/cmdline: phase.turst: there is no such word";
        assert!(said.contains(told), "{said}");
        assert!(said.contains("boot: switching the machine off"), "{said}");
        assert_eq!(status, "INT", "{said}");
    }

    fn work_that_fails_or_dies_begins_again_until_it_succeeds() {
        let (said, status) = first_process("quiet", "exit 0\n");
        let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
        let start =
            format!("start: phase-boot {} on Linux {}, ", env!("CARGO_PKG_VERSION"), kernel.trim());
        let expected = [
            start.as_str(),
            "failed: link: exit code 5: first try",
            "boot: trying again in 1 s",
            "failed: boot: exit code 1: the boot client was ended by signal 6",
            "boot: trying again in 2 s",
            "boot: left behind: 0",
            "boot: a shell; leave it by exit",
            "boot: switching the machine off",
        ];
        let mut rest = said.as_str();
        for text in expected {
            rest = rest.split_once(text).unwrap_or_else(|| panic!("{text} is not in {said}")).1;
        }
        assert_eq!(status, "INT", "{said}");
    }

    fn a_shell_follows_a_failure_and_its_end_is_a_new_try() {
        let script = "echo shell of $PPID in $HOME; exit 3\n";
        let (said, status) = first_process("phase.on-failure=shell", script);
        // The first shell reads all there is; those after it find the end.
        assert_eq!(said.matches("shell of 1 in /").count(), 1, "{said}");
        assert_eq!(said.matches("a shell; leave it by exit").count(), 3, "{said}");
        assert_eq!(said.matches("trying again").count(), 0, "{said}");
        assert_eq!(status, "INT", "{said}");
    }

    fn programs_of_a_shell_can_end_the_machines_run() {
        let wait = "sleep 60";
        for (signal, end) in [("TERM", "HUP"), ("USR2", "INT"), ("USR1", "INT")] {
            let (said, status) =
                first_process("phase.action=shell", &format!("kill -{signal} 1; {wait}\n"));
            assert_eq!(status, end, "{said}");
        }
    }

    /// Runs this program as process 1 with this kernel command line; what it said, and the signal that ended it.
    fn first_process(command_line: &str, input: &str) -> (String, String) {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("cmdline"), format!("{command_line}\n")).unwrap();
        // Without a console there, the shell keeps what the scenario gives it to read. Where root is only root of a user
        // namespace, it may not make devices.
        let devices = directory.path().join("dev");
        fs::create_dir(&devices).unwrap();
        fs::write(devices.join("null"), "").unwrap();
        let script = "exec 3< \"$2\" && mount -t proc proc /proc && mount --bind \"$1/cmdline\" /proc/cmdline \
                      && mount --bind /dev/null \"$1/dev/null\" && mount --rbind \"$1/dev\" /dev \
                      && mount -t tmpfs none /tmp && exec /proc/self/fd/3";
        let mut child = Command::new("timeout")
            .args([PATIENCE, "unshare", "--pid", "--fork", "--mount", "--uts", "--kill-child"])
            .args(["sh", "-c", script, "sh"])
            .arg(directory.path())
            .arg(std::env::current_exe().unwrap())
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("unshare runs: install util-linux");
        child.stdin.take().unwrap().write_all(input.as_bytes()).unwrap();
        let mut said = String::new();
        child.stderr.take().unwrap().read_to_string(&mut said).unwrap();
        let mut printed = String::new();
        child.stdout.take().unwrap().read_to_string(&mut printed).unwrap();
        let status = child.wait().unwrap();
        let signal = match (std::os::unix::process::ExitStatusExt::signal(&status), status.code()) {
            (Some(1), _) | (_, Some(129)) => "HUP".to_owned(),
            (Some(2), _) | (_, Some(130)) => "INT".to_owned(),
            other => format!("{other:?}"),
        };
        (said + &printed, signal)
    }
}

fn main() {
    #[cfg(target_os = "linux")]
    scenarios::run();
}
