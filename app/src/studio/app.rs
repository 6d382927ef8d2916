//! The studio's state and what it does every frame.

use std::collections::HashMap;
use std::sync::Arc;

use admix_engine::mix::Recipe;
use admix_engine::tensor::Gpu;
use egui::Context;
use egui::util::undoer::{Settings, Undoer};

use super::actions::Then;
use super::canvas::Canvas;
use super::document::Document;
use super::frame::FrameTimes;
use super::history::History;
use super::live::LiveRender;
#[cfg(not(target_arch = "wasm32"))]
use super::loss::Loss;
use super::notices::Notices;
use super::panels::palette::CommandPalette;
use super::prefs::{Prefs, Saved};
use super::seeds::Seeds;
use super::shelf::Shelf;
use super::studies::GridSetup;
use super::study::{Cache, Study};
use super::thumbs::Thumbs;
use super::tiles::Pane;
#[cfg(not(target_arch = "wasm32"))]
use super::watch::Watch;
use crate::io::dropped::Inbox;
use crate::session::{Desk, Live};

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
    /// Small pictures along a setting, over the canvas's lower edge.
    pub strip: Option<Study>,
    /// Pictures over two or three settings, in the canvas's place.
    pub grid: Option<Study>,
    /// The grid's pictures are in the canvas's place, not behind a picture that was asked for since.
    pub grid_on_show: bool,
    /// What the grid's panel says.
    pub grid_setup: GridSetup,
    /// Pictures of studies made so far.
    pub study_cache: Cache,
    /// The shelf's small pictures.
    pub thumbs: Thumbs,
    /// Where the panels are.
    pub tiles: egui_tiles::Tree<Pane>,
    /// The list of keys is on show.
    pub keys_open: bool,
    /// Frame times are on show.
    pub show_frames: bool,
    /// How long frames take.
    pub frames: FrameTimes,
    /// The window.
    pub context: Context,
    /// How long the prompts are.
    pub counting: super::counting::Counting,
    /// Adapters for the prompt's words.
    pub suggest: super::panels::suggest::Suggest,
    /// What is known of the mix before it is made.
    pub figures: super::panels::figures::Figures,
    #[cfg(not(target_arch = "wasm32"))]
    pub(super) watch: Watch,
    #[cfg(not(target_arch = "wasm32"))]
    pub(super) loss: Loss,
    pub(super) undo: Undoer<Document>,
    pub(super) live_render: LiveRender,
    /// Files and watched folders that the engine was told of.
    #[cfg(not(target_arch = "wasm32"))]
    pub(super) told: Option<(Arc<Vec<String>>, Vec<std::path::PathBuf>)>,
    pub(super) gpu: Arc<Gpu>,
    /// Memory that was free when it was last asked for.
    pub(super) free: std::cell::Cell<Option<(web_time::Instant, Option<u64>)>>,
    /// What was written last.
    pub(super) exported: Option<Recipe>,
    /// What is being written, by the number of the work.
    pub(super) exporting: HashMap<u64, Recipe>,
    /// What is to be done with history entries once they are read.
    pub(super) then: Vec<(u64, Then)>,
    pub(super) export_places: Arc<std::sync::Mutex<Vec<(Recipe, crate::io::Place)>>>,
    /// Seeds drawn and asked for.
    pub(super) seeds: Seeds,
}

impl Studio {
    /// On the window's device, with what was kept (`keys` of the history in the store). Errors: the window was opened without a device.
    pub fn new(creation: &eframe::CreationContext<'_>, keys: Vec<String>) -> Result<Studio, String> {
        let state = creation.wgpu_render_state.as_ref().ok_or("the window has no graphics device")?;
        let gpu = Gpu::from_parts(&state.adapter, state.device.clone(), state.queue.clone(), None);
        let saved = creation.storage.and_then(|s| s.get_string("studio")).and_then(|t| serde_json::from_str(&t).ok());
        let history = History::resume(&keys);
        let mut studio = Studio::with(creation.egui_ctx.clone(), gpu, saved.unwrap_or_default(), history);
        studio.history.begin(&studio.inbox);
        // In the tab the page around it watches the device and opens another.
        #[cfg(not(target_arch = "wasm32"))]
        studio.loss.watch(&state.device, &creation.egui_ctx);
        Ok(studio)
    }

