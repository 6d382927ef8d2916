//! How fast merges are on this device, beside what the device needs to move the same bytes.

use std::sync::Arc;

use admix_tensor::{Gpu, Launch, Recorder, Tensor, Tier};
use web_time::Instant;

use crate::MixError;
use crate::flat::{Flat, Kind};
use crate::method::{Inputs, Method, Settings, method};
use crate::recipe::Knobs;

/// A measured merge of one tensor.
#[derive(Clone, Debug)]
pub struct Figure {
    /// Method and input type, such as `weighted_sum f16`.
    pub name: String,
    /// Seconds of the best run.
    pub seconds: f64,
    /// Bytes that must move: every input once and the result once.
    pub bytes: u64,
    /// Kernel calls.
    pub dispatches: usize,
}

impl Figure {
    /// Bytes that must move over the time it took, in 1e9 bytes a second.
    pub fn gbps(&self) -> f64 {
        self.bytes as f64 / self.seconds / 1e9
    }
}

/// How fast the device moves bytes, in 1e9 bytes a second, reads and writes both counted.
#[derive(Clone, Copy, Debug)]
pub struct CopySpeed {
    /// By a shader that loads and stores every word: what kernels can reach.
    pub shader: f64,
    /// By the device's own buffer copy (on software adapters a memcpy, which no shader can match).
    pub transfer: f64,
}

/// Seconds of the best of `runs` runs of what `record` records, and its kernel calls. The first run, which compiles, does not count.
async fn best(
    gpu: &Arc<Gpu>,
    runs: usize,
    record: impl Fn(&mut Recorder) -> Result<(), MixError>,
) -> Result<(f64, usize), MixError> {
    let mut rec = Recorder::new(gpu);
    record(&mut rec)?;
    let program = rec.finish();
    let mut least = f64::INFINITY;
    for run in 0..=runs {
        let start = Instant::now();
        program.submit();
        gpu.finished().await?;
        if run > 0 {
            least = least.min(start.elapsed().as_secs_f64());
        }
    }
    Ok((least, program.dispatches()))
}

/// Where the time of one merge goes: (shader, calls, seconds), longest first, of one f16 tensor of `elements`.
#[cfg(not(target_arch = "wasm32"))]
pub fn profile(gpu: &Arc<Gpu>, name: &str, elements: usize) -> Result<Vec<(&'static str, usize, f64)>, MixError> {
    let method = method(name)?;
    let count = 2.min(*method.models().end());
    let tensors: Vec<Flat> = (0..3).map(|seed| filled(gpu, elements, Kind::F16, seed)).collect::<Result<_, _>>()?;
    let out = Flat::empty(gpu, "merged", elements, Kind::F16)?;
    let models: Vec<&Flat> = tensors[1..=count].iter().collect();
    let (knobs, model_knobs, none) = (Knobs::new(), bench_knobs(method), vec![None; count]);
    let settings = Settings {
        name: "bench",
        shape: &[elements],
        weights: vec![0.4; count],
        knobs: &knobs,
        model_knobs: vec![&model_knobs; count],
        seed: 1,
        facts: None,
    };
    let inputs = Inputs { base: &tensors[0], origin: None, models: &models, minus: &none, uniforms: &[], known: None };
    let mut rec = Recorder::new(gpu);
    method.record(&mut rec, &inputs, &settings, &out)?;
    let program = rec.finish();
    program.submit();
    Ok(program.profile(3))
}

/// Measures the device's copy speed over buffers of `elements` f32.
pub async fn copy_speed(gpu: &Arc<Gpu>, elements: usize, runs: usize) -> Result<CopySpeed, MixError> {
    let from = Tensor::empty(gpu, "copy from", 1, elements)?;
    let to = Tensor::empty(gpu, "copy to", 1, elements)?;
    let bytes = from.bytes();
    let groups = (elements / 4) as u32;
    let mut shader = f64::INFINITY;
    // The best of several shapes: what suits the adapter is not known beforehand.
    let shapes: &[(u32, u32)] =
        if gpu.tier == Tier::Cpu { &[(8, 4), (8, 8), (16, 8)] } else { &[(64, 1), (64, 4), (256, 1)] };
    for &(lanes, per_lane) in shapes {
        let workgroups = groups.div_ceil(lanes * per_lane);
        let row = workgroups.clamp(1, 32_768);
        let (seconds, _) = best(gpu, runs, |rec| {
            rec.launch(Launch {
                shader: "mix/copy",
                defines: &[("WG", lanes), ("GROUPS", per_lane)],
                params: &[groups, row, 0, 0],
                reads: &[&from],
                writes: &[&to],
                groups: [row, workgroups.div_ceil(row), 1],
            })?;
            Ok(())
        })
        .await?;
        shader = shader.min(seconds);
    }
    let (transfer, _) = best(gpu, runs, |rec| {
        rec.copy(&from, 0, &to, 0, bytes);
        Ok(())
    })
    .await?;
    let speed = |seconds: f64| 2.0 * bytes as f64 / seconds / 1e9;
    Ok(CopySpeed { shader: speed(shader), transfer: speed(transfer) })
}

