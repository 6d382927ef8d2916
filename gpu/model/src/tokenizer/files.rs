//! Vocabularies from files, and CLIP's own.

use std::collections::HashMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::Read;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use admix_files::checkpoint::TokenizerFiles;
use serde_json::Value;

use super::quick::Map;
use super::{Tokenizer, bytes};
use crate::ModelError;

const START: &str = "<|startoftext|>";
const END: &str = "<|endoftext|>";

/// CLIP's merges: a header line, then one pair a line.
static CLIP_MERGES: &[u8] = include_bytes!("../../../../assets/vocab/bpe_simple_vocab_16e6.txt.gz");

fn error(file: &str, what: impl Into<String>) -> ModelError {
    ModelError::Tokenizer { file: file.into(), what: what.into() }
}

fn json(file: &str, text: &[u8]) -> Result<Value, ModelError> {
    serde_json::from_slice(text).map_err(|e| error(file, format!("not JSON: {e}")))
}

/// Special tokens by role; the later of two files goes first.
#[derive(Default)]
struct Roles {
    start: Option<String>,
    end: Option<String>,
    pad: Option<String>,
    unknown: Option<String>,
    more: Vec<(String, u32)>,
}

impl Roles {
    fn read(&mut self, map: &Value) {
        // A token is a string or an object that has it as `content`.
        let token = |role: &str| {
            let v = map.get(role)?;
            v.as_str().or_else(|| v.get("content")?.as_str()).map(str::to_owned)
        };
        for (role, slot) in [
            ("bos_token", &mut self.start),
            ("eos_token", &mut self.end),
            ("pad_token", &mut self.pad),
            ("unk_token", &mut self.unknown),
        ] {
            if let Some(t) = token(role) {
                *slot = Some(t);
            }
        }
        if let Some(added) = map.get("added_tokens_decoder").and_then(Value::as_object) {
            for (id, v) in added {
                if let (Ok(id), Some(content)) = (id.parse(), v.get("content").and_then(Value::as_str)) {
                    self.more.push((content.to_owned(), id));
                }
            }
        }
    }
}

/// Ids of `vocab`.
fn read_vocab(file: &str, vocab: &Value) -> Result<Map<String, u32>, ModelError> {
    let map = vocab.as_object().ok_or_else(|| error(file, "the vocabulary is not a map of tokens to ids"))?;
    let entry = |(token, id): (&String, &Value)| {
        let id = id.as_u64().and_then(|n| u32::try_from(n).ok());
        Ok((token.clone(), id.ok_or_else(|| error(file, format!("the id of `{token}` is not a whole number")))?))
    };
    map.iter().map(entry).collect()
}

fn build<'a>(
    file: &str,
    mut vocab: Map<String, u32>,
    pairs: impl Iterator<Item = (&'a str, &'a str)>,
    roles: Roles,
) -> Result<Tokenizer, ModelError> {
    let id_of = |token: &str| vocab.get(token).copied();
    let mut merges = Map::with_capacity_and_hasher(vocab.len(), Default::default());
    let mut joined = String::new();
    for (rank, (a, b)) in pairs.enumerate() {
        joined.clear();
        joined.push_str(a);
        joined.push_str(b);
        let (Some(left), Some(right), Some(id)) = (id_of(a), id_of(b), id_of(&joined)) else {
            return Err(error(
                file,
                format!("merge {}, `{a} {b}`, has a part that is not in the vocabulary", rank + 1),
            ));
        };
        merges.entry((left, right)).or_insert((rank, id));
    }
    let added: HashMap<&str, u32> = roles.more.iter().map(|(t, id)| (t.as_str(), *id)).collect();
    let find = |role: &str, token: &str| {
        let id = id_of(token).or_else(|| added.get(token).copied());
        id.ok_or_else(|| error(file, format!("the {role} token `{token}` is not in the vocabulary")))
    };
    let named = |stated: &Option<String>, default: &str| stated.clone().unwrap_or_else(|| default.to_owned());
    let (start, end) = (named(&roles.start, START), named(&roles.end, END));
    let (pad, unknown) = (named(&roles.pad, &end), named(&roles.unknown, &end));
    let mut tokenizer = Tokenizer {
        start: find("start", &start)?,
        end: find("end", &end)?,
        pad: find("padding", &pad)?,
        unknown: find("unknown", &unknown)?,
        merges: Arc::new(merges),
        special: Vec::new(),
        vocab: Arc::default(),
    };
    for (token, id) in
        [(start, tokenizer.start), (end, tokenizer.end), (pad, tokenizer.pad), (unknown, tokenizer.unknown)]
    {
        tokenizer.add_special(&token, id);
    }
    for (token, id) in &roles.more {
        tokenizer.add_special(token, *id);
    }
    for (token, id) in roles.more {
        vocab.entry(token).or_insert(id);
    }
    tokenizer.vocab = Arc::new(vocab);
    Ok(tokenizer)
}

/// A line of two tokens.
fn pair(line: &str) -> Option<(&str, &str)> {
    let (a, b) = line.trim_end_matches('\r').split_once(' ')?;
    Some((a, b.trim_end()))
}

/// The pairs of `merges.txt`: blank lines and the `#version` header are left out.
fn merge_lines(text: &str) -> impl Iterator<Item = (&str, &str)> {
    let is_pair = |(i, line): &(usize, &str)| !(line.trim().is_empty() || (*i == 0 && line.starts_with("#version")));
    text.lines().enumerate().filter(is_pair).filter_map(|(_, line)| pair(line))
}

