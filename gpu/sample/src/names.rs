//! What people type for a sampler in the tools they know, and what it means here: a solver, perhaps a schedule, perhaps knobs.
//!
//! A name that one of our solvers has (as name, label or alias) means that solver as its home implementation has it. The names below are those that a tool
//! counts as samplers of their own, but which are one of our solvers with knobs set. Either may be followed by a schedule ("DPM++ 2M Karras").

use crate::registry;
use crate::schedules::Schedule;
use crate::solvers::{self, Solver};
use crate::{Info, KnobValues, Result, SampleError};

/// Knobs and their values, as typed.
pub type Set = &'static [(&'static str, &'static str)];

/// A name for a solver with knobs set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variant {
    /// The name as it is typed, lower case.
    pub name: &'static str,
    /// Other spellings, lower case; A1111's display name first where it has one.
    pub aliases: &'static [&'static str],
    /// A1111's or Forge's display name, as its infotexts have it; empty where it has none.
    pub label: &'static str,
    /// Our solver.
    pub solver: &'static str,
    /// Knobs and their values, as typed.
    pub knobs: Set,
    /// Whose sampler it is.
    pub citation: &'static str,
}

const CFG_PP: Set = &[("cfg_pp", "on")];

const fn cfg_pp(name: &'static str, aliases: &'static [&'static str], solver: &'static str) -> Variant {
    Variant { name, aliases, label: "", solver, knobs: CFG_PP, citation: "ComfyUI" }
}

/// All of them.
pub static VARIANTS: &[Variant] = &[
    // ComfyUI and A1111 run UniPC with three orders where diffusers, whose defaults `unipc` has, takes two and B(h) = e^h - 1.
    Variant {
        name: "uni_pc",
        aliases: &[],
        label: "UniPC",
        solver: "unipc",
        knobs: &[("order", "3"), ("variant", "bh1")],
        citation: "ComfyUI; A1111's UniPC in infotexts",
    },
    Variant {
        name: "uni_pc_bh2",
        aliases: &[],
        label: "",
        solver: "unipc",
        knobs: &[("order", "3"), ("variant", "bh2")],
        citation: "ComfyUI",
    },
    Variant {
        name: "dpmpp_2m_sde_heun",
        aliases: &["dpm++ 2m sde heun", "dpmpp_2m_sde_heun_gpu", "k_dpmpp_2m_sde_heun"],
        label: "DPM++ 2M SDE Heun",
        solver: "dpmpp_2m_sde",
        knobs: &[("solver_type", "heun")],
        citation: "k-diffusion sample_dpmpp_2m_sde(solver_type=\"heun\"); A1111, ComfyUI",
    },
    Variant {
        name: "ddim_cfg_pp",
        aliases: &["ddim cfg++"],
        label: "DDIM CFG++",
        solver: "ddim",
        knobs: CFG_PP,
        citation: "A1111",
    },
    cfg_pp("euler_cfg_pp", &["euler cfg++"], "euler"),
    cfg_pp("euler_ancestral_cfg_pp", &["euler_a_cfg_pp", "euler a cfg++", "euler ancestral cfg++"], "euler_ancestral"),
    cfg_pp("dpmpp_2s_ancestral_cfg_pp", &["dpm++ 2s a cfg++", "dpm++ 2s ancestral cfg++"], "dpmpp_2s_ancestral"),
    cfg_pp("dpmpp_2m_cfg_pp", &["dpm++ 2m cfg++"], "dpmpp_2m"),
    cfg_pp("res_multistep_cfg_pp", &["res multistep cfg++"], "res_multistep"),
    cfg_pp("gradient_estimation_cfg_pp", &["gradient estimation cfg++"], "gradient_estimation"),
    Variant {
        name: "res_multistep_ancestral",
        aliases: &["res multistep ancestral"],
        label: "",
        solver: "res_multistep",
        knobs: &[("eta", "1")],
        citation: "ComfyUI",
    },
    Variant {
        name: "res_multistep_ancestral_cfg_pp",
        aliases: &["res multistep ancestral cfg++"],
        label: "",
        solver: "res_multistep",
        knobs: &[("eta", "1"), ("cfg_pp", "on")],
        citation: "ComfyUI",
    },
];

/// What two names mean together.
#[derive(Clone, Copy)]
pub struct Meaning {
    /// The solver.
    pub solver: &'static dyn Solver,
    /// The schedule, where one of the names says it.
    pub stated: Option<&'static dyn Schedule>,
    /// Knobs that the sampler's name stands for, with their values as typed. What a person sets goes first.
    pub knobs: Set,
}

impl Meaning {
    /// The schedule; `open` where the names leave it open.
    ///
    /// # Errors
    /// No schedule is called `open`.
    pub fn schedule(&self, open: &str) -> Result<&'static dyn Schedule> {
        self.stated.map_or_else(|| registry::schedule(open), Ok)
    }

    /// The given values, and the name's own where none was given.
    ///
    /// # Errors
    /// A value that its knob does not take.
    pub fn with(&self, knobs: &KnobValues) -> Result<KnobValues> {
        let mut all = knobs.clone();
        for (name, value) in self.knobs {
            if !knobs.has(name) {
                all.set_text(name, value)?;
            }
        }
        Ok(all)
    }
}