/// Settings every measured method gets: even weights, density 0.3 where there is one.
fn bench_knobs(method: &dyn Method) -> Knobs {
    method.model_knobs().iter().filter(|k| k.name == "density").map(|k| (k.name.to_string(), 0.3.into())).collect()
}

/// Seconds that the methods of `names` take for tensors of the given sizes, f32, one after another in one recording: what a whole model takes.
pub async fn model(
    gpu: &Arc<Gpu>,
    names: &[&str],
    sizes: &[usize],
    runs: usize,
) -> Result<Vec<(String, f64)>, MixError> {
    let mut tensors = Vec::new();
    for (i, size) in sizes.iter().enumerate() {
        let four: Vec<Flat> =
            (0..3).map(|seed| filled(gpu, *size, Kind::F32, 3 * i as u32 + seed)).collect::<Result<_, _>>()?;
        let out = Flat::empty(gpu, "merged", *size, Kind::F32)?;
        tensors.push((four, out));
    }
    let mut all = Vec::new();
    for name in names {
        let method = method(name)?;
        let count = 2.min(*method.models().end());
        let (knobs, model_knobs) = (Knobs::new(), bench_knobs(method));
        let none = vec![None; count];
        let (seconds, _) = best(gpu, runs, |rec| {
            for (inputs, out) in &tensors {
                let models: Vec<&Flat> = inputs[1..=count].iter().collect();
                let settings = Settings {
                    name: "bench",
                    shape: &[out.len],
                    weights: vec![0.4; count],
                    knobs: &knobs,
                    model_knobs: vec![&model_knobs; count],
                    seed: 1,
                    facts: None,
                };
                let inputs = Inputs {
                    base: &inputs[0],
                    origin: None,
                    models: &models,
                    minus: &none,
                    uniforms: &[],
                    known: None,
                };
                method.record(rec, &inputs, &settings, out)?;
            }
            Ok(())
        })
        .await?;
        all.push((name.to_string(), seconds));
    }
    Ok(all)
}

/// Measures the merge of one tensor of `elements` (models of f32 and of f16) by each method of `names`.
pub async fn merges(gpu: &Arc<Gpu>, names: &[&str], elements: usize, runs: usize) -> Result<Vec<Figure>, MixError> {
    let mut figures = Vec::new();
    for kind in [Kind::F32, Kind::F16] {
        let tensors: Vec<Flat> = (0..3).map(|seed| filled(gpu, elements, kind, seed)).collect::<Result<_, _>>()?;
        let out = Flat::empty(gpu, "merged", elements, kind)?;
        for name in names {
            let method = method(name)?;
            let count = 2.min(*method.models().end());
            let models: Vec<&Flat> = tensors[1..=count].iter().collect();
            let knobs = Knobs::new();
            let model_knobs = bench_knobs(method);
            let settings = Settings {
                name: "bench",
                shape: &[elements],
                weights: vec![0.4; count],
                knobs: &knobs,
                model_knobs: vec![&model_knobs; count],
                seed: 1,
                facts: None,
            };
            let none = vec![None; count];
            let inputs =
                Inputs { base: &tensors[0], origin: None, models: &models, minus: &none, uniforms: &[], known: None };
            let (seconds, dispatches) = best(gpu, runs, |rec| method.record(rec, &inputs, &settings, &out)).await?;
            figures.push(Figure {
                name: format!("{name} {}", if kind == Kind::F16 { "f16" } else { "f32" }),
                seconds,
                bytes: ((count + 2) * elements * kind.size()) as u64,
                dispatches,
            });
        }
    }
    Ok(figures)
}

/// Nearly normal numbers, as weights are, small around a common part.
fn filled(gpu: &Arc<Gpu>, elements: usize, kind: Kind, seed: u32) -> Result<Flat, MixError> {
    let noise =
        |stream: u32, i: u32| -> f32 { (0..3).map(|k| crate::random::uniform(stream, k, i)).sum::<f32>() - 1.5 };
    // One block over and over: making millions of numbers on the host would take longer than measuring.
    let block: Vec<f32> =
        (0..65_536.min(elements as u32)).map(|i| 0.05 * noise(9, i) + 0.01 * noise(seed, i)).collect();
    let values: Vec<f32> = block.iter().copied().cycle().take(elements).collect();
    Ok(match kind {
        Kind::F16 => {
            let bytes: Vec<u8> = values.iter().flat_map(|v| half::f16::from_f32(*v).to_le_bytes()).collect();
            Flat::upload(gpu, "bench", &bytes, kind)?
        }
        _ => Flat::upload_f32(gpu, "bench", &values)?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_method_can_be_measured() {
        for gpu in crate::testing::devices() {
            let copy = pollster::block_on(copy_speed(&gpu, 4096, 1)).expect("measures");
            assert!(copy.shader > 0.0 && copy.transfer > 0.0);
            let names: Vec<&str> = crate::method::methods().iter().filter(|m| !m.on_host()).map(|m| m.name()).collect();
            let figures = pollster::block_on(merges(&gpu, &names, 4096, 1)).expect("measures");
            assert_eq!(figures.len(), 2 * names.len());
            assert!(figures.iter().all(|f| f.gbps() > 0.0 && f.dispatches > 0));
        }
    }
}
