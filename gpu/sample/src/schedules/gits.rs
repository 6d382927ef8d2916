//! Levels found on the shape of sampling trajectories, for 2 to 20 steps, interpolated beyond.

use super::Schedule;
use crate::grid::{Grid, GridRequest};
use crate::math::log_linear;
use crate::{Info, KnobValues, Result};

/// Chen et al. 2024. The levels are those published for Stable Diffusion 1.5 with coefficient 1.2; they ignore the model's own range.
pub struct Gits;

/// The levels that occur, named A to Z, a to z, 0 and 1
const LEVELS: [f64; 54] = [
    14.61464119,
    7.49001646,
    6.77309084,
    5.85520077,
    4.65472794,
    3.46139455,
    3.07277966,
    2.95596409,
    2.84484982,
    2.45070267,
    2.36326075,
    2.19988537,
    2.12350607,
    2.05039096,
    1.98035145,
    1.84880662,
    1.67050016,
    1.61558151,
    1.56271636,
    1.51179266,
    1.36964464,
    1.24153244,
    1.20157266,
    1.162866,
    1.08895338,
    0.95350921,
    0.92192322,
    0.86115354,
    0.83188516,
    0.803307,
    0.74807048,
    0.72133851,
    0.69515091,
    0.64427125,
    0.59516323,
    0.57119018,
    0.52423614,
    0.50118381,
    0.4783645,
    0.45573691,
    0.41087446,
    0.38853383,
    0.36617002,
    0.34370604,
    0.32104823,
    0.29807833,
    0.27464288,
    0.25053367,
    0.22545385,
    0.19894916,
    0.17026083,
    0.13792117,
    0.09824532,
    0.02916753,
];

/// The levels between the first and the last of n + 1, for n = 2, 3, ..., 20.
const INNER: [&str; 19] = [
    "d",
    "Sk",
    "Kaq",
    "IViv",
    "DNZny",
    "DJVht0",
    "DJUdnv0",
    "DIRZiqx0",
    "DIQYelsx0",
    "DHPVciouy0",
    "DGOUZglqvy0",
    "CFKSYdinrvy0",
    "CFJRXbhlptwy0",
    "BEGMTYchlptwy0",
    "BEGMTYchlosvxz0",
    "BEGMTYchloruwyz0",
    "BEGLRWafjnqtvxyz0",
    "BEGLRVZeimpsuwxyz0",
    "BEGLRVZeilortvwxyz0",
];

/// The n + 1 published levels, n from 2 to 20.
fn published(n: usize) -> Vec<f64> {
    let at = |letter: u8| {
        usize::from(match letter {
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            _ => letter - b'A',
        })
    };
    let inner = INNER[n.clamp(2, 20) - 2].bytes().map(|b| LEVELS[at(b)]);
    [LEVELS[0]].into_iter().chain(inner).chain([LEVELS[LEVELS.len() - 1]]).collect()
}

impl Schedule for Gits {
    fn info(&self) -> Info {
        Info {
            name: "gits",
            label: "GITS",
            citation: "Chen et al. 2024, arXiv 2405.11326; ComfyUI GITSScheduler, coefficient 1.2",
            knobs: &[],
            aliases: &["align_your_steps_gits"],
        }
    }

    fn grid(&self, request: &GridRequest<'_>, _: &KnobValues) -> Result<Grid> {
        let n = request.steps;
        let mut sigmas = if n <= 20 { published(n) } else { log_linear(&published(20), n + 1) };
        sigmas.truncate(n);
        Ok(request.from_sigmas(sigmas))
    }
}
