//! Tensors as methods see them: flat runs of elements in the checkpoint's layout on the device, and passes over them.
//!
//! A pass reads every input once, eight elements at a time, and writes the result in its own type (`shaders/mix/shared/flat.wgsl`).
//! Buffers may be as large as the device allows; a pass binds them in windows that fit the device's binding limit.

use admix_tensor::kernels::Source;
use admix_tensor::{Gpu, Launch, Recorder, Tensor, TensorError, Tier};

use crate::MixError;

/// How elements lie in memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// One f32 a word.
    F32 = 0,
    /// Two f16 a word.
    F16 = 1,
    /// Two bf16 a word.
    Bf16 = 2,
    /// One f32 a word that holds a value of bf16: only as a result.
    RoundedBf16 = 3,
}

impl Kind {
    /// Bytes of one element in memory.
    pub fn size(self) -> usize {
        match self {
            Kind::F32 | Kind::RoundedBf16 => 4,
            Kind::F16 | Kind::Bf16 => 2,
        }
    }

    /// Two bits for the shader: how to read it.
    fn code(self) -> u32 {
        if self == Kind::RoundedBf16 { 0 } else { self as u32 }
    }
}

/// Elements of a group: what one load covers.
const GROUP: usize = 8;
/// Windows start at multiples of this many elements, so that byte offsets respect every device's binding alignment.
const ALIGN: usize = 4096;

/// A tensor's elements on the device.
#[derive(Clone, Debug)]
pub struct Flat {
    /// The words, padded to whole groups of eight elements.
    pub data: Tensor,
    /// How they lie.
    pub kind: Kind,
    /// Number of elements.
    pub len: usize,
}

/// 32-bit words that `len` elements take, padded to whole groups.
fn words(len: usize, kind: Kind) -> usize {
    len.max(1).next_multiple_of(GROUP) * kind.size() / 4
}

/// `value` for the shader's uniform block.
pub fn bits(value: f64) -> u32 {
    (value as f32).to_bits()
}

impl Flat {
    /// Room for `len` elements, contents unspecified. Errors: larger than the device's buffers.
    pub fn empty(gpu: &Gpu, what: &str, len: usize, kind: Kind) -> Result<Flat, TensorError> {
        // Larger than one binding but not than one buffer: passes bind it in windows.
        Ok(Flat { data: Tensor::in_windows(gpu, what, words(len, kind))?, kind, len })
    }

    /// Room for `len` elements that lives as long as the recording needs it.
    pub fn temporary(rec: &mut Recorder, len: usize, kind: Kind) -> Result<Flat, TensorError> {
        Ok(Flat { data: rec.in_windows(words(len, kind))?, kind, len })
    }

    /// Uploads elements as they lie in a file, little-endian.
    pub fn upload(gpu: &Gpu, what: &str, bytes: &[u8], kind: Kind) -> Result<Flat, TensorError> {
        let flat = Flat::empty(gpu, what, bytes.len() / kind.size(), kind)?;
        flat.write(gpu, 0, bytes);
        Ok(flat)
    }

    /// Writes elements from `start` on, as they lie in a file, little-endian. `start` falls on a whole word; pieces come in order, and the
    /// last one's padding becomes zeros.
    pub fn write(&self, gpu: &Gpu, start: usize, bytes: &[u8]) {
        let at = start * self.kind.size();
        // Whole words straight from the file.
        let whole = bytes.len() / 4 * 4;
        if whole > 0 {
            gpu.queue.write_buffer(self.data.buffer(), at as u64, &bytes[..whole]);
        }
        let mut rest = bytes[whole..].to_vec();
        if at + bytes.len() >= self.len * self.kind.size() {
            rest.resize(words(self.len, self.kind) * 4 - at - whole, 0);
        }
        if !rest.is_empty() {
            gpu.queue.write_buffer(self.data.buffer(), (at + whole) as u64, &rest);
        }
    }

    /// Uploads f32 values.
    pub fn upload_f32(gpu: &Gpu, what: &str, values: &[f32]) -> Result<Flat, TensorError> {
        Flat::upload(gpu, what, bytemuck::cast_slice(values), Kind::F32)
    }

    /// Elements `start..start + len`; `start` a multiple of [`ALIGN`].
    pub(crate) fn window(&self, start: usize, len: usize) -> Flat {
        let mut data = self.data.clone();
        data.offset += (start * self.kind.size()) as u64;
        data.cols = words(len, self.kind);
        data.stride = data.cols;
        Flat { data, kind: self.kind, len }
    }

