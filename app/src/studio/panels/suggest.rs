//! Adapters for the words as they are typed: words that one could serve are underlined, and at most three are offered below the
//! prompt. Nothing is turned on by itself; a click adds the row, its trigger and its weight, and one undo takes all of it back.

use std::ops::Range;
use std::sync::Arc;

use egui::text::{LayoutJob, TextFormat};
use egui::{FontId, Galley, Stroke, TextBuffer, Ui};

use crate::studio::Studio;
use crate::studio::theme::palette;
use crate::studio::widgets::chip;

/// Size of the prompt's letters, as the field has it.
pub const PROMPT_SIZE: f32 = 15.0;
/// Most offers at once.
#[cfg(not(target_arch = "wasm32"))]
const MOST: usize = 3;

/// An offer: an adapter for some words.
#[derive(Clone, Debug, PartialEq)]
pub struct Offer {
    /// How recipes name it.
    pub reference: String,
    /// Its name.
    pub name: String,
    /// The words it serves.
    pub words: String,
    /// The weight it would be used at.
    pub weight: f64,
    /// What of its card fits, for the hover.
    pub because: String,
}

/// What is offered for the prompt.
#[derive(Default)]
pub struct Suggest {
    /// At most three, the best first.
    pub offers: Vec<Offer>,
    /// Words that an adapter could serve, in characters of the prompt.
    pub marks: Vec<Range<usize>>,
    #[cfg(not(target_arch = "wasm32"))]
    desk: native::Desk,
}

/// Brings offers and marks up to date with the prompt. Cheap where nothing changed.
pub fn update(studio: &mut Studio, ui: &Ui) {
    #[cfg(not(target_arch = "wasm32"))]
    native::update(studio, ui.ctx());
    #[cfg(target_arch = "wasm32")]
    let _ = (studio, ui);
}

/// Lays the prompt out with the marked words underlined.
pub fn layout(ui: &Ui, text: &dyn TextBuffer, width: f32, marks: &[Range<usize>]) -> Arc<Galley> {
    let p = palette(ui);
    let mut job = LayoutJob::default();
    job.wrap.max_width = width;
    let plain = TextFormat::simple(FontId::proportional(PROMPT_SIZE), p.ink);
    let marked = TextFormat { underline: Stroke::new(1.5, p.good), ..plain.clone() };
    for (part, is_marked) in parts(text.as_str(), marks) {
        job.append(part, 0.0, if is_marked { marked.clone() } else { plain.clone() });
    }
    ui.fonts_mut(|f| f.layout_job(job))
}

/// A text cut at its marks. Marks of an older text that reach beyond this one are cut short.
fn parts<'a>(text: &'a str, marks: &[Range<usize>]) -> Vec<(&'a str, bool)> {
    let at = |character: usize| text.char_indices().nth(character).map_or(text.len(), |(byte, _)| byte);
    let mut out = Vec::new();
    let mut done = 0;
    for mark in marks {
        let (start, end) = (at(mark.start).max(done), at(mark.end));
        if start < end {
            out.push((&text[done..start], false));
            out.push((&text[start..end], true));
            done = end;
        }
    }
    out.push((&text[done..], false));
    out.retain(|(part, _)| !part.is_empty());
    out
}

/// Draws the offers.
pub fn show(studio: &mut Studio, ui: &mut Ui) {
    let used: Vec<&str> = studio.document.recipe.adapters.iter().map(|a| a.source.reference.as_str()).collect();
    let open: Vec<Offer> =
        studio.suggest.offers.iter().filter(|o| !used.contains(&o.reference.as_str())).cloned().collect();
    if open.is_empty() {
        return;
    }
    ui.horizontal_wrapped(|ui| {
        ui.label(egui::RichText::new("could help:").color(palette(ui).soft));
        for offer in open {
            let help = format!(
                "For \"{}\": {} at {:.2}, because of \"{}\".\nClick to add it to the mix; undo takes it out again.",
                offer.words, offer.name, offer.weight, offer.because
            );
            if chip(ui, &format!("+ {}", offer.name), false).on_hover_text(help).clicked() {
                studio.use_adapter(&offer.reference);
                let rows = &mut studio.document.recipe.adapters;
                if let Some(row) = rows.iter_mut().find(|a| a.source.reference == offer.reference) {
                    row.weight = offer.weight;
                }
            }
        }
    });
}

