//! This machine's figures, each beside the device's own limit: what `admix bench` shows.
//!
//! Limits are measured first: copying a large buffer in a shader (bandwidth counts what is read and what is written), and multiply-adds in registers.
//! Every figure is the median of several warm samples; a sample repeats short work until the clock can tell it.

mod adapters;
mod cards;
mod knobs;
mod live;
mod work;

use std::sync::Arc;

use admix_mix::flat::{Flat, Kind};
use admix_mix::method::{Inputs, Settings, method};
use admix_mix::recipe::{Knobs, Recipe, Sample};
use admix_tensor::kernels::attention::{Heads, Operand};
use admix_tensor::kernels::{Activation, Epilogue, Pack, Picture as Size, Source, Weight};
use admix_tensor::{Gpu, Launch, Program, Recorder, Tensor, Tier};
use serde::Serialize;
use web_time::Instant;

use crate::networks::Networks;
use crate::{Control, EngineError, Given, Session};

/// The device's own limits.
#[derive(Clone, Copy, Debug, Serialize)]
pub struct Limits {
    /// Multiply-adds in registers, 10^9 operations a second (a multiply-add is two).
    pub gflops: f64,
    /// Copying by a shader, 10^9 bytes a second, read and written bytes together: what any kernel can reach.
    pub gbps: f64,
    /// The copy command, likewise. Software adapters carry it out as one `memcpy`, which no shader of theirs comes near.
    #[serde(skip)]
    pub copy_command_gbps: f64,
}

/// One measured figure.
#[derive(Clone, Debug, Serialize)]
pub struct Figure {
    /// What was measured.
    pub name: String,
    /// How much of it.
    pub value: f64,
    /// `GFLOP/s`, `GB/s`, `ms`, `s`, `%`, `MB` or `calls`.
    pub unit: &'static str,
    /// The device's limit for this kind of work, in the same unit, where there is one.
    pub limit: Option<f64>,
    /// Share of the limit that is reached: `value / limit`, for times `limit / value`.
    pub ratio: Option<f64>,
    /// Time of one call in milliseconds, where the value is a rate.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ms: Option<f64>,
    /// Kernel calls, where the work is a program.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub dispatches: Option<usize>,
    /// Share of the matrix product's own rate, for convolutions.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub of_matmul: Option<f64>,
    /// Sizes, in words.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub what: String,
}

impl Figure {
    fn new(name: &str, value: f64, unit: &'static str) -> Figure {
        Figure {
            name: name.into(),
            value,
            unit,
            limit: None,
            ratio: None,
            ms: None,
            dispatches: None,
            of_matmul: None,
            what: String::new(),
        }
    }

    fn of(self, what: impl Into<String>) -> Figure {
        Figure { what: what.into(), ..self }
    }

    /// Work of `amount` (10^9 operations or bytes) done in `seconds`, beside the limit of its kind.
    fn rate(name: &str, amount: f64, seconds: f64, unit: &'static str, limit: f64) -> Figure {
        let value = amount / seconds;
        Figure {
            limit: Some(limit),
            ratio: Some(value / limit),
            ms: Some(seconds * 1e3),
            ..Figure::new(name, value, unit)
        }
    }

    /// A program's time beside the time its arithmetic would take at the device's limit.
    fn time(name: &str, seconds: f64, gflop: f64, limits: Limits, dispatches: usize) -> Figure {
        let limit = gflop / limits.gflops * 1e3;
        let value = seconds * 1e3;
        Figure {
            limit: Some(limit),
            ratio: Some(limit / value),
            dispatches: Some(dispatches),
            ..Figure::new(name, value, "ms")
        }
    }
}

/// Everything measured.
#[derive(Clone, Debug, Serialize)]
pub struct Bench {
    /// The device's name.
    pub device: String,
    /// Its limits.
    pub limits: Limits,
    /// The figures.
    pub figures: Vec<Figure>,
    /// What could not be measured, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// How long to measure.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// Smaller sizes and fewer samples.
    pub quick: bool,
}

