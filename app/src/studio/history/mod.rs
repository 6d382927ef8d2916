//! Every picture made, with the recipe that makes it again; kept between starts, for good.
//!
//! Nothing leaves but what a person takes away. Pictures lie on disk; in memory are those that were drawn last, and small ones for the list:
//! thousands cost no more than dozens.

mod entry;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use admix_engine::Picture;
use admix_engine::mix::Recipe;
use egui::{ColorImage, Context, TextureHandle, TextureOptions};

use crate::io::dropped::Inbox;
use crate::io::kept::{self, Kept};
use crate::io::store;
use crate::session::Finished;
pub use entry::Entry;
use entry::Pixels;

/// Pixels in memory that are on disk as well: 32 pictures of 1024 x 1024, or two thousand of 128 x 128.
const MOST_PIXELS: usize = 32 << 20;
/// Small pictures on the device.
const MOST_SMALL: usize = 600;
/// Entries that are read at a start, for what a person sees first.
const FIRST: usize = 64;
/// Entries that are read at once for what is in sight.
const AT_ONCE: usize = 24;

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
    /// The entries, in order of their numbers.
    pub entries: Vec<Entry>,
    next: u64,
    /// New pictures are kept for the next start; not those of a history that came from nowhere, as in tests.
    keeps: bool,
    /// Frames so far.
    now: u64,
    /// Entries that are being read because they are in sight.
    reading: usize,
}

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
        if self.keeps {
            // Another window that is open numbers its pictures too: by the clock neither writes over what the other kept.
            let clock = web_time::SystemTime::now().duration_since(web_time::UNIX_EPOCH);
            self.next = self.next.max(clock.map_or(0, |d| d.as_millis() as u64));
        }
        let mut entry = Entry::new(self.next, pictures, recipe, texts);
        entry.seconds = seconds;
        entry.is_on_disk = Arc::default();
        self.entries.push(entry);
        self.next
    }

    fn place(&self, id: u64) -> Option<usize> {
        self.entries.binary_search_by_key(&id, |e| e.id).ok()
    }

    /// The entry of a number.
    pub fn get(&self, id: u64) -> Option<&Entry> {
        self.entries.get(self.place(id)?)
    }

    /// The newest entry's number.
    pub fn newest(&self) -> Option<u64> {
        self.entries.last().map(|e| e.id)
    }

    /// The highest number given so far, 0 at the very first start.
    pub fn last(&self) -> u64 {
        self.next
    }

    /// The pictures of an entry on the device; none while they are on their way.
    pub fn textures(&mut self, context: &Context, id: u64) -> &[TextureHandle] {
        let now = self.now;
        let Some(entry) = self.place(id).and_then(|at| self.entries.get_mut(at)) else { return &[] };
        entry.used = now;
        entry.textures(context)
    }

    /// The small picture of an entry; none while it is on its way.
    pub fn small(&mut self, context: &Context, id: u64) -> Option<TextureHandle> {
        let now = self.now;
        let entry = self.place(id).and_then(|at| self.entries.get_mut(at))?;
        entry.used = now;
        entry.small(context)
    }

    /// Asks for an entry's pixels.
    pub fn want(&mut self, id: u64) {
        if let Some(entry) = self.place(id).and_then(|at| self.entries.get_mut(at)) {
            entry.used = self.now;
            entry.want();
        }
    }

    /// Lets go of everything that lies on the device.
    pub fn drop_textures(&mut self) {
        for entry in &mut self.entries {
            entry.drop_textures();
            // Whoever read it answers to somebody who is gone.
            if matches!(entry.pixels, Pixels::Asked | Pixels::Wanted) {
                entry.pixels = Pixels::Kept;
            }
        }
        self.reading = 0;
    }

    /// Takes an entry away, because somebody said so.
    pub fn remove(&mut self, id: u64) {
        if let Some(at) = self.place(id) {
            let gone = self.entries.remove(at);
            if self.keeps {
                kept::forget(gone.keys());
            }
        }
    }

    /// Writes what is new to where it lasts. What cannot be written is said once, to `failed`, and not tried again.
    pub fn save(&mut self, failed: impl Fn(String) + Clone + 'static) {
        for entry in self.entries.iter_mut().filter(|e| self.keeps && !e.is_saved) {
            entry.is_saved = true;
            let files: Result<Vec<_>, String> =
                entry.keys().into_iter().enumerate().map(|(i, key)| Ok((key, entry.png(i)?))).collect();
            match files {
                Ok(files) => {
                    let is_on_disk = entry.is_on_disk.clone();
                    let work = async move {
                        for (key, png) in files {
                            store::write(&key, &png).await?;
                        }
                        is_on_disk.store(true, Ordering::Relaxed);
                        Ok(())
                    };
                    store::start(work, failed.clone());
                }
                Err(error) => failed(error),
            }
        }
    }

    /// Goes on where an earlier start ended: its pictures are there at once and read when they are needed, and new ones are kept as well.
    pub fn resume(keys: &[String]) -> History {
        let mut files: BTreeMap<u64, Vec<usize>> = BTreeMap::new();
        for (id, part) in keys.iter().filter_map(|key| kept::id(key)) {
            files.entry(id).or_default().push(part);
        }
        let entry = |(id, mut parts): (u64, Vec<usize>)| {
            parts.sort_unstable();
            Entry::kept(id, parts)
        };
        let entries: Vec<Entry> = files.into_iter().map(entry).collect();
        let next = entries.last().map_or(0, |e| e.id);
        History { entries, next, keeps: true, ..History::default() }
    }

    /// Begins to read the newest entries.
    pub fn begin(&mut self, inbox: &Inbox) {
        let first = self.entries.len().saturating_sub(FIRST);
        let newest = self.entries[first..].iter_mut().rev();
        read(newest.filter(|e| e.pixels == Pixels::Kept), inbox);
    }

    /// Between two frames: reads what was drawn and is not there, and lets go of what was not drawn for longest.
    pub fn follow(&mut self, inbox: &Inbox) {
        self.tidy(MOST_PIXELS, MOST_SMALL);
        let now = self.now;
        self.now += 1;
        if self.reading == 0 {
            let wanted = self.entries.iter_mut().filter(|e| e.pixels == Pixels::Wanted && e.used == now);
            self.reading = read(wanted.take(AT_ONCE), inbox);
        }
        // What has left the screen is asked for again when it comes back.
        for entry in self.entries.iter_mut().filter(|e| e.pixels == Pixels::Wanted && e.used != now) {
            entry.pixels = Pixels::Kept;
        }
    }

    fn tidy(&mut self, most_pixels: usize, most_small: usize) {
        let now = self.now;
        let mut pixels: usize = self.entries.iter().map(Entry::spare).sum();
        let mut smalls = self.entries.iter().filter(|e| e.has_small()).count();
        if pixels <= most_pixels && smalls <= most_small {
            return;
        }
        let mut order: Vec<usize> = (0..self.entries.len()).filter(|at| self.entries[*at].used != now).collect();
        order.sort_by_key(|at| self.entries[*at].used);
        for at in order {
            let entry = &mut self.entries[at];
            if pixels > most_pixels && entry.spare() > 0 {
                pixels -= entry.spare();
                entry.let_go();
            }
            if smalls > most_small && entry.has_small() {
                smalls -= 1;
                entry.drop_small();
            }
        }
    }

    /// Takes in pictures that an earlier start kept.
    pub fn take_kept(&mut self, context: &Context, kept: Kept) {
        self.reading = self.reading.saturating_sub(1);
        // It may have been taken away meanwhile.
        if let Some(at) = self.place(kept.id) {
            self.entries[at].take(context, kept);
        }
    }

    /// Notes that an entry cannot be read. It stays in its place: what is on disk is the person's.
    pub fn miss(&mut self, id: u64, why: String) {
        self.reading = self.reading.saturating_sub(1);
        if let Some(at) = self.place(id) {
            self.entries[at].pixels = Pixels::Lost(why);
        }
    }
}

