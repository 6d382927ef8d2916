//! Sampling: noise schedules, solvers and seeds, as pure host arithmetic.
//!
//! A solver never touches a latent. It writes a [`Plan`]: which noise level the network sees when, and which linear combinations of latents
//! follow, with coefficients computed here in f64. The engine carries a plan out on the device without reading anything back; [`cpu::run`]
//! carries out the same plan on the host.
//!
//! Everything is in "variance exploding" coordinates, x = x0 + sigma * noise, whatever the solver's paper uses; a variance-preserving latent is
//! x / sqrt(1 + sigma^2).
//!
//! One technique, one file: [`schedules`] and [`solvers`] list theirs, [`registry`] finds them by name.

pub mod compensation;
pub mod cpu;
mod error;
pub mod grid;
pub mod guidance;
mod knobs;
mod math;
pub mod model;
pub mod names;
pub mod plan;
pub mod registry;
pub mod rng;
pub mod schedules;
pub mod solvers;

pub use error::SampleError;
pub use grid::{Grid, GridRules};
pub use knobs::{Info, Knob, KnobValues};
pub use model::{BetaSchedule, ModelSampling, NoiseConfig, Prediction, Spacing};
pub use plan::{Op, Plan, Reg, Scaling, X};
pub use registry::{PlanRequest, adaptive, invert, plan, resolve};
pub use schedules::Schedule;
pub use solvers::bdia::Inversion;
pub use solvers::{Adaptive, Solver};

/// Result with this crate's error.
pub type Result<T> = std::result::Result<T, SampleError>;
