//! Adapters named in a prompt: `<lora:ink:0.8>`.
//!
//! A1111's notation (`extra_networks.py`, `extra_networks_lora.py`): `<lora:name:weight>`; two numbers are the text encoders' and the U-Net's weight, in
//! that order; `te=` and `unet=` name them. `lyco` is the same thing under its old name.

/// An adapter a prompt asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct Tag {
    /// File name without its ending, as typed.
    pub name: String,
    /// Weight in the U-Net.
    pub weight: f64,
    /// Weight in the text encoders, where it is another.
    pub text_weight: Option<f64>,
}

/// The prompt without its tags, the tags in order, and those that are not understood (an unknown kind, a weight that is no number) as typed.
pub fn take(prompt: &str) -> (String, Vec<Tag>, Vec<String>) {
    let (mut out, mut tags, mut refused, mut rest) = (String::new(), Vec::new(), Vec::new(), prompt);
    while let Some(open) = rest.find('<') {
        let (before, tail) = rest.split_at(open);
        out.push_str(before);
        match whole_tag(tail) {
            Some((kind, args, length)) => {
                match tag(kind, args) {
                    Some(tag) => tags.push(tag),
                    None => refused.push(tail[..length].to_owned()),
                }
                rest = &tail[length..];
            }
            None => {
                out.push('<');
                rest = &tail[1..];
            }
        }
    }
    if tags.is_empty() && refused.is_empty() {
        return (prompt.to_owned(), tags, refused);
    }
    out.push_str(rest);
    (out.trim().to_owned(), tags, refused)
}

/// `<word:arguments>` at the start of `text`: the word, the arguments, the length of it all.
fn whole_tag(text: &str) -> Option<(&str, &str, usize)> {
    let end = text.find('>')?;
    let (kind, args) = text[1..end].split_once(':')?;
    let word = !kind.is_empty() && kind.chars().all(|c| c.is_alphanumeric() || c == '_');
    (word && !args.is_empty()).then_some((kind, args, end + 1))
}

fn tag(kind: &str, args: &str) -> Option<Tag> {
    if !matches!(kind, "lora" | "lyco") {
        return None;
    }
    let (mut name, mut numbers) = (None, Vec::new());
    let (mut text, mut unet) = (None, None);
    for arg in args.split(':') {
        let number = |t: &str| t.trim().parse::<f64>().ok().filter(|v| v.is_finite());
        match arg.split_once('=') {
            Some(("te", value)) => text = Some(number(value)?),
            Some(("unet", value)) => unet = Some(number(value)?),
            // dyn and other arguments choose ranks that adapters here do not have.
            Some((key, _)) if name.is_some() && key.chars().all(char::is_alphanumeric) => return None,
            _ if name.is_none() => name = Some(arg.trim()),
            _ => numbers.push(number(arg)?),
        }
    }
    let name = name.filter(|n| !n.is_empty())?;
    let first = numbers.first().copied().unwrap_or(1.0);
    let text = text.unwrap_or(first);
    let weight = unet.unwrap_or_else(|| numbers.get(1).copied().unwrap_or(text));
    (numbers.len() <= 2).then(|| Tag { name: name.to_owned(), weight, text_weight: (text != weight).then_some(text) })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_taken_out() {
        let (text, tags, refused) =
            take("a cat <lora:ink:0.8>, <lora:b c>, <lora:x:0.5:1> <lora:y:1:te=0.2> <3 <hypernet:z:1>");
        assert_eq!(text, "a cat , ,   <3");
        let tag = |name: &str, weight, text_weight| Tag { name: name.into(), weight, text_weight };
        let wanted = [tag("ink", 0.8, None), tag("b c", 1.0, None), tag("x", 1.0, Some(0.5)), tag("y", 0.2, None)];
        assert_eq!(tags, wanted);
        assert_eq!(refused, ["<hypernet:z:1>"]);
    }

    #[test]
    fn text_without_tags_stays_as_it_is() {
        for text in ["", " a < b ", "<lora:", "<lora>", "<:a>", "<lora:>", "é<ü:"] {
            assert_eq!(take(text), (text.to_owned(), vec![], vec![]), "{text}");
        }
        for text in ["<lora:a:nan>", "<lora:a:b>", "<lora:a:1:2:3>", "<lora::1>"] {
            assert_eq!(take(text).2, [text]);
        }
    }
}
