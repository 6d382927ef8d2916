//! Files that are something else: pickles (which run code when loaded), Git LFS pointers, web pages.

use crate::error::{Error, Result};

const CONVERT: &str = "loading one runs whatever code is inside. Convert it to .safetensors where you trust it, e.g. \
    `python -c \"import torch, sys; from safetensors.torch import save_file; d = torch.load(sys.argv[1], \
    map_location='cpu', weights_only=True); d = d.get('state_dict', d); save_file({k: v.contiguous() for k, v in \
    d.items() if hasattr(v, 'shape')}, sys.argv[2])\" IN OUT.safetensors`";

/// First bytes of what people download by mistake.
const ARCHIVES: [(&[u8], &str); 4] = [
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!", "a rar archive"),
    (b"\x1f\x8b", "a gzip archive"),
    (b"%PDF", "a PDF"),
];

fn refused(file: &str, why: impl Into<String>) -> Error {
    Error::Refused { file: file.into(), why: why.into() }
}

/// Refuses the names of pickles and of formats that cannot be read, before anything is opened.
pub fn refuse_by_name(file: &str) -> Result<()> {
    let lower = file.to_ascii_lowercase();
    let kind = match lower.rsplit_once('.').map(|(_, extension)| extension) {
        Some("ckpt" | "pt" | "pth" | "bin" | "pkl" | "pickle") => "a pickle",
        Some("gguf") => return Err(refused(file, "GGUF files are not read; use the .safetensors file of this model")),
        Some("onnx" | "pb" | "msgpack" | "h5") => {
            return Err(refused(file, "only .safetensors files and diffusers folders are read"));
        }
        _ => return Ok(()),
    };
    Err(refused(file, format!("this is {kind} by its name; {CONVERT}")))
}

/// Refuses by the first bytes of the content.
pub(super) fn refuse_by_content(start: &[u8], file: &str) -> Result<()> {
    if start.starts_with(b"version https://git-lfs.github.com/spec/") {
        return Err(refused(
            file,
            "this is a Git LFS pointer, not the file itself; run `git lfs pull` where you cloned it",
        ));
    }
    if start.starts_with(b"PK\x03\x04") {
        return Err(refused(file, format!("this is a zip archive, as torch.save writes: a pickle; {CONVERT}")));
    }
    // Pickle protocols 2 to 5 begin with 0x80 and the protocol number; as a header length that would be far too long
    // or, with zeros behind it, the safetensors header of a small file. Only what follows tells: an opcode, not zeros.
    if let [0x80, 2..=5, rest @ ..] = start
        && !rest.starts_with(&[0, 0, 0, 0, 0, 0])
    {
        return Err(refused(file, format!("this is a pickle; {CONVERT}")));
    }
    if start.starts_with(b"GGUF") {
        return Err(refused(file, "GGUF files are not read; use the .safetensors file of this model"));
    }
    for (magic, what) in ARCHIVES {
        if start.starts_with(magic) {
            return Err(refused(file, format!("this is {what}, not a model; unpack it, or download the model itself")));
        }
    }
    let text: Vec<u8> = start.iter().take(200).map(u8::to_ascii_lowercase).collect();
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(&text).trim_ascii_start();
    if text.starts_with(b"<!doctype") || text.starts_with(b"<html") || text.starts_with(b"<?xml") {
        return Err(refused(
            file,
            "this is a web page, not a model: the download needed a login or the link was wrong",
        ));
    }
    // A header's length never reads as text: eight printable bytes would be exabytes.
    if start.len() >= 8 && start.iter().take(8).all(|b| b.is_ascii_graphic() || b.is_ascii_whitespace()) {
        let said: String =
            start.iter().take(60).map(|b| if b.is_ascii_graphic() { char::from(*b) } else { ' ' }).collect();
        let why = format!("this is a text (`{}`), not a model; the download failed or needed a login", said.trim());
        return Err(refused(file, why));
    }
    if start.starts_with(b"\x89PNG") || start.starts_with(b"\xff\xd8\xff") {
        return Err(refused(file, "this is a picture, not a model"));
    }
    Ok(())
}
