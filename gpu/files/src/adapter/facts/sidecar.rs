//! Files that people's tools put beside an adapter: A1111's user notes (`NAME.json`, modules/ui_extra_networks_user_metadata.py) and
//! the site's own record (`NAME.civitai.info`, civitai's `model-versions` object as Civitai Helper saves it).

use super::{AdapterFacts, family_of, words};
use serde_json::Value;

/// A1111's notes: `description`, `sd version`, `activation text`, `preferred weight`, `negative text`, `notes`.
pub(super) fn notes(text: &[u8]) -> Result<AdapterFacts, String> {
    let value = object(text)?;
    let string = |key: &str| value[key].as_str().map(str::trim).filter(|t| !t.is_empty()).map(str::to_owned);
    let mut facts = AdapterFacts {
        description: string("description"),
        triggers: string("activation text").map(|t| words(&t)).unwrap_or_default(),
        base_model: string("sd version").filter(|v| v != "Unknown"),
        // 0 is what the field holds until someone sets it.
        weight: value["preferred weight"].as_f64().filter(|w| *w != 0.0 && w.is_finite()),
        negative: string("negative text"),
        usage: string("notes"),
        ..AdapterFacts::default()
    };
    facts.family = facts.base_model.as_deref().and_then(family_of).map(|f| f.id());
    if facts != AdapterFacts::default() {
        facts.sources.push("NAME.json");
    }
    Ok(facts)
}

/// civitai's record of a version: `trainedWords`, `baseModel`, `description` (HTML), `model`, `images[].meta.prompt`.
pub(super) fn civitai(text: &[u8]) -> Result<AdapterFacts, String> {
    let value = object(text)?;
    let string = |v: &Value| v.as_str().map(plain).filter(|t| !t.is_empty());
    let list = |v: &Value| v.as_array().into_iter().flatten().filter_map(string).collect::<Vec<_>>();
    let images = value["images"].as_array().into_iter().flatten();
    let base_model = string(&value["baseModel"]);
    Ok(AdapterFacts {
        title: string(&value["model"]["name"]).or_else(|| string(&value["name"])),
        description: string(&value["model"]["description"]).or_else(|| string(&value["description"])),
        author: string(&value["creator"]["username"]),
        triggers: list(&value["trainedWords"]).iter().flat_map(|t| words(t)).collect(),
        labels: list(&value["model"]["tags"]),
        family: base_model.as_deref().and_then(family_of).map(|f| f.id()),
        base_model,
        examples: images.filter_map(|i| string(&i["meta"]["prompt"])).collect(),
        sources: vec!["NAME.civitai.info"],
        ..AdapterFacts::default()
    })
}

fn object(text: &[u8]) -> Result<Value, String> {
    // Windows' tools begin with a byte order mark.
    let text = text.strip_prefix(b"\xef\xbb\xbf").unwrap_or(text);
    match serde_json::from_slice::<Value>(text) {
        Ok(value) if value.is_object() => Ok(value),
        Ok(_) => Err("it is no JSON object".into()),
        Err(e) => Err(format!("it is not valid JSON: {e}")),
    }
}

/// HTML without its tags, the five named entities resolved, white space drawn together.
fn plain(html: &str) -> String {
    let mut text = String::with_capacity(html.len());
    let mut rest = html;
    while let Some((before, after)) = rest.split_once('<') {
        text.push_str(before);
        // A less-than sign that begins no tag stays.
        let is_tag = after.starts_with(|c: char| c.is_ascii_alphabetic() || c == '/' || c == '!');
        match after.split_once('>').filter(|_| is_tag) {
            Some((tag, behind)) => {
                let name = tag.trim_start_matches('/').split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap_or("");
                if matches!(name, "p" | "br" | "li" | "ul" | "ol" | "div" | "h1" | "h2" | "h3" | "h4") {
                    text.push(' ');
                }
                rest = behind;
            }
            None => {
                text.push('<');
                rest = after;
            }
        }
    }
    text.push_str(rest);
    for (entity, sign) in
        [("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&nbsp;", " "), ("&amp;", "&")]
    {
        text = text.replace(entity, sign);
    }
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mark_up_goes_and_words_stay() {
        assert_eq!(plain("<p>a <b>b</b>c</p><p>d &lt;3 &amp;amp;</p>"), "a bc d <3 &amp;");
        assert_eq!(plain("weight < 1 and > 0"), "weight < 1 and > 0");
        assert_eq!(plain("<unclosed"), "<unclosed");
    }

    #[test]
    fn what_is_no_object_is_said() {
        assert!(civitai(b"[1]").unwrap_err().contains("no JSON object"));
        assert!(notes(b"{").unwrap_err().contains("not valid JSON"));
        assert_eq!(notes(b"{\"preferred weight\": 0}").unwrap(), AdapterFacts::default());
    }
}
