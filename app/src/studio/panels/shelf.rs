//! The shelf: everything there is to mix, a row each, never hidden for not fitting.

use admix_engine::select::triggers;
use egui::{Color32, FontId, RichText, ScrollArea, Sense, TextEdit, Ui, vec2};

use crate::studio::Studio;
use crate::studio::shelf::Item;
use crate::studio::theme::palette;
use crate::studio::widgets::{Icon, chip, focus_mark, heading, icon_button, menu_of};

/// Name, type and fit, triggers.
const ROW_HEIGHT: f32 = 72.0;
/// Rows with less room than this for words.
const NARROW: f32 = 150.0;
/// Triggers that have room in a row; all are on the card.
const CHIPS: usize = 3;
/// What a trigger's chip says.
pub const TRIGGER: &str = "A word that calls it up; click to add it to the prompt, or to take it out again";

/// What a row asks for.
enum Ask {
    Base(String),
    Second(String),
    Adapter(String),
    Details(String),
    TryOn(String),
    Words(String),
    Picture(String),
    Remove(String),
}

/// Draws the panel.
pub fn show(studio: &mut Studio, ui: &mut Ui) {
    let p = palette(ui);
    ui.horizontal(|ui| {
        heading(ui, "Shelf");
        ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
            if icon_button(ui, Icon::Plus, "Add models, adapters, pictures or recipes from files").clicked() {
                crate::io::pick::open(&studio.inbox);
            }
        });
    });
    ui.add(
        TextEdit::singleline(&mut studio.search)
            .hint_text("Search names, types, triggers")
            .desired_width(f32::INFINITY),
    )
    .accessible_name("Search the shelf");
    let shown = studio.shelf.matching(&studio.search);
    if !studio.search.trim().is_empty() {
        let all = studio.shelf.items.len();
        let base = studio.document.recipe.base.reference.clone();
        let unread = studio.shelf.read_on(&mut studio.desk, &base);
        let reading = unread.map_or(String::new(), |read| format!(", reading {read} of {all}"));
        let text = format!("{} of {all}{reading}", shown.len());
        ui.label(RichText::new(text).small().color(p.soft));
    }
    if shown.is_empty() {
        ui.label(RichText::new("Nothing of that name. Drop files anywhere to add them.").color(p.soft));
    }
    let mut ask = None;
    let base = studio.document.recipe.base.reference.clone();
    ScrollArea::vertical().id_salt("shelf rows").auto_shrink([false, true]).show_rows(
        ui,
        ROW_HEIGHT,
        shown.len(),
        |ui, range| {
            for at in range {
                let Some(at) = shown.get(at).copied() else { break };
                // Only what is in sight is read: a library of ten thousand files opens as quickly as one of ten.
                studio.shelf.ask(&mut studio.desk, at, &base);
                row(studio, ui, at, &mut ask);
            }
        },
    );
    ui.add_space(4.0);
    ui.label(RichText::new("Drop .safetensors, PNG or recipe files anywhere.").small().color(p.soft));
    let mut stop = None;
    for folder in &studio.prefs.watched {
        ui.horizontal(|ui| {
            let name = folder.display().to_string();
            ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
                if icon_button(ui, Icon::Cross, &format!("Stop watching {name}")).clicked() {
                    stop = Some(folder.clone());
                }
                let text = RichText::new(format!("Watching {name}")).small().color(p.soft);
                ui.with_layout(egui::Layout::left_to_right(egui::Align::Center), |ui| {
                    ui.add(egui::Label::new(text).truncate()).on_hover_text(&name);
                });
            });
        });
    }
    if let Some(folder) = stop {
        studio.stop_watching(&folder);
    }
    match ask {
        Some(Ask::Base(reference)) => studio.use_base(&reference),
        Some(Ask::Second(reference)) => {
            studio.document.mix_in(&reference);
            studio.prefs.mix_open = true;
        }
        Some(Ask::TryOn(reference)) => studio.try_on(&reference),
        Some(Ask::Words(words)) => studio.document.toggle_in_prompt(&words),
        Some(Ask::Picture(reference)) => studio.give_thumbnail(&reference),
        Some(Ask::Adapter(reference)) => studio.use_adapter(&reference),
        Some(Ask::Details(reference)) => studio.details = Some(reference),
        Some(Ask::Remove(reference)) => studio.shelf.remove(&reference),
        None => {}
    }
}

