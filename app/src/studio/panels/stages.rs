//! The models of the mix: the one at the bottom, and merge after merge on top of it. Methods and knobs come from the registry.

use admix_engine::mix::{method, methods};
use egui::{ComboBox, DragValue, Label, RichText, ScrollArea, Slider, SliderClamping, Ui, vec2};

use crate::io::catalogue::short;
use crate::studio::Studio;
use crate::studio::knob::MODEL_WEIGHT;
use crate::studio::study::Setting;
use crate::studio::theme::palette;
use crate::studio::widgets::{Icon, Reach, block_curve, icon_button, is_strip_drag, knob_row, number_row, strip_asked};

/// What a stage asks for.
enum Ask {
    Strip(Setting),
    Method(usize, &'static str),
    Swap,
    DropModel(usize, usize),
    AddModel(usize, String),
}

/// Letters that models go by: A is the one at the bottom.
fn letter(at: usize) -> String {
    char::from_u32('A' as u32 + at as u32).filter(char::is_ascii_uppercase).map_or(format!("{}", at + 1), String::from)
}

/// A choice among models; the reference that was chosen, or none for `none`. Lists of thousands are drawn as far as they are in sight.
fn model_choice(
    ui: &mut Ui,
    name: &str,
    now: &str,
    choices: &[(String, String)],
    none: Option<&str>,
) -> Option<Option<String>> {
    let mut chosen = None;
    let text = if now.is_empty() { none.unwrap_or_default().to_string() } else { short(now) };
    let width = ui.available_width();
    let combo = ComboBox::from_id_salt(name).selected_text(text).width(width).truncate().height(420.0);
    let response = combo.show_ui(ui, |ui| {
        if let Some(none) = none
            && ui.selectable_label(now.is_empty(), none).clicked()
        {
            chosen = Some(None);
        }
        let height = ui.spacing().interact_size.y;
        ScrollArea::vertical().max_height(360.0).show_rows(ui, height, choices.len(), |ui, rows| {
            for (reference, name) in &choices[rows] {
                if ui.selectable_label(reference == now, name).clicked() {
                    chosen = Some(Some(reference.clone()));
                }
            }
        });
    });
    response.response.accessible_name(name);
    chosen
}

/// Draws model A and every stage.
pub fn stages(studio: &mut Studio, ui: &mut Ui) {
    let (bases, models) = (studio.shelf.bases(), studio.shelf.models());
    let base = studio.document.recipe.base.reference.clone();
    ui.horizontal(|ui| {
        ui.label(RichText::new("A").strong()).on_hover_text("What everything starts from: a whole model");
        if let Some(Some(reference)) = model_choice(ui, "Model A", &base, &bases, None) {
            studio.use_base(&reference);
        }
    });
    let mut ask = None;
    let count = studio.document.recipe.merge.len();
    if count == 0 {
        ui.horizontal(|ui| {
            ui.label(RichText::new("B").strong());
            if let Some(Some(reference)) = model_choice(ui, "Model B", "", &models, Some("none: mix nothing in")) {
                studio.document.set_second(Some(&reference));
            }
        });
    }
    let mut next_letter = 1;
    for at in 0..count {
        ui.push_id(("stage", at), |ui| {
            if at > 0 {
                ui.separator();
            }
            if count > 1 {
                let on_top = if at == 0 { "" } else { ", on top" };
                ui.label(RichText::new(format!("Merge {}{on_top}", at + 1)).strong());
            }
            next_letter = stage(studio, ui, at, next_letter, &models, &mut ask);
        });
    }
    if count > 0 {
        let add = ui
            .button("Another merge on top")
            .on_hover_text("Mix a further model into the result so far, with a method of its own");
        if add.clicked()
            && let Some((reference, _)) = spare(studio, &models).or_else(|| models.iter().find(|(r, _)| *r != base))
        {
            studio.document.add_stage(reference);
        }
    }
    match ask {
        Some(Ask::Strip(setting)) => studio.start_strip(setting),
        Some(Ask::Method(at, name)) => studio.document.set_method(at, name, &models),
        Some(Ask::Swap) => studio.document.swap(),
        Some(Ask::DropModel(at, model)) => studio.document.remove_model(at, model),
        Some(Ask::AddModel(at, reference)) => studio.document.add_model(at, &reference),
        None => {}
    }
}

/// A model to add: one that is not in the mix yet.
fn spare<'a>(studio: &Studio, models: &'a [(String, String)]) -> Option<&'a (String, String)> {
    models.iter().find(|(reference, _)| !studio.document.uses(reference))
}

