//! What the canvas shows: the picture on its way, the last finished one, and another to compare with.

use egui::{
    Align2, Color32, Context, EventFilter, Key, Rect, Sense, Stroke, StrokeKind, TextureHandle, Ui, pos2, vec2,
};
use serde::{Deserialize, Serialize};

use super::differs::differences;
use super::history::{History, upload};
use super::theme::palette;
use super::widgets::{caption, focus_mark};
use crate::session::{Live, Stage};

/// How far an arrow key moves the wipe, of the picture's width.
const KEY_WIPE: f32 = 0.02;

/// How two pictures are compared.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Compare {
    /// One over the other, with a handle between.
    #[default]
    Wipe,
    /// Next to each other.
    SideBySide,
}

/// The canvas.
#[derive(Default)]
pub struct Canvas {
    /// The history entry on show.
    pub shown: Option<u64>,
    /// The entry it is compared with.
    pub other: Option<u64>,
    /// How.
    pub mode: Compare,
    /// What the pointer is over in the strip: shown in place of everything else, with its label.
    pub hovered: Option<(TextureHandle, String)>,
    /// Which picture of a batch fills the canvas; none: all.
    pub zoomed: Option<usize>,
    wipe: f32,
    /// A quick render's result, shown until the full one is there.
    scrub: Option<TextureHandle>,
    /// The preview on show: work and step it came from.
    preview: Option<(u64, usize, TextureHandle)>,
}

impl Canvas {
    /// Shows a history entry.
    pub fn show_entry(&mut self, id: u64) {
        self.shown = Some(id);
        self.scrub = None;
        self.zoomed = None;
        if self.other == Some(id) {
            self.other = None;
        }
    }

    /// Compares the picture on show with another entry, or no longer if it already is.
    pub fn compare_with(&mut self, id: u64) {
        self.other = (self.other != Some(id) && self.shown != Some(id)).then_some(id);
        self.wipe = 0.5;
    }

    /// Shows a quick render until something better comes.
    pub fn show_scrub(&mut self, context: &Context, picture: &admix_engine::Picture) {
        self.scrub = Some(upload(context, picture));
    }

    /// Shows a picture that is on the device already until something better comes.
    pub fn show_quick(&mut self, texture: TextureHandle) {
        self.scrub = Some(texture);
    }

    /// Puts the picture before under the new one, the handle at the edge: all of the new one is seen, and a drag brings the old one back.
    pub fn offer_before(&mut self, before: u64) {
        if self.shown != Some(before) {
            self.other = Some(before);
            self.mode = Compare::Wipe;
            self.wipe = 0.985;
        }
    }

    /// True while the picture before lies under the one on show because a knob was let go.
    pub fn is_offered(&self) -> bool {
        self.other.is_some() && self.mode == Compare::Wipe && self.wipe > 0.9
    }

    /// Takes the picture before away again, if it lies there only because a knob was let go.
    pub fn drop_offered(&mut self) {
        if self.is_offered() {
            self.other = None;
        }
    }

    /// Leaves quick renders and shows the last finished picture again.
    pub fn drop_scrub(&mut self) {
        self.scrub = None;
    }

    /// True when nothing was ever shown.
    pub fn is_empty(&self) -> bool {
        self.shown.is_none() && self.scrub.is_none() && self.preview.is_none()
    }