fn row(studio: &mut Studio, ui: &mut Ui, at: usize, ask: &mut Option<Ask>) {
    let p = palette(ui);
    let Some(item) = studio.shelf.items.get(at) else { return };
    let thumb = studio.thumbs.get(ui.ctx(), item);
    let reference = item.reference.clone();
    let in_use = studio.document.uses(&reference);
    let (_, rect) = ui.allocate_space(vec2(ui.available_width(), ROW_HEIGHT));
    let response = ui.interact(rect, ui.make_persistent_id(("row", &reference)), Sense::click());
    if response.hovered() || in_use {
        let fill = if in_use { p.fill.gamma_multiply(0.14) } else { p.soft.gamma_multiply(0.12) };
        ui.painter().rect_filled(rect, 7.0, fill);
    }
    focus_mark(ui, &response, 7.0);
    let square = egui::Rect::from_min_size(rect.min + vec2(6.0, 10.0), vec2(52.0, 52.0));
    match &thumb {
        Some(texture) => {
            egui::Image::new((texture.id(), square.size())).corner_radius(7.0).paint_at(ui, square);
        }
        None => {
            // A square in a colour of its own, so that rows are told apart at a glance.
            ui.painter().rect_filled(square, 7.0, colour_of(&item.name, ui.visuals().dark_mode));
            let letters: String = item.name.chars().take(2).collect();
            let font = FontId::proportional(16.0);
            let ink = if ui.visuals().dark_mode { Color32::WHITE } else { p.ink };
            ui.painter().text(square.center(), egui::Align2::CENTER_CENTER, letters, font, ink);
        }
    }

    let text = egui::Rect::from_min_max(rect.min + vec2(66.0, 4.0), rect.max - vec2(4.0, 3.0));
    let mut inner = ui.new_child(egui::UiBuilder::new().max_rect(text));
    inner.spacing_mut().item_spacing.y = 1.0;
    // A narrow row gives its first line to the name alone.
    let is_narrow = text.width() < NARROW;
    inner.horizontal(|ui| {
        ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
            ui.spacing_mut().item_spacing.x = 4.0;
            // The buttons first: the name has what they leave.
            if !is_narrow {
                buttons(ui, item, in_use, ask);
            }
            ui.with_layout(egui::Layout::left_to_right(egui::Align::Center), |ui| {
                ui.add(egui::Label::new(RichText::new(&item.name).strong()).truncate().selectable(false));
            });
        });
    });
    let sound = item.is_sound();
    let line = RichText::new(item.line()).small().color(if sound { p.soft } else { p.warn });
    inner.add(egui::Label::new(line).truncate().selectable(false));
    if is_narrow || !item.triggers().is_empty() {
        inner.horizontal(|ui| {
            ui.spacing_mut().item_spacing.x = 4.0;
            if is_narrow {
                buttons(ui, item, in_use, ask);
            }
            ui.spacing_mut().button_padding = vec2(6.0, 1.0);
            ui.set_clip_rect(ui.clip_rect().intersect(text));
            let prompt = studio.document.recipe.sample.prompt.as_deref().unwrap_or_default();
            for trigger in item.triggers().iter().take(CHIPS) {
                // All or nothing: a chip that is cut in its word says little. The card has all of them.
                let font = egui::TextStyle::Small.resolve(ui.style());
                let width = ui.painter().layout_no_wrap(trigger.clone(), font, p.ink).size().x;
                if width + 12.0 > ui.available_width() {
                    break;
                }
                if chip(ui, trigger, triggers::holds(prompt, trigger)).on_hover_text(TRIGGER).clicked() {
                    *ask = Some(Ask::Words(trigger.clone()));
                }
            }
        });
    }

    let response = response.on_hover_ui(|ui| {
        if let Some(texture) = &thumb {
            ui.image((texture.id(), vec2(128.0, 128.0)));
        }
        ui.label(RichText::new(&item.name).strong());
        ui.label(item.line());
        if !item.triggers().is_empty() {
            ui.label(format!("Triggers: {}", item.triggers().join(", ")));
        }
        ui.label(
            RichText::new(if item.is_whole() { "Click to use this model" } else { "Click for its card" }).color(p.soft),
        );
    });
    response
        .widget_info(|| egui::WidgetInfo::labeled(egui::Role::Button, true, format!("{}: {}", item.name, item.line())));
    if response.clicked() {
        *ask = Some(if item.is_whole() { Ask::Base(reference.clone()) } else { Ask::Details(reference.clone()) });
    }
    menu_of(&response, |ui| {
        if matches!(item.card, Some(Err(_))) {
            // Nothing to do with it but to look or to take it away.
        } else if item.is_adapter() {
            if ui.button("Add to the mix").clicked() {
                *ask = Some(Ask::Adapter(reference.clone()));
            }
            if ui.button("Try it on").clicked() {
                *ask = Some(Ask::TryOn(reference.clone()));
            }
        } else {
            if item.is_whole() && ui.button("Use this model").clicked() {
                *ask = Some(Ask::Base(reference.clone()));
            }
            if ui.button("Mix in").clicked() {
                *ask = Some(Ask::Second(reference.clone()));
            }
        }
        if !matches!(item.card, Some(Err(_))) && ui.button("Picture on show as its thumbnail").clicked() {
            *ask = Some(Ask::Picture(reference.clone()));
        }
        if ui.button("Card").clicked() {
            *ask = Some(Ask::Details(reference.clone()));
        }
        if !item.builtin && ui.button("Take off the shelf").clicked() {
            *ask = Some(Ask::Remove(reference.clone()));
        }
    });
}

