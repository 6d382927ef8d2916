//! Which of several candidate pictures looks best: a score for the contact sheet.
//!
//! Stylus lets a person choose, or a judge model. A judge that reads pictures (CLIP's score of a picture under its prompt: Hessel et al.
//! 2021) needs an image tower, and checkpoints of Stable Diffusion carry none with a text side to match; so what there is looks at light
//! and colour alone. Another judge is another `impl Judge`.

use crate::describe::{Look, View};

/// Scores pictures.
pub trait Judge: Sync {
    /// As `--rank` takes it.
    fn name(&self) -> &'static str;
    /// What it goes by.
    fn citation(&self) -> &'static str;
    /// 0..1, larger is better.
    fn score(&self, prompt: &str, picture: View) -> f64;
}

/// All judges.
pub static ALL: [&dyn Judge; 1] = [&Sanity];

/// Whether contrast and colour are those of pictures that people keep: neither flat nor burnt out.
pub struct Sanity;

/// 1 within the range, falling to 0 over `soft` beyond it.
fn within(value: f64, low: f64, high: f64, soft: f64) -> f64 {
    let beyond = (low - value).max(value - high).max(0.0);
    (1.0 - beyond / soft).max(0.0)
}

impl Judge for Sanity {
    fn name(&self) -> &'static str {
        "sanity"
    }

    fn citation(&self) -> &'static str {
        "RMS contrast (Peli 1990) and colourfulness within the range of ordinary pictures, few clipped pixels"
    }

    fn score(&self, _prompt: &str, picture: View) -> f64 {
        let look = Look::of(picture);
        // Ranges of ordinary pictures: photographs have an RMS contrast of 0.15 to 0.3, drawings on paper half of that and more.
        within(look.contrast, 0.12, 0.36, 0.12)
            * within(look.color, 0.05, 0.5, 0.3)
            * within(look.light, 0.12, 0.93, 0.12)
            * within(look.clipped, 0.0, 0.35, 0.5)
            * within(look.lines, 0.01, 0.12, 0.1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn score(pixel: impl Fn(usize, usize) -> [u8; 3]) -> f64 {
        let rgb: Vec<u8> = (0..64 * 64).flat_map(|at| pixel(at % 64, at / 64)).collect();
        Sanity.score("", View { width: 64, rgb: &rgb })
    }

    #[test]
    fn broken_pictures_lose() {
        let disc = |x: usize, y: usize| {
            if x.abs_diff(32).pow(2) + y.abs_diff(32).pow(2) < 300 { [200, 60, 40] } else { [235, 235, 230] }
        };
        let good = score(disc);
        assert!(good > 0.8, "{good}");
        let gray = score(|_, _| [128; 3]);
        let burnt = score(|x, y| if (x / 2 + y / 2) % 2 == 0 { [255, 0, 0] } else { [0, 255, 255] });
        let noise = score(|x, y| [((x * 7919 + y * 104_729) % 256) as u8, ((x * 31 + y * 977) % 256) as u8, 255]);
        for (name, bad) in [("gray", gray), ("burnt", burnt), ("noise", noise)] {
            assert!(bad < good / 2.0, "{name} {bad} {good}");
        }
    }
}
