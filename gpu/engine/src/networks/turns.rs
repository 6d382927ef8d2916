//! Which parts of a model stand on the device: all of them, or, where they do not fit together, each when its turn comes.
//!
//! A picture needs the text encoders first, then the U-Net, then the VAE (and the VAE before the U-Net where it starts from a picture), never two
//! of them at once. So a model whose largest part fits can run, at the price of reading its files again for every picture.

use std::sync::Arc;

use admix_files::checkpoint::Checkpoint;
use admix_mix::Mixer;
use admix_model::store::Store;
use admix_model::text::TextEncoder;
use admix_tensor::kernels::Picture as Size;

use super::{Networks, new_unet, new_vae, text_config};
use crate::EngineError;
use crate::control::Control;
use crate::decode::Pass;
use crate::memory::{self, Needs, Share};

/// A part of a model.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// Text encoders.
    Text,
    /// U-Net.
    Denoise,
    /// VAE.
    Decode,
}

impl Part {
    /// In the order in which a picture needs them.
    pub const ALL: [Part; 3] = [Part::Text, Part::Denoise, Part::Decode];
}

/// What a part's turn is prepared from.
#[derive(Clone)]
pub(super) struct Turns {
    mixer: Arc<Mixer>,
    needs: Needs,
}

/// The most latents that one pass of a render may see.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Most {
    /// All branches of guidance at once.
    pub all: Size,
    /// One branch, where they may also run one after the other.
    pub one: Option<Size>,
}

impl Most {
    /// Everything at once.
    pub fn at_once(all: Size) -> Most {
        Most { all, one: None }
    }
}

impl Networks {
    /// Brings the model to what the mix says, for pictures of so many latents: every tensor that has memory and whose ingredients changed, or, where the
    /// parts take turns, nothing before their turn. Returns how many tensors were packed.
    ///
    /// # Errors
    /// A model that does not fit the device even in turns, before anything of it is read.
    pub async fn fill(&mut self, mixer: &Arc<Mixer>, most: Most, control: &mut Control) -> Result<usize, EngineError> {
        self.turns = None;
        let needs = self.needs_of(mixer.base(), most);
        if self.admit(&needs, mixer.base()).await? {
            return self.fill_stale(mixer, control).await;
        }
        // What a merge has read would take the room that the parts need one after another.
        if let Some(cache) = mixer.cache() {
            cache.close_inputs();
        }
        self.turns = Some(Turns { mixer: mixer.clone(), needs });
        Ok(0)
    }

    /// What the model needs with all branches at once, or with one at a time where that spares it from taking turns or being refused.
    fn needs_of(&mut self, checkpoint: &Checkpoint, most: Most) -> Needs {
        let needs = self.needs(checkpoint, most.all);
        self.one_by_one = false;
        let Some(one) = most.one else { return needs };
        let free = self.gpu.memory(self.bytes());
        let rank = |needs: &Needs| match needs.share(&checkpoint.name, free) {
            Ok(Share::Together) => 0,
            Ok(Share::Turns) => 1,
            Err(_) => 2,
        };
        let less = self.needs(checkpoint, one);
        self.one_by_one = rank(&less) < rank(&needs);
        if self.one_by_one { less } else { needs }
    }

    /// Bytes of every part, and of what it works with for pictures of `size` latents.
    fn needs(&self, checkpoint: &Checkpoint, size: Size) -> Needs {
        let unet = memory::unet_work(self.unet.config(), size);
        let vae = memory::vae_work(checkpoint.vae.as_ref(), size);
        Needs { weights: [0, 1, 2].map(|i| self.stores[i].bytes()), work: [0, unet, vae] }
    }

    /// Gives all parts memory where they fit together; false where they have to take turns.
    async fn admit(&mut self, needs: &Needs, checkpoint: &Checkpoint) -> Result<bool, EngineError> {
        if needs.share(&checkpoint.name, self.gpu.memory(self.bytes()))? == Share::Turns {
            return Ok(false);
        }
        if self.allocate(&Part::ALL, checkpoint).await? {
            return Ok(true);
        }
        // Nobody could tell how much is free before, but the device has now said that it is less than this.
        for part in Part::ALL {
            self.vacate(part, checkpoint)?;
        }
        self.gpu.finished().await?;
        Ok(false)
    }

