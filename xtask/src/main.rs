//! `cargo xtask`: everything a person does with this repository that is more than one cargo command.
//! A file per command; this one only dispatches.

mod browser;
mod dist;
mod end_to_end;
mod process;
mod run;
mod serve;
mod setup;
mod test;
mod toolchain;
mod web;

use std::process::ExitCode;

const HELP: &str = "\
Usage: cargo xtask COMMAND

  run [ADMIX ARGUMENTS]    build the program and start it: the studio where there is a display, otherwise the
                           built-in demo into out/. With arguments: `cargo xtask run bench --quick`
  test [PART]...           everything that has to pass before a change goes in. Parts, in order:
                           setup fmt clippy doc build tests shaders end-to-end wasm browser
       --keep-going        do not stop at the first part that fails
  web  [--serve [PORT]]    build the browser version into dist/; --serve shows it on http://127.0.0.1:8080
       --profile NAME      `wasm-dev` builds faster and runs slower
       --target-name NAME  the library to build, `admix_app` by default
  setup [run|test|web]     install what a bare Debian or Ubuntu lacks (as root), elsewhere say what to install
  help                     this text
";

fn main() -> ExitCode {
    let arguments: Vec<String> = std::env::args().skip(1).collect();
    let rest = arguments.get(1..).unwrap_or_default();
    let outcome = match arguments.first().map(String::as_str) {
        None | Some("help" | "--help" | "-h") => {
            print!("{HELP}");
            Ok(())
        }
        Some("run") => run::run(rest),
        Some("test") => test::run(rest),
        Some("web") => web::run(rest),
        Some("setup") => setup::run(rest),
        // Trunk calls this one after it has built the page (see Trunk.toml).
        Some("stamp") => dist::run(rest),
        Some(other) => Err(anyhow::anyhow!("there is no command `{other}`; `cargo xtask help` lists them")),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}
