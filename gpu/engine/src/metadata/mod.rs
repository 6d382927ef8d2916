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

    /// Sampler and schedule by the names other programs have for them; `automatic` where the schedule is left to the sampler.
    fn set_sampler(&mut self, sampler: &str, schedule: &str) {
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