    /// Makes a part ready to run. Nothing to do where all of them stand on the device.
    ///
    /// # Errors
    /// A device that has no room for it; everything that reading and packing its weights can say.
    pub(crate) async fn take_turn(&mut self, part: Part, control: &mut Control) -> Result<(), EngineError> {
        let Some(Turns { mixer, needs }) = self.turns.clone() else { return Ok(()) };
        self.make_room(part, &needs, mixer.base()).await?;
        if !self.allocate(&[part], mixer.base()).await? {
            self.vacate(part, mixer.base())?;
            return Err(needs.refusal(&mixer.base().name, None));
        }
        if self.fill_stale(&mixer, control).await? > 0 {
            self.attach_side(&mixer)?;
            self.gpu.finished().await?;
        }
        Ok(())
    }

    /// No more turns for now: lets go of the mix. Parts that stand on the device stay there.
    pub(crate) fn end_turns(&mut self) {
        self.turns = None;
    }

    /// Takes other parts off the device, the largest first, until `part` has room to run.
    async fn make_room(&mut self, part: Part, needs: &Needs, checkpoint: &Checkpoint) -> Result<(), EngineError> {
        let free = self.gpu.memory(self.bytes());
        let mut standing: Vec<Part> =
            Part::ALL.into_iter().filter(|p| *p != part && self.allocated[*p as usize]).collect();
        standing.sort_by_key(|p| needs.weights[*p as usize]);
        let before = standing.len();
        while let Some(largest) = standing.last().copied() {
            let others: u64 = standing.iter().map(|p| needs.weights[*p as usize]).sum();
            if free.is_some_and(|free| others + needs.alone(part as usize) <= free) {
                break;
            }
            self.vacate(largest, checkpoint)?;
            standing.pop();
        }
        if standing.len() < before {
            // Buffers that were let go are freed when the device is looked after.
            self.gpu.finished().await?;
        }
        Ok(())
    }

    /// Gives parts memory; false when the device ran out of it, and then they cannot be used.
    async fn allocate(&mut self, parts: &[Part], checkpoint: &Checkpoint) -> Result<bool, EngineError> {
        let gpu = self.gpu.clone();
        let mut construct = || -> Result<(), EngineError> {
            for part in parts.iter().copied().filter(|p| !self.allocated[*p as usize]).collect::<Vec<_>>() {
                let halves = self.halves.clone();
                let store = Store::new(&self.gpu, move |name: &str| halves.contains(name));
                self.rebuild(part, store, checkpoint)?;
                self.allocated[part as usize] = true;
            }
            Ok(())
        };
        let (made, has_room) = gpu.with_room(&mut construct).await;
        made?;
        Ok(has_room)
    }

    /// Takes a part off the device. Its configuration stays, so that it can come back.
    fn vacate(&mut self, part: Part, checkpoint: &Checkpoint) -> Result<(), EngineError> {
        if self.allocated[part as usize] {
            let halves = self.halves.clone();
            let store = Store::planned(&self.gpu, move |name: &str| halves.contains(name))?;
            self.allocated[part as usize] = false;
            self.rebuild(part, store, checkpoint)?;
        }
        Ok(())
    }

