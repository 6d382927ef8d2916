//! What of an adapter's change can run beside a weight instead of inside it, so that a strength, a block or a part of sampling moves no weight:
//!
//! W' - W = diag(rows) W + W diag(columns) + scale up down, hence y = W' x = W x + rows o (W x) + W (columns o x) + scale up (down x).
//!
//! LoRA and its kin are the product alone. LoHa's product of products is one of the product of the ranks (FedPara, arXiv 2108.06098), LoKr's
//! Kronecker product one of the Kronecker products of its sides' factors: kron(A B, C D) = kron(A, C) kron(B, D). IA3 is rows or columns
//! alone. DoRA, W' = diag(g) (W + D) with g = m / |W + D|, is rows g - 1 beside diag(g) D (columns likewise); only g depends on the weight,
//! and is found once for a weight. Everything else (OFT, BOFT, HRA, full and sparse differences, ...) changes a weight as a whole and is merged.

use admix_files::adapter::change::Axis;
use admix_files::adapter::{Change, Factors};

use crate::low_rank::LowRank;

/// Most ranks that a product of two low-rank changes may have to run beside a weight.
const MOST_RANK: usize = 256;

/// A change of a weight in the form that runs beside it. Strengths and the adapter's weight are not inside.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct SideForm {
    /// Factors of the output features, less 1.
    pub rows: Option<Vec<f32>>,
    /// Those factors reach the layer's bias too.
    pub biased: bool,
    /// Factors of the input features (each with all its kernel positions), less 1.
    pub columns: Option<Vec<f32>>,
    /// What is added.
    pub factors: Option<LowRank>,
}

/// Lengths that a form still waits for (see [`SideForm::lengthened`]).
pub(crate) struct Lengths<'a> {
    /// What gives the weight its direction.
    pub inner: &'a Change,
    /// The lengths.
    pub magnitude: &'a [f32],
    /// Of rows or of columns.
    pub axis: Axis,
}

/// Whether layers have something beside the weight of this name and shape: those of the U-Net and the text encoders do, embeddings and the
/// autoencoder do not.
pub(crate) fn is_layer(name: &str, shape: &[usize]) -> bool {
    let network = name.starts_with("unet.") || name.starts_with("text_encoder");
    network && name.ends_with(".weight") && matches!(shape.len(), 2 | 4) && !name.contains(".embeddings.")
}

/// The change as a low-rank product, where it is one.
fn product(change: &Change) -> Option<LowRank> {
    match change {
        Change::LowRank(factors) => Some(factors.clone().into()),
        Change::Hadamard(a, b) if a.rank * b.rank <= MOST_RANK => {
            LowRank::hadamard(&a.clone().into(), &b.clone().into())
        }
        Change::Kronecker { first: (a, [_, c]), second: (b, [_, d]), scale, factors: [one, two] } => {
            LowRank::kronecker(&side(a, *c, one.as_ref()), &side(b, *d, two.as_ref()), *scale)
        }
        _ => None,
    }
}

/// One side of a Kronecker product as a product: its own factors where they are fewer numbers, else itself times the identity.
fn side(whole: &[f32], columns: usize, factors: Option<&Factors>) -> LowRank {
    let rows = whole.len() / columns.max(1);
    if let Some(factors) = factors.filter(|f| f.rank < rows.min(columns)) {
        return factors.clone().into();
    }
    let identity = |n: usize| (0..n * n).map(|i| f32::from(u8::from(i % (n + 1) == 0))).collect::<Vec<f32>>();
    let (rank, up, down) = if rows <= columns {
        (rows, identity(rows), whole.to_vec())
    } else {
        (columns, whole.to_vec(), identity(columns))
    };
    LowRank { out: rows, width: columns, rank, up, down, scale: 1.0 }
}

impl SideForm {
    /// A low-rank product, the most common form.
    pub fn of_product(factors: LowRank) -> SideForm {
        SideForm { factors: Some(factors), ..SideForm::default() }
    }

    /// The form of a change that depends on the change alone; none where there is none, or where it depends on the weight.
    pub(crate) fn of(change: &Change) -> Option<SideForm> {
        let less_one = |factors: &[f32]| Some(factors.iter().map(|f| f - 1.0).collect());
        match change {
            Change::Scale { rows: Some(rows), columns: None } => {
                Some(SideForm { rows: less_one(rows), ..SideForm::default() })
            }
            Change::Scale { rows: None, columns: Some(columns) } => {
                Some(SideForm { columns: less_one(columns), ..SideForm::default() })
            }
            other => product(other).map(SideForm::of_product),
        }
    }

