//! Every shader, in every variant the host side asks for, parsed and validated by naga with no graphics card, resolved exactly
//! as at run time. Beyond validity: each keeps within WebGPU's default limits and follows the binding order of
//! `Gpu::pipeline`, and each is launched from somewhere.
//!
//! Which variants there are: the rules below say it for the kernels of this crate, `shader_variants.txt` lists those that other
//! crates put together, and `cargo xtask test` adds all that the other tests have just compiled (the file that
//! ADMIX_SHADER_VARIANTS names). A new shader with defines needs one line in the list:
//! `UPDATE_SHADER_VARIANTS=1 cargo xtask test tests shaders` writes it.
//!
//! naga does not check that barriers stand in uniform control flow. Browsers do.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use admix_tensor::shader::{Defines, describe, resolve, sources};
use naga::valid::{Capabilities, ValidationFlags, Validator};
use naga::{AddressSpace, Module, StorageAccess};

/// Defines of a shader, each with the values it may take.
type Choices = &'static [(&'static str, &'static [u32])];

/// Shaders whose defines vary independently of each other: (stem, [(define, values)]).
const INDEPENDENT: &[(&str, Choices)] = &[
    ("attention_mass", &[("STATS", &[0, 1])]),
    ("columns", &[("IN_PLACE", &[0, 1])]),
    ("embed", &[("W_F16", &[0, 1])]),
    ("layer_norm", &[("SHARED", &[0, 1])]),
    ("norm_stats", &[("WG", &[8, 256])]),
    ("pack", &[("SRC_F16", &[0, 1]), ("DST_F16", &[0, 1])]),
    ("pack_rows", &[("SRC_F16", &[0, 1]), ("DST_F16", &[0, 1])]),
    ("softmax", &[("WG", &[8, 128])]),
    ("strip_stats", &[("WG", &[8, 256])]),
];

/// WebGPU's default limits: <https://www.w3.org/TR/webgpu/#limits>.
const MAX_STORAGE_BUFFERS: usize = 8;
const MAX_WORKGROUP_BYTES: u32 = 16_384;
const MAX_INVOCATIONS: u32 = 256;
/// One kernel's share of the parameter buffer.
const MAX_UNIFORM_BYTES: u32 = 256;

/// Variants that follow no rule written here, one a line: the stem and its defines.
const LIST: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/shader_variants.txt");

/// All variants by stem. A shader that is named nowhere here has one, without defines.
fn variants() -> BTreeMap<&'static str, Vec<Defines>> {
    let mut all: BTreeMap<&str, Vec<Defines>> = BTreeMap::new();
    for (stem, defines) in listed().iter().map(|line| parse(line)) {
        all.entry(stem).or_default().push(defines);
    }
    for (stem, axes) in INDEPENDENT {
        all.insert(stem, product(axes));
    }
    all.insert("gemm", gemm());
    all.insert("attention", attention());
    for stem in launched() {
        all.entry(stem).or_insert_with(|| vec![Vec::new()]);
    }
    all
}

/// The lines of [`LIST`].
fn listed() -> BTreeSet<String> {
    let text = fs::read_to_string(LIST).expect("tests/shader_variants.txt can be read");
    text.lines().filter(|line| !line.is_empty() && !line.starts_with('#')).map(str::to_owned).collect()
}

/// A line as `describe` writes it. The names live as long as the test: defines are static in the program.
fn parse(line: &str) -> (&'static str, Defines) {
    let mut words = line.to_owned().leak().split_whitespace();
    let stem = words.next().unwrap_or_default();
    let define = |word: &'static str| {
        let (name, value) = word.split_once('=').unwrap_or_else(|| panic!("{word} in {line:?} is not NAME=VALUE"));
        (name, value.parse().unwrap_or_else(|_| panic!("{word} in {line:?} has no number")))
    };
    (stem, words.map(define).collect())
}

