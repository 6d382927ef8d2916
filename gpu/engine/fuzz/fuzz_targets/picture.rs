//! Any bytes as a picture with texts, as a whole file and as the body of a PNG's text chunk, and what other programs write into such texts.
#![no_main]

use admix_engine::metadata::{a1111, comfy};
use admix_engine::picture::texts;
use libfuzzer_sys::fuzz_target;

/// A PNG of one pixel with one more chunk, whose checksum is right: otherwise nothing behind it would be read.
fn png_with(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
    let mut out = b"\x89PNG\r\n\x1a\n".to_vec();
    let mut chunk = |kind: &[u8; 4], body: &[u8]| {
        out.extend((body.len() as u32).to_be_bytes());
        out.extend(kind);
        out.extend(body);
        out.extend(crc(kind.iter().chain(body)).to_be_bytes());
    };
    chunk(b"IHDR", &[0, 0, 0, 1, 0, 0, 0, 1, 8, 0, 0, 0, 0]);
    chunk(kind, body);
    // zlib: one stored block of a row's filter and its pixel.
    chunk(b"IDAT", &[0x78, 0x01, 0x01, 2, 0, 0xfd, 0xff, 0, 0, 0, 2, 0, 1]);
    chunk(b"IEND", &[]);
    out
}

/// PNG's CRC-32 (ISO 3309).
fn crc<'a>(bytes: impl Iterator<Item = &'a u8>) -> u32 {
    !bytes.fold(!0u32, |crc, byte| {
        (0..8).fold(crc ^ u32::from(*byte), |c, _| if c & 1 == 1 { 0xedb8_8320 ^ (c >> 1) } else { c >> 1 })
    })
}

fuzz_target!(|bytes: &[u8]| {
    let mut found = texts(bytes).unwrap_or_default();
    for kind in [b"tEXt", b"zTXt", b"iTXt", b"eXIf"] {
        found.extend(texts(&png_with(kind, bytes)).expect("the rest of the file is sound"));
    }
    found.extend(std::str::from_utf8(bytes).map(|text| (String::new(), text.to_owned())));
    for (_, text) in &found {
        let _ = a1111::read(text);
        let _ = comfy::read(text);
        let _ = admix_mix::Recipe::from_json(text);
        let _ = admix_mix::import::from_mergekit(text);
        let _ = admix_mix::import::from_supermerger(text, None);
    }
});
