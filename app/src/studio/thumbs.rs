//! The small pictures of the shelf's rows: built-in things bring theirs (`cargo run --release --workspace --example thumbnails` makes them), others
//! get one by a quick render of one prompt, kept on disk.

use std::collections::HashMap;

use admix_engine::Picture;
use admix_engine::mix::Recipe;
use admix_engine::mix::recipe::{AdapterUse, ModelUse, Stage};
use egui::{Context, TextureHandle};

use super::document::Document;
use super::history::upload;
use super::shelf::{Item, Shelf};
use crate::session::{Card, Desk, Finished};

/// Name and PNG of the thumbnails that come with the program.
static BUILT_IN: &[(&str, &[u8])] = include!(concat!(env!("OUT_DIR"), "/thumbnails.rs"));
/// Pixels along an edge.
const EDGE: usize = 64;
/// Seconds without a key or a click before thumbnails are made.
const IDLE_SECONDS: f64 = 1.5;
/// Models whose quick render takes longer get thumbnails from the pictures people make, not by themselves.
const MOST_SECONDS: f64 = 2.5;
/// The knob that keeps adapters out of the weights, so that a thumbnail leaves the mix on the device as it is.
const BESIDE: (&str, &str) = (admix_engine::settings::ADAPTERS_KNOB, "unmerged");

enum Thumb {
    Ready(TextureHandle),
    /// Not on disk; may be made.
    Absent,
    /// Cannot be made.
    Failed,
}

/// All thumbnails that were asked for.
#[derive(Default)]
pub struct Thumbs {
    held: HashMap<String, Thumb>,
    /// Rows in sight without one.
    wanted: Vec<String>,
    running: Option<(u64, String)>,
    /// Seconds of the last render, to know what a thumbnail costs.
    pace: Option<f64>,
    busy_until: f64,
}

impl Thumbs {
    /// The thumbnail of a row in sight, if there is one.
    pub fn get(&mut self, context: &Context, item: &Item) -> Option<TextureHandle> {
        let thumb = self.held.entry(item.reference.clone()).or_insert_with(|| {
            let kept = storage::read(&item.reference).and_then(|png| Picture::decode(&png, "thumbnail").ok());
            let picture = kept.or_else(|| Picture::decode(built_in(&item.reference)?, "thumbnail").ok());
            picture.map_or(Thumb::Absent, |p| Thumb::Ready(upload(context, &p)))
        });
        match thumb {
            Thumb::Ready(texture) => return Some(texture.clone()),
            Thumb::Absent if !self.wanted.contains(&item.reference) => self.wanted.push(item.reference.clone()),
            _ => {}
        }
        None
    }

    /// Notes how long a render took.
    pub fn note_pace(&mut self, seconds: f64) {
        self.pace = Some(seconds);
    }

    /// A picture made with this one thing alone is its thumbnail.
    pub fn learn(&mut self, context: &Context, finished: &Finished) {
        let recipe = &finished.recipe;
        let reference = match (&recipe.merge[..], &recipe.adapters[..]) {
            ([], []) => &recipe.base.reference,
            ([], [one]) => &one.source.reference,
            _ => return,
        };
        if let (false, Some(picture)) =
            (matches!(self.held.get(reference), Some(Thumb::Ready(_))), finished.pictures.first())
        {
            self.set(context, reference, picture);
        }
    }

    /// Gives a thing a thumbnail.
    pub fn set(&mut self, context: &Context, reference: &str, picture: &Picture) {
        let side = |n: usize| (n * EDGE / picture.width.max(picture.height).max(1)).max(1);
        let small = picture.resized(side(picture.width), side(picture.height));
        if let Ok(png) = small.to_png(&[]) {
            storage::write(reference, png);
        }
        self.held.insert(reference.into(), Thumb::Ready(upload(context, &small)));
    }

    /// The next thumbnail to make, when nothing else is to be done.
    pub fn next(
        &mut self,
        shelf: &Shelf,
        document: &Document,
        desk: &Desk,
        context: &Context,
    ) -> Option<(String, Recipe)> {
        let now = context.input(|i| {
            let acts = i.pointer.any_down() || i.pointer.delta() != egui::Vec2::ZERO || !i.events.is_empty();
            if acts { (i.time, true) } else { (i.time, false) }
        });
        if now.1 {
            self.busy_until = now.0 + IDLE_SECONDS;
        }
        let wanted = std::mem::take(&mut self.wanted);
        if wanted.is_empty() || self.running.is_some() || self.pace.is_none_or(|s| s > MOST_SECONDS) {
            return None;
        }
        if now.0 < self.busy_until || desk.is_busy() {
            let wait = (self.busy_until - now.0).clamp(0.2, IDLE_SECONDS);
            context.request_repaint_after(std::time::Duration::from_secs_f64(wait));
            return None;
        }
        // Those whose header is still being read, or that cannot be shown alone, are asked again when they are in sight next.
        let ready = |reference: String| Some((reference.clone(), recipe(shelf.find(&reference)?, shelf, document)?));
        wanted.into_iter().find_map(ready)
    }

