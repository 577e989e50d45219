//! What a person sees of a download: bars where standard error is a terminal, a line for each file elsewhere.

use std::io::IsTerminal as _;
use std::time::Instant;

use indicatif::{HumanBytes, MultiProgress, ProgressBar, ProgressStyle};

use crate::cli::text::say;

/// Where progress goes.
#[derive(Debug)]
pub struct Progress {
    bars: Option<MultiProgress>,
    silent: bool,
}

/// The progress of one file.
#[derive(Debug)]
pub struct Bar<'a> {
    progress: &'a Progress,
    bar: Option<ProgressBar>,
    name: String,
    size: u64,
    resumed: u64,
    start: Instant,
}

impl Progress {
    /// Shows on standard error, unless `silent`.
    #[must_use]
    pub fn new(silent: bool) -> Self {
        let bars = (!silent && std::io::stderr().is_terminal()).then(MultiProgress::new);
        Self { bars, silent }
    }

    /// Says something between the bars.
    pub fn say(&self, line: &str) {
        match &self.bars {
            // A terminal that is gone is no reason to stop.
            Some(bars) => drop(bars.println(line)),
            None if self.silent => {}
            None => say(line),
        }
    }

    /// A file that was here already.
    pub fn kept(&self, name: &str, size: u64) {
        self.say(&format!("{name}: {} here already, verified", HumanBytes(size)));
    }

    /// A file that begins, or goes on after `resumed` octets.
    #[must_use]
    pub fn start(&self, name: &str, size: u64, resumed: u64) -> Bar<'_> {
        let bar = self.bars.as_ref().map(|bars| {
            let bar = bars.add(ProgressBar::new(size).with_prefix(name.to_owned()));
            let style = "{prefix:>12} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}";
            if let Ok(style) = ProgressStyle::with_template(style) {
                bar.set_style(style);
            }
            bar.set_position(resumed);
            bar.reset_eta();
            bar
        });
        #[expect(
            clippy::disallowed_methods,
            reason = "shown to a person; nothing is decided by it"
        )]
        let start = Instant::now();
        Bar { progress: self, bar, name: name.to_owned(), size, resumed, start }
    }
}

impl Bar<'_> {
    /// How many octets are here.
    pub fn set(&self, octets: u64) {
        if let Some(bar) = &self.bar {
            bar.set_position(octets);
        }
    }

    /// The file is here, and verified.
    pub fn finish(self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
        let (name, size) = (&self.name, HumanBytes(self.size));
        let resumed = match self.resumed {
            0 => String::new(),
            octets => format!(" ({} of it were here)", HumanBytes(octets)),
        };
        let seconds = self.start.elapsed().as_secs_f64();
        self.progress.say(&format!("{name}: {size} verified in {seconds:.2} s{resumed}"));
    }
}

impl Drop for Bar<'_> {
    fn drop(&mut self) {
        if let Some(bar) = &self.bar
            && !bar.is_finished()
        {
            bar.abandon();
        }
    }
}
