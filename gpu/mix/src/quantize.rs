//! From f32 to the type a tensor is kept in. Rounding is to nearest, ties to even, and happens on the device at the end of a pass
//! (`shaders/mix/shared/quantize.wgsl`) for f16 and bf16; the 8-bit floats are rounded on the host. Preview and export share it.

use admix_files::DType;

use crate::flat::Kind;

/// How elements stored as `dtype` are read on the device; `None`: the host decodes them to f32 first.
pub fn input_kind(dtype: DType) -> Option<Kind> {
    match dtype {
        DType::F32 => Some(Kind::F32),
        DType::F16 => Some(Kind::F16),
        DType::BF16 => Some(Kind::Bf16),
        _ => None,
    }
}

/// How a result of `dtype` leaves the device: for the networks (`for_networks`), or as the bytes of a file.
/// `None`: it leaves as f32 and the host rounds it.
pub fn output_kind(dtype: DType, for_networks: bool) -> Option<Kind> {
    match dtype {
        DType::F32 | DType::F64 => Some(Kind::F32),
        DType::F16 => Some(Kind::F16),
        DType::BF16 if for_networks => Some(Kind::RoundedBf16),
        DType::BF16 => Some(Kind::Bf16),
        _ => None,
    }
}

/// Position of the first element of little-endian `bytes` that is not finite.
pub fn first_non_finite(bytes: &[u8], dtype: DType) -> Option<usize> {
    fn scan<const N: usize>(bytes: &[u8], special: impl Fn([u8; N]) -> bool) -> Option<usize> {
        bytes.as_chunks::<N>().0.iter().position(|b| special(*b))
    }
    match dtype {
        DType::F16 => scan(bytes, |b| u16::from_le_bytes(b) & 0x7c00 == 0x7c00),
        DType::BF16 => scan(bytes, |b| u16::from_le_bytes(b) & 0x7f80 == 0x7f80),
        DType::F32 => scan(bytes, |b| u32::from_le_bytes(b) & 0x7f80_0000 == 0x7f80_0000),
        other if other.is_float() => other.decode_f32(bytes).iter().position(|v| !v.is_finite()),
        _ => None,
    }
}
