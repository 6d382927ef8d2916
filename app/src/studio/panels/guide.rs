//! How sampling is guided: negative prompt, sampler, schedule and their knobs, all from the registries.

use admix_engine::mix::recipe::{Knobs, limits};
use admix_engine::sample::registry;
use admix_engine::settings::DEFAULT_SAMPLER;
use egui::{ComboBox, RichText, ScrollArea, TextEdit, Ui};

use crate::studio::Studio;
use crate::studio::knob::Knob;
use crate::studio::study::{Setting, sampling_knobs_by_title};
use crate::studio::theme::palette;
use crate::studio::widgets::{Reach, count_row, heading, help_label, knob_row, number_row, strip_asked};

/// Picture sizes that work well: multiples of the network's coarsest cell.
const SIDE_STEP: f64 = 64.0;

/// Draws the panel.
pub fn show(studio: &mut Studio, ui: &mut Ui) {
    heading(ui, "Guide");
    ScrollArea::vertical().id_salt("guide").auto_shrink([false, true]).show(ui, |ui| {
        negative(studio, ui);
        let mut strip = None;
        let own_skip = studio.model_card().map_or(1, |m| m.clip_skip);
        let s = &mut studio.document.recipe.sample;

        let mut steps = s.steps.map_or(limits::STEPS.default, f64::from);
        let turned = number_row(ui, "Steps", "More steps, finer pictures, more time. 15 to 30 is plenty for most samplers.", &mut steps, Reach::of(&limits::STEPS, 1.0..=60.0), true);
        strip = turned.wants_strip.then_some(Setting::Steps).or(strip);
        s.steps = Some(within(&limits::STEPS, steps));

        let mut cfg = s.cfg.unwrap_or(limits::CFG.default);
        let help = "How closely the picture follows the prompt. 3 to 9 is usual; 1 ignores the negative prompt and takes half the time; too high burns colours. (Ho & Salimans 2022)";
        let turned = number_row(ui, "CFG", help, &mut cfg, Reach::of(&limits::CFG, 1.0..=15.0), false);
        strip = turned.wants_strip.then_some(Setting::Cfg).or(strip);
        s.cfg = Some(cfg);

        let mut rescale = s.cfg_rescale.unwrap_or(0.0);
        let help = "Pulls burnt colours of high CFG back; 0 is off, 0.7 is what its paper uses. (Lin et al. 2023)";
        let turned = number_row(ui, "Rescale", help, &mut rescale, 0.0..=1.0, false);
        strip = turned.wants_strip.then_some(Setting::Rescale).or(strip);
        if turned.is_changed || s.cfg_rescale.is_some() {
            s.cfg_rescale = (rescale > 0.0).then_some(rescale);
        }

        let mut sampler = s.sampler.clone().unwrap_or_else(|| DEFAULT_SAMPLER.into());
        if choice(ui, "Sampler", "How each step is computed.", registry::samplers(), &mut sampler) {
            strip = Some(Setting::Sampler);
        }
        let mut schedule = s.schedule.clone().unwrap_or_else(|| "auto".into());
        let help = "Where between noise and picture the steps lie.";
        if choice(ui, "Schedule", help, registry::schedules(), &mut schedule) {
            strip = Some(Setting::Schedule);
        }
        let is_other = s.sampler.as_deref() != Some(&sampler) || s.schedule.as_deref() != Some(&schedule);
        (s.sampler, s.schedule) = (Some(sampler), Some(schedule));
        if is_other {
            // A knob of another sampler would be an error.
            studio.document.keep_fitting_knobs();
        }
        let (own, shared) = sampling_knobs_by_title(&studio.document);
        strip = rows(ui, &own, &mut studio.document.recipe.sample.set).or(strip);
        strip = extent(studio, ui, own_skip).or(strip);
        memory(studio, ui);
        ui.add_space(4.0);
        // Everything else is off until somebody looks for it.
        let set = &mut studio.document.recipe.sample.set;
        for (title, citation, knobs) in &shared {
            let mut asked = None;
            ui.collapsing(*title, |ui| asked = rows(ui, knobs, set)).header_response.on_hover_text(*citation);
            strip = asked.or(strip);
        }
        if ui.button("Back to the defaults").on_hover_text("Sampler, steps, CFG and size as on a first start; undo brings these back").clicked() {
            let fresh = crate::studio::document::Document::default().recipe.sample;
            let now = &mut studio.document.recipe.sample;
            let kept = (now.prompt.take(), now.negative.take(), now.seed);
            *now = fresh;
            (now.prompt, now.negative, now.seed) = kept;
            if let Some([width, height]) = studio.native_size() {
                studio.document.recipe.sample.width = Some(width);
                studio.document.recipe.sample.height = Some(height);
            }
        }
        if let Some(setting) = strip {
            studio.start_strip(setting);
        }
    });
}

