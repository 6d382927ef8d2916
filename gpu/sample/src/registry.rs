//! Names to techniques, and settings to a plan.

use std::borrow::Cow;

use crate::grid::{Grid, GridRequest};
use crate::names;
use crate::plan::Plan;
use crate::schedules::{self, Schedule};
use crate::solvers::{self, Adaptive, Job, Solver, bdia};
use crate::{BetaSchedule, Info, Knob, KnobValues, ModelSampling, Prediction, Result, SampleError, Spacing};

/// Timestep spacing, a knob of every run.
pub const SPACING: Knob = Knob::choice(
    "spacing",
    "Timestep spacing",
    &["auto", "leading", "linspace", "trailing"],
    "auto: the model's, or else the sampler's own",
);

/// What the network predicts, a knob of every run.
pub const PREDICTION: Knob = Knob::choice(
    "prediction",
    "Prediction",
    &["auto", "epsilon", "v_prediction", "sample", "edm", "flow"],
    "what the network predicts; auto: what its configuration says. edm and flow bring their own noise levels",
);

/// Rescaled betas, a knob of every run.
pub const ZERO_SNR: Knob = Knob::choice(
    "zero_snr",
    "Zero terminal SNR",
    &["auto", "on", "off"],
    "betas rescaled so that the noisiest level is pure noise (Lin et al. 2023); wants v-prediction and trailing spacing",
);

/// Shift of flow models, a knob of every run.
pub const SHIFT: Knob =
    Knob::number("shift", "Flow shift", 0.01, 100.0, 1.0, "prediction flow: larger spends more steps at high noise");

/// Noise levels in place of the schedule's, a knob of every run.
pub const SIGMAS: Knob = Knob::text(
    "sigmas",
    "Sigmas",
    "falling noise levels in place of the schedule, separated by commas; a last 0 is understood",
);

/// First step, a knob of every run.
pub const START_STEP: Knob =
    Knob::number("start_step", "Start step", 0.0, 10_000.0, 0.0, "steps to leave out at the start");

/// Last step, a knob of every run.
pub const END_STEP: Knob = Knob::number(
    "end_step",
    "End step",
    1.0,
    10_000.0,
    10_000.0,
    "steps to do, those left out at the start counted; the last one ends without noise",
);

/// The knobs of every run.
pub const RUN: [Knob; 7] = [SPACING, PREDICTION, ZERO_SNR, SHIFT, SIGMAS, START_STEP, END_STEP];

/// What to sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PlanRequest<'a> {
    /// The network's noise levels.
    pub model: &'a ModelSampling,
    /// A sampler's name as any tool has it (see [`crate::names`]); may end in a schedule's name ("DPM++ 2M Karras").
    pub sampler: &'a str,
    /// A schedule's name or alias; empty or `auto`: what the sampler's name says, or else the model's configuration (normal).
    pub schedule: &'a str,
    /// Steps, 1 to the training steps.
    pub steps: usize,
    /// For a picture to start from: how much of the run to do, 0 to 1.
    pub strength: Option<f64>,
    /// Values of `spacing` and of the sampler's and the schedule's knobs.
    pub knobs: &'a KnobValues,
}

/// Every sampler.
pub fn samplers() -> impl Iterator<Item = Info> {
    solvers::ALL.iter().map(|s| s.info())
}

/// Every schedule.
pub fn schedules() -> impl Iterator<Item = Info> {
    schedules::ALL.iter().map(|s| s.info())
}

/// Every way to guide.
pub fn guidance() -> impl Iterator<Item = Info> {
    crate::guidance::ALL.iter().map(|g| g.info())
}

/// The knobs of every run, of every sampler, of every schedule and of every way to guide.
pub fn all_knobs() -> Vec<Knob> {
    let of = |info: Info| info.knobs.iter().copied();
    let techniques = samplers().chain(schedules()).chain(guidance());
    RUN.into_iter().chain(techniques.flat_map(of)).collect()
}

/// The sampler of that name, label or alias.
///
/// # Errors
/// There is none.
pub fn sampler(name: &str) -> Result<&'static dyn Solver> {
    names::find(solvers::ALL.iter().copied(), &names::tidy(name), |s| s.info()).ok_or_else(|| names::unknown(name))
}

/// The schedule of that name, label or alias.
///
/// # Errors
/// There is none.
pub fn schedule(name: &str) -> Result<&'static dyn Schedule> {
    let found = names::find(schedules::ALL.iter().copied(), &names::tidy(name), |s| s.info());
    found.ok_or_else(|| SampleError::Unknown {
        kind: "schedule",
        name: name.to_owned(),
        known: schedules().map(|i| i.name).collect::<Vec<_>>().join(", "),
    })
}

/// The sampler and schedule that two names mean: see [`names::resolve`]. `open`: the schedule where they leave it open.
///
/// # Errors
/// One of them is not known.
pub fn resolve(
    sampler_name: &str,
    schedule_name: &str,
    open: &str,
) -> Result<(&'static dyn Solver, &'static dyn Schedule)> {
    let meaning = names::resolve(sampler_name, schedule_name)?;
    Ok((meaning.solver, meaning.schedule(open)?))
}

/// The schedule that a model's configuration asks for where nobody names one.
pub fn open_schedule(model: &ModelSampling) -> &'static str {
    if model.config().karras { "karras" } else { "normal" }
}

