//! A strict reader of the header. Files come from strangers: whatever is not exactly right is refused with its reason.

use super::{Index, TensorInfo};
use crate::dtype::DType;
use serde::de::{DeserializeSeed, Deserializer, Error as _, IgnoredAny, MapAccess, SeqAccess, Visitor};
use std::fmt;

/// Longest header that is read, as in the reference implementation.
pub const MAX_HEADER_BYTES: u64 = 100_000_000;

/// Most dimensions a tensor may have; real models use at most five.
const MAX_RANK: usize = 64;

/// What is wrong with a header.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[allow(missing_docs)]
pub enum HeaderProblem {
    #[error("the file is empty; download it again")]
    Empty,
    #[error("not a safetensors file: it has {0} bytes, fewer than the eight of the header length")]
    TooShort(u64),
    #[error("the header length is zero; this is not a safetensors file")]
    NoHeader,
    #[error(
        "the header claims {0} bytes, more than the limit of 100 MB; this is not a safetensors file or a hostile one"
    )]
    TooLong(u64),
    #[error(
        "the header claims {claimed} bytes but only {left} follow; the file is cut short or not a safetensors file"
    )]
    BeyondFile { claimed: u64, left: u64 },
    #[error("only {given} of {claimed} header bytes were given")]
    Partial { claimed: u64, given: u64 },
    #[error("the header does not begin with `{{`; this is not a safetensors file")]
    NotJson,
    #[error("the header is not valid UTF-8 (byte {0})")]
    Utf8(usize),
    #[error("the header is not valid: {0}")]
    Json(String),
    #[error("the key `{0}` appears twice in the header")]
    DuplicateKey(String),
    #[error("the metadata key `{0}` appears twice in the header")]
    DuplicateMetadata(String),
    #[error("tensor `{tensor}` has the data type `{dtype}`, which cannot be read (readable: {})", readable())]
    DType { tensor: String, dtype: String },
    #[error("tensor `{tensor}`: {size} is not a valid size in its shape")]
    Shape { tensor: String, size: String },
    #[error("tensor `{0}` has more than {MAX_RANK} dimensions")]
    Rank(String),
    #[error("tensor `{0}` has a shape whose product overflows")]
    ShapeOverflow(String),
    #[error("tensor `{tensor}`: {offset} is not a valid offset")]
    Offset { tensor: String, offset: String },
    #[error("tensor `{tensor}` has {} data offsets instead of two", if *count > 2 { "3 or more".to_owned() } else { count.to_string() })]
    OffsetCount { tensor: String, count: usize },
    #[error("tensor `{tensor}` begins at byte {begin} after its end {end}")]
    Reversed { tensor: String, begin: u64, end: u64 },
    #[error("tensor `{tensor}`: its shape and type need {needed} bytes but its offsets span {spanned}")]
    Size { tensor: String, needed: u64, spanned: u64 },
    #[error("tensor `{tensor}` reaches to byte {end} of a data section of {data} bytes; the file is cut short by {} bytes", end - data)]
    OutOfRange { tensor: String, end: u64, data: u64 },
    #[error("tensors `{first}` and `{second}` overlap")]
    Overlap { first: String, second: String },
    #[error("{bytes} bytes before tensor `{tensor}` belong to no tensor")]
    Hole { tensor: String, bytes: u64 },
    #[error("{0} bytes after the last tensor belong to no tensor")]
    Trailing(u64),
}

fn readable() -> String {
    DType::ALL.map(DType::name).join(", ")
}

/// The header length that the first eight bytes state, checked against the file's length.
pub(super) fn length(prefix: &[u8], file_len: u64) -> Result<u64, HeaderProblem> {
    if file_len == 0 {
        return Err(HeaderProblem::Empty);
    }
    let Some(first) = prefix.first_chunk::<8>() else {
        return Err(HeaderProblem::TooShort(file_len));
    };
    let claimed = u64::from_le_bytes(*first);
    let left = file_len.saturating_sub(8);
    match claimed {
        0 => Err(HeaderProblem::NoHeader),
        n if n > MAX_HEADER_BYTES => Err(HeaderProblem::TooLong(n)),
        n if n > left => Err(HeaderProblem::BeyondFile { claimed: n, left }),
        n => Ok(n),
    }
}