    /// Notes the work that makes a thumbnail.
    pub fn asked(&mut self, reference: String, id: u64) {
        self.running = Some((id, reference));
    }

    /// Takes a finished thumbnail.
    pub fn take(&mut self, context: &Context, id: u64, finished: &Finished) {
        if let Some((_, reference)) = self.running.take_if(|r| r.0 == id)
            && let Some(picture) = finished.pictures.first()
        {
            self.set(context, &reference, picture);
        }
    }

    /// A thumbnail that was not made.
    pub fn miss(&mut self, id: u64) -> bool {
        match self.running.take_if(|r| r.0 == id) {
            Some((_, reference)) => {
                self.held.insert(reference, Thumb::Failed);
                true
            }
            None => false,
        }
    }
}

/// The thumbnail that came with a built-in thing.
fn built_in(reference: &str) -> Option<&'static [u8]> {
    let name = reference.strip_prefix("builtin:")?;
    BUILT_IN.iter().find(|(n, _)| *n == name).map(|(_, png)| *png)
}

/// What shows a thing at its clearest: one prompt, one seed, it alone on the model in use.
fn recipe(item: &Item, shelf: &Shelf, document: &Document) -> Option<Recipe> {
    let base = shelf.find(&document.recipe.base.reference)?;
    let Some(Ok(Card::Model(model))) = &base.card else { return None };
    let mut fresh = Document::default();
    fresh.recipe.base = document.recipe.base.clone();
    let mut sample = fresh.recipe.sample.clone();
    (sample.width, sample.height) = (Some(model.native[0]), Some(model.native[1]));
    fresh.recipe.sample = sample;
    match item.card.as_ref()?.as_ref().ok()? {
        Card::Adapter(a) if a.matched > 0 && a.trouble.is_none() => {
            fresh.recipe.adapters.push(AdapterUse::new(item.reference.clone(), 1.0));
            fresh.recipe.sample.set.insert(BESIDE.0.into(), BESIDE.1.into());
            fresh.add_first_trigger(&a.triggers);
        }
        // Another whole model would push the one in use off the device.
        Card::Model(_) if item.reference == base.reference => {}
        Card::Model(m) if m.lacks.is_some() && m.trouble.is_none() && m.family == model.family => {
            fresh.recipe.merge.push(Stage {
                method: "weighted_sum".into(),
                models: vec![ModelUse::new(item.reference.clone(), 1.0)],
                params: Default::default(),
                blocks: Default::default(),
                seed: None,
            });
        }
        _ => return None,
    }
    Some(super::live::quick(&fresh.recipe))
}

#[cfg(not(any(target_arch = "wasm32", test)))]
mod storage {
    use std::hash::{DefaultHasher, Hash, Hasher};
    use std::path::PathBuf;

    /// One file a thing; another version of the file or of the program has another.
    fn path(reference: &str) -> Option<PathBuf> {
        let mut hasher = DefaultHasher::new();
        (reference, env!("CARGO_PKG_VERSION")).hash(&mut hasher);
        if let Ok(about) = std::fs::metadata(reference) {
            (about.len(), about.modified().ok()).hash(&mut hasher);
        }
        Some(crate::studio::frame::data_folder()?.join("thumbnails").join(format!("{:016x}.png", hasher.finish())))
    }

    pub fn read(reference: &str) -> Option<Vec<u8>> {
        std::fs::read(path(reference)?).ok()
    }

    /// A few kilobytes; a failure costs another render, no more.
    pub fn write(reference: &str, png: Vec<u8>) {
        let Some(path) = path(reference) else { return };
        let made = path.parent().map_or(Ok(()), std::fs::create_dir_all);
        if let Err(error) = made.and_then(|()| crate::io::pick::write_beside(&path, &png)) {
            log::warn!("the thumbnail {} cannot be kept: {error}", path.display());
        }
    }
}

/// A tab makes them anew; tests must not find those of the person who runs them.
#[cfg(any(target_arch = "wasm32", test))]
mod storage {
    pub fn read(_reference: &str) -> Option<Vec<u8>> {
        None
    }

    pub fn write(_reference: &str, _png: Vec<u8>) {}
}
