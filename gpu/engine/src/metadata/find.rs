//! Which of the files at hand another program's picture means: by checksum, or else by name.

use admix_files::Bundle;
use admix_files::known_as::{glance, is_known_as};

use super::Named;
use crate::infotext::short_name;

/// What a name of another program can mean here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// A checkpoint.
    Model,
    /// An adapter.
    Adapter,
}

/// A file that a name may mean.
#[derive(Clone)]
pub struct Candidate {
    /// How recipes name it.
    pub reference: String,
    /// What it is, where that is known.
    pub kind: Option<Wanted>,
    /// Its bytes, where it has no path.
    pub bundle: Option<Bundle>,
}

impl Candidate {
    /// A file or folder by its path or built-in name.
    pub fn new(reference: impl Into<String>) -> Candidate {
        Candidate { reference: reference.into(), kind: None, bundle: None }
    }

    fn bundle(&self) -> Option<Bundle> {
        #[cfg(not(target_arch = "wasm32"))]
        if self.bundle.is_none() {
            return Bundle::open(admix_files::builtin::resolve_any(&self.reference).ok()?).ok();
        }
        self.bundle.clone()
    }
}

/// The name of a reference, without folders, ending, and where it comes from.
pub(crate) fn name_of(reference: &str) -> String {
    let reference = if reference == "builtin" { "builtin:mini" } else { reference };
    short_name(reference.strip_prefix("drop:").unwrap_or(reference))
}

/// Whether a reference is called so, in any case.
pub(crate) fn is_called(reference: &str, name: &str) -> bool {
    name_of(reference).eq_ignore_ascii_case(name)
}

/// A file that was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Hit {
    pub reference: String,
    /// It has the name, but the stated checksum is another's.
    pub differs: bool,
}

/// Bytes that one restoring may read to find files by their checksums: a minute or so of a disk's time.
const MOST_BYTES: u64 = 32 << 30;

/// No adapter that people exchange is larger.
const LARGEST_ADAPTER: u64 = 2 << 30;

/// The files at hand, in order of preference.
pub(crate) struct Search<'a> {
    candidates: &'a [Candidate],
    /// Bytes that may still be read.
    left: u64,
    /// Files were left unread.
    pub gave_up: bool,
}

impl<'a> Search<'a> {
    pub fn new(candidates: &'a [Candidate]) -> Search<'a> {
        Search { candidates, left: MOST_BYTES, gave_up: false }
    }

    /// Whether a reference leads somewhere: to one of the files, or to a path that exists.
    pub fn has(&self, reference: &str) -> bool {
        let known =
            |c: &Candidate| c.reference == reference || (reference == "builtin" && c.reference == "builtin:mini");
        #[cfg(not(target_arch = "wasm32"))]
        if std::path::Path::new(reference).exists() {
            return true;
        }
        self.candidates.iter().any(known)
    }

    /// The file that has the stated checksum (one of that name first), or else the first of that name.
    pub async fn find(&mut self, wanted: Wanted, named: &Named) -> Option<Hit> {
        let fits = |c: &&Candidate| c.kind.is_none_or(|k| k == wanted);
        let same = |c: &&Candidate| is_called(&c.reference, &named.name);
        let hit = |c: &Candidate, differs| Some(Hit { reference: c.reference.clone(), differs });
        let all: Vec<&'a Candidate> = self.candidates.iter().filter(fits).collect();
        if let Some(hash) = named.hash.as_deref().filter(|h| !h.is_empty()) {
            // Those of that name, then those whose header says it: neither reads more than it must.
            for candidate in all.iter().filter(|c| same(c)) {
                if let Some(bundle) = candidate.bundle()
                    && is_known_as(&bundle, hash).await
                {
                    return hit(candidate, false);
                }
            }
            let mut unread = Vec::new();
            for candidate in all.iter().filter(|c| !same(c)) {
                let Some(bundle) = candidate.bundle() else { continue };
                let glance = glance(&bundle).await;
                if glance.states(hash) {
                    return hit(candidate, false);
                }
                let size: u64 = bundle.weights().map(|(_, s)| s.len()).sum();
                let may_be = match wanted {
                    Wanted::Model => !glance.is_adapter,
                    Wanted::Adapter => size <= LARGEST_ADAPTER,
                };
                if may_be {
                    unread.push((*candidate, bundle, size));
                }
            }
            for (candidate, bundle, size) in unread {
                match self.left.checked_sub(size) {
                    Some(left) => self.left = left,
                    None => {
                        self.gave_up = true;
                        continue;
                    }
                }
                if is_known_as(&bundle, hash).await {
                    return hit(candidate, false);
                }
            }
        }
        let named_so = all.iter().find(|c| same(c))?;
        // Nothing to compare: files out of reach, and the eight digits of another kind of checksum that old programs wrote for checkpoints.
        let least = if wanted == Wanted::Model { 9 } else { 1 };
        hit(named_so, named.hash.as_ref().is_some_and(|h| h.len() >= least) && named_so.bundle().is_some())
    }
}

/// The files below some folders, and what is built in.
#[cfg(not(target_arch = "wasm32"))]
pub fn candidates(libraries: &[std::path::PathBuf]) -> Vec<Candidate> {
    use admix_files::builtin::{Kind, catalogue};

    use crate::conditioning::{DEEPEST, list_files};
    let mut files = Vec::new();
    libraries.iter().for_each(|folder| list_files(folder, DEEPEST, &mut files));
    let built_in = catalogue().unwrap_or_default().into_iter().map(|item| {
        let kind = if item.kind == Kind::Adapter { Wanted::Adapter } else { Wanted::Model };
        Candidate { kind: Some(kind), ..Candidate::new(format!("builtin:{}", item.name)) }
    });
    files.iter().map(|p| Candidate::new(p.display().to_string())).chain(built_in).collect()
}
