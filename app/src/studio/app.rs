//! The studio's state, what it does every frame, and the actions panels and shortcuts call.

use std::sync::Arc;

use admix_engine::mix::Recipe;
use admix_engine::tensor::Gpu;
use egui::util::undoer::{Settings, Undoer};
use egui::{Context, Key, KeyboardShortcut, Modifiers};
use serde::{Deserialize, Serialize};

use super::canvas::Canvas;
use super::document::Document;
use super::history::History;
use super::live::LiveRender;
use super::notices::{Level, Notices};
use super::panels::palette::CommandPalette;
use super::shelf::{SavedShelf, Shelf};
use crate::io::dropped::{Inbox, Incoming};
use crate::io::{catalogue, pick};
use crate::session::{Card, Desk, Export, Given, Live, News, Purpose, Render, Work};

/// What is remembered of the screen.
#[derive(Clone, Debug, Serialize, Deserialize)]
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
    /// Every change redraws.
    pub live: bool,
    /// The panel shown on a narrow screen.
    pub narrow_tab: usize,
    /// A picture was made before: the panels have been opened once.
    pub begun: bool,
}

impl Default for Prefs {
    fn default() -> Prefs {
        // A first start shows the canvas and the button; panels are labelled edges.
        Prefs {
            shelf_open: false,
            history_open: false,
            mix_open: false,
            guide_open: false,
            live: false,
            narrow_tab: 1,
            begun: false,
        }
    }
}

/// What is kept between starts, apart from the pictures.
#[derive(Default, Serialize, Deserialize)]
pub(super) struct Saved {
    document: Option<Document>,
    prefs: Prefs,
    shelf: SavedShelf,
}

/// The studio.
pub struct Studio {
    /// Everything a person sets.
    pub document: Document,
    /// What is remembered of the screen.
    pub prefs: Prefs,
    /// The engine's actor.
    pub desk: Desk,
    /// What there is to mix.
    pub shelf: Shelf,
    /// What was made.
    pub history: History,
    /// What is on show.
    pub canvas: Canvas,
    /// Messages.
    pub notices: Notices,
    /// Every action by name.
    pub palette: CommandPalette,
    /// Files that come in.
    pub inbox: Inbox,
    /// Words the shelf is searched for.
    pub search: String,
    /// The file whose card is open.
    pub details: Option<String>,
    /// Tokens and room of prompt and negative prompt.
    pub counts: [(usize, usize); 2],
    undo: Undoer<Document>,
    live_render: LiveRender,
    gpu: Arc<Gpu>,
    counted: Option<(String, [String; 2])>,
    exported: Option<Recipe>,
    export_places: Arc<std::sync::Mutex<Vec<(Recipe, std::path::PathBuf)>>>,
    /// The seed to draw the next one from.
    dice: u64,
}

const COMMAND_ENTER: KeyboardShortcut = KeyboardShortcut::new(Modifiers::COMMAND, Key::Enter);

impl Studio {
    /// On the window's device, with what was kept. Errors: the window was opened without a device.
    pub fn new(creation: &eframe::CreationContext<'_>) -> Result<Studio, String> {
        let state = creation.wgpu_render_state.as_ref().ok_or("the window has no graphics device")?;
        let gpu = Gpu::from_parts(&state.adapter, state.device.clone(), state.queue.clone(), None);
        let saved = creation.storage.and_then(|s| s.get_string("studio")).and_then(|t| serde_json::from_str(&t).ok());
        Ok(Studio::with(creation.egui_ctx.clone(), gpu, saved.unwrap_or_default(), History::load()))
    }

    pub(super) fn with(context: Context, gpu: Arc<Gpu>, saved: Saved, history: History) -> Studio {
        super::theme::install(&context);
        let wake: crate::session::Wake = Arc::new(move || context.request_repaint());
        let mut canvas = Canvas::default();
        canvas.shown = history.newest();
        let document = saved.document.unwrap_or_default();
        Studio {
            desk: Desk::start(gpu.clone(), wake.clone()),
            shelf: Shelf::new(&saved.shelf),
            dice: history.newest().unwrap_or(0).wrapping_mul(0x9e37_79b9) ^ document.recipe.sample.seed.unwrap_or(1),
            document,
            prefs: saved.prefs,
            history,
            canvas,
            notices: Notices::default(),
            palette: CommandPalette::default(),
            inbox: Inbox::new(wake),
            search: String::new(),
            details: None,
            counts: [(0, 0); 2],
            // A point for every pause, and none in the middle of a drag.
            undo: Undoer::with_settings(Settings { max_undos: 200, stable_time: 0.4, auto_save_interval: 30.0 }),
            live_render: LiveRender::default(),
            gpu,
            counted: None,
            exported: None,
            export_places: Arc::default(),
        }
    }

