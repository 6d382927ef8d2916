//! Adapters offered for the prompt's words.

use egui_kittest::kittest::Queryable as _;

use super::{harness, until};
#[test]
fn words_are_marked_and_a_click_adds_the_adapter() {
    let mut h = harness();
    h.state_mut().document.recipe.sample.prompt = Some("red apple in watercolour".into());
    until(&mut h, "an offer", |s| !s.suggest.offers.is_empty());
    assert_eq!(h.state().suggest.marks, std::slice::from_ref(&(13..24)));
    assert!(h.state().document.recipe.adapters.is_empty(), "nothing is turned on by itself");
    for _ in 0..3 {
        h.step();
    }
    h.get_by_label("+ watercolour").click();
    until(&mut h, "the row", |s| s.document.recipe.adapters.len() == 1);
    let row = &h.state().document.recipe.adapters[0];
    assert_eq!((row.source.reference.as_str(), row.weight), ("builtin:watercolour", 0.8));
    assert!(h.query_by_label("+ watercolour").is_none(), "what is used is not offered again");
    // A prompt that needs nothing is offered nothing.
    h.state_mut().document.recipe.sample.prompt = Some("red apple".into());
    until(&mut h, "no offer", |s| s.suggest.offers.is_empty());
}
