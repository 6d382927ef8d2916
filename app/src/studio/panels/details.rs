//! The card of a file: what it is, how well it fits, and why it does not.

use egui::{Label, RichText, ScrollArea, Ui};

use crate::session::{Card, Shelved};
use crate::studio::Studio;
use crate::studio::theme::palette;
use crate::studio::widgets::chip;

/// Draws the card that is open, if one is.
pub fn show(studio: &mut Studio, ui: &Ui) {
    let Some(reference) = studio.details.clone() else { return };
    let Some(item) = studio.shelf.find(&reference) else {
        studio.details = None;
        return;
    };
    let (name, card) = (item.name.clone(), item.card.clone());
    let mut open = true;
    let (mut add, mut words, mut model, mut is_tried, mut edit) = (false, None, None, false, false);
    egui::Window::new(format!("Card: {name}"))
        .id(egui::Id::unique("card"))
        .open(&mut open)
        .collapsible(false)
        .default_width(400.0)
        .pivot(egui::Align2::CENTER_CENTER)
        .default_pos(ui.ctx().content_rect().center())
        .show(ui.ctx(), |ui| {
            let p = palette(ui);
            match &card {
                None => {
                    ui.label("Reading its header.");
                }
                Some(Err(error)) => {
                    ui.label(RichText::new(error).color(p.bad));
                }
                Some(Ok(Card::Model(m))) => {
                    ui.label(format!("{}, {} layout, {} weights as {}", m.family, m.format, m.parameters, m.dtype));
                    ui.label(format!("Made for pictures of {} x {}", m.native[0], m.native[1]));
                    if let Some(part) = &m.lacks {
                        let text = format!("It holds no {part}, so it cannot make a picture alone. Mixed into a whole model (as B) it works.");
                        ui.label(RichText::new(text).color(p.warn));
                    }
                    ui.horizontal(|ui| {
                        if m.lacks.is_none() && m.trouble.is_none() && ui.button("Use this model").clicked() {
                            model = Some(true);
                        }
                        if m.trouble.is_none() && ui.button("Mix in").clicked() {
                            model = Some(false);
                        }
                    });
                    if let Some(trouble) = &m.trouble {
                        ui.label(RichText::new(trouble).color(p.bad));
                    }
                }
                Some(Ok(Card::Adapter(a))) => {
                    adapter(ui, a, &mut words);
                    ui.horizontal(|ui| {
                        add = ui.button("Add to the mix").clicked();
                        is_tried = ui.button("Try it on").on_hover_text("The same picture without it and with it").clicked();
                        let help = "What the suggestions read of it, to change in your own words, or to be told from pictures";
                        edit = ui.button("Edit card").on_hover_text(help).clicked();
                    });
                }
            }
            ui.label(RichText::new(&reference).small().color(p.soft));
        });
    if let Some(words) = words {
        studio.document.add_to_prompt(&words);
    }
    if add {
        studio.use_adapter(&reference);
    }
    if edit {
        studio.edit_card(&reference);
    }
    if is_tried {
        studio.try_on(&reference);
    }
    match model {
        Some(true) => studio.use_base(&reference),
        Some(false) => {
            studio.document.mix_in(&reference);
            studio.prefs.mix_open = true;
        }
        None => {}
    }
    if !open || edit || add || model.is_some() || is_tried {
        studio.details = None;
    }
}

fn adapter(ui: &mut Ui, a: &Shelved, words: &mut Option<String>) {
    let p = palette(ui);
    let rank = a.rank.map_or(String::new(), |r| format!(", rank {r}"));
    ui.label(format!("{}{rank}, {} modules", a.kind, a.modules));
    let all = a.matched == a.modules;
    let text = format!("{} of {} modules fit {}", a.matched, a.modules, a.against);
    ui.label(RichText::new(text).strong().color(if all { p.good } else { p.warn }));
    for trouble in a.cause.iter().chain(&a.trouble) {
        ui.label(RichText::new(trouble).color(p.warn));
    }
    if !a.triggers.is_empty() {
        ui.horizontal_wrapped(|ui| {
            ui.label("Triggers");
            for trigger in &a.triggers {
                if chip(ui, trigger, false).on_hover_text("Add to the prompt").clicked() {
                    *words = Some(trigger.clone());
                }
            }
        });
    }
    let missing: Vec<&String> = a.unmatched.iter().chain(&a.mismatched).collect();
    if missing.is_empty() {
        return;
    }
    ui.horizontal(|ui| {
        ui.label(format!("{} that do not fit", missing.len()));
        if ui.small_button("Copy list").clicked() {
            let list: Vec<&str> = missing.iter().map(|m| m.as_str()).collect();
            ui.ctx().copy_text(list.join("\n"));
        }
    });
    for (group, count) in groups(&missing) {
        ui.label(RichText::new(format!("{count} in {group}")).small());
    }
    ScrollArea::vertical().max_height(140.0).auto_shrink([false, true]).show_rows(
        ui,
        15.0,
        missing.len(),
        |ui, range| {
            for i in range {
                // A row each, or the list would scroll by another measure than it is drawn by.
                ui.add(Label::new(RichText::new(missing[i]).small().monospace()).truncate()).on_hover_text(missing[i]);
            }
        },
    );
}

/// Names by their leading part, most frequent first.
fn groups(names: &[&String]) -> Vec<(String, usize)> {
    let mut counts: Vec<(String, usize)> = Vec::new();
    for name in names {
        let head = head(name);
        match counts.iter_mut().find(|(h, _)| h == head) {
            Some((_, n)) => *n += 1,
            None => counts.push((head.into(), 1)),
        }
    }
    counts.sort_by_key(|c| std::cmp::Reverse(c.1));
    counts.truncate(6);
    counts
}

/// A name up to its first number, which says which block: `lora_unet_down_blocks_1`. At most eight parts.
fn head(name: &str) -> &str {
    let mut start = 0;
    for (count, end) in name.match_indices(['.', '_']).map(|(at, _)| at).chain([name.len()]).enumerate() {
        let part = &name[start..end];
        let is_number = !part.is_empty() && part.bytes().all(|b| b.is_ascii_digit());
        if is_number || count == 7 || end == name.len() {
            return &name[..end];
        }
        start = end + 1;
    }
    name
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_say_which_block() {
        let names = [
            "lora_unet_down_blocks_1_attentions_0_proj_in",
            "lora_unet_down_blocks_1_attentions_1_proj_in",
            "lora_unet_mid_block_attentions_0_proj_in",
            "lora_te_text_model_encoder_layers_11_mlp_fc1",
            "up_blocks.2.attentions.0",
            "x",
        ]
        .map(String::from);
        let groups = groups(&names.iter().collect::<Vec<_>>());
        let of = |name: &str| groups.iter().find(|(g, _)| g == name).map(|(_, n)| *n);
        assert_eq!(groups[0], ("lora_unet_down_blocks_1".into(), 2));
        assert_eq!(of("lora_unet_mid_block_attentions_0"), Some(1));
        assert_eq!(of("lora_te_text_model_encoder_layers_11"), Some(1));
        assert_eq!((of("up_blocks.2"), of("x")), (Some(1), Some(1)));
    }
}
