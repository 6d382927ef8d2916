//! Ways of spelling module names. To add one: a file here that implements [`Dialect`], and its line in [`dialects`].

mod diffusers;
mod kohya;
mod peft;

pub(super) use peft::PREFIX as PEFT_PREFIX;

/// A module of the model that an adapter might change.
pub struct ModelModule<'a> {
    /// `unet`, `text_encoder`, `text_encoder_2`, `vae`.
    pub component: &'a str,
    /// Canonical name without component and without `.weight`.
    pub path: &'a str,
    /// Its name in ldm files, without prefix, if it has one.
    pub ldm: Option<&'a str>,
}

impl ModelModule<'_> {
    /// The canonical path and, for text encoders, the one without `text_model.` that transformers 5 has.
    pub fn paths(&self) -> impl Iterator<Item = &str> {
        let short = self.path.strip_prefix("text_model.").filter(|_| self.component.starts_with("text_encoder"));
        std::iter::once(self.path).chain(short)
    }
}

/// A way of spelling module names.
pub trait Dialect: Sync {
    /// Identifier: `kohya`, `peft`, `diffusers`.
    fn id(&self) -> &'static str;

    /// Whether a module name in a file looks like this dialect.
    fn is(&self, module: &str) -> bool;

    /// Every spelling that this dialect has for a module of the model.
    fn spell(&self, module: &ModelModule<'_>, put: &mut dyn FnMut(String));
}

/// All dialects; the first whose [`Dialect::is`] says so names a module's dialect.
pub fn dialects() -> &'static [&'static dyn Dialect] {
    &[&kohya::Kohya, &peft::Peft, &diffusers::Diffusers]
}

fn flat(path: &str) -> String {
    path.replace('.', "_")
}
