//! The bar on a terminal's stderr; nothing at all where stderr is no terminal.

use std::io::{IsTerminal, Write};

use admix_engine::Progress;

const WIDTH: usize = 28;

/// A one-line bar that rewrites itself and disappears when dropped.
pub struct Bar {
    on: bool,
    shown: String,
}

impl Bar {
    /// A bar, if stderr is a terminal.
    pub fn new() -> Bar {
        Bar { on: std::io::stderr().is_terminal(), shown: String::new() }
    }

    /// Shows `done` of `total` of something.
    pub fn show(&mut self, what: &str, done: usize, total: usize) {
        if !self.on {
            return;
        }
        let filled = (done * WIDTH).checked_div(total).unwrap_or(0).min(WIDTH);
        let bar = format!("{what:<8} [{}{}] {done}/{total}", "#".repeat(filled), "-".repeat(WIDTH - filled));
        self.line(bar);
    }

    /// Shows a word.
    pub fn say(&mut self, what: &str) {
        if self.on {
            self.line(what.to_string());
        }
    }

    /// Shows what the engine reports.
    pub fn report(&mut self, progress: &Progress) {
        match progress {
            Progress::Weights { done, total } => self.show("weights", *done, *total),
            Progress::Text => self.say("prompt"),
            Progress::Step { done, total, .. } => self.show("steps", *done, *total),
            Progress::Decode { done, total } => self.show("decode", *done, *total),
            Progress::Export { done, total } => self.show("writing", *done, *total),
        }
    }

    fn line(&mut self, text: String) {
        if text == self.shown {
            return;
        }
        let mut err = std::io::stderr();
        let _ = write!(err, "\r{text:<width$}", width = self.shown.len());
        let _ = err.flush();
        self.shown = text;
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        if !self.shown.is_empty() {
            let _ = write!(std::io::stderr(), "\r{:width$}\r", "", width = self.shown.len());
        }
    }
}
