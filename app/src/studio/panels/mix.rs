//! The mix: two models with a slider between them, the method with its knobs, and adapters.

use admix_engine::mix::method::KnobKind;
use admix_engine::mix::{method, methods};
use egui::{ComboBox, RichText, ScrollArea, Slider, Ui};

use crate::io::catalogue::short;
use crate::studio::Studio;
use crate::studio::theme::palette;
use crate::studio::widgets::{Icon, block_curve, chip, heading, icon_button, knob_row, number_row};

/// Draws the panel.
pub fn show(studio: &mut Studio, ui: &mut Ui) {
    ui.horizontal(|ui| {
        heading(ui, "Mix");
        ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
            let mixed = studio.document.is_mixed();
            let button = ui.add_enabled(mixed, egui::Button::new("Export"));
            let button = button.on_hover_text("Write this mix as a checkpoint file, its recipe inside.");
            if button.on_disabled_hover_text("There is nothing mixed yet: add a model or an adapter.").clicked() {
                studio.export();
            }
        });
    });
    ScrollArea::vertical().id_salt("mix").auto_shrink([false, true]).show(ui, |ui| {
        models(studio, ui);
        ui.add_space(6.0);
        adapters(studio, ui);
    });
}

/// A choice among the shelf's models; the reference that was chosen.
fn model_choice(
    ui: &mut Ui,
    id: &str,
    now: &str,
    others: &[(String, String)],
    none: Option<&str>,
) -> Option<Option<String>> {
    let mut chosen = None;
    let text = if now.is_empty() { none.unwrap_or_default().to_string() } else { short(now) };
    let width = ui.available_width();
    let response = ComboBox::from_id_salt(id).selected_text(text).width(width).truncate().show_ui(ui, |ui| {
        if let Some(none) = none
            && ui.selectable_label(now.is_empty(), none).clicked()
        {
            chosen = Some(None);
        }
        for (reference, name) in others {
            if ui.selectable_label(reference == now, name).clicked() {
                chosen = Some(Some(reference.clone()));
            }
        }
    });
    response.response.accessible_name(id);
    chosen
}

fn models(studio: &mut Studio, ui: &mut Ui) {
    let p = palette(ui);
    let all = studio.shelf.models();
    let base = studio.document.recipe.base.reference.clone();
    let second = studio.document.second().map(|(r, w)| (r.to_string(), w));
    ui.horizontal(|ui| {
        ui.label(RichText::new("A").strong());
        if let Some(Some(reference)) = model_choice(ui, "Model A", &base, &all, None) {
            studio.use_base(&reference);
        }
    });
    ui.horizontal(|ui| {
        ui.label(RichText::new("B").strong());
        let now = second.as_ref().map_or("", |(r, _)| r);
        if let Some(choice) = model_choice(ui, "Model B", now, &all, Some("none: mix nothing in")) {
            studio.document.set_second(choice.as_deref());
        }
    });
    let Some((second, weight)) = second else { return };
    // Names and percentages at both ends, so that nobody has to guess the direction.
    let between = studio.document.is_between();
    let mut weight = weight;
    ui.horizontal(|ui| {
        let share = |w: f64| if between { format!(" {:.0}%", w * 100.0) } else { String::new() };
        ui.label(RichText::new(format!("{}{}", short(&base), share(1.0 - weight))).strong());
        ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
            let text = if between { share(weight) } else { format!(" x {weight:.2}") };
            ui.label(RichText::new(format!("{}{text}", short(&second))).strong().color(p.fill));
            if between && icon_button(ui, Icon::Swap, "A and B change places").clicked() {
                studio.document.set_second(Some(&base));
                studio.document.set_base(&second);
                weight = 1.0 - weight;
            }
        });
    });
    ui.spacing_mut().slider_width = ui.available_width();
    let range = if between { 0.0..=1.0 } else { 0.0..=2.0 };
    let slider = ui.add(Slider::new(&mut weight, range).show_value(false)).accessible_name("Share of B");
    slider.on_hover_text(if between {
        "Left is all A, right is all B"
    } else {
        "How much of B's change is added to A"
    });
    let method_text = studio.document.recipe.merge.first().map(|s| s.method.clone()).unwrap_or_default();
    if let Some(stage) = studio.document.recipe.merge.first_mut() {
        if let Some(model) = stage.models.first_mut()
            && model.weight != weight
        {
            model.weight = (weight * 1000.0).round() / 1000.0;
        }
        let known = method(&stage.method);
        let label = known.as_ref().map_or(method_text.as_str(), |m| m.label());
        ui.horizontal(|ui| {
            ui.label("Method");
            let width = ui.available_width();
            let combo = ComboBox::from_id_salt("method").selected_text(label).width(width).truncate().height(420.0);
            let response = combo.show_ui(ui, |ui| {
                for m in methods() {
                    let choice = ui.selectable_label(m.name() == stage.method, m.label()).on_hover_text(m.citation());
                    if choice.clicked() && m.models().contains(&stage.models.len()) && m.name() != stage.method {
                        stage.method = m.name().into();
                        // Knobs belong to a method; those of another would be an error.
                        stage.params.clear();
                        stage.models.iter_mut().for_each(|model| model.params.clear());
                    }
                }
            });
            let response = response.response.accessible_name("Merge method");
            if let Ok(m) = known {
                response.on_hover_text(m.citation());
            }
        });
        if let Ok(m) = method(&stage.method) {
            for k in m.knobs() {
                let kind = (k.kind == KnobKind::Whole, k.kind == KnobKind::Switch);
                knob_row(ui, (k.name, k.label, k.help), (k.min, k.max, k.default), &[], kind, &mut stage.params);
            }
            for (i, model) in stage.models.iter_mut().enumerate() {
                ui.push_id(i, |ui| {
                    for k in m.model_knobs() {
                        let kind = (k.kind == KnobKind::Whole, k.kind == KnobKind::Switch);
                        knob_row(
                            ui,
                            (k.name, k.label, k.help),
                            (k.min, k.max, k.default),
                            &[],
                            kind,
                            &mut model.params,
                        );
                    }
                });
            }
        }
        ui.collapsing("Share by block", |ui| {
            block_curve(ui, "Share of B by block", &mut stage.blocks)
                .on_hover_text("Draw how much of B each part of the network gets: text encoder, down, middle, up. Double-click: all alike.");
        });
    }
}

