//! What an adapter does, told from pictures: the same prompts and seeds drawn without it and with it, and what changed in words.
//!
//! Stylus shows example pictures to a vision-language model. Here there is none: brightness, contrast, colour, lines, flatness, blocks,
//! the ground and whether the shapes stay are measured. What a picture shows cannot be told this way, and nothing is made up about it.

/// An 8-bit RGB picture, rows top to bottom.
#[derive(Clone, Copy)]
pub struct View<'a> {
    /// Pixels in a row.
    pub width: usize,
    /// width * height * 3 bytes.
    pub rgb: &'a [u8],
}

/// Edge of the map that shapes are compared on.
const MAP: usize = 32;

/// Figures of one picture, all but the tint 0..1.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Look {
    /// Mean brightness (Rec. 709 weights on the stored values).
    pub light: f64,
    /// Standard deviation of brightness.
    pub contrast: f64,
    /// Mean of the largest minus the smallest channel.
    pub color: f64,
    /// Mean colour, without its brightness: red, green, blue.
    pub tint: [f64; 3],
    /// Mean change of brightness from a pixel to the next.
    pub lines: f64,
    /// Share of pixels that are like their neighbours.
    pub flat: f64,
    /// How much more changes on a grid of 4 or 8 pixels than off it: 0 for none, 1 for all.
    pub blocks: f64,
    /// Brightness of the rim.
    pub ground: f64,
    /// Share of pixels with a channel at its end.
    pub clipped: f64,
    /// Brightness, coarsely.
    map: Vec<f64>,
    /// How much changes where, coarsely.
    outline: Vec<f64>,
}

impl Look {
    /// Measures a picture; zeros for one without pixels.
    pub fn of(view: View) -> Look {
        let (width, height) = (view.width, view.rgb.len() / 3 / view.width.max(1));
        let mut look = Look { map: vec![0.0; MAP * MAP], outline: vec![0.0; MAP * MAP], ..Look::default() };
        if width < 2 || height < 2 {
            return look;
        }
        let count = (width * height) as f64;
        let mut luma = Vec::with_capacity(width * height);
        let mut mean = [0.0f64; 3];
        for pixel in view.rgb.as_chunks::<3>().0 {
            let [r, g, b] = pixel.map(|v| f64::from(v) / 255.0);
            luma.push(0.2126 * r + 0.7152 * g + 0.0722 * b);
            let (high, low) = (r.max(g).max(b), r.min(g).min(b));
            look.color += (high - low) / count;
            look.clipped += f64::from(u8::from(high >= 1.0 && low < 1.0 || low <= 0.0 && high > 0.0)) / count;
            mean.iter_mut().zip([r, g, b]).for_each(|(m, v)| *m += v / count);
        }
        look.light = luma.iter().sum::<f64>() / count;
        look.contrast = (luma.iter().map(|l| (l - look.light).powi(2)).sum::<f64>() / count).sqrt();
        let gray = mean.iter().sum::<f64>() / 3.0;
        look.tint = mean.map(|m| m - gray);
        look.edges(&luma, width, height);
        let mut cells = vec![0u32; MAP * MAP];
        let (mut rim, mut rims) = (0.0, 0.0);
        for (at, l) in luma.iter().enumerate() {
            let (x, y) = (at % width, at / width);
            let cell = y * MAP / height * MAP + x * MAP / width;
            look.map[cell] += l;
            cells[cell] += 1;
            if x.min(width - 1 - x) < 4 || y.min(height - 1 - y) < 4 {
                (rim, rims) = (rim + l, rims + 1.0);
            }
        }
        look.map.iter_mut().zip(cells).for_each(|(sum, n)| *sum /= f64::from(n.max(1)));
        look.ground = rim / rims;
        look
    }

    fn edges(&mut self, luma: &[f64], width: usize, height: usize) {
        // Changes by the column and the row they stand at, to see a grid.
        let (mut across, mut down) = (vec![0.0f64; width], vec![0.0f64; height]);
        let mut flat = 0usize;
        for y in 1..height {
            for x in 1..width {
                let here = luma[y * width + x];
                let (dx, dy) = ((here - luma[y * width + x - 1]).abs(), (here - luma[(y - 1) * width + x]).abs());
                across[x] += dx;
                down[y] += dy;
                flat += usize::from(dx.max(dy) < 0.012);
                self.outline[y * MAP / height * MAP + x * MAP / width] += dx + dy;
            }
        }
        let count = ((width - 1) * (height - 1)) as f64;
        let total: f64 = across.iter().chain(&down).sum();
        self.lines = total / 2.0 / count;
        self.flat = flat as f64 / count;
        let on_grid = |period: usize| -> f64 {
            let phase = |sums: &[f64], at: usize| sums.iter().skip(at).step_by(period).sum::<f64>();
            let best = |sums: &[f64]| (0..period).map(|at| phase(sums, at)).fold(0.0, f64::max);
            let share = (best(&across) + best(&down)) / total.max(1e-9);
            let even = 1.0 / period as f64;
            ((share - even) / (1.0 - even)).clamp(0.0, 1.0)
        };
        self.blocks = if total > 0.0 { on_grid(4).max(on_grid(8)) } else { 0.0 };
    }

    /// How alike the shapes of two pictures are, 0..1: the correlation of their coarse brightness or of their outlines, whichever is more. A
    /// dark ground with light lines keeps the shapes of the opposite.
    pub fn alike(&self, other: &Look) -> f64 {
        correlation(&self.map, &other.map).abs().max(correlation(&self.outline, &other.outline))
    }
}

