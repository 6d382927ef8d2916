//! Finished pictures: 8-bit RGB, as PNG with `parameters` (A1111 infotext) and `admix` (the recipe), as JPEG or WebP with both in EXIF, and back again.

use std::io::Cursor;

use image::{ExtendedColorType, ImageEncoder};

use crate::EngineError;
use crate::metadata::exif;
use crate::upscale::Filter;

/// JPEG's quality, 1 to 100.
const JPEG_QUALITY: u8 = 95;

/// Most EXIF that JPEG holds: one segment.
const JPEG_EXIF: usize = 65_500;

/// File formats of pictures.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// Lossless; texts in chunks of their own.
    Png,
    /// Lossy; texts in EXIF.
    Jpeg,
    /// Lossless here; texts in EXIF.
    WebP,
}

impl Format {
    /// By a file name's ending: `png`, `jpg`, `jpeg`, `webp`.
    pub fn from_extension(extension: &str) -> Option<Format> {
        match extension.to_ascii_lowercase().as_str() {
            "png" => Some(Format::Png),
            "jpg" | "jpeg" => Some(Format::Jpeg),
            "webp" => Some(Format::WebP),
            _ => None,
        }
    }
}

/// An 8-bit RGB picture, rows top to bottom.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Picture {
    /// Pixels in a row.
    pub width: usize,
    /// Rows.
    pub height: usize,
    /// width * height * 3 bytes.
    pub rgb: Vec<u8>,
}

impl Picture {
    /// From NHWC floats of one sample with values in [-1, 1], rounded as diffusers' `VaeImageProcessor`: (x / 2 + 0.5) clamped to [0, 1],
    /// times 255, ties to even.
    pub fn from_unit(data: &[f32], width: usize, height: usize) -> Picture {
        let to_byte = |v: &f32| ((v / 2.0 + 0.5).clamp(0.0, 1.0) * 255.0).round_ties_even() as u8;
        Picture { width, height, rgb: data.iter().map(to_byte).collect() }
    }

    /// To NHWC floats in [-1, 1].
    pub fn to_unit(&self) -> Vec<f32> {
        self.rgb.iter().map(|v| f32::from(*v) / 127.5 - 1.0).collect()
    }

    /// Scaled to another size (Lanczos, as diffusers resizes pictures it is given).
    pub fn resized(&self, width: usize, height: usize) -> Picture {
        self.scaled(width, height, Filter::Lanczos)
    }

    /// Scaled to another size.
    pub fn scaled(&self, width: usize, height: usize, filter: Filter) -> Picture {
        if (width, height) == (self.width, self.height) || self.rgb.is_empty() {
            return self.clone();
        }
        let rgb = crate::pillow::resize(&self.rgb, [self.width, self.height], [width.max(1), height.max(1)], filter);
        Picture { width: width.max(1), height: height.max(1), rgb }
    }

    /// Decodes any picture file the `image` crate was built for; transparency is laid on white.
    pub fn decode(bytes: &[u8], what: &str) -> Result<Picture, EngineError> {
        let reader = image::ImageReader::new(Cursor::new(bytes))
            .with_guessed_format()
            .map_err(|e| EngineError::Picture(format!("{what}: {e}")))?;
        let decoded =
            reader.decode().map_err(|e| EngineError::Picture(format!("{what} is not a readable picture: {e}")))?;
        let rgba = decoded.to_rgba8();
        let (width, height) = (rgba.width() as usize, rgba.height() as usize);
        let on_white = |v: u8, a: u8| ((u32::from(v) * u32::from(a) + 255 * (255 - u32::from(a)) + 127) / 255) as u8;
        let rgb = rgba.pixels().flat_map(|p| [0, 1, 2].map(|i| on_white(p.0[i], p.0[3]))).collect();
        Ok(Picture { width, height, rgb })
    }

    /// Encodes a PNG with text chunks (keyword, text).
    pub fn to_png(&self, texts: &[(&str, &str)]) -> Result<Vec<u8>, EngineError> {
        let fail = |e: png::EncodingError| EngineError::Picture(format!("the PNG cannot be written: {e}"));
        let mut out = Vec::new();
        let mut encoder = png::Encoder::new(&mut out, self.width as u32, self.height as u32);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        for (keyword, text) in texts {
            let escaped = (*keyword == "admix").then(|| ascii_json(text));
            let text = escaped.as_deref().unwrap_or(text);
            // tEXt holds Latin-1 only; anything beyond goes into iTXt, which every reader of these keywords also knows.
            let result = if text.chars().all(|c| (c as u32) < 256) {
                encoder.add_text_chunk((*keyword).into(), text.into())
            } else {
                encoder.add_itxt_chunk((*keyword).into(), text.into())
            };
            result.map_err(fail)?;
        }
        let mut writer = encoder.write_header().map_err(fail)?;
        writer.write_image_data(&self.rgb).map_err(fail)?;
        writer.finish().map_err(fail)?;
        Ok(out)
    }

