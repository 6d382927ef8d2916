//! The engine: opens files, mixes weights, runs the networks and gives back pictures. What `app` talks to, natively and in the browser.

#[cfg(not(target_arch = "wasm32"))]
pub mod bench;
mod beside;
mod conditioning;
mod control;
mod decode;
#[cfg(not(target_arch = "wasm32"))]
pub mod demo;
mod denoise;
mod error;
mod feed;
mod guides;
mod infotext;
pub mod inspect;
mod kept;
pub mod mask;
mod memory;
pub mod metadata;
mod networks;
pub mod picture;
mod pillow;
mod pool;
pub mod render;
mod sampling;
pub mod score;
mod session;
pub mod settings;
pub mod soup;
mod stage;
pub mod start;
pub mod suggest;
pub mod understand;
pub mod upscale;
pub mod variation;

pub use control::{Cancel, Control, Progress};
pub use error::EngineError;
pub use guides::Batching;
pub use infotext::short_name;
pub use picture::Picture;
pub use render::{Given, ModelFacts, Rendered, Seconds};
pub use session::{Session, state_of};

pub use admix_files as files;
pub use admix_mix as mix;
pub use admix_model as model;
pub use admix_sample as sample;
pub use admix_select as select;
pub use admix_tensor as tensor;
