//! Seeds: the same recipe twice, variation seeds, and what an infotext says of them.

use admix_engine::metadata::a1111;
use admix_engine::mix::recipe::{Recipe, Sample};
use admix_engine::{Control, Given, Rendered};
use admix_tests::{distance, pipeline, session};

fn recipe(sampler: &str, set: &[(&str, f64)]) -> Recipe {
    let mut recipe = Recipe::new(pipeline("sd1_tiny").display().to_string());
    recipe.sample = Sample {
        prompt: Some("a red apple".into()),
        sampler: Some(sampler.into()),
        steps: Some(6),
        cfg: Some(4.0),
        seed: Some(11),
        width: Some(32),
        height: Some(32),
        ..Sample::default()
    };
    for (name, value) in set {
        recipe.sample.set.insert((*name).into(), (*value).into());
    }
    recipe
}

fn render(session: &mut admix_engine::Session, recipe: &Recipe) -> Rendered {
    pollster::block_on(session.render(recipe, &Given::default(), &mut Control::default())).expect("renders")
}

/// Bits, not tolerances: in one session, and in a new one on the same device, with solvers of every kind.
#[test]
fn the_same_recipe_gives_the_same_bits() {
    let bits = |r: &Rendered| r.latents.iter().map(|v| v.to_bits()).collect::<Vec<_>>();
    let mut first = session();
    for (sampler, set) in [("dpmpp_2m_sde", &[("pag_scale", 2.0)][..]), ("dpm_adaptive", &[("rtol", 0.2)])] {
        let recipe = recipe(sampler, set);
        let one = render(&mut first, &recipe);
        let again = render(&mut first, &recipe);
        let mut anew = pollster::block_on(admix_engine::Session::open(&Default::default())).expect("a device");
        let fresh = render(&mut anew, &recipe);
        for other in [&again, &fresh] {
            assert_eq!(bits(&one), bits(other), "{sampler}");
            assert_eq!(one.png(0).expect("encodes"), other.png(0).expect("encodes"), "{sampler}: the file");
        }
    }
}

#[test]
fn variation_seeds() {
    let mut session = session();
    let seed = |session: &mut _, seed: u64| {
        let mut recipe = recipe("euler", &[]);
        recipe.sample.seed = Some(seed);
        render(session, &recipe).latents
    };
    let (low, high) = (seed(&mut session, 11), seed(&mut session, 99));
    let varied = |session: &mut _, strength: f64| {
        render(session, &recipe("euler", &[("subseed", 99.0), ("subseed_strength", strength)])).latents
    };
    assert_eq!(varied(&mut session, 0.0), low);
    // The whole way is the other seed, up to the rounding of sines.
    assert!(distance(&varied(&mut session, 1.0), &high) < 1e-4);
    let half = varied(&mut session, 0.5);
    assert!(distance(&half, &low) > 1e-2 && distance(&half, &high) > 1e-2);

    // A batch varies the variation seed alone, and each of its pictures can be made by itself.
    let mut batch =
        recipe("euler_ancestral", &[("subseed", 99.0), ("subseed_strength", 0.3), ("eta_noise_seed_delta", 31337.0)]);
    batch.sample.batch = Some(2);
    let both = render(&mut session, &batch);
    let each = both.latents.len() / 2;
    for i in 0..2 {
        let alone = render(&mut session, &both.recipe_of(i));
        let far = distance(&alone.latents, &both.latents[i * each..][..each]);
        assert!(far < 1e-4, "picture {i}: {far:.1e}");
        let text = both.infotext(i);
        assert!(text.contains("Seed: 11, Size: 32x32"), "{text}");
        assert!(
            text.contains(&format!("Variation seed: {}, Variation seed strength: 0.3, ENSD: 31337", 99 + i)),
            "{text}"
        );
        // Through the infotext to the same picture.
        let read = a1111::read(&text);
        assert_eq!(read.unresolved, [""; 0]);
        let back = Recipe { sample: read.sample, ..alone.recipe.clone() };
        assert_eq!(render(&mut session, &back).latents, alone.latents, "{text}");
    }
}

/// A seed keeps its subject at another size: the noise in the middle is that of the smaller picture.
#[test]
fn seed_resize() {
    let mut session = session();
    let mut wide = recipe("euler", &[("seed_resize_from_w", 32.0), ("seed_resize_from_h", 32.0)]);
    wide.sample.width = Some(48);
    let mut plain = wide.clone();
    plain.sample.set.clear();
    let (moved, plain) = (render(&mut session, &wide), render(&mut session, &plain));
    assert!(distance(&moved.latents, &plain.latents) > 1e-2);
    assert!(moved.infotext(0).contains("Seed resize from: 32x32"));
    // From its own size nothing changes.
    let same = recipe("euler", &[("seed_resize_from_w", 32.0), ("seed_resize_from_h", 32.0)]);
    assert_eq!(render(&mut session, &same).latents, render(&mut session, &recipe("euler", &[])).latents);
}