/// Tokenizers that were read, by a hash of their files: models of a family share one, and reading it takes longer than all else in opening a model.
static KNOWN: Mutex<Vec<(u64, Tokenizer)>> = Mutex::new(Vec::new());
/// How many stay at hand.
const MOST_KNOWN: usize = 4;

/// The tokenizer of these files, read once.
pub(super) fn known(files: &TokenizerFiles) -> Result<Tokenizer, ModelError> {
    let mut hasher = DefaultHasher::new();
    for part in [&files.vocab, &files.merges, &files.tokenizer, &files.config, &files.special_tokens] {
        part.hash(&mut hasher);
    }
    let key = hasher.finish();
    let lock = || KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some((_, tokenizer)) = lock().iter().find(|(k, _)| *k == key) {
        return Ok(tokenizer.clone());
    }
    let tokenizer = read(files)?;
    let mut all = lock();
    if all.len() >= MOST_KNOWN {
        all.remove(0);
    }
    all.push((key, tokenizer.clone()));
    Ok(tokenizer)
}

fn read(files: &TokenizerFiles) -> Result<Tokenizer, ModelError> {
    let mut roles = Roles::default();
    let fast = files.tokenizer.as_ref().map(|t| json("tokenizer.json", t)).transpose()?;
    if let Some(added) = fast.as_ref().and_then(|f| f.get("added_tokens")).and_then(Value::as_array) {
        for token in added {
            let id = token.get("id").and_then(Value::as_u64).and_then(|n| u32::try_from(n).ok());
            if let (Some(id), Some(content)) = (id, token.get("content").and_then(Value::as_str)) {
                roles.more.push((content.to_owned(), id));
            }
        }
    }
    if let Some(text) = &files.config {
        roles.read(&json("tokenizer_config.json", text)?);
    }
    if let Some(text) = &files.special_tokens {
        roles.read(&json("special_tokens_map.json", text)?);
    }
    if let (Some(vocab), Some(merges)) = (&files.vocab, &files.merges) {
        // At once into the map: the detour through a tree of values is only for saying what is wrong.
        let vocab = match serde_json::from_slice(vocab) {
            Ok(vocab) => vocab,
            Err(_) => read_vocab("vocab.json", &json("vocab.json", vocab)?)?,
        };
        let text = std::str::from_utf8(merges).map_err(|_| error("merges.txt", "not UTF-8 text"))?;
        return build("merges.txt", vocab, merge_lines(text), roles);
    }
    let file = "tokenizer.json";
    let Some(model) = fast.as_ref().and_then(|f| f.get("model")) else {
        return Err(error("vocab.json", "missing; a tokenizer needs vocab.json and merges.txt, or tokenizer.json"));
    };
    if let Some(other) = model.get("type").and_then(Value::as_str).filter(|t| *t != "BPE") {
        return Err(error(file, format!("a {other} model; only CLIP's byte-pair encoding is supported")));
    }
    let vocab = read_vocab(file, model.get("vocab").unwrap_or(&Value::Null))?;
    let list = model.get("merges").and_then(Value::as_array).ok_or_else(|| error(file, "no list of merges"))?;
    // "a b" in older files, ["a", "b"] in newer ones.
    fn one(v: &Value) -> Option<(&str, &str)> {
        match v {
            Value::String(s) => pair(s),
            v => Some((v.get(0)?.as_str()?, v.get(1)?.as_str()?)),
        }
    }
    let pairs: Option<Vec<_>> = list.iter().map(one).collect();
    build(file, vocab, pairs.ok_or_else(|| error(file, "a merge is not a pair of tokens"))?.into_iter(), roles)
}

/// CLIP's own, read once.
pub(super) fn clip() -> Tokenizer {
    static CLIP: LazyLock<Tokenizer> = LazyLock::new(read_clip);
    CLIP.clone()
}

fn read_clip() -> Tokenizer {
    let mut text = String::new();
    // A file of this repository, checked by a test: it always decompresses. If it did not, only single bytes would be known.
    if let Err(e) = flate2::read::GzDecoder::new(CLIP_MERGES).read_to_string(&mut text) {
        log::error!("CLIP's vocabulary is damaged: {e}");
    }
    let pairs: Vec<(&str, &str)> = text.lines().skip(1).filter_map(pair).collect();
    let single = bytes::in_vocabulary_order().map(String::from);
    let closing = bytes::in_vocabulary_order().map(|c| format!("{c}</w>"));
    let joined = pairs.iter().map(|(a, b)| format!("{a}{b}"));
    let special = [START.to_owned(), END.to_owned()];
    let mut vocab = Map::with_capacity_and_hasher(pairs.len() + 514, Default::default());
    for (token, id) in single.chain(closing).chain(joined).chain(special).zip(0u32..) {
        vocab.entry(token).or_insert(id);
    }
    let id = |token: &str| vocab.get(token).copied().unwrap_or(0);
    let (start, end) = (id(START), id(END));
    let merges = pairs.iter().enumerate().map(|(rank, (a, b))| ((id(a), id(b)), (rank, id(&format!("{a}{b}")))));
    let mut tokenizer = Tokenizer {
        merges: Arc::new(merges.collect()),
        special: Vec::new(),
        start,
        end,
        pad: end,
        unknown: end,
        vocab: Arc::default(),
    };
    tokenizer.vocab = Arc::new(vocab);
    tokenizer.add_special(START, start);
    tokenizer.add_special(END, end);
    tokenizer
}
