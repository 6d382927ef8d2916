//! The browser version's page, and the tests that drive it in a real Chromium (`tests/browser`).

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};

use anyhow::{Context, Result, ensure};

use crate::process::{command, find, release_binary, root, run as run_command, run_listening, target_dir};
use crate::setup::{self, Need};
use crate::test::Outcome;
use crate::web;

/// The profile of the page that is tested: the one for people takes minutes longer to build and runs the same code.
const PROFILE: &str = "wasm-dev";
/// What Chromium is called: on Debian, elsewhere, and Google's own.
const CHROMIUM: &[&str] = &["chromium", "chromium-browser", "google-chrome"];
/// This run has built the page already.
static IS_BUILT: AtomicBool = AtomicBool::new(false);

fn dist() -> Result<PathBuf> {
    Ok(target_dir()?.join("browser").join("dist"))
}

/// Builds the page that the tests drive.
pub fn page() -> Result<()> {
    let dist = dist()?;
    std::fs::create_dir_all(dist.parent().context("it has a folder")?)
        .context("cannot create the folder of the page")?;
    web::build(PROFILE, "admix_app", &dist)?;
    IS_BUILT.store(true, Ordering::Relaxed);
    Ok(())
}

/// Drives the page and compares it with the release build of `admix`. Not where there is no Chromium and none can be had.
pub fn run() -> Result<Outcome> {
    if let Err(error) = setup::ensure(Need::Browser) {
        eprintln!("{error:#}");
    }
    let chromium = CHROMIUM.iter().find_map(|name| find(name));
    let (Some(chromium), Some(_), Some(_)) = (chromium, find("node"), find("npm")) else {
        return Ok(Outcome::Skipped(format!("it needs {}", setup::advice(Need::Browser))));
    };
    let tests = root().join("tests/browser");
    // Into the tree, where node looks; git ignores it.
    let mut install = command("npm");
    let (is_done, said) = run_listening(install.args(["ci", "--no-audit", "--no-fund"]).current_dir(&tests))?;
    if !is_done {
        // A machine that reaches no registry is like one without Chromium; everything else is a mistake in the tree or in the installation.
        let code = network_code(&said).context("`npm ci` in tests/browser failed, and not for want of a network")?;
        return Ok(Outcome::Skipped(format!(
            "playwright-core could not be installed: npm reached no registry ({code})"
        )));
    }
    if !IS_BUILT.load(Ordering::Relaxed) {
        page()?;
    }
    let program = release_binary("admix")?;
    ensure!(program.is_file(), "{} is missing: `cargo xtask test build` makes it", program.display());
    let mut drive = command("node");
    drive.arg(tests.join("run.mjs")).env("ADMIX_DIST", dist()?).env("ADMIX_BIN", program);
    drive.env("ADMIX_CHROMIUM", chromium).env("ADMIX_OUT", target_dir()?);
    run_command(&mut drive).map(Outcome::from)
}

/// The code with which npm says that it could not reach its registry.
fn network_code(said: &str) -> Option<&str> {
    const CODES: [&str; 10] = [
        "ENOTFOUND",
        "EAI_AGAIN",
        "ECONNREFUSED",
        "ECONNRESET",
        "ETIMEDOUT",
        "ENETUNREACH",
        "EHOSTUNREACH",
        "ENETDOWN",
        "ERR_SOCKET_TIMEOUT",
        "ENOTCACHED",
    ];
    // `npm error code ENOTFOUND`; before npm 10.6 `npm ERR! code ENOTFOUND`.
    let codes = said.lines().filter_map(|line| {
        let rest = line.strip_prefix("npm error code ").or_else(|| line.strip_prefix("npm ERR! code "))?;
        Some(rest.trim())
    });
    codes.into_iter().find(|code| CODES.contains(code))
}

#[cfg(test)]
mod tests {
    use super::network_code;

    /// Only a registry that cannot be reached leaves the part out; a lock file that does not fit is a failure.
    #[test]
    fn a_broken_lock_file_is_no_missing_network() {
        assert_eq!(network_code("npm error code ENOTFOUND\nnpm error syscall getaddrinfo"), Some("ENOTFOUND"));
        assert_eq!(network_code("npm ERR! code ECONNREFUSED\n"), Some("ECONNREFUSED"));
        for said in [
            "npm error code EUSAGE\nnpm error `npm ci` can only install",
            "npm error code EJSONPARSE",
            "",
            "npm error code E404",
        ] {
            assert_eq!(network_code(said), None, "{said}");
        }
    }
}