/// What can be done with a file at one click; nothing with one that is of no use, whose card says why.
fn buttons(ui: &mut Ui, item: &Item, in_use: bool, ask: &mut Option<Ask>) {
    let reference = || item.reference.clone();
    if matches!(item.card, Some(Err(_))) {
        return;
    }
    if !item.is_adapter() {
        if !in_use && named(ui, "Mix in", &item.name, "Mix this model into the one in use") {
            *ask = Some(Ask::Second(reference()));
        }
        return;
    }
    if !in_use && named(ui, "Add", &item.name, "Put this adapter into the mix") {
        *ask = Some(Ask::Adapter(reference()));
    }
    let help = "The same picture without it and with it, side by side, before it goes into the mix";
    if named(ui, "Try", &item.name, help) {
        *ask = Some(Ask::TryOn(reference()));
    }
}

/// A small button that tells screen readers of which row it is.
fn named(ui: &mut Ui, text: &str, of: &str, help: &str) -> bool {
    let response = ui.small_button(text).on_hover_text(help);
    response.widget_info(|| egui::WidgetInfo::labeled(egui::Role::Button, true, format!("{text} {of}")));
    response.clicked()
}

/// A colour that depends on the name alone.
fn colour_of(name: &str, dark: bool) -> Color32 {
    let hash = name.bytes().fold(0xcbf2_9ce4_u32, |h, b| (h ^ u32::from(b)).wrapping_mul(0x0100_0193));
    let hue = (hash % 360) as f32 / 360.0;
    let (saturation, value) = if dark { (0.55, 0.42) } else { (0.30, 0.86) };
    egui::ecolor::Hsva::new(hue, saturation, value, 1.0).into()
}
