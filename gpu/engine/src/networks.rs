//! The networks of one checkpoint on the device, and the filling of their slots from a mix.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use admix_files::DType;
use admix_files::checkpoint::{Checkpoint, ModelFamily};
use admix_files::config::TinyVaeConfig;
use admix_files::safetensors::Index;
use admix_mix::Mixer;
use admix_model::preview::PreviewDecoder;
use admix_model::store::{Side, Store};
use admix_model::text::{Reading, TextEncoder};
use admix_model::tokenizer::Tokenizer;
use admix_model::unet::UNet;
use admix_model::vae::Vae;
use admix_tensor::kernels::{Pack, Picture as Size, Source, Weight};
use admix_tensor::{Gpu, Recorder};

use crate::EngineError;
use crate::control::{Control, Progress};

/// Tensors packed between two submissions: enough to keep the device busy, few enough to keep the sources' memory small.
const TENSORS_PER_SUBMISSION: usize = 24;

/// A text encoder and the tokenizer whose ids it reads.
pub struct Encoder {
    /// The network.
    pub text: TextEncoder,
    /// The checkpoint's own tokenizer, or CLIP's with the padding the model was trained with.
    pub tokenizer: Tokenizer,
}

/// A model on the device.
pub struct Networks {
    /// Slots of text encoders, U-Net and VAE.
    pub store: Store,
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
    /// What each slot was last filled with.
    filled: BTreeMap<String, String>,
}

impl Networks {
    /// Allocates everything the checkpoint's configurations describe; weights come with [`Networks::fill`].
    pub fn build(gpu: &Arc<Gpu>, checkpoint: &Checkpoint) -> Result<Networks, EngineError> {
        checkpoint.validate()?;
        checkpoint.check_renderable()?;
        let halves: BTreeSet<String> =
            checkpoint.tensors.iter().filter(|(_, t)| t.info.dtype == DType::F16).map(|(n, _)| n.clone()).collect();
        let mut store = Store::new(gpu, move |name| halves.contains(name));
        let config = checkpoint.unet.as_ref().ok_or_else(|| {
            EngineError::Input(format!("{} holds no U-Net, so it cannot make pictures", checkpoint.name))
        })?;
        let unet = UNet::new(&mut store, config)?;
        let xl = checkpoint.family == ModelFamily::Sdxl;
        let mut encoders = Vec::new();
        let second = checkpoint.text_encoder_2.as_ref().filter(|_| xl);
        for (name, config, files, pad) in [
            // Stable Diffusion 2 and XL's second encoder pad with "!" where 1 pads with the end token.
            (
                "text_encoder",
                checkpoint.text_encoder.as_ref(),
                &checkpoint.tokenizer,
                checkpoint.family == ModelFamily::Sd2,
            ),
            ("text_encoder_2", second, &checkpoint.tokenizer_2, true),
        ] {
            let Some(config) = config else { continue };
            let tokenizer = match files {
                Some(files) => Tokenizer::from_files(files)?,
                None if pad => Tokenizer::clip().with_pad("!"),
                None => Tokenizer::clip(),
            };
            encoders.push(Encoder { text: TextEncoder::new(&mut store, config, name)?, tokenizer });
        }
        let reading = Reading { skip: usize::from(xl), normed: !xl, pooled: xl };
        let zero_negative = xl && checkpoint.zero_empty_negative;
        let vae = match &checkpoint.vae {
            Some(config) => {
                let encoder = checkpoint.tensors.contains_key("vae.encoder.conv_in.weight");
                Some(Vae::new(&mut store, config, encoder)?)
            }
            None => None,
        };
        let (preview, filled) = (None, BTreeMap::new());
        Ok(Networks { store, encoders, reading, zero_negative, unet, vae, preview, filled })
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
        let gpu = self.store.gpu().clone();
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

    /// Brings every slot to what the mix says, touching only those whose ingredients changed since the last call.
    /// Returns how many tensors were packed.
    pub async fn fill(&mut self, mixer: &Mixer, control: &mut Control) -> Result<usize, EngineError> {
        let gpu = self.store.gpu().clone();
        let stale: Vec<String> = self
            .store
            .slots()
            .keys()
            .filter(|name| self.filled.get(*name) != Some(&mixer.fingerprint(name)))
            .cloned()
            .collect();
        for (batch, names) in stale.chunks(TENSORS_PER_SUBMISSION).enumerate() {
            control.report(Progress::Weights { done: batch * TENSORS_PER_SUBMISSION, total: stale.len() })?;
            let mut rec = Recorder::new(&gpu);
            for name in names {
                let Some(slot) = self.store.slots().get(name) else { continue };
                let effective = mixer.effective(name).await?;
                if !slot.accepts(&effective.shape) {
                    let what = format!(
                        "tensor {name} has the shape {:?}, but the configuration asks for {} elements as {:?}",
                        effective.shape,
                        slot.elements(),
                        slot.pack
                    );
                    return Err(EngineError::Input(what));
                }
                slot.fill(&mut rec, &effective.source)?;
                // Marked before the submission: an error below makes the caller drop this model.
                self.filled.insert(name.clone(), mixer.fingerprint(name));
            }
            rec.finish().submit();
            gpu.take_failure()?;
        }
        control.report(Progress::Weights { done: stale.len(), total: stale.len() })?;
        Ok(stale.len())
    }

    /// Puts the adapters that stay out of the weights beside their layers: y = W x + weight scale up(down(x)).
    /// Returns the part of the sampling range each such adapter acts in, by its number in the recipe.
    pub fn attach_side(&mut self, mixer: &Mixer) -> Result<BTreeMap<usize, (f64, f64)>, EngineError> {
        let gpu = self.store.gpu().clone();
        let mut ranges = BTreeMap::new();
        let mut rec = Recorder::new(&gpu);
        let mut layers = self.unet.layers_mut();
        for encoder in &mut self.encoders {
            layers.extend(encoder.text.layers_mut());
        }
        for layer in layers {
            layer.side.clear();
            for (name, column, out) in &layer.parts {
                for part in mixer.side_parts(&format!("{name}.weight")) {
                    ranges.insert(part.adapter, part.range);
                    let (kernel, k) = (layer.weight.kernel, layer.weight.k);
                    let f = &part.factors;
                    let down_pack = Pack { out: f.rank, inp: k, kernel, glu: false };
                    let down = Weight::empty(&gpu, "adapter down", &[down_pack], false)?;
                    rec.pack(&Source::f32(&gpu, "adapter down", &f.down)?, down_pack, &down, 0)?;
                    // As wide as the layer, zero outside the adapted part; new buffers hold zeros.
                    let up_pack = Pack { glu: layer.glu, ..Pack::linear(*out, f.rank) };
                    let wide = Pack::linear(layer.weight.n, f.rank);
                    let up = Weight::empty(&gpu, "adapter up", &[wide], false)?;
                    rec.pack(&Source::f32(&gpu, "adapter up", &f.up)?, up_pack, &up, *column)?;
                    let scale = (f.scale * part.weight) as f32;
                    layer.side.push(Side { down, up, scale, adapter: part.adapter, active: true });
                }
            }
        }
        rec.finish().submit();
        Ok(ranges)
    }

    /// Chooses which un-merged adapters take part in what is recorded next.
    pub fn set_active(&mut self, is_active: impl Fn(usize) -> bool) {
        for side in self.unet.layers_mut().into_iter().flat_map(|l| &mut l.side) {
            side.active = is_active(side.adapter);
        }
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
