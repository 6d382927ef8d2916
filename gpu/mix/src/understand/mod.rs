//! Understanding a mix before it is made: how long the ingredients' changes are and how they lie to each other, block by block; what a trim keeps
//! of them; what an adapter's rank is used for; where they cancel; and whether a stack leaves the range its adapters were trained for.
//!
//! Changes are differences from the recipe's base (a model's from its `minus`), at the weights the recipe gives them. Everything is computed on the
//! host in f64, tensor by tensor: no device is needed, and nothing but one tensor of each ingredient is held.

mod spectrum;
mod tally;

use std::collections::HashMap;
use std::sync::Arc;

use admix_files::adapter::{Adapter, Extent};
use admix_files::{Checkpoint, DType};
use serde::Serialize;

use crate::adapters::{OpenAdapter, Part};
use crate::low_rank::add_low_rank_reference;
use crate::quantize::first_non_finite;
use crate::recipe::{AdapterUse, Blocks, Recipe, Reference};
use crate::{MixError, blocks};

pub use spectrum::Spectrum;
pub use tally::{BlockFigures, DENSITIES, Pair};

use tally::Tally;

/// What is known of a mix.
#[derive(Clone, Debug, Serialize)]
pub struct Understanding {
    /// The recipe's base.
    pub against: String,
    /// The ingredients: the models of the merge stages, then the adapters, in the recipe's order.
    pub ingredients: Vec<Ingredient>,
    /// Densities for which `kept` of the figures tells the energy.
    pub densities: [f64; DENSITIES.len()],
    /// All tensors together.
    pub whole: BlockFigures,
    /// The blocks that an ingredient changes, in the order of the model.
    pub blocks: Vec<BlockFigures>,
    /// What a person should know, a line each.
    pub warnings: Vec<String>,
}

/// A model or an adapter.
#[derive(Clone, Debug, Serialize)]
pub struct Ingredient {
    /// Its reference.
    pub name: String,
    /// `model` or `adapter`.
    pub kind: &'static str,
    /// Its weight in the recipe.
    pub weight: f64,
    /// How its rank is used, of adapters with low-rank changes.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spectrum: Option<Spectrum>,
}

/// Where an ingredient's change comes from.
enum Source {
    Model { model: Arc<Checkpoint>, minus: Option<Arc<Checkpoint>> },
    Adapter(OpenAdapter),
}

/// How strong it is where.
struct Strength<'a> {
    weight: f64,
    text_weight: Option<f64>,
    blocks: [&'a Blocks; 2],
}

impl Strength<'_> {
    fn at(&self, name: &str) -> f64 {
        let own = self.text_weight.filter(|_| blocks::is_text(name)).unwrap_or(self.weight);
        own * self.blocks.iter().map(|b| blocks::factor(b, name)).product::<f64>()
    }
}

/// The stack as an adapter at weight 1 is trained: changes beyond this multiple of the longest single one were never seen in training.
const RANGE: f64 = 1.5;
/// Cancelling beyond that of changes that have nothing to do with each other, from which a warning is given.
const AGAINST: f64 = 0.1;

