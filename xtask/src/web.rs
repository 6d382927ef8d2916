//! `cargo xtask web`: the browser version in dist/, as trunk builds it but with tools found or built on this machine.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};

use crate::dist;
use crate::process::{capture, cargo, command, find, root, run as run_command, succeeds, target_dir};
use crate::serve;
use crate::setup::{self, Need};
use crate::toolchain::{TARGET, WasmToolchain};

/// The newest version of wasm-opt that is known to break modules with reference types and multiple values.
const BROKEN_WASM_OPT: u32 = 108;
/// What the compiler's output uses; anything more would let wasm-opt produce what browsers lack.
const WASM_FEATURES: &[&str] =
    &["--enable-bulk-memory", "--enable-nontrapping-float-to-int", "--enable-sign-ext", "--enable-mutable-globals"];
const NEWER_WASM_FEATURES: &[&str] = &["--enable-reference-types", "--enable-multivalue"];

/// The profile that people get.
const PROFILE: &str = "wasm";
/// The most the program may weigh on its way to a browser: megabytes after brotli.
const MOST_MEGABYTES: f64 = 6.0;

/// The command: `web [--serve [PORT]] [--profile NAME] [--target-name NAME]`.
pub fn run(arguments: &[String]) -> Result<()> {
    let options = Options::parse(arguments)?;
    let dist = root().join("dist");
    build(&options.profile, &options.target_name, &dist)?;
    match options.port {
        Some(port) => serve::serve(&dist, port),
        None => Ok(()),
    }
}

/// Builds the page into `dist`, in place of what was there.
pub fn build(profile: &str, target_name: &str, dist: &Path) -> Result<()> {
    setup::ensure(Need::Web)?;
    let toolchain = WasmToolchain::ready()?;
    let bindgen = wasm_bindgen()?;

    let mut build = toolchain.cargo("build")?;
    run_command(build.args(["--profile", profile, "--package", "admix", "--lib"]))?;
    let built = toolchain.target_dir()?.join(TARGET).join(profile).join(format!("{target_name}.wasm"));

    let bound = target_dir()?.join("web-bindings");
    fresh_dir(&bound)?;
    run_command(
        command(bindgen)
            .args(["--target", "web", "--no-typescript", "--remove-name-section", "--out-dir"])
            .arg(&bound)
            .arg(&built),
    )?;
    let wasm = bound.join(format!("{target_name}_bg.wasm"));
    let before = size(&wasm)?;
    // A build for trying things is not worth the minute.
    let optimised = profile == PROFILE && optimise(&wasm, toolchain)?;

    // Built beside and put in place at the end, so that what is served is never half a page.
    let staging = dist.with_extension("new");
    fresh_dir(&staging)?;
    let wasm_name = dist::page(&bound, target_name, &staging)?;
    let version = dist::stamp(&staging)?;
    if dist.exists() {
        fs::remove_dir_all(dist).with_context(|| format!("cannot replace {}", dist.display()))?;
    }
    fs::rename(&staging, dist).with_context(|| format!("cannot create {}", dist.display()))?;

    let wasm = dist.join(wasm_name);
    println!("{} holds version {version}", dist.display());
    println!("  wasm from the compiler  {}", megabytes(before));
    if optimised {
        println!("  after wasm-opt          {}", megabytes(size(&wasm)?));
    }
    // The best takes half a minute; what is small enough without it is small enough with it.
    let quality = if profile == PROFILE { "--best" } else { "--quality=5" };
    if let Some(packed) = brotli(&wasm, quality)? {
        println!("  after brotli            {}", megabytes(packed));
        ensure!(
            packed as f64 <= MOST_MEGABYTES * 1e6,
            "the program weighs {} after brotli; a browser should not have to load more than {MOST_MEGABYTES} MB",
            megabytes(packed)
        );
    }
    Ok(())
}

struct Options {
    port: Option<u16>,
    profile: String,
    target_name: String,
}

impl Options {
    fn parse(arguments: &[String]) -> Result<Self> {
        let mut options = Self { port: None, profile: PROFILE.into(), target_name: "admix_app".into() };
        let mut rest = arguments.iter().peekable();
        while let Some(argument) = rest.next() {
            match argument.as_str() {
                "--serve" => {
                    let port = rest.next_if(|next| !next.starts_with("--"));
                    options.port = Some(match port {
                        Some(port) => port.parse().with_context(|| format!("`{port}` is not a port"))?,
                        None => 8080,
                    });
                }
                "--profile" => options.profile = rest.next().context("--profile wants a name")?.clone(),
                "--target-name" => options.target_name = rest.next().context("--target-name wants a name")?.clone(),
                other => bail!("web knows --serve, --profile and --target-name, not `{other}`"),
            }
        }
        Ok(options)
    }
}

/// The wasm-bindgen program of the very version in Cargo.lock: the two only understand each other when they match.
fn wasm_bindgen() -> Result<PathBuf> {
    let lock = fs::read_to_string(root().join("Cargo.lock")).context("cannot read Cargo.lock")?;
    let version = locked_version(&lock, "wasm-bindgen")
        .context("Cargo.lock names no wasm-bindgen: the browser version needs it")?;
    let tools = target_dir()?.join("tools");
    let own = tools.join("bin").join(format!("wasm-bindgen{}", std::env::consts::EXE_SUFFIX));
    for candidate in find("wasm-bindgen").into_iter().chain(own.is_file().then(|| own.clone())) {
        let said = capture(command(&candidate).arg("--version")).unwrap_or_default();
        if said.split_whitespace().nth(1) == Some(version) {
            return Ok(candidate);
        }
    }
    eprintln!("Building wasm-bindgen {version}; it takes some minutes, once.");
    run_command(cargo().args(["install", "wasm-bindgen-cli", "--version", version, "--force", "--root"]).arg(&tools))?;
    Ok(own)
}

