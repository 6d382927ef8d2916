//! Files that come in: onto the shelf, into the history, or as settings.

use admix_engine::mix::Recipe;
use admix_engine::mix::recipe::Reference;

use super::Studio;
use super::notices::{Fix, Level};
use crate::io::Restored;
use crate::io::catalogue;
use crate::io::dropped::Incoming;
#[cfg(not(target_arch = "wasm32"))]
use crate::io::pick;

impl Studio {
    /// Takes files in.
    pub fn take_files(&mut self, files: impl Iterator<Item = Incoming>) {
        for file in files {
            self.inbox.put(file);
        }
    }

    pub(super) fn take_incoming(&mut self) {
        let mut fresh = Vec::new();
        for incoming in self.inbox.take() {
            match incoming {
                Incoming::Weights { reference, bundle } => {
                    let base = self.document.recipe.base.reference.clone();
                    self.shelf.add(&mut self.desk, &reference, bundle, &base);
                    self.prefs.shelf_open = true;
                    fresh.push(reference.clone());
                    self.details = Some(reference);
                }
                Incoming::Picture { name, bytes } => {
                    // Files that it names may have to be read for their checksums, so this is done beside the drawing.
                    let (current, candidates) = (self.document.recipe.clone(), self.shelf.candidates());
                    crate::io::restore(name, bytes, current, candidates, &self.inbox);
                }
                Incoming::Restored(restored) => self.take_picture(*restored),
                Incoming::Recipe { name, text } => match crate::io::link::read(&text) {
                    Ok(mut recipe) => {
                        // Links name files without their folders, and recipes where they lay on another machine.
                        if recipe.references_mut().any(|r| !self.leads_somewhere(&r.reference)) {
                            crate::io::mend(Some(name), recipe, self.shelf.candidates(), &self.inbox);
                        } else {
                            self.take_recipe(&name, recipe);
                        }
                    }
                    Err(error) => self.notices.error(format!("{name}: {error}")),
                },
                Incoming::Mended { name, recipe } => self.take_recipe(&name, *recipe),
                Incoming::Moved(moved) => self.take_moved(&moved),
                Incoming::Found(reference) => {
                    self.shelf.discover(&reference);
                    // By name alone: a folder may hold thousands, too many to read for their checksums.
                    let name = catalogue::short(&reference);
                    let is_so = |r: &Reference| catalogue::short(&r.reference).eq_ignore_ascii_case(&name);
                    fresh.extend(self.document.recipe.references_mut().any(|r| is_so(r)).then_some(reference));
                }
                Incoming::Watch(folder) => self.add_watched(folder),
                Incoming::Returned { reference, bundle } => {
                    let base = self.document.recipe.base.reference.clone();
                    self.shelf.add(&mut self.desk, &reference, Some(bundle), &base);
                    fresh.push(reference);
                }
                Incoming::Kept(kept) => {
                    let (id, context) = (kept.id, self.context.clone());
                    self.history.take_kept(&context, *kept);
                    self.go_on_with(id);
                }
                Incoming::Unkept { id, error } => {
                    self.history.miss(id, error.clone());
                    if self.then.iter().any(|(of, _)| *of == id) {
                        self.then.retain(|(of, _)| *of != id);
                        self.notices.error(error);
                    }
                }
                Incoming::Notice { title, line } => self.notices.add(Level::Error, title, vec![line]),
                Incoming::Saved(name) => self.notices.info(format!("Saved {name}")),
                Incoming::Failed(error) => self.notices.error(error),
            }
        }
        self.stand_in(&fresh);
    }

    /// Settings that came as a recipe or a link.
    fn take_recipe(&mut self, name: &str, recipe: Recipe) {
        let notes = from_a_picture(&recipe);
        self.adopt(recipe);
        self.report_missing(name, notes);
    }

    /// True for what is on the shelf, or a path that exists.
    fn leads_somewhere(&self, reference: &str) -> bool {
        self.shelf.find(reference).is_some() || file_exists(reference)
    }

    /// Looks whether files that just came are those that the settings name and that were nowhere.
    fn stand_in(&mut self, fresh: &[String]) {
        let mut recipe = self.document.recipe.clone();
        if fresh.is_empty() || recipe.references_mut().all(|r| self.leads_somewhere(&r.reference)) {
            return;
        }
        let mut candidates = self.shelf.candidates();
        candidates.retain(|c| fresh.contains(&c.reference));
        crate::io::mend(None, recipe, candidates, &self.inbox);
    }

