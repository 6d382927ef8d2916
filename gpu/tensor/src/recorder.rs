//! Record once, replay every step: a [`Recorder`] turns tensor operations into a [`Program`], a flat list of dispatches with bind groups,
//! parameters and intermediate buffers all made beforehand. Replaying a program costs the CPU almost nothing and allocates nothing.
//!
//! Buffers of dropped tensors go back to the recorder's pool and serve later operations of the same recording: commands run in
//! recorded order, so the reuse is safe, and a whole U-Net needs little more memory than its widest moment.

use std::sync::{Arc, Mutex, PoisonError, Weak};

use crate::{Gpu, Pipeline, TensorError};

/// Buffers waiting for reuse inside one recording.
#[derive(Default)]
struct Pool {
    free: Mutex<Vec<wgpu::Buffer>>,
}

/// A device buffer; returns to its pool when the last tensor that uses it is dropped.
pub struct Storage {
    buffer: wgpu::Buffer,
    pool: Weak<Pool>,
}

impl Drop for Storage {
    fn drop(&mut self) {
        if let Some(pool) = self.pool.upgrade() {
            pool.free.lock().unwrap_or_else(PoisonError::into_inner).push(self.buffer.clone());
        }
    }
}

/// A matrix of f32 on the device: `rows` x `cols`, each row `stride` elements long in memory.
///
/// Pictures and latents are NHWC: row = (n, y, x), column = channel. `stride` is `cols` rounded up to 4 and the padding columns hold zeros,
/// so that kernels load four channels at a time at any width. Shape bookkeeping beyond that (n, h, w) belongs to the caller.
#[derive(Clone)]
pub struct Tensor {
    storage: Arc<Storage>,
    /// Byte offset of the first element (a multiple of the device's binding alignment, 256).
    pub offset: u64,
    /// Number of rows.
    pub rows: usize,
    /// Number of meaningful columns.
    pub cols: usize,
    /// Elements from one row to the next, a multiple of 4.
    pub stride: usize,
}

impl std::fmt::Debug for Tensor {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "Tensor[{} x {} (stride {})]", self.rows, self.cols, self.stride)
    }
}

/// `cols` rounded up to the four elements that kernels load at a time.
pub fn padded(cols: usize) -> usize {
    cols.next_multiple_of(4)
}

impl Tensor {
    /// A tensor that owns a buffer of its own (not pooled), contents unspecified.
    pub fn empty(gpu: &Gpu, what: &str, rows: usize, cols: usize) -> Result<Tensor, TensorError> {
        let stride = padded(cols);
        let buffer = gpu.create_buffer(what, (rows * stride * 4) as u64)?;
        Ok(Tensor { storage: Arc::new(Storage { buffer, pool: Weak::new() }), offset: 0, rows, cols, stride })
    }

    /// A row of `words` words that may be larger than one binding: whoever binds it does so in parts. Contents unspecified.
    ///
    /// # Errors
    /// Larger than the device's buffers.
    pub fn in_windows(gpu: &Gpu, what: &str, words: usize) -> Result<Tensor, TensorError> {
        Ok(Tensor::from_buffer(gpu.create_wide_buffer(what, words as u64 * 4)?, 1, words))
    }

    /// The first bytes of several tensors, one after another, with one wait; counts of bytes are multiples of 4.
    ///
    /// # Errors
    /// A device that is lost, or has no memory for all of them at once.
    pub async fn read_all(gpu: &Gpu, parts: &[(&Tensor, u64)]) -> Result<Vec<u8>, TensorError> {
        if parts.is_empty() {
            return Ok(Vec::new());
        }
        let parts: Vec<_> = parts.iter().map(|(tensor, bytes)| (tensor.buffer(), tensor.offset, *bytes)).collect();
        gpu.read_all(&parts).await
    }

    /// Uploads a row-major `rows` x `cols` matrix, padding each row to the stride with zeros.
    pub fn upload(gpu: &Gpu, what: &str, data: &[f32], rows: usize, cols: usize) -> Result<Tensor, TensorError> {
        let tensor = Self::empty(gpu, what, rows, cols)?;
        tensor.write(gpu, data);
        Ok(tensor)
    }

