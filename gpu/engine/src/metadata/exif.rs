//! Text in EXIF, for JPEG and WebP: A1111 keeps its infotext in `UserComment`; the recipe stands beside it in `ImageDescription`.
//!
//! EXIF (CIPA DC-008) is a TIFF: a byte order, then lists of 12-byte entries (tag, type, count, value or its place).

const IMAGE_DESCRIPTION: u16 = 0x010e;
const EXIF_IFD: u16 = 0x8769;
const USER_COMMENT: u16 = 0x9286;
/// Types of values: text, a 32-bit number, bytes of anything.
const ASCII: u16 = 2;
const LONG: u16 = 4;
const UNDEFINED: u16 = 7;
/// Marks an `ImageDescription` as ours.
const OURS: &str = "admix:";

/// Texts found in EXIF.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Texts {
    /// `UserComment`: A1111's infotext.
    pub parameters: Option<String>,
    /// Our recipe as JSON.
    pub recipe: Option<String>,
}

/// EXIF with an infotext (UTF-16 behind `UNICODE`, as piexif writes it for A1111) and a recipe, without the `Exif\0\0` that JPEG puts before it.
pub fn write(parameters: &str, recipe: &str) -> Vec<u8> {
    let mut comment = b"UNICODE\0".to_vec();
    parameters.encode_utf16().for_each(|u| comment.extend(u.to_be_bytes()));
    // JSON can spell every character in ASCII, which is all that this field may hold.
    let mut description = OURS.as_bytes().to_vec();
    for c in recipe.chars() {
        if c.is_ascii() {
            description.push(c as u8);
        } else {
            c.encode_utf16(&mut [0; 2]).iter().for_each(|u| description.extend(format!("\\u{u:04x}").bytes()));
        }
    }
    description.push(0);

    let mut out = b"MM\0\x2a\0\0\0\x08".to_vec();
    let entry = |out: &mut Vec<u8>, tag: u16, kind: u16, count: usize, at: usize| {
        out.extend(tag.to_be_bytes());
        out.extend(kind.to_be_bytes());
        out.extend((count as u32).to_be_bytes());
        out.extend((at as u32).to_be_bytes());
    };
    // Two lists, then the values: 8 + (2 + 2 * 12 + 4) + (2 + 12 + 4).
    let (second, values) = (38, 56);
    out.extend(2u16.to_be_bytes());
    entry(&mut out, IMAGE_DESCRIPTION, ASCII, description.len(), values);
    entry(&mut out, EXIF_IFD, LONG, 1, second);
    out.extend([0; 4]);
    out.extend(1u16.to_be_bytes());
    entry(&mut out, USER_COMMENT, UNDEFINED, comment.len(), values + description.len());
    out.extend([0; 4]);
    out.extend(description);
    out.extend(comment);
    out
}

/// Texts in EXIF data, with or without `Exif\0\0` before it. Damage only means less text.
pub fn read(data: &[u8]) -> Texts {
    let data = data.strip_prefix(b"Exif\0\0").unwrap_or(data);
    let Some(tiff) = Tiff::open(data) else { return Texts::default() };
    let mut out = Texts::default();
    let first = tiff.number(4, 4).map(|at| tiff.entries(at as usize)).unwrap_or_default();
    for (tag, value) in first {
        match tag {
            IMAGE_DESCRIPTION => {
                let text = String::from_utf8_lossy(tiff.bytes(&value)).trim_end_matches('\0').to_owned();
                out.recipe = text.strip_prefix(OURS).map(str::to_owned);
            }
            EXIF_IFD => {
                for (tag, value) in tiff.entries(value.raw as usize) {
                    if tag == USER_COMMENT {
                        out.parameters = tiff.comment(tiff.bytes(&value));
                    }
                }
            }
            _ => {}
        }
    }
    out
}

/// EXIF data of a JPEG or WebP file, if it has any.
pub fn find(file: &[u8]) -> Option<&[u8]> {
    if file.starts_with(b"RIFF") && file.get(8..12) == Some(b"WEBP") {
        let mut at = 12;
        while let (Some(name), Some(size)) = (file.get(at..at + 4), file.get(at + 4..at + 8)) {
            let size = u32::from_le_bytes(size.try_into().ok()?) as usize;
            if name == b"EXIF" {
                return file.get(at + 8..at.checked_add(8)?.checked_add(size)?);
            }
            at = at.checked_add(8)?.checked_add(size)?.checked_add(size % 2)?;
        }
        return None;
    }
    let mut at = if file.starts_with(&[0xff, 0xd8]) { 2 } else { return None };
    // Segments up to the picture itself.
    while let Some(&[0xff, marker, high, low]) = file.get(at..at + 4) {
        let size = usize::from(u16::from_be_bytes([high, low]));
        let body = file.get((at + 4)..(at + 2 + size.max(2)))?;
        if marker == 0xe1 && body.starts_with(b"Exif\0\0") {
            return Some(body);
        }
        if marker == 0xda || size < 2 {
            return None;
        }
        at += 2 + size;
    }
    None
}

