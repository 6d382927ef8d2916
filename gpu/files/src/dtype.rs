//! Element types of tensors on disk and their conversion to and from `f32`.
//!
//! The names are those of the safetensors format. The 8-bit floats are those of Micikevicius et al., "FP8 Formats for
//! Deep Learning" (arXiv 2209.05433): E4M3 has no infinity (largest value 448, NaN `0x7f`/`0xff`), E5M2 is IEEE-like
//! (largest value 57344).

use half::slice::HalfFloatSliceExt;
use half::{bf16, f16};

/// Element type of a stored tensor.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[allow(missing_docs)]
pub enum DType {
    F64,
    F32,
    F16,
    BF16,
    F8E4M3,
    F8E5M2,
    I64,
    U64,
    I32,
    U32,
    I16,
    U16,
    I8,
    U8,
    Bool,
}

impl DType {
    /// Every type that can be read and written.
    pub const ALL: [DType; 15] = [
        DType::F64,
        DType::F32,
        DType::F16,
        DType::BF16,
        DType::F8E4M3,
        DType::F8E5M2,
        DType::I64,
        DType::U64,
        DType::I32,
        DType::U32,
        DType::I16,
        DType::U16,
        DType::I8,
        DType::U8,
        DType::Bool,
    ];

    /// Bytes per element.
    pub fn size(self) -> usize {
        match self {
            DType::F64 | DType::I64 | DType::U64 => 8,
            DType::F32 | DType::I32 | DType::U32 => 4,
            DType::F16 | DType::BF16 | DType::I16 | DType::U16 => 2,
            DType::F8E4M3 | DType::F8E5M2 | DType::I8 | DType::U8 | DType::Bool => 1,
        }
    }

