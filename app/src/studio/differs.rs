//! What two recipes differ in, in a few words: captions of compared pictures.

use admix_engine::mix::Recipe;
use admix_engine::mix::recipe::Sample;

use super::document::Document;

/// Differences named; more would not fit over a picture.
const MOST: usize = 3;

/// What is otherwise in `of` than in `than`: "seed 7, CFG 9". Empty when they are alike.
pub fn differences(of: &Recipe, than: &Recipe) -> String {
    let name = |recipe: &Recipe| {
        let on = vec![true; recipe.adapters.len()];
        Document { recipe: recipe.clone(), on, seed_locked: false }.summary()
    };
    let mix = (of.base != than.base || of.merge != than.merge || of.adapters != than.adapters).then(|| name(of));
    let (a, b) = (&of.sample, &than.sample);
    let size = |s: &Sample| s.width.zip(s.height).map(|(w, h)| format!("{w} x {h}"));
    let mut parts: Vec<String> = mix.into_iter().collect();
    parts.extend(other("seed ", &a.seed, &b.seed));
    parts.extend(other("", &a.prompt, &b.prompt));
    parts.extend(other("not ", &a.negative, &b.negative));
    parts.extend(other("CFG ", &a.cfg, &b.cfg));
    parts.extend(other("steps ", &a.steps, &b.steps));
    parts.extend(other("", &a.sampler, &b.sampler));
    parts.extend(other("", &a.schedule, &b.schedule));
    parts.extend(other("", &size(a), &size(b)));
    for (knob, value) in &a.set {
        let now = Some(value.to_string());
        parts.extend(other(&format!("{knob} "), &now, &b.set.get(knob).map(|v| v.to_string())));
    }
    let rest = parts.len().saturating_sub(MOST);
    parts.truncate(MOST);
    // A prompt may be a page long.
    let cut = |part: String| match part.char_indices().nth(40) {
        Some((at, _)) => format!("{}..", &part[..at]),
        None => part,
    };
    let text = parts.into_iter().map(cut).collect::<Vec<_>>().join(", ");
    if rest > 0 { format!("{text} and {rest} more") } else { text }
}

fn other<T: PartialEq + std::fmt::Display>(name: &str, of: &Option<T>, than: &Option<T>) -> Option<String> {
    let value = of.as_ref().filter(|_| of != than)?;
    Some(format!("{name}{value}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn differences_are_few_and_short() {
        let one = Document::default().recipe;
        let mut two = one.clone();
        assert_eq!(differences(&one, &two), "");
        two.sample.seed = Some(7);
        two.sample.cfg = Some(9.0);
        assert_eq!(
            (differences(&two, &one), differences(&one, &two)),
            ("seed 7, CFG 9".into(), "seed 1, CFG 5".into())
        );
        two.sample.prompt = Some("é".repeat(99));
        two.sample.steps = Some(3);
        assert_eq!(differences(&two, &one), format!("seed 7, {}.., CFG 9 and 1 more", "é".repeat(40)));
        two = one.clone();
        two.adapters.push(admix_engine::mix::recipe::AdapterUse::new("builtin:neon", 0.5));
        assert_eq!((differences(&two, &one), differences(&one, &two)), ("mini, neon 0.50".into(), "mini".into()));
    }
}
