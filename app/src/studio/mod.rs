//! The studio: a window or a browser tab in which people mix and see.

mod actions;
mod app;
mod canvas;
mod cards;
mod carried;
mod counting;
mod description;
mod differs;
mod document;
mod fixes;
mod frame;
mod history;
mod incoming;
mod knob;
mod layout;
mod live;
#[cfg(not(target_arch = "wasm32"))]
mod loss;
mod mixing;
mod news;
mod notices;
mod panels;
mod prefs;
mod seeds;
mod shelf;
mod shortcuts;
#[cfg(target_arch = "wasm32")]
mod state;
mod studies;
mod study;
#[cfg(test)]
mod tests;
pub mod theme;
mod thumbs;
mod tiles;
mod warnings;
#[cfg(not(target_arch = "wasm32"))]
mod watch;
mod widgets;

pub use app::Studio;
pub use carried::Carried;
#[cfg(not(target_arch = "wasm32"))]
pub use frame::run;
pub use frame::wgpu_options;
#[cfg(target_arch = "wasm32")]
pub use shortcuts::taken_from_browser;