    /// Wraps a buffer that somebody else made: `rows` x `cols` without padding (`cols` must be a multiple of 4, or `rows` 1).
    pub fn from_buffer(buffer: wgpu::Buffer, rows: usize, cols: usize) -> Tensor {
        Tensor { storage: Arc::new(Storage { buffer, pool: Weak::new() }), offset: 0, rows, cols, stride: padded(cols) }
    }

    /// Overwrites the contents with a row-major `rows` x `cols` matrix (shorter data leaves the rest as it was).
    pub fn write(&self, gpu: &Gpu, data: &[f32]) {
        if self.cols == self.stride {
            gpu.queue.write_buffer(self.buffer(), self.offset, bytemuck::cast_slice(data));
        } else {
            let mut wide = vec![0f32; self.rows * self.stride];
            for (row, line) in data.chunks(self.cols).enumerate() {
                wide[row * self.stride..row * self.stride + line.len()].copy_from_slice(line);
            }
            gpu.queue.write_buffer(self.buffer(), self.offset, bytemuck::cast_slice(&wide));
        }
    }

    /// Reads the meaningful elements back, row-major `rows` x `cols`.
    pub async fn read(&self, gpu: &Gpu) -> Result<Vec<f32>, TensorError> {
        let bytes = gpu.read_bytes(self.buffer(), self.offset, self.bytes()).await?;
        let wide: Vec<f32> = bytemuck::pod_collect_to_vec(&bytes);
        if self.cols == self.stride {
            return Ok(wide);
        }
        Ok(wide.chunks(self.stride).flat_map(|row| row[..self.cols].iter().copied()).collect())
    }

    /// The buffer beneath.
    pub fn buffer(&self) -> &wgpu::Buffer {
        &self.storage.buffer
    }

    /// Bytes the tensor spans.
    pub fn bytes(&self) -> u64 {
        (self.rows * self.stride * 4) as u64
    }

    /// The same memory seen as another number of rows of the same stride (for example [n*h*w, c] as [n, h*w*c] where c needs no padding).
    /// The caller answers for the element count; a larger view than the memory is refused by the device.
    pub fn reshape(&self, rows: usize, cols: usize) -> Tensor {
        debug_assert_eq!(rows * padded(cols), self.rows * self.stride, "reshape keeps the elements");
        Tensor { storage: self.storage.clone(), offset: self.offset, rows, cols, stride: padded(cols) }
    }

    /// The same rows with another count of meaningful columns inside the same stride.
    pub fn with_cols(&self, cols: usize) -> Tensor {
        debug_assert!(cols <= self.stride);
        Tensor { cols, ..self.clone() }
    }

    /// The first `cols` elements as one row.
    pub fn first_row(&self, cols: usize) -> Tensor {
        debug_assert!(padded(cols) <= self.rows * self.stride);
        Tensor { rows: 1, cols, stride: padded(cols), ..self.clone() }
    }

    /// Rows `start..start+rows`; their byte offset must be a multiple of 256.
    pub fn slice_rows(&self, start: usize, rows: usize) -> Tensor {
        let offset = self.offset + (start * self.stride * 4) as u64;
        debug_assert!(offset.is_multiple_of(256) && start + rows <= self.rows, "slices start at a binding boundary");
        Tensor { offset, rows, ..self.clone() }
    }

    fn binding(&self) -> wgpu::BindingResource<'_> {
        wgpu::BindingResource::Buffer(wgpu::BufferBinding {
            buffer: self.buffer(),
            offset: self.offset,
            size: std::num::NonZeroU64::new(self.bytes().max(16)),
        })
    }
}

