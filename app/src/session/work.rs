//! What can be asked of the actor and what it tells.

use std::sync::Arc;

use admix_engine::files::Bundle;
use admix_engine::mix::Recipe;
use admix_engine::mix::understand::Understanding;
use admix_engine::model::prompt::Rules;
use admix_engine::{Picture, Rendered};

/// Given tensors and pictures of a render.
pub use admix_engine::Given;

/// Why a render is made; decides what it may push aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Purpose {
    /// Somebody asked for it: it waits its turn and is never pushed aside.
    Asked,
    /// A few quick steps while something is being dragged. A newer live render replaces it.
    Scrub,
    /// The full render after a drag. A newer live render replaces it.
    Settle,
    /// A picture of a strip, a grid, a try-on or a thumbnail. Everything else goes first; a running one steps aside and starts again later.
    Study,
}

impl Purpose {
    /// True for work that newer work of this kind replaces.
    pub fn is_live(self) -> bool {
        matches!(self, Purpose::Scrub | Purpose::Settle)
    }
}

/// A picture to make.
#[derive(Clone, Debug)]
pub struct Render {
    /// Of what.
    pub recipe: Recipe,
    /// Why.
    pub purpose: Purpose,
    /// What to use in place of what the engine computes.
    pub given: Given,
    /// Decode with the small preview decoder, where the model has one.
    pub is_quick: bool,
}

impl Render {
    /// A render without anything given, decoded quickly if it is for a quick look.
    pub fn new(recipe: Recipe, purpose: Purpose) -> Render {
        Render { recipe, purpose, given: Given::default(), is_quick: purpose == Purpose::Scrub }
    }
}

/// A file to read the card of.
#[derive(Clone)]
pub struct Open {
    /// How recipes name it.
    pub reference: String,
    /// Its bytes, for files that have no path; none: the engine finds it by the reference.
    pub bundle: Option<Bundle>,
    /// The model that adapters are held against.
    pub against: String,
}

/// A checkpoint to write.
#[derive(Clone, Debug)]
pub struct Export {
    /// Of what.
    pub recipe: Recipe,
    /// Where.
    pub place: crate::io::Place,
}

/// One piece of work.
#[derive(Clone)]
pub enum Work {
    /// Make a picture.
    Render(Box<Render>),
    /// Read what a file is from its header.
    Open(Open),
    /// Write a checkpoint.
    Export(Box<Export>),
    /// Look at what a recipe mixes: lengths, angles, signs. The newest replaces the waiting one.
    Understand(Box<Recipe>),
    /// Count the tokens of texts with a model's tokenizer.
    Count {
        /// The model.
        model: String,
        /// Prompt and negative prompt.
        texts: [String; 2],
        /// How prompts are read.
        rules: Rules,
    },
}

/// A prompt's length.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Count {
    /// Its tokens.
    pub tokens: usize,
    /// Tokens that its windows have room for.
    pub room: usize,
    /// Characters that are read: all, unless there are more tokens than room.
    pub kept: usize,
}

/// Something that waits, as lists show it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Waiting {
    /// Its number.
    pub id: u64,
    /// What it is, for people.
    pub title: String,
    /// Why it is rendered; none for exports.
    pub purpose: Option<Purpose>,
}

impl Work {
    /// The title and purpose of a render or an export; nothing of what takes milliseconds.
    pub(super) fn waiting(&self, id: u64) -> Option<Waiting> {
        match self {
            Work::Render(render) => {
                let s = &render.recipe.sample;
                let title = format!("{}, seed {}", s.prompt.as_deref().unwrap_or("picture"), s.seed.unwrap_or(0));
                Some(Waiting { id, title, purpose: Some(render.purpose) })
            }
            Work::Export(export) => {
                Some(Waiting { id, title: format!("export {}", export.place.name()), purpose: None })
            }
            Work::Open(_) | Work::Count { .. } | Work::Understand(_) => None,
        }
    }
}

/// What happens with the running work.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Not begun.
    Starting,
    /// Reading and mixing weights.
    Weights {
        /// Tensors in place.
        done: usize,
        /// Tensors in all.
        total: usize,
    },
    /// Encoding the prompt.
    Text,
    /// Denoising.
    Step {
        /// Steps done.
        done: usize,
        /// Steps in all.
        total: usize,
    },
    /// Latents become pictures.
    Decode {
        /// Tiles or pictures done.
        done: usize,
        /// In all.
        total: usize,
    },
    /// Writing a checkpoint.
    Export {
        /// Tensors written.
        done: usize,
        /// Tensors in all.
        total: usize,
    },
}

