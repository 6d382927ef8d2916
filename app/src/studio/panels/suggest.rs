//! Adapters for the words as they are typed: words that one could serve are underlined, and at most three are offered below the
//! prompt. Nothing is turned on by itself; a click adds the row, its trigger and its weight, and one undo takes all of it back. What is
//! offered is found by a thread of its own (`cards.rs`), and the pictures with and without come from `glance.rs`.

use std::ops::Range;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;

use egui::text::{LayoutJob, TextFormat};
use egui::{Color32, FontId, Galley, Stroke, TextBuffer, Ui};

use super::card_edit::Editing;
use super::glance::Glance;
use crate::io::library::Places;
use crate::studio::Studio;
use crate::studio::cards::{Answer, Ask, Cards, Kind, Offered, Progress};
use crate::studio::study::Study;
use crate::studio::theme::palette;
use crate::studio::widgets::{Icon, chip, icon_button};

/// Size of the prompt's letters, as the field has it.
pub const PROMPT_SIZE: f32 = 15.0;
/// An offer: an adapter for some words.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Offer {
    /// How recipes name it.
    pub reference: String,
    /// Its name.
    pub name: String,
    /// The words it serves.
    pub words: String,
    /// Where they stand, in characters of the prompt.
    pub place: Range<usize>,
    /// The weight it would be used at.
    pub weight: f64,
    /// Words that call it up.
    pub triggers: Vec<String>,
    /// What of its card fits, for the hover.
    pub because: String,
    /// What it does, as far as its card says.
    pub about: String,
}

/// What is offered for the prompt.
#[derive(Default)]
pub struct Suggest {
    /// At most three, the best first.
    pub offers: Vec<Offer>,
    /// Words that an adapter could serve, in characters of the prompt.
    pub marks: Vec<Range<usize>>,
    /// Recipes worth comparing, as (reference, weight) each.
    pub candidates: Vec<Vec<(String, f64)>>,
    /// Seconds that the last answer took.
    pub seconds: f64,
    /// The small pictures under the pointer.
    pub glance: Option<Glance>,
    /// The card that is being edited.
    pub editing: Option<Editing>,
    /// The prompt that the marks were made for, or cut down to.
    marked: String,
    /// Adapters that came one by one, as the shelf had them when it was last looked at.
    loose: Option<Loose>,
    /// The prompt as it was at the start: the tab reads no cards before another one is typed.
    #[cfg(target_arch = "wasm32")]
    first: Option<String>,
    /// A card that was asked for before cards were read.
    pub(in crate::studio) wanted: Option<String>,
    /// Reading was given up.
    given_up: bool,
    pub(in crate::studio) cards: Option<Cards>,
}

/// Adapters on the shelf that came one by one, and what they were told by.
struct Loose {
    adapters: Rc<Vec<(String, String)>>,
    watched: Vec<PathBuf>,
    references: Arc<Vec<String>>,
}

/// Brings offers and marks up to date with the prompt. Cheap: the work is done elsewhere.
pub fn update(studio: &mut Studio, ui: &Ui) {
    let prompt = studio.document.recipe.sample.prompt.clone().unwrap_or_default();
    studio.suggest.follow(&prompt);
    if studio.suggest.cards.is_none() {
        if is_time(studio, &prompt) {
            let context = ui.ctx().clone();
            studio.suggest.cards = Cards::start(move || context.request_repaint());
            // The same question once more, to what is there now.
            ui.ctx().request_repaint();
        }
        return;
    }
    let places = Places {
        base: studio.document.recipe.base.reference.clone(),
        folders: studio.prefs.watched.clone(),
        files: loose(studio),
    };
    let ask = Ask { places, prompt };
    let wanted = studio.suggest.wanted.take();
    let Some(cards) = &mut studio.suggest.cards else { return };
    cards.ask(ask.clone());
    if let Some(reference) = wanted {
        cards.card(&reference);
    }
    let answers: Vec<Answer> = std::iter::from_fn(|| cards.answer()).collect();
    for answer in answers {
        match answer {
            // A later prompt's answer is on its way.
            Answer::Offered(offered) if offered.prompt != ask.prompt => {}
            Answer::Offered(offered) => studio.suggest.take(offered),
            Answer::Card(reference, card) => studio.suggest.editing = Some(Editing::of(reference, &card)),
            Answer::GivenUp(given_up) => studio.suggest.given_up = given_up,
            Answer::Trouble(line) => studio.notices.error(line),
        }
    }
}

