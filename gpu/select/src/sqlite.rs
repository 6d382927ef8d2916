//! A catalogue as one SQLite file.

use crate::catalogue::{Catalogue, Record};
use crate::error::{Error, Result};
use crate::keep::{CatalogueChange, Keep, KeepFuture};
use indexmap::IndexMap;
use rusqlite::{Connection, params};
use std::path::{Path, PathBuf};

/// What the file in a library's folder is called.
pub const FILE_NAME: &str = ".admix-catalogue.sqlite";

/// An open catalogue file.
pub struct Store {
    connection: Connection,
    path: PathBuf,
    /// What the file holds, to write only what changed.
    saved: Catalogue,
}

impl Store {
    /// Opens or makes the file and reads it.
    ///
    /// # Errors
    /// Files that are no catalogue or cannot be written.
    pub fn open(path: &Path) -> Result<(Store, Catalogue)> {
        let failed = |e: rusqlite::Error| fault(path, &e);
        let connection = Connection::open(path).map_err(failed)?;
        let make = "PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL;
            CREATE TABLE IF NOT EXISTS files (path TEXT PRIMARY KEY, record TEXT NOT NULL) WITHOUT ROWID;
            CREATE TABLE IF NOT EXISTS edits (key TEXT PRIMARY KEY, edits TEXT NOT NULL) WITHOUT ROWID;
            CREATE TABLE IF NOT EXISTS seen (key TEXT PRIMARY KEY, seen TEXT NOT NULL) WITHOUT ROWID;
            CREATE TABLE IF NOT EXISTS pictures (key TEXT PRIMARY KEY, png BLOB NOT NULL);";
        connection.execute_batch(make).map_err(failed)?;
        let mut catalogue = Catalogue::default();
        for (path, text) in rows(&connection, "SELECT path, record FROM files").map_err(failed)? {
            // A record of another version is read from its file again.
            if let Ok(record) = serde_json::from_str::<Record>(&text) {
                catalogue.files.insert(path, record);
            }
        }
        for (key, text) in rows(&connection, "SELECT key, edits FROM edits").map_err(failed)? {
            let read = serde_json::from_str(&text);
            // Edits are a person's work: rather stop than lose them.
            let edits = read.map_err(|e| {
                Error::Catalogue(format!("{}: the edits of {key} cannot be read ({e})", path.display()))
            })?;
            catalogue.edits.insert(key, edits);
        }
        for (key, text) in rows(&connection, "SELECT key, seen FROM seen").map_err(failed)? {
            // What cannot be read can be seen again.
            if let Ok(seen) = serde_json::from_str(&text) {
                catalogue.seen.insert(key, seen);
            }
        }
        Ok((Store { connection, path: path.to_path_buf(), saved: catalogue.clone() }, catalogue))
    }

    /// Writes what changed since the last time, all or nothing.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn save(&mut self, catalogue: &Catalogue) -> Result<()> {
        let Store { connection, path, saved } = self;
        let failed = |e: rusqlite::Error| fault(path, &e);
        let change = connection.transaction().map_err(failed)?;
        sync(&change, "files", "path", "record", &saved.files, &catalogue.files).map_err(failed)?;
        sync(&change, "edits", "key", "edits", &saved.edits, &catalogue.edits).map_err(failed)?;
        sync(&change, "seen", "key", "seen", &saved.seen, &catalogue.seen).map_err(failed)?;
        change.commit().map_err(failed)?;
        *saved = catalogue.clone();
        Ok(())
    }

    /// The picture kept under a key.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn picture(&self, key: &str) -> Result<Option<Vec<u8>>> {
        let failed = |e: rusqlite::Error| fault(&self.path, &e);
        let mut statement = self.connection.prepare("SELECT png FROM pictures WHERE key = ?1").map_err(failed)?;
        let mut found = statement.query_map(params![key], |row| row.get(0)).map_err(failed)?;
        found.next().transpose().map_err(failed)
    }

    /// Keeps a picture under a key.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn keep_picture(&self, key: &str, png: &[u8]) -> Result<()> {
        let put = "INSERT OR REPLACE INTO pictures VALUES (?1, ?2)";
        self.connection.execute(put, params![key, png]).map_err(|e| fault(&self.path, &e))?;
        Ok(())
    }
}

/// A catalogue file by its path, opened for every operation: several programs may use it in turns. A missing one is made when there is
/// something to keep.
pub struct SqliteFile(PathBuf);

impl SqliteFile {
    /// Names the file.
    pub fn new(path: &Path) -> SqliteFile {
        SqliteFile(path.to_path_buf())
    }

