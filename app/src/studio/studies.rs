//! What is asked of strips, grids and try-ons: make, adopt, close, export.

use std::sync::Arc;

use egui::Context;

use super::Studio;
use super::document::Document;
use super::fixes::Drawn;
use super::study::{Axis, Setting, Span, State, Stock, Study, Value, parse, sheet, spread};
use crate::io::{catalogue, pick};
use crate::session::{Finished, Purpose, Render, Work};

/// Frames of a strip along a number.
const FRAMES: usize = 7;

/// What is typed for one axis of the grid.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct AxisText {
    /// What varies; none: this axis is not used.
    pub setting: Option<Setting>,
    /// Its values as text.
    pub text: String,
}

/// What is set up in the grid's panel.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct GridSetup {
    /// Columns, rows, pages.
    pub axes: [AxisText; 3],
    /// Few steps and the preview decoder.
    pub is_quick: bool,
}

impl Studio {
    /// What the shelf offers to axes.
    pub fn stock(&self) -> Stock {
        Stock { models: self.shelf.bases(), adapters: self.shelf.adapters() }
    }

    /// A strip of small pictures along a setting.
    pub fn start_strip(&mut self, setting: Setting) {
        let span = setting.span(&self.document, &self.stock());
        let values = match span {
            Span::Text => return self.open_grid(setting),
            span => spread(&span, FRAMES),
        };
        let now = setting.get(&self.document);
        let nearest = match now {
            Some(Value::Number(now)) => {
                let distance = |v: &Value| if let Value::Number(v) = v { (v - now).abs() } else { f64::MAX };
                (0..values.len()).min_by(|a, b| distance(&values[*a]).total_cmp(&distance(&values[*b])))
            }
            now => values.iter().position(|v| Some(v) == now.as_ref()),
        };
        let name = setting.label(&self.document);
        let axis = Axis { setting: Some(setting), name: name.clone(), values };
        match Study::plan(name, &self.document, [axis, Axis::default(), Axis::default()], true) {
            Ok(study) => self.show_strip(study, nearest.unwrap_or(0)),
            Err(error) => self.notices.error(error),
        }
    }

    /// The seed and its four neighbours, at full quality.
    pub fn make_neighbours(&mut self) {
        let seed = self.document.recipe.sample.seed.unwrap_or(0);
        let cells = (0..=4).map(|step| {
            let mut document = self.document.clone();
            let seed = seed.wrapping_add(step);
            document.recipe.sample.seed = Some(seed);
            (format!("seed {seed}"), document)
        });
        let study = Study::beside("Four neighbours".into(), &self.document, cells.collect(), false);
        self.show_strip(study, 0);
    }

    /// An adapter's try-on: the same picture without it and with it.
    pub fn try_on(&mut self, reference: &str) {
        let name = catalogue::short(reference);
        let (mut without, mut with) = (self.document.clone(), self.document.clone());
        if let Some(at) = without.recipe.adapters.iter().position(|a| a.source.reference == reference) {
            without.remove_adapter(at);
        }
        with.add_adapter(reference);
        let triggers = self.shelf.find(reference).map(|i| i.triggers().to_vec()).unwrap_or_default();
        with.add_first_trigger(&triggers);
        let cells = vec![("without".into(), without), (format!("with {name}"), with)];
        let study = Study::beside(format!("Try on {name}"), &self.document, cells, true);
        self.show_strip(study, 1);
    }

    pub(super) fn show_strip(&mut self, mut study: Study, first: usize) {
        self.close_strip();
        self.grid_on_show = false;
        study.begin(&self.context, &mut self.desk, &self.study_cache, first);
        self.strip = Some(study);
    }

    /// Draws the strip again with the settings as they are.
    pub fn redraw_strip(&mut self) {
        let Some(strip) = &self.strip else { return };
        match strip.axes[0].setting.clone() {
            Some(setting) => self.start_strip(setting),
            None => self.close_strip(),
        }
    }

    /// Takes the strip away.
    pub fn close_strip(&mut self) {
        if let Some(strip) = self.strip.take() {
            strip.stop(&self.desk);
        }
    }

    /// Opens the grid's panel with a setting along its columns.
    pub fn open_grid(&mut self, setting: Setting) {
        self.prefs.grid_open = true;
        self.grid_setup.axes[0] = self.filled_axis(Some(setting));
    }

    /// An axis with values spread over what the setting may be.
    pub fn filled_axis(&self, setting: Option<Setting>) -> AxisText {
        let Some(setting) = setting else { return AxisText::default() };
        let text = match setting.span(&self.document, &self.stock()) {
            Span::Text if setting != Setting::Words => String::new(),
            Span::Text => {
                let prompt = self.document.recipe.sample.prompt.clone().unwrap_or_default();
                prompt.split([',', ' ']).next_back().unwrap_or_default().to_string()
            }
            span => super::study::text(&spread(&span, 5).into_iter().take(8).collect::<Vec<_>>()),
        };
        AxisText { setting: Some(setting), text }
    }