/// Whether cards are to be read.
#[cfg(not(target_arch = "wasm32"))]
fn is_time(_: &mut Studio, _: &str) -> bool {
    true
}

/// Whether cards are to be read. In the tab word vectors and adapters come over the network, some megabytes: not before a prompt is typed, a
/// card is asked for, or the first picture is made.
#[cfg(target_arch = "wasm32")]
fn is_time(studio: &mut Studio, prompt: &str) -> bool {
    let is_typed = studio.suggest.first.get_or_insert_with(|| prompt.to_owned()) != prompt;
    is_typed || studio.suggest.wanted.is_some() || !studio.history.entries.is_empty() && !studio.desk.is_busy()
}

/// Adapters on the shelf that came one by one; the same list until the shelf changes.
pub fn loose(studio: &mut Studio) -> Arc<Vec<String>> {
    let adapters = studio.shelf.adapters();
    let watched = &studio.prefs.watched;
    if let Some(held) = &studio.suggest.loose
        && Rc::ptr_eq(&held.adapters, &adapters)
        && held.watched == *watched
    {
        return held.references.clone();
    }
    let references = Arc::new(studio.shelf.loose(watched));
    studio.suggest.loose = Some(Loose { adapters, watched: watched.clone(), references: references.clone() });
    references
}

impl Suggest {
    fn take(&mut self, offered: Offered) {
        let mut marks: Vec<_> = offered.offers.iter().map(|o| o.place.clone()).collect();
        marks.sort_by_key(|m| m.start);
        marks.dedup();
        (self.marks, self.marked) = (marks, offered.prompt);
        (self.offers, self.candidates, self.seconds) = (offered.offers, offered.candidates, offered.seconds);
    }

    /// Whether the reading of cards was given up (tests look at it).
    #[cfg(test)]
    pub fn is_given_up(&self) -> bool {
        self.given_up
    }

    /// Until the next answer, what stands before the first change keeps its marks.
    fn follow(&mut self, prompt: &str) {
        if self.marked == prompt {
            return;
        }
        let same = self.marked.chars().zip(prompt.chars()).take_while(|(a, b)| a == b).count();
        self.marks.retain(|m| m.end <= same);
        self.offers.retain(|o| o.place.end <= same);
        self.candidates.clear();
        self.marked = prompt.chars().take(same).collect();
    }
}