/// kernels/gemm.rs: the tiled form knows no GLU; the other one shapes its workgroups by the matrix.
fn gemm() -> Vec<Defines> {
    let mut all = product(&[("CONV", &[0, 1]), ("W_F16", &[0, 1]), ("TILED", &[1])]);
    for wx in [4, 8] {
        let shape = product(&[("CONV", &[0, 1]), ("W_F16", &[0, 1]), ("TILED", &[0]), ("GLU", &[0, 1])]);
        all.extend(shape.into_iter().map(|defines| [defines, vec![("WX", wx), ("WY", 4)]].concat()));
    }
    all
}

/// kernels/attention.rs: head sizes up to 160; blocks of keys as large as workgroup memory allows.
fn attention() -> Vec<Defines> {
    let mut all = Vec::new();
    for dv in 1..=40u32 {
        for aligned in [0, 1] {
            let common = [("DV", dv), ("ALIGNED", aligned)];
            let queries = if dv <= 4 {
                4
            } else if dv <= 16 {
                2
            } else {
                1
            };
            all.push([&common[..], &[("QB", queries), ("SHARED", 0), ("WG", 8)]].concat());
            let block = (512 / dv).next_power_of_two().div_ceil(2).clamp(4, 32);
            all.push([&common[..], &[("QB", 1), ("SHARED", 1), ("WG", 64), ("KB", block)]].concat());
        }
    }
    all
}

/// Every combination of the values of independent defines.
fn product(axes: &[(&'static str, &[u32])]) -> Vec<Defines> {
    axes.iter().fold(vec![Vec::new()], |all, (name, values)| {
        let with = |defines: &Defines, value: u32| [defines.clone(), vec![(*name, value)]].concat();
        all.iter().flat_map(|defines| values.iter().map(move |value| with(defines, *value))).collect()
    })
}

/// Shaders that are launched, as opposed to those that others include.
fn launched() -> BTreeSet<&'static str> {
    sources().iter().map(|(stem, _)| *stem).filter(|stem| !stem.split('/').any(|part| part == "shared")).collect()
}

#[test]
fn every_variant_is_valid_within_the_default_limits() {
    let mut faults = Vec::new();
    let mut count = 0;
    for (stem, variants) in variants() {
        for defines in variants {
            count += 1;
            if let Err(fault) = check(stem, &defines) {
                faults.push(format!("{stem} {defines:?}: {fault}"));
            }
        }
    }
    assert!(faults.is_empty(), "{} of {count} variants are at fault:\n{}", faults.len(), faults.join("\n"));
    println!("{count} variants are valid");
}

#[test]
fn every_shader_is_launched_from_somewhere() {
    let gone: Vec<&str> = variants().into_keys().filter(|stem| !launched().contains(stem)).collect();
    assert!(gone.is_empty(), "this test knows variants of shaders that are not below shaders/: {gone:?}");

    let rust: String = host_files().into_iter().map(|(_, text)| text).collect();
    let idle: Vec<&str> = launched().into_iter().filter(|stem| !rust.contains(&format!("\"{stem}\""))).collect();
    assert!(idle.is_empty(), "no Rust file below gpu/ names these shaders: {idle:?}");
}

#[test]
fn every_shared_file_is_included() {
    let all: String = sources().iter().map(|(_, text)| *text).collect();
    for (stem, _) in sources() {
        let included = all.contains(&format!("#include \"{stem}\""));
        assert!(included || launched().contains(stem), "no shader includes shaders/{stem}.wgsl");
    }
}

#[test]
fn every_define_a_shader_asks_for_is_set() {
    let all = variants();
    for stem in launched() {
        let set: BTreeSet<&str> = all[stem].iter().flatten().map(|(name, _)| *name).collect();
        let text = sources().iter().find(|(name, _)| *name == stem).map_or("", |(_, text)| *text);
        for line in text.lines().map(str::trim) {
            let condition = line.strip_prefix("#if ").map(|name| name.trim().trim_start_matches('!'));
            let repetition = line.strip_prefix("#for ").and_then(|rest| rest.split_whitespace().nth(1));
            for name in condition.or(repetition).into_iter().filter(|name| name.parse::<u32>().is_err()) {
                assert!(
                    set.contains(name),
                    "shaders/{stem}.wgsl asks for {name}, which no known variant sets; the head of this file says how to add one"
                );
            }
        }
    }
}

/// What the other tests have just compiled, where they were asked to write it down.
fn compiled() -> BTreeSet<String> {
    let path = std::env::var_os("ADMIX_SHADER_VARIANTS");
    let text = path.and_then(|path| fs::read_to_string(path).ok()).unwrap_or_default();
    text.lines().map(str::to_owned).collect()
}

#[test]
fn every_compiled_variant_is_valid_within_the_default_limits() {
    let known: BTreeSet<BTreeSet<String>> =
        variants().iter().flat_map(|(stem, all)| all.iter().map(|defines| words(&describe(stem, defines)))).collect();
    let new: Vec<String> = compiled().into_iter().filter(|line| !known.contains(&words(line))).collect();
    if std::env::var_os("UPDATE_SHADER_VARIANTS").is_some() {
        let head = "# Variants that no rule in shader_validation.rs covers. UPDATE_SHADER_VARIANTS=1 cargo xtask test tests shaders adds new ones.\n";
        let mut all = listed();
        all.extend(new.iter().cloned());
        fs::write(LIST, all.iter().fold(head.to_owned(), |text, line| text + line + "\n"))
            .expect("the list can be written");
    }
    let faults: Vec<String> = new
        .iter()
        .map(|line| (line, parse(line)))
        .filter_map(|(line, (stem, defines))| Some(format!("{line}: {}", check(stem, &defines).err()?)))
        .collect();
    assert!(faults.is_empty(), "{} of {} variants are at fault:\n{}", faults.len(), new.len(), faults.join("\n"));
    println!("{} variants beyond the known ones are valid", new.len());
}

/// The order of defines makes no variant.
fn words(line: &str) -> BTreeSet<String> {
    line.split_whitespace().map(str::to_owned).collect()
}

/// The Rust files below gpu/, without their unit tests.
fn host_files() -> Vec<(String, String)> {
    let gpu = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let mut found = Vec::new();
    let mut folders: Vec<_> =
        fs::read_dir(gpu).expect("gpu/ can be listed").flatten().map(|e| e.path().join("src")).collect();
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).into_iter().flatten().flatten() {
            let path = entry.path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = fs::read_to_string(&path).expect("a source file is text");
                let code = text.split("#[cfg(test)]\nmod tests").next().unwrap_or_default().to_owned();
                found.push((path.display().to_string(), code));
            }
        }
    }
    assert!(!found.is_empty(), "there are Rust files below gpu/");
    found
}