pub(super) fn parse(prefix: &[u8], file_len: u64) -> Result<Index, HeaderProblem> {
    let claimed = length(prefix, file_len)?;
    // `length` bounds `claimed` by 100 MB, so the additions cannot overflow.
    let bytes = prefix
        .get(8..8 + claimed as usize)
        .ok_or(HeaderProblem::Partial { claimed, given: (prefix.len() as u64).saturating_sub(8) })?;
    let text = std::str::from_utf8(bytes).map_err(|e| HeaderProblem::Utf8(e.valid_up_to()))?;
    if !text.starts_with('{') {
        return Err(HeaderProblem::NotJson);
    }
    let mut found = Found { index: Index::default(), problem: None };
    let mut json = serde_json::Deserializer::from_str(text);
    let parsed = HeaderSeed(&mut found, 8 + claimed).deserialize(&mut json).and_then(|()| json.end());
    if let Some(problem) = found.problem {
        return Err(problem);
    }
    parsed.map_err(|e| HeaderProblem::Json(e.to_string()))?;
    check_coverage(&found.index, 8 + claimed, file_len)?;
    Ok(found.index)
}

/// The data section must be covered exactly once: no overlap, no hole, nothing left over.
fn check_coverage(index: &Index, data_start: u64, file_len: u64) -> Result<(), HeaderProblem> {
    let mut order: Vec<(&String, &TensorInfo)> = index.tensors.iter().collect();
    order.sort_by_key(|(_, t)| (t.range.start, t.range.end));
    let mut at = data_start;
    let mut last: Option<&String> = None;
    for (name, t) in order {
        if t.range.end > file_len {
            let (end, data) = (t.range.end - data_start, file_len - data_start);
            return Err(HeaderProblem::OutOfRange { tensor: name.clone(), end, data });
        }
        if t.range.start < at {
            let first = last.cloned().unwrap_or_default();
            return Err(HeaderProblem::Overlap { first, second: name.clone() });
        }
        if t.range.start > at {
            return Err(HeaderProblem::Hole { tensor: name.clone(), bytes: t.range.start - at });
        }
        at = t.range.end;
        last = Some(name);
    }
    if at < file_len { Err(HeaderProblem::Trailing(file_len - at)) } else { Ok(()) }
}

/// The result under construction, and the problem that stopped it: serde's own errors carry only text.
struct Found {
    index: Index,
    problem: Option<HeaderProblem>,
}

impl Found {
    fn stop<E: serde::de::Error>(&mut self, problem: HeaderProblem) -> E {
        let text = E::custom(&problem);
        self.problem.get_or_insert(problem);
        text
    }
}

struct HeaderSeed<'a>(&'a mut Found, u64);

impl<'de> DeserializeSeed<'de> for HeaderSeed<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<(), D::Error> {
        d.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for HeaderSeed<'_> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("an object of tensors")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let HeaderSeed(found, data_start) = self;
        let mut has_metadata = false;
        while let Some(key) = map.next_key::<String>()? {
            if key == "__metadata__" {
                if std::mem::replace(&mut has_metadata, true) {
                    return Err(found.stop(HeaderProblem::DuplicateKey(key)));
                }
                map.next_value_seed(MetadataSeed(found))?;
            } else if found.index.tensors.contains_key(&key) {
                return Err(found.stop(HeaderProblem::DuplicateKey(key)));
            } else {
                let info = map.next_value_seed(TensorSeed { found, name: &key, data_start })?;
                found.index.tensors.insert(key, info);
            }
        }
        Ok(())
    }
}

struct MetadataSeed<'a>(&'a mut Found);

impl<'de> DeserializeSeed<'de> for MetadataSeed<'_> {
    type Value = ();
    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<(), D::Error> {
        d.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for MetadataSeed<'_> {
    type Value = ();
    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("`__metadata__` to be an object of strings")
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(key) = map.next_key::<String>()? {
            if self.0.index.metadata.contains_key(&key) {
                return Err(self.0.stop(HeaderProblem::DuplicateMetadata(key)));
            }
            let value: String =
                map.next_value().map_err(|e| A::Error::custom(format!("metadata `{key}` must be a string: {e}")))?;
            self.0.index.metadata.insert(key, value);
        }
        Ok(())
    }
}

struct TensorSeed<'a> {
    found: &'a mut Found,
    name: &'a str,
    data_start: u64,
}

impl<'de> DeserializeSeed<'de> for TensorSeed<'_> {
    type Value = TensorInfo;
    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<TensorInfo, D::Error> {
        d.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for TensorSeed<'_> {
    type Value = TensorInfo;
    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        write!(f, "tensor `{}` to be an object of `dtype`, `shape` and `data_offsets`", self.name)
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<TensorInfo, A::Error> {
        let TensorSeed { found, name, data_start } = self;
        let (mut dtype, mut shape, mut offsets) = (None::<String>, None::<Vec<Whole>>, None::<Vec<Whole>>);
        while let Some(field) = map.next_key::<String>()? {
            let twice = match field.as_str() {
                "dtype" => dtype.replace(map.next_value()?).is_some(),
                "shape" => {
                    let too_long = || HeaderProblem::Rank(name.to_owned());
                    shape.replace(map.next_value_seed(Wholes { found, most: MAX_RANK, too_long })?).is_some()
                }
                "data_offsets" => {
                    let too_long = || HeaderProblem::OffsetCount { tensor: name.to_owned(), count: 3 };
                    offsets.replace(map.next_value_seed(Wholes { found, most: 2, too_long })?).is_some()
                }
                other => {
                    map.next_value::<IgnoredAny>()?;
                    return Err(A::Error::custom(format!("tensor `{name}` has an unknown field `{other}`")));
                }
            };
            if twice {
                return Err(found.stop(HeaderProblem::DuplicateKey(format!("{name}.{field}"))));
            }
        }
        let lacks = |field: &str| A::Error::custom(format!("tensor `{name}` lacks `{field}`"));
        let dtype = dtype.ok_or_else(|| lacks("dtype"))?;
        let shape = shape.ok_or_else(|| lacks("shape"))?;
        let offsets = offsets.ok_or_else(|| lacks("data_offsets"))?;
        build(name, &dtype, shape, offsets, data_start).map_err(|p| found.stop(p))
    }
}