/// Lower case, single spaces.
pub(crate) fn tidy(name: &str) -> String {
    name.split_whitespace().collect::<Vec<_>>().join(" ").to_lowercase()
}

fn is(info: &Info, name: &str) -> bool {
    info.name == name || info.label.to_lowercase() == name || info.aliases.contains(&name)
}

/// The technique among `all` of that tidied name, label or alias.
pub(crate) fn find<T: Copy>(mut all: impl Iterator<Item = T>, name: &str, info: impl Fn(T) -> Info) -> Option<T> {
    all.find(|t| is(&info(*t), name))
}

/// A sampler's whole name, no schedule in it.
fn whole(name: &str) -> Option<(&'static dyn Solver, Set)> {
    let solver = |name: &str| find(solvers::ALL.iter().copied(), name, |s| s.info());
    if let Some(found) = solver(name) {
        return Some((found, &[]));
    }
    let variant = VARIANTS.iter().find(|v| v.name == name || v.aliases.contains(&name))?;
    Some((solver(variant.solver)?, variant.knobs))
}

/// What a sampler's and a schedule's name mean. The sampler's may carry the schedule ("DPM++ 2M SDE SGM Uniform"); `schedule` goes first unless it is
/// empty or `auto`.
///
/// # Errors
/// One of them is not known.
pub fn resolve(sampler: &str, schedule: &str) -> Result<Meaning> {
    let stated = match tidy(schedule).as_str() {
        "" | "auto" | "automatic" => None,
        name => Some(registry::schedule(name)?),
    };
    let wanted = tidy(sampler);
    if let Some((solver, knobs)) = whole(&wanted) {
        return Ok(Meaning { solver, stated, knobs });
    }
    for (at, _) in wanted.match_indices([' ', '_']) {
        if let Some((solver, knobs)) = whole(&wanted[..at])
            && let Ok(named) = registry::schedule(&wanted[at + 1..])
        {
            return Ok(Meaning { solver, stated: stated.or(Some(named)), knobs });
        }
    }
    Err(unknown(sampler))
}

pub(crate) fn unknown(name: &str) -> SampleError {
    let own = solvers::ALL.iter().map(|s| s.info().name);
    let known = own.chain(VARIANTS.iter().map(|v| v.name)).collect::<Vec<_>>().join(", ");
    SampleError::Unknown { kind: "sampler", name: name.to_owned(), known }
}

