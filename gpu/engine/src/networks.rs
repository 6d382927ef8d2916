//! The networks of one checkpoint on the device, and the filling of their slots from a mix.

mod turns;

use std::collections::{BTreeMap, BTreeSet};
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;

use admix_files::checkpoint::{Checkpoint, ModelFamily};
use admix_files::config::TinyVaeConfig;
use admix_files::safetensors::Index;
use admix_mix::Mixer;
use admix_model::preview::PreviewDecoder;
use admix_model::store::Store;
use admix_model::text::{Reading, TextEncoder};
use admix_model::tokenizer::Tokenizer;
use admix_model::unet::UNet;
use admix_model::vae::Vae;
use admix_tensor::kernels::{Picture as Size, Source};
use admix_tensor::{Gpu, Recorder};

use crate::EngineError;
use crate::beside::Beside;
use crate::conditioning::Text;
use crate::control::{Control, Progress};
use crate::decode::Pass;
use crate::feed::Feed;
use crate::guides::Batching;
use crate::kept::Kept;
use crate::pool::Pool;
use turns::Turns;
pub(crate) use turns::{Most, Part};

/// Bytes of sources packed between two submissions: enough to keep the device busy, little enough to keep its memory small.
const BYTES_PER_SUBMISSION: u64 = 64 << 20;

/// Encoded texts that stay at hand: 77 tokens of SDXL have 600 KB.
const MOST_TEXTS: usize = 32;

/// A text encoder and the tokenizer whose ids it reads.
pub struct Encoder {
    /// The component's name: `text_encoder` or `text_encoder_2`.
    pub name: &'static str,
    /// The network.
    pub text: TextEncoder,
    /// The checkpoint's own tokenizer, or CLIP's with the padding the model was trained with.
    pub tokenizer: Tokenizer,
}

/// A model on the device.
pub struct Networks {
    gpu: Arc<Gpu>,
    /// What the checkpoint was taken for.
    pub(crate) family: ModelFamily,
    /// Tensors that f16 holds as exactly as the file does, and that are so on the device.
    halves: Arc<BTreeSet<String>>,
    /// Slots by [`Part`].
    stores: [Store; 3],
    /// Which of them have memory.
    pub(crate) allocated: [bool; 3],
    /// In the order in which their states are joined: none in checkpoints that hold only a U-Net or VAE, one in Stable Diffusion 1 and 2, two
    /// in XL.
    pub encoders: Vec<Encoder>,
    /// What the model was trained to read of its text encoders. A clip-skip reads no later layer than this.
    pub reading: Reading,
    /// An empty negative prompt stands for zeros (SDXL).
    pub zero_negative: bool,
    /// The denoiser.
    pub unet: UNet,
    /// The autoencoder.
    pub vae: Option<Vae>,
    /// A small decoder for previews, where the model ships one.
    pub preview: Option<(Store, PreviewDecoder)>,
    /// Recorded passes of the decoders at the size they were last used at.
    pub(crate) preview_pass: Pass,
    pub(crate) decode_pass: Pass,
    /// Encoded texts, by everything they depend on.
    pub(crate) texts: Kept<Text>,
    /// An adapter acts beside the text encoders' weights.
    pub(crate) is_text_steered: bool,
    /// Errors the device had reported when this was made.
    failures: u64,
    /// What each slot was last filled with.
    filled: BTreeMap<String, String>,
    /// Set while the parts take turns on the device.
    turns: Option<Turns>,
    /// Adapters that stay out of the weights.
    pub(crate) beside: Beside,
    /// The device has no room for all branches of guidance at once.
    pub(crate) one_by_one: bool,
    /// How they ran last.
    pub(crate) batching: Option<Batching>,
}

fn text_config<'a>(checkpoint: &'a Checkpoint, name: &str) -> Option<&'a admix_files::config::TextConfig> {
    if name == "text_encoder" { checkpoint.text_encoder.as_ref() } else { checkpoint.text_encoder_2.as_ref() }
}

fn new_vae(store: &mut Store, checkpoint: &Checkpoint) -> Result<Option<Vae>, EngineError> {
    let Some(config) = &checkpoint.vae else { return Ok(None) };
    let encoder = checkpoint.tensors.contains_key("vae.encoder.conv_in.weight");
    Ok(Some(Vae::new(store, config, encoder)?))
}

fn new_unet(store: &mut Store, checkpoint: &Checkpoint) -> Result<UNet, EngineError> {
    let config = checkpoint
        .unet
        .as_ref()
        .ok_or_else(|| EngineError::Input(format!("{} holds no U-Net, so it cannot make pictures", checkpoint.name)))?;
    Ok(UNet::new(store, config)?)
}

