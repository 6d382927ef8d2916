//! What an offered adapter would do: the same picture without it and with it, small, under the word or the chip that the pointer rests
//! on. Drawn in the background at preview quality, kept for the next time, and given up when the pointer leaves.

use egui::text::CCursor;
use egui::{Area, Frame, Galley, Order, Pos2, Rect, RichText, Ui, vec2};

use super::strip::picture_of;
use super::suggest::Offer;
use crate::studio::Studio;
use crate::studio::study::{State, Study};
use crate::studio::theme::palette;

/// Seconds that the pointer rests before pictures are drawn.
const REST: f64 = 0.25;
/// Seconds that it may be away.
const PATIENCE: f64 = 0.35;
/// Edge of a picture in points.
const EDGE: f32 = 96.0;

/// The small pictures.
pub struct Glance {
    /// The adapter.
    pub offer: Offer,
    /// Without it and with it, once the pointer has rested.
    pub study: Option<Study>,
    /// The word or the chip.
    anchor: Rect,
    /// Where the pictures were drawn last.
    shown: Rect,
    since: f64,
    /// When the pointer was last near.
    near: f64,
}

impl Glance {
    /// True once both pictures are there.
    pub fn is_done(&self) -> bool {
        self.study.as_ref().is_some_and(|s| s.cells.iter().all(|c| matches!(c.state, State::Done(..))))
    }
}

impl Studio {
    /// The pointer is on an offer.
    pub fn look_at(&mut self, offer: &Offer, anchor: Rect, now: f64) {
        match &mut self.suggest.glance {
            Some(glance) if glance.offer.reference == offer.reference => glance.near = now,
            _ => {
                self.close_glance();
                // The time runs while nothing moves.
                self.context.request_repaint();
                self.suggest.glance = Some(Glance {
                    offer: offer.clone(),
                    study: None,
                    anchor,
                    shown: Rect::NOTHING,
                    since: now,
                    near: now,
                });
            }
        }
    }

    /// Gives the pictures up.
    pub fn close_glance(&mut self) {
        if let Some(study) = self.suggest.glance.take().and_then(|g| g.study) {
            study.stop(&self.desk);
        }
    }

    /// Has the pictures drawn.
    pub fn draw_glance(&mut self) {
        let Some(glance) = &mut self.suggest.glance else { return };
        let offer = &glance.offer;
        let (mut without, mut with) = (self.document.clone(), self.document.clone());
        if let Some(at) = without.recipe.adapters.iter().position(|a| a.source.reference == offer.reference) {
            without.remove_adapter(at);
        }
        let at = with.add_adapter(&offer.reference);
        if let Some(row) = with.recipe.adapters.get_mut(at) {
            row.weight = offer.weight;
        }
        with.add_first_trigger(&offer.triggers);
        let cells = vec![("without".into(), without), (format!("with {}", offer.name), with)];
        let mut study = Study::beside(offer.name.clone(), &self.document, cells, true);
        study.begin(&self.context, &mut self.desk, &self.study_cache, 0);
        glance.study = Some(study);
    }
}

/// Where a mark of the prompt stands on the screen; none where it is broken over two rows.
fn place(galley: &Galley, origin: Pos2, offer: &Offer) -> Option<Rect> {
    let at = |index: usize| galley.pos_from_cursor(CCursor::new(index));
    let (from, to) = (at(offer.place.start), at(offer.place.end));
    let same_row = (from.min.y - to.min.y).abs() < 1.0;
    same_row.then(|| Rect::from_min_max(from.min, to.max).translate(origin.to_vec2()))
}

/// Follows the pointer over the prompt, and draws what it rests on.
pub fn show(studio: &mut Studio, ui: &Ui, galley: &Galley, origin: Pos2) {
    let (now, pointer) = ui.input(|i| (i.time, i.pointer.hover_pos()));
    // A press on the button keeps them, however long it takes, and so does a pointer that does not move on a machine that draws seldom.
    if let (Some(pointer), Some(glance)) = (pointer, &mut studio.suggest.glance)
        && (glance.shown.expand(8.0).contains(pointer) || glance.anchor.contains(pointer))
    {
        glance.near = now;
    }
    let pointer = pointer.filter(|_| !ui.input(|i| i.pointer.any_down()));
    let over = pointer.and_then(|pointer| {
        let mut offers = studio.suggest.offers.iter();
        offers.find_map(|o| place(galley, origin, o).filter(|r| r.contains(pointer)).map(|r| (o.clone(), r)))
    });
    if let Some((offer, anchor)) = over {
        studio.look_at(&offer, anchor, now);
    }
    let Some(glance) = &studio.suggest.glance else { return };
    if now - glance.near > PATIENCE {
        return studio.close_glance();
    }
    // Ticks even while nothing moves.
    ui.ctx().request_repaint_after(std::time::Duration::from_millis(60));
    if now - glance.since < REST {
        return;
    }
    if glance.study.is_none() {
        studio.draw_glance();
    }
    let Some(glance) = &studio.suggest.glance else { return };
    let used = studio.document.uses(&glance.offer.reference);
    let at = glance.anchor.left_bottom() + vec2(0.0, 4.0);
    let area = Area::new(egui::Id::unique("glance")).order(Order::Foreground).fixed_pos(at).constrain(true);
    let drawn = area.show(ui.ctx(), |ui| Frame::popup(ui.style()).show(ui, |ui| contents(glance, used, ui)).inner);
    let (rect, add) = (drawn.response.rect, drawn.inner);
    if let Some(glance) = &mut studio.suggest.glance {
        glance.shown = rect;
    }
    if add && let Some(offer) = studio.suggest.glance.as_ref().map(|g| g.offer.clone()) {
        studio.accept_offer(&offer);
    }
}

fn contents(glance: &Glance, used: bool, ui: &mut Ui) -> bool {
    let (p, offer) = (palette(ui), &glance.offer);
    ui.set_max_width(2.0 * EDGE + 16.0);
    ui.label(RichText::new(format!("{} at {:.2}", offer.name, offer.weight)).strong());
    if let Some(study) = &glance.study {
        ui.horizontal(|ui| {
            for (cell, name) in study.cells.iter().zip(["without", "with"]) {
                ui.vertical(|ui| {
                    let (rect, _) = ui.allocate_exact_size(vec2(EDGE, EDGE), egui::Sense::hover());
                    picture_of(ui, &cell.state, rect, false);
                    ui.label(RichText::new(name).small().color(p.soft));
                });
            }
        });
    }
    if !offer.about.is_empty() {
        ui.label(RichText::new(&offer.about).small());
    }
    ui.label(
        RichText::new(format!("For \"{}\", because of \"{}\".", offer.words, offer.because)).small().color(p.soft),
    );
    !used && ui.button(format!("Add {}", offer.name)).on_hover_text("One undo takes it out again").clicked()
}
