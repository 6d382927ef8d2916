//! Token ids against transformers' CLIPTokenizer (tests/golden/make_tokens.py).

use admix_files::checkpoint::TokenizerFiles;
use admix_model::prompt::{self, Long, Rules, kept};
use admix_model::tokenizer::Tokenizer;
use serde_json::{Value, json};

fn golden(path: &str) -> Vec<u8> {
    let path = format!("{}/../../tests/golden/{path}", env!("CARGO_MANIFEST_DIR"));
    std::fs::read(&path).unwrap_or_else(|e| panic!("{path}: {e}"))
}

fn fixture() -> Value {
    serde_json::from_slice(&golden("tokens.json")).unwrap()
}

fn ids(v: &Value) -> Vec<u32> {
    v.as_array().unwrap().iter().map(|n| n.as_u64().unwrap() as u32).collect()
}

fn folder(name: &str) -> TokenizerFiles {
    let file = |f: &str| Some(golden(&format!("models/{name}/tokenizer/{f}")));
    TokenizerFiles { vocab: file("vocab.json"), merges: file("merges.txt"), ..Default::default() }
}

fn check(tokenizer: &Tokenizer, key: &str) {
    let fixture = fixture();
    let texts = fixture["texts"].as_array().unwrap();
    assert!(texts.len() >= 60);
    for (text, expected) in texts.iter().zip(fixture[key].as_array().unwrap()) {
        let text = text.as_str().unwrap();
        assert_eq!(tokenizer.tokenize(text), ids(expected), "{key}: {text:?}");
    }
}

#[test]
fn clip_vocabulary() {
    let clip = Tokenizer::clip();
    assert_eq!((clip.len(), clip.max_id()), (49408, 49407));
    assert_eq!(clip.special_ids(), (49406, 49407, 49407));
    check(&clip, "clip");
}

#[test]
fn padding_with_a_mark_of_exclamation() {
    let tokenizer = Tokenizer::clip().with_pad("!");
    assert_eq!(tokenizer.special_ids().2, 0);
    check(&tokenizer, "clip_pad_bang");
}

#[test]
fn small_vocabulary_from_files() {
    check(&Tokenizer::from_files(&folder("sd1_tiny")).unwrap(), "small");
}

#[test]
fn windows_of_77() {
    for w in fixture()["windows"].as_array().unwrap() {
        let bang = w["vocabulary"] == "clip_pad_bang";
        let tokenizer = if bang { Tokenizer::clip().with_pad("!") } else { Tokenizer::clip() };
        let text = w["text"].as_str().unwrap();
        let window = prompt::plain(&tokenizer, text, 77);
        assert_eq!(window.ids, ids(&w["ids"]), "{text:?}");
        assert_eq!(window.dropped, tokenizer.tokenize(text).len().saturating_sub(75));
    }
}

#[test]
fn what_is_dropped_is_counted() {
    let tokenizer = Tokenizer::clip();
    let window = prompt::plain(&tokenizer, &"cat ".repeat(80), 77);
    assert_eq!((window.used, window.room, window.dropped), (75, 75, 5));
    assert_eq!(window.summary(), "75/75 tokens, the last 5 left out");
    assert_eq!(prompt::plain(&tokenizer, "a cat", 77).summary(), "2/75 tokens");
    // Windows too short for anything do not panic.
    for length in 0..3 {
        assert_eq!(tokenizer.encode("a cat", length).ids.len(), length);
    }
}

