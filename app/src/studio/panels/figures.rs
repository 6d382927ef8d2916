//! What is known of a mix before it is made: how long each ingredient's change is in every block, how they lie to each other, what a trim keeps,
//! what a rank is used for, and what to look out for. Closed until somebody wants to know; computed while nothing else is.

use admix_engine::mix::Recipe;
use admix_engine::mix::understand::{BlockFigures, Spectrum, Understanding};
use egui::{Align2, CollapsingHeader, Color32, FontId, Rect, RichText, Role, Sense, Ui, WidgetInfo, pos2, vec2};

use crate::session::Work;
use crate::studio::Studio;
use crate::studio::theme::{Palette, palette};

/// What was asked for and what is known.
#[derive(Default)]
pub struct Figures {
    /// The last mix that was asked about, and the work that looks at it.
    asked: Option<(Recipe, u64)>,
    /// Somebody stopped it: it looks again when asked to, or at another mix.
    is_stopped: bool,
    known: Option<(Recipe, Result<Box<Understanding>, String>)>,
}

impl Figures {
    /// Takes what the actor found.
    pub fn learn(&mut self, recipe: Recipe, found: Result<Box<Understanding>, String>) {
        self.known = Some((recipe, found));
    }

    /// Notes that work was stopped.
    pub fn stopped(&mut self, id: u64) {
        self.is_stopped |= self.asked.as_ref().is_some_and(|(_, asked)| *asked == id);
    }

    /// What is known, of the last mix that was looked at.
    pub fn known(&self) -> Option<&Understanding> {
        self.known.as_ref()?.1.as_deref().ok()
    }
}

/// What the figures depend on.
fn subject(studio: &Studio) -> Recipe {
    let mut recipe = studio.document.effective();
    recipe.sample = Default::default();
    recipe.combine = None;
    recipe
}

/// Draws the section.
pub fn show(studio: &mut Studio, ui: &mut Ui) {
    if !studio.document.is_mixed() {
        return;
    }
    CollapsingHeader::new("What it changes").id_salt("figures").show(ui, |ui| {
        let subject = subject(studio);
        let is_known = studio.figures.known.as_ref().is_some_and(|(of, _)| *of == subject);
        let is_asked = studio.figures.asked.as_ref().is_some_and(|(of, _)| *of == subject);
        let is_again = is_asked && studio.figures.is_stopped && ui.button("Look again").clicked();
        if !is_known && (!is_asked || is_again) && !studio.desk.is_busy() {
            let id = studio.desk.submit(Work::Understand(Box::new(subject.clone())));
            (studio.figures.asked, studio.figures.is_stopped) = (Some((subject, id)), false);
        }
        match &studio.figures.known {
            None if studio.figures.is_stopped => {}
            None => {
                ui.weak("Looking ..");
            }
            Some((_, Err(error))) => {
                ui.weak(error);
            }
            Some((_, Ok(found))) => {
                ui.scope(|ui| {
                    if !is_known {
                        ui.set_opacity(0.5);
                    }
                    draw(ui, found);
                });
            }
        }
    });
}

/// A colour for each ingredient.
fn colour(p: &Palette, i: usize) -> Color32 {
    let all = [p.good, p.fill, Color32::from_rgb(0x4a, 0x90, 0xd9), Color32::from_rgb(0xa8, 0x6f, 0xd1)];
    all[i % all.len()]
}

fn short(name: &str) -> &str {
    let name = name.rsplit(['/', '\\']).next().unwrap_or(name);
    name.strip_prefix("builtin:").unwrap_or(name).trim_end_matches(".safetensors")
}

fn draw(ui: &mut Ui, found: &Understanding) {
    let p = palette(ui);
    for warning in &found.warnings {
        ui.label(RichText::new(warning).color(p.warn));
    }
    ui.horizontal_wrapped(|ui| {
        for (i, one) in found.ingredients.iter().enumerate() {
            // Painted: not every font has a dot.
            let (mark, _) = ui.allocate_exact_size(vec2(8.0, 8.0), Sense::hover());
            ui.painter().circle_filled(mark.center(), 4.0, colour(&p, i));
            ui.label(RichText::new(short(&one.name)).color(colour(&p, i)));
        }
    });
    let count = found.ingredients.len();
    let share = |b: &BlockFigures, i: usize| if b.base > 0.0 { b.norms[i] / b.base } else { 0.0 };
    plot(ui, found, "Change, % of the weights", count, |b, i| share(b, i), |v| format!("{:.2}", 100.0 * v));
    if count > 1 {
        let pairs = found.whole.pairs.len();
        let name = |k: usize| {
            let pair = &found.whole.pairs[k];
            format!("{} and {}", short(&found.ingredients[pair.a].name), short(&found.ingredients[pair.b].name))
        };
        if pairs == 1 {
            plot(ui, found, "Angle: cosine", 1, |b, _| b.pairs[0].cosine, |v| format!("{v:.2}"));
            plot(
                ui,
                found,
                "Same sign, above chance",
                1,
                |b, _| above_chance(b),
                |v| format!("{:.0} %", 50.0 + 50.0 * v),
            );
        } else {
            for k in 0..pairs {
                let pair = &found.whole.pairs[k];
                ui.label(format!("{}: cosine {:.2}, same sign {:.0} %", name(k), pair.cosine, 100.0 * pair.agreement));
            }
        }
        plot(
            ui,
            found,
            "Cancels (left), and would by chance (right)",
            2,
            |b, i| if i == 0 { b.interference } else { b.chance },
            |v| format!("{:.0} %", 100.0 * v),
        );
        plot(ui, found, "Reach: 1 is what one was trained to", 1, |b, _| b.range, |v| format!("{v:.2}"));
    }
    plot(ui, found, "Energy in the largest fifth", count, |b, i| b.kept[i][1], |v| format!("{:.0} %", 100.0 * v));
    for (i, one) in found.ingredients.iter().enumerate() {
        if let Some(spectrum) = &one.spectrum {
            ranks(ui, &p, short(&one.name), colour(&p, i), spectrum);
        }
    }
}

