//! `cargo xtask run`: from a fresh clone to a picture.

use std::env;

use anyhow::{Context, Result};

use crate::process::{cargo, command, release_binary, root, run as run_command};
use crate::setup::{self, Need};

/// Installs what is missing, builds, and starts the program.
pub fn run(arguments: &[String]) -> Result<()> {
    setup::ensure(Need::Run)?;
    run_command(cargo().args(["build", "--release", "--package", "admix"]))?;
    let mut admix = command(release_binary("admix")?);
    if !arguments.is_empty() {
        // Paths among them are relative to where this was called.
        let here = env::current_dir().context("the folder this was called in")?;
        return run_command(admix.current_dir(here).args(arguments));
    }
    if has_display() {
        return run_command(&mut admix);
    }
    eprintln!("There is no display here: rendering the built-in demo instead of opening the studio.");
    let out = root().join("out");
    std::fs::create_dir_all(&out).with_context(|| format!("cannot create {}", out.display()))?;
    run_command(admix.args(["demo", "--out"]).arg(&out))?;
    println!("The pictures are in {}", out.display());
    Ok(())
}

/// Whether a window can be opened. macOS and Windows always have a desktop.
fn has_display() -> bool {
    let set = |name| env::var_os(name).is_some_and(|value| !value.is_empty());
    cfg!(any(target_os = "macos", target_os = "windows")) || set("DISPLAY") || set("WAYLAND_DISPLAY")
}
