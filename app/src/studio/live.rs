//! When to make which picture while something is being turned.

use admix_engine::mix::Recipe;

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

/// Fewer steps and one picture, for a quick look.
pub fn quick(recipe: &Recipe) -> Recipe {
    let mut recipe = recipe.clone();
    recipe.sample.steps = Some(recipe.sample.steps.unwrap_or(20).min(SCRUB_STEPS));
    recipe.sample.batch = Some(1);
    recipe
}

impl LiveRender {
    /// Takes the settings as they are, without a render: something else rendered or restored them.
    pub fn settle(&mut self, document: &Document) {
        self.seen = Some(document.clone());
        self.changed_at = None;
        self.scrub_due = false;
    }

    /// Called every frame while Live is on. `turning`: a pointer button is down or text is being typed.
    pub fn follow(&mut self, document: &Document, desk: &mut Desk, now: f64, turning: bool, context: &egui::Context) {
        match &self.seen {
            None => return self.settle(document),
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
        let Some(since) = self.changed_at else { return };
        if !turning && now - since >= SETTLE_SECONDS {
            self.changed_at = None;
            self.scrub_due = false;
            desk.submit(render(document.effective(), Purpose::Settle));
        } else {
            if self.scrub_due && may_replace {
                self.scrub_due = false;
                desk.submit(render(quick(&document.effective()), Purpose::Scrub));
            }
            context.request_repaint_after(std::time::Duration::from_millis(40));
        }
    }
}
