//! The panels, a file each. Every one draws itself from the studio's state.

pub mod adapters;
pub mod card_edit;
pub mod details;
pub mod figures;
pub mod glance;
pub mod grid;
pub mod guide;
pub mod history;
pub mod keys;
pub mod mix;
pub mod palette;
pub mod prompt;
pub mod shelf;
pub mod stage;
pub mod stages;
pub mod strip;
pub mod suggest;
pub mod top;
mod weigh;
