//! `cargo xtask setup`: system packages. Installs them as root on Debian and its relatives, elsewhere says what to do.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::process::{capture, command, find, run as run_command};

/// What the packages are wanted for.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Need {
    /// A Vulkan driver and what a window is made of.
    Run,
    /// The above and what the tests drive.
    Test,
    /// Tools for the browser version.
    Web,
    /// A browser and what drives it.
    Browser,
    /// A compiler for WebAssembly where rustup cannot add the target.
    DebianWasm,
}

/// A Vulkan loader with Mesa's drivers, among them the software one that needs no graphics card.
const VULKAN: &[&str] = &["libvulkan1", "mesa-vulkan-drivers"];
/// What winit opens at run time, and a font for what egui's own fonts lack.
const WINDOW: &[&str] = &[
    "libx11-6",
    "libx11-xcb1",
    "libxcursor1",
    "libxi6",
    "libxrandr2",
    "libxkbcommon0",
    "libxkbcommon-x11-0",
    "libwayland-client0",
    "libwayland-cursor0",
    "fonts-dejavu-core",
];
const BROWSER_TESTS: &[&str] = &["chromium"];
const NODE: &[&str] = &["nodejs", "npm"];
const WEB: &[&str] = &["binaryen", "brotli"];
const DEBIAN_WASM: &[&str] = &["rustc-web", "cargo-web", "rust-web-src", "lld-19"];

/// The command: `setup [run|test|web]`.
pub fn run(arguments: &[String]) -> Result<()> {
    match arguments.first().map(String::as_str) {
        None | Some("run") => ensure(Need::Run),
        Some("test") => ensure(Need::Test),
        Some("web") => ensure(Need::Web),
        Some(other) => bail!("setup knows run, test and web, not `{other}`"),
    }
}

/// Makes sure the packages are there, or says how to get them.
pub fn ensure(need: Need) -> Result<()> {
    match Os::here() {
        Os::Debian => ensure_debian(&debian_packages(need)),
        os => {
            if need != Need::Run || !has_vulkan(os) {
                eprintln!("Needed for this, unless it is installed already: {}", os.advice(need));
            }
            Ok(())
        }
    }
}

/// What to install for this, in a line.
pub fn advice(need: Need) -> String {
    match Os::here() {
        Os::Debian => format!("these packages: sudo apt-get install {}", debian_packages(need).join(" ")),
        os => os.advice(need).into(),
    }
}

/// Whether this is Debian or one of its relatives, where `DebianWasm` can be had.
pub fn is_debian() -> bool {
    Os::here() == Os::Debian
}

fn debian_packages(need: Need) -> Vec<&'static str> {
    let mut packages = Vec::new();
    match need {
        Need::Run | Need::Test => packages.extend([VULKAN, WINDOW].concat()),
        Need::Browser => {
            packages.extend(BROWSER_TESTS);
            // Node from elsewhere brings its own npm, and Debian's would not go with it.
            if find("npm").is_none() {
                packages.extend(NODE);
            }
        }
        Need::Web => packages.extend(WEB),
        Need::DebianWasm => packages.extend(DEBIAN_WASM),
    }
    packages
}

fn ensure_debian(packages: &[&str]) -> Result<()> {
    let missing = missing_debian(packages)?;
    if missing.is_empty() {
        return Ok(());
    }
    if !is_root() {
        eprintln!("Some packages are missing; install them with\n  sudo apt-get install {}", missing.join(" "));
        return Ok(());
    }
    let apt = || {
        let mut apt = command("apt-get");
        apt.args(["-qq", "-o", "Acquire::Retries=3", "-o", "DPkg::Lock::Timeout=300", "-o", "Dpkg::Use-Pty=0"]);
        apt.env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null());
        apt
    };
    // Stale lists can still do; it is the installation that decides.
    if let Err(error) = run_command(apt().arg("update")) {
        eprintln!("{error:#}; going on with the package lists that are there");
    }
    run_command(apt().args(["install", "-y", "--no-install-recommends"]).args(&missing))
        .with_context(|| format!("these packages are needed: {}", missing.join(" ")))
}

/// The packages of a list that dpkg does not call installed.
fn missing_debian<'a>(packages: &[&'a str]) -> Result<Vec<&'a str>> {
    // It exits with 1 when it does not know a package, so the status says nothing; what it lists is there.
    let output = Command::new("dpkg-query")
        .args(["--show", "--showformat=${Package} ${db:Status-Status}\n"])
        .args(packages)
        .stderr(Stdio::null())
        .output()
        .context("`dpkg-query` could not be started")?;
    let listing = String::from_utf8_lossy(&output.stdout);
    let installed: BTreeSet<&str> = listing.lines().filter_map(|line| line.strip_suffix(" installed")).collect();
    Ok(packages.iter().copied().filter(|package| !installed.contains(package)).collect())
}

