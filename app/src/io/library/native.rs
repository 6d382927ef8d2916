//! Folders and files on the person's disk.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use admix_engine::files::builtin;
use admix_engine::files::checkpoint::Checkpoint;
use admix_engine::select::keep::{Keep, Passing};
use admix_engine::select::loose::{self, Loose};
use admix_engine::select::sqlite::SqliteFile;
use admix_engine::select::{Error, Filter, Place, folders};
use admix_engine::suggest::Adviser;

use super::{Heard, Places};

/// The catalogue for changes to the cards of built-in adapters and of those that were dropped one by one; none on a system without a data
/// folder.
pub fn own_catalogue() -> Option<PathBuf> {
    crate::io::store::root().ok().map(|folder| folder.join("catalogue.sqlite"))
}

pub(super) async fn open(places: &Places, progress: Heard<'_>, stop: &AtomicBool) -> Result<Adviser, Error> {
    let model = Checkpoint::open(builtin::resolve_model(&places.base)?)?;
    let own = own_catalogue();
    let keeper: Arc<dyn Keep> = match &own {
        Some(path) => Arc::new(SqliteFile::new(path)),
        None => Arc::new(Passing::default()),
    };
    let loose = |reference: &String| Loose {
        reference: reference.clone(),
        name: crate::io::catalogue::short(reference),
        place: Place::Path(PathBuf::from(reference)),
    };
    let files: Vec<Loose> = places.files.iter().map(loose).collect();
    let mut shelf = loose::shelf(&files, keeper, progress, stop).await?;
    // A drive that is not plugged in takes nothing away from the rest.
    let there: Vec<PathBuf> = places.folders.iter().filter(|f| f.is_dir()).cloned().collect();
    let own = own.as_deref().unwrap_or(Path::new(""));
    shelf.append(folders::open(&there, true, own, progress, stop)?);
    shelf.adopt_shipped();
    shelf.notes.iter().for_each(|note| log::info!("{note}"));
    Ok(Adviser::new(folders::shipped_words()?, shelf, &model, Filter::default()))
}