#[cfg(not(target_arch = "wasm32"))]
mod native {
    use super::{MOST, Offer, Studio};
    use admix_engine::files::builtin;
    use admix_engine::files::checkpoint::Checkpoint;
    use admix_engine::select::compose::{CardsOnly, Settings, compose};
    use admix_engine::select::shelf::{Shelf, shipped_words, target};
    use admix_engine::select::{Error, Filter, Library};
    use egui::Context;
    use std::sync::atomic::AtomicBool;
    use std::sync::mpsc::{Receiver, channel};

    /// The cards that fit one base model.
    struct Ready {
        library: Library,
        filter: Filter,
    }

    /// Loads cards on a thread of its own, and remembers what was asked last.
    #[derive(Default)]
    pub struct Desk {
        /// The base model that the cards are for.
        base: Option<String>,
        coming: Option<Receiver<Result<Ready, Error>>>,
        ready: Option<Ready>,
        /// The prompt that the offers are for.
        seen: Option<String>,
    }

    fn load(base: &str) -> Result<Ready, Error> {
        let path = builtin::resolve_model(base)?;
        let filter = Filter { target: target(&Checkpoint::open(path)?), ..Filter::default() };
        let shelf = Shelf::open(&[], true, &|_, _| {}, &AtomicBool::new(false))?;
        Ok(Ready { library: Library::new(shipped_words()?, shelf.entries), filter })
    }

    pub fn update(studio: &mut Studio, context: &Context) {
        let base = studio.document.recipe.base.reference.clone();
        let prompt = studio.document.recipe.sample.prompt.clone().unwrap_or_default();
        let desk = &mut studio.suggest.desk;
        if desk.base.as_ref() != Some(&base) {
            let (send, coming) = channel();
            let (context, reference) = (context.clone(), base.clone());
            let thread = std::thread::Builder::new().name("cards".into());
            // Without the thread there are no offers, and nothing else is lost.
            let started = thread.spawn(move || {
                let _ = send.send(load(&reference));
                context.request_repaint();
            });
            desk.coming = started.is_ok().then_some(coming);
            (desk.base, desk.ready, desk.seen) = (Some(base), None, None);
        }
        if let Some(outcome) = desk.coming.as_ref().and_then(|c| c.try_recv().ok()) {
            desk.coming = None;
            desk.ready = outcome.inspect_err(|e| log::warn!("no adapters are offered for this model: {e}")).ok();
        }
        if desk.seen.as_ref() == Some(&prompt) {
            return;
        }
        let Some(Ready { library, filter }) = &desk.ready else {
            studio.suggest.offers.clear();
            studio.suggest.marks.clear();
            return;
        };
        let found = compose(&prompt, library, filter, &CardsOnly, &Settings::default());
        let ranked: Vec<_> = found.ranked().into_iter().take(MOST).collect();
        let offers = ranked.iter().map(|(topic, choice)| {
            let entry = &library.entries()[choice.entry as usize];
            Offer {
                reference: entry.reference.clone(),
                name: entry.name.clone(),
                words: topic.text.clone(),
                weight: choice.weight,
                because: choice.because.clone(),
            }
        });
        let offers: Vec<Offer> = offers.collect();
        let mut marks: Vec<_> = ranked.iter().map(|(topic, _)| topic.span[0]..topic.span[1]).collect();
        marks.sort_by_key(|m| m.start);
        marks.dedup();
        desk.seen = Some(prompt);
        (studio.suggest.offers, studio.suggest.marks) = (offers, marks);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_cut_the_text_in_characters() {
        let marks = [2..6, 10..99];
        assert_eq!(
            parts("é neon cat night", &marks),
            [("é ", false), ("neon", true), (" cat", false), (" night", true)]
        );
        assert_eq!(parts("é", &marks), [("é", false)]);
        assert!(parts("", &marks).is_empty());
    }
}