    /// The work in progress.
    pub fn live(&self) -> Option<Live> {
        self.desk.live()
    }

    /// The device in words.
    pub fn device_line(&self) -> String {
        self.gpu.name()
    }

    // Undo.

    /// True when there is something to undo.
    pub fn can_undo(&self) -> bool {
        self.undo.has_undo(&self.document)
    }

    /// True when there is something to redo.
    pub fn can_redo(&self) -> bool {
        self.undo.has_redo(&self.document)
    }

    /// One step back.
    pub fn undo(&mut self) {
        if let Some(document) = self.undo.undo(&self.document) {
            self.document = document.clone();
        }
    }

    /// One step forth.
    pub fn redo(&mut self) {
        if let Some(document) = self.undo.redo(&self.document) {
            self.document = document.clone();
        }
    }

    // Pictures.

    fn submit(&mut self, recipe: Recipe, purpose: Purpose) {
        self.desk.submit(Work::Render(Box::new(Render { recipe, purpose, given: Given::default() })));
    }

    /// Makes the picture of the settings.
    pub fn make(&mut self) {
        self.notices.clear_errors();
        self.live_render.settle(&self.document);
        self.submit(self.document.effective(), Purpose::Asked);
    }

    /// Makes the pictures of the next four seeds.
    pub fn make_neighbours(&mut self) {
        let seed = self.document.recipe.sample.seed.unwrap_or(0);
        for step in 1..=4 {
            let mut recipe = self.document.effective();
            recipe.sample.seed = Some(seed.wrapping_add(step));
            recipe.sample.batch = Some(1);
            self.submit(recipe, Purpose::Asked);
        }
    }

    /// Draws another seed.
    pub fn roll_seed(&mut self) {
        // Steele et al. 2014's SplitMix64: any state will do, repeats are 2^32 draws away.
        self.dice = self.dice.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.dice;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        self.document.recipe.sample.seed = Some((z ^ (z >> 31)) >> 32);
    }

    /// Live on or off.
    pub fn set_live(&mut self, on: bool) {
        self.prefs.live = on;
        self.live_render.settle(&self.document);
        if on {
            // Something to change must be in sight, and the seed must hold still.
            self.document.seed_locked = true;
            self.live_render.settle(&self.document);
            if self.canvas.is_empty() {
                self.make();
            }
        } else {
            self.desk.cancel_live();
            self.canvas.drop_scrub();
        }
    }

    /// Brings a history entry back: picture and settings.
    pub fn restore(&mut self, id: u64) {
        let Some(entry) = self.history.get(id) else { return };
        self.document.adopt(entry.recipe.clone());
        self.live_render.settle(&self.document);
        self.desk.cancel_live();
        self.canvas.show_entry(id);
    }

    /// Takes a history entry away.
    pub fn forget(&mut self, id: u64) {
        self.history.remove(id);
        if self.canvas.other == Some(id) {
            self.canvas.other = None;
        }
        if self.canvas.shown == Some(id) {
            self.canvas.shown = self.history.newest();
        }
    }

    /// Compares the picture on show with the one made before it.
    pub fn compare_with_last(&mut self) {
        let shown = self.canvas.shown;
        match self.canvas.other {
            Some(_) => self.canvas.other = None,
            None => {
                let before = self.history.entries.iter().rev().map(|e| e.id).find(|id| Some(*id) < shown);
                if let Some(id) = before {
                    self.canvas.compare_with(id);
                }
            }
        }
    }

    /// Saves a history entry's picture.
    pub fn save_picture(&mut self, id: u64) {
        let picture = self.canvas.zoomed.filter(|_| self.canvas.shown == Some(id)).unwrap_or(0);
        let Some(entry) = self.history.get(id) else { return };
        match entry.png(picture) {
            Ok(png) => pick::save(&self.inbox, &entry.file_name(), "png", png),
            Err(error) => self.notices.error(error),
        }
    }

    /// Saves the picture on show.
    pub fn save_shown(&mut self) {
        match self.canvas.shown {
            Some(id) => self.save_picture(id),
            None => self.notices.info("There is no picture yet to save."),
        }
    }

    /// The recipe to the clipboard; the next frame does it.
    pub fn copy_recipe(&mut self) {
        let text = self.document.effective().to_json(true);
        self.notices.add(Level::Info, "The recipe is on the clipboard.", Vec::new());
        self.inbox.copy(text);
    }