/// Begins to read entries; how many.
fn read<'a>(entries: impl Iterator<Item = &'a mut Entry>, inbox: &Inbox) -> usize {
    let mut files = Vec::new();
    for entry in entries {
        entry.pixels = Pixels::Asked;
        files.push((entry.id, entry.keys()));
    }
    let count = files.len();
    if count > 0 {
        kept::load(files, inbox);
    }
    count
}

#[cfg(test)]
mod tests {
    use super::*;

    fn picture(edge: usize) -> Arc<Picture> {
        Arc::new(Picture { width: edge, height: edge, rgb: vec![9; edge * edge * 3] })
    }

    fn texts(count: usize) -> Vec<(String, Recipe)> {
        (0..count).map(|i| (format!("text {i}"), Recipe::new("builtin:mini"))).collect()
    }

    #[test]
    fn old_and_new_names_make_entries() {
        let keys =
            ["history/00000003.png", "history/00000012-1.png", "history/00000012.png", "history/x.png", "files/1"];
        let history = History::resume(&keys.map(String::from));
        let found: Vec<(u64, usize)> = history.entries.iter().map(|e| (e.id, e.count())).collect();
        assert_eq!(found, [(3, 1), (12, 2)]);
        assert_eq!(history.entries[1].keys(), ["history/00000012.png", "history/00000012-1.png"]);
        assert!(history.get(12).is_some_and(|e| !e.is_known()) && history.get(4).is_none());
    }

    #[test]
    fn two_windows_number_their_pictures_apart() {
        let keys = ["history/00000012.png".to_string()];
        let (mut one, mut other) = (History::resume(&keys), History::resume(&keys));
        let mut ids = Vec::new();
        for history in [&mut one, &mut other] {
            ids.push(history.put(vec![picture(2)], Recipe::new("builtin:mini"), texts(1), None));
            std::thread::sleep(std::time::Duration::from_millis(3));
        }
        assert_ne!(ids[0], ids[1]);
        // Two of one window within a millisecond as well.
        let more: Vec<u64> =
            (0..50).map(|_| one.put(vec![picture(2)], Recipe::new("builtin:mini"), texts(1), None)).collect();
        assert!(more.is_sorted_by(|a, b| a < b) && more[0] > ids[0]);
    }

    #[test]
    fn memory_is_bounded_and_nothing_unwritten_is_let_go() {
        let context = Context::default();
        let mut history = History::default();
        for i in 0..20 {
            let id = history.put(vec![picture(100)], Recipe::new("builtin:mini"), texts(1), None);
            history.now += 1;
            assert!(history.small(&context, id).is_some());
            // The first three could not be written.
            history.entries[i].is_on_disk.store(i >= 3, Ordering::Relaxed);
        }
        history.now += 1;
        history.tidy(5 * 100 * 100, 10);
        let here: Vec<u64> = history.entries.iter().filter(|e| !e.pictures.is_empty()).map(|e| e.id).collect();
        assert_eq!(here, [1, 2, 3, 16, 17, 18, 19, 20]);
        assert_eq!(history.entries.iter().filter(|e| e.has_small()).count(), 10);
        assert_eq!(history.entries.len(), 20, "entries stay");
        assert!(history.entries.iter().all(Entry::is_known), "and their recipes");
    }
}
