//! The command line, a file per command. What they share: `fault` (one line and an exit status), `output` (files and reports),
//! `progress` (the bar), `cancel` (Ctrl-C), `values` (what flags accept), `recipe` (where recipes come from).

mod bench;
mod cancel;
mod catalogue;
mod demo;
mod fault;
mod figures;
mod inspect;
mod library;
mod list;
mod logging;
mod mix;
mod output;
mod progress;
mod recipe;
mod render;
mod shown;
mod soup;
mod suggest;
mod sweep;
mod tensors;
mod values;

use std::process::ExitCode;

use clap::{Parser, Subcommand};

use fault::Fault;

/// Mix Stable Diffusion checkpoints and adapters, and render them.
#[derive(Parser)]
#[command(
    name = "admix",
    version,
    about,
    after_help = "Without a command the studio opens. `admix COMMAND --help` explains a command."
)]
struct Cli {
    /// Print one JSON object on stdout and nothing else there
    #[arg(long, global = true)]
    json: bool,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand)]
enum Command {
    /// Make a picture
    Render(Box<render::RenderArgs>),
    /// Write a recipe's model to a file or folder
    Mix(mix::MixArgs),
    /// Say what a file is; of an adapter also how well it fits, and what it changes
    Inspect(inspect::InspectArgs),
    /// Look for the mean of several models that denoises given pictures best
    Soup(soup::SoupArgs),
    /// Walk from a model to its fine-tune, with the loss on given pictures at every place
    Sweep(sweep::SweepArgs),
    /// Choose adapters that suit a prompt
    Suggest(suggest::SuggestArgs),
    /// Look at the cards that `suggest` chooses by, change them, or have them made from pictures
    Catalogue(Box<catalogue::CatalogueArgs>),
    /// Measure this machine, each figure beside the device's own limit
    Bench(bench::BenchArgs),
    /// List what there is to choose from
    List(list::ListArgs),
    /// Render a contact sheet of the built-in model, adapters and merges
    Demo(demo::DemoArgs),
}

/// Runs the program: parses the arguments, does the command, turns its outcome into an exit status (0 done, 2 the input is at fault, 1 the rest).
pub fn main() -> ExitCode {
    fault::one_line_panics();
    quiet_driver();
    logging::start();
    // A panic anywhere below has been printed as one line by then; unwinding removed unfinished files.
    let outcome = std::panic::catch_unwind(|| match Cli::try_parse() {
        Ok(cli) => run(cli),
        Err(e) => fault::usage(&e),
    });
    match outcome {
        Ok(Ok(())) => ExitCode::SUCCESS,
        Ok(Err(fault)) => {
            eprintln!("admix: {}", fault.text());
            ExitCode::from(fault.status())
        }
        Err(_) => ExitCode::from(1),
    }
}

/// Mesa's device selection asks a Wayland server first and complains on stderr where there can be none; errors shall be one line.
#[cfg(target_os = "linux")]
#[allow(unsafe_code)]
fn quiet_driver() {
    if std::env::var_os("XDG_RUNTIME_DIR").is_none() && std::env::var_os("NODEVICE_SELECT").is_none() {
        // SAFETY: called first thing in `main`, before any other thread exists.
        unsafe { std::env::set_var("NODEVICE_SELECT", "1") };
    }
}

#[cfg(not(target_os = "linux"))]
fn quiet_driver() {}

fn run(cli: Cli) -> Result<(), Fault> {
    let json = cli.json;
    match cli.command {
        Some(Command::Render(args)) => render::run(&args, json),
        Some(Command::Mix(args)) => mix::run(&args, json),
        Some(Command::Inspect(args)) => inspect::run(&args, json),
        Some(Command::Soup(args)) => soup::run(&args, json),
        Some(Command::Sweep(args)) => sweep::run(&args, json),
        Some(Command::Suggest(args)) => suggest::run(&args, json),
        Some(Command::Catalogue(args)) => catalogue::run(&args, json),
        Some(Command::Bench(args)) => bench::run(&args, json),
        Some(Command::List(args)) => list::run(&args, json),
        Some(Command::Demo(args)) => demo::run(&args, json),
        None if json => Err(Fault::input("--json needs a command; `admix --help` lists them")),
        None => open_studio(),
    }
}

#[cfg(feature = "studio")]
fn open_studio() -> Result<(), Fault> {
    crate::studio::run(&[]).map_err(Fault::other)
}

#[cfg(not(feature = "studio"))]
fn open_studio() -> Result<(), Fault> {
    let text = "this build has the command line only; build the studio with `cargo build --release -p admix`, or see `admix --help`";
    Err(Fault::other(text))
}
