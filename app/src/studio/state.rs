//! The studio seen from outside: what scripts may read.

use serde_json::{Value, json};

use super::Studio;
use crate::session::{Purpose, Stage};

impl Studio {
    /// What is on show, for scripts: see `web/boot.js`.
    pub fn state(&self) -> Value {
        let live = self.live().map(|live| {
            let (stage, done, total) = match live.stage {
                Stage::Starting => ("starting", 0, 0),
                Stage::Weights { done, total } => ("weights", done, total),
                Stage::Text => ("text", 0, 0),
                Stage::Step { done, total } => ("step", done, total),
                Stage::Decode { done, total } => ("decode", done, total),
                Stage::Export { done, total } => ("export", done, total),
            };
            let purpose = match live.purpose {
                Purpose::Asked => "asked",
                Purpose::Scrub => "quick",
                Purpose::Settle => "settle",
                Purpose::Study => "study",
            };
            let preview = live.preview.as_ref().map(|(_, step)| step);
            json!({ "id": live.id, "purpose": purpose, "stage": stage, "done": done, "total": total, "preview": preview })
        });
        // Older ones are read when they come into sight.
        let history = self.history.entries.iter().filter(|e| e.is_known()).map(|e| {
            json!({ "id": e.id, "prompt": e.recipe.sample.prompt, "seed": e.recipe.sample.seed, "size": e.size, "seconds": e.seconds })
        });
        let shelf = self.shelf.items.iter().map(|i| {
            json!({ "reference": i.reference, "name": i.name, "adapter": i.is_adapter(), "builtin": i.builtin,
                    "read": i.card.is_some(), "sound": i.is_sound(), "line": i.line() })
        });
        let recipe: Value = serde_json::from_str(&self.document.effective().to_json(false)).unwrap_or_default();
        json!({
            "device": self.device_line(),
            "busy": self.desk.is_busy(),
            "waiting": self.desk.waiting(),
            "live": live,
            "recipe": recipe,
            "shown": self.canvas.shown,
            "history": history.collect::<Vec<_>>(),
            "shelf": shelf.collect::<Vec<_>>(),
            "notices": self.notices.all().map(|(level, title)| json!({ "level": level, "title": title })).collect::<Vec<_>>(),
            "liveMode": self.prefs.live,
            "offers": self.suggest.offers.iter().map(|o| {
                json!({ "reference": o.reference, "name": o.name, "words": o.words, "span": [o.place.start, o.place.end], "weight": o.weight })
            }).collect::<Vec<_>>(),
        })
    }
}
