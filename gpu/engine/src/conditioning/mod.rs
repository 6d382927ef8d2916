//! What the U-Net is told about the prompts: text states and pooled text of a batch, from the text encoders or given, for every step.

pub mod branches;
mod encode;
mod inversions;
pub mod knobs;
mod tags;

use std::collections::HashMap;
use std::sync::Arc;

use admix_model::prompt::{MOST_WINDOWS, Prompt, Span};
use admix_model::unet::Extras;
use admix_tensor::{Gpu, Tensor};

pub(crate) use self::encode::Encoded as Text;
use self::encode::{Encoded, Encoders};
pub(crate) use self::inversions::Inversions;
#[cfg(not(target_arch = "wasm32"))]
pub(crate) use self::tags::{DEEPEST, list_files};
use crate::EngineError;
use crate::control::Control;
use crate::networks::{Networks, Part};
use crate::render::Given;
use crate::settings::Settings;

/// What the U-Net reads while one set of texts is in force.
pub(crate) struct Set {
    /// Text states, [branches n tokens, width].
    pub states: Tensor,
    /// Pooled text and sizes of SDXL, the guidance scale of LCM.
    pub extras: Extras,
}

/// What the U-Net is told about a batch over a run: [unconditional..., first prompt, second prompt, ...] of n samples each.
pub(crate) struct Context {
    /// Every distinct set of texts over the run.
    pub sets: Vec<Set>,
    /// Which of the sets holds in a step; the last one from there on.
    at: Vec<usize>,
    /// Samples of all branches.
    pub samples: usize,
    /// Weights of the conditional branches.
    pub weights: Vec<f64>,
    /// Branches before them.
    pub negatives: usize,
    /// Most tokens that a prompt lost.
    pub dropped: usize,
}

impl Context {
    /// The set of a step.
    pub fn set(&self, step: usize) -> usize {
        self.at.get(step).or(self.at.last()).copied().unwrap_or(0)
    }

    /// Whether prompts are composed (`AND`), so that the U-Net's batch is not [unconditional, conditional].
    pub fn is_composed(&self) -> bool {
        self.weights != [1.0]
    }
}

/// What one branch reads in one step.
#[derive(Clone, PartialEq, Eq, Hash)]
enum Slot {
    GivenCond,
    GivenUncond,
    Text(String),
    /// An empty negative prompt that stands for zeros.
    Zero,
}

/// The texts of every step: distinct rows of branches, and which of them a step has.
struct Script {
    rows: Vec<Vec<Slot>>,
    at: Vec<usize>,
    weights: Vec<f64>,
    negatives: usize,
}

impl Script {
    fn new(networks: &Networks, settings: &Settings, given: &Given, negatives: usize, span: Span) -> Script {
        let syntax = settings.options.rules().syntax;
        let prompt = Prompt::read(&settings.prompt, syntax, span, true);
        let negative = Prompt::read(&settings.negative, syntax, span, false);
        let weights = if given.cond.is_some() { vec![1.0] } else { prompt.weights() };
        let negatives = if weights == [1.0] { negatives } else { negatives.max(1) };
        let (mut rows, mut at): (Vec<Vec<Slot>>, Vec<usize>) = (Vec::new(), Vec::new());
        for step in 0..span.steps.max(1) {
            let texts = |p: &Prompt| p.at(step).into_iter().map(|t| Slot::Text(t.to_owned())).collect::<Vec<_>>();
            let uncond = match (&given.uncond, texts(&negative).pop()) {
                (Some(_), _) => Slot::GivenUncond,
                (None, Some(Slot::Text(text))) if text.is_empty() && networks.zero_negative => Slot::Zero,
                (None, text) => text.unwrap_or(Slot::Zero),
            };
            let mut row = vec![uncond; negatives];
            if let (Some(empty), true) = (row.get_mut(1), admix_sample::guidance::wants_empty(&settings.knobs)) {
                *empty = if networks.zero_negative { Slot::Zero } else { Slot::Text(String::new()) };
            }
            row.extend(if given.cond.is_some() { vec![Slot::GivenCond] } else { texts(&prompt) });
            let known = rows.iter().position(|r| *r == row);
            at.push(known.unwrap_or(rows.len()));
            if known.is_none() {
                rows.push(row);
            }
        }
        Script { rows, at, weights, negatives }
    }
}

