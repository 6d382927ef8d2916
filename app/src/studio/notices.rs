//! Errors and other news, shown over the canvas until they are read.

use std::collections::HashSet;

use egui::{Align2, RichText, Ui, vec2};

use super::fixes::Drawn;
use super::theme::palette;
use super::widgets::{Icon, icon_button};

/// How grave it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Good to know.
    Info,
    /// Something is not as asked.
    Warning,
    /// Something failed.
    Error,
}

/// What a click on a message can put right.
#[derive(Clone, Debug, PartialEq)]
pub enum Fix {
    /// The same once more.
    Again,
    /// The last change is taken back.
    Undo,
    /// A thing leaves the mix.
    Drop(String),
    /// An adapter acts as strongly as it was trained to.
    WeightOne(String),
    /// The built-in model at the bottom.
    BuiltinModel,
    /// The size the model was made for, one picture at a time.
    NativeSize,
    /// Half the edges, one picture at a time.
    Smaller,
    /// Sampler and schedule as on a first start.
    PlainSampling,
    /// Files are to be chosen.
    AddFiles,
    /// The export once more.
    ExportAgain,
    /// This, and then the study is drawn again.
    Draw(Box<Fix>, Drawn),
}

impl Fix {
    /// The button's words.
    fn label(&self) -> String {
        match self {
            Fix::Again => "Try again".into(),
            Fix::Undo => "Undo the last change".into(),
            Fix::Drop(reference) => format!("Take {} out", crate::io::catalogue::short(reference)),
            Fix::WeightOne(_) => "Set it to 1".into(),
            Fix::BuiltinModel => "Use the built-in model".into(),
            Fix::NativeSize => "Use the model's own size".into(),
            Fix::Smaller => "Half the size".into(),
            Fix::PlainSampling => "Use the usual sampler".into(),
            Fix::AddFiles => "Add files".into(),
            Fix::ExportAgain => "Export again".into(),
            Fix::Draw(fix, _) => fix.label(),
        }
    }
}

/// One message.
#[derive(Clone, Debug)]
struct Notice {
    level: Level,
    title: String,
    lines: Vec<String>,
    fix: Option<Fix>,
    /// When it was first shown; good news leaves by itself.
    since: Option<f64>,
}

/// The messages on show, and the warnings that were closed: every picture made the same way would bring them again.
#[derive(Default)]
pub struct Notices(Vec<Notice>, HashSet<String>);

/// Seconds after which good news leaves.
const LIFETIME: f64 = 6.0;
/// Messages on show at once; older ones leave first.
const MOST: usize = 4;

impl Notices {
    /// Shows a message, with details a line each.
    pub fn add(&mut self, level: Level, title: impl Into<String>, lines: Vec<String>) {
        self.put(level, title.into(), lines, None);
    }

    fn put(&mut self, level: Level, title: String, lines: Vec<String>, fix: Option<Fix>) {
        match level {
            Level::Info => log::info!("{title}"),
            Level::Warning => log::warn!("{title}"),
            Level::Error => log::error!("{title}"),
        }
        // What puts it right still does when the same is said again.
        let held = self.0.iter().find(|n| n.title == title).and_then(|n| n.fix.clone());
        let fix = fix.or(held);
        self.0.retain(|n| n.title != title);
        self.0.push(Notice { level, title, lines, fix, since: None });
        if self.0.len() > MOST {
            self.0.remove(0);
        }
    }

    /// A failure.
    pub fn error(&mut self, title: impl Into<String>) {
        self.add(Level::Error, title, Vec::new());
    }

    /// A failure with what puts it right.
    pub fn error_with(&mut self, title: impl Into<String>, fix: Option<Fix>) {
        self.put(Level::Error, title.into(), Vec::new(), fix);
    }

    /// Something is not as asked, with what puts it right.
    pub fn warn_with(&mut self, title: impl Into<String>, lines: Vec<String>, fix: Option<Fix>) {
        self.put(Level::Warning, title.into(), lines, fix);
    }

    /// A warning that every picture made the same way brings again: not after it was closed.
    pub fn remind(&mut self, title: String, fix: Option<Fix>) {
        if !self.1.contains(&title) {
            self.put(Level::Warning, title, Vec::new(), fix);
        }
    }

