//! Names to techniques, and settings to a plan.

use crate::grid::GridRequest;
use crate::plan::Plan;
use crate::schedules::{self, Schedule};
use crate::solvers::{self, Job, Solver};
use crate::{Info, Knob, KnobValues, ModelSampling, Result, SampleError, Spacing};

/// Timestep spacing, a knob of every run.
pub const SPACING: Knob = Knob::choice(
    "spacing",
    "Timestep spacing",
    &["auto", "leading", "linspace", "trailing"],
    "auto: the model's, or else the sampler's own",
);

/// What to sample.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct PlanRequest<'a> {
    /// The network's noise levels.
    pub model: &'a ModelSampling,
    /// A sampler's name or alias; may end in a schedule's name ("DPM++ 2M Karras").
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

/// The knobs of every run, of every sampler and of every schedule.
pub fn all_knobs() -> Vec<Knob> {
    let of = |info: Info| info.knobs.iter().copied();
    [SPACING].into_iter().chain(samplers().flat_map(of)).chain(schedules().flat_map(of)).collect()
}

/// Lower case, single spaces.
fn tidy(name: &str) -> String {
    name.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase()
}

fn is(info: &Info, name: &str) -> bool {
    info.name == name || info.label.to_lowercase() == name || info.aliases.contains(&name)
}

/// The sampler of that name, label or alias.
///
/// # Errors
/// There is none.
pub fn sampler(name: &str) -> Result<&'static dyn Solver> {
    let wanted = tidy(name);
    solvers::ALL.iter().copied().find(|s| is(&s.info(), &wanted)).ok_or_else(|| unknown_sampler(name))
}

fn unknown_sampler(name: &str) -> SampleError {
    let known = samplers().map(|i| i.name).collect::<Vec<_>>().join(", ");
    SampleError::Unknown { kind: "sampler", name: name.to_owned(), known }
}

/// The schedule of that name, label or alias.
///
/// # Errors
/// There is none.
pub fn schedule(name: &str) -> Result<&'static dyn Schedule> {
    let wanted = tidy(name);
    schedules::ALL.iter().copied().find(|s| is(&s.info(), &wanted)).ok_or_else(|| SampleError::Unknown {
        kind: "schedule",
        name: name.to_owned(),
        known: schedules().map(|i| i.name).collect::<Vec<_>>().join(", "),
    })
}

/// The sampler and schedule that two names mean. The sampler's may carry the schedule ("DPM++ 2M Karras"); `schedule_name` goes first unless it
/// is empty or `auto`, which leave it to the sampler's name and then to `open`.
///
/// # Errors
/// One of them is not known.
pub fn resolve(
    sampler_name: &str,
    schedule_name: &str,
    open: &str,
) -> Result<(&'static dyn Solver, &'static dyn Schedule)> {
    let stated = match tidy(schedule_name).as_str() {
        "" | "auto" | "automatic" => None,
        name => Some(schedule(name)?),
    };
    let wanted = tidy(sampler_name);
    if let Ok(found) = sampler(&wanted) {
        return Ok((found, stated.map_or_else(|| schedule(open), Ok)?));
    }
    if let Some((head, tail)) = wanted.rsplit_once([' ', '_'])
        && let (Ok(found), Ok(named)) = (sampler(head), schedule(tail))
    {
        return Ok((found, stated.unwrap_or(named)));
    }
    Err(unknown_sampler(sampler_name))
}

/// The plan of a run.
///
/// # Errors
/// Unknown names or knobs, values out of range, or settings that do not fit the model.
pub fn plan(request: &PlanRequest<'_>) -> Result<Plan> {
    let model = request.model;
    let (solver, schedule) =
        resolve(request.sampler, request.schedule, if model.config().karras { "karras" } else { "normal" })?;
    let most = model.train_steps();
    if request.steps == 0 || request.steps > most {
        return Err(SampleError::setting("steps", format!("{} is outside 1 to {most}", request.steps)));
    }
    let knobs = request.knobs;
    let known: Vec<Knob> = [SPACING].iter().chain(solver.info().knobs).chain(schedule.info().knobs).copied().collect();
    knobs.check(&known)?;
    let rules = solver.rules();
    let spacing = match knobs.get(&SPACING) as usize {
        1 => Spacing::Leading,
        2 => Spacing::Linspace,
        3 => Spacing::Trailing,
        _ => model.config().spacing.unwrap_or(rules.spacing),
    };
    let mut grid = schedule.grid(&GridRequest { model, steps: request.steps, rules, spacing }, knobs)?;
    if let Some(strength) = request.strength {
        if !(0.0..=1.0).contains(&strength) {
            return Err(SampleError::setting("strength", format!("{strength} is outside 0 to 1")));
        }
        grid.start_from_latent(strength);
    }
    solver.plan(&Job { model, grid: &grid, knobs })
}
