//! Where everything is: panels beside the canvas on a wide window, under it on a narrow one.

use egui::{Align, CentralPanel, Frame, Layout, Margin, Panel, Ui};

use super::Studio;
use super::panels;
use super::widgets::edge_tab;

/// Narrower than this the image goes first and one panel is under it.
const NARROW: f32 = 860.0;

/// Draws the whole window.
pub fn show(studio: &mut Studio, ui: &mut Ui) {
    let narrow = ui.available_width() < NARROW;
    Panel::top("top").exact_size(38.0).show(ui, |ui| panels::top::show(studio, ui));
    if narrow {
        small(studio, ui)
    } else {
        large(studio, ui)
    }
    panels::details::show(studio, ui);
    panels::palette::show(studio, ui);
}

fn padded(ui: &Ui) -> Frame {
    Frame::side_top_panel(ui.style()).inner_margin(Margin::symmetric(12, 8))
}

fn large(studio: &mut Studio, ui: &mut Ui) {
    let edge = |ui: &Ui| Frame::side_top_panel(ui.style()).inner_margin(Margin::symmetric(4, 8));
    Panel::left("left edge").resizable(false).exact_size(40.0).frame(edge(ui)).show(ui, |ui| {
        ui.with_layout(Layout::top_down(Align::Center), |ui| {
            let prefs = &mut studio.prefs;
            for (name, open) in [("Shelf", &mut prefs.shelf_open), ("History", &mut prefs.history_open)] {
                if edge_tab(ui, name, *open).clicked() {
                    *open = !*open;
                }
            }
        });
    });
    Panel::right("right edge").resizable(false).exact_size(40.0).frame(edge(ui)).show(ui, |ui| {
        ui.with_layout(Layout::top_down(Align::Center), |ui| {
            let prefs = &mut studio.prefs;
            for (name, open) in [("Mix", &mut prefs.mix_open), ("Guide", &mut prefs.guide_open)] {
                if edge_tab(ui, name, *open).clicked() {
                    *open = !*open;
                }
            }
        });
    });
    let (shelf, history) = (studio.prefs.shelf_open, studio.prefs.history_open);
    if shelf || history {
        let frame = padded(ui);
        Panel::left("left").default_size(270.0).size_range(200.0..=460.0).frame(frame).show(ui, |ui| {
            if shelf && history {
                let half = ui.available_height() * 0.45;
                Panel::bottom("history").resizable(true).default_size(half).min_size(110.0).frame(Frame::NONE).show(
                    ui,
                    |ui| {
                        ui.add_space(8.0);
                        panels::history::show(studio, ui);
                    },
                );
            }
            if shelf {
                CentralPanel::default().frame(Frame::NONE).show(ui, |ui| panels::shelf::show(studio, ui));
            } else {
                panels::history::show(studio, ui);
            }
        });
    }
    let (mix, guide) = (studio.prefs.mix_open, studio.prefs.guide_open);
    if mix || guide {
        let frame = padded(ui);
        Panel::right("right").default_size(310.0).size_range(260.0..=520.0).frame(frame).show(ui, |ui| {
            if mix && guide {
                let half = ui.available_height() * 0.5;
                Panel::bottom("guide").resizable(true).default_size(half).min_size(110.0).frame(Frame::NONE).show(
                    ui,
                    |ui| {
                        ui.add_space(8.0);
                        panels::guide::show(studio, ui);
                    },
                );
            }
            if mix {
                CentralPanel::default().frame(Frame::NONE).show(ui, |ui| panels::mix::show(studio, ui));
            } else {
                panels::guide::show(studio, ui);
            }
        });
    }
    let frame = padded(ui);
    Panel::bottom("prompt").resizable(false).frame(frame).show(ui, |ui| panels::prompt::show(studio, ui));
    CentralPanel::default().frame(Frame::NONE).show(ui, |ui| canvas(studio, ui));
}

fn small(studio: &mut Studio, ui: &mut Ui) {
    let frame = padded(ui);
    let half = ui.available_height() * 0.48;
    Panel::bottom("panels").resizable(true).default_size(half).min_size(120.0).frame(frame).show(ui, |ui| {
        ui.horizontal_wrapped(|ui| {
            for (i, name) in ["Shelf", "Prompt", "Mix", "Guide", "History"].into_iter().enumerate() {
                ui.selectable_value(&mut studio.prefs.narrow_tab, i, name);
            }
        });
        match studio.prefs.narrow_tab {
            0 => panels::shelf::show(studio, ui),
            2 => panels::mix::show(studio, ui),
            3 => panels::guide::show(studio, ui),
            4 => panels::history::show(studio, ui),
            _ => panels::prompt::show(studio, ui),
        }
    });
    CentralPanel::default().frame(Frame::NONE).show(ui, |ui| canvas(studio, ui));
}

fn canvas(studio: &mut Studio, ui: &mut Ui) {
    let rect = ui.max_rect();
    let live = studio.live();
    let empty = if live.is_some() { "" } else { "Press Make image" };
    studio.canvas.show(ui, &mut studio.history, live.as_ref(), empty);
    studio.notices.show(ui, rect);
    // A file over the window: say what will happen when it is let go.
    if ui.input(|i| !i.raw.hovered_files.is_empty()) {
        ui.painter().rect_filled(rect, 0.0, egui::Color32::from_black_alpha(150));
        let text = "Drop it: models and adapters go on the shelf, pictures and recipes bring their settings back";
        super::widgets::caption(ui.painter(), rect.center(), egui::Align2::CENTER_CENTER, text);
    }
}