    /// Lays a part out anew in `store`, with nothing in its slots.
    fn rebuild(&mut self, part: Part, mut store: Store, checkpoint: &Checkpoint) -> Result<(), EngineError> {
        match part {
            Part::Text => {
                for encoder in &mut self.encoders {
                    let Some(config) = text_config(checkpoint, encoder.name) else { continue };
                    encoder.text = TextEncoder::new(&mut store, config, encoder.name)?;
                }
            }
            Part::Denoise => self.unet = new_unet(&mut store, checkpoint)?,
            Part::Decode => {
                // Recorded with the weights that leave.
                self.decode_pass = Pass::default();
                self.vae = new_vae(&mut store, checkpoint)?;
            }
        }
        for name in store.slots().keys() {
            self.filled.remove(name);
        }
        self.stores[part as usize] = store;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use admix_files::checkpoint::ModelFamily;
    use admix_mix::recipe::{AdapterUse, Recipe, Sample};
    use admix_tensor::DeviceOptions;

    use super::*;
    use crate::guides::Batching;
    use crate::{Given, Picture, Rendered, Session};

    fn session(memory: Option<u64>) -> Session {
        let options = DeviceOptions { memory, ..Default::default() };
        pollster::block_on(Session::open(&options)).expect("a Vulkan driver")
    }

    fn recipe() -> Recipe {
        let mut recipe = Recipe::new("builtin");
        let set = [("adapters", "unmerged"), ("hires_scale", "1.5"), ("guidance_batch", "on")]
            .map(|(k, v)| (k.to_owned(), v.into()));
        recipe.sample = Sample {
            prompt: Some("red apple".into()),
            negative: Some("blue".into()),
            steps: Some(2),
            strength: Some(0.6),
            set: set.into_iter().collect(),
            ..Sample::default()
        };
        recipe.adapters = vec![AdapterUse::new("builtin:neon", 0.7)];
        recipe
    }

    /// A second stage, a picture to start from and an adapter beside the weights: every part has more than one turn.
    fn render(session: &mut Session) -> Result<Rendered, EngineError> {
        let grey = Picture { width: 128, height: 128, rgb: (0..128 * 128 * 3).map(|i| (i % 251) as u8).collect() };
        let given = Given { init: Some(grey), ..Given::default() };
        pollster::block_on(session.render(&recipe(), &given, &mut Control::default()))
    }

    fn networks(session: &Session) -> (Networks, Arc<Mixer>) {
        let mixer = pollster::block_on(session.open_mix(&recipe())).expect("opens");
        assert_eq!(mixer.base().family, ModelFamily::Sd1);
        (Networks::build(session.gpu(), mixer.base()).expect("builds"), Arc::new(mixer))
    }

    /// The second stage's latents, both branches.
    const SIZE: Size = Size { n: 2, h: 24, w: 24 };

    #[test]
    fn parts_in_turns_draw_the_same_picture() {
        let mut whole = session(None);
        let expected = render(&mut whole).expect("renders");
        let (networks, mixer) = networks(&whole);
        let needs = networks.needs(mixer.base(), SIZE);
        let [together, turns] = needs.totals();
        assert_eq!(whole.model_bytes(), needs.weights.iter().sum::<u64>());
        assert!(turns < together);
        for budget in [together - 1, turns] {
            let mut small = session(Some(budget));
            for _ in 0..2 {
                let found = render(&mut small).expect("renders in turns");
                assert!(
                    found.latents == expected.latents && found.pictures == expected.pictures,
                    "{budget} of {together}"
                );
                assert!(small.model_bytes() < whole.model_bytes());
            }
        }
        let mut smaller = session(Some(turns - 1));
        let why = render(&mut smaller).err().expect("refused");
        assert!(why.is_input() && why.to_string().contains("where its parts take turns"), "{why}");
        assert_eq!(smaller.model_bytes(), 0);
    }

    #[test]
    fn branches_run_one_by_one_before_parts_take_turns() {
        let mut recipe = Recipe::new("builtin");
        recipe.sample =
            Sample { prompt: Some("red apple".into()), steps: Some(2), batch: Some(8), ..Sample::default() };
        let (networks, mixer) = networks(&session(None));
        // Eight pictures: the U-Net's work is more than the VAE's, and half of it is less.
        let [all, one] = [16, 8].map(|n| networks.needs(mixer.base(), Size { n, h: 16, w: 16 }).totals()[0]);
        let mut found = [None, Some(all - 1), Some(one)].map(|memory| {
            let mut session = session(memory);
            let done = pollster::block_on(session.render(&recipe, &Given::default(), &mut Control::default()));
            (done.expect("renders"), session.model_bytes())
        });
        let whole = networks.needs(mixer.base(), SIZE).weights.iter().sum::<u64>();
        let [together, near, least] = &mut found;
        assert_eq!(together.0.batching, Some(Batching::Together));
        for (done, bytes) in [near, least] {
            assert_eq!((done.batching, *bytes), (Some(Batching::OneByOne), whole));
            let far = done.latents.iter().zip(&together.0.latents).map(|(a, b)| (a - b).abs()).fold(0.0, f32::max);
            // The same sums in batches of another size: kernels may cut them elsewhere.
            assert!(far <= 1e-5, "{far}");
        }
    }

    #[test]
    fn parts_beside_each_other_keep_to_the_budget() {
        let (networks_of_all, mixer) = networks(&session(None));
        let needs = networks_of_all.needs(mixer.base(), SIZE);
        let [_, least] = needs.totals();
        for budget in [least, least + needs.weights[Part::Decode as usize]] {
            let session = session(Some(budget));
            let (mut networks, mixer) = networks(&session);
            let mut control = Control::default();
            assert_eq!(pollster::block_on(networks.fill(&mixer, Most::at_once(SIZE), &mut control)).expect("plans"), 0);
            for part in [Part::Decode, Part::Text, Part::Denoise, Part::Decode, Part::Denoise] {
                pollster::block_on(networks.take_turn(part, &mut control)).expect("has room");
                assert!(networks.allocated[part as usize]);
                assert!(networks.bytes() + needs.work[part as usize] <= budget, "{part:?}");
            }
            networks.end_turns();
            assert!(networks.bytes() > 0);
        }
    }
}
