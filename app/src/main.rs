//! The `admix` program. In the browser the library's own entry is used instead.

#[cfg(not(target_arch = "wasm32"))]
fn main() -> std::process::ExitCode {
    admix_app::cli::main()
}

#[cfg(target_arch = "wasm32")]
fn main() {}
