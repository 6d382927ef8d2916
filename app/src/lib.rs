//! Admix: the studio and the command line around the engine.

#[cfg(not(target_arch = "wasm32"))]
pub mod cli;
#[cfg(feature = "studio")]
pub mod io;
#[cfg(feature = "studio")]
pub mod session;
#[cfg(feature = "studio")]
pub mod studio;
#[cfg(all(feature = "studio", target_arch = "wasm32"))]
mod web;
