//! burn-wgpu beside Admix: the same products, convolutions and attention, on the same wgpu device, with the same numbers.
//!
//! burn opens the device and Admix's kernels join it ([`Gpu::from_parts`]), so neither has limits or features that the other lacks. burn is
//! an oracle too: the two share no line of a kernel, and have to agree.

mod ours;
mod theirs;
pub mod work;

use std::sync::Arc;

use admix_tensor::{Gpu, TensorError, Tier};
use burn_wgpu::graphics::AutoGraphicsApi;
use burn_wgpu::{RuntimeOptions, WgpuDevice, WgpuSetup, try_init_setup};
use web_time::Instant;

use work::Work;

/// Why there is nothing to compare.
#[derive(Debug, thiserror::Error)]
pub enum PeerError {
    /// burn found no device.
    #[error("burn-wgpu opens no device: {0}")]
    NoDevice(String),
    /// burn's kernel failed.
    #[error("burn-wgpu fails at {what}: {reason}")]
    Theirs {
        /// The work.
        what: String,
        /// burn's own words.
        reason: String,
    },
    /// Ours failed.
    #[error(transparent)]
    Ours(#[from] TensorError),
}

/// A device that both use.
pub struct Peers {
    setup: WgpuSetup,
    gpu: Arc<Gpu>,
    device: theirs::Device,
}

/// One piece of work done by both.
#[derive(Clone, Copy, Debug)]
pub struct Compared {
    /// Median seconds of ours.
    pub ours: f64,
    /// Median seconds of burn's.
    pub theirs: f64,
    /// Relative L2 distance between the results.
    pub distance: f64,
}

impl Peers {
    /// Opens a device through burn, once in a process. Errors: [`PeerError::NoDevice`].
    pub fn open() -> Result<Peers, PeerError> {
        let device = WgpuDevice::default();
        let options = RuntimeOptions::try_default().map_err(|e| PeerError::NoDevice(e.to_string()))?;
        let setup =
            try_init_setup::<AutoGraphicsApi>(&device, options).map_err(|e| PeerError::NoDevice(e.to_string()))?;
        Ok(Peers { gpu: join(&setup, None), setup, device: device.into() })
    }

    /// The same device with our kernels of another family.
    pub fn with_tier(&self, tier: Tier) -> Peers {
        Peers { gpu: join(&self.setup, Some(tier)), setup: self.setup.clone(), device: self.device.clone() }
    }

    /// The device's name.
    pub fn name(&self) -> String {
        self.gpu.name()
    }

    /// Does a small `work` with both and with the host. Errors: either of them fails.
    pub fn check(&self, work: Work) -> Result<FromHost, PeerError> {
        let inputs = work.inputs();
        let expected = work.on_host(&inputs);
        let ours = ours::Prepared::new(&self.gpu, work, &inputs)?.result()?;
        let theirs = theirs::Prepared::new(&self.device, work, &inputs).result()?;
        Ok(FromHost { ours: distance(&ours, &expected), theirs: distance(&theirs, &expected) })
    }

    /// Does `work` with both. `samples` timings of each, one after the other in turns, so that a busy machine hurts both alike. Errors: either
    /// of them fails.
    pub fn compare(&self, work: Work, samples: usize) -> Result<Compared, PeerError> {
        let inputs = work.inputs();
        let ours = ours::Prepared::new(&self.gpu, work, &inputs)?;
        let theirs = theirs::Prepared::new(&self.device, work, &inputs);
        // Compiling, and burn's choice between its kernels, come before the clock starts.
        let distance = distance(&ours.result()?, &theirs.result()?);
        let (mut own, mut other) = (Vec::new(), Vec::new());
        for _ in 0..samples {
            own.push(timed(|| ours.run())?);
            other.push(timed(|| theirs.run())?);
        }
        Ok(Compared { ours: median(own), theirs: median(other), distance })
    }
}

/// Relative L2 distances of a result from the host's.
#[derive(Clone, Copy, Debug)]
pub struct FromHost {
    /// Of ours.
    pub ours: f64,
    /// Of burn's.
    pub theirs: f64,
}

fn join(setup: &WgpuSetup, tier: Option<Tier>) -> Arc<Gpu> {
    Gpu::from_parts(&setup.adapter, setup.device.clone(), setup.queue.clone(), tier)
}

/// Seconds of one run among as many as the clock needs.
fn timed(mut run: impl FnMut() -> Result<(), PeerError>) -> Result<f64, PeerError> {
    let (start, mut runs) = (Instant::now(), 0);
    while runs == 0 || start.elapsed().as_secs_f64() < 0.1 {
        run()?;
        runs += 1;
    }
    Ok(start.elapsed().as_secs_f64() / f64::from(runs))
}

fn median(mut seconds: Vec<f64>) -> f64 {
    seconds.sort_by(f64::total_cmp);
    seconds.get(seconds.len() / 2).copied().unwrap_or_default()
}

/// Relative L2 distance, sums in f64; infinite where the lengths differ.
fn distance(found: &[f32], expected: &[f32]) -> f64 {
    if found.len() != expected.len() {
        return f64::INFINITY;
    }
    let square = |v: f64| v * v;
    let difference: f64 = found.iter().zip(expected).map(|(a, b)| square(f64::from(*a) - f64::from(*b))).sum();
    let norm: f64 = expected.iter().map(|b| square(f64::from(*b))).sum();
    (difference / norm).sqrt()
}