/// Prompt and negative prompt for the whole batch and every step of `span`. `negatives`: unconditional branches, 0 without guidance; composed
/// prompts have one at least.
pub(crate) async fn encode_text(
    gpu: &Arc<Gpu>,
    networks: &mut Networks,
    settings: &Settings,
    given: &Given,
    inversions: &Inversions,
    negatives: usize,
    span: Span,
    control: &mut Control,
) -> Result<Context, EngineError> {
    let n = settings.batch;
    let rules = settings.options.rules();
    let script = Script::new(networks, settings, given, negatives, span);
    if script.rows.iter().flatten().any(|slot| matches!(slot, Slot::Text(_) | Slot::Zero)) {
        networks.take_turn(Part::Text, control).await?;
    }
    let networks = &*networks;

    // A prompt that was read by the same weights before need not be read again.
    let state = networks.text_state();
    let mut found: HashMap<Slot, Vec<Encoded>> = HashMap::new();
    let mut encoders = None;
    let mut dropped = 0;
    for slot in script.rows.iter().flatten() {
        if found.contains_key(slot) {
            continue;
        }
        let encoded = match slot {
            Slot::GivenCond => given_prompts(networks, "cond", given.cond.as_ref(), given.pooled_cond.as_ref(), n)?,
            Slot::GivenUncond => {
                given_prompts(networks, "uncond", given.uncond.as_ref(), given.pooled_uncond.as_ref(), n)?
            }
            Slot::Text(_) | Slot::Zero => {
                let text = if let Slot::Text(text) = slot { text.as_str() } else { "" };
                let key = state.map(|state| {
                    let used = inversions.used.iter().map(|u| (&u.source.reference, &u.source.sha256));
                    format!("{state:x} {} {rules:?} {:?} {text}", settings.clip_skip, used.collect::<Vec<_>>())
                });
                let held = key.as_ref().and_then(|key| networks.texts.get(key));
                let mut encoded = match held {
                    Some(held) => (*held).clone(),
                    None => {
                        let encoders = match &mut encoders {
                            Some(encoders) => encoders,
                            None => encoders.insert(Encoders::new(gpu, networks, settings.clip_skip, inversions)?),
                        };
                        let encoded = encoders.text(text, rules).await?;
                        if let Some(key) = key {
                            networks.texts.put(key, Arc::new(encoded.clone()));
                        }
                        encoded
                    }
                };
                dropped = dropped.max(encoded.dropped);
                if *slot == Slot::Zero {
                    encoded.states.fill(0.0);
                    encoded.pooled.fill(0.0);
                }
                vec![encoded]
            }
        };
        found.insert(slot.clone(), encoded);
    }

    let width = networks.unet.config().cross_attention(0);
    let all = || found.values().flatten();
    let features = all().map(|e| e.pooled.len()).max().unwrap_or(0);
    if let Some(odd) = all().find(|e| e.width != width || e.pooled.len() != features) {
        return Err(EngineError::Input(format!(
            "the prompts give {} features a token and {} pooled, but this U-Net reads {width} and {features}: they belong to different models",
            odd.width,
            odd.pooled.len()
        )));
    }
    let tokens = common_length(&all().map(|e| e.tokens).collect::<Vec<_>>())?;
    let guidance = networks.unet.reads_guidance().then_some(settings.cfg);
    let mut sets = Vec::new();
    for row in &script.rows {
        let (mut data, mut extras) = (Vec::new(), Extras { guidance, ..Extras::default() });
        for (branch, slot) in row.iter().enumerate() {
            for i in 0..n {
                let list = found.get(slot).map_or(&[][..], |l| l);
                let Some(encoded) = list.get(i).or(list.last()) else { continue };
                (0..tokens / encoded.tokens.max(1)).for_each(|_| data.extend_from_slice(&encoded.states));
                extras.pooled.extend_from_slice(&encoded.pooled);
                if let Some(count) = networks.unet.time_ids(encoded.pooled.len())? {
                    extras.time_ids.extend(settings.sizes.time_ids(count, branch < script.negatives)?);
                }
            }
        }
        let states = Tensor::upload(gpu, "context", &data, row.len() * n * tokens, width)?;
        sets.push(Set { states, extras });
    }
    let samples = n * script.rows.first().map_or(0, Vec::len);
    Ok(Context { sets, at: script.at, samples, weights: script.weights, negatives: script.negatives, dropped })
}