    /// Encodes a file that carries an infotext and a recipe. Errors: texts too long for JPEG, a picture no encoder takes.
    pub fn encode(&self, format: Format, parameters: &str, recipe: &str) -> Result<Vec<u8>, EngineError> {
        if format == Format::Png {
            return self.to_png(&[("parameters", parameters), ("admix", recipe)]);
        }
        let mut data = exif::write(parameters, recipe);
        let mut out = Vec::new();
        let (width, height, color) = (self.width as u32, self.height as u32, ExtendedColorType::Rgb8);
        let fail = |e: String| EngineError::Picture(format!("the picture cannot be written: {e}"));
        if self.rgb.len() != self.width * self.height * 3 || self.width.max(self.height) > 16_383 {
            return Err(fail("its edges must be 16383 pixels at most".into()));
        }
        if format == Format::Jpeg {
            if data.len() > JPEG_EXIF {
                return Err(fail("its prompt and recipe are too long for JPEG; write a PNG or WebP".into()));
            }
            let mut encoder = image::codecs::jpeg::JpegEncoder::new_with_quality(&mut out, JPEG_QUALITY);
            encoder.set_exif_metadata(data).map_err(|e| fail(e.to_string()))?;
            encoder.write_image(&self.rgb, width, height, color).map_err(|e| fail(e.to_string()))?;
            return Ok(out);
        }
        // RIFF chunks have an even length; encoders differ in who sees to it.
        if data.len() % 2 == 1 {
            data.push(0);
        }
        let mut encoder = image::codecs::webp::WebPEncoder::new_lossless(&mut out);
        encoder.set_exif_metadata(data).map_err(|e| fail(e.to_string()))?;
        encoder.write_image(&self.rgb, width, height, color).map_err(|e| fail(e.to_string()))?;
        Ok(out)
    }

    /// Several pictures of one size in rows of `columns`, with a white gap between them.
    pub fn sheet(pictures: &[Picture], columns: usize, gap: usize) -> Picture {
        let Some(first) = pictures.first() else { return Picture { width: 0, height: 0, rgb: Vec::new() } };
        let columns = columns.clamp(1, pictures.len());
        let rows = pictures.len().div_ceil(columns);
        let (width, height) = (columns * (first.width + gap) + gap, rows * (first.height + gap) + gap);
        let mut rgb = vec![255u8; width * height * 3];
        for (i, picture) in pictures.iter().enumerate() {
            let (left, top) = (gap + i % columns * (first.width + gap), gap + i / columns * (first.height + gap));
            for y in 0..picture.height.min(first.height) {
                let line = picture.width.min(first.width) * 3;
                let to = ((top + y) * width + left) * 3;
                rgb[to..to + line].copy_from_slice(&picture.rgb[y * picture.width * 3..][..line]);
            }
        }
        Picture { width, height, rgb }
    }
}

/// Width and height that a PNG, JPEG or WebP states.
pub fn size(bytes: &[u8]) -> Option<[u32; 2]> {
    let reader = image::ImageReader::new(Cursor::new(bytes)).with_guessed_format().ok()?;
    reader.into_dimensions().ok().map(|(width, height)| [width, height])
}

/// The texts that a picture carries, by the keywords they have in PNG: `parameters`, `admix`, `prompt` (ComfyUI's graph) and whatever else
/// stands there. Errors: neither PNG, JPEG nor WebP, or a damaged PNG.
pub fn texts(bytes: &[u8]) -> Result<Vec<(String, String)>, EngineError> {
    if bytes.starts_with(b"\x89PNG") {
        return png_texts(bytes);
    }
    let is_webp = bytes.starts_with(b"RIFF") && bytes.get(8..12) == Some(b"WEBP");
    if !bytes.starts_with(&[0xff, 0xd8]) && !is_webp {
        return Err(EngineError::Picture("this is no PNG, JPEG or WebP picture".into()));
    }
    let found = exif::find(bytes).map(exif::read).unwrap_or_default();
    let named = [("parameters", found.parameters), ("admix", found.recipe)];
    Ok(named.into_iter().filter_map(|(k, t)| Some((k.to_owned(), t?))).collect())
}

/// The text chunks of a PNG: (keyword, text), tEXt, zTXt and iTXt alike.
pub fn png_texts(bytes: &[u8]) -> Result<Vec<(String, String)>, EngineError> {
    let fail = |e: png::DecodingError| EngineError::Picture(format!("this is not a readable PNG: {e}"));
    let mut decoder = png::Decoder::new(Cursor::new(bytes));
    decoder.set_ignore_text_chunk(false);
    let mut reader = decoder.read_info().map_err(fail)?;
    let mut out = Vec::new();
    let mut collect = |info: &png::Info<'_>| {
        out.clear();
        out.extend(info.uncompressed_latin1_text.iter().map(|t| (t.keyword.clone(), t.text.clone())));
        out.extend(info.compressed_latin1_text.iter().filter_map(|t| Some((t.keyword.clone(), t.get_text().ok()?))));
        out.extend(info.utf8_text.iter().filter_map(|t| Some((t.keyword.clone(), t.get_text().ok()?))));
    };
    collect(reader.info());
    // Text may also follow the picture data; damage there does not lose what came before.
    if reader.finish().is_ok() {
        collect(reader.info());
    }
    Ok(out)
}