struct Tiff<'a> {
    data: &'a [u8],
    big: bool,
}

/// The value field of an entry.
struct Field {
    size: usize,
    /// The field as a number: the value or its place.
    raw: u32,
    /// Where the field itself stands, for values of up to four bytes.
    at: usize,
}

impl<'a> Tiff<'a> {
    fn open(data: &'a [u8]) -> Option<Tiff<'a>> {
        let big = match data.get(..2)? {
            b"MM" => true,
            b"II" => false,
            _ => return None,
        };
        Some(Tiff { data, big })
    }

    fn number(&self, at: usize, length: usize) -> Option<u32> {
        let bytes = self.data.get(at..at.checked_add(length)?)?;
        let add = |sum: u32, b: &u8| (sum << 8) | u32::from(*b);
        Some(if self.big { bytes.iter().fold(0, add) } else { bytes.iter().rev().fold(0, add) })
    }

    fn entries(&self, at: usize) -> Vec<(u16, Field)> {
        let count = self.number(at, 2).unwrap_or(0) as usize;
        let entry = |i: usize| {
            let at = at.checked_add(2 + 12 * i)?;
            let kind = self.number(at + 2, 2)?;
            let width = if kind == u32::from(LONG) { 4 } else { 1 };
            let size = (self.number(at + 4, 4)? as usize).checked_mul(width)?;
            Some((self.number(at, 2)? as u16, Field { size, raw: self.number(at + 8, 4)?, at: at + 8 }))
        };
        (0..count).map_while(entry).collect()
    }

    fn bytes(&self, field: &Field) -> &'a [u8] {
        let at = if field.size <= 4 { field.at } else { field.raw as usize };
        at.checked_add(field.size).and_then(|end| self.data.get(at..end)).unwrap_or(&[])
    }

    /// A comment behind its eight-byte name of an encoding.
    fn comment(&self, bytes: &[u8]) -> Option<String> {
        let (name, text) = bytes.split_at_checked(8)?;
        if name != b"UNICODE\0" {
            let text = if name == b"ASCII\0\0\0" || name == [0; 8] { text } else { bytes };
            return Some(String::from_utf8_lossy(text).trim_end_matches('\0').to_owned());
        }
        // piexif writes big-endian whatever the file's order is; others follow the file. Infotexts begin with a letter below U+0100 far more often
        // than not, so the order is the one that gives more such characters.
        let pairs = || text.chunks_exact(2);
        let zeros = |i: usize| pairs().filter(|p| p[i] == 0).count();
        let big = if zeros(0) == zeros(1) { self.big } else { zeros(0) > zeros(1) };
        let unit = |p: &[u8]| if big { u16::from_be_bytes([p[0], p[1]]) } else { u16::from_le_bytes([p[0], p[1]]) };
        let units: Vec<u16> = pairs().map(unit).collect();
        Some(String::from_utf16_lossy(&units).trim_end_matches('\0').to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_come_back() {
        for (parameters, recipe) in [("a cat\nSteps: 20", "{\"a\":1}"), ("猫 🐱", "{\"prompt\":\"猫 🐱 ü\"}"), ("", "")]
        {
            let data = write(parameters, recipe);
            let found = read(&data);
            assert_eq!(found.parameters.as_deref(), Some(parameters));
            let value = |t: &str| serde_json::from_str::<serde_json::Value>(t).ok();
            assert_eq!(found.recipe.as_deref().and_then(value), value(recipe));
            assert_eq!(read(&[b"Exif\0\0", &data[..]].concat()), found);
        }
    }

    #[test]
    fn the_other_byte_order() {
        let mut data = b"II\x2a\0\x08\0\0\0\x01\0\x69\x87\x04\0\x01\0\0\0\x1a\0\0\0\0\0\0\0".to_vec();
        data.extend(b"\x01\0\x86\x92\x07\0\x0c\0\0\0\x2c\0\0\0\0\0\0\0");
        data.extend(b"UNICODE\0h\0i\0");
        assert_eq!(read(&data).parameters.as_deref(), Some("hi"));
    }

    #[test]
    fn damage_does_no_harm() {
        let whole = write("a cat\nSteps: 20, Sampler: Euler", "{\"admix\":1}");
        for i in 0..whole.len() {
            read(&whole[..i]);
            for value in [0, 0x7f, 0xff] {
                let mut damaged = whole.clone();
                damaged[i] = value;
                read(&damaged);
            }
        }
        for file in [
            &b"RIFF\xff\xff\xff\xffWEBPEXIF\xff\xff\xff\xff"[..],
            b"RIFF....WEBPVP8 \xff\xff\xff\xff",
            b"\xff\xd8\xff\xe1\0\0",
            b"\xff\xd8\xff\xe1\xff\xff",
            b"\xff\xd8\xff\xe1\0\x01",
            b"",
        ] {
            assert_eq!(find(file), None);
        }
    }
}