    /// Saves the recipe.
    pub fn save_recipe(&mut self) {
        pick::save(&self.inbox, "recipe.json", "json", self.document.effective().to_json(true).into_bytes());
    }

    // Mixing.

    /// Takes another model as the base.
    pub fn use_base(&mut self, reference: &str) {
        let before = self.native_size();
        self.document.set_base(reference);
        // The size follows the model, unless somebody chose one.
        let sample = &self.document.recipe.sample;
        let chosen = before.is_some_and(|[w, h]| (sample.width, sample.height) != (Some(w), Some(h)));
        if let (false, Some([width, height])) = (chosen, self.native_size()) {
            self.document.recipe.sample.width = Some(width);
            self.document.recipe.sample.height = Some(height);
        }
    }

    /// Pixels the model in use was made for, once its card is there.
    pub fn native_size(&self) -> Option<[u32; 2]> {
        match &self.shelf.find(&self.document.recipe.base.reference)?.card {
            Some(Ok(Card::Model(m))) => Some(m.native),
            _ => None,
        }
    }

    /// Puts an adapter into the mix, with its first trigger if the prompt has none of them.
    pub fn use_adapter(&mut self, reference: &str) {
        self.document.add_adapter(reference);
        self.prefs.mix_open = true;
        let triggers = self.shelf.find(reference).map(|i| i.triggers().to_vec()).unwrap_or_default();
        let prompt = self.document.recipe.sample.prompt.clone().unwrap_or_default();
        if let Some(first) = triggers.first()
            && !triggers.iter().any(|t| prompt.contains(t.as_str()))
        {
            self.document.add_to_prompt(first);
        }
    }

    /// Takes an adapter out, and its triggers with it.
    pub fn drop_adapter(&mut self, at: usize) {
        let reference = self.document.recipe.adapters.get(at).map(|a| a.source.reference.clone());
        self.document.remove_adapter(at);
        let triggers = reference.and_then(|r| self.shelf.find(&r).map(|i| i.triggers().to_vec())).unwrap_or_default();
        if let Some(prompt) = &mut self.document.recipe.sample.prompt {
            for trigger in triggers {
                *prompt = prompt.replace(&format!(", {trigger}"), "");
            }
        }
    }

    /// True when the mix is the one last exported.
    pub fn is_exported(&self) -> bool {
        let now = self.document.effective();
        self.exported
            .as_ref()
            .is_some_and(|e| (&e.base, &e.merge, &e.adapters) == (&now.base, &now.merge, &now.adapters))
    }

    /// Writes the mix as a checkpoint.
    pub fn export(&mut self) {
        let recipe = self.document.effective();
        let name =
            format!("{}.safetensors", self.document.summary().replace([' ', '+', ',', '/'], "-").replace("--", "-"));
        #[cfg(not(target_arch = "wasm32"))]
        {
            let (places, inbox) = (self.export_places.clone(), self.inbox.clone());
            pick::save_place(&name, move |path| {
                places.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((recipe, path));
                inbox.wake();
            });
        }
        #[cfg(target_arch = "wasm32")]
        self.desk.submit(Work::Export(Box::new(Export { recipe, path: None, name })));
    }

    /// Bytes a render of these settings takes, and a line about it.
    pub fn memory_estimate(&self) -> Option<(f64, String)> {
        let item = self.shelf.find(&self.document.recipe.base.reference)?;
        let Some(Ok(Card::Model(m))) = &item.card else { return None };
        let s = &self.document.recipe.sample;
        let pixels = f64::from(s.width.unwrap_or(m.native[0])) * f64::from(s.height.unwrap_or(m.native[1]));
        let models = 1.0 + self.document.recipe.merge.iter().map(|s| s.models.len() as f64).sum::<f64>();
        let weights = m.parameters as f64 * 2.0;
        // Activations grow with pixels and with the network's width, which grows with the root of its size.
        let activations = pixels * (m.parameters as f64).sqrt() / 18.0 * f64::from(s.batch.unwrap_or(1));
        let needed = weights * if models > 1.0 { 1.2 } else { 1.0 } + activations;
        Some((needed, format!("about {} of device memory", bytes(needed))))
    }

    // Files.

    /// Takes files in.
    pub fn take_files(&mut self, files: impl Iterator<Item = Incoming>) {
        for file in files {
            self.inbox.put(file);
        }
    }

