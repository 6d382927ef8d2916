//! The prompt under the canvas, with the button that makes pictures.

use egui::{Key, RichText, TextEdit, Ui};

use crate::studio::Studio;
use crate::studio::theme::palette;
use crate::studio::widgets::{Icon, big_button, chip, icon_button};

/// Prompts to try with the built-in model.
const EXAMPLES: &[&str] =
    &["a red apple", "a fox", "a cat on a pink background", "a blue mushroom", "a rocket and a moon"];

/// Draws the prompt and its row of buttons.
pub fn show(studio: &mut Studio, ui: &mut Ui) {
    let p = palette(ui);
    ui.add_space(2.0);
    let mut prompt = studio.document.recipe.sample.prompt.clone().unwrap_or_default();
    let edit = TextEdit::multiline(&mut prompt)
        .hint_text("What should the picture show?")
        .desired_rows(2)
        .desired_width(f32::INFINITY)
        .font(egui::FontId::proportional(15.0));
    let output = edit.show(ui);
    let response = output.response.response.clone().accessible_name("Prompt");
    if response.has_focus()
        && let Some(range) = output.cursor_range
    {
        // Ctrl+Up and Ctrl+Down weigh the word at the cursor.
        let up = ui.input_mut(|i| i.consume_key(egui::Modifiers::COMMAND, Key::ArrowUp));
        let down = ui.input_mut(|i| i.consume_key(egui::Modifiers::COMMAND, Key::ArrowDown));
        if up || down {
            weigh(&mut prompt, range.primary.index.0, if up { 0.1 } else { -0.1 });
        }
    }
    studio.document.recipe.sample.prompt = Some(prompt);

    ui.horizontal_wrapped(|ui| {
        let busy = studio.live().is_some_and(|l| !l.purpose.is_live()) || studio.desk.waiting() > 0;
        if big_button(ui, "Make image", true).on_hover_text("Render with these settings (Ctrl+Enter)").clicked() {
            studio.make();
        }
        if busy {
            let waiting = studio.desk.waiting();
            let text = if waiting > 0 { format!("Cancel (and {waiting} waiting)") } else { "Cancel".into() };
            if ui.button(text).on_hover_text("Stop what is running and forget what waits (Esc)").clicked() {
                studio.desk.cancel(true);
            }
        }
        let mut live = studio.prefs.live;
        ui.toggle_value(&mut live, "Live").on_hover_text(
            "Every change redraws at once with a few quick steps, and fully when you let go.\nThe last finished picture is never lost.",
        );
        if live != studio.prefs.live {
            studio.set_live(live);
        }
        seed(studio, ui);
        if studio.canvas.shown.is_some() && icon_button(ui, Icon::Save, "Save the picture as PNG, its recipe inside (Ctrl+S)").clicked() {
            studio.save_shown();
        }
        let (tokens, room) = studio.counts[0];
        if room > 0 {
            let text = RichText::new(format!("{tokens}/{room}")).small();
            let text = text.color(if tokens > room { p.bad } else { p.soft });
            ui.label(text).on_hover_text(if tokens > room {
                format!("The model reads {room} tokens at a time; what is past them may be dropped or weigh less.")
            } else {
                "Tokens of the prompt, and how many the model reads at a time.".into()
            });
        }
        if studio.history.entries.is_empty() {
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

/// Seed, dice, lock, neighbours.
fn seed(studio: &mut Studio, ui: &mut Ui) {
    let mut seed = studio.document.recipe.sample.seed.unwrap_or(0);
    let label = ui.label("Seed");
    ui.add(egui::DragValue::new(&mut seed).speed(0.2).range(0..=u64::from(u32::MAX)))
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
    if icon_button(ui, Icon::Four, "Four neighbours: the next four seeds, all at once").clicked() {
        studio.make_neighbours();
    }
}

/// Changes the weight of the word at character `at` by `by`, in A1111's way of writing: `(word:1.1)`.
fn weigh(prompt: &mut String, at: usize, by: f64) {
    let chars: Vec<char> = prompt.chars().collect();
    let text = |range: std::ops::Range<usize>| chars[range].iter().collect::<String>();
    let at = at.min(chars.len());
    // Inside a weighted group?
    let open = (0..at).rev().find(|i| chars[*i] == '(' || (chars[*i] == ')' && *i + 1 != at));
    if let Some(open) = open.filter(|i| chars[*i] == '(')
        && let Some(close) = (open..chars.len()).find(|i| chars[*i] == ')').filter(|c| c + 1 >= at)
        && let Some((words, weight)) = text(open + 1..close).rsplit_once(':')
        && let Ok(weight) = weight.trim().parse::<f64>()
    {
        let weight = ((weight + by).clamp(0.0, 3.0) * 10.0).round() / 10.0;
        let group = if weight == 1.0 { words.to_string() } else { format!("({words}:{weight})") };
        *prompt = text(0..open) + &group + &text(close + 1..chars.len());
        return;
    }
    let is_word = |c: char| c.is_alphanumeric() || c == '-' || c == '_' || c == '\'';
    let start = (0..at).rev().take_while(|i| is_word(chars[*i])).last().unwrap_or(at);
    let end = (at..chars.len()).find(|i| !is_word(chars[*i])).unwrap_or(chars.len());
    if start < end {
        *prompt = format!("{}({}:{}){}", text(0..start), text(start..end), 1.0 + by, text(end..chars.len()));
    }
}

#[cfg(test)]
mod tests {
    use super::weigh;

    #[test]
    fn words_are_weighed_as_a1111_writes_it() {
        let mut prompt = "a red äpple".to_string();
        weigh(&mut prompt, 8, 0.1);
        assert_eq!(prompt, "a red (äpple:1.1)");
        weigh(&mut prompt, 9, 0.1);
        assert_eq!(prompt, "a red (äpple:1.2)");
        weigh(&mut prompt, 9, -0.1);
        weigh(&mut prompt, 9, -0.1);
        assert_eq!(prompt, "a red äpple");
        weigh(&mut prompt, 0, -0.1);
        assert_eq!(prompt, "(a:0.9) red äpple");
        weigh(&mut prompt, 99, 0.1);
        assert_eq!(prompt, "(a:0.9) red (äpple:1.1)");
        let mut empty = String::new();
        weigh(&mut empty, 5, 0.1);
        assert_eq!(empty, "");
    }
}