/// The name that A1111 shows for a solver with these knobs: that of a variant whose knobs are all set so, or else the solver's own label.
pub fn label(solver: &Info, knobs: &KnobValues) -> &'static str {
    let all = registry::all_knobs();
    let is_set = |(name, value): &(&str, &str)| {
        let knob = solver.knobs.iter().chain(&all).find(|k| k.name == *name);
        knob.is_some_and(|k| k.parse(value).is_ok_and(|v| v == knobs.get(k)))
    };
    let fits = |v: &&Variant| v.solver == solver.name && !v.label.is_empty() && v.knobs.iter().all(is_set);
    VARIANTS.iter().find(fits).map_or(solver.label, |v| v.label)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Typed, solver, schedule (empty: left open), knobs.
    type Row = (&'static str, &'static str, &'static str, Set);

    const HEUN: Set = &[("solver_type", "heun")];

    /// The menus of ComfyUI (`comfy/samplers.py`, KSAMPLER_NAMES and SAMPLER_NAMES) and A1111 (`sd_samplers_kdiffusion.py`, `sd_samplers_timesteps.py`), A1111's
    /// names with schedules of before 1.9 and Forge's, and diffusers' classes.
    const TABLE: &[Row] = &[
        ("euler", "euler", "", &[]),
        ("euler_cfg_pp", "euler", "", CFG_PP),
        ("euler_ancestral", "euler_ancestral", "", &[]),
        ("euler_ancestral_cfg_pp", "euler_ancestral", "", CFG_PP),
        ("heun", "heun", "", &[]),
        ("heunpp2", "heunpp2", "", &[]),
        ("dpm_2", "dpm_2", "", &[]),
        ("dpm_2_ancestral", "dpm_2_ancestral", "", &[]),
        ("lms", "lms", "", &[]),
        ("dpm_fast", "dpm_fast", "", &[]),
        ("dpm_adaptive", "dpm_adaptive", "", &[]),
        ("dpmpp_2s_ancestral", "dpmpp_2s_ancestral", "", &[]),
        ("dpmpp_2s_ancestral_cfg_pp", "dpmpp_2s_ancestral", "", CFG_PP),
        ("dpmpp_sde", "dpmpp_sde", "", &[]),
        ("dpmpp_sde_gpu", "dpmpp_sde", "", &[]),
        ("dpmpp_2m", "dpmpp_2m", "", &[]),
        ("dpmpp_2m_cfg_pp", "dpmpp_2m", "", CFG_PP),
        ("dpmpp_2m_sde", "dpmpp_2m_sde", "", &[]),
        ("dpmpp_2m_sde_gpu", "dpmpp_2m_sde", "", &[]),
        ("dpmpp_2m_sde_heun", "dpmpp_2m_sde", "", HEUN),
        ("dpmpp_2m_sde_heun_gpu", "dpmpp_2m_sde", "", HEUN),
        ("dpmpp_3m_sde", "dpmpp_3m_sde", "", &[]),
        ("dpmpp_3m_sde_gpu", "dpmpp_3m_sde", "", &[]),
        ("ddpm", "ddpm", "", &[]),
        ("lcm", "lcm", "", &[]),
        ("ipndm", "ipndm", "", &[]),
        ("ipndm_v", "ipndm_v", "", &[]),
        ("deis", "deis", "", &[]),
        ("res_multistep", "res_multistep", "", &[]),
        ("res_multistep_cfg_pp", "res_multistep", "", CFG_PP),
        ("res_multistep_ancestral", "res_multistep", "", &[("eta", "1")]),
        ("res_multistep_ancestral_cfg_pp", "res_multistep", "", &[("eta", "1"), ("cfg_pp", "on")]),
        ("gradient_estimation", "gradient_estimation", "", &[]),
        ("gradient_estimation_cfg_pp", "gradient_estimation", "", CFG_PP),
        ("er_sde", "er_sde", "", &[]),
        ("sa_solver", "sa_solver", "", &[]),
        ("ddim", "ddim", "", &[]),
        ("uni_pc", "unipc", "", &[("order", "3"), ("variant", "bh1")]),
        ("uni_pc_bh2", "unipc", "", &[("order", "3"), ("variant", "bh2")]),
        ("DPM++ 2M", "dpmpp_2m", "", &[]),
        ("DPM++ SDE", "dpmpp_sde", "", &[]),
        ("DPM++ 2M SDE", "dpmpp_2m_sde", "", &[]),
        ("DPM++ 2M SDE Heun", "dpmpp_2m_sde", "", HEUN),
        ("DPM++ 2S a", "dpmpp_2s_ancestral", "", &[]),
        ("DPM++ 3M SDE", "dpmpp_3m_sde", "", &[]),
        ("Euler a", "euler_ancestral", "", &[]),
        ("Euler", "euler", "", &[]),
        ("LMS", "lms", "", &[]),
        ("Heun", "heun", "", &[]),
        ("DPM2", "dpm_2", "", &[]),
        ("DPM2 a", "dpm_2_ancestral", "", &[]),
        ("DPM fast", "dpm_fast", "", &[]),
        ("DPM adaptive", "dpm_adaptive", "", &[]),
        ("Restart", "restart", "", &[]),
        ("DDIM", "ddim", "", &[]),
        ("DDIM CFG++", "ddim", "", CFG_PP),
        ("PLMS", "pndm", "", &[]),
        ("UniPC", "unipc", "", &[]),
        ("LCM", "lcm", "", &[]),
        ("DPM++ 2M Karras", "dpmpp_2m", "karras", &[]),
        ("DPM++ SDE Karras", "dpmpp_sde", "karras", &[]),
        ("DPM++ 2M SDE Exponential", "dpmpp_2m_sde", "exponential", &[]),
        ("DPM++ 2M SDE Karras", "dpmpp_2m_sde", "karras", &[]),
        ("DPM++ 2M SDE Heun Karras", "dpmpp_2m_sde", "karras", HEUN),
        ("DPM++ 2M SDE Heun Exponential", "dpmpp_2m_sde", "exponential", HEUN),
        ("DPM++ 3M SDE Karras", "dpmpp_3m_sde", "karras", &[]),
        ("DPM++ 3M SDE Exponential", "dpmpp_3m_sde", "exponential", &[]),
        ("DPM2 Karras", "dpm_2", "karras", &[]),
        ("DPM2 a Karras", "dpm_2_ancestral", "karras", &[]),
        ("DPM++ 2S a Karras", "dpmpp_2s_ancestral", "karras", &[]),
        ("LMS Karras", "lms", "karras", &[]),
        ("DPM++ 2M SGM Uniform", "dpmpp_2m", "sgm_uniform", &[]),
        ("DPM++ 2M SDE SGM Uniform", "dpmpp_2m_sde", "sgm_uniform", &[]),
        ("DPM++ 2M Turbo", "dpmpp_2m", "turbo", &[]),
        ("Euler a Align Your Steps", "euler_ancestral", "ays", &[]),
        ("dpmpp_2m_karras", "dpmpp_2m", "karras", &[]),
        ("dpmpp_2m_sgm_uniform", "dpmpp_2m", "sgm_uniform", &[]),
        ("euler_cfg_pp_karras", "euler", "karras", CFG_PP),
        ("DPMSolverMultistepScheduler", "dpmpp_2m", "", &[]),
        ("EulerAncestralDiscreteScheduler", "euler_ancestral", "", &[]),
        ("UniPCMultistepScheduler", "unipc", "", &[]),
        ("PNDMScheduler", "pndm", "", &[]),
        ("  dpm++  2m   KARRAS ", "dpmpp_2m", "karras", &[]),
    ];

    #[test]
    fn every_name_means_what_its_tool_means() {
        for (typed, solver, schedule, knobs) in TABLE {
            let found = resolve(typed, "").unwrap_or_else(|e| panic!("{typed}: {e}"));
            let named = found.stated.map_or("", |s| s.info().name);
            assert_eq!((found.solver.info().name, named, found.knobs), (*solver, *schedule, *knobs), "{typed}");
        }
        assert!(resolve("DPM++ 2M Wild", "").is_err() && resolve("Karras", "").is_err());
    }

    #[test]
    fn what_is_set_goes_first() {
        let found = resolve("uni_pc", "").unwrap();
        let mut mine = KnobValues::new();
        mine.set_text("order", "2").unwrap();
        let all = found.with(&mine).unwrap();
        assert_eq!(all, {
            let mut expected = KnobValues::new();
            expected.set("order", 2.0).set("variant", 1.0);
            expected
        });
        let schedule = |typed: &str, stated: &str| resolve(typed, stated).unwrap().stated.map(|s| s.info().name);
        assert_eq!(schedule("DPM++ 2M Karras", "exponential"), Some("exponential"));
        assert_eq!(schedule("DPM++ 2M Karras", "auto"), Some("karras"));
    }

    #[test]
    fn labels_lead_back() {
        for variant in VARIANTS.iter().filter(|v| !v.label.is_empty()) {
            let found = resolve(variant.name, "").unwrap();
            let knobs = found.with(&KnobValues::new()).unwrap();
            assert_eq!(label(&found.solver.info(), &knobs), variant.label);
        }
        for solver in solvers::ALL {
            assert_eq!(label(&solver.info(), &KnobValues::new()), solver.info().label);
        }
    }

    #[test]
    fn no_name_means_two_things() {
        let mut all: Vec<&str> = Vec::new();
        for info in solvers::ALL.iter().map(|s| s.info()) {
            all.push(info.name);
            all.extend(info.aliases);
        }
        for variant in VARIANTS {
            all.push(variant.name);
            all.extend(variant.aliases);
        }
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count, "a name stands twice");
    }
}
