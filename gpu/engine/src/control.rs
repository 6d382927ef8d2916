//! Progress out, cancellation in.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::picture::Picture;

/// What a long piece of work is doing right now.
#[derive(Clone, Debug)]
pub enum Progress {
    /// Reading and mixing weights: tensors done of all.
    Weights {
        /// Tensors in place.
        done: usize,
        /// Tensors in all.
        total: usize,
    },
    /// Encoding the prompt.
    Text,
    /// A denoising step ended.
    Step {
        /// Steps done.
        done: usize,
        /// Steps in all.
        total: usize,
        /// A small picture of the state, where previews were asked for.
        preview: Option<Picture>,
    },
    /// Latents become pictures.
    Decode {
        /// Tiles or pictures done.
        done: usize,
        /// Tiles or pictures in all.
        total: usize,
    },
    /// A checkpoint is being written: tensors done of all.
    Export {
        /// Tensors written.
        done: usize,
        /// Tensors in all.
        total: usize,
    },
}

#[cfg(not(target_arch = "wasm32"))]
type Listener = Box<dyn FnMut(Progress) + Send>;
#[cfg(target_arch = "wasm32")]
type Listener = Box<dyn FnMut(Progress)>;

/// A flag that asks running work to stop; clones share it.
#[derive(Clone, Debug, Default)]
pub struct Cancel(Arc<AtomicBool>);

impl Cancel {
    /// Asks the work to stop at its next step.
    pub fn cancel(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    /// True after [`Cancel::cancel`].
    pub fn is_cancelled(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// The flag itself, for layers below that poll it.
    pub fn flag(&self) -> &AtomicBool {
        &self.0
    }
}

/// What a caller hands to long work.
#[derive(Default)]
pub struct Control {
    /// Told of every stage.
    pub listener: Option<Listener>,
    /// Asked before every stage.
    pub cancel: Cancel,
    /// Send a preview every so many steps (0: never).
    pub preview_every: usize,
    /// The most of a run's time that previews may take, as a part of 1: where they cost more than a step there are fewer of them. The first one always
    /// comes. 0 sets no limit.
    pub preview_share: f64,
    /// Decode the result with the preview decoder too, where the model ships one: the first picture of the batch, for a quick look.
    pub is_quick: bool,
}

impl Control {
    /// Reports, and stops with [`crate::EngineError::Cancelled`] if asked to.
    pub fn report(&mut self, progress: Progress) -> Result<(), crate::EngineError> {
        if let Some(listener) = &mut self.listener {
            listener(progress);
        }
        self.check()
    }

    /// Stops with [`crate::EngineError::Cancelled`] if asked to.
    pub fn check(&self) -> Result<(), crate::EngineError> {
        if self.cancel.is_cancelled() { Err(crate::EngineError::Cancelled) } else { Ok(()) }
    }
}
