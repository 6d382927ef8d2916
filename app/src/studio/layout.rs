//! Where everything is: tiles around the canvas on a wide window; on a narrow one the picture first and one panel under it.

use egui::{Align, CentralPanel, Frame, Layout, Margin, Panel, Ui};

use super::Studio;
use super::panels;
use super::tiles::{self, PANES, Pane};
use super::widgets::edge_tab;

/// Narrower than this the image goes first and one panel is under it.
const NARROW: f32 = 860.0;

/// Panels that open from the left edge, and from the right one.
const EDGES: [&[Pane]; 2] = [&[Pane::Shelf, Pane::History], &[Pane::Mix, Pane::Guide, Pane::Grid]];

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
    panels::card_edit::show(studio, ui);
    panels::palette::show(studio, ui);
    panels::keys::show(studio, ui);
}

/// The frame of panels that are no tiles.
pub fn padded(ui: &Ui) -> Frame {
    Frame::side_top_panel(ui.style()).inner_margin(Margin::symmetric(12, 8))
}

fn large(studio: &mut Studio, ui: &mut Ui) {
    let frame = Frame::side_top_panel(ui.style()).inner_margin(Margin::symmetric(4, 8));
    for (panel, panes) in [Panel::left("left edge"), Panel::right("right edge")].into_iter().zip(EDGES) {
        panel.resizable(false).exact_size(40.0).frame(frame).show(ui, |ui| {
            ui.with_layout(Layout::top_down(Align::Center), |ui| {
                for pane in panes {
                    let Some(open) = pane.open(&mut studio.prefs) else { continue };
                    if edge_tab(ui, pane.name(), *open).clicked() {
                        *open = !*open;
                    }
                }
            });
        });
    }
    CentralPanel::default().frame(Frame::NONE).show(ui, |ui| tiles::show(studio, ui));
}

fn small(studio: &mut Studio, ui: &mut Ui) {
    let frame = padded(ui);
    let half = ui.available_height() * 0.48;
    Panel::bottom("panels").resizable(true).default_size(half).min_size(120.0).frame(frame).show(ui, |ui| {
        ui.horizontal_wrapped(|ui| {
            for (i, pane) in PANES.iter().enumerate() {
                // On a narrow screen the canvas is above: its tab is the prompt.
                let name = if *pane == Pane::Canvas { "Prompt" } else { pane.name() };
                ui.selectable_value(&mut studio.prefs.narrow_tab, i, name);
            }
        });
        match PANES.get(studio.prefs.narrow_tab) {
            None | Some(Pane::Canvas) => panels::prompt::show(studio, ui),
            Some(pane) => tiles::show_one(studio, ui, *pane),
        }
    });
    CentralPanel::default().frame(Frame::NONE).show(ui, |ui| panels::stage::picture(studio, ui));
}