fn is_root() -> bool {
    capture(command("id").arg("-u")).is_ok_and(|id| id.trim() == "0")
}

/// Whether a Vulkan loader and at least one driver are there; other systems bring their own graphics interface.
fn has_vulkan(os: Os) -> bool {
    if matches!(os, Os::Mac | Os::Windows) {
        return true;
    }
    let loader = ["/usr/lib64", "/usr/lib", "/usr/lib/x86_64-linux-gnu", "/usr/lib/aarch64-linux-gnu", "/lib64"]
        .iter()
        .any(|dir| Path::new(dir).join("libvulkan.so.1").exists());
    let driver = ["/usr/share/vulkan/icd.d", "/etc/vulkan/icd.d", "/usr/local/share/vulkan/icd.d"]
        .iter()
        .any(|dir| std::fs::read_dir(dir).is_ok_and(|mut files| files.next().is_some()));
    // NixOS and its like keep them elsewhere; `vulkaninfo` then knows.
    (loader && driver) || find("vulkaninfo").is_some()
}

/// The families of systems whose package names are known.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Os {
    Debian,
    Fedora,
    Arch,
    OtherLinux,
    Mac,
    Windows,
}

impl Os {
    fn here() -> Os {
        match std::env::consts::OS {
            "macos" => Os::Mac,
            "windows" => Os::Windows,
            _ => Os::from_release(&std::fs::read_to_string("/etc/os-release").unwrap_or_default()),
        }
    }

    /// From the text of /etc/os-release.
    fn from_release(text: &str) -> Os {
        let values =
            text.lines().filter_map(|line| line.split_once('=')).filter(|(k, _)| matches!(*k, "ID" | "ID_LIKE"));
        let names: BTreeSet<&str> = values.flat_map(|(_, v)| v.trim_matches(['"', '\'']).split_whitespace()).collect();
        let is = |name| names.contains(name);
        match () {
            () if is("debian") || is("ubuntu") => Os::Debian,
            () if is("fedora") || is("rhel") => Os::Fedora,
            () if is("arch") => Os::Arch,
            () => Os::OtherLinux,
        }
    }

    /// One line that says how to install what is needed.
    fn advice(self, need: Need) -> &'static str {
        if need == Need::Browser {
            return "Chromium, Node 18 or newer and npm";
        }
        let web = matches!(need, Need::Web | Need::DebianWasm);
        match (self, web) {
            (Os::Debian, false) => "sudo apt-get install mesa-vulkan-drivers libvulkan1 libxkbcommon-x11-0",
            (Os::Fedora, false) => "sudo dnf install mesa-vulkan-drivers vulkan-loader libxkbcommon-x11",
            (Os::Arch, false) => {
                "sudo pacman -S vulkan-icd-loader vulkan-swrast libxkbcommon-x11, and your card's driver: vulkan-radeon, vulkan-intel or nvidia-utils"
            }
            (Os::OtherLinux, false) => {
                "the Vulkan loader, a Vulkan driver (Mesa's has one without a graphics card) and libxkbcommon-x11"
            }
            (Os::Mac | Os::Windows, false) => "nothing: the system brings its graphics interface",
            (Os::Debian, true) => "sudo apt-get install binaryen brotli",
            (Os::Fedora, true) => "rustup target add wasm32-unknown-unknown && sudo dnf install binaryen brotli",
            (Os::Arch, true) => "rustup target add wasm32-unknown-unknown && sudo pacman -S binaryen brotli",
            (Os::OtherLinux | Os::Windows, true) => "rustup target add wasm32-unknown-unknown, and binaryen (wasm-opt)",
            (Os::Mac, true) => "rustup target add wasm32-unknown-unknown && brew install binaryen brotli",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn systems_are_told_apart() {
        assert_eq!(Os::from_release("NAME=x\nID=debian\n"), Os::Debian);
        assert_eq!(Os::from_release("ID=linuxmint\nID_LIKE=\"ubuntu debian\"\n"), Os::Debian);
        assert_eq!(Os::from_release("ID=\"rocky\"\nID_LIKE=\"rhel centos fedora\"\n"), Os::Fedora);
        assert_eq!(Os::from_release("ID=arch"), Os::Arch);
        assert_eq!(Os::from_release("ID=nixos\nPRETTY_NAME=\"not debian\"\n"), Os::OtherLinux);
        assert_eq!(Os::from_release(""), Os::OtherLinux);
    }

    #[test]
    fn what_is_not_installed_is_missing() {
        if is_debian() {
            let missing = missing_debian(&["dpkg", "no-such-package-as-this"]).expect("dpkg-query runs");
            assert_eq!(missing, ["no-such-package-as-this"]);
        }
    }
}