    pub(super) fn with(context: Context, gpu: Arc<Gpu>, saved: Saved, history: History) -> Studio {
        super::theme::install(&context);
        saved.prefs.dress(&context);
        let waker = context.clone();
        let wake: crate::session::Wake = Arc::new(move || {
            waker.request_repaint();
            #[cfg(target_arch = "wasm32")]
            crate::web::look_soon();
        });
        let inbox = Inbox::new(wake.clone());
        let mut canvas = Canvas::default();
        canvas.shown = history.newest();
        let document = saved.document.unwrap_or_default();
        Studio {
            desk: Desk::start(gpu.clone(), wake),
            shelf: Shelf::new(&saved.shelf),
            seeds: Seeds::new(history.last().wrapping_mul(0x9e37_79b9) ^ document.recipe.sample.seed.unwrap_or(1)),
            document,
            #[cfg(not(target_arch = "wasm32"))]
            watch: Watch::start(&saved.prefs.watched, inbox.clone()),
            #[cfg(not(target_arch = "wasm32"))]
            loss: Loss::default(),
            strip: None,
            grid: None,
            grid_on_show: false,
            grid_setup: saved.grid,
            study_cache: Cache::default(),
            thumbs: Thumbs::default(),
            tiles: super::tiles::checked(saved.tiles),
            keys_open: false,
            show_frames: false,
            frames: FrameTimes::default(),
            context,
            prefs: saved.prefs,
            history,
            canvas,
            notices: Notices::default(),
            palette: CommandPalette::default(),
            inbox,
            search: String::new(),
            details: None,
            counting: Default::default(),
            suggest: super::panels::suggest::Suggest::default(),
            figures: super::panels::figures::Figures::default(),
            // A point for every pause, and none in the middle of a drag.
            undo: Undoer::with_settings(Settings { max_undos: 200, stable_time: 0.4, auto_save_interval: 30.0 }),
            live_render: LiveRender::default(),
            #[cfg(not(target_arch = "wasm32"))]
            told: None,
            gpu,
            free: Default::default(),
            exported: saved.exported,
            exporting: HashMap::new(),
            then: Vec::new(),
            export_places: Arc::default(),
        }
    }

    /// What is kept between starts, apart from the pictures.
    pub(super) fn to_save(&self) -> Saved {
        Saved {
            document: Some(self.document.clone()),
            prefs: self.prefs.clone(),
            shelf: self.shelf.to_save(),
            grid: self.grid_setup.clone(),
            tiles: Some(self.tiles.clone()),
            exported: self.exported.clone(),
        }
    }

    /// Gives the device back and opens it anew: after a new driver, or when its memory seems stuck.
    pub fn reopen_device(&mut self) {
        self.desk.cancel(true);
        #[cfg(not(target_arch = "wasm32"))]
        self.loss.expect();
        #[cfg(target_arch = "wasm32")]
        self.gpu.device.destroy();
        self.context.request_repaint();
    }

    /// The work in progress.
    pub fn live(&self) -> Option<Live> {
        self.desk.live()
    }

    /// The device in words.
    pub fn device_line(&self) -> String {
        self.gpu.name()
    }

    /// Takes in what has come since this was last called: files, and what the engine tells.
    pub fn take_in(&mut self) {
        let context = self.context.clone();
        self.take_incoming();
        self.take_news(&context);
    }

    /// All that happens between two frames.
    fn tick(&mut self, context: &Context) {
        crate::io::dropped::take_drops(context, &self.inbox);
        self.take_in();
        if let Some(text) = self.inbox.take_copy() {
            context.copy_text(text);
        }
    }

    /// What follows from what was changed in this frame.
    fn follow(&mut self, context: &Context) {
        self.count_tokens();
        #[cfg(not(target_arch = "wasm32"))]
        self.tell_libraries();
        let now = context.input(|i| i.time);
        self.undo.feed_state(now, &self.seeds.steady(&self.document));
        if self.undo.is_in_flux() {
            context.request_repaint_after(std::time::Duration::from_millis(200));
        }
        if self.prefs.live {
            let turning = context.input(|i| i.pointer.any_down());
            if self.live_render.follow(&self.document, &mut self.desk, now, turning, context) {
                self.grid_on_show = false;
            }
        }
        // What is in the mix has its card whether or not its row is in sight: size, memory, triggers and what can be swapped come from it.
        let recipe = &self.document.recipe;
        let base = recipe.base.reference.clone();
        let models = recipe.merge.iter().flat_map(|s| s.models.iter().map(|m| &m.source.reference));
        let used = [&base].into_iter().chain(models).chain(recipe.adapters.iter().map(|a| &a.source.reference));
        let places: Vec<usize> = used.filter_map(|reference| self.shelf.place(reference)).collect();
        for at in places {
            self.shelf.ask(&mut self.desk, at, &base);
        }
        self.then.iter().for_each(|(id, _)| self.history.want(*id));
        self.history.follow(&self.inbox);
        self.idle_work(context);
    }

    /// One frame: everything but the window around it.
    pub fn frame(&mut self, ui: &mut egui::Ui) {
        let begun = web_time::Instant::now();
        let context = ui.ctx().clone();
        // Tests make the studio before its window.
        self.context = context.clone();
        #[cfg(not(target_arch = "wasm32"))]
        if self.leave_if_lost(&context) {
            return;
        }
        self.tick(&context);
        self.shortcuts(&context);
        super::layout::show(self, ui);
        self.follow(&context);
        self.frames.note(begun.elapsed().as_secs_f64(), self.desk.is_busy());
    }
}

impl eframe::App for Studio {
    fn ui(&mut self, ui: &mut egui::Ui, _frame: &mut eframe::Frame) {
        self.frame(ui);
    }

    fn save(&mut self, storage: &mut dyn eframe::Storage) {
        self.keep_history();
        self.prefs.note_looks(&self.context);
        let saved = self.to_save();
        match serde_json::to_string(&saved) {
            Ok(text) => storage.set_string("studio", text),
            Err(error) => log::error!("the settings cannot be kept: {error}"),
        }
    }

    fn auto_save_interval(&self) -> std::time::Duration {
        std::time::Duration::from_secs(5)
    }

    /// Not in the tab: what egui remembers (which headings are folded) takes as long to write as everything that matters.
    fn persist_egui_memory(&self) -> bool {
        cfg!(not(target_arch = "wasm32"))
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