/// Size, batch and the layer of the text encoder; a setting if a strip along it is asked for.
fn extent(studio: &mut Studio, ui: &mut Ui, own_skip: u32) -> Option<Setting> {
    let s = &mut studio.document.recipe.sample;
    for (label, side) in [("Width", &mut s.width), ("Height", &mut s.height)] {
        let mut value = f64::from(side.unwrap_or(128));
        let help = "Pixels, in steps of 64. A model is at its best at the size it was trained at.";
        if count_row(ui, label, help, &mut value, Reach::of(&limits::WIDTH, SIDE_STEP..=2048.0)) {
            *side = Some(((value / SIDE_STEP).round().max(1.0) * SIDE_STEP) as u32);
        }
    }
    let mut batch = f64::from(s.batch.unwrap_or(1));
    count_row(
        ui,
        "Batch",
        "Pictures at once, each from noise of its own.",
        &mut batch,
        Reach::of(&limits::BATCH, 1.0..=8.0),
    );
    s.batch = Some(within(&limits::BATCH, batch));
    // What nobody chose is the model's own.
    let mut skip = f64::from(s.clip_skip.unwrap_or(own_skip));
    let help = "Which layer of the text encoder is read, from the end. 1 for most models, 2 for many anime models.";
    let turned = number_row(ui, "Clip skip", help, &mut skip, Reach::of(&limits::CLIP_SKIP, 1.0..=4.0), true);
    if turned.is_changed {
        s.clip_skip = Some(within(&limits::CLIP_SKIP, skip));
    }
    turned.wants_strip.then_some(Setting::ClipSkip)
}

/// Knobs of the registry; one of them if a strip along it is asked for.
fn rows(ui: &mut Ui, knobs: &[Knob], set: &mut Knobs) -> Option<Setting> {
    let mut strip = None;
    for knob in knobs {
        if knob_row(ui, knob, set).wants_strip {
            strip = Some(Setting::Sampling(knob.name.into()));
        }
    }
    strip
}

/// A whole number that the table of limits allows.
fn within(knob: &admix_engine::mix::Knob, value: f64) -> u32 {
    value.round().clamp(knob.min, knob.max) as u32
}

fn negative(studio: &mut Studio, ui: &mut Ui) {
    let mut text = studio.document.recipe.sample.negative.clone().unwrap_or_default();
    ui.horizontal(|ui| {
        ui.label("Negative prompt").on_hover_text("What the picture should not show. Without effect at CFG 1.");
        if !text.is_empty() {
            super::prompt::count(
                studio,
                ui,
                1,
                "Tokens of the negative prompt, and how many its windows have room for.",
            );
        }
    });
    let id = ui.make_persistent_id("the negative prompt");
    super::prompt::weigh_word(ui, id, &mut text);
    let kept = studio.counting.kept(1, &text);
    let size = egui::TextStyle::Body.resolve(ui.style()).size;
    let mut layouter =
        |ui: &Ui, text: &dyn egui::TextBuffer, width: f32| super::suggest::layout(ui, text, width, size, &[], kept);
    let edit = TextEdit::multiline(&mut text).id(id).desired_rows(1).desired_width(f32::INFINITY).hint_text("nothing");
    let edit = edit.layouter(&mut layouter);
    ui.add(edit).accessible_name("Negative prompt");
    studio.document.recipe.sample.negative = Some(text);
}

/// A choice from a registry, the citation as help; true when a strip along it is asked for.
fn choice(
    ui: &mut Ui,
    label: &str,
    help: &str,
    infos: impl Iterator<Item = admix_engine::sample::Info>,
    value: &mut String,
) -> bool {
    let infos: Vec<_> = infos.collect();
    ui.horizontal(|ui| {
        help_label(ui, label, help);
        let now = infos.iter().find(|i| i.name == value.as_str());
        let text = now.map_or(value.as_str(), |i| i.label).to_string();
        let citation = now.map_or("", |i| i.citation);
        let width = ui.available_width();
        let response =
            ComboBox::from_id_salt(label).selected_text(text).width(width).truncate().height(420.0).show_ui(ui, |ui| {
                for info in &infos {
                    if ui
                        .selectable_label(info.name == value.as_str(), info.label)
                        .on_hover_text(info.citation)
                        .clicked()
                    {
                        *value = info.name.into();
                    }
                }
            });
        let is_asked = strip_asked(ui, &response.response);
        response.response.accessible_name(label).on_hover_text(format!("{help}\n{citation}"));
        is_asked
    })
    .inner
}

/// What the render will take, before it runs.
fn memory(studio: &Studio, ui: &mut Ui) {
    let p = palette(ui);
    if let Some((needed, text)) = studio.memory_estimate() {
        let is_much = needed > studio.free_memory().unwrap_or(8e9);
        let color = if is_much { p.warn } else { p.soft };
        ui.label(RichText::new(text).small().color(color)).on_hover_text(
            "Weights in half precision, activations and the decoder's largest layer. An estimate: drivers add their own.",
        );
    }
}
