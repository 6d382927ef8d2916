//! What the numbers of `sample` may be: the one table that recipes, the command line, the engine and the studio read.

use crate::Knob;

/// Sampling steps.
pub const STEPS: Knob = Knob::whole("steps", "Steps", 1.0, 1000.0, 20.0, "sampling steps (--steps)");
/// Guidance scale.
pub const CFG: Knob = Knob::number(
    "cfg",
    "CFG scale",
    0.0,
    100.0,
    7.0,
    "how strongly the prompt pulls; 1 leaves the negative prompt out (--cfg)",
);
/// Guidance rescale.
pub const CFG_RESCALE: Knob =
    Knob::number("cfg_rescale", "Rescale", 0.0, 1.0, 0.0, "0 is off; v-prediction models like 0.7 (--cfg-rescale)");
/// Pixels across. Which multiples work is up to the model.
pub const WIDTH: Knob =
    Knob::whole("width", "Width", 8.0, 8192.0, 512.0, "pixels; the model's own size by default (--width)");
/// Pixels down.
pub const HEIGHT: Knob = Knob { name: "height", label: "Height", help: "as width (--height)", ..WIDTH };
/// Pictures at once.
pub const BATCH: Knob = Knob::whole("batch", "Batch", 1.0, 64.0, 1.0, "pictures at once (--batch)");
/// Which layer of the text encoder is read, from the end. A1111 offers 12, ComfyUI 24; no encoder here has more layers than 32.
pub const CLIP_SKIP: Knob = Knob::whole(
    "clip_skip",
    "Clip skip",
    1.0,
    24.0,
    1.0,
    "layer of the text encoder that is read, from the end; the model's own by default (--clip-skip)",
);
/// How far a given picture is changed.
pub const STRENGTH: Knob = Knob::number(
    "strength",
    "Strength",
    0.0,
    1.0,
    0.75,
    "how far the picture to start from is changed; only with one (--init, --strength)",
);

/// All of them.
pub const ALL: [Knob; 8] = [STEPS, CFG, CFG_RESCALE, WIDTH, HEIGHT, BATCH, CLIP_SKIP, STRENGTH];

/// Whether `value` lies in a knob's range.
pub fn holds(knob: &Knob, value: u64) -> bool {
    (knob.min..=knob.max).contains(&(value as f64))
}