    /// The elements for packing and for the render path. Bf16 pairs have no such form.
    pub fn source(&self) -> Source {
        debug_assert!(self.kind != Kind::Bf16);
        Source { data: self.data.clone(), f16: self.kind == Kind::F16 }
    }

    /// Bytes of the elements as they lie, without what pads them.
    pub fn bytes(&self) -> usize {
        self.len * self.kind.size()
    }

    /// Reads the bytes of several tensors back, as they lie, waiting once.
    pub async fn read_all(gpu: &Gpu, flats: &[&Flat]) -> Result<Vec<Vec<u8>>, TensorError> {
        let parts: Vec<(&Tensor, u64)> =
            flats.iter().map(|f| (&f.data, f.bytes().next_multiple_of(4) as u64)).collect();
        let read = Tensor::read_all(gpu, &parts).await?;
        let mut at = 0;
        let cut = flats.iter().zip(&parts).map(|(flat, part)| {
            let bytes = read[at..at + flat.bytes()].to_vec();
            at += part.1 as usize;
            bytes
        });
        Ok(cut.collect())
    }

    /// Reads the bytes back as they lie.
    pub async fn read_bytes(&self, gpu: &Gpu) -> Result<Vec<u8>, TensorError> {
        Ok(Flat::read_all(gpu, &[self]).await?.concat())
    }

    /// Reads f32 elements back.
    pub async fn read_f32(&self, gpu: &Gpu) -> Result<Vec<f32>, TensorError> {
        debug_assert!(matches!(self.kind, Kind::F32 | Kind::RoundedBf16));
        Ok(bytemuck::pod_collect_to_vec(&self.read_bytes(gpu).await?))
    }
}

/// One pass over tensors of the same length.
pub struct Pass<'a> {
    /// Stem of the shader.
    pub shader: &'static str,
    /// Defines beside those that follow from the inputs.
    pub defines: Vec<(&'static str, u32)>,
    /// The base.
    pub base: &'a Flat,
    /// What task vectors start from, where it is not the base.
    pub origin: Option<&'a Flat>,
    /// The other inputs.
    pub models: &'a [&'a Flat],
    /// Further buffers to read, bound whole.
    pub extra: &'a [&'a Tensor],
    /// Further buffers of one f32 an element, bound window by window after `extra`.
    pub sliced: &'a [&'a Tensor],
    /// Knobs of the stage.
    pub knobs: [u32; 4],
    /// Words of each model.
    pub model: Vec<[u32; 4]>,
}

