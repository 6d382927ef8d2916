//! DC-Solver's compensation ratios for a network of one's own (Zhao et al. 2024, arXiv 2409.03755): searched on a few points, then predicted for
//! other settings by the cascade polynomial regression of section 3.4.

use crate::math::solve;
use crate::{KnobValues, PlanRequest, Result, SampleError, cpu, plan};

/// Ratios are searched between these, as in the authors' code.
const BOUNDS: (f64, f64) = (0.5, 1.5);
/// Narrowings of the interval for each ratio: to a hundredth.
const NARROWINGS: usize = 10;

/// Ratios of a run of `request` (its sampler and knobs are ignored) that bring `points`, draws of noise, nearest to where a long run of UniPC takes
/// them. `network(input, timestep)` is the guided network, as for [`cpu::run`]. One ratio after the other, by golden section.
///
/// # Errors
/// Settings that cannot be used, or no points.
pub fn search(
    request: &PlanRequest<'_>,
    points: &[Vec<f64>],
    network: &mut dyn FnMut(&[f64], f64) -> Vec<f64>,
    reference_steps: usize,
) -> Result<Vec<f64>> {
    if points.is_empty() {
        return Err(SampleError::setting("dc_ratios", "a search needs at least one point"));
    }
    let none = KnobValues::new();
    let long = plan(&PlanRequest { sampler: "unipc", steps: reference_steps, knobs: &none, ..*request })?;
    let goals: Vec<Vec<f64>> = points.iter().map(|p| cpu::run(&long, &[], |_| p.clone(), &mut *network)).collect();
    let mut ratios = vec![1.0; request.steps];
    let mut miss = |ratios: &[f64]| -> Result<f64> {
        let mut knobs = KnobValues::new();
        let text: Vec<String> = ratios.iter().map(f64::to_string).collect();
        knobs.set_text("dc_ratios", &text.join(","))?;
        let short = plan(&PlanRequest { sampler: "dc_solver", knobs: &knobs, ..*request })?;
        let far = |(point, goal): (&Vec<f64>, &Vec<f64>)| -> f64 {
            let found = cpu::run(&short, &[], |_| point.clone(), &mut *network);
            found.iter().zip(goal).map(|(a, b)| (a - b).powi(2)).sum()
        };
        Ok(points.iter().zip(&goals).map(far).sum())
    };
    let golden = (5f64.sqrt() - 1.0) / 2.0;
    for i in 2..request.steps {
        let before = miss(&ratios)?;
        let mut at = |ratio: f64, ratios: &mut Vec<f64>| {
            ratios[i] = ratio;
            miss(ratios)
        };
        let (mut low, mut high) = BOUNDS;
        let (mut a, mut b) = (high - golden * (high - low), low + golden * (high - low));
        let (mut fa, mut fb) = (at(a, &mut ratios)?, at(b, &mut ratios)?);
        for _ in 0..NARROWINGS {
            if fa < fb {
                (high, b, fb) = (b, a, fa);
                a = high - golden * (high - low);
                fa = at(a, &mut ratios)?;
            } else {
                (low, a, fa) = (a, b, fb);
                b = low + golden * (high - low);
                fb = at(b, &mut ratios)?;
            }
        }
        let (best, found) = if fa < fb { (a, fa) } else { (b, fb) };
        ratios[i] = if found < before { best } else { 1.0 };
    }
    Ok(ratios)
}

