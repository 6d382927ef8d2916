//! What is kept between starts, apart from the pictures.

use admix_engine::mix::Recipe;
use egui::{Context, ThemePreference};
use egui_tiles::Tree;
use serde::{Deserialize, Deserializer, Serialize};

use super::document::Document;
use super::shelf::SavedShelf;
use super::studies::GridSetup;
use super::tiles::Pane;

/// What is remembered of the screen. A first start shows the canvas and the button; panels are labelled edges.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Prefs {
    /// Shelf shown.
    pub shelf_open: bool,
    /// History shown.
    pub history_open: bool,
    /// Mix shown.
    pub mix_open: bool,
    /// Guide shown.
    pub guide_open: bool,
    /// Grid shown.
    pub grid_open: bool,
    /// Folders whose new files appear on the shelf.
    pub watched: Vec<std::path::PathBuf>,
    /// Every change redraws.
    pub live: bool,
    /// The panel shown on a narrow screen.
    pub narrow_tab: usize,
    /// A picture was made before: the panels have been opened once.
    pub begun: bool,
    /// Light or dark, where somebody chose.
    #[serde(deserialize_with = "lenient")]
    pub theme: Option<ThemePreference>,
    /// How much larger than usual everything is drawn.
    pub zoom: Option<f32>,
}

impl Prefs {
    /// Gives the window its looks back: in a tab nobody else remembers them.
    pub fn dress(&self, context: &Context) {
        if let Some(theme) = self.theme {
            context.set_theme(theme);
        }
        if let Some(zoom) = self.zoom.filter(|z| (0.2..=5.0).contains(z)) {
            context.set_zoom_factor(zoom);
        }
    }

    /// Notes the window's looks.
    pub fn note_looks(&mut self, context: &Context) {
        self.theme = Some(context.options(|o| o.theme_preference));
        self.zoom = Some(context.zoom_factor());
    }
}

/// What is kept between starts, apart from the pictures.
#[derive(Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Saved {
    #[serde(deserialize_with = "lenient")]
    pub document: Option<Document>,
    pub prefs: Prefs,
    pub shelf: SavedShelf,
    #[serde(deserialize_with = "lenient")]
    pub grid: GridSetup,
    #[serde(deserialize_with = "lenient")]
    pub tiles: Option<Tree<Pane>>,
    /// The mix that was written last, so that it still counts as saved.
    #[serde(deserialize_with = "lenient")]
    pub exported: Option<Recipe>,
}

/// A part that this version cannot read (a method it no longer has, say) takes its default; the other parts stay.
fn lenient<'de, D: Deserializer<'de>, T: Default + serde::de::DeserializeOwned>(from: D) -> Result<T, D::Error> {
    let value = serde_json::Value::deserialize(from)?;
    Ok(serde_json::from_value(value).unwrap_or_else(|error| {
        log::warn!("a part of the kept settings cannot be read: {error}");
        T::default()
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_costs_only_itself() {
        let saved = Saved { prefs: Prefs { live: true, ..Prefs::default() }, ..Saved::default() };
        let mut json = serde_json::to_value(&saved).expect("serialises");
        json["document"] =
            serde_json::json!({"recipe": {"admix": 1, "base": {"ref": "x"}, "merge": [{"method": "gone"}]}});
        json["tiles"] = serde_json::json!(7);
        let back: Saved = serde_json::from_value(json).expect("reads");
        assert!(back.prefs.live && back.document.is_none() && back.tiles.is_none());
        assert!(serde_json::from_str::<Saved>("{}").is_ok(), "an older program kept less");
    }

    #[test]
    fn looks_come_back() {
        let (before, after) = (Context::default(), Context::default());
        before.set_theme(egui::Theme::Light);
        before.set_zoom_factor(1.5);
        // A new factor holds from the next frame on.
        let _ = before.run_ui(Default::default(), |_| {});
        let mut prefs = Prefs::default();
        prefs.note_looks(&before);
        let kept = serde_json::to_string(&prefs).expect("serialises");
        serde_json::from_str::<Prefs>(&kept).expect("reads").dress(&after);
        let _ = after.run_ui(Default::default(), |_| {});
        assert_eq!(after.options(|o| o.theme_preference), ThemePreference::Light);
        assert_eq!(after.zoom_factor(), 1.5);
    }
}