/// Checks one tensor by itself.
fn build(
    name: &str,
    dtype: &str,
    shape: Vec<Whole>,
    offsets: Vec<Whole>,
    data_start: u64,
) -> Result<TensorInfo, HeaderProblem> {
    let tensor = || name.to_owned();
    let dtype =
        DType::from_name(dtype).ok_or_else(|| HeaderProblem::DType { tensor: tensor(), dtype: dtype.to_owned() })?;
    let mut sizes = Vec::with_capacity(shape.len());
    for size in shape {
        let size = size.0.map_err(|text| HeaderProblem::Shape { tensor: tensor(), size: text })?;
        sizes.push(
            usize::try_from(size).map_err(|_| HeaderProblem::Shape { tensor: tensor(), size: size.to_string() })?,
        );
    }
    let count = offsets.len();
    let mut ends = Vec::with_capacity(2);
    for offset in offsets {
        ends.push(offset.0.map_err(|text| HeaderProblem::Offset { tensor: tensor(), offset: text })?);
    }
    let [begin, end] = ends[..] else {
        return Err(HeaderProblem::OffsetCount { tensor: tensor(), count });
    };
    if begin > end {
        return Err(HeaderProblem::Reversed { tensor: tensor(), begin, end });
    }
    // A zero among the sizes makes the product zero, whatever the others are, but an overflow on the way is refused.
    let needed = sizes
        .iter()
        .try_fold(dtype.size() as u64, |product, size| product.checked_mul(*size as u64))
        .ok_or_else(|| HeaderProblem::ShapeOverflow(tensor()))?;
    if needed != end - begin {
        return Err(HeaderProblem::Size { tensor: tensor(), needed, spanned: end - begin });
    }
    let shift = |at: u64| {
        at.checked_add(data_start).ok_or_else(|| HeaderProblem::Offset { tensor: tensor(), offset: at.to_string() })
    };
    Ok(TensorInfo { dtype, shape: sizes, range: shift(begin)?..shift(end)? })
}

/// A JSON number that should be a whole one; the text of what else it was.
struct Whole(Result<u64, String>);

impl<'de> serde::Deserialize<'de> for Whole {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        struct V;
        impl Visitor<'_> for V {
            type Value = Whole;
            fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
                f.write_str("a whole number")
            }
            fn visit_u64<E>(self, v: u64) -> Result<Whole, E> {
                Ok(Whole(Ok(v)))
            }
            fn visit_i64<E>(self, v: i64) -> Result<Whole, E> {
                Ok(Whole(u64::try_from(v).map_err(|_| v.to_string())))
            }
            fn visit_f64<E>(self, v: f64) -> Result<Whole, E> {
                Ok(Whole(Err(v.to_string())))
            }
        }
        d.deserialize_any(V)
    }
}

/// A list of at most `most` numbers. What comes after them is not kept: sixteen bytes for each digit of a hostile header are no bargain.
struct Wholes<'a, P> {
    found: &'a mut Found,
    most: usize,
    too_long: P,
}

impl<'de, P: Fn() -> HeaderProblem> DeserializeSeed<'de> for Wholes<'_, P> {
    type Value = Vec<Whole>;
    fn deserialize<D: Deserializer<'de>>(self, d: D) -> Result<Vec<Whole>, D::Error> {
        d.deserialize_seq(self)
    }
}

impl<'de, P: Fn() -> HeaderProblem> Visitor<'de> for Wholes<'_, P> {
    type Value = Vec<Whole>;
    fn expecting(&self, f: &mut fmt::Formatter) -> fmt::Result {
        f.write_str("a list of whole numbers")
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<Whole>, A::Error> {
        let mut list = Vec::new();
        while let Some(value) = seq.next_element()? {
            if list.len() == self.most {
                return Err(self.found.stop((self.too_long)()));
            }
            list.push(value);
        }
        Ok(list)
    }
}
