//! Studies: many small pictures of the same settings but for one, two or three. A strip along a knob, a grid, a try-on of an adapter.
//!
//! Every cell holds the whole settings it stands for, so that adopting one is one change that one undo takes back.

mod axis;
mod cache;
mod setting;
mod sheet;

use std::collections::HashMap;
use std::sync::Arc;

use egui::{Context, TextureHandle};
use web_time::Instant;

pub use axis::{MOST, parse, spread, text};
pub use cache::Cache;
pub use setting::{Setting, Span, Stock, Value, sampling_knobs, sampling_knobs_by_title};
pub use sheet::sheet;

use super::document::Document;
use super::history::upload;
use crate::session::{Desk, Finished, Purpose, Render, Work};

/// Most cells of a study.
pub const MOST_CELLS: usize = 400;

/// Where a cell's picture is.
pub enum State {
    /// The work that will make it.
    Waiting(u64),
    /// Made.
    Done(Arc<Finished>, TextureHandle),
    /// Not made, with the reason.
    Failed(String),
}

/// One picture of a study.
pub struct Cell {
    /// The settings it stands for.
    pub document: Document,
    /// Its picture.
    pub state: State,
}

/// An axis: what varies along it and through which values. An empty one has a single, nameless value.
#[derive(Clone, Debug, Default)]
pub struct Axis {
    /// What varies.
    pub setting: Option<Setting>,
    /// Its name.
    pub name: String,
    /// The values.
    pub values: Vec<Value>,
}

impl Axis {
    /// Places along it.
    pub fn len(&self) -> usize {
        self.values.len().max(1)
    }

    /// The label of a place; empty where nothing varies.
    pub fn label(&self, at: usize) -> String {
        self.values.get(at).map_or(String::new(), Value::text)
    }

    fn apply(&self, document: &mut Document, at: usize) -> Result<(), String> {
        match (&self.setting, self.values.get(at), self.values.first()) {
            (Some(setting), Some(value), Some(first)) => setting.set(document, value, first),
            _ => Ok(()),
        }
    }
}

/// Pictures over up to three settings.
pub struct Study {
    /// What it shows, for people.
    pub title: String,
    /// Columns, rows, pages.
    pub axes: [Axis; 3],
    /// All pictures: columns fastest, then rows, then pages.
    pub cells: Vec<Cell>,
    /// Few steps and the preview decoder.
    pub is_quick: bool,
    /// The cell whose settings were adopted last.
    pub chosen: Option<usize>,
    /// The page on show.
    pub page: usize,
    /// The settings it was made from.
    basis: Document,
    started: Instant,
    made: usize,
    /// What each work is for, by its number.
    asked: HashMap<u64, String>,
}

impl Study {
    /// Plans the pictures of up to three axes. Errors: a value that does not suit, or too many cells.
    pub fn plan(title: String, document: &Document, axes: [Axis; 3], is_quick: bool) -> Result<Study, String> {
        let [columns, rows, pages] = axes.each_ref().map(Axis::len);
        let count = columns * rows * pages;
        if count > MOST_CELLS {
            return Err(format!(
                "{columns} x {rows} x {pages} are {count} pictures; at most {MOST_CELLS} go into one grid"
            ));
        }
        let mut documents = Vec::with_capacity(count);
        for at in 0..count {
            let mut of_cell = document.clone();
            // The slowest axis first: what a column sets goes over what a row or a page set.
            axes[2].apply(&mut of_cell, at / (columns * rows))?;
            axes[1].apply(&mut of_cell, at / columns % rows)?;
            axes[0].apply(&mut of_cell, at % columns)?;
            documents.push(of_cell);
        }
        Ok(Study::of(title, document, axes, documents, is_quick))
    }

    /// The pictures of given settings side by side under given names.
    pub fn beside(title: String, document: &Document, cells: Vec<(String, Document)>, is_quick: bool) -> Study {
        let (names, documents) = cells.into_iter().map(|(name, d)| (Value::Word(name), d)).unzip();
        let axes = [Axis { values: names, ..Axis::default() }, Axis::default(), Axis::default()];
        Study::of(title, document, axes, documents, is_quick)
    }

    fn of(title: String, basis: &Document, axes: [Axis; 3], documents: Vec<Document>, is_quick: bool) -> Study {
        let cell = |document| Cell { document, state: State::Failed(String::new()) };
        let cells = documents.into_iter().map(cell).collect();
        let (basis, started) = (basis.clone(), Instant::now());
        Study { title, axes, cells, is_quick, chosen: None, page: 0, basis, started, made: 0, asked: HashMap::new() }
    }