/// Resolves, parses and validates one variant, then looks at its bindings and sizes.
fn check(stem: &str, defines: &[(&'static str, u32)]) -> Result<(), String> {
    let source = resolve(stem, defines).map_err(|error| error.to_string())?;
    let module = naga::front::wgsl::parse_str(&source).map_err(|error| error.emit_to_string(&source))?;
    validator(defines).validate(&module).map_err(|error| error.emit_to_string(&source))?;
    entry_point(&module)?;
    bindings(&module)
}

/// With the capabilities of the standard's core alone, so that any WebGPU device will do. Variants with WIDE run only where there are
/// integers of 64 bits.
fn validator(defines: &[(&'static str, u32)]) -> Validator {
    // Reading and writing f16 as numbers of 32 bits, which only OpenGL may lack.
    let mut capabilities = Capabilities::SHADER_FLOAT16_IN_FLOAT32;
    if defines.contains(&("WIDE", 1)) {
        capabilities |= Capabilities::SHADER_INT64;
    }
    Validator::new(ValidationFlags::all(), capabilities)
}

fn entry_point(module: &Module) -> Result<(), String> {
    let [entry] = &module.entry_points[..] else {
        return Err(format!("{} entry points instead of one", module.entry_points.len()));
    };
    let invocations: u32 = entry.workgroup_size.iter().product();
    if entry.name != "main" || entry.stage != naga::ShaderStage::Compute {
        return Err(format!("the entry point is {} instead of a compute shader called main", entry.name));
    }
    if invocations > MAX_INVOCATIONS {
        return Err(format!("{invocations} invocations in a workgroup; the default limit is {MAX_INVOCATIONS}"));
    }
    let shared: u32 =
        variables(module, |space| space == AddressSpace::WorkGroup).map(|(_, size)| size.next_multiple_of(16)).sum();
    if shared > MAX_WORKGROUP_BYTES {
        return Err(format!("{shared} bytes of workgroup memory; the default limit is {MAX_WORKGROUP_BYTES}"));
    }
    Ok(())
}

/// Binding 0 is the uniform block, then come the read-only buffers, then the read-write ones, without gaps.
fn bindings(module: &Module) -> Result<(), String> {
    let uniforms: Vec<_> = variables(module, |space| space == AddressSpace::Uniform).collect();
    let [(Some(0), size)] = uniforms[..] else {
        return Err(format!("binding 0 must be the one uniform block, found {uniforms:?}"));
    };
    if size > MAX_UNIFORM_BYTES {
        return Err(format!("{size} bytes of parameters; a kernel has {MAX_UNIFORM_BYTES}"));
    }
    let writable = StorageAccess::LOAD | StorageAccess::STORE;
    let places = |access| {
        variables(module, move |space| space == AddressSpace::Storage { access })
            .filter_map(|(at, _)| at)
            .collect::<BTreeSet<u32>>()
    };
    let (reads, writes) = (places(StorageAccess::LOAD), places(writable));
    let order: Vec<u32> = reads.iter().chain(&writes).copied().collect();
    if order != (1..=order.len() as u32).collect::<Vec<_>>() {
        return Err(format!(
            "read-only buffers {reads:?} and written ones {writes:?} do not stand in that order from 1 on"
        ));
    }
    if order.len() > MAX_STORAGE_BUFFERS {
        return Err(format!("{} storage buffers; the default limit is {MAX_STORAGE_BUFFERS}", order.len()));
    }
    Ok(())
}

/// The variables of an address space: binding in group 0, if any, and bytes.
fn variables(module: &Module, wanted: impl Fn(AddressSpace) -> bool) -> impl Iterator<Item = (Option<u32>, u32)> {
    let found = module.global_variables.iter().filter(move |(_, variable)| wanted(variable.space));
    found.map(|(_, variable)| {
        let at = variable.binding.filter(|binding| binding.group == 0).map(|binding| binding.binding);
        (at, module.types[variable.ty].inner.size(module.to_ctx()))
    })
}

#[test]
fn faults_are_seen() {
    // The check itself: a wrong type, a buffer out of order, too much workgroup memory.
    let validate = |source: &str| {
        let module = naga::front::wgsl::parse_str(source).map_err(|error| error.to_string())?;
        validator(&[]).validate(&module).map_err(|error| error.to_string())?;
        entry_point(&module)?;
        bindings(&module)
    };
    let shader = |head: &str, body: &str| {
        format!(
            "struct P {{ a: u32 }} @group(0) @binding(0) var<uniform> p: P; {head}
             @compute @workgroup_size(8) fn main(@builtin(local_invocation_index) i: u32) {{ {body} }}"
        )
    };
    let out = "@group(0) @binding(1) var<storage, read_write> y: array<f32>;";
    assert_eq!(validate(&shader(out, "y[i] = f32(p.a);")), Ok(()));
    assert!(validate(&shader(out, "y[i] = p.a;")).is_err());
    let behind = "@group(0) @binding(2) var<storage, read> x: array<f32>;";
    assert!(validate(&shader(&format!("{out} {behind}"), "y[i] = x[i];")).is_err());
    assert!(
        validate(&shader(&format!("{out} var<workgroup> w: array<f32, 5000>;"), "w[i] = 1.0; y[i] = w[i];")).is_err()
    );
    assert!(validate("@compute @workgroup_size(512) fn main() {}").is_err());
}
