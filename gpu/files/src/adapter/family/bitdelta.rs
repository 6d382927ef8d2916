//! BitDelta: of a fine-tune's difference only the signs and one distance for each matrix (Liu et al., arXiv 2402.10193), in a layout of
//! our own that `admix mix --as bitdelta` writes.
//!
//! `MODULE.mask` U8 [rows, columns * taps / 8 rounded up]: bit i % 8 of byte i / 8 is set where element i of the row grew.
//! `MODULE.coeff` F32 []: the mean of the difference's magnitudes, which is the closest distance for given signs.
//! Vectors are kept whole, as in the paper: `MODULE.diff`, `MODULE.diff_b`. The metadata hold [`FORMAT`] = `1`.

use super::{Built, Family, Fits, Group, Settings, Values};
use crate::adapter::Module;
use crate::adapter::change::{Change, Changes, Extent};

/// The metadata key that marks such a file.
pub const FORMAT: &str = "admix_bitdelta";

pub(super) struct BitDelta;

impl Family for BitDelta {
    fn id(&self) -> &'static str {
        "bitdelta"
    }

    fn label(&self) -> &'static str {
        "BitDelta"
    }

    fn citation(&self) -> &'static str {
        "Liu et al., BitDelta: Your Fine-Tune May Only Be Worth One Bit, arXiv 2402.10193"
    }

    fn endings(&self) -> &'static [(&'static str, &'static str)] {
        &[(".mask", "mask"), (".coeff", "coeff")]
    }

    fn claims(&self, group: &Group) -> bool {
        group.has("mask") && group.has("coeff")
    }

    fn build(&self, group: &Group, _: &Settings) -> Result<Built, String> {
        let (mask, coeff) = (group.need("mask")?, group.need("coeff")?);
        if group.get("mask").is_some_and(|s| s.info.dtype != crate::DType::U8) {
            return Err("its signs are not packed into U8; other layouts of BitDelta are not known".into());
        }
        match *mask {
            [rows, bytes] if rows > 0 && bytes > 0 && coeff.iter().product::<usize>() == 1 => {
                Ok(Built::new(Fits::Packed(rows, bytes), None, 1.0))
            }
            _ => {
                Err(format!("its signs and distance have shapes {mask:?} and {coeff:?}; expected [rows, bytes] and []"))
            }
        }
    }

    fn changes(&self, values: &Values, _: &Module, _: Extent) -> Result<Changes, String> {
        let bits = values.need("mask")?.data.iter().map(|v| *v as u8).collect();
        let scale = f64::from(*values.need("coeff")?.data.first().ok_or("its distance is missing")?);
        Ok(Changes { weight: Some(Change::Signs { bits, scale }), bias: None })
    }
}

/// The signs and the distance of a difference [rows, width]: what [`FORMAT`] files hold.
pub fn pack(difference: &[f32], width: usize) -> (Vec<u8>, f32) {
    let mean = difference.iter().map(|v| f64::from(v.abs())).sum::<f64>() / difference.len().max(1) as f64;
    let byte = |bits: &[f32]| bits.iter().enumerate().fold(0u8, |b, (i, v)| b | u8::from(*v > 0.0) << i);
    (difference.chunks(width.max(1)).flat_map(|row| row.chunks(8).map(byte)).collect(), mean as f32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn packed_signs_come_back_at_the_mean_distance() {
        let difference = [0.5, -1.5, 0.25, -0.75, 1.0, 0.0, -2.0, 2.0, 1.0, -1.0, 1.0, 1.0f32];
        let (bits, scale) = pack(&difference, 6);
        assert_eq!(bits.len(), 2);
        assert_eq!(scale, 1.0, "12 of magnitudes over 12 elements");
        let change = Change::Signs { bits, scale: f64::from(scale) };
        let found = change.applied(&[0.0; 12], Extent { rows: 2, columns: 6, taps: 1 }, 1.0);
        for (f, d) in found.iter().zip(difference) {
            assert_eq!(*f, if d > 0.0 { scale } else { -scale });
        }
    }
}