/// One kernel call.
pub struct Launch<'a> {
    /// Stem of the shader below `shaders/`.
    pub shader: &'static str,
    /// Variant constants.
    pub defines: &'a [(&'static str, u32)],
    /// The uniform block: 32-bit words (f32 as bits), padded to 16 bytes here.
    pub params: &'a [u32],
    /// Read-only tensors, bindings 1...
    pub reads: &'a [&'a Tensor],
    /// Written (and possibly read) tensors, the bindings after them.
    pub writes: &'a [&'a Tensor],
    /// Workgroups in x, y, z.
    pub groups: [u32; 3],
}

enum Step {
    Dispatch {
        pipeline: Arc<Pipeline>,
        bind: wgpu::BindGroup,
        groups: [u32; 3],
        /// For [`Program::profile`].
        #[cfg_attr(target_arch = "wasm32", allow(dead_code))]
        shader: &'static str,
    },
    Copy {
        source: wgpu::Buffer,
        from: u64,
        target: wgpu::Buffer,
        to: u64,
        bytes: u64,
    },
    Program(Arc<Program>),
}

struct Pending {
    shader: &'static str,
    pipeline: Arc<Pipeline>,
    tensors: Vec<Tensor>,
    params_at: u64,
    params_len: u64,
    groups: [u32; 3],
}

enum Draft {
    Dispatch(Box<Pending>),
    Done(Step),
}

/// Bytes from one kernel's uniform block to the next: WebGPU's default offset alignment.
const UNIFORM_ALIGN: usize = 256;
/// Longest uniform block a kernel may use.
const UNIFORM_MAX: usize = 256;

/// Records operations into a [`Program`].
pub struct Recorder {
    gpu: Arc<Gpu>,
    pool: Arc<Pool>,
    drafts: Vec<Draft>,
    params: Vec<u8>,
    pool_bytes: u64,
}

impl Recorder {
    /// An empty recording.
    pub fn new(gpu: &Arc<Gpu>) -> Recorder {
        Recorder { gpu: gpu.clone(), pool: Arc::default(), drafts: Vec::new(), params: Vec::new(), pool_bytes: 0 }
    }

    /// The device recorded for.
    pub fn gpu(&self) -> &Arc<Gpu> {
        &self.gpu
    }

    /// An intermediate tensor from the pool, contents unspecified.
    pub fn tensor(&mut self, rows: usize, cols: usize) -> Result<Tensor, TensorError> {
        let stride = padded(cols);
        let storage = self.storage((rows * stride * 4) as u64, Gpu::create_buffer)?;
        Ok(Tensor { storage, offset: 0, rows, cols, stride })
    }

    /// An intermediate row of `words` words that may be larger than one binding, like [`Tensor::in_windows`].
    pub fn in_windows(&mut self, words: usize) -> Result<Tensor, TensorError> {
        let storage = self.storage(words as u64 * 4, Gpu::create_wide_buffer)?;
        Ok(Tensor { storage, offset: 0, rows: 1, cols: words, stride: words })
    }

    /// At least `bytes` from the pool, or made.
    fn storage(
        &mut self,
        bytes: u64,
        create: impl FnOnce(&Gpu, &str, u64) -> Result<wgpu::Buffer, TensorError>,
    ) -> Result<Arc<Storage>, TensorError> {
        let need = bytes.max(16);
        let mut free = self.pool.free.lock().unwrap_or_else(PoisonError::into_inner);
        // Best fit that wastes at most half: small tensors must not pin the large buffers.
        let best = (0..free.len())
            .filter(|&i| free[i].size() >= need && free[i].size() <= need * 2 + 65_536)
            .min_by_key(|&i| free[i].size());
        let buffer = match best {
            Some(index) => free.swap_remove(index),
            None => {
                drop(free);
                let buffer = create(&self.gpu, "intermediate", need)?;
                self.pool_bytes += buffer.size();
                buffer
            }
        };
        Ok(Arc::new(Storage { buffer, pool: Arc::downgrade(&self.pool) }))
    }