/// Draws one stage; the letter the next stage's models begin with.
fn stage(
    studio: &mut Studio,
    ui: &mut Ui,
    at: usize,
    first_letter: usize,
    models: &[(String, String)],
    ask: &mut Option<Ask>,
) -> usize {
    let p = palette(ui);
    let is_between = studio.document.is_between_at(at);
    let below = studio.document.names_below(at);
    let percents = studio.document.percents_at(at);
    let spare = spare(studio, models);
    // Only a whole model can stand at the bottom.
    let can_swap = at == 0
        && is_between
        && studio.document.second().and_then(|(r, _)| studio.shelf.find(r)).is_some_and(|i| i.is_whole());
    let Some(stage) = studio.document.recipe.merge.get_mut(at) else { return first_letter };
    let known = method(&stage.method).ok();
    let has_weights = known.is_none_or(|m| m.weighted());
    let count = stage.models.len();
    for (i, model) in stage.models.iter_mut().enumerate() {
        let name = letter(first_letter + i);
        ui.horizontal(|ui| {
            ui.label(RichText::new(&name).strong());
            ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
                let title = short(&model.source.reference);
                if icon_button(ui, Icon::Cross, &format!("Take {title} out of the mix")).clicked() {
                    *ask = Some(Ask::DropModel(at, i));
                }
                if can_swap && icon_button(ui, Icon::Swap, "A and B change places").clicked() {
                    *ask = Some(Ask::Swap);
                }
                let now = model.source.reference.clone();
                if let Some(Some(reference)) = model_choice(ui, &format!("Model {name}"), &now, models, None) {
                    model.source = admix_engine::mix::recipe::Reference::new(reference);
                }
            });
        });
        let title = short(&model.source.reference);
        if is_between {
            share(ui, &below, &title, &name, &mut model.weight, ask, at, i);
        } else if has_weights {
            let help = "How much of this model goes in. What 1 means is the method's: its help says so.";
            let reach = Reach::new(0.0..=if percents.is_some() { 1.0 } else { 2.0 }, MODEL_WEIGHT);
            if number_row(ui, &format!("Weight {name}"), help, &mut model.weight, reach, false).wants_strip {
                *ask = Some(Ask::Strip(Setting::Share(at, i)));
            }
        }
        if let Some(m) = known {
            ui.push_id(i, |ui| {
                for knob in m.model_knobs() {
                    if knob_row(ui, knob, &mut model.params).wants_strip {
                        *ask = Some(Ask::Strip(Setting::OfModel(at, i, knob.name.into())));
                    }
                }
            });
        }
    }
    if let (false, Some(percents)) = (is_between, &percents) {
        let names = std::iter::once(below.clone()).chain(stage.models.iter().map(|m| short(&m.source.reference)));
        let shares: Vec<String> = names.zip(percents).map(|(name, percent)| format!("{name} {percent}%")).collect();
        ui.label(RichText::new(shares.join(", ")).strong());
    }
    if !has_weights {
        ui.label(RichText::new("This method takes all models alike; it has no weights.").small().color(p.soft));
    }
    if known.is_none_or(|m| m.models().contains(&(count + 1)))
        && let Some((reference, _)) = spare
        && ui.button("Add another model").on_hover_text("Beside those of this merge").clicked()
    {
        *ask = Some(Ask::AddModel(at, reference.clone()));
    }
    ui.horizontal(|ui| {
        ui.label("Method");
        let label = known.map_or(stage.method.as_str(), |m| m.label());
        let width = ui.available_width();
        let combo = ComboBox::from_id_salt("method").selected_text(label).width(width).truncate().height(420.0);
        let response = combo.show_ui(ui, |ui| {
            for m in methods() {
                let low = *m.models().start();
                let note = if m.models().contains(&count) {
                    String::new()
                } else if low > count {
                    format!("Needs {low} models: one more is added.\n")
                } else {
                    format!("Takes {} model: the others leave.\n", m.models().end())
                };
                let choice = ui.selectable_label(m.name() == stage.method, m.label());
                let choice = choice.on_hover_text(format!("{note}{}", m.citation()));
                if choice.clicked() && m.name() != stage.method {
                    *ask = Some(Ask::Method(at, m.name()));
                }
            }
        });
        if strip_asked(ui, &response.response) {
            *ask = Some(Ask::Strip(Setting::Method(at)));
        }
        let response = response.response.accessible_name("Merge method");
        if let Some(m) = known {
            response.on_hover_text(m.citation());
        }
    });
    if let Some(m) = known {
        for knob in m.knobs() {
            if knob_row(ui, knob, &mut stage.params).wants_strip {
                *ask = Some(Ask::Strip(Setting::Merging(at, knob.name.into())));
            }
        }
    }
    ui.collapsing("Share by block", |ui| {
        block_curve(ui, "Share by block", &mut stage.blocks).on_hover_text(
            "Draw how much each part of the network gets: text encoder, down, middle, up. Double-click: all alike.",
        );
    });
    first_letter + count
}

