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

/// Settings from a picture, names looked up among what is built in: see [`admix_engine::metadata::restore`].
///
/// # Errors
/// No picture, or one without settings.
pub fn restore(
    file: &[u8],
    current: &admix_engine::mix::Recipe,
) -> Result<admix_engine::metadata::Restored, admix_engine::EngineError> {
    use admix_engine::metadata::Wanted;
    let built_in = catalogue::builtin();
    let find = |wanted: Wanted, name: &str| {
        let fits =
            |i: &&catalogue::Item| i.is_adapter == (wanted == Wanted::Adapter) && i.name.eq_ignore_ascii_case(name);
        built_in.iter().find(fits).map(|i| i.reference.clone())
    };
    admix_engine::metadata::restore(file, current, &find)
}