/// Measures on the session's device. `told` hears what is being measured. Errors: the device fails.
pub async fn run(session: &mut Session, options: Options, told: &mut dyn FnMut(&str)) -> Result<Bench, EngineError> {
    let gpu = session.gpu().clone();
    let mut notes = Vec::new();
    // First, while nothing else has used memory: what a picture takes from start to end.
    told("a picture");
    let mut pictures = Vec::new();
    if let Err(e) = picture(session, &mut pictures).await {
        notes.push(format!("no picture was made: {e}"));
    }
    told("a slider that is dragged");
    if let Err(e) = live::figures(session, &mut pictures).await {
        notes.push(format!("no preview was made: {e}"));
    }
    let bench = Measure { gpu: gpu.clone(), quick: options.quick };
    told("the device's limits");
    let limits = bench.limits().await?;
    let copy = Figure::new("copy_command", limits.copy_command_gbps, "GB/s").of("buffer to buffer, without a shader");
    let mut figures = vec![copy];
    told("matrix product");
    let matmul = bench.matmul(limits, false).await?;
    let own = matmul.value;
    figures.push(matmul);
    figures.push(bench.matmul(limits, true).await?);
    told("convolution");
    let conv = bench.conv(limits).await?;
    figures.push(Figure { of_matmul: Some(conv.value / own), ..conv });
    told("attention");
    figures.push(bench.attention(limits).await?);
    told("group norm");
    figures.push(bench.group_norm(limits).await?);
    told("merging");
    for name in ["weighted_sum", "add_difference", "slerp", "model_stock", "ties", "dare_ties"] {
        figures.push(bench.merge(name, limits).await?);
    }
    told("the built-in model");
    if notes.is_empty() {
        figures.extend(networks(session, &bench, limits).await?);
    }
    figures.extend(pictures);
    told("cards of adapters");
    figures.extend(cards::figures(options.quick)?);
    gpu.take_failure()?;
    Ok(Bench { device: gpu.name(), limits, figures, notes })
}

/// The built-in model's recipe with the settings of the figures.
fn built_in() -> Recipe {
    let mut recipe = Recipe::new("builtin");
    recipe.sample = Sample {
        prompt: Some("a red apple".into()),
        steps: Some(20),
        cfg: Some(7.0),
        seed: Some(1),
        ..Sample::default()
    };
    recipe
}

/// Two pictures, the first with everything that comes once, and the process's peak memory.
async fn picture(session: &mut Session, figures: &mut Vec<Figure>) -> Result<(), EngineError> {
    for name in ["picture", "picture_again"] {
        let done = session.render(&built_in(), &Given::default(), &mut Control::default()).await?;
        let (s, t) = (&done.settings, done.seconds);
        let what = format!(
            "{}x{}, {} steps, cfg {}, after load: mix {:.2}, text {:.2}, denoise {:.2}, decode {:.2}",
            s.width, s.height, s.steps, s.cfg, t.mix, t.text, t.denoise, t.decode
        );
        figures.push(Figure::new(name, t.mix + t.text + t.denoise + t.decode, "s").of(what));
    }
    if let Some(bytes) = peak_memory() {
        figures.push(Figure::new("peak_memory", bytes as f64 / 1e6, "MB").of("of the process, after two pictures"));
    }
    Ok(())
}

/// Most memory this process ever held, where the system tells.
pub fn peak_memory() -> Option<u64> {
    #[cfg(target_os = "linux")]
    {
        let status = std::fs::read_to_string("/proc/self/status").ok()?;
        let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"))?;
        line.split_whitespace().next()?.parse::<u64>().ok().map(|kib| kib * 1024)
    }
    #[cfg(not(target_os = "linux"))]
    None
}

