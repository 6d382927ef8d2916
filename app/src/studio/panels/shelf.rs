//! The shelf: everything there is to mix, a row each, never hidden for not fitting.

use egui::{Color32, FontId, RichText, ScrollArea, Sense, TextEdit, Ui, vec2};

use crate::studio::Studio;
use crate::studio::theme::palette;
use crate::studio::widgets::{Icon, chip, heading, icon_button};

/// Name, type and fit, triggers.
const ROW_HEIGHT: f32 = 66.0;
/// Triggers that have room in a row; all are on the card.
const CHIPS: usize = 3;

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
    if shown.len() < studio.shelf.items.len() {
        let text = format!("{} of {}", shown.len(), studio.shelf.items.len());
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
                ui.add(egui::Label::new(RichText::new(format!("Watching {name}")).small().color(p.soft)).truncate());
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
        Some(Ask::Words(words)) => studio.document.add_to_prompt(&words),
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
    let square = egui::Rect::from_min_size(rect.min + vec2(6.0, 7.0), vec2(52.0, 52.0));
    match &thumb {
        Some(texture) => {
            egui::Image::new((texture.id(), square.size())).corner_radius(7.0).paint_at(ui, square);
        }
        None => {
            // A square in a colour of its own, so that rows are told apart at a glance.
            ui.painter().rect_filled(square, 7.0, colour_of(&item.name, ui.visuals().dark_mode));
            let letters: String = item.name.chars().take(2).collect();
            let font = FontId::proportional(16.0);
            ui.painter().text(square.center(), egui::Align2::CENTER_CENTER, letters, font, Color32::WHITE);
        }
    }

    let text = egui::Rect::from_min_max(rect.min + vec2(66.0, 4.0), rect.max - vec2(4.0, 3.0));
    let mut inner = ui.new_child(egui::UiBuilder::new().max_rect(text));
    inner.spacing_mut().item_spacing.y = 1.0;
    inner.horizontal(|ui| {
        let name = RichText::new(&item.name).strong();
        let room = ui.available_width() - if item.is_adapter() { 88.0 } else { 64.0 };
        ui.allocate_ui(vec2(room, 20.0), |ui| {
            ui.set_max_width(room);
            ui.add(egui::Label::new(name).truncate().selectable(false));
        });
        ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
            if item.is_adapter() {
                if !in_use && named(ui, "Add", &item.name, "Put this adapter into the mix") {
                    *ask = Some(Ask::Adapter(reference.clone()));
                }
                if named(
                    ui,
                    "Try",
                    &item.name,
                    "The same picture without it and with it, side by side, before it goes into the mix",
                ) {
                    *ask = Some(Ask::TryOn(reference.clone()));
                }
            } else if !in_use && named(ui, "Mix in", &item.name, "Mix this model into the one in use") {
                *ask = Some(Ask::Second(reference.clone()));
            }
        });
    });
    let sound = item.is_sound();
    let line = RichText::new(item.line()).small().color(if sound { p.soft } else { p.warn });
    inner.add(egui::Label::new(line).truncate().selectable(false));
    if !item.triggers().is_empty() {
        inner.horizontal(|ui| {
            ui.spacing_mut().item_spacing.x = 4.0;
            ui.spacing_mut().button_padding = vec2(6.0, 1.0);
            ui.set_clip_rect(ui.clip_rect().intersect(text));
            let prompt = studio.document.recipe.sample.prompt.as_deref().unwrap_or_default();
            for trigger in item.triggers().iter().take(CHIPS) {
                let is_there = prompt.contains(trigger.as_str());
                if chip(ui, trigger, is_there)
                    .on_hover_text("A word that calls it up; click to add it to the prompt")
                    .clicked()
                {
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
    response.context_menu(|ui| {
        if item.is_adapter() {
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
        if ui.button("Picture on show as its thumbnail").clicked() {
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
    egui::ecolor::Hsva::new(hue, 0.55, if dark { 0.55 } else { 0.62 }, 1.0).into()
}
