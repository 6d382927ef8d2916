//! Every picture made, with the recipe that makes it again; kept between starts.

use std::sync::Arc;

use admix_engine::Picture;
use admix_engine::mix::Recipe;
use egui::{ColorImage, Context, TextureHandle, TextureOptions};

use crate::session::Finished;

/// One picture (or the pictures of a batch).
pub struct Entry {
    /// Its number, growing with time.
    pub id: u64,
    /// The pictures.
    pub pictures: Vec<Arc<Picture>>,
    /// What makes them again.
    pub recipe: Recipe,
    /// A1111's infotext.
    pub infotext: String,
    /// Seconds it took, if it was made here.
    pub seconds: Option<f64>,
    textures: Vec<TextureHandle>,
    is_saved: bool,
}

impl Entry {
    /// The PNG of one of its pictures, with infotext and recipe.
    pub fn png(&self, picture: usize) -> Result<Vec<u8>, String> {
        let picture = self.pictures.get(picture).ok_or("there is no such picture")?;
        let recipe = self.recipe.to_json(false);
        picture.to_png(&[("parameters", &self.infotext), ("admix", &recipe)]).map_err(|e| e.to_string())
    }

    /// The pictures on the device, uploaded when they are first drawn.
    pub fn textures(&mut self, context: &Context) -> &[TextureHandle] {
        if self.textures.is_empty() {
            self.textures = self.pictures.iter().map(|p| upload(context, p)).collect();
        }
        &self.textures
    }

    /// A file name for people.
    pub fn file_name(&self) -> String {
        let prompt = self.recipe.sample.prompt.as_deref().unwrap_or("picture");
        let words: String = prompt.chars().map(|c| if c.is_alphanumeric() { c } else { '-' }).take(40).collect();
        let seed = self.recipe.sample.seed.unwrap_or(0);
        format!("{}-{seed}.png", words.trim_matches('-'))
    }
}

/// A picture as a texture.
pub fn upload(context: &Context, picture: &Picture) -> TextureHandle {
    let image = ColorImage::from_rgb([picture.width, picture.height], &picture.rgb);
    context.load_texture("picture", image, TextureOptions::LINEAR)
}

/// All pictures, oldest first.
#[derive(Default)]
pub struct History {
    /// The entries.
    pub entries: Vec<Entry>,
    next: u64,
}

/// Entries kept; older ones leave.
const MOST: usize = 300;

impl History {
    /// Adds a finished picture and gives its number.
    pub fn add(&mut self, finished: Finished) -> u64 {
        self.put(finished.pictures, finished.recipe, finished.infotext, Some(finished.seconds))
    }

    /// Adds a picture that came in as a file.
    pub fn add_found(&mut self, picture: Picture, recipe: Recipe, infotext: String) -> u64 {
        self.put(vec![Arc::new(picture)], recipe, infotext, None)
    }

    fn put(&mut self, pictures: Vec<Arc<Picture>>, recipe: Recipe, infotext: String, seconds: Option<f64>) -> u64 {
        self.next += 1;
        let entry = Entry { id: self.next, pictures, recipe, infotext, seconds, textures: Vec::new(), is_saved: false };
        self.entries.push(entry);
        if self.entries.len() > MOST {
            let gone = self.entries.remove(0);
            storage::remove(gone.id);
        }
        self.next
    }

    /// The entry of a number.
    pub fn get(&mut self, id: u64) -> Option<&mut Entry> {
        self.entries.iter_mut().find(|e| e.id == id)
    }

    /// The newest entry's number.
    pub fn newest(&self) -> Option<u64> {
        self.entries.last().map(|e| e.id)
    }

    /// Takes an entry away.
    pub fn remove(&mut self, id: u64) {
        self.entries.retain(|e| e.id != id);
        storage::remove(id);
    }

    /// Writes what is new to where it lasts.
    pub fn save(&mut self) {
        for entry in self.entries.iter_mut().filter(|e| !e.is_saved) {
            // The first picture stands for a batch: its recipe makes the others again.
            match entry.png(0).and_then(|png| storage::write(entry.id, &png)) {
                Ok(()) => entry.is_saved = true,
                Err(error) => log::warn!("history: {error}"),
            }
        }
    }

    /// What was there when the program was last closed.
    pub fn load() -> History {
        let mut history = History::default();
        for (id, png) in storage::read_all() {
            let restored = crate::io::restore(&png, &Recipe::new("builtin:mini"));
            let picture = Picture::decode(&png, "history");
            let texts = admix_engine::picture::png_texts(&png).unwrap_or_default();
            if let (Ok(restored), Ok(picture)) = (restored, picture) {
                let infotext = texts.into_iter().find(|(k, _)| k == "parameters").map(|(_, t)| t).unwrap_or_default();
                history.next = history.next.max(id);
                history.entries.push(Entry {
                    id,
                    pictures: vec![Arc::new(picture)],
                    recipe: restored.recipe,
                    infotext,
                    seconds: None,
                    textures: Vec::new(),
                    is_saved: true,
                });
            }
        }
        history
    }
}

/// Files in the program's data folder.
#[cfg(not(target_arch = "wasm32"))]
mod storage {
    use std::path::PathBuf;

    fn folder() -> Option<PathBuf> {
        // Tests and trial runs keep their pictures apart.
        match std::env::var_os("ADMIX_DATA") {
            Some(path) => Some(PathBuf::from(path).join("history")),
            None => Some(eframe::storage_dir(crate::studio::frame::APP_ID)?.join("history")),
        }
    }

    fn path(id: u64) -> Option<PathBuf> {
        Some(folder()?.join(format!("{id:08}.png")))
    }

    pub fn write(id: u64, png: &[u8]) -> Result<(), String> {
        let path = path(id).ok_or("there is no data folder")?;
        let fail = |e: std::io::Error| format!("cannot write {}: {e}", path.display());
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(fail)?;
        }
        crate::io::pick::write_beside(&path, png).map_err(fail)
    }

    pub fn remove(id: u64) {
        if let Some(path) = path(id) {
            // It may never have been written.
            let _ = std::fs::remove_file(path);
        }
    }

    pub fn read_all() -> Vec<(u64, Vec<u8>)> {
        let Some(entries) = folder().and_then(|f| std::fs::read_dir(f).ok()) else { return Vec::new() };
        let mut found: Vec<(u64, PathBuf)> = entries
            .filter_map(|e| {
                let path = e.ok()?.path();
                let id = path.file_stem()?.to_str()?.parse().ok()?;
                (path.extension()? == "png").then_some((id, path))
            })
            .collect();
        found.sort();
        let first = found.len().saturating_sub(super::MOST);
        found.drain(..first);
        found.into_iter().filter_map(|(id, path)| Some((id, std::fs::read(path).ok()?))).collect()
    }
}

/// The browser's local storage.
#[cfg(target_arch = "wasm32")]
mod storage {
    use crate::io::assets;

    pub fn write(id: u64, png: &[u8]) -> Result<(), String> {
        assets::keep(id, png)
    }

    pub fn remove(id: u64) {
        assets::forget(id);
    }

    pub fn read_all() -> Vec<(u64, Vec<u8>)> {
        assets::kept()
    }
}