/// The version of a package in the text of a Cargo.lock.
fn locked_version<'a>(lock: &'a str, package: &str) -> Option<&'a str> {
    let mut lines = lock.lines();
    let name = format!("name = \"{package}\"");
    lines.find(|line| *line == name)?;
    lines.next()?.strip_prefix("version = \"")?.strip_suffix('"')
}

/// Makes the module smaller in place; false where no usable wasm-opt can be had.
fn optimise(wasm: &Path, toolchain: WasmToolchain) -> Result<bool> {
    let Some(mut tool) = wasm_opt(toolchain) else {
        eprintln!(
            "There is no wasm-opt newer than {BROKEN_WASM_OPT} here (npm's binaryen has one): the wasm stays larger than it could be."
        );
        return Ok(false);
    };
    let smaller = wasm.with_extension("opt");
    tool.arg("-Os").args(WASM_FEATURES);
    if toolchain == WasmToolchain::Installed {
        tool.args(NEWER_WASM_FEATURES);
    }
    run_command(tool.arg("--output").arg(&smaller).arg(wasm))?;
    fs::rename(&smaller, wasm).with_context(|| format!("cannot replace {}", wasm.display()))?;
    Ok(true)
}

/// A wasm-opt that does not break what this toolchain makes.
fn wasm_opt(toolchain: WasmToolchain) -> Option<Command> {
    let version = find("wasm-opt").and_then(|tool| {
        let said = capture(command(tool).arg("--version")).ok()?;
        wasm_opt_version(&said)
    });
    // Debian's toolchain is told to leave the two features out, so that there any version will do.
    if version.is_some_and(|version| version > BROKEN_WASM_OPT || toolchain == WasmToolchain::Debian) {
        return Some(command("wasm-opt"));
    }
    let npx = || {
        let mut npx = command("npx");
        npx.args(["--yes", "--package", "binaryen@132", "wasm-opt"]);
        npx
    };
    succeeds(npx().arg("--version"), Duration::from_secs(180)).then(npx)
}

/// From "wasm-opt version 108 (version_108)".
fn wasm_opt_version(said: &str) -> Option<u32> {
    said.split_whitespace().find_map(|word| word.parse().ok())
}

/// The size of a file after brotli, as a web server would send it; none where there is no brotli.
fn brotli(file: &Path, quality: &str) -> Result<Option<u64>> {
    if find("brotli").is_none() {
        return Ok(None);
    }
    let packed = target_dir()?.join("web-bindings").join("size.br");
    run_command(command("brotli").args([quality, "--force", "-o"]).arg(&packed).arg(file).stdin(Stdio::null()))?;
    size(&packed).map(Some)
}

fn size(file: &Path) -> Result<u64> {
    Ok(fs::metadata(file).with_context(|| format!("cannot read {}", file.display()))?.len())
}

fn megabytes(bytes: u64) -> String {
    format!("{:.2} MB", bytes as f64 / 1e6)
}

fn fresh_dir(dir: &Path) -> Result<()> {
    if dir.exists() {
        fs::remove_dir_all(dir).with_context(|| format!("cannot empty {}", dir.display()))?;
    }
    fs::create_dir_all(dir).with_context(|| format!("cannot create {}", dir.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_read() {
        let lock = "[[package]]\nname = \"wasm-bindgen-macro\"\nversion = \"0.1.0\"\n\n[[package]]\nname = \"wasm-bindgen\"\nversion = \"0.2.106\"\n";
        assert_eq!(locked_version(lock, "wasm-bindgen"), Some("0.2.106"));
        assert_eq!(locked_version(lock, "egui"), None);
        assert_eq!(wasm_opt_version("wasm-opt version 108 (version_108)\n"), Some(108));
        assert_eq!(wasm_opt_version("not found"), None);
    }

    #[test]
    fn trunk_takes_the_locked_wasm_bindgen() {
        let read = |name| fs::read_to_string(root().join(name)).expect("the repository has this file");
        let (lock, trunk) = (read("Cargo.lock"), read("Trunk.toml"));
        let locked = locked_version(&lock, "wasm-bindgen").expect("wgpu's browser backend needs it");
        assert!(trunk.contains(&format!("wasm_bindgen = {locked:?}")), "Trunk.toml should pin {locked}");
    }

    #[test]
    fn options_are_read() {
        let parse = |words: &[&str]| Options::parse(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>());
        assert_eq!(parse(&["--serve"]).expect("valid").port, Some(8080));
        assert_eq!(parse(&["--serve", "9000", "--target-name", "x"]).expect("valid").port, Some(9000));
        assert_eq!(parse(&["--target-name", "x"]).expect("valid").target_name, "x");
        assert_eq!(parse(&["--profile", "wasm-dev"]).expect("valid").profile, "wasm-dev");
        assert!(parse(&["--serve", "many"]).is_err());
        assert!(parse(&["--server"]).is_err());
    }
}
