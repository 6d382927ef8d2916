//! The prompt under the canvas, with the button that makes pictures.

use egui::text::{CCursor, CCursorRange};
use egui::{Button, RichText, TextEdit, Ui};

use super::weigh;
use crate::session::{Count, Purpose};
use crate::studio::Studio;
use crate::studio::panels::{glance, suggest};
use crate::studio::shortcuts::with_keys;
use crate::studio::theme::palette;
use crate::studio::widgets::{Icon, big_button, chip, icon_button, seed_value};

/// Prompts to try with the built-in model.
const EXAMPLES: &[&str] = &["eggplant", "cactus", "sun", "jeans", "red apple on a blue background"];

impl Studio {
    /// True while a picture that was asked for is made or waits.
    fn is_making(&self) -> bool {
        self.live().is_some_and(|l| l.purpose == Purpose::Asked) || self.desk.waiting() > 0
    }
}

/// Draws the prompt and its row of buttons.
pub fn show(studio: &mut Studio, ui: &mut Ui) {
    let p = palette(ui);
    ui.add_space(2.0);
    let mut prompt = studio.document.recipe.sample.prompt.clone().unwrap_or_default();
    suggest::update(studio, ui);
    let marks = std::mem::take(&mut studio.suggest.marks);
    let kept = studio.counting.kept(0, &prompt);
    let mut layouter = |ui: &Ui, text: &dyn egui::TextBuffer, width: f32| {
        suggest::layout(ui, text, width, suggest::PROMPT_SIZE, &marks, kept)
    };
    let id = ui.make_persistent_id("the prompt");
    weigh_word(ui, id, &mut prompt);
    let edit = TextEdit::multiline(&mut prompt)
        .id(id)
        .hint_text("What should the picture show?")
        .desired_rows(2)
        .desired_width(f32::INFINITY)
        .font(egui::FontId::proportional(suggest::PROMPT_SIZE))
        .layouter(&mut layouter);
    let output = edit.show(ui);
    studio.suggest.marks = marks;
    output.response.response.clone().accessible_name("Prompt");
    studio.document.recipe.sample.prompt = Some(prompt);
    glance::show(studio, ui, &output.galley, output.galley_pos);
    suggest::show(studio, ui);

    ui.horizontal_wrapped(|ui| {
        let busy = studio.is_making();
        if big_button(ui, "Make image", true).on_hover_text(with_keys(ui, "Render with these settings", "Make image")).clicked() {
            studio.make();
        }
        // What is always there comes first and in one order: controls that moved when a render ends would take clicks and keys meant for others.
        let mut live = studio.prefs.live;
        let toggle = ui.add(Button::selectable(live, "Live").frame_when_inactive(true)).on_hover_text(
            "Every change redraws at once with a few quick steps, and fully when you let go.\nThe last finished picture is never lost.",
        );
        live ^= toggle.clicked();
        if live != studio.prefs.live {
            studio.set_live(live);
        }
        seed(studio, ui);
        let save = with_keys(ui, "Save the picture as PNG, its recipe inside", "Save picture as PNG");
        if icon_button(ui, Icon::Save, &save).clicked() {
            studio.save_shown();
        }
        count(studio, ui, 0, "Tokens of the prompt, and how many its windows have room for.\nCtrl+Up and Ctrl+Down weigh the word under the cursor.");
        if busy {
            queue(studio, ui);
        } else if studio.history.entries.is_empty() {
            ui.label(RichText::new("try:").color(p.soft));
            for example in EXAMPLES {
                if chip(ui, example, false).clicked() {
                    studio.document.recipe.sample.prompt = Some((*example).into());
                }
            }
        }
    });
    ui.add_space(2.0);
}

/// Make or cancel, where the prompt is not on show.
pub fn short(studio: &mut Studio, ui: &mut Ui) {
    let p = palette(ui);
    if studio.is_making() {
        if ui.button("Cancel").clicked() {
            studio.desk.cancel(false);
        }
    } else {
        let make = Button::new(RichText::new("Make").strong().color(p.on_fill)).fill(p.fill);
        if ui.add(make).accessible_name("Make image").clicked() {
            studio.make();
        }
    }
}