/// The U-Net's step with guidance and the VAE's decoding, on the networks of the picture just made.
async fn networks(session: &mut Session, bench: &Measure, limits: Limits) -> Result<Vec<Figure>, EngineError> {
    let gpu = &bench.gpu;
    let mixer = session.open_mix(&built_in()).await?;
    let mut networks = session.networks_for(&mixer).await?;
    let base = mixer.base().clone();
    let settings = crate::settings::Settings::resolve(&built_in().sample, &mixer, &Given::default())?;
    let one = networks.latent_size(1, settings.width, settings.height)?;
    let two = Size { n: 2, ..one };
    let tokens = networks.encoders.first().map_or(77, |e| e.text.length());
    let width = networks.unet.config().cross_attention(0);
    let context = Tensor::upload(gpu, "context", &random(2 * tokens * width), 2 * tokens, width)?;
    // A step as it is recorded with what lies beside the weights at this moment.
    let record = |networks: &Networks| -> Result<Arc<Program>, EngineError> {
        let cond = networks.unet.condition(gpu, &[500.0], &context, 2, &Default::default())?;
        cond.prelude.submit();
        let mut set = Recorder::new(gpu);
        set.copy(&cond.time_table, 0, &cond.time_row, 0, cond.time_row.bytes());
        set.finish().submit();
        let pass = networks.unet.record(gpu, two, &cond)?;
        pass.input.write(gpu, &random(two.pixels() * networks.unet.latent_channels()));
        Ok(pass.program)
    };
    let program = record(&networks)?;
    let seconds = bench.seconds(&program).await?;
    let step = seconds;
    let gflop = work::unet(&base, two, tokens) / 1e9;
    let what = |gflop: f64, w: usize, h: usize| format!("{w}x{h} pixels, {gflop:.2} GFLOP");
    let mut figures = vec![
        Figure::time("unet_step", seconds, gflop, limits, program.dispatches())
            .of(format!("builtin, batch 2, {}", what(gflop, settings.width, settings.height))),
    ];
    if let Some(vae) = &networks.vae {
        let pass = vae.record_decode(gpu, one)?;
        pass.input.write(gpu, &random(one.pixels() * vae.config().latent_channels));
        let seconds = bench.seconds(&pass.program).await?;
        let gflop = work::decoder(&base, one) / 1e9;
        figures.push(
            Figure::time("vae_decode", seconds, gflop, limits, pass.program.dispatches())
                .of(format!("builtin, {}", what(gflop, settings.width, settings.height))),
        );
    }
    figures.extend(adapters::figures(session, bench, &mut networks, step, &record).await?);
    figures.extend(knobs::figures(session, bench, &mut networks).await?);
    session.keep_networks(base.state_sum().await?, networks);
    figures.push(outside(session, bench, &program).await?);
    Ok(figures)
}

/// How much of the time from the prompt's encoding to the last latent is not the U-Net's: pictures of 20 steps and 20 passes alone, in turns, so that
/// whatever else the machine does meets both.
async fn outside(session: &mut Session, bench: &Measure, pass: &Program) -> Result<Figure, EngineError> {
    const STEPS: usize = 20;
    let (mut whole, mut alone) = (Vec::new(), Vec::new());
    for _ in 0..if bench.quick { 2 } else { 5 } {
        let start = Instant::now();
        for _ in 0..STEPS {
            pass.submit();
        }
        bench.gpu.finished().await?;
        alone.push(start.elapsed().as_secs_f64());
        whole.push(session.render(&built_in(), &Given::default(), &mut Control::default()).await?.seconds.denoise);
    }
    // Disturbances only ever add: the least of each is nearest to the work itself.
    let least = |all: &[f64]| all.iter().copied().fold(f64::MAX, f64::min);
    let (whole, alone) = (least(&whole), least(&alone));
    let share = (1.0 - alone / whole).max(0.0) * 100.0;
    let what = format!("of {STEPS} steps in {whole:.2} s; the same U-Net passes alone {alone:.2} s; 10% is promised");
    Ok(Figure {
        limit: Some(10.0),
        ratio: Some(10.0 / share.max(0.1)),
        ..Figure::new("outside_unet", share, "%").of(what)
    })
}

/// Uniform numbers in [-1, 1).
fn random(count: usize) -> Vec<f32> {
    let mut state = 0x9E37_79B9_7F4A_7C15u64;
    let next = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        (state >> 40) as f32 / (1u64 << 23) as f32 - 1.0
    };
    (0..count).map(next).collect()
}

struct Measure {
    gpu: Arc<Gpu>,
    quick: bool,
}

impl Measure {
    /// Median seconds of one run of `program`.
    async fn seconds(&self, program: &Program) -> Result<f64, EngineError> {
        let timed = async |runs: usize| -> Result<f64, EngineError> {
            let start = Instant::now();
            for _ in 0..runs {
                program.submit();
            }
            self.gpu.finished().await?;
            Ok(start.elapsed().as_secs_f64() / runs as f64)
        };
        timed(1).await?;
        let once = timed(1).await?;
        // Long enough for the clock, short enough for patience.
        let (least, samples) = if self.quick { (0.02, 3) } else { (0.06, 7) };
        let runs = ((least / once.max(1e-7)).ceil() as usize).clamp(1, 200);
        let mut all = Vec::new();
        for _ in 0..samples {
            all.push(timed(runs).await?);
        }
        all.sort_by(f64::total_cmp);
        Ok(all[all.len() / 2])
    }

    fn size(&self, full: usize, quick: usize) -> usize {
        if self.quick { quick } else { full }
    }

    /// Elements of the large buffers: far beyond every cache.
    fn large(&self) -> usize {
        self.size(16 << 20, 8 << 20)
    }