    /// Hands all pictures to the engine, those nearest to `first` first; what was made before comes from the cache.
    pub fn begin(&mut self, context: &Context, desk: &mut Desk, cache: &Cache, first: usize) {
        let mut order: Vec<usize> = (0..self.cells.len()).collect();
        order.sort_by_key(|i| i.abs_diff(first));
        // Equal settings are one picture: a value that is in force already, or words that change nothing.
        let mut asked: HashMap<String, u64> = HashMap::new();
        let mut states = HashMap::new();
        let keeps_steps = self.axes.iter().filter_map(|axis| axis.setting.as_ref()).any(Setting::is_about_steps);
        for at in order {
            let cell = &mut self.cells[at];
            let mut recipe = cell.document.effective();
            if self.is_quick && !keeps_steps {
                recipe = super::live::quick(&recipe);
            }
            recipe.sample.batch = Some(1);
            let key = Cache::key(&recipe, self.is_quick, &mut states);
            cell.state = match (cache.get(&key), asked.get(&key)) {
                (Some(finished), _) => State::Done(finished.clone(), thumbnail(context, &finished)),
                (None, Some(id)) => State::Waiting(*id),
                (None, None) => {
                    let render = Render { is_quick: self.is_quick, ..Render::new(recipe, Purpose::Study) };
                    let id = desk.submit(Work::Render(Box::new(render)));
                    asked.insert(key, id);
                    State::Waiting(id)
                }
            };
        }
        self.asked = asked.into_iter().map(|(key, id)| (id, key)).collect();
        self.started = Instant::now();
    }

    /// Takes a finished picture, if it belongs here: the key under which the cache keeps it.
    pub fn take(&mut self, context: &Context, id: u64, finished: &Arc<Finished>) -> Option<String> {
        let key = self.asked.remove(&id)?;
        let texture = thumbnail(context, finished);
        self.settle(id, || State::Done(finished.clone(), texture.clone()));
        Some(key)
    }

    /// Notes that a picture was not made, if it belongs here.
    pub fn miss(&mut self, id: u64, why: &str) -> bool {
        self.settle(id, || State::Failed(why.into()))
    }

    /// True when this work is one of its own and none has failed so far.
    pub fn would_fail_first(&self, id: u64) -> bool {
        let is_failed = |c: &Cell| matches!(&c.state, State::Failed(why) if !why.is_empty());
        self.waiting().contains(&id) && !self.cells.iter().any(is_failed)
    }

    fn settle(&mut self, id: u64, state: impl Fn() -> State) -> bool {
        let mut is_ours = false;
        for cell in self.cells.iter_mut().filter(|c| matches!(c.state, State::Waiting(waits) if waits == id)) {
            cell.state = state();
            self.made += 1;
            is_ours = true;
        }
        is_ours
    }

    /// Works that are still to be done.
    pub fn waiting(&self) -> Vec<u64> {
        let mut ids: Vec<u64> =
            self.cells.iter().filter_map(|c| if let State::Waiting(id) = c.state { Some(id) } else { None }).collect();
        ids.sort_unstable();
        ids.dedup();
        ids
    }

    /// Takes what is still to be done out of the queue.
    pub fn stop(&self, desk: &Desk) {
        self.waiting().into_iter().for_each(|id| desk.cancel_one(id));
    }

    /// "7 of 25, 12 s left", or nothing once all are there.
    pub fn progress(&self) -> Option<String> {
        let left = self.waiting().len();
        if left == 0 {
            return None;
        }
        let done = self.cells.len() - left;
        let time = self.started.elapsed().as_secs_f64() / self.made.max(1) as f64 * left as f64;
        let time = if self.made > 0 { format!(", {time:.0} s left") } else { String::new() };
        Some(format!("{done} of {}{time}", self.cells.len()))
    }

    /// True when the settings have changed beside what varies here, so that the pictures no longer show what they would be.
    pub fn is_stale(&self, now: &Document) -> bool {
        let leveled = |document: &Document| {
            let mut document = document.clone();
            for axis in &self.axes {
                // What no longer suits makes the two differ, which is the answer.
                let _ = axis.apply(&mut document, 0);
            }
            document.recipe.sample.batch = None;
            document.seed_locked = false;
            document.effective()
        };
        if self.axes.iter().any(|a| matches!(a.setting, Some(Setting::Words))) || self.axes[0].setting.is_none() {
            // Settings that stand side by side: any of them, or those they came from, is in order.
            let now = leveled(now);
            return leveled(&self.basis) != now && !self.cells.iter().any(|c| leveled(&c.document) == now);
        }
        leveled(&self.basis) != leveled(now)
    }

    /// The cell that shows the settings as they are.
    pub fn current(&self, now: &Document) -> Option<usize> {
        let now = now.effective();
        self.cells.iter().position(|c| c.document.effective() == now)
    }

    /// Width and height of a cell's picture, once one is there.
    pub fn picture_size(&self) -> Option<[usize; 2]> {
        self.cells.iter().find_map(|c| match &c.state {
            State::Done(finished, _) => finished.pictures.first().map(|p| [p.width, p.height]),
            _ => None,
        })
    }
}

/// Longest edge of a cell's texture: cells are small, and there may be hundreds.
const LARGEST: usize = 512;

fn thumbnail(context: &Context, finished: &Finished) -> TextureHandle {
    match finished.pictures.first() {
        Some(p) if p.width.max(p.height) > LARGEST => {
            let scale = LARGEST as f64 / p.width.max(p.height) as f64;
            let side = |n: usize| ((n as f64 * scale) as usize).max(1);
            upload(context, &p.resized(side(p.width), side(p.height)))
        }
        Some(p) => upload(context, p),
        None => upload(context, &admix_engine::Picture { width: 1, height: 1, rgb: vec![0; 3] }),
    }
}