/// Looks at everything a recipe names. `tell` hears how many tensors of how many are done, and stops the work by returning false.
///
/// `checkpoints` and `adapters` as in [`crate::Mixer::open`].
///
/// # Errors
/// A recipe without ingredients, files that were not opened, adapters that fit nothing, shapes that differ, values that are not finite.
pub async fn understand(
    recipe: &Recipe,
    checkpoints: &HashMap<String, Arc<Checkpoint>>,
    adapters: &HashMap<String, Arc<Adapter>>,
    tell: &mut dyn FnMut(usize, usize) -> bool,
) -> Result<Understanding, MixError> {
    let find = |reference: &Reference| {
        let missing = || MixError::recipe("ref", format!("{} was not opened", reference.reference));
        checkpoints.get(&reference.reference).cloned().ok_or_else(missing)
    };
    let base = find(&recipe.base)?;
    let none = Blocks::new();
    let (mut ingredients, mut sources, mut strengths) = (Vec::new(), Vec::new(), Vec::new());
    for stage in &recipe.merge {
        for used in &stage.models {
            ingredients.push(Ingredient {
                name: used.source.reference.clone(),
                kind: "model",
                weight: used.weight,
                spectrum: None,
            });
            let minus = used.minus.as_ref().map(find).transpose()?;
            sources.push(Source::Model { model: find(&used.source)?, minus });
            let (weight, text_weight) = (used.weight, used.text_weight);
            strengths.push(Strength { weight, text_weight, blocks: [&used.blocks, &stage.blocks] });
        }
    }
    for used in &recipe.adapters {
        let name = &used.source.reference;
        let missing = || MixError::recipe("adapters", format!("{name} was not opened"));
        let adapter = adapters.get(name).ok_or_else(missing)?;
        // A part of sampling matters to pictures, not to the weights it is about here.
        let whole = AdapterUse { start: 0.0, stop: 1.0, ..used.clone() };
        let (open, _) = OpenAdapter::open(&whole, adapter, &base, false, &mut Vec::new()).await?;
        let parts = open.parts.values().filter_map(|part| match part {
            Part::LowRank(factors) => Some(factors),
            _ => None,
        });
        let spectrum = Spectrum::of(parts);
        ingredients.push(Ingredient { name: name.clone(), kind: "adapter", weight: used.weight, spectrum });
        sources.push(Source::Adapter(open));
        let (weight, text_weight) = (used.weight, used.text_weight);
        strengths.push(Strength { weight, text_weight, blocks: [&used.blocks, &none] });
    }
    if ingredients.is_empty() {
        return Err(MixError::recipe("merge", "there is no model and no adapter to look at"));
    }
    let mut whole = Tally::new("all", ingredients.len());
    let mut parts: Vec<Tally> = Vec::new();
    let total = base.tensors.len();
    for (done, (name, tensor)) in base.tensors.iter().enumerate() {
        if !tell(done, total) {
            return Err(MixError::Cancelled);
        }
        let weights: Vec<f64> = strengths.iter().map(|s| s.at(name)).collect();
        let touches = |source: &Source| match source {
            Source::Model { model, .. } => model.tensors.contains_key(name),
            Source::Adapter(open) => open.parts.contains_key(name),
        };
        if !tensor.info.dtype.is_float() || !sources.iter().any(touches) {
            continue;
        }
        let values = read(&base, name).await?;
        let mut changes = Vec::new();
        for source in &sources {
            changes.push(change(source, name, &tensor.shape, &values).await?);
        }
        let block = blocks::coarse(name);
        let at = parts.iter().position(|t| t.block() == block).unwrap_or_else(|| {
            parts.push(Tally::new(&block, ingredients.len()));
            parts.len() - 1
        });
        for tally in [&mut whole, &mut parts[at]] {
            tally.add(&values, &changes, &weights);
        }
    }
    parts.sort_by_key(|t| blocks::place(t.block()));
    let blocks: Vec<BlockFigures> = parts.iter().filter(|t| t.is_changed()).map(Tally::figures).collect();
    let whole = whole.figures();
    let warnings = warnings(&ingredients, &whole, &blocks);
    let against = recipe.base.reference.clone();
    Ok(Understanding { against, ingredients, densities: DENSITIES, whole, blocks, warnings })
}

/// A tensor as f32. Errors: values that are not finite.
async fn read(checkpoint: &Checkpoint, name: &str) -> Result<Vec<f32>, MixError> {
    let bytes = checkpoint.read_raw(name).await?;
    let dtype: DType = checkpoint.tensor(name)?.info.dtype;
    match first_non_finite(&bytes, dtype) {
        None => Ok(dtype.decode_f32(&bytes)),
        Some(at) => Err(MixError::Tensor {
            place: checkpoint.name.clone(),
            tensor: name.into(),
            reason: format!("element {at} is not finite; the file is damaged, use another copy"),
        }),
    }
}

