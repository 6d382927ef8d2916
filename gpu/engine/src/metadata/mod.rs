//! What pictures say of how they were made, in the words of other programs: A1111's infotext, ComfyUI's graph, and EXIF, which carries the former in JPEG
//! and WebP.

pub mod a1111;
pub mod comfy;
pub mod exif;
mod find;
mod restore;

#[cfg(not(target_arch = "wasm32"))]
pub use find::candidates;
pub use find::{Candidate, Wanted};
pub use restore::{Restored, is_picture, mend_recipe, restore};

use admix_mix::recipe::{Sample, limits};
use admix_sample::{names, registry};

/// Settings found in a picture. Names are as the other program had them; what they mean here is up to whoever holds the catalogue.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Imported {
    /// Prompt, sampler, size and so on; what the picture does not say is open.
    pub sample: Sample,
    /// The checkpoint.
    pub model: Option<Named>,
    /// Adapters in order, with their weights.
    pub adapters: Vec<Named>,
    /// Textual inversions whose names stand in the prompts.
    pub inversions: Vec<Named>,
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

impl Named {
    /// A file of which only the name is known.
    pub fn of(name: &str) -> Named {
        Named { name: name.into(), ..Named::default() }
    }

    /// As notes have it: the name, and the checksum where one is stated.
    fn shown(&self) -> String {
        self.hash.as_ref().map_or_else(|| self.name.clone(), |hash| format!("{} ({hash})", self.name))
    }
}

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

    /// Sampler and schedule by the names other programs have for them, and the knobs by which a sampler here is what another program counts as one of
    /// its own; `automatic` where the schedule is left to the sampler.
    fn set_sampler(&mut self, sampler: &str, schedule: &str) {
        let Ok(alone) = names::resolve(sampler, "") else {
            if let Ok(found) = registry::schedule(schedule) {
                self.sample.schedule = Some(found.info().name.into());
            }
            return self.note(format!("sampler {sampler}: not known here"));
        };
        let meaning = names::resolve(sampler, schedule).unwrap_or_else(|_| {
            self.note(format!("schedule {schedule}: not known here"));
            alone
        });
        self.sample.sampler = Some(meaning.solver.info().name.into());
        self.sample.schedule = Some(meaning.stated.map_or("normal", |s| s.info().name).into());
        for (name, value) in meaning.knobs {
            self.sample.set.insert((*name).into(), crate::settings::knob_json(value));
        }
    }

    /// A size in pixels, if this program can make it.
    fn set_size(&mut self, width: u64, height: u64) {
        let fits = |v: u64| limits::holds(&limits::WIDTH, v);
        if fits(width) && fits(height) {
            // Other programs round to whole latent cells as well.
            (self.sample.width, self.sample.height) = (Some((width / 8 * 8) as u32), Some((height / 8 * 8) as u32));
        } else {
            self.note(format!(
                "size {width}x{height}: edges go from {} to {} here",
                limits::WIDTH.min,
                limits::WIDTH.max
            ));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The names themselves: `admix_sample::names`.
    #[test]
    fn samplers_of_other_programs() {
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
