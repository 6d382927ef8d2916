//! One entry of the history: pictures made at once, of which the pixels may lie on disk only.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use admix_engine::Picture;
use admix_engine::mix::Recipe;
use egui::{Context, TextureHandle};

use super::upload;
use crate::io::kept::{self, Kept};

/// Where an entry's pixels are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Pixels {
    /// In memory.
    Here,
    /// On disk.
    Kept,
    /// On disk, and something that is drawn needs them.
    Wanted,
    /// Being read.
    Asked,
    /// They cannot be read, for this reason.
    Lost(String),
}

/// One picture (or the pictures of a batch).
pub struct Entry {
    /// Its number, growing with time.
    pub id: u64,
    /// The pictures; none while their pixels are not in memory.
    pub pictures: Vec<Arc<Picture>>,
    /// What makes them again; of no meaning before [`Entry::is_known`].
    pub recipe: Recipe,
    /// Of each picture: A1111's infotext and the recipe of that picture alone.
    pub texts: Vec<(String, Recipe)>,
    /// Seconds it took, if it was made here.
    pub seconds: Option<f64>,
    /// Pixels of its first picture, once known: width, height.
    pub size: Option<[usize; 2]>,
    /// The numbers of its pictures in its batch.
    pub(super) parts: Vec<usize>,
    pub(super) pixels: Pixels,
    /// It was handed to the store.
    pub(super) is_saved: bool,
    /// The store has it whole.
    pub(super) is_on_disk: Arc<AtomicBool>,
    /// When it was last drawn.
    pub(super) used: u64,
    textures: Vec<TextureHandle>,
    small: Option<TextureHandle>,
}

impl Entry {
    /// An entry with its pictures.
    pub(super) fn new(id: u64, pictures: Vec<Arc<Picture>>, recipe: Recipe, texts: Vec<(String, Recipe)>) -> Entry {
        let size = pictures.first().map(|p| [p.width, p.height]);
        let parts = (0..pictures.len()).collect();
        Entry { pictures, recipe, texts, size, pixels: Pixels::Here, is_saved: false, ..Entry::kept(id, parts) }
    }

    /// An entry of which only its files are known.
    pub(super) fn kept(id: u64, parts: Vec<usize>) -> Entry {
        Entry {
            id,
            pictures: Vec::new(),
            recipe: Recipe::new("builtin:mini"),
            texts: Vec::new(),
            seconds: None,
            size: None,
            parts,
            pixels: Pixels::Kept,
            is_saved: true,
            is_on_disk: Arc::new(AtomicBool::new(true)),
            used: 0,
            textures: Vec::new(),
            small: None,
        }
    }

    /// Pictures it has.
    pub fn count(&self) -> usize {
        self.parts.len()
    }

    /// True once its recipe was read.
    pub fn is_known(&self) -> bool {
        !self.texts.is_empty()
    }

    /// Why its pictures cannot be had, if they cannot.
    pub fn trouble(&self) -> Option<&str> {
        if let Pixels::Lost(why) = &self.pixels { Some(why) } else { None }
    }

    /// Where its pictures are kept.
    pub(super) fn keys(&self) -> Vec<String> {
        self.parts.iter().map(|part| kept::key(self.id, *part)).collect()
    }

    /// The PNG of one of its pictures, with infotext and recipe. Errors: there is no such picture, or it is on disk only.
    pub fn png(&self, picture: usize) -> Result<Vec<u8>, String> {
        if self.pictures.is_empty() {
            return Err(self.trouble().unwrap_or("this picture is still being read; ask again").into());
        }
        let found = self.pictures.get(picture).zip(self.texts.get(picture));
        let (picture, (infotext, recipe)) = found.ok_or("there is no such picture")?;
        let recipe = recipe.to_json(false);
        picture.to_png(&[("parameters", infotext), ("admix", &recipe)]).map_err(|e| e.to_string())
    }

    /// The first picture's infotext.
    pub fn infotext(&self) -> &str {
        self.texts.first().map_or("", |(infotext, _)| infotext)
    }

    /// A file name for people.
    pub fn file_name(&self) -> String {
        let prompt = self.recipe.sample.prompt.as_deref().unwrap_or("picture");
        let words: String = prompt.chars().map(|c| if c.is_alphanumeric() { c } else { '-' }).take(40).collect();
        let seed = self.recipe.sample.seed.unwrap_or(0);
        format!("{}-{seed}.png", words.trim_matches('-'))
    }

    /// Asks for its pixels.
    pub(super) fn want(&mut self) {
        if self.pixels == Pixels::Kept {
            self.pixels = Pixels::Wanted;
        }
    }

    /// The pictures on the device, uploaded when they are first drawn; none, and asked for, while they are on disk.
    pub(super) fn textures(&mut self, context: &Context) -> &[TextureHandle] {
        if self.textures.is_empty() {
            self.want();
            self.textures = self.pictures.iter().map(|p| upload(context, p)).collect();
        }
        &self.textures
    }

    /// The small picture that stands for it.
    pub(super) fn small(&mut self, context: &Context) -> Option<TextureHandle> {
        if self.small.is_none() {
            self.want();
            self.small = self.pictures.first().map(|p| upload(context, &kept::small(p)));
        }
        self.small.clone()
    }

    pub(super) fn has_small(&self) -> bool {
        self.small.is_some()
    }

    /// Lets go of what lies on the device.
    pub(super) fn drop_textures(&mut self) {
        self.textures.clear();
        self.small = None;
    }

    /// Pixels in memory that are on disk too.
    pub(super) fn spare(&self) -> usize {
        let is_spare = self.pixels == Pixels::Here && self.is_on_disk.load(Ordering::Relaxed);
        if is_spare { self.pictures.iter().map(|p| p.width * p.height).sum() } else { 0 }
    }

    /// Lets go of the pixels; the small picture stays.
    pub(super) fn let_go(&mut self) {
        self.pictures.clear();
        self.textures.clear();
        self.pixels = Pixels::Kept;
    }

    pub(super) fn drop_small(&mut self) {
        self.small = None;
    }

    /// Takes in what was read.
    pub(super) fn take(&mut self, context: &Context, kept: Kept) {
        if !self.is_known() {
            self.texts = kept.pictures.iter().map(|p| (p.infotext.clone(), p.recipe.clone())).collect();
            if let Some((_, recipe)) = self.texts.first() {
                self.recipe = recipe.clone();
            }
            // Each file's recipe makes that picture alone.
            if kept.pictures.len() > 1 && self.recipe.sample.batch.is_none() {
                self.recipe.sample.batch = u32::try_from(kept.pictures.len()).ok();
            }
            // Parts that could not be read are not there to be shown, but stay where they are.
        }
        self.small = Some(upload(context, &kept.small));
        self.pictures = kept.pictures.into_iter().map(|p| Arc::new(p.picture)).collect();
        self.size = self.pictures.first().map(|p| [p.width, p.height]);
        self.pixels = Pixels::Here;
    }
}