/// Lays a prompt out in letters of `size`, the marked words underlined, and grey what is past the `kept` characters that are read.
pub fn layout(
    ui: &Ui,
    text: &dyn TextBuffer,
    width: f32,
    size: f32,
    marks: &[Range<usize>],
    kept: usize,
) -> Arc<Galley> {
    let p = palette(ui);
    let mut job = LayoutJob::default();
    job.wrap.max_width = width;
    let format = |is_marked: bool, color: Color32| TextFormat {
        underline: if is_marked { Stroke::new(1.5, p.good) } else { Stroke::NONE },
        ..TextFormat::simple(FontId::proportional(size), color)
    };
    let mut left = kept;
    for (part, is_marked) in parts(text.as_str(), marks) {
        let end = part.char_indices().nth(left).map_or(part.len(), |(at, _)| at);
        left = left.saturating_sub(part.chars().count());
        let (read, lost) = part.split_at(end);
        job.append(read, 0.0, format(is_marked, p.ink));
        job.append(lost, 0.0, format(is_marked, p.soft));
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

/// Seconds after which reading is shown: most of it is over sooner.
const SHOWN_AFTER: f64 = 0.4;

/// How far the reading of cards is, a row each, with a way to give it up.
fn progress(studio: &mut Studio, ui: &mut Ui) {
    let Some(cards) = &studio.suggest.cards else { return };
    let soft = palette(ui).soft;
    for Progress { kind, done, of, seconds } in cards.progress() {
        ui.ctx().request_repaint_after(std::time::Duration::from_millis(200));
        if seconds < SHOWN_AFTER {
            continue;
        }
        let (what, help) = match kind {
            Kind::Reading => ("Reading cards", "Stop reading cards; what is read is kept"),
            Kind::Hashing => ("Fingerprints of large adapters", "Stop making fingerprints of large adapters"),
        };
        ui.horizontal(|ui| {
            if icon_button(ui, Icon::Cross, help).clicked() {
                cards.give_up(kind);
            }
            let far = if of > 0 { format!("{what}: {done} of {of}") } else { what.to_owned() };
            ui.label(egui::RichText::new(far).small().color(soft));
        });
    }
    if studio.suggest.given_up {
        ui.horizontal(|ui| {
            ui.label(egui::RichText::new("Not all cards are read.").small().color(soft));
            if ui.small_button("Read on").clicked() {
                cards.read_on();
            }
        });
    }
}

/// Draws the offers.
pub fn show(studio: &mut Studio, ui: &mut Ui) {
    progress(studio, ui);
    let used: Vec<&str> = studio.document.recipe.adapters.iter().map(|a| a.source.reference.as_str()).collect();
    let open: Vec<Offer> =
        studio.suggest.offers.iter().filter(|o| !used.contains(&o.reference.as_str())).cloned().collect();
    if open.is_empty() {
        return;
    }
    ui.horizontal_wrapped(|ui| {
        ui.label(egui::RichText::new("could help:").color(palette(ui).soft));
        for offer in &open {
            let response = chip(ui, &format!("+ {}", offer.name), false);
            if response.hovered() {
                studio.look_at(offer, response.rect, ui.input(|i| i.time));
            }
            if response.clicked() {
                studio.accept_offer(offer);
            }
        }
        let help = "Small pictures with all of them, some of them and none of them; click one to adopt it";
        if studio.suggest.candidates.len() > 1 && ui.small_button("Compare").on_hover_text(help).clicked() {
            studio.compare_candidates();
        }
    });
}

impl Studio {
    /// Puts an offered adapter into the mix: its row with its weight, and a trigger if the prompt has none. One undo takes all of it back.
    pub fn accept_offer(&mut self, offer: &Offer) {
        self.undo.add_undo(&self.document);
        let at = self.document.add_adapter(&offer.reference);
        if let Some(row) = self.document.recipe.adapters.get_mut(at) {
            row.weight = offer.weight;
        }
        self.document.add_first_trigger(&offer.triggers);
        self.prefs.mix_open = true;
        self.close_glance();
    }

    /// Pictures of the recipes that the suggestion's masks give, side by side; a click adopts one.
    pub fn compare_candidates(&mut self) {
        let offered: Vec<String> = self.suggest.candidates.iter().flatten().map(|(r, _)| r.clone()).collect();
        let mut plain = self.document.clone();
        while let Some(at) = plain.recipe.adapters.iter().position(|a| offered.contains(&a.source.reference)) {
            plain.remove_adapter(at);
        }
        let cells = self.suggest.candidates.iter().map(|adapters| {
            let mut document = plain.clone();
            for (reference, weight) in adapters {
                let at = document.add_adapter(reference);
                if let Some(row) = document.recipe.adapters.get_mut(at) {
                    row.weight = *weight;
                }
            }
            let names: Vec<String> = adapters.iter().map(|(r, _)| crate::io::catalogue::short(r)).collect();
            (if names.is_empty() { "none".into() } else { names.join(" + ") }, document)
        });
        let study = Study::beside("Candidates".into(), &self.document, cells.collect(), true);
        self.show_strip(study, 0);
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
        let mut suggest = Suggest { marks: marks.to_vec(), marked: "é neon cat night".into(), ..Suggest::default() };
        suggest.follow("é neon dog");
        assert_eq!(suggest.marks, std::slice::from_ref(&(2..6)), "what stands before the first change keeps its marks");
        suggest.follow("è");
        assert!(suggest.marks.is_empty());
        assert!(parts("", &marks).is_empty());
    }
}
