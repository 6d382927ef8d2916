//! The panels as tiles: where each is, how large, and which are on show. Dragging a heading moves a panel.

use egui::{Rect, Sense, Ui, WidgetText, vec2};
use egui_tiles::{Behavior, LinearDir, SimplificationOptions, TileId, Tiles, Tree, UiResponse};
use serde::{Deserialize, Serialize};

use super::Studio;
use super::panels;
use super::prefs::Prefs;
use super::theme::palette;

/// A panel.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Pane {
    /// The picture with the prompt under it.
    Canvas,
    /// What there is to mix.
    Shelf,
    /// What was made.
    History,
    /// What is mixed.
    Mix,
    /// How sampling is guided.
    Guide,
    /// Pictures over two or three settings.
    Grid,
}

/// All panels, in the order of the narrow screen's tabs; the canvas is always there.
pub const PANES: &[Pane] = &[Pane::Canvas, Pane::Shelf, Pane::History, Pane::Mix, Pane::Guide, Pane::Grid];

impl Pane {
    /// Its name for people.
    pub fn name(self) -> &'static str {
        match self {
            Pane::Canvas => "Canvas",
            Pane::Shelf => "Shelf",
            Pane::History => "History",
            Pane::Mix => "Mix",
            Pane::Guide => "Guide",
            Pane::Grid => "Grid",
        }
    }

    /// Whether it is on show; the canvas always is.
    pub fn open(self, prefs: &mut Prefs) -> Option<&mut bool> {
        match self {
            Pane::Canvas => None,
            Pane::Shelf => Some(&mut prefs.shelf_open),
            Pane::History => Some(&mut prefs.history_open),
            Pane::Mix => Some(&mut prefs.mix_open),
            Pane::Guide => Some(&mut prefs.guide_open),
            Pane::Grid => Some(&mut prefs.grid_open),
        }
    }

    fn show(self, studio: &mut Studio, ui: &mut Ui) {
        match self {
            Pane::Canvas => panels::stage::show(studio, ui),
            Pane::Shelf => panels::shelf::show(studio, ui),
            Pane::History => panels::history::show(studio, ui),
            Pane::Mix => panels::mix::show(studio, ui),
            Pane::Guide => panels::guide::show(studio, ui),
            Pane::Grid => panels::grid::show(studio, ui),
        }
    }
}

/// Draws one panel alone, for narrow screens.
pub fn show_one(studio: &mut Studio, ui: &mut Ui, pane: Pane) {
    pane.show(studio, ui);
}

/// Shelf and history to the left of the canvas, mix, guide and grid to its right.
pub fn default_tree() -> Tree<Pane> {
    let mut tiles = Tiles::default();
    let mut column = |panes: &[Pane]| {
        let children: Vec<TileId> = panes.iter().map(|p| tiles.insert_pane(*p)).collect();
        tiles.insert_vertical_tile(children)
    };
    let left = column(&[Pane::Shelf, Pane::History]);
    let right = column(&[Pane::Mix, Pane::Guide, Pane::Grid]);
    let canvas = tiles.insert_pane(Pane::Canvas);
    let mut root = egui_tiles::Linear::new(LinearDir::Horizontal, vec![left, canvas, right]);
    for (tile, share) in [(left, 0.42), (canvas, 1.0), (right, 0.48)] {
        root.shares.set_share(tile, share);
    }
    let root = tiles.insert_container(root);
    Tree::new(egui::Id::unique("panels"), root, tiles)
}

/// A remembered arrangement, if it still has every panel once.
pub fn checked(tree: Option<Tree<Pane>>) -> Tree<Pane> {
    let has = |tree: &Tree<Pane>, pane: &Pane| {
        tree.tiles.tiles().filter(|t| matches!(t, egui_tiles::Tile::Pane(p) if p == pane)).count() == 1
    };
    tree.filter(|t| t.root().is_some() && PANES.iter().all(|p| has(t, p))).unwrap_or_else(default_tree)
}

/// Draws all panels that are on show.
pub fn show(studio: &mut Studio, ui: &mut Ui) {
    let mut tree = std::mem::replace(&mut studio.tiles, Tree::empty(egui::Id::unique("panels")));
    for pane in PANES {
        if let (Some(tile), Some(open)) = (tree.tiles.find_pane(pane), pane.open(&mut studio.prefs)) {
            let open = *open;
            if tree.is_visible(tile) != open {
                tree.set_visible(tile, open);
                if open {
                    tree.make_active(|id, _| id == tile);
                }
            }
        }
    }
    tree.ui(&mut Arranged { studio }, ui);
    studio.tiles = tree;
}

struct Arranged<'a> {
    studio: &'a mut Studio,
}

impl Behavior<Pane> for Arranged<'_> {
    fn pane_ui(&mut self, ui: &mut Ui, tile: TileId, pane: &mut Pane) -> UiResponse {
        let p = palette(ui);
        let whole = ui.max_rect();
        if *pane == Pane::Canvas {
            pane.show(self.studio, ui);
            return UiResponse::None;
        }
        ui.painter().rect_filled(whole, 0.0, p.panel);
        ui.scope_builder(egui::UiBuilder::new().max_rect(whole.shrink2(vec2(12.0, 8.0))), |ui| {
            ui.set_clip_rect(whole.intersect(ui.clip_rect()));
            pane.show(self.studio, ui);
        });
        // The heading's words are the handle; the buttons beside them stay buttons.
        let handle = Rect::from_min_size(whole.min, vec2((whole.width() * 0.4).min(110.0), 34.0));
        let handle = ui.interact(handle, ui.scope_id().with((tile, "handle")), Sense::drag());
        let handle = handle.on_hover_cursor(egui::CursorIcon::Grab);
        if handle.drag_started() { UiResponse::DragStarted } else { UiResponse::None }
    }

    fn tab_title_for_pane(&mut self, pane: &Pane) -> WidgetText {
        pane.name().into()
    }

    fn gap_width(&self, _style: &egui::Style) -> f32 {
        2.0
    }

    fn min_size(&self) -> f32 {
        120.0
    }

    fn simplification_options(&self) -> SimplificationOptions {
        // Columns stay when all but one of their panels are hidden.
        SimplificationOptions { prune_single_child_containers: false, ..SimplificationOptions::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn arrangements_are_remembered_or_made_anew() {
        let mut tree = default_tree();
        let grid = tree.tiles.find_pane(&Pane::Grid).expect("is there");
        tree.set_visible(grid, false);
        let text = serde_json::to_string(&tree).expect("serialises");
        let back: Tree<Pane> = serde_json::from_str(&text).expect("reads");
        assert!(!checked(Some(back)).is_visible(grid));
        // One panel lost: an older program's arrangement.
        tree.tiles.remove(grid);
        assert!(checked(Some(tree)).tiles.find_pane(&Pane::Grid).is_some());
    }
}