    fn take_incoming(&mut self) {
        for incoming in self.inbox.take() {
            match incoming {
                Incoming::Weights { reference, bundle } => {
                    let base = self.document.recipe.base.reference.clone();
                    self.shelf.add(&mut self.desk, &reference, bundle, &base);
                    self.prefs.shelf_open = true;
                    self.details = Some(reference);
                }
                Incoming::Picture { name, bytes } => self.take_picture(&name, &bytes),
                Incoming::Recipe { name, text } => match Recipe::from_json(&text) {
                    Ok(recipe) => {
                        self.document.adopt(recipe);
                        self.report_missing(&name, Vec::new());
                    }
                    Err(error) => self.notices.error(format!("{name}: {error}")),
                },
                Incoming::Saved(name) => self.notices.info(format!("Saved {name}")),
                Incoming::Failed(error) => self.notices.error(error),
            }
        }
    }

    /// A dropped picture: a new history entry, and its settings.
    fn take_picture(&mut self, name: &str, bytes: &[u8]) {
        let picture = match admix_engine::Picture::decode(bytes, name) {
            Ok(picture) => picture,
            Err(error) => return self.notices.error(error.to_string()),
        };
        match crate::io::restore(bytes, &self.document.recipe) {
            Ok(restored) => {
                let texts = admix_engine::picture::png_texts(bytes).unwrap_or_default();
                let infotext = texts.into_iter().find(|(k, _)| k == "parameters").map(|(_, t)| t).unwrap_or_default();
                let id = self.history.add_found(picture, restored.recipe.clone(), infotext);
                self.document.adopt(restored.recipe);
                self.live_render.settle(&self.document);
                self.canvas.show_entry(id);
                self.prefs.history_open = true;
                self.report_missing(name, restored.unresolved);
            }
            Err(error) => self.notices.error(format!("{name}: {error}")),
        }
    }

    /// Says what of restored settings has nothing to stand on here.
    fn report_missing(&mut self, name: &str, mut missing: Vec<String>) {
        let recipe = &self.document.recipe;
        let refs = std::iter::once(&recipe.base.reference)
            .chain(recipe.merge.iter().flat_map(|s| s.models.iter().map(|m| &m.source.reference)))
            .chain(recipe.adapters.iter().map(|a| &a.source.reference));
        for reference in refs {
            if self.shelf.find(reference).is_none() && !file_exists(reference) {
                missing.push(format!(
                    "{}: not on the shelf; drop its file to add it ({reference})",
                    catalogue::short(reference)
                ));
            }
        }
        if missing.is_empty() {
            self.notices.info(format!("{name}: all settings restored"));
        } else {
            self.notices.add(Level::Warning, format!("{name}: restored, except for"), missing);
        }
    }

    // Every frame.

    fn take_news(&mut self, context: &Context) {
        for news in self.desk.news() {
            match news {
                News::Rendered { purpose, finished, .. } => self.take_finished(context, purpose, *finished),
                News::Opened { reference, against, card } => {
                    if let Err(error) = &card
                        && self.shelf.find(&reference).is_some_and(|i| !i.builtin)
                    {
                        self.notices.error(error.clone());
                    }
                    self.shelf.learn(&reference, against, card);
                }
                News::Exported { name, bytes } => match bytes {
                    None => self.notices.info(format!("Exported {name}")),
                    Some(bytes) => pick::save(&self.inbox, &name, "safetensors", bytes),
                },
                News::Counted { texts, counts } => {
                    if self.counted.as_ref().is_some_and(|(_, t)| *t == texts) {
                        self.counts = counts;
                    }
                }
                News::Failed { error, .. } => {
                    self.canvas.drop_scrub();
                    self.notices.error(error);
                }
                News::Cancelled { .. } => {}
            }
        }
        let places = std::mem::take(&mut *self.export_places.lock().unwrap_or_else(std::sync::PoisonError::into_inner));
        for (recipe, path) in places {
            self.exported = Some(recipe.clone());
            let name = path.file_name().map_or_else(String::new, |n| n.to_string_lossy().into_owned());
            self.desk.submit(Work::Export(Box::new(Export { recipe, path: Some(path), name })));
        }
    }

    fn take_finished(&mut self, context: &Context, purpose: Purpose, finished: crate::session::Finished) {
        self.notices.clear_errors();
        if purpose == Purpose::Scrub {
            if let Some(picture) = finished.pictures.first() {
                self.canvas.show_scrub(context, picture);
            }
            return;
        }
        if finished.dropped_tokens > 0 {
            let text = format!(
                "The prompt is {} tokens too long for this model; they were left out.",
                finished.dropped_tokens
            );
            self.notices.add(Level::Warning, text, Vec::new());
        }
        let before = self.canvas.shown;
        let id = self.history.add(finished);
        self.canvas.show_entry(id);
        if !self.prefs.begun {
            self.prefs.begun = true;
            self.prefs.shelf_open = true;
            self.prefs.mix_open = true;
            self.prefs.guide_open = true;
            self.prefs.history_open = true;
            self.notices.info("Now mix: add an adapter from the shelf, or drop a model here.");
        }
        if purpose == Purpose::Asked && !self.document.seed_locked && self.desk.waiting() == 0 && before.is_some() {
            self.roll_seed();
            self.live_render.settle(&self.document);
        }
    }

