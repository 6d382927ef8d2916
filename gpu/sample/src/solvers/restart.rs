//! Restart: Heun steps that go back up to a higher noise level and down again.

use super::shared::{NOISE, add_noise};
use super::{Job, Solver};
use crate::grid::GridRules;
use crate::plan::{Builder, Plan, X};
use crate::schedules::karras;
use crate::{Info, Knob, Result};

/// Xu et al. 2023 with the A1111 web UI's choice of intervals: with 20 steps or more, one restart of 9 steps (from 36 steps on two of a quarter
/// of them) between sigma 0.1 and 2, taken from the steps; the rest become Karras's levels. Two evaluations a step.
pub struct Restart;

const LOW: Knob =
    Knob::number("restart_min", "Restart at", 0.001, 100.0, 0.1, "noise level from which the run goes back up");
const HIGH: Knob = Knob::number("restart_max", "Restart to", 0.001, 1000.0, 2.0, "noise level that it goes back to");
const MODE: Knob = Knob::choice("restart", "Restarts", &["auto", "off"], "auto: from 20 steps on");

/// From one level down to another; after a jump up, with the noise that takes.
type Interval = (f64, f64);

/// The intervals of a run over `sigmas`, the last of which is where it ends.
fn intervals(sigmas: &[f64], knobs: &crate::KnobValues) -> Vec<Interval> {
    let plain = |sigmas: &[f64]| sigmas.windows(2).map(|w| (w[0], w[1])).collect::<Vec<Interval>>();
    let steps = sigmas.len() - 1;
    if steps < 20 || knobs.get(&MODE) > 0.0 {
        return plain(sigmas);
    }
    let (length, times) = if steps >= 36 { (steps / 4, 2) } else { (9, 1) };
    let mut levels = karras::levels(steps - length * times, (sigmas[0], sigmas[steps - 1]), 7.0);
    levels.push(0.0);
    let nearest = |wanted: f64| {
        let far = |i: &usize| (levels[*i] - wanted).abs();
        (0..levels.len()).min_by(|a, b| far(a).total_cmp(&far(b))).unwrap_or(0)
    };
    let (low, high) = (nearest(knobs.get(&LOW)), nearest(knobs.get(&HIGH)));
    // Levels that leave no room for a restart: nothing is taken from the steps.
    if high >= low || levels[low] <= 0.0 {
        return plain(sigmas);
    }
    let again = karras::levels(length + 1, (levels[high], levels[low]), 7.0);
    let mut all = plain(&levels[..=low]);
    (0..times).for_each(|_| all.extend(plain(&again)));
    all.extend(plain(&levels[low..]));
    all
}

impl Solver for Restart {
    fn info(&self) -> Info {
        Info {
            name: "restart",
            label: "Restart",
            citation: "Xu et al. 2023, arXiv 2306.14878; A1111 restart_sampler",
            knobs: &[LOW, HIGH, MODE, NOISE],
            aliases: &[],
        }
    }

    fn rules(&self) -> GridRules {
        GridRules::EULER
    }

    fn plan(&self, job: &Job<'_>) -> Result<Plan> {
        let grid = job.grid;
        let mut b = Builder::new(job);
        let [first, second, trial, noise] = b.registers();
        let sigmas = &grid.sigmas[grid.start.min(grid.steps())..];
        let told = |sigma: f64| match grid.sigmas.iter().position(|s| *s == sigma) {
            Some(i) if i < grid.steps() => grid.timesteps[i],
            _ => job.model.timestep_at(sigma),
        };
        let mut at = sigmas[0];
        for (sigma, next) in intervals(sigmas, job.knobs) {
            if sigma > at {
                add_noise(&mut b, noise, job.knobs.get(&NOISE) * (sigma * sigma - at * at).sqrt());
            }
            b.denoise(X, sigma, told(sigma), first);
            let euler = [(X, next / sigma), (first, 1.0 - next / sigma)];
            if next == 0.0 {
                b.combine(X, &euler);
            } else {
                b.combine(trial, &euler);
                b.denoise(trial, next, told(next), second);
                let half = 0.5 * (next - sigma);
                b.combine(
                    X,
                    &[(X, 1.0 + half / sigma), (first, -half / sigma), (trial, half / next), (second, -half / next)],
                );
            }
            b.end_step(next, if next == 0.0 { first } else { second });
            at = next;
        }
        Ok(b.finish(grid.init_scale_exploding(), grid))
    }
}