    /// The axis that a text describes. Errors: values that cannot be read.
    pub fn read_axis(&self, axis: &AxisText) -> Result<Axis, String> {
        let Some(setting) = axis.setting.clone() else { return Ok(Axis::default()) };
        let name = setting.label(&self.document);
        let values =
            parse(&axis.text, &setting.span(&self.document, &self.stock())).map_err(|e| format!("{name}: {e}"))?;
        Ok(Axis { setting: Some(setting), name, values })
    }

    /// Makes the grid that is set up.
    pub fn make_grid(&mut self) {
        let [x, y, z] = self.grid_setup.axes.each_ref().map(|a| self.read_axis(a));
        let planned = x
            .and_then(|x| Ok([x, y?, z?]))
            .and_then(|axes| Study::plan("Grid".into(), &self.document, axes, self.grid_setup.is_quick));
        match planned {
            Ok(mut study) => {
                self.drop_grid();
                study.begin(&self.context, &mut self.desk, &self.study_cache, 0);
                self.grid = Some(study);
                self.prefs.grid_open = true;
                self.grid_on_show = true;
            }
            Err(error) => self.notices.error(error),
        }
    }

    /// Takes the grid away.
    pub fn drop_grid(&mut self) {
        if let Some(grid) = self.grid.take() {
            grid.stop(&self.desk);
        }
    }

    /// Saves the grid as one picture with labels, its recipe inside.
    pub fn export_grid(&mut self) {
        let Some(picture) = self.grid.as_ref().and_then(|g| sheet(&self.context, g)) else {
            return self.notices.info("The grid has no picture yet.");
        };
        let recipe = self.document.effective().to_json(false);
        match picture.to_png(&[("admix", &recipe)]) {
            Ok(png) => pick::save(&self.inbox, "grid.png", "png", png),
            Err(error) => self.notices.error(error.to_string()),
        }
    }

    /// Takes a cell's settings over, and its picture if it is as good as one made on purpose. False: nothing can be made of them.
    pub fn adopt_cell(&mut self, from_grid: bool, at: usize) -> bool {
        let study = if from_grid { &mut self.grid } else { &mut self.strip };
        let Some(study) = study else { return false };
        let Some(cell) = study.cells.get(at) else { return false };
        if let State::Failed(why) = &cell.state
            && !why.is_empty()
        {
            self.notices.error(why.clone());
            return false;
        }
        study.chosen = Some(at);
        let (is_quick, document) = (study.is_quick, cell.document.clone());
        let done = match &cell.state {
            State::Done(finished, texture) => Some((finished.clone(), texture.clone())),
            _ => None,
        };
        let is_locked = self.document.seed_locked;
        self.document = Document { seed_locked: is_locked, ..document };
        self.live_render.settle(&self.document);
        match done {
            Some((finished, _)) if !is_quick => {
                let id = self.history.add((*finished).clone());
                self.canvas.show_entry(id);
            }
            done => {
                if let Some((_, texture)) = done {
                    self.canvas.show_quick(texture);
                }
                // The full picture follows.
                self.submit(self.document.effective(), Purpose::Settle);
            }
        }
        true
    }

    /// Whose picture it is that was not made, if it is the first of a strip or a grid: one word is enough for all that fail alike.
    pub(super) fn first_failure(&self, id: u64) -> Option<Drawn> {
        let is_first = |study: &Option<Study>| study.as_ref().is_some_and(|s| s.would_fail_first(id));
        match (is_first(&self.strip), is_first(&self.grid)) {
            (true, _) => Some(Drawn::Strip),
            (_, true) => Some(Drawn::Grid),
            _ => None,
        }
    }

    /// All studies that wait for pictures.
    fn studies(&mut self) -> impl Iterator<Item = &mut Study> {
        let glance = self.suggest.glance.as_mut().and_then(|g| g.study.as_mut());
        let editing = self.suggest.editing.as_mut().and_then(|e| e.study.as_mut());
        [self.strip.as_mut(), self.grid.as_mut(), glance, editing].into_iter().flatten()
    }

    /// A finished picture of a study goes where it is waited for.
    pub(super) fn take_study(&mut self, context: &Context, id: u64, finished: Finished) {
        let finished = Arc::new(finished);
        let mut key = None;
        for study in self.studies() {
            key = study.take(context, id, &finished).or(key);
        }
        match key {
            Some(key) => self.study_cache.put(key, finished),
            None => self.thumbs.take(context, id, &finished),
        }
    }

    /// A picture of a study that was not made.
    pub(super) fn miss_study(&mut self, id: u64, why: &str) -> bool {
        let mut is_ours = self.thumbs.miss(id);
        for study in self.studies() {
            is_ours |= study.miss(id, why);
        }
        is_ours
    }

    /// The adapters' thumbnails, when nothing else is to be done.
    pub(super) fn idle_work(&mut self, context: &Context) {
        if let Some((reference, recipe)) = self.thumbs.next(&self.shelf, &self.document, &self.desk, context) {
            let render = Render { is_quick: true, ..Render::new(recipe, Purpose::Study) };
            let id = self.desk.submit(Work::Render(Box::new(render)));
            self.thumbs.asked(reference, id);
        }
    }
}