/// A length that every sequence fits a whole number of times: attention over a repeated sequence gives exactly what it gives over the sequence.
fn common_length(lengths: &[usize]) -> Result<usize, EngineError> {
    fn gcd(a: usize, b: usize) -> usize {
        if b == 0 { a } else { gcd(b, a % b) }
    }
    let most = MOST_WINDOWS * lengths.iter().copied().max().unwrap_or(1);
    let mut all = 1;
    for &length in lengths {
        all = all / gcd(all, length).max(1) * length.max(1);
        if all > most {
            return Err(EngineError::Input(format!(
                "the prompts have {lengths:?} tokens with their padding, which do not go together: make them about equally long"
            )));
        }
    }
    Ok(all)
}

/// A given tensor and its shape.
type Given2<'a> = Option<&'a (Vec<f32>, [usize; 2])>;

/// Given embeddings as the prompts of `n` samples.
fn given_prompts(
    networks: &Networks,
    name: &str,
    states: Option<&(Vec<f32>, [usize; 3])>,
    pooled: Given2<'_>,
    n: usize,
) -> Result<Vec<Encoded>, EngineError> {
    let refuse = |what: String| Err(EngineError::Input(format!("--embeds: {what}")));
    let Some((data, [count, tokens, width])) = states else { return Ok(Vec::new()) };
    let wanted = networks.unet.config().cross_attention(0);
    if *width != wanted {
        return refuse(format!("{name} has {width} features, but this U-Net reads {wanted}"));
    }
    if (*count != 1 && *count != n) || *tokens == 0 {
        return refuse(format!("{name} holds {count} sequences of {tokens} tokens, but the batch has {n}"));
    }
    let pooled = match pooled.filter(|_| networks.reading.pooled) {
        Some((_, [count, _])) if *count != 1 && *count != n => {
            return refuse(format!("pooled_{name} holds {count} rows, but the batch has {n}"));
        }
        None if networks.reading.pooled => {
            return refuse(format!("pooled_{name} is missing; this model (SDXL) reads it"));
        }
        other => other,
    };
    let row = |data: &[f32], count: usize, i: usize| {
        let each = data.len() / count.max(1);
        let at = if count == 1 { 0 } else { i } * each;
        data[at..at + each].to_vec()
    };
    let one = |i: usize| Encoded {
        states: row(data, *count, i),
        tokens: *tokens,
        width: *width,
        pooled: pooled.map(|(data, [count, _])| row(data, *count, i)).unwrap_or_default(),
        dropped: 0,
    };
    Ok((0..n).map(one).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lengths_go_together() {
        assert_eq!(common_length(&[77, 154]).expect("fits"), 154);
        assert_eq!(common_length(&[154, 231]).expect("fits"), 462);
        assert_eq!(common_length(&[]).expect("fits"), 1);
        assert!(common_length(&[77 * 61, 77 * 64, 77 * 63]).is_err());
    }
}
