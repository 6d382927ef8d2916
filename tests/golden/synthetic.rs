//! Makes the pipelines whose weights are not committed: `models/NAME.weights.json` lists every tensor and the two
//! numbers its values are a function of (README.md, "Synthetic weights"). For tests only:
//! `#[path = "../golden/synthetic.rs"] mod synthetic;` with `half` and `serde_json` at hand.

use std::io;
use std::path::Path;

/// One tensor of a synthetic pipeline.
pub struct Tensor {
    /// Canonical name, such as `unet.conv_in.weight`.
    pub name: String,
    /// Shape in a diffusers file.
    pub shape: Vec<usize>,
    /// Name in a single-file checkpoint, where the pipeline has such a form.
    pub ldm: Option<String>,
    /// Shape in a single-file checkpoint: VAE attention matrices are 1x1 convolutions there.
    pub ldm_shape: Vec<usize>,
    /// Stored transposed in a single-file checkpoint: OpenCLIP's text projection.
    pub ldm_transposed: bool,
    /// f16 values, little endian, row major.
    pub bytes: Vec<u8>,
}

fn fnv1a64(text: &str) -> u64 {
    text.bytes().fold(0xCBF2_9CE4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0000_0100_0000_01B3))
}

/// `count` values `u * scale + offset`: u from the top 24 bits of SplitMix64 started at FNV-1a("seed/name").
pub fn values(seed: &str, name: &str, count: usize, scale: f32, offset: f32) -> Vec<f32> {
    let mut state = fnv1a64(&format!("{seed}/{name}"));
    (0..count)
        .map(|_| {
            state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
            let mut z = state;
            z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
            z ^= z >> 31;
            // Two roundings, as in numpy: no fused multiply-add.
            let u = (z >> 40) as f32 * (1.0 / 8_388_608.0) - 1.0;
            u * scale + offset
        })
        .collect()
}

fn bad(what: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, format!("weights.json: {what}"))
}

/// All tensors of `models/NAME.weights.json`.
pub fn tensors(golden: &Path, name: &str) -> io::Result<Vec<Tensor>> {
    let text = std::fs::read_to_string(golden.join(format!("models/{name}.weights.json")))?;
    let json: serde_json::Value = serde_json::from_str(&text)?;
    let seed = json["seed"].as_str().ok_or_else(|| bad("no seed"))?;
    let shape_of = |v: &serde_json::Value| -> Option<Vec<usize>> {
        v.as_array()?.iter().map(|n| n.as_u64().map(|n| n as usize)).collect()
    };
    let mut out = Vec::new();
    for row in json["tensors"].as_array().ok_or_else(|| bad("no tensors"))? {
        let name = row["name"].as_str().ok_or_else(|| bad("a tensor has no name"))?.to_owned();
        let shape = shape_of(&row["shape"]).ok_or_else(|| bad("a tensor has no shape"))?;
        let number = |key: &str| row[key].as_f64().map(|v| v as f32).ok_or_else(|| bad(key));
        let values = values(seed, &name, shape.iter().product(), number("scale")?, number("offset")?);
        let bytes = values.iter().flat_map(|&v| half::f16::from_f32(v).to_le_bytes()).collect();
        let ldm = row["ldm"].as_str().map(str::to_owned);
        let ldm_shape = shape_of(&row["ldm_shape"]).unwrap_or_else(|| shape.clone());
        let ldm_transposed = row["ldm_transposed"].as_bool().unwrap_or(false);
        out.push(Tensor { name, shape, ldm, ldm_shape, ldm_transposed, bytes });
    }
    Ok(out)
}

fn write(path: &Path, tensors: &[(String, &[usize], &[u8])]) -> io::Result<()> {
    let (mut header, mut at) = (serde_json::Map::new(), 0);
    for (name, shape, bytes) in tensors {
        let end = at + bytes.len();
        header.insert(name.clone(), serde_json::json!({"dtype": "F16", "shape": shape, "data_offsets": [at, end]}));
        at = end;
    }
    let mut text = serde_json::to_vec(&header)?;
    text.resize(text.len().next_multiple_of(8), b' ');
    let mut out = (text.len() as u64).to_le_bytes().to_vec();
    out.extend(text);
    tensors.iter().for_each(|(_, _, bytes)| out.extend_from_slice(bytes));
    std::fs::write(path, out)
}

/// Writes the pipeline as a diffusers folder at `out`: the committed configs and f16 weights.
pub fn write_folder(golden: &Path, name: &str, out: &Path) -> io::Result<()> {
    let source = golden.join("models").join(name);
    std::fs::create_dir_all(out)?;
    for entry in std::fs::read_dir(&source)? {
        let entry = entry?;
        let to = out.join(entry.file_name());
        if entry.file_type()?.is_dir() {
            std::fs::create_dir_all(&to)?;
            for file in std::fs::read_dir(entry.path())? {
                let file = file?;
                std::fs::copy(file.path(), to.join(file.file_name()))?;
            }
        } else {
            std::fs::copy(entry.path(), to)?;
        }
    }
    let all = tensors(golden, name)?;
    for (part, file) in [
        ("unet", "diffusion_pytorch_model.safetensors"),
        ("vae", "diffusion_pytorch_model.safetensors"),
        ("text_encoder", "model.safetensors"),
        ("text_encoder_2", "model.safetensors"),
    ] {
        if !out.join(part).is_dir() {
            continue;
        }
        let prefix = format!("{part}.");
        let rows: Vec<_> = all
            .iter()
            .filter_map(|t| Some((t.name.strip_prefix(&prefix)?.to_owned(), &t.shape[..], &t.bytes[..])))
            .collect();
        write(&out.join(part).join(file), &rows)?;
    }
    Ok(())
}

/// Writes the pipeline as one ldm checkpoint at `out` (only for fixtures that have ldm names).
pub fn write_ldm(golden: &Path, name: &str, out: &Path) -> io::Result<()> {
    let mut all = tensors(golden, name)?;
    // OpenCLIP's q, k and v share a name and stand one below another.
    let which = |t: &Tensor| [".q_proj.", ".k_proj.", ".v_proj."].iter().position(|p| t.name.contains(p));
    all.sort_by_key(which);
    let mut files: Vec<(String, Vec<usize>, Vec<u8>)> = Vec::new();
    for t in &all {
        let key = t.ldm.clone().ok_or_else(|| bad("this fixture has no ldm names"))?;
        if let Some(stack) = files.iter_mut().find(|f| f.0 == key) {
            stack.1[0] += t.shape[0];
            stack.2.extend_from_slice(&t.bytes);
        } else if t.ldm_transposed {
            let (rows, columns) = (t.shape[0], t.shape[1]);
            let at = (0..columns).flat_map(|c| (0..rows).map(move |r| 2 * (r * columns + c)));
            files.push((key, vec![columns, rows], at.flat_map(|i| [t.bytes[i], t.bytes[i + 1]]).collect()));
        } else {
            files.push((key, t.ldm_shape.clone(), t.bytes.clone()));
        }
    }
    let rows: Vec<_> = files.iter().map(|(key, shape, bytes)| (key.clone(), &shape[..], &bytes[..])).collect();
    write(out, &rows)
}