    /// The name in a safetensors header, e.g. `F8_E4M3`.
    pub fn name(self) -> &'static str {
        match self {
            DType::F64 => "F64",
            DType::F32 => "F32",
            DType::F16 => "F16",
            DType::BF16 => "BF16",
            DType::F8E4M3 => "F8_E4M3",
            DType::F8E5M2 => "F8_E5M2",
            DType::I64 => "I64",
            DType::U64 => "U64",
            DType::I32 => "I32",
            DType::U32 => "U32",
            DType::I16 => "I16",
            DType::U16 => "U16",
            DType::I8 => "I8",
            DType::U8 => "U8",
            DType::Bool => "BOOL",
        }
    }

    /// The type of that safetensors name, if it is one that can be read.
    pub fn from_name(name: &str) -> Option<DType> {
        DType::ALL.into_iter().find(|d| d.name() == name)
    }

    /// The float type of a command-line name: `f32`, `f16`, `bf16`, `f8e4m3`, `f8e5m2` (any case, `_` ignored).
    pub fn from_option(name: &str) -> Option<DType> {
        let plain: String = name.chars().filter(|c| *c != '_').collect::<String>().to_ascii_uppercase();
        [DType::F64, DType::F32, DType::F16, DType::BF16, DType::F8E4M3, DType::F8E5M2]
            .into_iter()
            .find(|d| d.name().replace('_', "") == plain)
    }

    /// Whether the type holds real numbers (integers and booleans are carried along unchanged by merges).
    pub fn is_float(self) -> bool {
        matches!(self, DType::F64 | DType::F32 | DType::F16 | DType::BF16 | DType::F8E4M3 | DType::F8E5M2)
    }

    /// Whether f16 holds every value of the type exactly: f16 itself and the 8-bit floats.
    pub fn is_exact_in_f16(self) -> bool {
        matches!(self, DType::F16 | DType::F8E4M3 | DType::F8E5M2)
    }

    /// Decodes little-endian elements; a trailing partial element is ignored.
    pub fn decode_f32(self, bytes: &[u8]) -> Vec<f32> {
        fn each<const N: usize>(bytes: &[u8], f: impl Fn([u8; N]) -> f32) -> Vec<f32> {
            bytes.as_chunks::<N>().0.iter().map(|c| f(*c)).collect()
        }
        match self {
            DType::F64 => each(bytes, |b| f64::from_le_bytes(b) as f32),
            DType::F32 => each(bytes, f32::from_le_bytes),
            DType::F16 => {
                let halves: Vec<f16> = bytes.as_chunks::<2>().0.iter().map(|b| f16::from_le_bytes(*b)).collect();
                let mut out = vec![0.0; halves.len()];
                halves.convert_to_f32_slice(&mut out);
                out
            }
            DType::BF16 => each(bytes, |b| f32::from_bits(u32::from(u16::from_le_bytes(b)) << 16)),
            DType::F8E4M3 => bytes.iter().map(|b| f8_to_f32(*b, &E4M3)).collect(),
            DType::F8E5M2 => bytes.iter().map(|b| f8_to_f32(*b, &E5M2)).collect(),
            DType::I64 => each(bytes, |b| i64::from_le_bytes(b) as f32),
            DType::U64 => each(bytes, |b| u64::from_le_bytes(b) as f32),
            DType::I32 => each(bytes, |b| i32::from_le_bytes(b) as f32),
            DType::U32 => each(bytes, |b| u32::from_le_bytes(b) as f32),
            DType::I16 => each(bytes, |b| f32::from(i16::from_le_bytes(b))),
            DType::U16 => each(bytes, |b| f32::from(u16::from_le_bytes(b))),
            DType::I8 => bytes.iter().map(|b| f32::from(*b as i8)).collect(),
            DType::U8 => bytes.iter().map(|b| f32::from(*b)).collect(),
            DType::Bool => bytes.iter().map(|b| f32::from(u8::from(*b != 0))).collect(),
        }
    }

    /// Encodes to little-endian elements, rounding to nearest, ties to even.
    ///
    /// F16 and BF16 overflow to infinity as IEEE 754 says; the 8-bit floats saturate at their largest finite value,
    /// infinities included, and keep NaN. Integers saturate, NaN becomes 0; booleans are `x != 0`.
    pub fn encode_f32(self, values: &[f32]) -> Vec<u8> {
        fn each<const N: usize>(values: &[f32], f: impl Fn(f32) -> [u8; N]) -> Vec<u8> {
            let mut out = Vec::with_capacity(values.len() * N);
            for v in values {
                out.extend_from_slice(&f(*v));
            }
            out
        }
        let round = f32::round_ties_even;
        match self {
            DType::F64 => each(values, |v| f64::from(v).to_le_bytes()),
            DType::F32 => each(values, f32::to_le_bytes),
            DType::F16 => {
                let mut halves = vec![f16::ZERO; values.len()];
                halves.convert_from_f32_slice(values);
                halves.iter().flat_map(|h| h.to_le_bytes()).collect()
            }
            DType::BF16 => each(values, |v| bf16::from_f32(v).to_le_bytes()),
            DType::F8E4M3 => each(values, |v| [f32_to_f8(v, &E4M3)]),
            DType::F8E5M2 => each(values, |v| [f32_to_f8(v, &E5M2)]),
            // `as` saturates and maps NaN to 0.
            DType::I64 => each(values, |v| (round(v) as i64).to_le_bytes()),
            DType::U64 => each(values, |v| (round(v) as u64).to_le_bytes()),
            DType::I32 => each(values, |v| (round(v) as i32).to_le_bytes()),
            DType::U32 => each(values, |v| (round(v) as u32).to_le_bytes()),
            DType::I16 => each(values, |v| (round(v) as i16).to_le_bytes()),
            DType::U16 => each(values, |v| (round(v) as u16).to_le_bytes()),
            DType::I8 => each(values, |v| (round(v) as i8).to_le_bytes()),
            DType::U8 => each(values, |v| [round(v) as u8]),
            DType::Bool => each(values, |v| [u8::from(v != 0.0)]),
        }
    }
}

impl std::fmt::Display for DType {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.name())
    }
}

/// The layout of an 8-bit float.
struct Float8 {
    mantissa_bits: u32,
    bias: i32,
    /// Code of the largest finite value, sign bit clear.
    largest: u8,
    nan: u8,
    /// Code of infinity, where there is one.
    infinity: Option<u8>,
}

const E4M3: Float8 = Float8 { mantissa_bits: 3, bias: 7, largest: 0x7e, nan: 0x7f, infinity: None };
const E5M2: Float8 = Float8 { mantissa_bits: 2, bias: 15, largest: 0x7b, nan: 0x7e, infinity: Some(0x7c) };

fn f8_to_f32(code: u8, format: &Float8) -> f32 {
    let sign = if code & 0x80 != 0 { -1.0 } else { 1.0 };
    let magnitude = code & 0x7f;
    if format.infinity == Some(magnitude) {
        return sign * f32::INFINITY;
    }
    if magnitude > format.largest {
        return f32::NAN;
    }
    let exponent = i32::from(magnitude >> format.mantissa_bits);
    let fraction = f32::from(magnitude & ((1 << format.mantissa_bits) - 1)) / (1 << format.mantissa_bits) as f32;
    let value = if exponent == 0 {
        fraction * 2f32.powi(1 - format.bias)
    } else {
        (1.0 + fraction) * 2f32.powi(exponent - format.bias)
    };
    sign * value
}