    /// Draws into all of the given space.
    pub fn show(&mut self, ui: &mut Ui, history: &mut History, live: Option<&Live>, empty_text: &str) {
        let p = palette(ui);
        let (rect, response) = ui.allocate_exact_size(ui.available_size(), Sense::click_and_drag());
        ui.painter().rect_filled(rect, 0.0, p.paper);
        self.take_preview(ui.ctx(), live);
        let space = rect.shrink(18.0);

        let mut pictures: Vec<TextureHandle> = Vec::new();
        let mut label = None;
        if let Some((texture, text)) = &self.hovered {
            pictures.push(texture.clone());
            label = Some(text.clone());
        } else if let Some((_, _, texture)) = &self.preview {
            pictures.push(texture.clone());
        } else if let Some(texture) = &self.scrub {
            pictures.push(texture.clone());
            label = Some("quick look".to_string());
        } else if let Some(id) = self.shown {
            pictures = history.textures(ui.ctx(), id).to_vec();
            if let Some(one) = self.zoomed.and_then(|i| pictures.get(i)) {
                pictures = vec![one.clone()];
            }
        }
        // What is on its way is shown alone; the comparison comes back with the finished picture.
        let is_final = self.hovered.is_none() && self.preview.is_none() && self.scrub.is_none();
        let compared = self.other.filter(|_| is_final).zip(self.shown);
        let names = compared.map_or_else(Default::default, |(other, shown)| names(history, shown, other));
        let other = compared.and_then(|(id, _)| history.textures(ui.ctx(), id).first().cloned());

        match (&pictures[..], other) {
            ([], _) => {
                ui.painter().text(
                    space.center(),
                    Align2::CENTER_CENTER,
                    empty_text,
                    egui::FontId::proportional(17.0),
                    p.soft,
                );
            }
            ([one, ..], Some(other)) => self.compared(ui, space, [one, &other], &names, &response),
            ([one], None) => {
                let at = fit(space, one.size_vec2());
                draw(ui, at, one);
                if self.zoomed.is_some() && response.clicked() {
                    self.zoomed = None;
                }
            }
            (many, None) => self.grid(ui, space, many, &response),
        }
        if let Some(text) = label {
            caption(ui.painter(), rect.left_top() + vec2(12.0, 12.0), Align2::LEFT_TOP, &text);
        }
        response.widget_info(|| {
            let text = if pictures.is_empty() { empty_text.to_string() } else { "picture".into() };
            egui::WidgetInfo::labeled(egui::Role::Image, true, format!("Canvas: {text}"))
        });
        if let Some(live) = live {
            progress(ui, rect, live);
        }
        focus_mark(ui, &response, 0.0);
    }

    /// Keeps the newest preview as a texture while its work runs.
    fn take_preview(&mut self, context: &Context, live: Option<&Live>) {
        match live {
            Some(live) => {
                if let Some((picture, step)) = &live.preview
                    && self.preview.as_ref().is_none_or(|(id, s, _)| (*id, *s) != (live.id, *step))
                {
                    self.preview = Some((live.id, *step, upload(context, picture)));
                }
                // Another work begins: what it shows comes later, so the old picture comes back rather than a stale preview. Between two
                // live renders the last preview stays, or the canvas would flicker.
                if !live.purpose.is_live() && live.preview.is_none() {
                    self.preview = None;
                }
            }
            None => self.preview = None,
        }
    }

    /// Both pictures. Their names stand at the lower edge: messages come at the upper one.
    fn compared(
        &mut self,
        ui: &Ui,
        space: Rect,
        [a, b]: [&TextureHandle; 2],
        names: &[String; 2],
        response: &egui::Response,
    ) {
        let p = palette(ui);
        let painter = ui.painter();
        let name = |at: Rect, right: bool, text: &str| {
            let (corner, anchor) = match right {
                false => (at.left_bottom() + vec2(6.0, -6.0), Align2::LEFT_BOTTOM),
                true => (at.right_bottom() - vec2(6.0, 6.0), Align2::RIGHT_BOTTOM),
            };
            caption(painter, corner, anchor, text);
        };
        if self.mode == Compare::SideBySide {
            let half = vec2(space.width() / 2.0 - 6.0, space.height());
            let left = fit(Rect::from_min_size(space.min, half), a.size_vec2());
            let right = fit(Rect::from_min_size(pos2(space.center().x + 6.0, space.top()), half), b.size_vec2());
            draw(ui, left, a);
            draw(ui, right, b);
            name(left, false, &names[0]);
            name(right, false, &names[1]);
            return;
        }
        let at = fit(space, a.size_vec2());
        if (response.dragged() || response.clicked())
            && let Some(pointer) = response.interact_pointer_pos()
        {
            self.wipe = ((pointer.x - at.left()) / at.width()).clamp(0.0, 1.0);
        }
        if response.has_focus() {
            let arrows = EventFilter { horizontal_arrows: true, ..Default::default() };
            ui.memory_mut(|m| m.set_focus_lock_filter(response.id, arrows));
            let presses = |key| ui.input(|i| i.num_presses(key)) as f32;
            let by = presses(Key::ArrowRight) - presses(Key::ArrowLeft);
            self.wipe = (self.wipe + by * KEY_WIPE).clamp(0.0, 1.0);
        }
        draw(ui, at, a);
        let x = at.left() + at.width() * self.wipe;
        let clip = painter.with_clip_rect(Rect::from_min_max(pos2(x, at.top()), at.max));
        let whole = Rect::from_min_max(pos2(0.0, 0.0), pos2(1.0, 1.0));
        clip.image(b.id(), at, whole, Color32::WHITE);
        painter.vline(x, at.y_range(), Stroke::new(2.0, p.fill));
        painter.circle(pos2(x, at.center().y), 9.0, p.fill, Stroke::new(2.0, p.on_fill));
        name(at, false, &names[0]);
        // Where both do not fit beside each other the second stands above the first.
        let is_tight = names.iter().map(|n| n.chars().count()).sum::<usize>() as f32 * 7.5 > at.width() - 40.0;
        let up = if is_tight { vec2(0.0, -30.0) } else { egui::Vec2::ZERO };
        name(at.translate(up), true, &names[1]);
        if response.hovered() {
            ui.ctx().set_cursor_icon(egui::CursorIcon::ResizeHorizontal);
        }
    }

