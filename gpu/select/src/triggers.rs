//! Trigger words in a prompt: whether one stands there, and which to add.

/// True where the words stand in the prompt, not as a part of longer ones ("night" is not in "knight").
pub fn holds(prompt: &str, words: &str) -> bool {
    let words = words.trim();
    let bounded = |at: usize| {
        let before = prompt[..at].chars().next_back();
        let after = prompt[at + words.len()..].chars().next();
        ![before, after].into_iter().flatten().any(char::is_alphanumeric)
    };
    !words.is_empty() && prompt.match_indices(words).any(|(at, _)| bounded(at))
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
        let triggers = ["night".to_string(), "moonlit".to_string()];
        assert_eq!(lacking("a knight", &triggers), Some("night"));
        assert_eq!(lacking("a moonlit castle", &triggers), None);
        assert_eq!(lacking("a cat", &[]), None);
    }
}
