//! `cargo xtask test`: everything that has to pass before a change goes in.
//!
//! All of it is built in one profile, release, and into one folder: the tests run real diffusion and want optimised
//! code, and the program that the end-to-end part drives is the one they were built with. clippy and doc use the
//! same profile, so that build scripts and procedural macros are compiled once for all.

use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, anyhow, bail};

use crate::process::{cargo, run as run_command, target_dir};
use crate::setup::{self, Need};
use crate::toolchain::WasmToolchain;
use crate::{browser, end_to_end};

/// How a part ends that does not fail.
pub enum Outcome {
    /// Everything in it was done.
    Passed,
    /// Nothing was: what this machine lacks, and how to get it.
    Skipped(String),
}

impl From<()> for Outcome {
    fn from((): ()) -> Outcome {
        Outcome::Passed
    }
}

type Part = (&'static str, fn() -> Result<Outcome>);

/// In order: what fails quickly comes first, what shares a build comes together.
const PARTS: &[Part] = &[
    ("setup", || setup::ensure(Need::Test).map(Outcome::from)),
    ("fmt", || run_command(cargo().args(["fmt", "--all", "--check"])).map(Outcome::from)),
    ("clippy", || clippy().map(Outcome::from)),
    ("doc", || doc().map(Outcome::from)),
    ("build", || build().map(Outcome::from)),
    ("tests", || tests().map(Outcome::from)),
    ("shaders", || shaders().map(Outcome::from)),
    ("end-to-end", || end_to_end::run().map(Outcome::from)),
    ("wasm", || wasm().map(Outcome::from)),
    ("browser", browser::run),
];

/// The command: `test [--keep-going] [PART]...`.
pub fn run(arguments: &[String]) -> Result<()> {
    let keep_going = arguments.iter().any(|argument| argument == "--keep-going");
    let wanted: Vec<&str> =
        arguments.iter().map(String::as_str).filter(|argument| *argument != "--keep-going").collect();
    if let Some(unknown) = wanted.iter().find(|name| !PARTS.iter().any(|(part, _)| part == *name)) {
        let names: Vec<&str> = PARTS.iter().map(|(part, _)| *part).collect();
        bail!("there is no part `{unknown}`; the parts are {}", names.join(", "));
    }

    let mut report = Vec::new();
    // What somebody asks for by its name must not be left out.
    let must = |name: &&str| wanted.contains(name);
    for (name, part) in PARTS.iter().filter(|(name, _)| wanted.is_empty() || wanted.contains(name)) {
        eprintln!("\n=== {name}");
        let start = Instant::now();
        let outcome = match part() {
            Ok(Outcome::Skipped(why)) if must(name) => Err(anyhow!(why)),
            outcome => outcome,
        };
        match &outcome {
            Err(error) => eprintln!("{name}: {error:#}"),
            Ok(Outcome::Skipped(why)) => eprintln!("{name}: NOT RUN: {why}"),
            Ok(Outcome::Passed) => {}
        }
        eprintln!("=== {name}: {}, {}", verdict(&outcome), elapsed(start.elapsed()));
        let failed = outcome.is_err();
        report.push((*name, outcome, start.elapsed()));
        if failed && !keep_going {
            break;
        }
    }

    println!("\nWhat ran, and how long it took:");
    for (name, outcome, time) in &report {
        println!("  {name:<12} {:<7} {:>9}", verdict(outcome), elapsed(*time));
    }
    println!("  {:<20} {:>9}", "in all", elapsed(report.iter().map(|(_, _, time)| *time).sum()));
    for (name, outcome, _) in &report {
        if let Ok(Outcome::Skipped(why)) = outcome {
            println!("\n{name} was NOT RUN: {why}");
        }
    }
    let failed: Vec<&str> = report.iter().filter(|(_, outcome, _)| outcome.is_err()).map(|(name, ..)| *name).collect();
    if !failed.is_empty() {
        bail!("failed: {}", failed.join(", "));
    }
    Ok(())
}

fn clippy() -> Result<()> {
    run_command(cargo().args(["clippy", "--release", "--workspace", "--all-targets", "--", "-D", "warnings"]))
}

fn doc() -> Result<()> {
    run_command(cargo().args(["doc", "--release", "--workspace", "--no-deps"]).env("RUSTDOCFLAGS", "-D warnings"))
}

/// The program and every test, without running them: errors of the compiler come before failures of a test.
fn build() -> Result<()> {
    run_command(cargo().args(["build", "--release", "--workspace", "--bins", "--tests"]))
}

/// All tests of the workspace. Each writes down the shader variants that it compiles.
fn tests() -> Result<()> {
    let variants = shader_variants()?;
    if variants.exists() {
        fs::remove_file(&variants).with_context(|| format!("cannot remove {}", variants.display()))?;
    }
    let mut test = cargo();
    run_command(
        test.args(["test", "--release", "--workspace", "--no-fail-fast"]).env("ADMIX_SHADER_VARIANTS", variants),
    )
}

/// Every shader by naga alone, at WebGPU's default limits: the known variants and those that the tests have compiled.
fn shaders() -> Result<()> {
    let mut test = cargo();
    test.args(["test", "--release", "--workspace", "--test", "shader_validation"]);
    run_command(test.env("ADMIX_SHADER_VARIANTS", shader_variants()?))
}

fn shader_variants() -> Result<PathBuf> {
    Ok(target_dir()?.join("shader-variants.txt"))
}

/// Whether everything that the browser version is made of compiles for it.
fn wasm() -> Result<()> {
    run_command(WasmToolchain::ready()?.cargo("check")?.args(["--release", "--package", "admix", "--lib"]))
}

fn verdict(outcome: &Result<Outcome>) -> &'static str {
    match outcome {
        Ok(Outcome::Passed) => "ok",
        Ok(Outcome::Skipped(_)) => "NOT RUN",
        Err(_) => "FAILED",
    }
}

fn elapsed(time: Duration) -> String {
    let seconds = time.as_secs();
    if seconds < 60 {
        format!("{:.1} s", time.as_secs_f64())
    } else {
        format!("{} min {:02} s", seconds / 60, seconds % 60)
    }
}