/// Pearson's; 0 where one of them is even.
fn correlation(a: &[f64], b: &[f64]) -> f64 {
    let centred = |map: &[f64]| -> Vec<f64> {
        let mean = map.iter().sum::<f64>() / map.len().max(1) as f64;
        map.iter().map(|v| v - mean).collect()
    };
    let (a, b) = (centred(a), centred(b));
    let dot = |x: &[f64], y: &[f64]| x.iter().zip(y).map(|(p, q)| p * q).sum::<f64>();
    let size = (dot(&a, &a) * dot(&b, &b)).sqrt();
    if size < 1e-9 { 0.0 } else { dot(&a, &b) / size }
}

/// What changed, from pairs of looks without and with the adapter: a sentence for people. Empty without pairs.
pub fn describe(pairs: &[(Look, Look)]) -> String {
    if pairs.is_empty() {
        return String::new();
    }
    let mean = |of: &dyn Fn(&Look) -> f64, with: bool| {
        pairs.iter().map(|(a, b)| of(if with { b } else { a })).sum::<f64>() / pairs.len() as f64
    };
    let alike = pairs.iter().map(|(a, b)| a.alike(b)).sum::<f64>() / pairs.len() as f64;
    let mut found: Vec<(f64, String)> = Vec::new();
    // A figure counts when it moves by more than its step, and the same way in three pictures of four.
    let mut note = |of: &dyn Fn(&Look) -> f64, step: f64, more: &str, less: &str| {
        let moved = mean(of, true) - mean(of, false);
        let agree = pairs.iter().filter(|(a, b)| (of(b) - of(a)) * moved > 0.0).count();
        if moved.abs() >= step && 4 * agree >= 3 * pairs.len() {
            found.push((moved.abs() / step, (if moved > 0.0 { more } else { less }).to_owned()));
        }
    };
    note(&|l| l.light, 0.06, "brighter", "darker");
    note(&|l| l.contrast, 0.04, "more contrast", "less contrast");
    note(&|l| l.lines, 0.012, "more lines and detail", "smoother");
    note(&|l| l.flat, 0.1, "flatter colours", "more texture");
    note(&|l| l.blocks, 0.15, "blocks on a grid", "no grid");
    note(&|l| l.ground, 0.15, "a light ground", "a dark ground");
    if mean(&|l| l.color, true) < 0.06 && mean(&|l| l.color, false) > 0.12 {
        found.push((4.0, "black and white".into()));
    } else {
        note(&|l| l.color, 0.05, "more colour", "less colour");
        for (at, name) in ["red", "green", "blue"].into_iter().enumerate() {
            note(&|l| l.tint[at], 0.035, &format!("towards {name}"), &format!("away from {name}"));
        }
    }
    found.sort_by(|a, b| b.0.total_cmp(&a.0));
    let shapes = match alike {
        a if a > 0.8 => "The shapes stay",
        a if a > 0.5 => "The shapes are drawn anew",
        _ => "Something else is drawn",
    };
    let words: Vec<String> = found.into_iter().take(5).map(|f| f.1).collect();
    match words.is_empty() {
        true if alike > 0.97 => "Hardly anything changes.".into(),
        true => format!("{shapes}; light and colour stay."),
        false => format!("{shapes}; {}.", words.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A disc on a ground, through a change of colours.
    fn disc(change: impl Fn(usize, usize, [f64; 3]) -> [f64; 3]) -> Look {
        let mut rgb = Vec::new();
        for y in 0..64usize {
            for x in 0..64usize {
                let inside = (x as f64 - 30.0).hypot(y as f64 - 34.0) < 18.0;
                let color = if inside { [0.8, 0.2, 0.15] } else { [0.95, 0.95, 0.95] };
                rgb.extend(change(x, y, color).map(|v| (v.clamp(0.0, 1.0) * 255.0) as u8));
            }
        }
        Look::of(View { width: 64, rgb: &rgb })
    }

    fn told(change: impl Fn(usize, usize, [f64; 3]) -> [f64; 3]) -> String {
        describe(&[(disc(|_, _, c| c), disc(change))])
    }

    #[test]
    fn changes_are_told_in_words() {
        assert_eq!(told(|_, _, c| c), "Hardly anything changes.");
        let night = told(|_, _, c| [c[0] * 0.2, c[1] * 0.2, c[2] * 0.4]);
        assert!(
            night.contains("darker") && night.contains("a dark ground") && night.contains("towards blue"),
            "{night}"
        );
        assert!(night.starts_with("The shapes stay"), "{night}");
        let gray = told(|_, _, c| [c.iter().sum::<f64>() / 3.0; 3]);
        assert!(gray.contains("black and white"), "{gray}");
        let noisy = told(|x, y, c| c.map(|v| v - 0.3 * f64::from(u8::from((x * 7 + y * 13) % 5 < 2))));
        assert!(noisy.contains("more lines and detail") && noisy.contains("more texture"), "{noisy}");
        let moved = told(|x, y, _| if x / 16 % 2 == y / 16 % 2 { [0.1; 3] } else { [0.9; 3] });
        assert!(moved.starts_with("Something else is drawn"), "{moved}");
        assert_eq!(describe(&[]), "");
    }

    #[test]
    fn a_grid_is_seen() {
        let coarse = |x: usize, y: usize| {
            let (x, y) = (x / 8 * 8, y / 8 * 8);
            [((x * 31 + y * 17) % 97) as f64 / 97.0; 3]
        };
        assert!(disc(|x, y, _| coarse(x, y)).blocks > 0.9);
        assert!(disc(|_, _, c| c).blocks < 0.3);
        assert_eq!(Look::of(View { width: 0, rgb: &[] }).light, 0.0);
    }
}