/// What a file is, told from its header.
#[derive(Clone, Debug)]
pub enum Card {
    /// A model.
    Model(ModelCard),
    /// An adapter.
    Adapter(Shelved),
}

/// A model on the shelf.
#[derive(Clone, Debug)]
pub struct ModelCard {
    /// File or folder name.
    pub name: String,
    /// Its class in words.
    pub family: String,
    /// File layout.
    pub format: String,
    /// Weights.
    pub parameters: u64,
    /// The type of most weights.
    pub dtype: String,
    /// Pixels it was made for: width, height.
    pub native: [u32; 2],
    /// Layer of the text encoder that it reads by itself, counted from the end.
    pub clip_skip: u32,
    /// The first part that a picture needs and the file has not: it can be mixed in, but not stand alone.
    pub lacks: Option<String>,
    /// Why it cannot be run, if it cannot.
    pub trouble: Option<String>,
}

/// An adapter on the shelf, held against the model in use.
#[derive(Clone, Debug)]
pub struct Shelved {
    /// File name.
    pub name: String,
    /// `lora`, `locon`, ...
    pub kind: String,
    /// Largest rank.
    pub rank: Option<usize>,
    /// Modules in the file.
    pub modules: usize,
    /// The model it was held against.
    pub against: String,
    /// Modules that fit it.
    pub matched: usize,
    /// Names that mean nothing there.
    pub unmatched: Vec<String>,
    /// Modules of another shape.
    pub mismatched: Vec<String>,
    /// The likely cause where something does not fit.
    pub cause: Option<String>,
    /// Words that call it up.
    pub triggers: Vec<String>,
    /// Why it cannot be applied, if its kind is not known well enough.
    pub trouble: Option<String>,
}

/// A finished picture.
#[derive(Clone)]
pub struct Finished {
    /// The pictures of the batch.
    pub pictures: Vec<Arc<Picture>>,
    /// The recipe that makes them again.
    pub recipe: Recipe,
    /// What is written into each picture's file: A1111's infotext and the recipe of that picture alone.
    pub texts: Vec<(String, Recipe)>,
    /// Seconds in all.
    pub seconds: f64,
    /// Tokens of the prompt that did not fit.
    pub dropped_tokens: usize,
    /// What was done otherwise than asked, a line each.
    pub warnings: Vec<String>,
    /// The device's name.
    pub device: String,
}

/// What kind of failure: enough to offer something that puts it right.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// A file is missing, damaged or does not fit the others.
    File,
    /// Sampling settings do not work.
    Sampling,
    /// A value cannot be used with this model, its size perhaps.
    Value,
    /// The device has no room, or failed.
    Device,
    /// Anything else.
    Other,
}

/// What the actor tells.
pub enum News {
    /// A picture is done.
    Rendered {
        /// Which work.
        id: u64,
        /// Why it was made.
        purpose: Purpose,
        /// The result.
        finished: Box<Finished>,
    },
    /// A file was looked at.
    Opened {
        /// Its reference.
        reference: String,
        /// The model it was held against.
        against: String,
        /// What it is, or why it cannot be used.
        card: Result<Card, String>,
    },
    /// A checkpoint was written.
    Exported {
        /// Which work.
        id: u64,
        /// Where.
        name: String,
    },
    /// A mix was looked at.
    Understood {
        /// The recipe.
        recipe: Box<Recipe>,
        /// What is known of it, or why nothing is.
        figures: Result<Box<Understanding>, String>,
    },
    /// Tokens of prompt and negative prompt.
    Counted {
        /// The texts as they were.
        texts: [String; 2],
        /// What there is to say of each.
        counts: [Count; 2],
    },
    /// Work failed.
    Failed {
        /// Which.
        id: u64,
        /// Why a render was made; none for other work.
        purpose: Option<Purpose>,
        /// One line: what, where, what to do.
        error: String,
        /// What kind of failure it is.
        trouble: Trouble,
    },
    /// Work was cancelled.
    Cancelled {
        /// Which.
        id: u64,
    },
}

impl Finished {
    /// From what the engine gives.
    pub fn from_rendered(rendered: Rendered) -> Finished {
        let s = rendered.seconds;
        Finished {
            seconds: s.load + s.mix + s.text + s.denoise + s.decode,
            texts: (0..rendered.pictures.len()).map(|i| (rendered.infotext(i), rendered.recipe_of(i))).collect(),
            pictures: rendered.pictures.into_iter().map(Arc::new).collect(),
            recipe: rendered.recipe,
            dropped_tokens: rendered.dropped_tokens,
            warnings: rendered.warnings,
            device: rendered.device,
        }
    }
}