/// A1111's infotext for the `parameters` chunk.
pub struct Infotext<'a> {
    /// Prompt as typed.
    pub prompt: &'a str,
    /// Negative prompt as typed.
    pub negative: &'a str,
    /// `Key: value` pairs in order.
    pub fields: Vec<(&'a str, String)>,
}

impl Infotext<'_> {
    /// `prompt\nNegative prompt: ..\nSteps: 20, Sampler: ..`; values with a comma, colon or newline are JSON-quoted as A1111 does.
    pub fn render(&self) -> String {
        let quote = |v: &str| {
            if v.contains([',', ':', '\n']) { serde_json::Value::from(v).to_string() } else { v.to_string() }
        };
        let mut out = self.prompt.to_string();
        if !self.negative.is_empty() {
            out.push_str(&format!("\nNegative prompt: {}", self.negative));
        }
        let fields: Vec<String> = self.fields.iter().map(|(k, v)| format!("{k}: {}", quote(v))).collect();
        out.push('\n');
        out.push_str(&fields.join(", "));
        out
    }
}

/// A JSON text in ASCII alone: other characters, which stand within strings only, as `\uXXXX`.
fn ascii_json(text: &str) -> String {
    use std::fmt::Write;
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        if c.is_ascii() {
            out.push(c);
        } else {
            for unit in c.encode_utf16(&mut [0; 2]) {
                let _ = write!(out, "\\u{unit:04x}");
            }
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_survive_the_round_trip() {
        let picture = Picture { width: 3, height: 2, rgb: (0..18).collect() };
        let texts = [("parameters", "a cat\nSteps: 20"), ("admix", "{\"prompt\":\"猫\"}")];
        let png = picture.to_png(&texts).expect("encodes");
        let found = png_texts(&png).expect("reads");
        let find = |keyword: &str| found.iter().find(|(k, _)| k == keyword).map(|(_, t)| t.as_str());
        assert_eq!(find("parameters"), Some(texts[0].1));
        // The recipe is ASCII, so that it is a tEXt chunk whatever the prompt says.
        let recipe = find("admix").expect("is there");
        assert!(recipe.is_ascii() && png.windows(10).any(|w| w == b"tEXtadmix\0"), "{recipe}");
        let json = |text: &str| serde_json::from_str::<serde_json::Value>(text).expect("JSON");
        assert_eq!(json(recipe), json(texts[1].1));
        assert_eq!(Picture::decode(&png, "test").expect("decodes"), picture);
        assert!(png_texts(&png[..20]).is_err());
    }

    #[test]
    fn texts_survive_in_jpeg_and_webp() {
        let picture = Picture { width: 16, height: 8, rgb: (0..16 * 8 * 3).map(|i| (i % 200) as u8).collect() };
        let (parameters, recipe) = ("a 猫\nNegative prompt: x\nSteps: 20", "{\"prompt\":\"a b\"}");
        for format in [Format::Png, Format::Jpeg, Format::WebP] {
            let file = picture.encode(format, parameters, recipe).expect("encodes");
            let found = texts(&file).expect("reads");
            let find = |k: &str| found.iter().find(|(name, _)| name == k).map(|(_, t)| t.as_str());
            assert_eq!((find("parameters"), find("admix")), (Some(parameters), Some(recipe)), "{format:?}");
            let back = Picture::decode(&file, "test").expect("decodes");
            assert_eq!((back.width, back.height), (16, 8));
            assert!(format == Format::Jpeg || back == picture, "{format:?} is lossless");
            for end in 0..file.len() {
                drop(texts(&file[..end]));
            }
        }
        assert!(picture.encode(Format::Jpeg, &"x".repeat(40_000), "").is_err());
    }

    #[test]
    fn infotext_quotes_what_would_break_it() {
        let info = Infotext {
            prompt: "a cat",
            negative: "blurry",
            fields: vec![("Steps", "20".into()), ("Model", "a, b".into())],
        };
        assert_eq!(info.render(), "a cat\nNegative prompt: blurry\nSteps: 20, Model: \"a, b\"");
    }

    #[test]
    fn rounding_is_that_of_diffusers() {
        // numpy: (x / 2 + 0.5).clip(0, 1) * 255 rounded half to even.
        let picture = Picture::from_unit(&[-2.0, 0.0, 1.0], 1, 1);
        assert_eq!(picture.rgb, [0, 128, 255]);
    }
}