/// What an ingredient at weight 1 adds to a tensor; nothing where it does not touch it.
async fn change(source: &Source, name: &str, shape: &[usize], base: &[f32]) -> Result<Option<Vec<f32>>, MixError> {
    match source {
        Source::Model { model, minus } => {
            let is_float = |c: &Checkpoint| c.tensors.get(name).is_some_and(|t| t.info.dtype.is_float());
            if !is_float(model) || minus.as_ref().is_some_and(|m| !is_float(m)) {
                return Ok(None);
            }
            let mut values = read(model, name).await?;
            let from = match minus {
                Some(minus) => &read(minus, name).await?,
                None => base,
            };
            if values.len() != from.len() || values.len() != base.len() {
                return Err(MixError::Tensor {
                    place: model.name.clone(),
                    tensor: name.into(),
                    reason: format!("its shape is not the base's {shape:?}; only models of one architecture compare"),
                });
            }
            values.iter_mut().zip(from).for_each(|(v, b)| *v -= b);
            Ok(Some(values))
        }
        Source::Adapter(open) => Ok(match open.parts.get(name) {
            None => None,
            Some(Part::LowRank(factors)) => Some(add_low_rank_reference(&vec![0.0; base.len()], &[(factors, 1.0)])),
            Some(part) => open.change(part).await?.map(|change| {
                let changed = change.applied(base, Extent::of(shape), 1.0);
                changed.iter().zip(base).map(|(c, b)| c - b).collect()
            }),
        }),
    }
}

/// Lines for people, from the figures.
fn warnings(ingredients: &[Ingredient], whole: &BlockFigures, blocks: &[BlockFigures]) -> Vec<String> {
    let mut lines = Vec::new();
    for (i, ingredient) in ingredients.iter().enumerate() {
        if ingredient.kind == "adapter" {
            lines.extend(strength_line(&ingredient.name, ingredient.weight));
        }
        if whole.norms[i] == 0.0 && ingredient.weight != 0.0 {
            lines.push(format!("{} changes nothing here", ingredient.name));
        }
    }
    let worst = blocks.iter().max_by(|a, b| a.range.total_cmp(&b.range));
    if let Some(block) = worst.filter(|_| ingredients.len() > 1) {
        lines.extend(range_line(&block.block, block.range));
    }
    let worst = blocks.iter().max_by(|a, b| (a.interference - a.chance).total_cmp(&(b.interference - b.chance)));
    if let Some(block) = worst {
        lines.extend(against_line(&block.block, block.interference, block.chance));
    }
    lines
}

/// A word on an adapter that is stronger than it was trained to be.
pub(crate) fn strength_line(name: &str, weight: f64) -> Option<String> {
    (weight.abs() > RANGE).then(|| {
        format!(
            "{name} acts at {weight:.2} times the strength it was trained at; beyond {RANGE} pictures tend to break"
        )
    })
}

/// A word on a stack that moves a block farther than training did.
pub(crate) fn range_line(block: &str, range: f64) -> Option<String> {
    (range > RANGE).then(|| {
        format!(
            "the stack moves {block} {range:.2} times as far as the ingredient that moves it most was trained to; weights of {:.2} of the \
             present ones stay in range",
            RANGE / range
        )
    })
}

/// A word on ingredients that cancel each other.
pub(crate) fn against_line(block: &str, lost: f64, chance: f64) -> Option<String> {
    (lost > chance + AGAINST).then(|| {
        format!(
            "the ingredients work against each other in {block}: {:.0} % of what they change there cancels, unrelated ones would lose {:.0} %; \
             lower one of them there, or merge with ties",
            100.0 * lost,
            100.0 * chance
        )
    })
}