/// A slider between two names, with percentages at both ends, so that nobody has to guess the direction.
fn share(
    ui: &mut Ui,
    below: &str,
    title: &str,
    name: &str,
    weight: &mut f64,
    ask: &mut Option<Ask>,
    at: usize,
    model: usize,
) {
    let p = palette(ui);
    // What is typed may lie beyond the ends: extrapolation.
    let mut percent = *weight * 100.0;
    ui.horizontal(|ui| {
        let half = vec2(ui.available_width() * 0.45, ui.spacing().interact_size.y);
        ui.allocate_ui_with_layout(half, egui::Layout::left_to_right(egui::Align::Center), |ui| {
            ui.set_width(half.x);
            let left = RichText::new(format!("{below} {:.0}%", 100.0 - percent)).strong();
            ui.add(Label::new(left).truncate());
        });
        ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
            let ends = MODEL_WEIGHT.start() * 100.0..=MODEL_WEIGHT.end() * 100.0;
            let number = DragValue::new(&mut percent).suffix("%").speed(1.0).max_decimals(1).range(ends);
            let number = ui.add(number.clamp_existing_to_range(false)).accessible_name(format!("Percent of {name}"));
            number.on_hover_text("Drag or type; below 0 or above 100 goes on beyond the two models.");
            ui.add(Label::new(RichText::new(title).strong().color(p.fill)).truncate());
        });
    });
    if percent != *weight * 100.0 {
        *weight = (percent * 10.0).round() / 1000.0;
    }
    ui.scope(|ui| {
        ui.spacing_mut().slider_width = ui.available_width();
        let before = *weight;
        let mut now = before;
        let slider = Slider::new(&mut now, 0.0..=1.0).show_value(false).clamping(SliderClamping::Never);
        let response = ui.add(slider).accessible_name(format!("Share of {name}"));
        let wants_strip = strip_asked(ui, &response);
        if wants_strip {
            *ask = Some(Ask::Strip(Setting::Share(at, model)));
        }
        let is_strip = is_strip_drag(ui, &response);
        if now != before && !is_strip {
            *weight = (now * 1000.0).round() / 1000.0;
        }
        response.on_hover_text(format!(
            "Left is all {below}, right is all {title}.\nShift-drag: a strip of pictures along it."
        ));
    });
}
