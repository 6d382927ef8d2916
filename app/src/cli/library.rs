//! Where the adapters come from that commands choose among: folders, the built-in ones, and what a person said of them.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use admix_engine::Cancel;
use admix_engine::select::{Shelf, folders};

use super::fault::Fault;
use super::output;
use super::progress::Bar;

/// Flags that name libraries.
#[derive(clap::Args)]
pub struct LibraryArgs {
    /// A folder of adapters, beside the built-in ones; may be repeated
    #[arg(long, value_name = "DIR", global = true)]
    pub library: Vec<PathBuf>,
    /// Leave the built-in adapters out
    #[arg(long, global = true)]
    pub no_builtin: bool,
}

/// The file for what a person says of the built-in adapters.
#[cfg(feature = "studio")]
pub fn own() -> PathBuf {
    crate::io::own_catalogue().unwrap_or_default()
}

/// The file for what a person says of the built-in adapters.
#[cfg(not(feature = "studio"))]
pub fn own() -> PathBuf {
    std::env::var_os("ADMIX_DATA").map(|data| PathBuf::from(data).join("catalogue.sqlite")).unwrap_or_default()
}

impl LibraryArgs {
    /// Indexes on another thread, so that Ctrl-C stops it and the bar moves. What there is to note goes to stderr.
    pub fn open(&self, cancel: &Cancel) -> Result<Shelf, Fault> {
        let stop = Arc::new(AtomicBool::new(false));
        let (send, heard) = std::sync::mpsc::channel();
        let shelf = std::thread::scope(|scope| {
            let progress = |done: usize, of: usize| {
                let _ = send.send((done, of));
            };
            let stop_there = stop.clone();
            let work =
                scope.spawn(move || folders::open(&self.library, !self.no_builtin, &own(), &progress, &stop_there));
            let mut bar = Bar::new();
            while !work.is_finished() {
                if cancel.is_cancelled() {
                    stop.store(true, Ordering::Relaxed);
                }
                if let Ok((done, of)) = heard.recv_timeout(Duration::from_millis(20)) {
                    bar.show("cards", done, of);
                }
            }
            drop(bar);
            let outcome = work.join().map_err(|_| Fault::other("the indexing broke off"))?;
            Ok::<Shelf, Fault>(outcome?)
        })?;
        shelf.notes.iter().for_each(|note| eprintln!("note: {}", output::one_line(note)));
        Ok(shelf)
    }
}