    /// Records one kernel call.
    pub fn launch(&mut self, launch: Launch<'_>) -> Result<(), TensorError> {
        let limit = self.gpu.limits.max_compute_workgroups_per_dimension;
        if launch.groups.iter().any(|g| *g > limit) {
            let needed = u64::from(launch.groups.into_iter().max().unwrap_or(0));
            return Err(TensorError::TooLarge {
                what: format!("{} (workgroups)", launch.shader),
                needed,
                limit: limit.into(),
            });
        }
        for tensor in launch.reads.iter().chain(launch.writes) {
            let limit = self.gpu.limits.max_storage_buffer_binding_size;
            if tensor.bytes() > limit {
                return Err(TensorError::TooLarge { what: launch.shader.into(), needed: tensor.bytes(), limit });
            }
        }
        let pipeline = self.gpu.pipeline(launch.shader, launch.defines, launch.reads.len(), launch.writes.len())?;
        let params_at = self.params.len() as u64;
        let words: &[u8] = bytemuck::cast_slice(launch.params);
        debug_assert!(words.len() <= UNIFORM_MAX);
        self.params.extend_from_slice(words);
        self.params.resize(params_at as usize + UNIFORM_ALIGN, 0);
        self.drafts.push(Draft::Dispatch(Box::new(Pending {
            shader: launch.shader,
            pipeline,
            tensors: launch.reads.iter().chain(launch.writes).map(|t| (*t).clone()).collect(),
            params_at,
            params_len: words.len().next_multiple_of(16).max(16) as u64,
            groups: launch.groups,
        })));
        // The draft keeps clones of its tensors only to bind their buffers; they must not hold the pool back.
        self.release_last();
        Ok(())
    }

    /// Replaces the last draft's pooled tensors by unpooled views of the same buffers, so that dropping the caller's handles frees them.
    fn release_last(&mut self) {
        if let Some(Draft::Dispatch(pending)) = self.drafts.last_mut() {
            for tensor in &mut pending.tensors {
                let view = Storage { buffer: tensor.storage.buffer.clone(), pool: Weak::new() };
                *tensor = Tensor { storage: Arc::new(view), ..tensor.clone() };
            }
        }
    }

    /// Records a copy of `bytes` between tensors at byte offsets (multiples of 4).
    pub fn copy(&mut self, source: &Tensor, from: u64, target: &Tensor, to: u64, bytes: u64) {
        self.drafts.push(Draft::Done(Step::Copy {
            source: source.buffer().clone(),
            from: source.offset + from,
            target: target.buffer().clone(),
            to: target.offset + to,
            bytes,
        }));
    }

    /// Records a whole program at this place.
    pub fn include(&mut self, program: &Arc<Program>) {
        self.drafts.push(Draft::Done(Step::Program(program.clone())));
    }

    /// Number of steps recorded so far.
    pub fn len(&self) -> usize {
        self.drafts.len()
    }

    /// True when nothing was recorded.
    pub fn is_empty(&self) -> bool {
        self.drafts.is_empty()
    }

    /// Makes the parameter buffer and the bind groups. The program keeps every buffer it touches alive.
    pub fn finish(self) -> Arc<Program> {
        let size = self.params.len().max(UNIFORM_ALIGN) as u64;
        let uniforms = self.gpu.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("parameters"),
            size,
            usage: wgpu::BufferUsages::UNIFORM | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        if !self.params.is_empty() {
            self.gpu.queue.write_buffer(&uniforms, 0, &self.params);
        }
        let steps = self.drafts.into_iter().map(|draft| match draft {
            Draft::Done(step) => step,
            Draft::Dispatch(pending) => {
                let mut entries = vec![wgpu::BindGroupEntry {
                    binding: 0,
                    resource: wgpu::BindingResource::Buffer(wgpu::BufferBinding {
                        buffer: &uniforms,
                        offset: pending.params_at,
                        size: std::num::NonZeroU64::new(pending.params_len),
                    }),
                }];
                for (i, tensor) in pending.tensors.iter().enumerate() {
                    entries.push(wgpu::BindGroupEntry { binding: 1 + i as u32, resource: tensor.binding() });
                }
                let bind = self.gpu.device.create_bind_group(&wgpu::BindGroupDescriptor {
                    label: None,
                    layout: &pending.pipeline.layout,
                    entries: &entries,
                });
                Step::Dispatch { pipeline: pending.pipeline, bind, groups: pending.groups, shader: pending.shader }
            }
        });
        let steps: Vec<Step> = steps.collect();
        Arc::new(Program { gpu: self.gpu.clone(), steps, _pool: self.pool, bytes: self.pool_bytes })
    }
}