/// The plan of a run.
///
/// # Errors
/// Unknown names or knobs, values out of range, or settings that do not fit the model.
pub fn plan(request: &PlanRequest<'_>) -> Result<Plan> {
    let prepared = Prepared::new(request)?;
    prepared.solver.plan(&prepared.job())
}

/// How a run goes on whose steps depend on what came before; none for samplers whose [`plan`] says all.
///
/// # Errors
/// As [`plan`].
pub fn adaptive(request: &PlanRequest<'_>) -> Result<Option<Box<dyn Adaptive>>> {
    let prepared = Prepared::new(request)?;
    Ok(prepared.solver.adaptive(&prepared.job()))
}

/// Both directions of an exactly invertible run (sampler `bdia`, whatever the request names).
///
/// # Errors
/// As [`plan`], and what [`bdia::invert`] says.
pub fn invert(request: &PlanRequest<'_>) -> Result<bdia::Inversion> {
    let request = PlanRequest { sampler: "bdia", ..*request };
    let prepared = Prepared::new(&request)?;
    bdia::invert(&prepared.job())
}

/// A request with its names, knobs and levels looked up.
struct Prepared<'a> {
    solver: &'static dyn Solver,
    model: Cow<'a, ModelSampling>,
    grid: Grid,
    knobs: KnobValues,
}

impl<'a> Prepared<'a> {
    fn new(request: &PlanRequest<'a>) -> Result<Prepared<'a>> {
        let meaning = names::resolve(request.sampler, request.schedule)?;
        let (solver, schedule) = (meaning.solver, meaning.schedule(open_schedule(request.model))?);
        let knobs = meaning.with(request.knobs)?;
        let of = |info: Info| info.knobs.iter().copied();
        let known: Vec<Knob> = RUN
            .into_iter()
            .chain(guidance().flat_map(of))
            .chain(of(solver.info()))
            .chain(of(schedule.info()))
            .collect();
        knobs.check(&known)?;
        let model = adapted(request.model, &knobs)?;
        let most = model.train_steps();
        if request.steps == 0 || request.steps > most {
            return Err(SampleError::setting("steps", format!("{} is outside 1 to {most}", request.steps)));
        }
        let rules = solver.rules();
        let spacing = match knobs.get(&SPACING) as usize {
            1 => Spacing::Leading,
            2 => Spacing::Linspace,
            3 => Spacing::Trailing,
            _ => model.config().spacing.unwrap_or(rules.spacing),
        };
        let levels = GridRequest { model: &model, steps: request.steps, rules, spacing };
        let mut grid = match given_sigmas(&knobs)? {
            sigmas if sigmas.is_empty() => schedule.grid(&levels, &knobs)?,
            sigmas => levels.from_sigmas(sigmas),
        };
        if let Some(strength) = request.strength {
            if !(0.0..=1.0).contains(&strength) {
                return Err(SampleError::setting("strength", format!("{strength} is outside 0 to 1")));
            }
            grid.start_from_latent(strength);
        }
        let (start, end) = (knobs.get(&START_STEP) as usize, knobs.get(&END_STEP) as usize);
        if start > 0 || end < grid.steps() {
            grid.cut(start, end)?;
        }
        Ok(Prepared { solver, model, grid, knobs })
    }

    fn job(&self) -> Job<'_> {
        Job { model: &self.model, grid: &self.grid, knobs: &self.knobs }
    }
}

/// The model's prediction and levels, with what the knobs of [`RUN`] say otherwise.
///
/// # Errors
/// Levels that cannot be.
pub fn adapted<'a>(model: &'a ModelSampling, knobs: &KnobValues) -> Result<Cow<'a, ModelSampling>> {
    let mut config = model.config().clone();
    if let Some(i) = (knobs.get(&PREDICTION) as usize).checked_sub(1) {
        config.prediction = Prediction::NAMES[i].1;
    }
    match knobs.get(&ZERO_SNR) as usize {
        1 => config.zero_snr = true,
        2 => config.zero_snr = false,
        _ => {}
    }
    match config.prediction {
        Prediction::Edm if !matches!(config.betas, BetaSchedule::Continuous { .. }) => config.betas = BetaSchedule::EDM,
        Prediction::Flow => match config.betas {
            BetaSchedule::Flow { .. } if !knobs.is_set(&SHIFT) => {}
            _ => config.betas = BetaSchedule::Flow { shift: knobs.get(&SHIFT) },
        },
        _ => {}
    }
    if config == *model.config() { Ok(Cow::Borrowed(model)) } else { Ok(Cow::Owned(ModelSampling::new(&config)?)) }
}

/// The levels of the knob `sigmas`, without the 0 at the end.
fn given_sigmas(knobs: &KnobValues) -> Result<Vec<f64>> {
    let mut sigmas = knobs.list(&SIGMAS)?;
    let wrong = |why: &str| Err(SampleError::setting(SIGMAS.name, why));
    if !sigmas.is_empty() && sigmas.last() == Some(&0.0) {
        sigmas.pop();
        if sigmas.is_empty() {
            return wrong("0 alone is no run; give the noise levels from the highest down");
        }
    }
    if sigmas.iter().any(|s| *s <= 0.0) || sigmas.windows(2).any(|w| w[0] <= w[1]) {
        return wrong("noise levels must fall from one to the next and stay above 0");
    }
    if sigmas.len() > 10_000 {
        return wrong("more than 10000 levels");
    }
    Ok(sigmas)
}