    /// What has to be known of the weight before [`SideForm::lengthened`] can say the form of a change.
    pub(crate) fn lengths(change: &Change) -> Option<Lengths<'_>> {
        let Change::Decomposed { inner, magnitude, axis } = change else { return None };
        product(inner)?;
        (*axis != Axis::Width).then_some(Lengths { inner, magnitude, axis: *axis })
    }

    /// The form of a decomposed change, from what its lengths are divided by those of W + D: `factors`, one for each row or column.
    pub(crate) fn lengthened(lengths: &Lengths<'_>, factors: &[f32]) -> Option<SideForm> {
        let mut inner = product(lengths.inner)?;
        let less_one = Some(factors.iter().map(|f| f - 1.0).collect());
        if lengths.axis == Axis::Rows {
            for (row, factor) in inner.up.chunks_mut(inner.rank).zip(factors) {
                row.iter_mut().for_each(|v| *v *= factor);
            }
            return Some(SideForm { rows: less_one, factors: Some(inner), ..SideForm::default() });
        }
        let taps = inner.width / factors.len().max(1);
        for line in inner.down.chunks_mut(inner.width) {
            for (column, factor) in line.chunks_mut(taps.max(1)).zip(factors) {
                column.iter_mut().for_each(|v| *v *= factor);
            }
        }
        Some(SideForm { columns: less_one, factors: Some(inner), ..SideForm::default() })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::low_rank::add_low_rank_reference;
    use crate::testing::random;
    use admix_files::adapter::change::Extent;

    /// W' - W by the form, on the host.
    fn delta(form: &SideForm, w: &[f32], extent: Extent) -> Vec<f32> {
        let mut out = match &form.factors {
            Some(factors) => add_low_rank_reference(&vec![0.0; w.len()], &[(factors, 1.0)]),
            None => vec![0.0; w.len()],
        };
        for (i, (o, w)) in out.iter_mut().zip(w).enumerate() {
            let (row, column) = (i / extent.width(), i % extent.width() / extent.taps);
            let at = |factors: &Option<Vec<f32>>, i: usize| factors.as_ref().map_or(0.0, |f| f[i]);
            *o += w * (at(&form.rows, row) + at(&form.columns, column));
        }
        out
    }

    #[test]
    fn forms_say_what_their_changes_do() {
        let extent = Extent { rows: 6, columns: 4, taps: 9 };
        let w = random(extent.len(), 1);
        let low = |rank: usize, seed| {
            let (up, down) = (random(6 * rank, seed), random(rank * extent.width(), seed + 1));
            Factors::new(up, down, rank, 0.5).expect("fits")
        };
        // Sides [3, 4] and [2, 9], the second one whole or as a product of rank 1.
        let second = Factors::new(random(2, 8), random(9, 9), 1, 1.0).expect("fits");
        let kronecker = |factors| Change::Kronecker {
            first: (random(12, 7), [3, 4]),
            second: (second.delta(), [2, 9]),
            scale: 0.7,
            factors,
        };
        let decomposed = |inner: Change, axis: Axis| {
            let magnitude = random(axis.split(extent)[1], 16);
            Change::Decomposed { inner: Box::new(inner), magnitude, axis }
        };
        for change in [
            Change::LowRank(low(2, 3)),
            Change::Hadamard(low(2, 3), low(3, 5)),
            kronecker([None, None]),
            kronecker([None, Some(second.clone())]),
            Change::Scale { rows: Some(random(6, 12)), columns: None },
            Change::Scale { rows: None, columns: Some(random(4, 13)) },
            decomposed(Change::LowRank(low(2, 3)), Axis::Rows),
            decomposed(Change::Hadamard(low(2, 3), low(3, 5)), Axis::Columns),
            decomposed(kronecker([None, Some(second.clone())]), Axis::Rows),
        ] {
            let changed = change.applied(&w, extent, 1.0);
            let form = SideForm::of(&change).or_else(|| {
                let lengths = SideForm::lengths(&change)?;
                let v = lengths.inner.applied(&w, extent, 1.0);
                let [_, n, behind] = lengths.axis.split(extent);
                let mut norms = vec![0f64; n];
                v.iter().enumerate().for_each(|(i, v)| norms[i / behind % n] += f64::from(*v).powi(2));
                let factors = norms.iter().zip(lengths.magnitude).map(|(n, m)| (f64::from(*m) / n.sqrt()) as f32);
                SideForm::lengthened(&lengths, &factors.collect::<Vec<f32>>())
            });
            let found = delta(&form.expect("has a form"), &w, extent);
            for ((w, c), d) in w.iter().zip(&changed).zip(&found) {
                // Numbers below 4, a handful of roundings of f32 each.
                assert!((w + d - c).abs() < 3e-6, "{change:?}: {} {d}", c - w);
            }
        }
        assert!(
            SideForm::of(&kronecker([None, Some(second.clone())])).and_then(|f| f.factors).is_some_and(|f| f.rank == 3)
        );
        let both = Change::Scale { rows: Some(random(6, 12)), columns: Some(random(4, 13)) };
        assert!(SideForm::of(&both).is_none() && SideForm::of(&Change::Replace(w.clone())).is_none());
        assert!(SideForm::lengths(&decomposed(Change::Replace(w), Axis::Rows)).is_none());
    }

    #[test]
    fn only_layers_have_something_beside() {
        assert!(is_layer("unet.conv_in.weight", &[4, 4, 3, 3]) && is_layer("text_encoder_2.a.weight", &[4, 4]));
        for (name, shape) in [
            ("vae.decoder.conv_in.weight", &[4, 4, 3, 3][..]),
            ("unet.conv_norm_out.weight", &[4]),
            ("unet.conv_in.bias", &[4]),
            ("text_encoder.text_model.embeddings.token_embedding.weight", &[8, 4]),
        ] {
            assert!(!is_layer(name, shape), "{name}");
        }
    }
}
