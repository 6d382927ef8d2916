//! The studio: a window or a browser tab in which people mix and see.

mod app;
mod canvas;
mod document;
mod frame;
mod history;
mod layout;
mod live;
mod notices;
mod panels;
mod shelf;
#[cfg(test)]
mod tests;
pub mod theme;
mod widgets;

pub use app::Studio;
#[cfg(not(target_arch = "wasm32"))]
pub use frame::run;
pub use frame::wgpu_options;
