//! Where in the U-Net.

use crate::{Knob, Result, SampleError};

/// Which way the U-Net goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The encoder.
    Down,
    /// The middle.
    Mid,
    /// The decoder.
    Up,
}

/// Blocks of the U-Net: `down.1`, `mid`, `up.2.0` (the first transformer of the third up block), `up` (all of them).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Which way.
    pub side: Side,
    /// Block, deepest first on the way up; none: all.
    pub level: Option<usize>,
    /// Transformer of the block; none: all.
    pub index: Option<usize>,
}

impl Place {
    /// The places in a knob's text, separated by commas; the middle where it is empty.
    ///
    /// # Errors
    /// Something that is no place.
    pub fn list(knob: &Knob, text: &str) -> Result<Vec<Place>> {
        let names: Vec<&str> = text.split([',', ' ']).map(str::trim).filter(|t| !t.is_empty()).collect();
        if names.is_empty() {
            return Ok(vec![Place { side: Side::Mid, level: None, index: None }]);
        }
        let bad = |name: &str| {
            SampleError::setting(
                knob.name,
                format!("`{name}` is no block; write down.1, mid or up.2.0, separated by commas"),
            )
        };
        names
            .into_iter()
            .map(|name| {
                let mut parts = name.split('.');
                let side = match parts.next() {
                    Some("down") => Side::Down,
                    Some("mid" | "middle") => Side::Mid,
                    Some("up") => Side::Up,
                    _ => return Err(bad(name)),
                };
                let numbers = parts
                    .map(str::parse::<usize>)
                    .collect::<std::result::Result<Vec<_>, _>>()
                    .map_err(|_| bad(name))?;
                let (level, index) = match (side, &numbers[..]) {
                    (_, []) => (None, None),
                    (Side::Mid, [index]) => (None, Some(*index)),
                    (Side::Down | Side::Up, [level]) => (Some(*level), None),
                    (Side::Down | Side::Up, [level, index]) => (Some(*level), Some(*index)),
                    _ => return Err(bad(name)),
                };
                Ok(Place { side, level, index })
            })
            .collect()
    }
}