/// Coefficients of the regression, as [`crate::solvers::dc_solver::predicted`] takes them, fitted to ratios found for (guidance scale, ratios of each step).
///
/// # Errors
/// No ratios beyond the first two steps of any run.
pub fn fit(found: &[(f64, Vec<f64>)]) -> Result<[f64; 36]> {
    let mut rows: Vec<(Vec<f64>, f64)> = Vec::new();
    for (cfg, ratios) in found {
        let steps = ratios.len();
        let (n, c) = (steps as f64 / 50.0, cfg / 12.0);
        for (i, ratio) in ratios.iter().enumerate().skip(2) {
            let x = (i + 1) as f64 / steps as f64;
            let mut row = Vec::with_capacity(36);
            for power in 0..4 {
                for outer in [c * c, c, 1.0] {
                    row.extend([n * n, n, 1.0].map(|inner| inner * outer * x.powi(power)));
                }
            }
            rows.push((row, *ratio));
        }
    }
    if rows.is_empty() {
        return Err(SampleError::setting("dc_ratios", "nothing to fit: no run has more than two steps"));
    }
    // Few runs do not determine all coefficients; a touch of ridge chooses the smallest that fit.
    let mut normal = vec![vec![0.0; 36]; 36];
    let mut right = vec![0.0; 36];
    for (row, ratio) in &rows {
        for (i, a) in row.iter().enumerate() {
            right[i] += a * ratio;
            row.iter().enumerate().for_each(|(j, b)| normal[i][j] += a * b);
        }
    }
    (0..36).for_each(|i| normal[i][i] += 1e-9);
    let solved =
        solve(normal, right).ok_or_else(|| SampleError::setting("dc_ratios", "the ratios cannot be fitted"))?;
    let mut out = [0.0; 36];
    out.iter_mut().zip(solved).for_each(|(o, s)| *o = s);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::solvers::dc_solver::predicted;
    use crate::{ModelSampling, NoiseConfig, Prediction};

    #[test]
    fn searched_ratios_come_nearer_and_the_regression_finds_them_again() {
        let model = ModelSampling::new(&NoiseConfig::stable_diffusion(Prediction::Epsilon)).expect("levels");
        let none = KnobValues::new();
        // Two bumps, under a guidance that pushes them apart.
        let mut network = |x: &[f64], t: f64| {
            let sigma = model.sigma_at(t);
            let one = |x: &f64| {
                let z = x * sigma.hypot(1.0);
                let wide = 0.16 + sigma * sigma;
                let clean = |m: f64| (0.16 * z + sigma * sigma * m * (m * z / wide).tanh()) / wide;
                (z - (3.0 * clean(0.9) - 2.0 * clean(0.6))) / sigma
            };
            x.iter().map(one).collect()
        };
        let points: Vec<Vec<f64>> = (0..4).map(|i| vec![-1.4 + 0.8 * f64::from(i), 0.3 + 0.2 * f64::from(i)]).collect();
        let request = |steps| PlanRequest {
            model: &model,
            sampler: "dc_solver",
            schedule: "",
            steps,
            strength: None,
            knobs: &none,
        };
        let mut all = Vec::new();
        for steps in [5, 7] {
            let ratios = search(&request(steps), &points, &mut network, 200).expect("searches");
            assert!(ratios[..2] == [1.0, 1.0] && ratios.iter().all(|r| (0.5..=1.5).contains(r)), "{ratios:?}");
            all.push((5.0, ratios));
        }
        // How far a run with these ratios ends from a fine one.
        let mut miss = |ratios: &[f64]| {
            let mut knobs = KnobValues::new();
            let text: Vec<String> = ratios.iter().map(f64::to_string).collect();
            knobs.set_text("dc_ratios", &text.join(",")).expect("numbers");
            let run =
                |sampler, steps, knobs: &KnobValues, p: &Vec<f64>, net: &mut dyn FnMut(&[f64], f64) -> Vec<f64>| {
                    let plan = plan(&PlanRequest { sampler, knobs, ..request(steps) }).expect("plans");
                    cpu::run(&plan, &[], |_| p.clone(), net)
                };
            let one = |p: &Vec<f64>| {
                let near = run("dc_solver", ratios.len(), &knobs, p, &mut network);
                let fine = run("unipc", 200, &none, p, &mut network);
                near.iter().zip(&fine).map(|(a, b)| (a - b).powi(2)).sum::<f64>()
            };
            points.iter().map(one).sum::<f64>()
        };
        let fitted = fit(&all).expect("fits");
        for (cfg, ratios) in &all {
            let none = miss(&vec![1.0; ratios.len()]);
            assert!(miss(ratios) < 0.9 * none, "nothing gained by {ratios:?}");
            // The regression smooths, so it does not give the ratios back, but most of what they gain.
            let again = predicted(&fitted, *cfg, ratios.len());
            let gained = (none - miss(&again)) / (none - miss(ratios));
            assert!(gained > 0.5, "{again:?} for {ratios:?} gains {gained}");
        }
        assert!(fit(&[]).is_err());
    }
}