    async fn limits(&self) -> Result<Limits, EngineError> {
        let gpu = &self.gpu;
        let count = self.large();
        let source = Tensor::upload(gpu, "copy source", &random(count), 1, count)?;
        let target = Tensor::empty(gpu, "copy target", 1, count)?;
        let groups = (count / 4).div_ceil(64) as u32;
        let row = groups.min(32_768);
        let mut rec = Recorder::new(gpu);
        rec.launch(Launch {
            shader: "bench_copy",
            defines: &[],
            params: &[(count / 4) as u32, row],
            reads: &[&source],
            writes: &[&target],
            groups: [row, groups.div_ceil(row), 1],
        })?;
        let shader = self.seconds(&rec.finish()).await?;
        let mut rec = Recorder::new(gpu);
        rec.copy(&source, 0, &target, 0, source.bytes());
        let command = self.seconds(&rec.finish()).await?;

        // Enough lanes to fill any device, enough rounds to make the launch disappear.
        let (lanes, rounds) = match gpu.tier {
            Tier::Cpu => (4096usize, 2000u32),
            Tier::Gpu => (1 << 20, 2000),
        };
        let sums = Tensor::empty(gpu, "sums", 1, lanes)?;
        let mut rec = Recorder::new(gpu);
        rec.launch(Launch {
            shader: "bench_fma",
            defines: &[],
            // Converges to 1: neither overflows nor becomes denormal.
            params: &[rounds, 0.5f32.to_bits(), 0.5f32.to_bits()],
            reads: &[],
            writes: &[&sums],
            groups: [(lanes / 64) as u32, 1, 1],
        })?;
        let arithmetic = self.seconds(&rec.finish()).await?;
        let operations = lanes as f64 * f64::from(rounds) * 8.0 * 12.0 * 2.0;
        Ok(Limits {
            gflops: operations / arithmetic / 1e9,
            gbps: 2.0 * source.bytes() as f64 / shader / 1e9,
            copy_command_gbps: 2.0 * source.bytes() as f64 / command / 1e9,
        })
    }

    fn weight(&self, pack: Pack, f16: bool) -> Result<Weight, EngineError> {
        let weight = Weight::empty(&self.gpu, "weight", &[pack], f16)?;
        let count = pack.out * pack.inp * pack.kernel * pack.kernel;
        let mut rec = Recorder::new(&self.gpu);
        rec.pack(&Source::f32(&self.gpu, "weight", &random(count))?, pack, &weight, 0)?;
        rec.finish().submit();
        Ok(weight)
    }

    async fn matmul(&self, limits: Limits, f16: bool) -> Result<Figure, EngineError> {
        let n = self.size(1024, 512);
        let x = Tensor::upload(&self.gpu, "x", &random(n * n), n, n)?;
        let w = self.weight(Pack::linear(n, n), f16)?;
        let mut rec = Recorder::new(&self.gpu);
        let y = rec.tensor(n, n)?;
        rec.linear_into(&x, &w, Epilogue::default(), &y)?;
        let seconds = self.seconds(&rec.finish()).await?;
        let (name, kind) = if f16 { ("matmul_f16_weights", "f16 weights") } else { ("matmul", "f32") };
        let gflop = 2.0 * (n as f64).powi(3) / 1e9;
        Ok(Figure::rate(name, gflop, seconds, "GFLOP/s", limits.gflops).of(format!("{n}x{n}x{n}, {kind}")))
    }

    async fn conv(&self, limits: Limits) -> Result<Figure, EngineError> {
        let (edge, c) = (self.size(64, 32), self.size(320, 160));
        let size = Size { n: 2, h: edge, w: edge };
        let x = Tensor::upload(&self.gpu, "x", &random(size.padded_pixels() * c), size.padded_pixels(), c)?;
        let w = self.weight(Pack { out: c, inp: c, kernel: 3, glu: false }, false)?;
        let mut rec = Recorder::new(&self.gpu);
        let (_y, _) = rec.conv3x3(&x, size, &w, 1, Epilogue::default())?;
        let seconds = self.seconds(&rec.finish()).await?;
        let gflop = 2.0 * (size.pixels() * c * c * 9) as f64 / 1e9;
        let figure = Figure::rate("conv3x3", gflop, seconds, "GFLOP/s", limits.gflops);
        Ok(figure.of(format!("2x{edge}x{edge}, {c} -> {c} channels, f32")))
    }

