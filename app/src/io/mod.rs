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