    /// Good news.
    pub fn info(&mut self, title: impl Into<String>) {
        self.add(Level::Info, title, Vec::new());
    }

    /// Clears what a picture that succeeds makes stale: not what is said of an export or a study.
    pub fn clear_errors(&mut self) {
        let of_a_picture = |n: &Notice| !matches!(n.fix, Some(Fix::ExportAgain | Fix::Draw(..)));
        self.0.retain(|n| n.level != Level::Error || !of_a_picture(n));
    }

    /// Clears what offers this, because it is done.
    pub fn clear_fix(&mut self, fix: &Fix) {
        self.0.retain(|n| n.fix.as_ref() != Some(fix));
    }

    /// Draws the messages at the top of `rect`; the fix that was clicked.
    pub fn show(&mut self, ui: &Ui, rect: egui::Rect) -> Option<Fix> {
        let mut chosen = None;
        let p = palette(ui);
        let now = ui.input(|i| i.time);
        let mut closed = None;
        let area = egui::Area::new(egui::Id::unique("notices"))
            .fixed_pos(rect.center_top() + vec2(0.0, 10.0))
            .pivot(Align2::CENTER_TOP)
            // Under what lies over the whole window, and dimmed with everything else.
            .order(egui::Order::Middle);
        area.show(ui.ctx(), |ui| {
            ui.set_max_width((rect.width() - 24.0).clamp(180.0, 560.0));
            // Errors first: what leaves by itself is below them and does not move their buttons.
            let mut order: Vec<usize> = (0..self.0.len()).collect();
            order.sort_by_key(|i| std::cmp::Reverse(self.0[*i].level));
            for i in order {
                let notice = &mut self.0[i];
                let color = match notice.level {
                    Level::Info => p.good,
                    Level::Warning => p.warn,
                    Level::Error => p.bad,
                };
                let frame = egui::Frame::popup(ui.style()).stroke(egui::Stroke::new(1.5, color));
                let shown = frame.show(ui, |ui| {
                    ui.horizontal_top(|ui| {
                        let width = ui.available_width() - 34.0;
                        ui.vertical(|ui| {
                            ui.set_max_width(width);
                            ui.label(RichText::new(&notice.title).color(color));
                            for line in notice.lines.iter().take(8) {
                                ui.label(RichText::new(line).small());
                            }
                            if notice.lines.len() > 8 {
                                ui.label(RichText::new(format!("and {} more", notice.lines.len() - 8)).small());
                            }
                            if let Some(fix) = &notice.fix
                                && ui.button(fix.label()).clicked()
                            {
                                chosen = Some(fix.clone());
                                closed = Some(i);
                            }
                        });
                        if icon_button(ui, Icon::Cross, "Close this message").clicked() {
                            closed = Some(i);
                        }
                    });
                });
                if notice.level == Level::Info && !shown.response.contains_pointer() {
                    let _ = notice.since.get_or_insert(now);
                    ui.ctx().request_repaint_after(std::time::Duration::from_millis(500));
                }
            }
        });
        if let Some(i) = closed {
            let closed = self.0.remove(i);
            if closed.level == Level::Warning {
                self.1.insert(closed.title);
            }
        }
        self.0.retain(|n| n.since.is_none_or(|since| now - since < LIFETIME));
        chosen
    }

    /// The fixes on offer (tests look at them).
    #[cfg(test)]
    pub fn fixes(&self) -> Vec<Fix> {
        self.0.iter().filter_map(|n| n.fix.clone()).collect()
    }

    /// The messages on show: how grave, and what.
    #[cfg(target_arch = "wasm32")]
    pub fn all(&self) -> impl Iterator<Item = (&'static str, &str)> {
        self.0.iter().map(|n| {
            let level = match n.level {
                Level::Info => "info",
                Level::Warning => "warning",
                Level::Error => "error",
            };
            (level, n.title.as_str())
        })
    }

    /// Titles on show (tests look at them).
    #[cfg(test)]
    pub fn titles(&self) -> Vec<&str> {
        self.0.iter().map(|n| n.title.as_str()).collect()
    }
}
