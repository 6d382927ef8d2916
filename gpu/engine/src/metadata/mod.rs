//! What pictures say of how they were made, in the words of other programs: A1111's infotext, ComfyUI's graph, and EXIF, which carries the former in JPEG
//! and WebP.

pub mod a1111;
pub mod comfy;
pub mod exif;
mod restore;

#[cfg(not(target_arch = "wasm32"))]
pub use restore::find_in;
pub use restore::{Find, Restored, Wanted, is_picture, restore};

use admix_mix::recipe::Sample;
use admix_sample::registry;

/// Settings found in a picture. Names are as the other program had them; what they mean here is up to whoever holds the catalogue.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Imported {
    /// Prompt, sampler, size and so on; what the picture does not say is open.
    pub sample: Sample,
    /// The checkpoint.
    pub model: Option<Named>,
    /// Adapters in order, with their weights.
    pub adapters: Vec<Named>,
    /// What could not be read or does not exist here, a line each.
    pub unresolved: Vec<String>,
}

/// A file by the name another program has for it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Named {
    /// Without folders and `.safetensors`.
    pub name: String,
    /// First digits of its checksum, where stated.
    pub hash: Option<String>,
    /// Weight in the U-Net (adapters).
    pub weight: f64,
    /// Weight in the text encoders, where it is another.
    pub text_weight: Option<f64>,
}

/// Samplers of other programs that are one of ours with a knob set.
struct Spelt {
    names: &'static [&'static str],
    here: &'static str,
    knob: (&'static str, &'static str),
}

const SPELT_OUT: &[Spelt] = &[
    Spelt {
        names: &["dpm++ 2m sde heun", "dpmpp_2m_sde_heun", "dpmpp_2m_sde_heun_gpu", "k_dpmpp_2m_sde_heun"],
        here: "dpmpp_2m_sde",
        knob: ("solver_type", "heun"),
    },
    Spelt { names: &["uni_pc"], here: "unipc", knob: ("variant", "bh1") },
    Spelt { names: &["euler_cfg_pp"], here: "euler", knob: ("cfg_pp", "on") },
    Spelt { names: &["euler_ancestral_cfg_pp"], here: "euler_ancestral", knob: ("cfg_pp", "on") },
    Spelt { names: &["ddim cfg++"], here: "ddim", knob: ("cfg_pp", "on") },
    Spelt { names: &["dpmpp_2s_ancestral_cfg_pp"], here: "dpmpp_2s_ancestral", knob: ("cfg_pp", "on") },
];

/// A file name without folders and ending.
fn stem(name: &str) -> String {
    let file = name.rsplit(['/', '\\']).next().unwrap_or(name);
    [".safetensors", ".ckpt", ".pt", ".bin"].iter().find_map(|e| file.strip_suffix(e)).unwrap_or(file).to_owned()
}

impl Imported {
    fn note(&mut self, line: String) {
        if !self.unresolved.contains(&line) {
            self.unresolved.push(line);
        }
    }

    /// Sampler and schedule, and the knob by which a sampler here is what another program counts as one of its own.
    fn set_sampler(&mut self, sampler: &str, schedule: &str) {
        let wanted = sampler.to_lowercase();
        let spelt = SPELT_OUT
            .iter()
            .find(|s| s.names.iter().any(|n| wanted == *n || wanted.strip_prefix(n) == Some(" karras")));
        if let Some(Spelt { here, knob: (name, value), .. }) = spelt {
            self.sample.set.insert((*name).into(), (*value).into());
            let schedule = if wanted.ends_with(" karras") && schedule.is_empty() { "karras" } else { schedule };
            return self.set_named(here, schedule);
        }
        self.set_named(sampler, schedule);
    }

    /// Sampler and schedule by the names other programs have for them; `automatic` where the schedule is left to the sampler.
    fn set_named(&mut self, sampler: &str, schedule: &str) {
        match registry::resolve(sampler, schedule, "normal") {
            Ok((solver, found)) => {
                self.sample.sampler = Some(solver.info().name.into());
                self.sample.schedule = Some(found.info().name.into());
            }
            Err(_) => match registry::resolve(sampler, "", "normal") {
                Ok((solver, found)) => {
                    self.sample.sampler = Some(solver.info().name.into());
                    self.sample.schedule = Some(found.info().name.into());
                    self.note(format!("schedule {schedule}: not known here"));
                }
                Err(_) => {
                    if let Ok(found) = registry::schedule(schedule) {
                        self.sample.schedule = Some(found.info().name.into());
                    }
                    self.note(format!("sampler {sampler}: not known here"));
                }
            },
        }
    }

    /// A size in pixels, if this program can make it.
    fn set_size(&mut self, width: u64, height: u64) {
        let fits = |v: u64| (8..=8192).contains(&v);
        if fits(width) && fits(height) {
            // Other programs round to whole latent cells as well.
            (self.sample.width, self.sample.height) = (Some((width / 8 * 8) as u32), Some((height / 8 * 8) as u32));
        } else {
            self.note(format!("size {width}x{height}: edges go from 8 to 8192 here"));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A1111's and ComfyUI's menus, but for what is listed as missing.
    #[test]
    fn samplers_of_other_programs() {
        let a1111 = "DPM++ 2M, DPM++ SDE, DPM++ 2M SDE, DPM++ 2M SDE Heun, DPM++ 2S a, DPM++ 3M SDE, Euler a, Euler, LMS, Heun, DPM2, DPM2 a, DPM fast, \
                     DPM adaptive, Restart, DDIM, DDIM CFG++, PLMS, UniPC, LCM, DPM++ 2M Karras, DPM++ 2M SDE Heun Karras";
        let comfy = "euler, euler_cfg_pp, euler_ancestral, euler_ancestral_cfg_pp, heun, heunpp2, dpm_2, dpm_2_ancestral, lms, dpm_fast, dpm_adaptive, \
                     dpmpp_2s_ancestral, dpmpp_2s_ancestral_cfg_pp, dpmpp_sde, dpmpp_sde_gpu, dpmpp_2m, dpmpp_2m_sde, dpmpp_2m_sde_gpu, dpmpp_2m_sde_heun, \
                     dpmpp_3m_sde, dpmpp_3m_sde_gpu, ddpm, lcm, ipndm, ipndm_v, deis, res_multistep, gradient_estimation, er_sde, sa_solver, ddim, uni_pc, \
                     uni_pc_bh2";
        for name in a1111.split(", ").chain(comfy.split(", ")).map(str::trim) {
            let mut found = Imported::default();
            found.set_sampler(name, "");
            assert!(found.unresolved.is_empty() && found.sample.sampler.is_some(), "{name}: {:?}", found.unresolved);
        }
        let mut heun = Imported::default();
        heun.set_sampler("DPM++ 2M SDE Heun Karras", "");
        assert_eq!(heun.sample.schedule.as_deref(), Some("karras"));
        assert_eq!(heun.sample.set["solver_type"], "heun");
        let schedules = "Uniform, Karras, Exponential, Polyexponential, SGM Uniform, KL Optimal, Align Your Steps, Simple, Normal, DDIM, Beta, Turbo, \
                         normal, karras, exponential, sgm_uniform, simple, ddim_uniform, beta, linear_quadratic, kl_optimal";
        for name in schedules.split(", ").map(str::trim) {
            let mut found = Imported::default();
            found.set_sampler("euler", name);
            assert!(found.unresolved.is_empty(), "{name}: {:?}", found.unresolved);
        }
    }
}
