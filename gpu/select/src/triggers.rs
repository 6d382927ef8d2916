//! Trigger words in a prompt: whether one stands there, and which to add.

/// True where the words stand in the prompt, not as a part of longer ones ("night" is not in "knight").
pub fn holds(prompt: &str, words: &str) -> bool {
    place(prompt, words.trim()).is_some()
}

/// Where `words` begin in a prompt, neither cut out of longer words.
fn place(prompt: &str, words: &str) -> Option<usize> {
    let bounded = |at: usize| {
        let before = prompt[..at].chars().next_back();
        let after = prompt[at + words.len()..].chars().next();
        ![before, after].into_iter().flatten().any(char::is_alphanumeric)
    };
    let mut places = prompt.match_indices(words).map(|(at, _)| at);
    if words.is_empty() { None } else { places.find(|at| bounded(*at)) }
}

/// The prompt without `words`, as far as it [`holds`] them, one space where two would meet.
pub fn without(prompt: &str, words: &str) -> String {
    let (mut prompt, words) = (prompt.to_owned(), words.trim());
    while let Some(at) = place(&prompt, words) {
        let (before, after) = (&prompt[..at], &prompt[at + words.len()..]);
        let after = if before.is_empty() || before.ends_with(' ') { after.trim_start_matches(' ') } else { after };
        prompt = format!("{before}{after}");
    }
    prompt
}

/// The first of an adapter's triggers, if the prompt has none of them: what a person adds to call the adapter up.
pub fn lacking<'a>(prompt: &str, triggers: &'a [String]) -> Option<&'a str> {
    let is_called = triggers.iter().any(|trigger| holds(prompt, trigger));
    triggers.first().filter(|_| !is_called).map(String::as_str)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn triggers_are_whole_words() {
        assert!(holds("a cat, night", "night") && holds("night", " night ") && holds("夜, night!", "night"));
        assert!(!holds("a knight, nightmare", "night") && !holds("a cat", ""));
        assert_eq!(without("a night sky, night nightmare", "night"), "a sky, nightmare");
        assert_eq!((without("night", " night "), without("a cat", "")), (String::new(), "a cat".into()));
        let triggers = ["night".to_string(), "moonlit".to_string()];
        assert_eq!(lacking("a knight", &triggers), Some("night"));
        assert_eq!(lacking("a moonlit castle", &triggers), None);
        assert_eq!(lacking("a cat", &[]), None);
    }
}