    fn count_tokens(&mut self) {
        let s = &self.document.recipe.sample;
        let texts = [s.prompt.clone().unwrap_or_default(), s.negative.clone().unwrap_or_default()];
        let model = self.document.recipe.base.reference.clone();
        let wanted = (model.clone(), texts.clone());
        if self.counted.as_ref() != Some(&wanted) && !self.desk.live().is_some_and(|l| l.purpose == Purpose::Asked) {
            self.counted = Some(wanted);
            self.desk.submit(Work::Count { model, texts });
        }
    }

    fn shortcuts(&mut self, context: &Context) {
        let pressed = |key| context.input_mut(|i| i.consume_key(Modifiers::COMMAND, key));
        if context.input_mut(|i| i.consume_shortcut(&COMMAND_ENTER)) {
            self.make();
        }
        let redo =
            context.input_mut(|i| i.consume_key(Modifiers::COMMAND | Modifiers::SHIFT, Key::Z)) || pressed(Key::Y);
        if redo {
            self.redo();
        } else if pressed(Key::Z) {
            self.undo();
        }
        if pressed(Key::K) {
            self.palette.toggle();
        }
        if pressed(Key::L) {
            self.set_live(!self.prefs.live);
        }
        if pressed(Key::D) {
            self.compare_with_last();
        }
        if pressed(Key::S) {
            self.save_shown();
        }
        if pressed(Key::O) {
            pick::open(&self.inbox);
        }
        if context.input(|i| i.key_pressed(Key::Escape)) && !context.egui_wants_keyboard_input() {
            self.desk.cancel(true);
        }
    }

    /// All that happens between two frames.
    fn tick(&mut self, context: &Context) {
        crate::io::dropped::take_drops(context, &self.inbox);
        self.take_incoming();
        self.take_news(context);
        if let Some(text) = self.inbox.take_copy() {
            context.copy_text(text);
        }
    }

    /// What follows from what was changed in this frame.
    fn follow(&mut self, context: &Context) {
        self.count_tokens();
        let now = context.input(|i| i.time);
        self.undo.feed_state(now, &self.document);
        if self.undo.is_in_flux() {
            context.request_repaint_after(std::time::Duration::from_millis(200));
        }
        if self.prefs.live {
            let turning = context.input(|i| i.pointer.any_down());
            self.live_render.follow(&self.document, &mut self.desk, now, turning, context);
        }
    }

    /// One frame: everything but the window around it.
    pub fn frame(&mut self, ui: &mut egui::Ui) {
        let context = ui.ctx().clone();
        self.tick(&context);
        self.shortcuts(&context);
        super::layout::show(self, ui);
        self.follow(&context);
    }
}

impl eframe::App for Studio {
    fn ui(&mut self, ui: &mut egui::Ui, _frame: &mut eframe::Frame) {
        self.frame(ui);
    }

    fn save(&mut self, storage: &mut dyn eframe::Storage) {
        self.history.save();
        let saved =
            Saved { document: Some(self.document.clone()), prefs: self.prefs.clone(), shelf: self.shelf.to_save() };
        match serde_json::to_string(&saved) {
            Ok(text) => storage.set_string("studio", text),
            Err(error) => log::error!("the settings cannot be kept: {error}"),
        }
    }

    fn auto_save_interval(&self) -> std::time::Duration {
        std::time::Duration::from_secs(5)
    }

    fn on_exit(&mut self) {
        self.desk.cancel(true);
    }

    fn clear_color(&self, visuals: &egui::Visuals) -> [f32; 4] {
        visuals.panel_fill.to_normalized_gamma_f32()
    }

    #[cfg(target_arch = "wasm32")]
    fn as_any_mut(&mut self) -> Option<&mut dyn std::any::Any> {
        Some(&mut *self)
    }
}

fn file_exists(reference: &str) -> bool {
    #[cfg(not(target_arch = "wasm32"))]
    return std::path::Path::new(reference).exists();
    #[cfg(target_arch = "wasm32")]
    {
        let _ = reference;
        false
    }
}

/// Bytes in words.
fn bytes(n: f64) -> String {
    if n >= 1e9 { format!("{:.1} GB", n / 1e9) } else { format!("{:.0} MB", n / 1e6) }
}
