//! Guidance.
use crate::{Info, Knob};

/// CFG++ on or off.
pub const CFG_PP: Knob = Knob::choice("cfg_pp", "CFG++", &["off", "on"], "x");

/// One way to guide.
pub trait Guidance: Sync {
    /// Name, citation, settings.
    fn info(&self) -> Info;
}

/// Every way to guide.
pub static ALL: &[&dyn Guidance] = &[];
