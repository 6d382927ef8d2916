//! Recipes of other programs, where the method exists here: mergekit's YAML and SuperMerger's `sd_merge_recipe` metadata.

mod mergekit;
mod supermerger;
mod yaml;

pub use mergekit::from_mergekit;
pub use supermerger::from_supermerger;

use crate::Recipe;

/// A recipe from another program, and what of it has no place here.
#[derive(Clone, Debug, PartialEq)]
pub struct Imported {
    /// The recipe.
    pub recipe: Recipe,
    /// What a person should know, a line each.
    pub notes: Vec<String>,
}