impl Networks {
    /// Lays out everything the checkpoint's configurations describe, without memory yet: that and the weights come with [`Networks::fill`].
    pub fn build(gpu: &Arc<Gpu>, checkpoint: &Checkpoint) -> Result<Networks, EngineError> {
        checkpoint.validate()?;
        checkpoint.check_renderable()?;
        let exact = checkpoint.tensors.iter().filter(|(_, t)| t.info.dtype.is_exact_in_f16());
        let halves: BTreeSet<String> = exact.map(|(name, _)| name.clone()).collect();
        let halves = Arc::new(halves);
        let planned = || -> Result<Store, EngineError> {
            let halves = halves.clone();
            Ok(Store::planned(gpu, move |name| halves.contains(name))?)
        };
        let mut stores = [planned()?, planned()?, planned()?];
        let [text_store, unet_store, vae_store] = &mut stores;
        let unet = new_unet(unet_store, checkpoint)?;
        let xl = checkpoint.family == ModelFamily::Sdxl;
        let mut encoders = Vec::new();
        for (name, files, pad) in [
            // Stable Diffusion 2 and XL's second encoder pad with "!" where 1 pads with the end token.
            ("text_encoder", &checkpoint.tokenizer, checkpoint.family == ModelFamily::Sd2),
            ("text_encoder_2", &checkpoint.tokenizer_2, true),
        ] {
            let Some(config) = text_config(checkpoint, name).filter(|_| xl || name == "text_encoder") else { continue };
            let tokenizer = match files {
                Some(files) => Tokenizer::from_files(files)?,
                None if pad => Tokenizer::clip().with_pad("!"),
                None => Tokenizer::clip(),
            };
            encoders.push(Encoder { name, text: TextEncoder::new(text_store, config, name)?, tokenizer });
        }
        let vae = new_vae(vae_store, checkpoint)?;
        Ok(Networks {
            gpu: gpu.clone(),
            family: checkpoint.family,
            halves,
            stores,
            allocated: [false; 3],
            encoders,
            reading: Reading { skip: usize::from(xl), normed: !xl, pooled: xl },
            zero_negative: xl && checkpoint.zero_empty_negative,
            unet,
            vae,
            preview: None,
            preview_pass: Pass::default(),
            decode_pass: Pass::default(),
            texts: Kept::new(MOST_TEXTS),
            is_text_steered: false,
            failures: gpu.failures(),
            filled: BTreeMap::new(),
            turns: None,
            beside: Beside::new(Pool::new(gpu)),
            one_by_one: false,
            batching: None,
        })
    }

    /// The device.
    pub fn gpu(&self) -> &Arc<Gpu> {
        &self.gpu
    }

    /// Whether the device has reported no error since this was made: what it was given before one may have come to nothing.
    pub(crate) fn is_sound(&self) -> bool {
        self.failures == self.gpu.failures()
    }

    /// Bytes of weights on the device.
    pub fn bytes(&self) -> u64 {
        (0..3).filter(|i| self.allocated[*i]).map(|i| self.stores[i].bytes()).sum()
    }

    /// Bytes beside the weights for intermediate results, where that is known.
    pub(crate) fn free(&self) -> Option<u64> {
        self.gpu.memory(self.bytes()).map(|all| all.saturating_sub(self.bytes()))
    }

    /// Loads the small decoder that a model folder may ship as `preview_decoder` (diffusers' `AutoencoderTiny`). A damaged one is an error; a
    /// missing one only means no previews.
    pub async fn load_preview(&mut self, checkpoint: &Checkpoint) -> Result<(), EngineError> {
        let bundle = checkpoint.bundle();
        let (config, weights) = ("preview_decoder/config.json", "preview_decoder/diffusion_pytorch_model.safetensors");
        let (Some(text), Some(source)) = (bundle.text(config).await?, bundle.get(weights)) else { return Ok(()) };
        let config = TinyVaeConfig::from_json(&bundle.path_of(config), &text)?;
        config.check_supported()?;
        let file = bundle.path_of(weights);
        let index = Index::read(source.as_ref(), &file).await?;
        let gpu = self.gpu.clone();
        let mut store = Store::new(&gpu, |_| false);
        let decoder = PreviewDecoder::new(&mut store, &config)?;
        let mut rec = Recorder::new(&gpu);
        for (name, slot) in store.slots() {
            let key = name.trim_start_matches("preview.");
            let info = index.tensors.get(key).filter(|i| slot.accepts(&i.shape));
            let info = info
                .ok_or_else(|| EngineError::Input(format!("{file}: tensor {key} is missing or has the wrong shape")))?;
            let data = info.dtype.decode_f32(&source.read(info.range.clone()).await?);
            slot.fill(&mut rec, &Source::f32(&gpu, key, &data)?)?;
        }
        rec.finish().submit();
        self.preview = Some((store, decoder));
        Ok(())
    }