    fn grid(&mut self, ui: &Ui, space: Rect, pictures: &[TextureHandle], response: &egui::Response) {
        let columns = (pictures.len() as f32).sqrt().ceil() as usize;
        let rows = pictures.len().div_ceil(columns);
        let cell = vec2(space.width() / columns as f32, space.height() / rows as f32);
        for (i, texture) in pictures.iter().enumerate() {
            let min = space.min + vec2((i % columns) as f32 * cell.x, (i / columns) as f32 * cell.y);
            let at = fit(Rect::from_min_size(min, cell).shrink(4.0), texture.size_vec2());
            draw(ui, at, texture);
            if response.clicked() && response.interact_pointer_pos().is_some_and(|pointer| at.contains(pointer)) {
                self.zoomed = Some(i);
            }
        }
    }
}

/// What compared pictures are called: which is which, and what each has that the other has not.
fn names(history: &History, shown: u64, other: u64) -> [String; 2] {
    let recipe = |history: &History, id| history.get(id).map(|e| e.recipe.clone());
    let Some((a, b)) = recipe(history, shown).zip(recipe(history, other)) else { return Default::default() };
    let named = |name: &str, text: String| if text.is_empty() { name.to_owned() } else { format!("{name}: {text}") };
    let place = if other < shown { "before" } else { "later" };
    [named("on show", differences(&a, &b)), named(place, differences(&b, &a))]
}

/// The largest rectangle of these proportions in the middle of `space`.
pub fn fit(space: Rect, size: egui::Vec2) -> Rect {
    let scale = (space.width() / size.x.max(1.0)).min(space.height() / size.y.max(1.0)).max(0.0);
    Rect::from_center_size(space.center(), size * scale)
}

fn draw(ui: &Ui, at: Rect, texture: &TextureHandle) {
    let whole = Rect::from_min_max(pos2(0.0, 0.0), pos2(1.0, 1.0));
    ui.painter().image(texture.id(), at, whole, Color32::WHITE);
    ui.painter().rect_stroke(at, 0.0, Stroke::new(1.0, palette(ui).line), StrokeKind::Outside);
}

/// A bar at the canvas's lower edge with what is happening.
fn progress(ui: &Ui, rect: Rect, live: &Live) {
    let p = palette(ui);
    let (part, text) = match live.stage {
        Stage::Starting => (0.0, "opening files".to_string()),
        Stage::Weights { done, total } => (ratio(done, total), format!("mixing weights {done}/{total}")),
        Stage::Text => (0.0, "reading the prompt".into()),
        Stage::Step { done, total } => {
            let left = live.seconds_left().filter(|s| *s >= 0.05);
            let left = left.map_or(String::new(), |s| format!(", {s:.1} s left"));
            (ratio(done, total), format!("step {done}/{total}{left}"))
        }
        Stage::Decode { done, total } => {
            (1.0, if total > 1 { format!("decoding {done}/{total}") } else { "decoding".into() })
        }
        Stage::Export { done, total } => (ratio(done, total), format!("writing {done}/{total}")),
    };
    let bar = Rect::from_min_max(pos2(rect.left(), rect.bottom() - 4.0), rect.max);
    ui.painter().rect_filled(bar, 0.0, p.line);
    let mut done = bar;
    done.set_width(bar.width() * part);
    ui.painter().rect_filled(done, 0.0, p.fill);
    caption(ui.painter(), rect.left_bottom() + vec2(12.0, -14.0), Align2::LEFT_BOTTOM, &text);
}

fn ratio(done: usize, total: usize) -> f32 {
    done as f32 / total.max(1) as f32
}
