//! Every picture made, with the recipe that makes it again; kept between starts.

use std::sync::Arc;

use admix_engine::Picture;
use admix_engine::mix::Recipe;
use egui::{ColorImage, Context, TextureHandle, TextureOptions};

use crate::io::kept::{self, Kept};
use crate::io::store;
use crate::session::Finished;

/// One picture (or the pictures of a batch).
pub struct Entry {
    /// Its number, growing with time.
    pub id: u64,
    /// The pictures.
    pub pictures: Vec<Arc<Picture>>,
    /// What makes them again.
    pub recipe: Recipe,
    /// Of each picture: A1111's infotext and the recipe of that picture alone.
    pub texts: Vec<(String, Recipe)>,
    /// Seconds it took, if it was made here.
    pub seconds: Option<f64>,
    textures: Vec<TextureHandle>,
    is_saved: bool,
}

impl Entry {
    /// The PNG of one of its pictures, with infotext and recipe.
    pub fn png(&self, picture: usize) -> Result<Vec<u8>, String> {
        let found = self.pictures.get(picture).zip(self.texts.get(picture));
        let (picture, (infotext, recipe)) = found.ok_or("there is no such picture")?;
        let recipe = recipe.to_json(false);
        picture.to_png(&[("parameters", infotext), ("admix", &recipe)]).map_err(|e| e.to_string())
    }

    /// The first picture's infotext.
    pub fn infotext(&self) -> &str {
        self.texts.first().map_or("", |(infotext, _)| infotext)
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

/// A picture as egui takes them.
pub fn color_image(picture: &Picture) -> ColorImage {
    ColorImage::from_rgb([picture.width, picture.height], &picture.rgb)
}

/// A picture as a texture.
pub fn upload(context: &Context, picture: &Picture) -> TextureHandle {
    context.load_texture("picture", color_image(picture), TextureOptions::LINEAR)
}

/// All pictures, oldest first.
#[derive(Default)]
pub struct History {
    /// The entries.
    pub entries: Vec<Entry>,
    next: u64,
    /// New pictures are kept for the next start; not those of a history that came from nowhere, as in tests.
    keeps: bool,
}

/// Entries kept; older ones leave.
const MOST: usize = 300;

impl History {
    /// Adds a finished picture and gives its number.
    pub fn add(&mut self, finished: Finished) -> u64 {
        self.put(finished.pictures, finished.recipe, finished.texts, Some(finished.seconds))
    }

    /// Adds a picture that came in as a file.
    pub fn add_found(&mut self, picture: Picture, recipe: Recipe, infotext: String) -> u64 {
        self.put(vec![Arc::new(picture)], recipe.clone(), vec![(infotext, recipe)], None)
    }

    fn put(
        &mut self,
        pictures: Vec<Arc<Picture>>,
        recipe: Recipe,
        texts: Vec<(String, Recipe)>,
        seconds: Option<f64>,
    ) -> u64 {
        self.next += 1;
        let entry = Entry { id: self.next, pictures, recipe, texts, seconds, textures: Vec::new(), is_saved: false };
        self.entries.push(entry);
        if self.entries.len() > MOST {
            let gone = self.entries.remove(0);
            self.forget(gone.id);
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

    /// The highest number given so far, 0 at the very first start.
    pub fn last(&self) -> u64 {
        self.next
    }

    /// Lets go of everything that lies on the device.
    pub fn drop_textures(&mut self) {
        for entry in &mut self.entries {
            entry.textures.clear();
        }
    }

    /// Takes an entry away.
    pub fn remove(&mut self, id: u64) {
        self.entries.retain(|e| e.id != id);
        self.forget(id);
    }

    /// Writes what is new to where it lasts. What cannot be written is said once, to `failed`, and not tried again.
    pub fn save(&mut self, failed: impl Fn(String) + Clone + 'static) {
        for entry in self.entries.iter_mut().filter(|e| self.keeps && !e.is_saved) {
            // The first picture stands for a batch: its recipe makes the others again.
            entry.is_saved = true;
            match entry.png(0) {
                Ok(png) => {
                    let key = kept::key(entry.id);
                    let failed = failed.clone();
                    store::start(async move { store::write(&key, &png).await }, failed);
                }
                Err(error) => failed(error),
            }
        }
    }

    /// Goes on where an earlier start ended: numbers go on after its pictures, which come later ([`History::take_kept`]), and new
    /// ones are kept as well.
    pub fn resume(keys: &[String]) -> History {
        let next = keys.iter().filter_map(|key| kept::id(key)).max().unwrap_or(0);
        History { entries: Vec::new(), next, keeps: true }
    }

    fn forget(&self, id: u64) {
        if self.keeps {
            kept::forget(vec![kept::key(id)]);
        }
    }

    /// Takes in a picture that an earlier start kept.
    pub fn take_kept(&mut self, kept: Kept) {
        let at = self.entries.partition_point(|e| e.id < kept.id);
        if self.entries.get(at).is_some_and(|e| e.id == kept.id) {
            return;
        }
        let entry = Entry {
            id: kept.id,
            pictures: vec![Arc::new(kept.picture)],
            texts: vec![(kept.infotext, kept.recipe.clone())],
            recipe: kept.recipe,
            seconds: None,
            textures: Vec::new(),
            is_saved: true,
        };
        self.entries.insert(at, entry);
    }
}

/// The keys to read, and those too old to be kept any longer.
pub fn newest_keys(mut keys: Vec<String>) -> (Vec<String>, Vec<String>) {
    keys.retain(|key| kept::id(key).is_some());
    keys.sort_by_key(|key| kept::id(key));
    let old = keys.len().saturating_sub(MOST);
    let old = keys.drain(..old).collect();
    (keys, old)
}
