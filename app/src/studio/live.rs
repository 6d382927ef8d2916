//! When to make which picture while something is being turned.

use admix_engine::mix::Recipe;
use admix_engine::sample::{Knob, registry};

use super::document::Document;
use crate::session::{Desk, Purpose, Render, Work};

/// Seconds without a change after which the full render begins.
const SETTLE_SECONDS: f64 = 0.35;
/// Steps of the quick renders.
pub const SCRUB_STEPS: u32 = 6;

/// Follows the settings.
#[derive(Default)]
pub struct LiveRender {
    /// The settings the last live render was made of.
    seen: Option<Document>,
    /// When they last changed; none once the full render was asked for.
    changed_at: Option<f64>,
    /// A quick render is due.
    scrub_due: bool,
}

/// Solvers of the same equation as Euler's that gain from having many steps. With six they go astray: with DPM++ 2M on Karras' schedule at CFG 5 the
/// built-in model is 13 dB from the picture of 20 steps, with Euler 27 dB. Samplers that add noise lead elsewhere and stay.
const SLOW_STARTERS: &[&str] = &[
    "dpmpp_2m",
    "heun",
    "heunpp2",
    "dpm_2",
    "dpm_fast",
    "lms",
    "pndm",
    "ipndm",
    "ipndm_v",
    "deis",
    "unipc",
    "res_multistep",
    "dc_solver",
    "gradient_estimation",
];

/// Fewer steps, a solver that is good at few, and one picture, for a quick look.
pub fn quick(recipe: &Recipe) -> Recipe {
    let mut recipe = recipe.clone();
    let sample = &mut recipe.sample;
    let steps = sample.steps.unwrap_or(20);
    if steps > SCRUB_STEPS {
        let now = registry::sampler(sample.sampler.as_deref().unwrap_or(admix_engine::settings::DEFAULT_SAMPLER))
            .map(|s| s.info());
        if let (Ok(now), Ok(euler)) = (now, registry::sampler("euler").map(|s| s.info()))
            && SLOW_STARTERS.contains(&now.name)
        {
            // A knob that Euler does not have would be an error.
            let has = |knobs: &[Knob], name: &str| knobs.iter().any(|k| k.name == name);
            sample.set.retain(|name, _| !has(now.knobs, name) || has(euler.knobs, name));
            sample.sampler = Some(euler.name.into());
        }
    }
    sample.steps = Some(steps.min(SCRUB_STEPS));
    sample.batch = Some(1);
    recipe
}

impl LiveRender {
    /// Takes the settings as they are, without a render: something else rendered or restored them.
    pub fn settle(&mut self, document: &Document) {
        self.seen = Some(document.clone());
        self.changed_at = None;
        self.scrub_due = false;
    }

    /// True when nothing changed since it was last looked at.
    pub fn has_seen(&self, document: &Document) -> bool {
        self.seen.as_ref() == Some(document)
    }

    /// Called every frame while Live is on. `turning`: a pointer button is down or text is being typed. True when a picture was asked for.
    pub fn follow(
        &mut self,
        document: &Document,
        desk: &mut Desk,
        now: f64,
        turning: bool,
        context: &egui::Context,
    ) -> bool {
        match &self.seen {
            None => {
                self.settle(document);
                return false;
            }
            Some(seen) if seen == document => {}
            Some(_) => {
                self.seen = Some(document.clone());
                self.changed_at = Some(now);
                self.scrub_due = true;
            }
        }
        // A render that has not shown anything yet may get that far: a drag that replaced it at every frame would never show a picture.
        let running = desk.live().filter(|l| l.purpose.is_live());
        let may_replace =
            running.is_none_or(|l| l.preview.is_some_and(|(_, step)| step >= 2) || l.purpose == Purpose::Settle);
        let render = |recipe, purpose| Work::Render(Box::new(Render::new(recipe, purpose)));
        let Some(since) = self.changed_at else { return false };
        if !turning && now - since >= SETTLE_SECONDS {
            self.changed_at = None;
            self.scrub_due = false;
            desk.submit(render(document.effective(), Purpose::Settle));
            return true;
        }
        let is_asked = self.scrub_due && may_replace;
        if is_asked {
            self.scrub_due = false;
            desk.submit(render(quick(&document.effective()), Purpose::Scrub));
        }
        context.request_repaint_after(std::time::Duration::from_millis(40));
        is_asked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quick_looks_take_a_solver_that_suits_few_steps() {
        for name in SLOW_STARTERS {
            assert!(registry::sampler(name).is_ok_and(|s| s.info().name == *name), "{name} is not a sampler");
        }
        let mut recipe = Document::default().recipe;
        recipe.sample.set.insert("rho".into(), 5.0.into());
        let fast = quick(&recipe);
        assert_eq!((fast.sample.sampler.as_deref(), fast.sample.steps), (Some("euler"), Some(SCRUB_STEPS)));
        assert!(fast.sample.set.contains_key("rho"), "the schedule's knob stays");
        // Noise leads elsewhere, and who asks for few steps knows which sampler.
        recipe.sample.sampler = Some("euler_ancestral".into());
        assert_eq!(quick(&recipe).sample.sampler.as_deref(), Some("euler_ancestral"));
        (recipe.sample.sampler, recipe.sample.steps) = (Some("unipc".into()), Some(4));
        assert_eq!((quick(&recipe).sample.sampler.as_deref(), quick(&recipe).sample.steps), (Some("unipc"), Some(4)));
    }
}
