//! The catalogue of a library: which files there are, the card of each, and what a person changed.
//!
//! Cards are known by the sha256 of the tensors, so that a file keeps its edits when it is renamed, moved or given new metadata.
//! Natively a catalogue is one SQLite file ([`crate::sqlite`]); in a browser tab the same is kept as bytes.

use crate::card::{Card, Edits, Entry, Seen};
use crate::error::{Error, Result};
use indexmap::IndexMap;
use serde::{Deserialize, Serialize};

/// How the thumbnail of a card begins that lies beside the catalogue: the key follows.
pub const KEPT: &str = "catalogue:";

/// Version of the form.
const VERSION: u32 = 1;

/// What is known of a file.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Record {
    /// Name without folder and ending.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// Modification time of the file and what lies beside it, in nanoseconds; 0 where there is none.
    pub modified: u64,
    /// Sha256 of the tensors, once known.
    pub key: Option<String>,
    /// The card; none if the file is no adapter.
    pub card: Option<Card>,
}

/// All records and edits of a library.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Catalogue {
    admix_catalogue: u32,
    /// By path below the library's folder.
    pub files: IndexMap<String, Record>,
    /// By sha256 of the tensors, or `path:PATH` as long as that is not known.
    pub edits: IndexMap<String, Edits>,
    /// What pictures showed, under the same names. The pictures themselves lie beside the catalogue.
    pub seen: IndexMap<String, Seen>,
}

impl Catalogue {
    /// Reads what [`Catalogue::to_bytes`] wrote.
    ///
    /// # Errors
    /// Bytes that are no catalogue, or one of a later version.
    pub fn from_bytes(bytes: &[u8]) -> Result<Catalogue> {
        let broken = |why: String| {
            Error::Catalogue(format!("the catalogue cannot be read ({why}); remove it and it is made anew"))
        };
        let read: Catalogue = serde_json::from_slice(bytes).map_err(|e| broken(e.to_string()))?;
        if read.admix_catalogue > VERSION {
            return Err(broken(format!("version {}, this program knows {VERSION}", read.admix_catalogue)));
        }
        Ok(read)
    }

    /// The catalogue as JSON.
    pub fn to_bytes(&self) -> Vec<u8> {
        let with_version = Catalogue { admix_catalogue: VERSION, ..self.clone() };
        serde_json::to_vec(&with_version).unwrap_or_default()
    }

    fn edit_key(path: &str, record: &Record) -> String {
        record.key.clone().unwrap_or_else(|| format!("path:{path}"))
    }

    /// The name under which edits and pictures of a file are kept.
    ///
    /// # Errors
    /// A file that is not in the catalogue.
    pub fn key(&self, path: &str) -> Result<String> {
        let record = self.files.get(path);
        record
            .map(|r| Self::edit_key(path, r))
            .ok_or_else(|| Error::Usage(format!("there is no adapter `{path}` in this library")))
    }

    /// Changes the card of a file. The change is kept under the tensors' hash.
    ///
    /// # Errors
    /// A file that is not in the catalogue.
    pub fn edit(&mut self, path: &str, change: Edits) -> Result<()> {
        let key = self.key(path)?;
        self.edits.entry(key).or_default().merge(change);
        Ok(())
    }

    /// Notes the hash of a file's tensors. Edits that were made before it was known move along.
    pub fn set_key(&mut self, path: &str, key: String) {
        let Some(record) = self.files.get_mut(path) else { return };
        record.key = Some(key.clone());
        let early = format!("path:{path}");
        if let Some(edits) = self.edits.shift_remove(&early) {
            self.edits.entry(key.clone()).or_default().merge(edits);
        }
        if let Some(seen) = self.seen.shift_remove(&early) {
            self.seen.insert(key, seen);
        }
    }

    /// The entry of a file, under the name that recipes use for it; none if it is not here or no adapter.
    pub fn entry(&self, path: &str, reference: String) -> Option<Entry> {
        let record = self.files.get(path)?;
        let mut found = record.card.clone()?;
        let key = Self::edit_key(path, record);
        let edits = self.edits.get(&key).cloned().unwrap_or_default();
        if let Some(seen) = self.seen.get(&key) {
            found.seen.clone_from(&seen.text);
            found.thumbnail.get_or_insert_with(|| format!("{KEPT}{key}"));
        }
        Some(Entry { name: record.name.clone(), reference, key: record.key.clone(), found, edits })
    }

    /// The entries of all adapters; `refer` makes a reference of a path.
    pub fn entries(&self, refer: &dyn Fn(&str) -> String) -> Vec<Entry> {
        self.files.keys().filter_map(|path| self.entry(path, refer(path))).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn record(name: &str, key: Option<&str>) -> Record {
        let card = Some(Card { title: name.into(), ..Card::default() });
        Record { name: name.into(), key: key.map(str::to_owned), card, ..Record::default() }
    }

    #[test]
    fn edits_follow_the_tensors() {
        let mut c = Catalogue::default();
        c.files.insert("a.safetensors".into(), record("a", Some("k1")));
        c.files.insert("b.safetensors".into(), record("b", None));
        let change = |t: &str| Edits { title: Some(t.into()), ..Edits::default() };
        c.edit("a.safetensors", change("A")).unwrap();
        c.edit("b.safetensors", change("B")).unwrap();
        assert!(c.edit("c.safetensors", change("C")).is_err());
        c.set_key("b.safetensors", "k2".into());
        // Renamed: the same tensors under another name.
        let moved = c.files.shift_remove("a.safetensors").unwrap();
        c.files.insert("sub/new.safetensors".into(), moved);
        let titles: Vec<String> = c.entries(&|p| p.into()).iter().map(|e| e.card().title).collect();
        assert_eq!(titles, ["B", "A"]);
        let again = Catalogue::from_bytes(&c.to_bytes()).unwrap();
        assert_eq!((again.files, again.edits), (c.files.clone(), c.edits.clone()));
        // What pictures showed stays with the tensors, too, and an edit wins over it.
        c.files.insert("d.safetensors".into(), record("d", None));
        c.seen.insert(c.key("d.safetensors").unwrap(), Seen { text: "Darker.".into(), ..Seen::default() });
        c.set_key("d.safetensors", "k4".into());
        let found = c.entries(&|p| p.into()).into_iter().find(|e| e.name == "d").unwrap();
        assert_eq!((found.found.seen.as_str(), found.found.thumbnail.as_deref()), ("Darker.", Some("catalogue:k4")));
        c.edit("d.safetensors", Edits { thumbnail: Some("mine.png".into()), ..Edits::default() }).unwrap();
        let found = c.entries(&|p| p.into()).into_iter().find(|e| e.name == "d").unwrap();
        assert_eq!(found.card().thumbnail.as_deref(), Some("mine.png"));
    }

    #[test]
    fn strange_bytes_are_refused() {
        assert!(Catalogue::from_bytes(b"[]x").is_err());
        assert!(Catalogue::from_bytes(br#"{"admix_catalogue": 99}"#).is_err());
    }
}