    /// What is asked of the file, if it is there.
    fn ask<T: Default>(&self, question: impl FnOnce(Store, Catalogue) -> Result<T>) -> Result<T> {
        if !self.0.is_file() {
            return Ok(T::default());
        }
        let (store, catalogue) = Store::open(&self.0)?;
        question(store, catalogue)
    }

    /// The file, made with its folder where it is missing.
    fn make(&self) -> Result<(Store, Catalogue)> {
        if let Some(folder) = self.0.parent() {
            std::fs::create_dir_all(folder)
                .map_err(|e| Error::Catalogue(format!("{} cannot be made: {e}", folder.display())))?;
        }
        Store::open(&self.0)
    }
}

/// A future that is finished when it is made.
fn done<'a, T: 'a>(result: Result<T>) -> KeepFuture<'a, T> {
    Box::pin(std::future::ready(result))
}

impl Keep for SqliteFile {
    fn read(&self) -> KeepFuture<'_, Catalogue> {
        done(self.ask(|_, catalogue| Ok(catalogue)))
    }

    fn change<'a>(&'a self, change: CatalogueChange<'a>) -> KeepFuture<'a, ()> {
        done(self.make().and_then(|(mut store, mut catalogue)| {
            change(&mut catalogue);
            store.save(&catalogue)
        }))
    }

    fn picture<'a>(&'a self, key: &'a str) -> KeepFuture<'a, Option<Vec<u8>>> {
        done(self.ask(|store, _| store.picture(key)))
    }

    fn keep_picture<'a>(&'a self, key: &'a str, png: &'a [u8]) -> KeepFuture<'a, ()> {
        done(self.make().and_then(|(store, _)| store.keep_picture(key, png)))
    }
}

/// Brings a table from what it holds to what it shall hold.
fn sync<T: serde::Serialize + PartialEq>(
    connection: &Connection,
    table: &str,
    key: &str,
    value: &str,
    from: &IndexMap<String, T>,
    to: &IndexMap<String, T>,
) -> rusqlite::Result<()> {
    let mut put = connection.prepare(&format!("INSERT OR REPLACE INTO {table} ({key}, {value}) VALUES (?1, ?2)"))?;
    for (name, held) in to.iter().filter(|(name, held)| from.get(*name) != Some(*held)) {
        put.execute(params![name, json(held)])?;
    }
    let mut remove = connection.prepare(&format!("DELETE FROM {table} WHERE {key} = ?1"))?;
    for name in from.keys().filter(|name| !to.contains_key(*name)) {
        remove.execute(params![name])?;
    }
    Ok(())
}

fn rows(connection: &Connection, query: &str) -> rusqlite::Result<Vec<(String, String)>> {
    let mut statement = connection.prepare(query)?;
    statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?.collect()
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

fn fault(path: &Path, e: &rusqlite::Error) -> Error {
    Error::Catalogue(format!("the catalogue {} cannot be used: {e}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::card::{Card, Edits, Seen};

    #[test]
    fn what_was_saved_is_read_again() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join(FILE_NAME);
        let (mut store, mut catalogue) = Store::open(&path).unwrap();
        assert!(catalogue.files.is_empty());
        let card = Card { title: "Ink".into(), ..Card::default() };
        for name in ["a", "b"] {
            let record = Record { name: name.into(), size: 3, card: Some(card.clone()), ..Record::default() };
            catalogue.files.insert(format!("{name}.safetensors"), record);
        }
        catalogue.edit("a.safetensors", Edits { title: Some("Mine".into()), ..Edits::default() }).unwrap();
        store.save(&catalogue).unwrap();
        catalogue.files.shift_remove("b.safetensors");
        catalogue.seen.insert("k".into(), Seen { text: "Darker.".into(), ..Seen::default() });
        store.save(&catalogue).unwrap();
        store.keep_picture("k", b"png").unwrap();
        assert_eq!((store.picture("k").unwrap(), store.picture("x").unwrap()), (Some(b"png".to_vec()), None));
        drop(store);
        let (_, again) = Store::open(&path).unwrap();
        assert_eq!((again.files, again.edits, again.seen), (catalogue.files, catalogue.edits, catalogue.seen));
    }

    #[test]
    fn a_file_that_is_no_catalogue_is_refused() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("x");
        std::fs::write(&path, vec![b'x'; 4096]).unwrap();
        assert!(Store::open(&path).err().unwrap().to_string().contains("cannot be used"));
    }
}
