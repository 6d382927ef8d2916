//! Any text as a recipe: what is accepted is written and read back as the same recipe.
#![no_main]

use admix_mix::Recipe;
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    if let Ok(recipe) = Recipe::from_json(text) {
        let again = Recipe::from_json(&recipe.to_json(false)).expect("what is written can be read");
        assert_eq!(again, recipe);
    }
});