/// What runs and what waits: cancel one, the rest, or all.
fn queue(studio: &mut Studio, ui: &mut Ui) {
    if ui.button("Cancel").on_hover_text("Stop what is running (Esc)").clicked() {
        studio.desk.cancel(false);
    }
    let waiting: Vec<_> = studio.desk.queue().into_iter().filter(|w| w.purpose != Some(Purpose::Study)).collect();
    if waiting.is_empty() {
        return;
    }
    let each = studio.history.entries.last().and_then(|e| e.seconds).unwrap_or(0.0);
    let left = studio.live().and_then(|l| l.seconds_left()).unwrap_or(0.0) + each * waiting.len() as f64;
    let time = if left > 1.0 { format!(", {left:.0} s") } else { String::new() };
    ui.menu_button(format!("{} waiting{time}", waiting.len()), |ui| {
        ui.set_min_width(260.0);
        for one in &waiting {
            ui.horizontal(|ui| {
                if icon_button(ui, Icon::Cross, &format!("Cancel {}", one.title)).clicked() {
                    studio.desk.cancel_one(one.id);
                }
                ui.add(egui::Label::new(&one.title).truncate());
            });
        }
        ui.separator();
        if ui.button("Cancel what waits").clicked() {
            studio.desk.cancel_rest();
        }
        if ui.button("Cancel everything").clicked() {
            studio.desk.cancel(true);
        }
    });
}

/// Tokens of the prompt (0) or the negative prompt (1), and how many are read.
pub(super) fn count(studio: &Studio, ui: &mut Ui, which: usize, help: &str) {
    let Some(Count { tokens, room, .. }) = studio.counting.of(which) else { return };
    let p = palette(ui);
    let text = RichText::new(format!("{tokens}/{room}")).small().color(if tokens > room { p.bad } else { p.soft });
    let over = format!("{room} tokens of this prompt are read; what is past them is grey and left out.");
    ui.label(text).on_hover_text(if tokens > room { &over } else { help });
}

/// Ctrl+Up and Ctrl+Down while the prompt of that id has the keyboard.
pub(super) fn weigh_word(ui: &Ui, id: egui::Id, prompt: &mut String) {
    if !ui.memory(|m| m.has_focus(id)) {
        return;
    }
    let pressed = |key| ui.input_mut(|i| i.consume_key(egui::Modifiers::COMMAND, key));
    let by = match (pressed(egui::Key::ArrowUp), pressed(egui::Key::ArrowDown)) {
        (true, false) => weigh::STEP,
        (false, true) => -weigh::STEP,
        _ => return,
    };
    let Some(mut state) = egui::text_edit::TextEditState::load(ui.ctx(), id) else { return };
    let Some(range) = state.cursor.char_range() else { return };
    let [from, to] = range.sorted_cursors().map(|c| usize::from(c.index));
    if let Some((text, selected)) = weigh::reweigh(prompt, from..to, by) {
        *prompt = text;
        let (from, to) = (CCursor::new(selected.start), CCursor::new(selected.end));
        state.cursor.set_char_range(Some(CCursorRange::two(from, to)));
        state.store(ui.ctx(), id);
    }
}

/// Seed, dice, lock, neighbours.
fn seed(studio: &mut Studio, ui: &mut Ui) {
    let mut seed = studio.document.recipe.sample.seed.unwrap_or(0);
    let label = ui.label("Seed");
    seed_value(ui, &mut seed)
        .labelled_by(label.id)
        .on_hover_text("The same seed and settings give the same picture. Drag or click to change it.");
    studio.document.recipe.sample.seed = Some(seed);
    if icon_button(ui, Icon::Dice, "Another seed").clicked() {
        studio.roll_seed();
    }
    let locked = studio.document.seed_locked;
    let (icon, name) = if locked {
        (Icon::Locked, "The seed stays; click to draw a new one after every picture")
    } else {
        (Icon::Unlocked, "A new seed after every picture; click to keep this one")
    };
    if icon_button(ui, icon, name).clicked() {
        studio.document.seed_locked = !locked;
    }
    if icon_button(ui, Icon::Four, "Four neighbours: this seed and the next four, side by side").clicked() {
        studio.make_neighbours();
    }
}
