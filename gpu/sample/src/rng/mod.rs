//! Seeds to noise, number for number as other programs draw it.

mod philox;
mod torch;
mod variation;

pub use philox::Philox;
pub use torch::TorchCpu;
pub use variation::{Variation, slerp};

use crate::{Result, SampleError};

/// Whose noise a seed means.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Kind {
    /// torch's CPU generator, one per picture: picture i of a batch has seed + i (diffusers with a list of generators, A1111 with RNG: CPU).
    #[default]
    Cpu,
    /// CUDA's Philox as A1111's `NV` computes it, one per picture with seed + i.
    Nv,
    /// torch's CPU generator, one draw for the whole batch (ComfyUI).
    Comfy,
}

impl Kind {
    /// Names on the command line.
    pub const NAMES: [&'static str; 3] = ["cpu", "nv", "comfy"];

    /// As typed.
    pub fn from_name(name: &str) -> Option<Kind> {
        match name.trim().to_ascii_lowercase().as_str() {
            "cpu" => Some(Kind::Cpu),
            "nv" => Some(Kind::Nv),
            "comfy" => Some(Kind::Comfy),
            _ => None,
        }
    }

    /// As typed.
    ///
    /// # Errors
    /// No generator of that name.
    pub fn parse(name: &str) -> Result<Kind> {
        Kind::from_name(name).ok_or_else(|| SampleError::Unknown {
            kind: "rng",
            name: name.to_owned(),
            known: Kind::NAMES.join(", "),
        })
    }

    /// As typed.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Cpu => "cpu",
            Kind::Nv => "nv",
            Kind::Comfy => "comfy",
        }
    }
}

#[derive(Clone, Debug)]
enum Generators {
    PerPictureTorch(Vec<TorchCpu>),
    PerPicturePhilox(Vec<Philox>),
    OneTorch(Box<TorchCpu>),
}

/// The draws of a run, in order: the initial noise first, then what ancestral samplers ask for.
#[derive(Clone, Debug)]
pub struct Stream {
    generators: Generators,
    batch: usize,
    per_picture: usize,
    /// The first draw, where it is not the generators' own.
    first: Option<Vec<f32>>,
}

impl Stream {
    /// For `batch` pictures of `per_picture` latent values (c * h * w).
    pub fn new(kind: Kind, seed: u64, batch: usize, per_picture: usize) -> Stream {
        Stream::with_seeds(kind, seed, batch, per_picture, 1)
    }

    /// The same with one seed for every picture.
    fn shared(kind: Kind, seed: u64, batch: usize, per_picture: usize) -> Stream {
        Stream::with_seeds(kind, seed, batch, per_picture, 0)
    }

    /// For pictures of `chw` = [c, h, w] latents whose first noise is varied.
    pub fn varied(kind: Kind, seed: u64, batch: usize, chw: [usize; 3], variation: &Variation) -> Stream {
        if variation.is_off() {
            return Stream::new(kind, seed, batch, chw.iter().product());
        }
        variation::stream(kind, seed, batch, chw, variation)
    }

    fn with_seeds(kind: Kind, seed: u64, batch: usize, per_picture: usize, step: u64) -> Stream {
        let seeds = (0..batch as u64).map(|i| seed.wrapping_add(i * step));
        let generators = match kind {
            Kind::Cpu => Generators::PerPictureTorch(seeds.map(TorchCpu::new).collect()),
            Kind::Nv => Generators::PerPicturePhilox(seeds.map(Philox::new).collect()),
            Kind::Comfy => Generators::OneTorch(Box::new(TorchCpu::new(seed))),
        };
        Stream { generators, batch, per_picture, first: None }
    }

    /// The next draw: unit Gaussian, [batch, c, h, w] in row-major order.
    #[allow(clippy::should_implement_trait)] // An endless stream; an Iterator's Option would only be unwrapped.
    pub fn next(&mut self) -> Vec<f32> {
        if let Some(first) = self.first.take() {
            return first;
        }
        match &mut self.generators {
            Generators::PerPictureTorch(all) => all.iter_mut().flat_map(|g| g.randn(self.per_picture)).collect(),
            Generators::PerPicturePhilox(all) => all.iter_mut().flat_map(|g| g.randn(self.per_picture)).collect(),
            Generators::OneTorch(one) => one.randn(self.batch * self.per_picture),
        }
    }
}

/// The initial noise of a batch, [batch, c, h, w] for `chw` = [c, h, w].
pub fn noise(kind: Kind, seed: u64, batch: usize, chw: [usize; 3]) -> Vec<f32> {
    Stream::new(kind, seed, batch, chw.iter().product()).next()
}
