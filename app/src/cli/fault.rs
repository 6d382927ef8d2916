//! What ends a command early: one line for people and an exit status.

use admix_engine::EngineError;
use admix_engine::files::Error as FileError;
use admix_engine::mix::MixError;
use admix_engine::sample::SampleError;
use admix_engine::select::Error as SelectError;

use super::output::one_line;

/// One line and an exit status.
#[derive(Debug)]
pub struct Fault {
    status: u8,
    text: String,
}

impl Fault {
    /// The input is at fault: a flag, a file, a mismatch (exit status 2).
    pub fn input(text: impl Into<String>) -> Fault {
        Fault { status: 2, text: text.into() }
    }

    /// Anything else (exit status 1).
    pub fn other(text: impl Into<String>) -> Fault {
        Fault { status: 1, text: text.into() }
    }

    /// The exit status.
    pub fn status(&self) -> u8 {
        self.status
    }

    /// The line, without line breaks whatever a file name or a driver put into it.
    pub fn text(&self) -> String {
        one_line(&self.text)
    }

    fn of(is_input: bool, text: String) -> Fault {
        Fault { status: if is_input { 2 } else { 1 }, text }
    }
}

impl From<EngineError> for Fault {
    fn from(e: EngineError) -> Fault {
        Fault::of(e.is_input(), e.to_string())
    }
}

impl From<FileError> for Fault {
    fn from(e: FileError) -> Fault {
        Fault::of(e.is_user_fault(), e.to_string())
    }
}

impl From<MixError> for Fault {
    fn from(e: MixError) -> Fault {
        Fault::of(e.is_user_fault(), e.to_string())
    }
}

impl From<SelectError> for Fault {
    fn from(e: SelectError) -> Fault {
        Fault::of(e.is_user_fault(), e.to_string())
    }
}

impl From<SampleError> for Fault {
    fn from(e: SampleError) -> Fault {
        Fault::input(e.to_string())
    }
}

/// What the argument parser has to say: help and version go to stdout; a mistake becomes one line and exit status 2.
pub fn usage(error: &clap::Error) -> Result<(), Fault> {
    use clap::error::ErrorKind::{DisplayHelp, DisplayHelpOnMissingArgumentOrSubcommand, DisplayVersion};
    let text = error.render().to_string();
    match error.kind() {
        DisplayHelp | DisplayVersion => {
            super::output::print(text.trim_end());
            Ok(())
        }
        DisplayHelpOnMissingArgumentOrSubcommand => {
            Err(Fault::input("a command is missing; `admix --help` lists them"))
        }
        _ => {
            let named = std::env::args_os().nth(1).and_then(|a| a.into_string().ok());
            let named = named.filter(|a| COMMANDS.contains(&a.as_str()));
            Err(Fault::input(usage_line(&text, named.as_deref())))
        }
    }
}

/// The commands that have a help of their own.
const COMMANDS: [&str; 10] =
    ["render", "mix", "inspect", "soup", "sweep", "suggest", "catalogue", "bench", "list", "demo"];

/// clap's paragraphs as one line: the message and its tips, without the usage text.
fn usage_line(text: &str, command: Option<&str>) -> String {
    let mut parts: Vec<String> = Vec::new();
    for line in text.lines().map(str::trim).filter(|l| !l.is_empty()) {
        if line.starts_with("Usage: ") || line.starts_with("For more information") {
            break;
        }
        parts.push(line.strip_prefix("error: ").or(line.strip_prefix("tip: ")).unwrap_or(line).to_string());
    }
    let message = parts.join("; ").replace(":;", ":");
    let command = command.map(|c| format!(" {c}")).unwrap_or_default();
    format!("{message}; see `admix{command} --help`")
}

/// Panics are bugs; people get one line of them, developers the rest with RUST_BACKTRACE=1.
pub fn one_line_panics() {
    if std::env::var_os("RUST_BACKTRACE").is_some_and(|v| v != "0") {
        return;
    }
    std::panic::set_hook(Box::new(|info| {
        let payload = info.payload();
        let text = payload.downcast_ref::<&str>().copied().or(payload.downcast_ref::<String>().map(String::as_str));
        let place = info.location().map(|l| format!(" ({}:{})", l.file(), l.line())).unwrap_or_default();
        let text = one_line(text.unwrap_or("no message"));
        log::error!("internal error: {text}{place}");
        eprintln!("admix: internal error: {text}{place}; please report it with the output under RUST_BACKTRACE=1");
    }));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_errors_become_one_line() {
        let text = "error: the following required arguments were not provided:\n  --out <FILE>\n\nUsage: admix render --out <FILE>\n\nFor more information, try '--help'.\n";
        assert_eq!(
            usage_line(text, Some("render")),
            "the following required arguments were not provided: --out <FILE>; see `admix render --help`"
        );
        let text = "error: unexpected argument '--stepz' found\n\n  tip: a similar argument exists: '--steps'\n\nUsage: admix render <--a>\n";
        assert_eq!(
            usage_line(text, Some("render")),
            "unexpected argument '--stepz' found; a similar argument exists: '--steps'; see `admix render --help`"
        );
    }
}
