//! The configuration files of diffusers and transformers: every field that changes the computation is read, with the
//! libraries' own defaults. A value the engine cannot run is an error from `check_supported`, not from reading.

mod fields;
mod scheduler;
mod text;
mod tiny_vae;
mod unet;
mod vae;

pub use fields::Fields;
pub(crate) use fields::parse_object;
pub use scheduler::{BetaSchedule, Prediction, SchedulerConfig};
pub use text::TextConfig;
pub use tiny_vae::TinyVaeConfig;
pub use unet::UNetConfig;
pub use vae::VaeConfig;