fn adapters(studio: &mut Studio, ui: &mut Ui) {
    let p = palette(ui);
    ui.label(RichText::new("Adapters").strong());
    if studio.document.recipe.adapters.is_empty() {
        ui.label(RichText::new("None yet. Add one from the shelf, or drop a file.").color(p.soft));
    }
    studio.document.on.resize(studio.document.recipe.adapters.len(), true);
    let count = studio.document.recipe.adapters.len();
    let (mut moved, mut removed, mut words) = (None, None, None);
    for at in 0..count {
        let reference = studio.document.recipe.adapters[at].source.reference.clone();
        let (fit, sound, triggers, limit) = match studio.shelf.find(&reference) {
            Some(item) => (item.line(), item.is_sound(), item.triggers().to_vec(), 2.0_f64),
            None => ("not on the shelf".into(), false, Vec::new(), 2.0_f64),
        };
        ui.push_id(("adapter", &reference), |ui| {
            egui::Frame::group(ui.style()).inner_margin(8.0).corner_radius(8.0).show(ui, |ui| {
                ui.set_width(ui.available_width());
                ui.horizontal(|ui| {
                    let name = short(&reference);
                    let on = &mut studio.document.on[at];
                    ui.checkbox(on, RichText::new(&name).strong()).on_hover_text("On or off, keeping its settings");
                    ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
                        ui.spacing_mut().item_spacing.x = 2.0;
                        if icon_button(ui, Icon::Cross, &format!("Take {name} out of the mix")).clicked() {
                            removed = Some(at);
                        }
                        if at + 1 < count && icon_button(ui, Icon::Down, &format!("Move {name} down")).clicked() {
                            moved = Some((at, true));
                        }
                        if at > 0 && icon_button(ui, Icon::Up, &format!("Move {name} up")).clicked() {
                            moved = Some((at, false));
                        }
                    });
                });
                if !sound {
                    ui.label(RichText::new(&fit).small().color(p.warn));
                }
                let on = studio.document.on[at];
                let adapter = &mut studio.document.recipe.adapters[at];
                ui.add_enabled_ui(on, |ui| {
                    let help = "How strongly it acts; 1 is as its author meant it, negative turns it around.";
                    // A weight set by typing or by a recipe widens the range: concept sliders go far.
                    let reach = limit.max(adapter.weight.abs().ceil());
                    let low = if adapter.weight < 0.0 { -reach } else { -1.0 };
                    number_row(ui, "Weight", help, &mut adapter.weight, low..=reach, false);
                });
                if !triggers.is_empty() {
                    ui.horizontal_wrapped(|ui| {
                        for trigger in triggers.iter().take(6) {
                            let prompt = studio.document.recipe.sample.prompt.as_deref().unwrap_or_default();
                            let there = prompt.contains(trigger.as_str());
                            if chip(ui, trigger, there).on_hover_text("A word that calls it up; click to add it to the prompt").clicked() {
                                words = Some(trigger.clone());
                            }
                        }
                    });
                }
                let adapter = &mut studio.document.recipe.adapters[at];
                ui.collapsing("Text, steps, blocks", |ui| {
                    let mut own = adapter.text_weight.is_some();
                    let help = "Let it act on the text encoder with a weight of its own.";
                    ui.checkbox(&mut own, "Own text weight").on_hover_text(help);
                    adapter.text_weight = own.then(|| adapter.text_weight.unwrap_or(adapter.weight));
                    if let Some(text) = &mut adapter.text_weight {
                        number_row(ui, "Text weight", help, text, -2.0..=2.0, false);
                    }
                    let help = "The part of sampling it acts in: 0 is the first step, 1 the last. Early steps decide shapes, late ones details.";
                    number_row(ui, "Start", help, &mut adapter.start, 0.0..=1.0, false);
                    number_row(ui, "Stop", help, &mut adapter.stop, 0.0..=1.0, false);
                    adapter.start = adapter.start.min(adapter.stop);
                    block_curve(ui, "Weight by block", &mut adapter.blocks)
                        .on_hover_text("Draw how strongly it acts in each part of the network. Double-click: all alike.");
                });
            });
        });
    }
    if let Some((at, down)) = moved {
        studio.document.move_adapter(at, down);
    }
    if let Some(at) = removed {
        studio.drop_adapter(at);
    }
    if let Some(words) = words {
        studio.document.add_to_prompt(&words);
    }
}
