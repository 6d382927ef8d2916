//! How files come in and go out: dialogs, dropped files, downloads, the built-in catalogue, what is kept between starts, and what pictures carry with them.

#[cfg(target_arch = "wasm32")]
pub mod assets;
pub mod catalogue;
pub mod dropped;
pub mod kept;
#[cfg(feature = "studio")]
pub mod library;
pub mod link;
pub mod pick;
mod place;
pub mod store;

#[cfg(all(feature = "studio", not(target_arch = "wasm32")))]
pub use library::own_catalogue;
pub use place::Place;
#[cfg(target_arch = "wasm32")]
pub use place::sweep;

/// Names the files behind a reference with their lengths and times of change, so that a file that was written anew is told from what it was; none
/// where nothing tells.
pub fn state_of(reference: &str) -> Option<String> {
    #[cfg(not(target_arch = "wasm32"))]
    let bundle = {
        use admix_engine::files::{Bundle, builtin};
        Bundle::open(builtin::resolve_any(reference).ok()?).ok()?
    };
    #[cfg(target_arch = "wasm32")]
    let bundle = dropped::known(reference)?;
    admix_engine::state_of(reference, &bundle)
}

/// A picture that came in, read.
pub struct Restored {
    /// File name.
    pub name: String,
    /// The picture.
    pub picture: admix_engine::Picture,
    /// A1111's infotext; empty where it has none.
    pub infotext: String,
    /// Its settings, and what of them has nothing to stand on here.
    pub settings: admix_engine::metadata::Restored,
}

/// Reads a picture's settings away from the drawing, over `current`, and leaves it in the inbox. Files that it names are looked for among `candidates`.
pub fn restore(
    name: String,
    bytes: Vec<u8>,
    current: admix_engine::mix::Recipe,
    candidates: Vec<admix_engine::metadata::Candidate>,
    inbox: &dropped::Inbox,
) {
    let inbox = inbox.clone();
    pick::spawn(async move {
        let incoming = match read_picture(&name, &bytes, &current, &candidates).await {
            Ok(restored) => dropped::Incoming::Restored(Box::new(restored)),
            Err(error) => dropped::Incoming::Failed(error),
        };
        inbox.put(incoming);
    });
}

/// Looks among `candidates` for the files that a recipe names and that are not where it says, away from the drawing; leaves the names that lead
/// nowhere in the inbox, each with the one that does, and `name`, which says whose recipe it is.
pub fn mend(
    name: Option<String>,
    recipe: admix_engine::mix::Recipe,
    candidates: Vec<admix_engine::metadata::Candidate>,
    inbox: &dropped::Inbox,
) {
    let inbox = inbox.clone();
    pick::spawn(async move {
        let mut mended = recipe.clone();
        admix_engine::metadata::mend_recipe(&mut mended, &candidates).await;
        let (mut before, mut after) = (recipe, mended.clone());
        let pairs = before.references_mut().zip(after.references_mut());
        let pairs = pairs.filter(|(old, new)| old.reference != new.reference);
        let moved = pairs.map(|(old, new)| (old.reference.clone(), new.reference.clone())).collect();
        inbox.put(match name {
            Some(name) => dropped::Incoming::Mended { name, recipe: Box::new(mended) },
            None => dropped::Incoming::Moved(moved),
        });
    });
}

async fn read_picture(
    name: &str,
    bytes: &[u8],
    current: &admix_engine::mix::Recipe,
    candidates: &[admix_engine::metadata::Candidate],
) -> Result<Restored, String> {
    let picture = admix_engine::Picture::decode(bytes, name).map_err(|e| e.to_string())?;
    let settings = admix_engine::metadata::restore(bytes, current, candidates).await;
    let settings = settings.map_err(|e| format!("{name}: {e}"))?;
    let texts = admix_engine::picture::texts(bytes).unwrap_or_default();
    let infotext = texts.into_iter().find(|(k, _)| k == "parameters").map(|(_, t)| t).unwrap_or_default();
    Ok(Restored { name: name.into(), picture, infotext, settings })
}