/// How this device loads best. Software adapters pay by the load, whatever its width, and their unpacking keeps subnormals (tested).
pub(crate) fn device_defines(gpu: &Gpu) -> [(&'static str, u32); 2] {
    let software = gpu.tier == Tier::Cpu;
    let wide = software && gpu.device.features().contains(wgpu::Features::SHADER_INT64);
    [("WIDE", wide.into()), ("EXACT_UNPACK", software.into())]
}

/// Models that the uniform block has room for.
pub const MAX_MODELS: usize = 8;

impl<'a> Pass<'a> {
    /// A pass without knobs.
    pub fn new(shader: &'static str, base: &'a Flat, models: &'a [&'a Flat]) -> Pass<'a> {
        Pass {
            shader,
            defines: Vec::new(),
            base,
            origin: None,
            models,
            extra: &[],
            sliced: &[],
            knobs: [0; 4],
            model: vec![[0; 4]; models.len()],
        }
    }

    fn defines(&self, gpu: &Gpu) -> Vec<(&'static str, u32)> {
        let mut kinds = self.base.kind.code() | self.origin.map_or(0, |o| o.kind.code() << 2);
        for (i, model) in self.models.iter().enumerate() {
            kinds |= model.kind.code() << (4 + 2 * i);
        }
        let mut all = vec![
            ("MODELS", self.models.len() as u32),
            ("ORIGIN", self.origin.is_some().into()),
            ("KINDS", kinds),
            ("EXTRA", (self.extra.len() + self.sliced.len()) as u32),
        ];
        all.extend(device_defines(gpu));
        all.extend(self.defines.iter().copied());
        all
    }

    fn params(&self, head: [u32; 4]) -> Vec<u32> {
        let mut params = head.to_vec();
        params.extend(self.knobs);
        for model in &self.model {
            params.extend(model);
        }
        params.resize(8 + 4 * MAX_MODELS, 0);
        params
    }

    /// The inputs inside a window.
    fn inputs(&self, start: usize, len: usize) -> Vec<Flat> {
        let all = [Some(self.base), self.origin].into_iter().flatten().chain(self.models.iter().copied());
        all.map(|input| input.window(start, len)).collect()
    }

    /// The buffers of one f32 an element inside a window.
    fn slices(&self, start: usize, len: usize) -> Vec<Tensor> {
        let slice =
            |t: &&Tensor| Flat { data: (*t).clone(), kind: Kind::F32, len: self.base.len }.window(start, len).data;
        self.sliced.iter().map(slice).collect()
    }

    /// Elements that one window may span: the widest input or result must fit one binding.
    fn span(&self, gpu: &Gpu, out: Option<Kind>) -> usize {
        let widest = std::iter::once(self.base.kind.size())
            .chain(self.origin.map(|o| o.kind.size()))
            .chain(self.models.iter().map(|m| m.kind.size()))
            .chain(self.sliced.iter().map(|_| 4))
            .chain(out.map(Kind::size));
        let limit = gpu.limits.max_storage_buffer_binding_size as usize / widest.max().unwrap_or(4);
        (limit / ALIGN * ALIGN).max(ALIGN)
    }

    /// How many storage buffers one call binds.
    pub fn bindings(&self) -> usize {
        1 + usize::from(self.origin.is_some()) + self.models.len() + self.extra.len() + self.sliced.len() + 1
    }

    /// Refuses more inputs than the device binds at once.
    fn check_bindings(&self, gpu: &Gpu) -> Result<(), MixError> {
        let limit = gpu.limits.max_storage_buffers_per_shader_stage as usize;
        let over = self.bindings().saturating_sub(limit);
        if over == 0 && self.models.len() <= MAX_MODELS {
            return Ok(());
        }
        let most = self.models.len() - over.max(self.models.len().saturating_sub(MAX_MODELS));
        let reason = format!("this device merges at most {most} models at once with it; use several stages");
        Err(MixError::Method { method: self.shader.trim_start_matches("mix/").into(), reason })
    }

    /// Records the pass: `out` gets its result.
    pub fn write(&self, rec: &mut Recorder, out: &Flat) -> Result<(), MixError> {
        let gpu = rec.gpu().clone();
        self.check_bindings(&gpu)?;
        let (lanes, groups_per_lane) = match gpu.tier {
            Tier::Cpu => (8, 4),
            Tier::Gpu => (64, 2),
        };
        let mut defines = self.defines(&gpu);
        defines.extend([("OUT", out.kind as u32), ("WG", lanes), ("GROUPS", groups_per_lane)]);
        let span = self.span(&gpu, Some(out.kind));
        for start in (0..self.base.len).step_by(span) {
            let len = span.min(self.base.len - start);
            let groups = len.div_ceil(GROUP) as u32;
            let workgroups = groups.div_ceil(lanes * groups_per_lane);
            let row = workgroups.clamp(1, 32_768);
            let (inputs, slices) = (self.inputs(start, len), self.slices(start, len));
            let mut reads: Vec<&Tensor> = inputs.iter().map(|i| &i.data).collect();
            reads.extend(self.extra);
            reads.extend(&slices);
            rec.launch(Launch {
                shader: self.shader,
                defines: &defines,
                params: &self.params([groups, start as u32, row, len as u32]),
                reads: &reads,
                writes: &[&out.window(start, len).data],
                groups: [row, workgroups.div_ceil(row), 1],
            })?;
        }
        Ok(())
    }

    /// Records the pass as a gathering one: `lanes` lanes walk over all groups and collect into `targets` (see `shared/gather.wgsl`).
    /// Windows run one after another; `lanes` is a multiple of 64.
    pub fn gather(&self, rec: &mut Recorder, lanes: u32, targets: &[&Tensor]) -> Result<(), MixError> {
        let gpu = rec.gpu().clone();
        self.check_bindings(&gpu)?;
        let lanes_per_group = if gpu.tier == Tier::Cpu { 8 } else { 64 };
        let mut defines = self.defines(&gpu);
        defines.extend([("WG", lanes_per_group), ("LANES", lanes)]);
        let span = self.span(&gpu, None);
        for start in (0..self.base.len).step_by(span) {
            let len = span.min(self.base.len - start);
            let groups = len.div_ceil(GROUP) as u32;
            let (inputs, slices) = (self.inputs(start, len), self.slices(start, len));
            let mut reads: Vec<&Tensor> = inputs.iter().map(|i| &i.data).collect();
            reads.extend(self.extra);
            reads.extend(&slices);
            rec.launch(Launch {
                shader: self.shader,
                defines: &defines,
                params: &self.params([groups, start as u32, u32::from(start > 0), len as u32]),
                reads: &reads,
                writes: targets,
                groups: [lanes / lanes_per_group, 1, 1],
            })?;
        }
        Ok(())
    }
}
