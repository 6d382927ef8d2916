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

/// The picture, the panel that is chosen under it, and at the very bottom the choice: there it stays where it is whatever is chosen.
fn small(studio: &mut Studio, ui: &mut Ui) {
    let frame = padded(ui);
    Panel::bottom("tabs").resizable(false).frame(frame).show(ui, |ui| tabs(studio, ui));
    let pane = PANES.get(studio.prefs.narrow_tab).copied().unwrap_or(Pane::Canvas);
    if pane == Pane::Canvas {
        // As high as it is, so that the picture has the rest.
        Panel::bottom("prompt").resizable(false).frame(frame).show(ui, |ui| panels::prompt::show(studio, ui));
    } else {
        let (half, most) = (ui.available_height() * 0.5, (ui.available_height() - 120.0).max(120.0));
        let panel = Panel::bottom("panels").resizable(true).default_size(half).size_range(120.0..=most);
        panel.frame(frame).show(ui, |ui| {
            // One height for all of them, however little is in one.
            ui.set_min_height(ui.available_height());
            tiles::show_one(studio, ui, pane);
        });
    }
    CentralPanel::default().frame(Frame::NONE).show(ui, |ui| panels::stage::picture(studio, ui));
}

fn tabs(studio: &mut Studio, ui: &mut Ui) {
    ui.horizontal(|ui| {
        if ui.available_width() < 440.0 {
            ui.spacing_mut().item_spacing.x = 1.0;
            ui.spacing_mut().button_padding.x = 6.0;
        }
        for (i, pane) in PANES.iter().enumerate() {
            // On a narrow screen the canvas is above: its tab is the prompt.
            let name = if *pane == Pane::Canvas { "Prompt" } else { pane.name() };
            ui.selectable_value(&mut studio.prefs.narrow_tab, i, name);
        }
        if studio.prefs.narrow_tab != 0 {
            ui.with_layout(Layout::right_to_left(Align::Center), |ui| panels::prompt::short(studio, ui));
        }
    });
}