/// By how much the one pair's signs agree more often than by chance, of 1; nothing where only one of them changes the block.
fn above_chance(block: &BlockFigures) -> f64 {
    let pair = &block.pairs[0];
    let both = block.norms[pair.a] > 0.0 && block.norms[pair.b] > 0.0;
    if both { 2.0 * pair.agreement - 1.0 } else { 0.0 }
}

/// Bars by block, `count` in each, and the longest in numbers; below zero where the numbers are. Hovering tells them.
fn plot(
    ui: &mut Ui,
    found: &Understanding,
    title: &str,
    count: usize,
    value: impl Fn(&BlockFigures, usize) -> f64,
    say: impl Fn(f64) -> String,
) {
    let p = palette(ui);
    ui.add_space(4.0);
    let blocks = &found.blocks;
    let all = || blocks.iter().flat_map(|b| (0..count).map(|i| value(b, i)).collect::<Vec<_>>());
    let (low, high) = (all().fold(0.0, f64::min), all().fold(0.0, f64::max));
    ui.horizontal(|ui| {
        ui.label(RichText::new(title).small());
        let longest = if -low > high { low } else { high };
        ui.with_layout(egui::Layout::right_to_left(egui::Align::Center), |ui| {
            ui.label(RichText::new(say(longest)).small().color(p.soft));
        });
    });
    let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width().max(160.0), 56.0), Sense::hover());
    let line = |b: &BlockFigures| {
        let numbers: Vec<String> = (0..count).map(|i| say(value(b, i))).collect();
        format!("{} {}", b.block, numbers.join(", "))
    };
    response.widget_info(|| {
        let all: Vec<String> = blocks.iter().map(line).collect();
        WidgetInfo::labeled(Role::Image, true, format!("{title}: {}", all.join("; ")))
    });
    if blocks.is_empty() {
        return;
    }
    let chart = Rect::from_min_max(rect.min, rect.max - vec2(0.0, 12.0));
    let span = (high - low).max(1e-9);
    let y = |v: f64| chart.bottom() - ((v - low) / span) as f32 * chart.height();
    let step = chart.width() / blocks.len() as f32;
    let painter = ui.painter_at(rect);
    painter.hline(chart.x_range(), y(0.0), egui::Stroke::new(1.0, p.line));
    for (at, block) in blocks.iter().enumerate() {
        let left = chart.left() + at as f32 * step;
        let width = (step - 3.0) / count as f32;
        for i in 0..count {
            let v = value(block, i);
            let x = left + 1.5 + i as f32 * width;
            let bar = Rect::from_two_pos(pos2(x, y(0.0)), pos2(x + (width - 1.0).max(1.0), y(v)));
            painter.rect_filled(bar, 0.0, colour(&p, i));
        }
        let name = block.block.trim_start_matches("unet.").replace("down.", "d").replace("up.", "u");
        let name: String = name.chars().take(4).collect();
        let under = pos2(left + step / 2.0, rect.bottom());
        painter.text(under, Align2::CENTER_BOTTOM, name, FontId::proportional(9.0), p.soft);
    }
    let pointed = response.hover_pos().map(|at| ((at.x - chart.left()) / step) as usize);
    if let Some(block) = pointed.and_then(|i| blocks.get(i)) {
        response.on_hover_text(line(block));
    }
}

/// The energies of an adapter's directions, and what they come to.
fn ranks(ui: &mut Ui, p: &Palette, name: &str, colour: Color32, spectrum: &Spectrum) {
    ui.add_space(4.0);
    let text = format!(
        "{name}: rank {}, {:.1} in effect; {} hold 90 %, {} hold 99 %",
        spectrum.rank, spectrum.effective, spectrum.rank90, spectrum.rank99
    );
    ui.label(RichText::new(&text).small());
    let (rect, response) = ui.allocate_exact_size(vec2(ui.available_width().max(160.0), 28.0), Sense::hover());
    response.widget_info(|| WidgetInfo::labeled(Role::Image, true, &text));
    let painter = ui.painter_at(rect);
    painter.hline(rect.x_range(), rect.bottom() - 0.5, egui::Stroke::new(1.0, p.line));
    let step = (rect.width() / spectrum.energies.len().max(1) as f32).min(24.0);
    for (i, energy) in spectrum.energies.iter().enumerate() {
        let x = rect.left() + i as f32 * step;
        let top = rect.bottom() - *energy as f32 * rect.height();
        let bar = Rect::from_min_max(pos2(x, top), pos2(x + (step - 1.0).max(1.0), rect.bottom()));
        painter.rect_filled(bar, 0.0, colour);
    }
}