    /// Brings every slot that has memory to what the mix says, touching only those whose ingredients changed since the last call.
    /// Returns how many tensors were packed.
    async fn fill_stale(&mut self, mixer: &Mixer, control: &mut Control) -> Result<usize, EngineError> {
        let stores = self.stores.iter().zip(self.allocated).filter(|(_, allocated)| *allocated);
        let names = stores.flat_map(|(store, _)| store.slots().keys());
        let stale: Vec<String> =
            names.filter(|name| self.filled.get(*name) != Some(&mixer.fingerprint(name))).cloned().collect();
        let gpu = self.gpu.clone();
        let mut feed = Feed::new(&gpu, mixer.base());
        let mut rec = Recorder::new(&gpu);
        let (mut pending, mut recorded) = (0, Vec::new());
        for (done, name) in stale.iter().enumerate() {
            if done % 16 == 0 {
                control.report(Progress::Weights { done, total: stale.len() })?;
            }
            pending += self.fill_slot(mixer, name, &mut feed, &mut rec).await?;
            recorded.push((name.clone(), mixer.fingerprint(name)));
            if pending >= BYTES_PER_SUBMISSION {
                let rec = std::mem::replace(&mut rec, Recorder::new(&gpu));
                self.submit_fills(rec, &mut recorded, &mut feed).await?;
                pending = 0;
            }
        }
        if !recorded.is_empty() {
            self.submit_fills(rec, &mut recorded, &mut feed).await?;
        }
        control.report(Progress::Weights { done: stale.len(), total: stale.len() })?;
        Ok(stale.len())
    }

    /// Carries out what was recorded for these slots. Until the device has done it without a failure they hold nothing that is known: a slot that
    /// was half written, or ran out of memory, is filled again by the next render.
    async fn submit_fills(
        &mut self,
        rec: Recorder,
        recorded: &mut Vec<(String, String)>,
        feed: &mut Feed<'_>,
    ) -> Result<(), EngineError> {
        recorded.iter().for_each(|(name, _)| drop(self.filled.remove(name)));
        rec.finish().submit();
        feed.flush().await?;
        self.filled.extend(recorded.drain(..));
        Ok(())
    }

    /// Records the packing of one tensor; returns the bytes of its source on the device.
    async fn fill_slot(
        &self,
        mixer: &Mixer,
        name: &str,
        feed: &mut Feed<'_>,
        rec: &mut Recorder,
    ) -> Result<u64, EngineError> {
        let Some(slot) = self.stores.iter().find_map(|s| s.slots().get(name)) else { return Ok(0) };
        let tensor = mixer.base().tensor(name)?;
        let refuse = |shape: &[usize]| {
            EngineError::Input(format!(
                "tensor {name} has the shape {shape:?}, but the configuration asks for {} elements as {:?}",
                slot.elements(),
                slot.pack
            ))
        };
        if mixer.is_touched(name) || mixer.dtype().is_some_and(|dtype| dtype != tensor.info.dtype) {
            let effective = mixer.effective(name).await?;
            if !slot.accepts(&effective.shape) {
                return Err(refuse(&effective.shape));
            }
            slot.fill(rec, &effective.source)?;
            return Ok(effective.source.data.bytes());
        }
        if !slot.accepts(&tensor.shape) {
            return Err(refuse(&tensor.shape));
        }
        let mut bytes = 0;
        if slot.more.is_empty() {
            let source = feed.source(name, 0..tensor.elements()).await?;
            slot.fill(rec, &source)?;
            bytes = source.data.bytes();
        } else {
            for (first, rows) in slot.row_pieces() {
                let cols = slot.pack.out;
                let source = feed.source(name, first * cols..(first + rows) * cols).await?;
                slot.fill_rows(rec, &source, first, rows)?;
                bytes += source.data.bytes();
            }
        }
        Ok(bytes)
    }

    /// Names the text encoders' weights as they are now; none where adapters act beside them, or where they come and go.
    pub(crate) fn text_state(&self) -> Option<u64> {
        let mut hasher = DefaultHasher::new();
        for name in self.stores[Part::Text as usize].slots().keys() {
            (name, self.filled.get(name)).hash(&mut hasher);
        }
        (!self.is_text_steered && self.turns.is_none()).then(|| hasher.finish())
    }

    /// Latent size of a picture. Errors: sizes that are no multiple of the VAE's factor.
    pub fn latent_size(&self, n: usize, width: usize, height: usize) -> Result<Size, EngineError> {
        let factor = self.factor();
        if width == 0 || height == 0 || !width.is_multiple_of(factor) || !height.is_multiple_of(factor) {
            return Err(EngineError::Input(format!(
                "the size {width}x{height} does not work: both edges must be multiples of {factor}"
            )));
        }
        Ok(Size { n, h: height / factor, w: width / factor })
    }

    /// Pixels per latent cell along an edge (8 where no VAE says otherwise).
    pub fn factor(&self) -> usize {
        self.vae.as_ref().map_or(8, Vae::factor)
    }
}
