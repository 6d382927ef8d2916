//! Where things are and how other programs are called.

use std::env;
use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// The root of the repository.
pub fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.parent().unwrap_or(here).to_path_buf()
}

/// Cargo's target folder: the one asked for, otherwise the one this program was built into.
pub fn target_dir() -> Result<PathBuf> {
    if let Some(dir) = env::var_os("CARGO_TARGET_DIR") {
        return Ok(root().join(dir));
    }
    let exe = env::current_exe().context("where this program lies")?;
    let dir = exe.ancestors().nth(2).context("the target folder above this program")?;
    Ok(dir.to_path_buf())
}

/// A command in the root of the repository.
pub fn command(program: impl AsRef<OsStr>) -> Command {
    let mut command = Command::new(program);
    command.current_dir(root());
    command
}

/// The cargo that started this program.
pub fn cargo() -> Command {
    command(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
}

/// The path of a release executable of this workspace.
pub fn release_binary(name: &str) -> Result<PathBuf> {
    Ok(target_dir()?.join("release").join(format!("{name}{}", env::consts::EXE_SUFFIX)))
}

/// Shows a command, runs it with its output on the terminal, and fails unless it succeeds.
pub fn run(command: &mut Command) -> Result<()> {
    let shown = show(command);
    eprintln!("$ {shown}");
    let status = command.status().with_context(|| format!("`{shown}` could not be started"))?;
    if !status.success() {
        bail!("`{shown}` failed ({status})");
    }
    Ok(())
}

/// As [`run`], but says whether it succeeded and what it wrote to standard error, which still comes to the terminal, at the end.
pub fn run_listening(command: &mut Command) -> Result<(bool, String)> {
    let shown = show(command);
    eprintln!("$ {shown}");
    let output = command.stdin(Stdio::null()).stdout(Stdio::inherit()).stderr(Stdio::piped()).output();
    let output = output.with_context(|| format!("`{shown}` could not be started"))?;
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    eprint!("{said}");
    Ok((output.status.success(), said))
}

/// Runs a command and returns what it wrote to standard output; its standard error stays on the terminal.
pub fn capture(command: &mut Command) -> Result<String> {
    let shown = show(command);
    let output = command
        .stdin(Stdio::null())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("`{shown}` could not be started"))?;
    if !output.status.success() {
        bail!("`{shown}` failed ({})", output.status);
    }
    String::from_utf8(output.stdout).with_context(|| format!("`{shown}` wrote something that is not UTF-8"))
}

/// Whether a command starts and succeeds, silently, within a time.
pub fn succeeds(command: &mut Command, within: Duration) -> bool {
    let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
    let Ok(mut child) = child else { return false };
    let start = Instant::now();
    loop {
        match child.try_wait() {
            Ok(Some(status)) => return status.success(),
            Ok(None) if start.elapsed() < within => std::thread::sleep(Duration::from_millis(20)),
            _ => {
                // Both fail only when the child has ended by itself, which changes nothing here.
                let _ = child.kill();
                let _ = child.wait();
                return false;
            }
        }
    }
}

/// The first file of this name in the folders of PATH.
pub fn find(program: &str) -> Option<PathBuf> {
    let name = format!("{program}{}", env::consts::EXE_SUFFIX);
    env::split_paths(&env::var_os("PATH")?).map(|dir| dir.join(&name)).find(|path| path.is_file())
}

/// A command as it would be typed: settings, program, arguments.
fn show(command: &Command) -> String {
    let settings = command.get_envs().filter_map(|(name, value)| {
        // PATH is long and says nothing.
        (name != "PATH").then_some(())?;
        Some(format!("{}={}", name.to_string_lossy(), quoted(value?)))
    });
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let words = std::iter::once(quoted(program)).chain(command.get_args().map(quoted));
    settings.chain(words).collect::<Vec<_>>().join(" ")
}

fn quoted(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    if word.is_empty() || word.contains([' ', '"', '\'', '$']) { format!("{word:?}") } else { word.into_owned() }
}