/// The folders of the golden pipelines, with the ids that diffusers used.
#[test]
fn folders_as_saved_by_transformers() {
    let read = |name: &str, f: &str| {
        let path = format!("{}/../../tests/golden/models/{name}/tokenizer/{f}", env!("CARGO_MANIFEST_DIR"));
        std::fs::read(path).ok()
    };
    for name in ["sd1_tiny", "sd2_tiny"] {
        let files = TokenizerFiles {
            vocab: read(name, "vocab.json"),
            merges: read(name, "merges.txt"),
            tokenizer: read(name, "tokenizer.json"),
            config: read(name, "tokenizer_config.json"),
            special_tokens: read(name, "special_tokens_map.json"),
        };
        let tokenizer = Tokenizer::from_files(&files).unwrap();
        assert_eq!(tokenizer.special_ids(), (998, 999, if name == "sd1_tiny" { 999 } else { 0 }));
        let bytes = golden(&format!("models/{name}.golden.safetensors"));
        let header_length = u64::from_le_bytes(bytes[..8].try_into().unwrap()) as usize;
        let header: Value = serde_json::from_slice(&bytes[8..8 + header_length]).unwrap();
        let about: Value = serde_json::from_str(header["__metadata__"]["admix_golden"].as_str().unwrap()).unwrap();
        let span = ids(&header["prompt.ids"]["data_offsets"]);
        let stored: Vec<u32> = bytes[8 + header_length..][span[0] as usize..span[1] as usize]
            .chunks_exact(8)
            .map(|b| i64::from_le_bytes(b.try_into().unwrap()) as u32)
            .collect();
        let prompts = about["prompts"].as_array().unwrap();
        assert_eq!(stored.len(), prompts.len() * 77);
        for (prompt, expected) in prompts.iter().zip(stored.chunks_exact(77)) {
            assert_eq!(tokenizer.encode(prompt.as_str().unwrap(), 77).ids, expected, "{name}: {prompt}");
        }
    }
}

#[test]
fn what_is_past_the_room_is_whole_words() {
    let clip = Tokenizer::clip();
    let cut = Rules { long: Long::Cut, ..Rules::default() };
    let words = |n: usize| vec!["cat"; n].join(" ");
    assert_eq!(kept(&clip, &words(75), 77, cut), words(75).len(), "as many as there is room for");
    assert_eq!(kept(&clip, &words(80), 77, cut), words(75).len());
    assert_eq!(kept(&clip, &words(80), 77, Rules::default()), words(80).len(), "a second window takes them");
    assert_eq!(kept(&clip, &format!("{} käse", words(75)), 77, cut), words(75).len());
    assert_eq!((kept(&clip, "", 77, cut), kept(&clip, &"x".repeat(4000), 77, cut)), (0, 0));
}

#[test]
fn the_special_tokens_map_goes_before_the_configuration() {
    let mut files = folder("sd1_tiny");
    files.config = Some(br#"{"pad_token": "<|endoftext|>"}"#.to_vec());
    files.special_tokens = Some(br#"{"pad_token": {"content": "!"}}"#.to_vec());
    assert_eq!(Tokenizer::from_files(&files).unwrap().special_ids().2, 0);
}

#[test]
fn bad_files_are_one_clear_line() {
    let good = folder("sd1_tiny");
    let with = |change: &dyn Fn(&mut TokenizerFiles)| {
        let mut files = good.clone();
        change(&mut files);
        let message = Tokenizer::from_files(&files).unwrap_err().to_string();
        assert_eq!(message.lines().count(), 1, "{message}");
        message
    };
    assert!(with(&|f| f.vocab = None).contains("vocab.json"));
    assert!(with(&|f| f.vocab = Some(b"{".to_vec())).contains("vocab.json"));
    assert!(with(&|f| f.vocab = Some(b"[1]".to_vec())).contains("vocab.json"));
    assert!(with(&|f| f.vocab = Some(br#"{"a": -1}"#.to_vec())).contains("`a`"));
    assert!(with(&|f| f.merges = Some(vec![0xff, 0xfe])).contains("merges.txt"));
    assert!(with(&|f| f.merges = Some("qqq www\n".into())).contains("merge 1"));
    assert!(with(&|f| f.special_tokens = Some(br#"{"pad_token": "no such"}"#.to_vec())).contains("no such"));
    let unigram = json!({"model": {"type": "Unigram", "vocab": {}, "merges": []}}).to_string();
    let fast = TokenizerFiles { tokenizer: Some(unigram.into()), ..Default::default() };
    assert!(Tokenizer::from_files(&fast).unwrap_err().to_string().contains("Unigram"));
}