    async fn attention(&self, limits: Limits) -> Result<Figure, EngineError> {
        let (tokens, heads, d) = (self.size(1024, 512), 8, 40);
        let make = |what| Tensor::upload(&self.gpu, what, &random(2 * tokens * heads * d), 2 * tokens, heads * d);
        let (q, k, v) = (make("q")?, make("k")?, make("v")?);
        let s = Heads { n: 2, heads, d, tq: tokens, tk: tokens, causal: false };
        let at = |tensor| Operand { tensor, at: 0 };
        let mut rec = Recorder::new(&self.gpu);
        let _y = rec.attention(at(&q), at(&k), at(&v), s)?;
        let seconds = self.seconds(&rec.finish()).await?;
        let gflop = 4.0 * (2 * heads * tokens * tokens * d) as f64 / 1e9;
        let figure = Figure::rate("attention", gflop, seconds, "GFLOP/s", limits.gflops);
        Ok(figure.of(format!("2 x {heads} heads of {d}, {tokens} tokens")))
    }

    async fn group_norm(&self, limits: Limits) -> Result<Figure, EngineError> {
        let (edge, c) = (64, 320);
        let size = Size { n: 2, h: edge, w: edge };
        let x = Tensor::upload(&self.gpu, "x", &random(size.pixels() * c), size.pixels(), c)?;
        let gain = Tensor::upload(&self.gpu, "gain", &random(c), 1, c)?;
        let mut rec = Recorder::new(&self.gpu);
        let _y = rec.group_norm(&x, size, 32, 1e-5, &gain, &gain, Activation::Silu, 0)?;
        let seconds = self.seconds(&rec.finish()).await?;
        // Statistics read everything once, the second pass once more, and writes it.
        let gigabytes = 3.0 * x.bytes() as f64 / 1e9;
        let figure = Figure::rate("group_norm_silu", gigabytes, seconds, "GB/s", limits.gbps);
        Ok(figure.of(format!("2x{edge}x{edge}, {c} channels in 32 groups")))
    }

    /// One large f16 tensor merged.
    async fn merge(&self, name: &str, limits: Limits) -> Result<Figure, EngineError> {
        let gpu = &self.gpu;
        let count = self.large();
        let values = random(count);
        let halves = |shift: f32| -> Vec<u8> {
            let shifted: Vec<f32> = values.iter().map(|v| v * shift).collect();
            admix_files::DType::F16.encode_f32(&shifted)
        };
        let base = Flat::upload(gpu, "base", &halves(1.0), Kind::F16)?;
        // Models, and the share of the copy speed that is promised.
        let (number, words) = match name {
            "weighted_sum" => (1, "1 model, at least 0.70 is promised"),
            "add_difference" => (1, "1 model and its origin, at least 0.70 is promised"),
            "slerp" => (1, "1 model, at least 0.40 is promised"),
            "model_stock" => (2, "2 models, at least 0.40 is promised"),
            "ties" => (2, "2 models, density 0.5, at least 0.25 is promised"),
            _ => (2, "2 models, density 0.5, at least 0.30 is promised"),
        };
        let mut models = Vec::new();
        for i in 0..number {
            models.push(Flat::upload(gpu, "model", &halves(0.9 - 0.3 * i as f32), Kind::F16)?);
        }
        let minus = Flat::upload(gpu, "minus", &halves(0.8), Kind::F16)?;
        let out = Flat::empty(gpu, "result", count, Kind::F16)?;
        let models: Vec<&Flat> = models.iter().collect();
        let compared = if name == "add_difference" { Some(&minus) } else { None };
        let minus = vec![compared; number];
        let inputs = Inputs { base: &base, origin: None, models: &models, minus: &minus, uniforms: &[], known: None };
        let (none, mut dense) = (Knobs::new(), Knobs::new());
        dense.insert("density".into(), 0.5.into());
        let sparse = matches!(name, "ties" | "dare_ties");
        let model_knobs = vec![if sparse { &dense } else { &none }; number];
        let settings = Settings {
            name: "bench",
            shape: &[count],
            weights: vec![0.5; number],
            knobs: &none,
            model_knobs,
            seed: 0,
            facts: None,
        };
        let mut rec = Recorder::new(gpu);
        method(name)?.record(&mut rec, &inputs, &settings, &out)?;
        let program = rec.finish();
        let seconds = self.seconds(&program).await?;
        // What has to move: every input read once, the result written once.
        let tensors = 2 + number + usize::from(compared.is_some());
        let gigabytes = (tensors * count * 2) as f64 / 1e9;
        let figure = Figure::rate(name, gigabytes, seconds, "GB/s", limits.gbps);
        let figure = Figure { dispatches: Some(program.dispatches()), ..figure };
        Ok(figure.of(format!("{} Mi elements, f16, {words}", count >> 20)))
    }
}