    /// Puts files that were found in the place of names that lead nowhere.
    fn take_moved(&mut self, moved: &[(String, String)]) {
        let recipe = &mut self.document.recipe;
        let mut found = Vec::new();
        for source in recipe.references_mut() {
            if let Some((_, new)) = moved.iter().find(|(old, _)| *old == source.reference) {
                source.reference.clone_from(new);
                found.push(catalogue::short(new));
            }
        }
        if found.is_empty() {
            return;
        }
        let mut recipe = recipe.clone();
        if recipe.references_mut().all(|r| self.leads_somewhere(&r.reference)) {
            self.notices.clear_fix(&Fix::AddFiles);
        }
        self.notices.clear_errors();
        self.notices.info(format!("In its place in the mix now: {}", found.join(", ")));
    }

    /// Asks for a folder to watch.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn watch_folder(&mut self) {
        pick::watch_folder(&self.inbox);
    }

    /// Watches one more folder, from now on and after every start.
    fn add_watched(&mut self, folder: std::path::PathBuf) {
        self.prefs.shelf_open = true;
        if !self.prefs.watched.contains(&folder) {
            self.notices.info(format!("Watching {}: what appears there appears on the shelf.", folder.display()));
            self.prefs.watched.push(folder);
            self.watch_again();
        }
    }

    /// No longer watches a folder; what was found stays on the shelf.
    pub fn stop_watching(&mut self, folder: &std::path::Path) {
        self.prefs.watched.retain(|f| f != folder);
        self.watch_again();
    }

    /// Adapters that a prompt names (`<lora:ink:0.8>`, a textual inversion's word) are found on the shelf and in watched folders.
    #[cfg(not(target_arch = "wasm32"))]
    pub(super) fn tell_libraries(&mut self) {
        let files = super::panels::suggest::loose(self);
        let watched = &self.prefs.watched;
        if self.told.as_ref().is_some_and(|(f, w)| std::sync::Arc::ptr_eq(f, &files) && w == watched) {
            return;
        }
        let paths = files.iter().map(std::path::PathBuf::from);
        self.desk.set_libraries(watched.iter().cloned().chain(paths).collect());
        self.told = Some((files, watched.clone()));
    }

    fn watch_again(&mut self) {
        #[cfg(not(target_arch = "wasm32"))]
        {
            self.watch = super::watch::Watch::start(&self.prefs.watched, self.inbox.clone());
        }
    }

    /// A picture that came in: a new history entry, and its settings.
    fn take_picture(&mut self, read: Restored) {
        let Restored { name, picture, infotext, settings } = read;
        let mut missing = settings.unresolved;
        missing.extend(from_a_picture(&settings.recipe));
        let id = self.history.add_found(picture, settings.recipe.clone(), infotext);
        self.adopt(settings.recipe);
        self.grid_on_show = false;
        self.live_render.settle(&self.document);
        self.canvas.show_entry(id);
        self.prefs.history_open = true;
        self.keep_history();
        self.report_missing(&name, missing);
    }

    /// Keeps new pictures for the next start.
    pub(super) fn keep_history(&mut self) {
        let inbox = self.inbox.clone();
        self.history.save(move |error| {
            inbox.put(Incoming::Failed(format!("{error}; save the picture as a file to keep it")));
        });
    }

    /// Says what of restored settings has nothing to stand on here.
    pub(super) fn report_missing(&mut self, name: &str, mut missing: Vec<String>) {
        let recipe = &self.document.recipe;
        let refs = std::iter::once(&recipe.base.reference)
            .chain(recipe.merge.iter().flat_map(|s| s.models.iter().map(|m| &m.source.reference)))
            .chain(recipe.adapters.iter().map(|a| &a.source.reference));
        for reference in refs {
            if !self.leads_somewhere(reference) {
                missing.push(format!(
                    "{}: not on the shelf; drop its file to add it ({reference})",
                    catalogue::short(reference)
                ));
            }
        }
        if missing.is_empty() {
            self.notices.info(format!("{name}: all settings restored"));
        } else {
            self.notices.warn_with(format!("{name}: restored, except for"), missing, Some(Fix::AddFiles));
        }
    }
}

/// A line for a recipe that was made from a picture: no recipe holds that.
fn from_a_picture(recipe: &admix_engine::mix::Recipe) -> Vec<String> {
    let line = "it was made from another picture, which no recipe holds: here it begins with noise (admix render --init takes that picture)";
    recipe.sample.strength.map(|_| line.to_string()).into_iter().collect()
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
