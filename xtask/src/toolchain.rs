//! A compiler for WebAssembly: rustup's where it can add the target, otherwise Debian's, which builds the standard
//! library itself.

use std::env;
use std::ffi::OsString;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Result, bail};

use crate::process::{capture, cargo, command, find, succeeds, target_dir};
use crate::setup::{self, Need};

/// The target of the browser version.
pub const TARGET: &str = "wasm32-unknown-unknown";

/// Where a compiler for WebAssembly comes from.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum WasmToolchain {
    /// The compiler in use has the target's standard library.
    Installed,
    /// Debian's `rustc-web`, with the standard library built from its source.
    Debian,
}

impl WasmToolchain {
    /// Finds one, and installs what it lacks where that is possible.
    pub fn ready() -> Result<Self> {
        if has_target() {
            return Ok(Self::Installed);
        }
        // Some networks let nothing through to rustup's server and never answer.
        let limit = Duration::from_secs(180);
        if find("rustup").is_some()
            && succeeds(command("rustup").args(["target", "add", TARGET]), limit)
            && has_target()
        {
            return Ok(Self::Installed);
        }
        if setup::is_debian() {
            setup::ensure(Need::DebianWasm)?;
            let complete = ["/usr/bin/cargo", "/usr/bin/rustc", "/usr/bin/wasm-ld-19"]
                .iter()
                .all(|path| PathBuf::from(path).is_file());
            if complete {
                return Ok(Self::Debian);
            }
        }
        bail!(
            "there is no compiler for WebAssembly: run `rustup target add {TARGET}`, or on Debian `apt-get install rustc-web cargo-web rust-web-src lld-19`"
        )
    }

    /// `cargo ACTION --target wasm32-unknown-unknown`, set up for this toolchain.
    pub fn cargo(self, action: &str) -> Result<Command> {
        match self {
            Self::Installed => {
                let mut cargo = cargo();
                cargo.args([action, "--target", TARGET]);
                Ok(cargo)
            }
            Self::Debian => {
                let mut cargo = command("/usr/bin/cargo");
                cargo.args([action, "--target", TARGET, "-Z", "build-std=std,panic_abort"]);
                cargo.args(["--config", &format!("target.{TARGET}.linker=\"wasm-ld-19\"")]);
                // It must not meet the compiler that started this program: not in the path, not in the settings.
                let mut path = OsString::from("/usr/bin:");
                path.push(env::var_os("PATH").unwrap_or_default());
                cargo.env("PATH", path).env("RUSTC", "/usr/bin/rustc").env("RUSTC_BOOTSTRAP", "1");
                for name in ["CARGO", "RUSTUP_TOOLCHAIN", "RUSTC_WRAPPER", "RUSTC_WORKSPACE_WRAPPER", "RUSTDOC"] {
                    cargo.env_remove(name);
                }
                cargo.env("CARGO_TARGET_DIR", self.target_dir()?);
                // Debian's wasm-opt 108 silently breaks modules that use these two.
                cargo.env(
                    "CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_RUSTFLAGS",
                    "-C target-feature=-reference-types,-multivalue",
                );
                Ok(cargo)
            }
        }
    }

    /// Where it puts what it builds. Two compilers share no folder, so that neither rebuilds the other's.
    pub fn target_dir(self) -> Result<PathBuf> {
        match self {
            Self::Installed => target_dir(),
            Self::Debian => Ok(target_dir()?.join("debian-wasm")),
        }
    }
}

/// Whether the compiler in use has the target's standard library.
fn has_target() -> bool {
    let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    capture(command(rustc).args(["--print", "target-libdir", "--target", TARGET]))
        .is_ok_and(|dir| PathBuf::from(dir.trim()).is_dir())
}
