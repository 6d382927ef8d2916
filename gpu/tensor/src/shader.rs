//! Shader sources and their tiny preprocessor.
//!
//! Every `shaders/**/*.wgsl` is embedded by `build.rs` under its stem (`shaders/mix/sce.wgsl` is `mix/sce`). Three line directives are
//! resolved here, exactly as at run time, so that the validation test sees what the device sees:
//! `#include "shared/name"`, `#if NAME` / `#else` / `#endif` (true when the define exists and is not 0).
//! `#for i COUNT` ... `#end` repeats its lines with `$i` replaced by 0, 1, ..: register tiles are unrolled in the source, because
//! software adapters turn indexed private arrays into memory. COUNT is a number or the name of a define; loops nest.
//! Every define also becomes `const NAME: u32 = value;` at the top of the shader.

use crate::TensorError;

static SOURCES: &[(&str, &str)] = include!(concat!(env!("OUT_DIR"), "/shader_sources.rs"));

/// Compile-time constants of a shader variant, in a fixed order.
pub type Defines = Vec<(&'static str, u32)>;

/// All embedded shaders: (stem below `shaders/`, source text).
pub fn sources() -> &'static [(&'static str, &'static str)] {
    SOURCES
}

fn source(name: &str) -> Result<&'static str, TensorError> {
    SOURCES
        .iter()
        .find(|(n, _)| *n == name)
        .map(|(_, s)| *s)
        .ok_or_else(|| TensorError::Shader { name: name.into(), reason: "no such file below shaders/".into() })
}

/// One variant as a line of text: `mix/sce WG=8 MODELS=2`.
pub fn describe(name: &str, defines: &[(&'static str, u32)]) -> String {
    defines.iter().fold(name.to_owned(), |line, (key, value)| format!("{line} {key}={value}"))
}

/// Appends a variant that is about to be compiled to the file that ADMIX_SHADER_VARIANTS names, if it does. So the validation test
/// learns what the program really asks for (see `tests/shader_validation.rs`).
#[cfg(not(target_arch = "wasm32"))]
pub(crate) fn note(name: &str, defines: &[(&'static str, u32)]) {
    use std::io::Write as _;
    let Some(path) = std::env::var_os("ADMIX_SHADER_VARIANTS") else { return };
    let line = format!("{}\n", describe(name, defines));
    // One write for a line: other test programs append to the same file.
    let written =
        std::fs::OpenOptions::new().create(true).append(true).open(path).and_then(|mut f| f.write_all(line.as_bytes()));
    if let Err(error) = written {
        log::warn!("ADMIX_SHADER_VARIANTS cannot be written: {error}");
    }
}

/// Resolves includes and conditionals of shader `name` and prefixes its defines as constants.
pub fn resolve(name: &str, defines: &[(&'static str, u32)]) -> Result<String, TensorError> {
    let mut out = String::with_capacity(8192);
    for (key, value) in defines {
        out.push_str(&format!("const {key}: u32 = {value}u;\n"));
    }
    expand(name, defines, &mut out, 0)?;
    Ok(out)
}

fn expand(name: &str, defines: &[(&'static str, u32)], out: &mut String, depth: usize) -> Result<(), TensorError> {
    let fail = |reason: String| TensorError::Shader { name: name.into(), reason };
    if depth > 8 {
        return Err(fail("includes nest too deeply".into()));
    }
    let mut kept = Vec::new();
    // One entry per open #if: is this branch live?
    let mut live: Vec<bool> = Vec::new();
    for (number, line) in source(name)?.lines().enumerate() {
        let trimmed = line.trim();
        if let Some(cond) = trimmed.strip_prefix("#if ") {
            let cond = cond.trim();
            let (negate, key) = cond.strip_prefix('!').map_or((false, cond), |k| (true, k));
            let on = defines.iter().any(|(k, v)| *k == key && *v != 0);
            live.push(on != negate);
        } else if trimmed == "#else" {
            let top = live.last_mut().ok_or_else(|| fail(format!("line {}: #else without #if", number + 1)))?;
            *top = !*top;
        } else if trimmed == "#endif" {
            live.pop().ok_or_else(|| fail(format!("line {}: #endif without #if", number + 1)))?;
        } else if live.iter().all(|l| *l) {
            if let Some(path) = trimmed.strip_prefix("#include ") {
                let mut inner = String::new();
                expand(path.trim().trim_matches('"'), defines, &mut inner, depth + 1)?;
                kept.extend(inner.lines().map(str::to_string));
            } else {
                kept.push(line.to_string());
            }
        }
    }
    if !live.is_empty() {
        return Err(fail("#if without #endif".into()));
    }
    unroll(&kept, defines, out).map_err(fail)
}

/// Expands `#for` blocks of `lines` into `out`.
fn unroll(lines: &[String], defines: &[(&'static str, u32)], out: &mut String) -> Result<(), String> {
    let mut at = 0;
    while at < lines.len() {
        let Some(head) = lines[at].trim().strip_prefix("#for ") else {
            if lines[at].trim() == "#end" {
                return Err("#end without #for".into());
            }
            out.push_str(&lines[at]);
            out.push('\n');
            at += 1;
            continue;
        };
        let (variable, count) = head.trim().split_once(' ').ok_or("#for needs a name and a count")?;
        let count = count.trim();
        let count = match defines.iter().find(|(k, _)| *k == count) {
            Some((_, value)) => *value,
            None => count.parse().map_err(|_| format!("#for: {count} is neither a number nor a define"))?,
        };
        let mut open = 1;
        let mut end = at + 1;
        while end < lines.len() {
            let line = lines[end].trim();
            open += i32::from(line.starts_with("#for ")) - i32::from(line == "#end");
            if open == 0 {
                break;
            }
            end += 1;
        }
        if open != 0 {
            return Err("#for without #end".into());
        }
        for i in 0..count {
            let body: Vec<String> =
                lines[at + 1..end].iter().map(|l| l.replace(&format!("${variable}"), &i.to_string())).collect();
            unroll(&body, defines, out)?;
        }
        at = end + 1;
    }
    Ok(())
}