fn f32_to_f8(value: f32, format: &Float8) -> u8 {
    let sign = if value.is_sign_negative() { 0x80 } else { 0 };
    if value.is_nan() {
        return sign | format.nan;
    }
    let bits = value.abs().to_bits();
    // The exponent that scales one unit in the last place; below the smallest normal number it no longer shrinks.
    let exponent = ((bits >> 23) as i32 - 127).max(1 - format.bias);
    // |value| in units in the last place: exact, because it only moves the exponent of a 24-bit number.
    let units = f64::from(value.abs()) * 2f64.powi(format.mantissa_bits as i32 - exponent);
    let units = units.round_ties_even();
    // Subnormals and the first binade share this form: (biased exponent - 1) << mantissa_bits, plus the units.
    let code = f64::from((exponent + format.bias - 1) << format.mantissa_bits) + units;
    sign | if code > f64::from(format.largest) { format.largest } else { code as u8 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_half_survives_a_round_trip() {
        for dtype in [DType::F16, DType::BF16] {
            let bytes: Vec<u8> = (0..=u16::MAX).flat_map(u16::to_le_bytes).collect();
            let values = dtype.decode_f32(&bytes);
            for (code, v) in (0..=u16::MAX).zip(&values) {
                let expected =
                    if dtype == DType::F16 { f16::from_bits(code).to_f32() } else { f32::from(bf16::from_bits(code)) };
                assert!(v.to_bits() == expected.to_bits() || v.is_nan() && expected.is_nan());
            }
            for ((code, v), back) in (0..=u16::MAX).zip(&values).zip(dtype.encode_f32(&values).chunks(2)) {
                let back = u16::from_le_bytes([back[0], back[1]]);
                assert!(back == code || v.is_nan() && dtype.decode_f32(&back.to_le_bytes())[0].is_nan());
            }
        }
    }

    #[test]
    fn every_float8_survives_a_round_trip() {
        for dtype in [DType::F8E4M3, DType::F8E5M2] {
            for code in 0..=u8::MAX {
                let v = dtype.decode_f32(&[code])[0];
                let back = dtype.encode_f32(&[v])[0];
                if v.is_nan() {
                    assert!(dtype.decode_f32(&[back])[0].is_nan());
                } else if v.is_infinite() {
                    assert_eq!(back, (code & 0x80) | 0x7b, "infinity saturates");
                } else {
                    assert_eq!(back, code, "{dtype} {v}");
                }
            }
        }
    }

    #[test]
    fn float8_values_of_the_paper() {
        // Table 1 of arXiv 2209.05433.
        let e4m3 = [(0x7e, 448.0), (0x08, 2f32.powi(-6)), (0x07, 0.875 * 2f32.powi(-6)), (0x01, 2f32.powi(-9))];
        for (code, value) in e4m3 {
            assert_eq!(DType::F8E4M3.decode_f32(&[code]), [value]);
        }
        let e5m2 = [(0x7b, 57344.0), (0x04, 2f32.powi(-14)), (0x03, 0.75 * 2f32.powi(-14)), (0x01, 2f32.powi(-16))];
        for (code, value) in e5m2 {
            assert_eq!(DType::F8E5M2.decode_f32(&[code]), [value]);
        }
        assert!(DType::F8E4M3.decode_f32(&[0x7f])[0].is_nan());
        assert!(DType::F8E4M3.decode_f32(&[0xff])[0].is_nan());
        assert_eq!(DType::F8E5M2.decode_f32(&[0x7c, 0xfc]), [f32::INFINITY, f32::NEG_INFINITY]);
        assert!((0x7d..=0x7f).all(|c| DType::F8E5M2.decode_f32(&[c])[0].is_nan()));
    }

    /// The nearest code by exhaustive search, ties to the even code, saturating.
    fn nearest(dtype: DType, v: f32) -> u8 {
        let mut best = (f64::INFINITY, 0u8);
        for code in 0..0x80u8 {
            let c = dtype.decode_f32(&[code])[0];
            if !c.is_finite() {
                continue;
            }
            // Beyond the largest code every value is as far for all; keep the difference within f64's digits.
            let distance = (f64::from(c) - f64::from(v.abs()).min(1e6)).abs();
            if distance < best.0 || distance == best.0 && code % 2 == 0 {
                best = (distance, code);
            }
        }
        best.1 | if v.is_sign_negative() { 0x80 } else { 0 }
    }

    #[test]
    fn float8_rounds_to_nearest_even_and_saturates() {
        for dtype in [DType::F8E4M3, DType::F8E5M2] {
            let mut samples = vec![0.0, -0.0, 1e9, -1e9, f32::MAX, f32::MIN_POSITIVE, 1e-40];
            for code in 0..0x7bu8 {
                let (a, b) = (dtype.decode_f32(&[code])[0], dtype.decode_f32(&[code + 1])[0]);
                let middle = (a + b) / 2.0;
                samples.extend([middle, middle.next_up(), middle.next_down(), -middle, a + (b - a) * 0.3]);
            }
            for v in samples {
                assert_eq!(dtype.encode_f32(&[v])[0], nearest(dtype, v), "{dtype} {v:e}");
            }
        }
    }

    /// SHA-256 of the codes, NaN as code 0.
    fn digest(dtype: DType, values: &[f32]) -> String {
        use sha2::{Digest, Sha256};
        let mut codes = dtype.encode_f32(values);
        for (code, v) in codes.chunks_mut(dtype.size()).zip(values) {
            if v.is_nan() {
                code.fill(0);
            }
        }
        Sha256::digest(&codes).iter().map(|b| format!("{b:02x}")).collect()
    }

    #[test]
    fn every_value_rounds_as_torch_rounds_it() {
        // Digests by tests/golden/make_floats.py (torch 2.15.0, saturated as the FP8 paper says).
        let halves: Vec<f32> = (0..=u16::MAX).map(|b| f16::from_bits(b).to_f32()).collect();
        for (dtype, expected) in [
            (DType::F8E4M3, "e722e731c0e7efd7c94f18855dd4b45429e84ad4ec3f065847f67338d477b5d0"),
            (DType::F8E5M2, "a50dc6e96e3a35ca974e559b29c974783053b151c80c82b4646b5b15e3e3d539"),
        ] {
            assert_eq!(digest(dtype, &halves), expected, "{dtype}");
        }
        // Every sign, exponent and the upper half of the fraction, just below, on and above the ties of bf16.
        for (low, bf16, f16) in [
            (
                0x0000,
                "3ae1f511afa65d922e5843e954cfe7440b630509753d0aaf3787709a1aa9e543",
                "82d2246fbac1769cb4014002ba9387beb58b3f3b7a6a7b5e021ca309c632c8cc",
            ),
            (
                0x7fff,
                "d5ba55fedffd424e7fcc8b6e3166fe8cfbb95b9e43083e5eab2ae2df64e39525",
                "a25520c7dda4b19b5e04e938111f1b47ed023c21bbd843d5044957f09b5b467f",
            ),
            (
                0x8000,
                "29e7961bd8f55666b2a61892c6b1dc6cb966786b82bf4ad8a9e01279a95a8633",
                "868baee8b729d30ce1e77c3e60a756d0f5aa4938e81201449306ad396ab9ba91",
            ),
            (
                0x8001,
                "8f11d9c3576dcd5a7c94337f164f7578c3f4da95d5638179b2cbe906dc768504",
                "7bde9c2d9884b62f1db0c2f41dbf7e1a21dc35405742e0aa60c7ed26876ec4a4",
            ),
        ] {
            let values: Vec<f32> = (0..=u32::from(u16::MAX)).map(|high| f32::from_bits(high << 16 | low)).collect();
            assert_eq!(digest(DType::BF16, &values), bf16, "bf16 {low:04x}");
            assert_eq!(digest(DType::F16, &values), f16, "f16 {low:04x}");
        }
    }

    #[test]
    fn f16_rounds_ties_to_even_and_overflows_to_infinity() {
        let one = DType::F16.encode_f32(&[1.0 + 2f32.powi(-11), 1.0 + 3.0 * 2f32.powi(-11), 65520.0, 65519.0]);
        assert_eq!(DType::F16.decode_f32(&one), [1.0, 1.0 + 2f32.powi(-9), f32::INFINITY, 65504.0]);
    }

    #[test]
    fn integers_round_and_saturate() {
        assert_eq!(DType::I8.encode_f32(&[2.5, 3.5, -200.0, f32::NAN]), [2, 4, 0x80, 0]);
        assert_eq!(DType::U16.decode_f32(&DType::U16.encode_f32(&[-3.0, 7e9])), [0.0, 65535.0]);
        assert_eq!(DType::I64.decode_f32(&DType::I64.encode_f32(&[-49407.0])), [-49407.0]);
        assert_eq!(DType::Bool.encode_f32(&[0.0, -0.0, 0.1]), [0, 0, 1]);
        for d in [DType::F64, DType::F32, DType::I32, DType::U32, DType::I16, DType::U64, DType::U8] {
            assert_eq!(d.decode_f32(&d.encode_f32(&[0.0, 1.0, 77.0])), [0.0, 1.0, 77.0]);
        }
    }

    #[test]
    fn names() {
        for d in DType::ALL {
            assert_eq!(DType::from_name(d.name()), Some(d));
        }
        assert_eq!(DType::from_option("f8e4m3"), Some(DType::F8E4M3));
        assert_eq!(DType::from_option("bf16"), Some(DType::BF16));
        assert_eq!(DType::from_option("i8"), None);
        assert_eq!(DType::from_name("F8_E8M0"), None);
    }
}