/// A recorded sequence of kernel calls and copies, replayable any number of times.
pub struct Program {
    gpu: Arc<Gpu>,
    steps: Vec<Step>,
    _pool: Arc<Pool>,
    bytes: u64,
}

impl Program {
    /// Kernel calls, those of included programs counted too.
    pub fn dispatches(&self) -> usize {
        let count = |step: &Step| match step {
            Step::Dispatch { .. } => 1,
            Step::Copy { .. } => 0,
            Step::Program(inner) => inner.dispatches(),
        };
        self.steps.iter().map(count).sum()
    }

    /// Bytes of intermediate buffers this program holds.
    pub fn intermediate_bytes(&self) -> u64 {
        self.bytes
    }

    /// Writes the commands into `encoder`: one compute pass for every run of kernel calls.
    pub fn encode(&self, encoder: &mut wgpu::CommandEncoder) {
        let mut pass: Option<wgpu::ComputePass<'static>> = None;
        self.encode_into(encoder, &mut pass);
    }

    fn encode_into(&self, encoder: &mut wgpu::CommandEncoder, pass: &mut Option<wgpu::ComputePass<'static>>) {
        for step in &self.steps {
            match step {
                Step::Dispatch { pipeline, bind, groups, .. } => {
                    let pass =
                        pass.get_or_insert_with(|| encoder.begin_compute_pass(&Default::default()).forget_lifetime());
                    pass.set_pipeline(&pipeline.pipeline);
                    pass.set_bind_group(0, bind, &[]);
                    pass.dispatch_workgroups(groups[0], groups[1], groups[2]);
                }
                Step::Copy { source, from, target, to, bytes } => {
                    *pass = None;
                    encoder.copy_buffer_to_buffer(source, *from, target, *to, *bytes);
                }
                Step::Program(inner) => inner.encode_into(encoder, pass),
            }
        }
    }

    /// Where the time goes: each run of kernel calls of one shader submitted and waited for on its own, the best of `rounds`:
    /// (shader, calls, seconds), longest first. For benches only: it blocks.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn profile(&self, rounds: usize) -> Vec<(&'static str, usize, f64)> {
        let mut totals: Vec<(&'static str, usize, f64)> = Vec::new();
        for step in &self.steps {
            let Step::Dispatch { pipeline, bind, groups, shader } = step else { continue };
            let mut best = f64::MAX;
            for _ in 0..rounds.max(1) {
                let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
                {
                    let mut pass = encoder.begin_compute_pass(&Default::default());
                    pass.set_pipeline(&pipeline.pipeline);
                    pass.set_bind_group(0, bind, &[]);
                    pass.dispatch_workgroups(groups[0], groups[1], groups[2]);
                }
                let start = std::time::Instant::now();
                self.gpu.queue.submit([encoder.finish()]);
                // A failed wait only spoils a figure.
                let _ = self.gpu.device.poll(wgpu::PollType::wait_indefinitely());
                best = best.min(start.elapsed().as_secs_f64());
            }
            match totals.iter_mut().find(|t| t.0 == *shader) {
                Some(entry) => {
                    entry.1 += 1;
                    entry.2 += best;
                }
                None => totals.push((shader, 1, best)),
            }
        }
        totals.sort_by(|a, b| b.2.total_cmp(&a.2));
        totals
    }

    /// Encodes and submits in one go.
    pub fn submit(&self) {
        let mut encoder = self.gpu.device.create_command_encoder(&Default::default());
        self.encode(&mut encoder);
        self.gpu.queue.submit([encoder.finish()]);
    }
}
