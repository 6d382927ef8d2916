//! TIES as its authors compute it: trimmed by one threshold for the whole model, a tied vote goes to the sign most elements of the model have.
//!
//! Thresholds and that sign come from a survey of all tensors on the host: two histograms of the magnitudes' bits find the threshold exactly.

use super::consensus::{Consensus, Keep, TaskVectors, Vote};
use super::ties::{DENSITY, LAMBDA};
use crate::method::{About, Facts, HostInputs, Knob, Settings, Survey, SurveyPlan};

static KNOBS: &[Knob] = &[LAMBDA];
static MODEL_KNOBS: &[Knob] = &[DENSITY];

/// TIES-merging, the paper's own code (`merge_func` dis-mean). Models have no weights there.
pub(crate) static TIES_PAPER: TaskVectors = TaskVectors::new(
        About::new(
            "ties_paper",
            "TIES (paper)",
            "Yadav et al. 2023, TIES-Merging, arXiv 2306.01708, https://github.com/prateeky2806/ties-merging: trimmed over the whole model, dis-mean",
        ).without_weights(),
        KNOBS,
        MODEL_KNOBS,
        plan,
    ).with_survey(survey);

fn plan(settings: &Settings<'_>) -> Consensus {
    let count = settings.weights.len();
    Consensus {
        keep: Keep::Above((0..count).map(|i| settings.fact(i).unwrap_or(0.0) as f32).collect()),
        vote: Vote::Total,
        tie: settings.fact(count).unwrap_or(1.0) as f32,
        normalize: true,
        rescale: false,
        lambda: settings.knob(KNOBS, "lambda"),
    }
}

fn survey(settings: &Settings<'_>) -> Option<SurveyPlan> {
    let densities = (0..settings.weights.len()).map(|i| settings.model_knob(MODEL_KNOBS, i, "density"));
    let trims = densities.map(|density| Trim { density, bins: vec![0; 1 << 16], seen: 0, left: 0, bits: 0 }).collect();
    Some(SurveyPlan { key: "trim".into(), names: None, survey: Box::new(Trims { trims, majority: 0.0 }) })
}

/// The search for one model's threshold.
struct Trim {
    density: f64,
    bins: Vec<u64>,
    /// Elements in all.
    seen: u64,
    /// Rank inside the bin of the upper digit.
    left: u64,
    /// The threshold's bits so far.
    bits: u32,
}

impl Trim {
    /// The bin that holds the rank looked for, and the rank inside it.
    fn walk(&self, mut rank: u64) -> (u32, u64) {
        for (bin, count) in self.bins.iter().enumerate() {
            if rank <= *count {
                return (bin as u32, rank);
            }
            rank -= count;
        }
        (self.bins.len() as u32 - 1, 1)
    }

    /// The rank, from 1 among rising magnitudes, of the smallest element kept; 0: all are.
    fn rank(&self) -> u64 {
        if self.density >= 1.0 { 0 } else { self.seen - (self.density * self.seen as f64) as u64 }
    }

    fn threshold(&self) -> f32 {
        f32::from_bits(self.bits)
    }
}

struct Trims {
    trims: Vec<Trim>,
    majority: f64,
}

impl Trims {
    /// Ends a pass over all tensors.
    fn turn(&mut self, pass: usize) {
        for trim in &mut self.trims {
            let rank = if pass == 0 { trim.rank() } else { trim.left };
            if trim.rank() == 0 {
                trim.bits = 0;
                continue;
            }
            let (bin, left) = trim.walk(rank);
            trim.bits = if pass == 0 { bin << 15 } else { trim.bits | bin };
            trim.left = left;
            trim.bins.fill(0);
        }
    }
}

impl Survey for Trims {
    fn passes(&self) -> usize {
        3
    }

    fn visit(&mut self, pass: usize, _name: &str, _shape: &[usize], inputs: &HostInputs<'_>) {
        let change = |m: &[f32], e: usize| m[e] - inputs.origin[e];
        if pass == 2 {
            for e in 0..inputs.base.len() {
                let kept = self.trims.iter().zip(inputs.models).map(|(t, m)| (t.threshold(), change(m, e)));
                let sum: f32 = kept.filter(|(t, d)| d.abs() >= *t).map(|(_, d)| d).sum();
                if sum != 0.0 {
                    self.majority += f64::from(sum.signum());
                }
            }
            return;
        }
        for (trim, model) in self.trims.iter_mut().zip(inputs.models) {
            for e in 0..inputs.base.len() {
                let bits = change(model, e).abs().to_bits();
                if pass == 0 {
                    trim.bins[(bits >> 15) as usize] += 1;
                    trim.seen += 1;
                } else if bits >> 15 == trim.bits >> 15 {
                    trim.bins[(bits & 0x7fff) as usize] += 1;
                }
            }
        }
    }

    fn pass_ended(&mut self, pass: usize) {
        if pass < 2 {
            self.turn(pass);
        }
    }

    fn finish(self: Box<Self>) -> Facts {
        let mut numbers: Vec<f64> = self.trims.iter().map(|t| t.threshold().into()).collect();
        // Without a majority the code of the paper takes the negative changes.
        numbers.push(if self.majority > 0.0 { 1.0 } else { -1.0 });
        Facts { numbers, ..Facts::default() }
    }
}
