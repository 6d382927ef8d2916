//! Every action by name.

use egui::{Key, Modifiers, RichText, ScrollArea, TextEdit, Ui};

use crate::studio::Studio;
use crate::studio::shortcuts::{COMMANDS, Command};
use crate::studio::theme::palette;

/// Height of a row.
const ROW: f32 = 24.0;

/// The palette's state.
#[derive(Default)]
pub struct CommandPalette {
    open: bool,
    fresh: bool,
    text: String,
    at: usize,
}

impl CommandPalette {
    /// True while it is on show.
    pub fn is_open(&self) -> bool {
        self.open
    }

    /// Opens or closes it.
    pub fn toggle(&mut self) {
        self.open = !self.open;
        self.fresh = true;
        self.text.clear();
        self.at = 0;
    }
}

/// Draws the palette when it is open.
pub fn show(studio: &mut Studio, ui: &Ui) {
    if !studio.palette.open {
        return;
    }
    let words: Vec<String> = studio.palette.text.split_whitespace().map(str::to_lowercase).collect();
    let is_hit = |c: &Command| words.iter().all(|w| c.name.to_lowercase().contains(w.as_str()));
    let mut hits: Vec<&Command> = COMMANDS.iter().filter(|c| is_hit(c)).collect();
    // What two keys do is one action.
    hits.dedup_by_key(|c| c.name);
    let mut chosen = None;
    let modal = egui::Modal::new(egui::Id::unique("commands")).show(ui.ctx(), |ui| {
        let p = palette(ui);
        ui.set_width((ui.ctx().content_rect().width() - 40.0).min(360.0));
        let edit = ui.add(
            TextEdit::singleline(&mut studio.palette.text)
                .hint_text("What do you want to do?")
                .desired_width(f32::INFINITY),
        );
        let edit = edit.accessible_name("Search the commands");
        if std::mem::take(&mut studio.palette.fresh) {
            edit.request_focus();
        }
        if edit.changed() {
            studio.palette.at = 0;
        }
        let (up, down, enter) = ui.input_mut(|i| {
            let key = |i: &mut egui::InputState, k| i.consume_key(Modifiers::NONE, k);
            (key(i, Key::ArrowUp), key(i, Key::ArrowDown), i.key_pressed(Key::Enter))
        });
        let last = hits.len().saturating_sub(1);
        if down {
            studio.palette.at = (studio.palette.at + 1).min(last);
        }
        if up {
            studio.palette.at = studio.palette.at.saturating_sub(1);
        }
        // As high as its rows, up to a part of the window: the room that an earlier search left is no measure.
        let rows = hits.len() as f32 * (ROW + ui.spacing().item_spacing.y);
        let height = (ui.ctx().content_rect().height() * 0.6).min(rows);
        if hits.is_empty() {
            ui.label(RichText::new("Nothing of that name.").color(p.soft));
        }
        let list = ScrollArea::vertical().max_height(height).min_scrolled_height(height).auto_shrink([false, true]);
        list.show(ui, |ui| {
            for (i, command) in hits.iter().enumerate() {
                let is_at = i == studio.palette.at;
                let button = egui::Button::selectable(is_at, command.name)
                    .shortcut_text(RichText::new(command.shown_keys(ui.ctx())).small().color(p.soft))
                    .min_size(egui::vec2(ui.available_width(), ROW));
                let response = ui.add(button);
                if is_at && (up || down) {
                    response.scroll_to_me(None);
                }
                if response.clicked() || (enter && is_at) {
                    chosen = Some(command.act);
                }
            }
        });
    });
    edit_closed(studio, modal.should_close() || chosen.is_some());
    if let Some(action) = chosen {
        action(studio);
    }
}

fn edit_closed(studio: &mut Studio, closed: bool) {
    if closed {
        studio.palette.open = false;
    }
}
