//! The panels, a file each. Every one draws itself from the studio's state.

pub mod details;
pub mod guide;
pub mod history;
pub mod mix;
pub mod palette;
pub mod prompt;
pub mod shelf;
pub mod top;
