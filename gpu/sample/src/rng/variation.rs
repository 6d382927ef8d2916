//! Variation seeds: noise between that of two seeds, noise of another size in the middle, another seed for what follows.
//!
//! As stable-diffusion-webui has it (`modules/rng.py`, `ImageRNG` and `slerp`), so that its pictures can be made again.

use super::{Kind, Stream};

/// What becomes of the seed's noise before a run begins with it. The default changes nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Variation {
    /// The other seed; picture i of a batch has this plus i.
    pub seed: u64,
    /// How far from the first seed's noise towards the other's, 0 to 1. Above 0 all pictures of a batch share the first seed.
    pub strength: f64,
    /// Latent rows and columns of the noise that lies in the middle of this picture's ("seed resize"): a seed keeps its subject at another size.
    pub from: Option<[usize; 2]>,
    /// Added to the seed for all noise after the first ("eta noise seed delta"); 0: the stream goes on.
    pub later: u64,
}

impl Variation {
    /// The two seeds of picture `index` of a batch that starts at `seed`.
    pub fn seeds(&self, seed: u64, index: u64) -> (u64, u64) {
        let own = if self.strength > 0.0 { 0 } else { index };
        (seed.wrapping_add(own), self.seed.wrapping_add(index))
    }

    /// True where nothing is changed.
    pub fn is_off(&self) -> bool {
        self.strength <= 0.0 && self.from.is_none() && self.later == 0
    }
}

/// Between two noises of shape [c, h, w]: each column of h values is turned from `low` towards `high` by the share `t` of the angle between them
/// (A1111's slerp, which takes its norms over the height).
pub fn slerp(t: f64, low: &[f32], high: &[f32], [c, h, w]: [usize; 3]) -> Vec<f32> {
    let column = |i: usize| (0..h).map(move |y| (i / w * h + y) * w + i % w);
    let dot = |a: &[f32], b: &[f32], i: usize| column(i).map(|k| f64::from(a[k]) * f64::from(b[k])).sum::<f64>();
    let cosine = |i: usize| dot(low, high, i) / (dot(low, low, i) * dot(high, high, i)).sqrt();
    let mut out = low.to_vec();
    for i in 0..c * w {
        let angle = cosine(i).clamp(-1.0, 1.0).acos();
        // In parallel columns (a latent of one row has no others) A1111 divides 0 by 0; there the straight line is the limit.
        let (a, b) = match angle.sin() {
            s if s > 1e-6 => (((1.0 - t) * angle).sin() / s, (t * angle).sin() / s),
            _ => (1.0 - t, t),
        };
        column(i).for_each(|k| out[k] = (a * f64::from(low[k]) + b * f64::from(high[k])) as f32);
    }
    out
}

/// `inner` [c, from] in the middle of `outer` [c, to]; what does not fit is cut off.
fn paste(outer: &mut [f32], inner: &[f32], c: usize, to: [usize; 2], from: [usize; 2]) {
    // A1111 halves the difference by Python's `//`, which rounds down.
    let offset = |k: usize| (to[k] as i64 - from[k] as i64).div_euclid(2);
    let (dy, dx) = (offset(0), offset(1));
    let at = |v: usize, d: i64, end: usize| usize::try_from(v as i64 + d).ok().filter(|v| *v < end);
    // Where the noise is the larger one A1111 keeps from + 2 d cells, one less than fit when the difference is odd.
    let kept = |k: usize, d: i64| if d >= 0 { from[k] } else { (from[k] as i64 + 2 * d).max(0) as usize };
    for (channel, y, x) in (0..c).flat_map(|k| (0..to[0]).flat_map(move |y| (0..to[1]).map(move |x| (k, y, x)))) {
        let inside = |v: usize, k: usize, d: i64| v < d.max(0) as usize + kept(k, d);
        if let (Some(sy), Some(sx)) = (at(y, -dy, from[0]), at(x, -dx, from[1]))
            && inside(y, 0, dy)
            && inside(x, 1, dx)
        {
            outer[(channel * to[0] + y) * to[1] + x] = inner[(channel * from[0] + sy) * from[1] + sx];
        }
    }
}

/// The stream of a run: its first draw varied, the later ones from generators of their own where the variation says so. `chw`: one picture's latents.
pub(super) fn stream(kind: Kind, seed: u64, batch: usize, chw: [usize; 3], variation: &Variation) -> Stream {
    let [c, h, w] = chw;
    let share = variation.strength > 0.0 && kind != Kind::Comfy;
    let make = |seed: u64, share: bool| {
        let each = if share { Stream::shared } else { Stream::new };
        each(kind, seed, batch, c * h * w)
    };
    let mut own = make(seed, share);
    let [rows, columns] = variation.from.unwrap_or([h, w]);
    let moved = [rows, columns] != [h, w];
    let size = [c, rows, columns];
    let small = |seed: u64, share: bool| {
        let each = if share { Stream::shared } else { Stream::new };
        each(kind, seed, batch, size.iter().product()).next()
    };
    let mut first = if moved { small(seed, share) } else { own.next() };
    if variation.strength > 0.0 {
        let other = small(variation.seed, false);
        let each: usize = size.iter().product::<usize>().max(1);
        first = first
            .chunks(each)
            .zip(other.chunks(each))
            .flat_map(|(a, b)| slerp(variation.strength, a, b, size))
            .collect();
    }
    if moved {
        let mut whole = own.next();
        let (to, from) = ((c * h * w).max(1), size.iter().product::<usize>().max(1));
        whole.chunks_mut(to).zip(first.chunks(from)).for_each(|(o, i)| paste(o, i, c, [h, w], [rows, columns]));
        first = whole;
    }
    if variation.later != 0 {
        own = make(seed.wrapping_add(variation.later), share);
    }
    own.first = Some(first);
    own
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_the_two_noises() {
        let size = [2, 3, 4];
        let draw = |seed| Stream::new(Kind::Cpu, seed, 1, 24).next();
        let (low, high) = (draw(1), draw(2));
        for (t, expected) in [(0.0, &low), (1.0, &high)] {
            let found = slerp(t, &low, &high, size);
            assert!(found.iter().zip(expected).all(|(a, b)| (a - b).abs() < 1e-6), "{t}");
        }
        // One row: every column is parallel.
        assert!(slerp(0.3, &low[..4], &high[..4], [1, 1, 4]).iter().all(|v| v.is_finite()));
        assert_eq!(slerp(0.3, &low, &low, size), low);
    }

    #[test]
    fn nothing_asked_changes_nothing() {
        for kind in [Kind::Cpu, Kind::Nv, Kind::Comfy] {
            let mut plain = Stream::new(kind, 5, 2, 12);
            let mut varied = Stream::varied(kind, 5, 2, [1, 3, 4], &Variation { seed: 9, ..Variation::default() });
            assert_eq!((plain.next(), plain.next()), (varied.next(), varied.next()));
            // Only what follows the first draw.
            let mut later = Stream::varied(kind, 5, 2, [1, 3, 4], &Variation { later: 7, ..Variation::default() });
            assert_eq!(later.next(), Stream::new(kind, 5, 2, 12).next());
            assert_eq!(later.next(), Stream::new(kind, 12, 2, 12).next());
        }
    }
}
