//! Variation seeds, seed resize and the seed of later noise, under the names of stable-diffusion-webui's programming interface.

use admix_sample::rng::Variation;
use admix_sample::{Knob, KnobValues};

use crate::settings::Settings;

/// The seed that is mixed in.
pub const SUBSEED: Knob = Knob::whole(
    "subseed",
    "Variation seed",
    0.0,
    4_294_967_295.0,
    0.0,
    "the other seed, with a variation strength above 0",
);

/// How much of it.
pub const STRENGTH: Knob = Knob::number(
    "subseed_strength",
    "Variation strength",
    0.0,
    1.0,
    0.0,
    "how far the noise turns from the seed's to the variation seed's; a batch varies the variation seed alone",
);

/// Width that the seed was chosen at.
pub const FROM_WIDTH: Knob = Knob::whole(
    "seed_resize_from_w",
    "Seed resize from width",
    0.0,
    8192.0,
    0.0,
    "width of the picture that the seed is known from, in pixels; 0 (or no height) leaves the noise as it is",
);

/// Height that the seed was chosen at.
pub const FROM_HEIGHT: Knob = Knob::whole(
    "seed_resize_from_h",
    "Seed resize from height",
    0.0,
    8192.0,
    0.0,
    "height of the picture that the seed is known from, in pixels",
);

/// Seed of later noise.
pub const DELTA: Knob = Knob::whole(
    "eta_noise_seed_delta",
    "Eta noise seed delta",
    0.0,
    4_294_967_295.0,
    0.0,
    "added to the seed for the noise of ancestral and SDE samplers (ENSD); 0 goes on with the seed's own",
);

/// All of them.
pub const ALL: &[Knob] = &[STRENGTH, SUBSEED, FROM_WIDTH, FROM_HEIGHT, DELTA];

/// What the knobs say. `factor`: pixels of a latent cell.
pub(crate) fn read(values: &KnobValues, factor: usize) -> Variation {
    let whole = |knob: &Knob| values.get(knob).round() as u64;
    let cells = |knob: &Knob| whole(knob) as usize / factor.max(1);
    let from = [cells(&FROM_HEIGHT), cells(&FROM_WIDTH)];
    Variation {
        seed: whole(&SUBSEED),
        strength: values.get(&STRENGTH),
        from: (!from.contains(&0)).then_some(from),
        later: whole(&DELTA),
    }
}

/// A1111's fields of the infotext for picture `index`.
pub(crate) fn fields(settings: &Settings, index: usize) -> Vec<(&'static str, String)> {
    let values = settings.options.values();
    let variation = read(values, 1);
    let mut out = Vec::new();
    if variation.strength > 0.0 {
        out.push(("Variation seed", variation.seeds(settings.seed, index as u64).1.to_string()));
        out.push(("Variation seed strength", variation.strength.to_string()));
    }
    if let Some([height, width]) = variation.from {
        out.push(("Seed resize from", format!("{width}x{height}")));
    }
    if variation.later > 0 {
        out.push(("ENSD", variation.later.to_string()));
    }
    out
}
