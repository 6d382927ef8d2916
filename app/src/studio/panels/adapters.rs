//! The adapters of the mix: a card each, with weight, reach and triggers.

use admix_engine::select::triggers;
use egui::{CollapsingHeader, RichText, Ui};

use super::shelf::TRIGGER;
use crate::io::catalogue::short;
use crate::studio::Studio;
use crate::studio::knob::ADAPTER_WEIGHT;
use crate::studio::study::Setting;
use crate::studio::theme::palette;
use crate::studio::widgets::{Icon, Reach, block_curve, chip, icon_button, number_row};

/// How far a weight goes.
fn weights() -> Reach {
    Reach::new(-2.0..=2.0, ADAPTER_WEIGHT)
}

/// Draws the adapters of the mix.
pub fn adapters(studio: &mut Studio, ui: &mut Ui) {
    let p = palette(ui);
    ui.label(RichText::new("Adapters").strong());
    if studio.document.recipe.adapters.is_empty() {
        ui.label(RichText::new("None yet. Add one from the shelf, or drop a file.").color(p.soft));
    }
    studio.document.on.resize(studio.document.recipe.adapters.len(), true);
    let count = studio.document.recipe.adapters.len();
    let (mut moved, mut removed, mut words, mut strip) = (None, None, None, None);
    for at in 0..count {
        let reference = studio.document.recipe.adapters[at].source.reference.clone();
        let (fit, sound, triggers) = match studio.shelf.find(&reference) {
            Some(item) => (item.line(), item.is_sound(), item.triggers().to_vec()),
            None => ("not on the shelf".into(), false, Vec::new()),
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
                    if number_row(ui, "Weight", help, &mut adapter.weight, weights(), false).wants_strip {
                        strip = Some(Setting::Adapter(at));
                    }
                });
                if !triggers.is_empty() {
                    ui.horizontal_wrapped(|ui| {
                        for trigger in triggers.iter().take(6) {
                            let prompt = studio.document.recipe.sample.prompt.as_deref().unwrap_or_default();
                            if chip(ui, trigger, triggers::holds(prompt, trigger)).on_hover_text(TRIGGER).clicked() {
                                words = Some(trigger.clone());
                            }
                        }
                    });
                }
                let adapter = &mut studio.document.recipe.adapters[at];
                // Not indented: the sliders need the room.
                CollapsingHeader::new("Text, steps, blocks").show_unindented(ui, |ui| {
                    let mut own = adapter.text_weight.is_some();
                    let help = "Let it act on the text encoder with a weight of its own.";
                    ui.checkbox(&mut own, "Own text weight").on_hover_text(help);
                    adapter.text_weight = own.then(|| adapter.text_weight.unwrap_or(adapter.weight));
                    if let Some(text) = &mut adapter.text_weight
                        && number_row(ui, "Text weight", help, text, weights(), false).wants_strip
                    {
                        strip = Some(Setting::AdapterText(at));
                    }
                    let help = "Where in sampling it begins to act: 0 is the first step, 1 the last. Begun late, it leaves the shapes and changes details.";
                    if number_row(ui, "Start", help, &mut adapter.start, 0.0..=1.0, false).wants_strip {
                        strip = Some(Setting::AdapterStart(at));
                    }
                    let help = "Where in sampling it ceases to act: 0 is the first step, 1 the last. Stopped early, it decides shapes and leaves details.";
                    if number_row(ui, "Stop", help, &mut adapter.stop, 0.0..=1.0, false).wants_strip {
                        strip = Some(Setting::AdapterStop(at));
                    }
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
        studio.document.toggle_in_prompt(&words);
    }
    if let Some(setting) = strip {
        studio.start_strip(setting);
    }
}
