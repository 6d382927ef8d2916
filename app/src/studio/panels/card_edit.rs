//! A person's own words on an adapter: its card as the suggestions read it, to change, to forget the changes, or to have it told from
//! pictures.

use admix_engine::select::{Card, Edits, Kind};
use egui::{ComboBox, DragValue, Grid, RichText, TextEdit, Ui};

use crate::studio::Studio;
use crate::studio::study::Study;
use crate::studio::theme::palette;

/// The card in hand.
pub struct Editing {
    /// Whose it is.
    pub reference: String,
    /// As it was when it was opened.
    before: Fields,
    /// As it is typed.
    pub fields: Fields,
    /// What pictures showed.
    pub seen: String,
    /// The pictures that are being drawn to tell.
    pub study: Option<Study>,
}

/// What can be changed.
#[derive(Clone, Debug, PartialEq)]
pub struct Fields {
    /// What it is called.
    pub title: String,
    /// What it does.
    pub description: String,
    /// Words that call it up, with commas.
    pub triggers: String,
    /// Labels, with commas.
    pub tags: String,
    /// What it is for.
    pub kind: Kind,
    /// Recommended weight.
    pub weight: f64,
    /// Weights worth trying.
    pub range: [f64; 2],
}

impl Editing {
    /// Opens a card.
    pub fn of(reference: String, card: &Card) -> Editing {
        let fields = Fields {
            title: card.title.clone(),
            description: card.description.clone(),
            triggers: card.triggers.join(", "),
            tags: card.tags.join(", "),
            kind: card.kind,
            weight: card.weight,
            range: card.range,
        };
        Editing { reference, before: fields.clone(), fields, seen: card.seen.clone(), study: None }
    }

    /// What differs from the card as it was opened.
    pub fn edits(&self) -> Edits {
        fn changed<T: Clone + PartialEq>(now: &T, before: &T) -> Option<T> {
            (now != before).then(|| now.clone())
        }
        let list = |text: String| text.split(',').map(|t| t.trim().to_owned()).filter(|t| !t.is_empty()).collect();
        let (now, before) = (&self.fields, &self.before);
        Edits {
            title: changed(&now.title, &before.title),
            description: changed(&now.description, &before.description),
            triggers: changed(&now.triggers, &before.triggers).map(list),
            tags: changed(&now.tags, &before.tags).map(list),
            kind: changed(&now.kind, &before.kind),
            weight: changed(&now.weight, &before.weight),
            range: changed(&now.range, &before.range),
            ..Edits::default()
        }
    }
}

/// What the window asks for.
enum Asked {
    Save,
    Clear,
    Describe,
}

/// Draws the card that is being edited, if one is.
pub fn show(studio: &mut Studio, ui: &Ui) {
    let Some(editing) = &mut studio.suggest.editing else { return };
    let (mut open, mut asked) = (true, None);
    egui::Window::new(format!("Your words on {}", crate::io::catalogue::short(&editing.reference)))
        .id(egui::Id::unique("card edit"))
        .open(&mut open)
        .collapsible(false)
        .default_width(380.0)
        .show(ui.ctx(), |ui| asked = fields(editing, ui));
    match asked {
        Some(Asked::Describe) => studio.describe_card(),
        Some(Asked::Save) => studio.save_card(),
        Some(Asked::Clear) => studio.change_card(crate::studio::cards::Change::Clear),
        None => {}
    }
    if !open {
        studio.close_card();
    }
    studio.finish_description();
}

fn fields(editing: &mut Editing, ui: &mut Ui) -> Option<Asked> {
    let (p, f) = (palette(ui), &mut editing.fields);
    Grid::new("card fields").num_columns(2).show(ui, |ui| {
        for (name, text) in [("Title", &mut f.title), ("Triggers", &mut f.triggers), ("Tags", &mut f.tags)] {
            let label = ui.label(name);
            ui.add(TextEdit::singleline(text).desired_width(260.0)).labelled_by(label.id);
            ui.end_row();
        }
        let label = ui.label("What it does");
        ui.add(TextEdit::multiline(&mut f.description).desired_rows(2).desired_width(260.0)).labelled_by(label.id);
        ui.end_row();
        ui.label("Kind");
        ComboBox::from_id_salt("card kind").selected_text(f.kind.name()).show_ui(ui, |ui| {
            for kind in Kind::ALL {
                ui.selectable_value(&mut f.kind, kind, kind.name());
            }
        });
        ui.end_row();
        ui.label("Weight");
        ui.horizontal(|ui| {
            for (value, name) in std::iter::once(&mut f.weight).chain(&mut f.range).zip(["", "worth trying", "to"]) {
                ui.label(name);
                ui.add(DragValue::new(value).speed(0.01).range(-10.0..=10.0));
            }
        });
        ui.end_row();
    });
    f.range[1] = f.range[1].max(f.range[0]);
    if !editing.seen.is_empty() {
        ui.label(RichText::new(format!("Seen: {}", editing.seen)).small().color(p.soft));
    }
    let mut asked = None;
    ui.horizontal(|ui| {
        let help = "What you say wins over what its files say, also after they are read again";
        if ui.button("Keep").on_hover_text(help).clicked() {
            asked = Some(Asked::Save);
        }
        if ui.button("Forget my changes").clicked() {
            asked = Some(Asked::Clear);
        }
        match editing.study.as_ref().and_then(Study::progress) {
            Some(progress) => drop(ui.label(format!("drawing {progress}"))),
            None => {
                let help = "Draws four prompts without it and with it and notes what changes: light, colour, lines, shapes. What a picture shows cannot be told this way.";
                if ui.button("Describe from pictures").on_hover_text(help).clicked() {
                    asked = Some(Asked::Describe);
                }
            }
        }
    });
    asked
}
