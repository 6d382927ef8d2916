//! The device: adapter choice, limits, kernel tier, pipelines, uploads and read-back.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use crate::{TensorError, shader};

/// Which family of kernels suits the adapter.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Tier {
    /// Software adapters (lavapipe, SwiftShader): big register tiles, no workgroup memory.
    Cpu,
    /// Hardware adapters: workgroup-memory tiles.
    Gpu,
}

/// How to open a device.
#[derive(Debug, Clone, Default)]
pub struct DeviceOptions {
    /// Force a kernel tier (tests run both on a software adapter).
    pub tier: Option<Tier>,
    /// Ask for WebGPU's default limits only, to prove that nothing needs more.
    pub default_limits: bool,
    /// Bytes that models may take, instead of what [`Gpu::memory`] would find.
    pub memory: Option<u64>,
}

/// A pipeline together with the layout its bind groups follow.
pub struct Pipeline {
    pub(crate) pipeline: wgpu::ComputePipeline,
    pub(crate) layout: wgpu::BindGroupLayout,
}

type PipelineKey = (String, Vec<(&'static str, u32)>, usize, usize);

/// An open device with its queue, shared by everything that computes.
pub struct Gpu {
    /// The wgpu device.
    pub device: wgpu::Device,
    /// Its queue.
    pub queue: wgpu::Queue,
    /// Adapter facts for people and reports.
    pub info: wgpu::AdapterInfo,
    /// Limits in force.
    pub limits: wgpu::Limits,
    /// Kernel tier.
    pub tier: Tier,
    stated_memory: Option<u64>,
    pipelines: Mutex<HashMap<PipelineKey, Arc<Pipeline>>>,
    failures: Arc<Mutex<Failures>>,
}

/// Errors that the device reported without being asked.
#[derive(Default)]
struct Failures {
    /// The first one that nobody was told of.
    first: Option<String>,
    count: u64,
}

/// True for adapters that compute on a CPU.
fn is_software(info: &wgpu::AdapterInfo) -> bool {
    let text = format!("{} {} {}", info.name, info.driver, info.driver_info).to_lowercase();
    info.device_type == wgpu::DeviceType::Cpu || text.contains("swiftshader") || text.contains("llvmpipe")
}

/// The descriptor to request a device with: the adapter's own limits, no experimental features.
pub fn device_descriptor(adapter: &wgpu::Adapter, default_limits: bool) -> wgpu::DeviceDescriptor<'static> {
    let wanted = wgpu::Features::TIMESTAMP_QUERY | wgpu::Features::SHADER_INT64;
    wgpu::DeviceDescriptor {
        label: Some("admix"),
        required_features: adapter.features() & wanted,
        required_limits: if default_limits { wgpu::Limits::default() } else { adapter.limits() },
        ..Default::default()
    }
}

impl Gpu {
    /// Opens the best adapter there is. Errors: [`TensorError::NoAdapter`], [`TensorError::NoDevice`].
    pub async fn open(options: &DeviceOptions) -> Result<Arc<Gpu>, TensorError> {
        let mut descriptor = wgpu::InstanceDescriptor::new_without_display_handle();
        descriptor.backends = wgpu::Backends::PRIMARY;
        let instance = wgpu::Instance::new(descriptor.with_env());
        let adapter = instance
            .request_adapter(&wgpu::RequestAdapterOptions {
                power_preference: wgpu::PowerPreference::HighPerformance,
                ..Default::default()
            })
            .await
            .map_err(|_| TensorError::NoAdapter)?;
        let descriptor = device_descriptor(&adapter, options.default_limits);
        let (device, queue) = adapter
            .request_device(&descriptor)
            .await
            .map_err(|e| TensorError::NoDevice { adapter: adapter.get_info().name, reason: e.to_string() })?;
        Ok(Arc::new(Self::assemble(&adapter, device, queue, options.tier, options.memory)))
    }

    /// Shares a device that somebody else (the window) opened.
    pub fn from_parts(
        adapter: &wgpu::Adapter,
        device: wgpu::Device,
        queue: wgpu::Queue,
        tier: Option<Tier>,
    ) -> Arc<Gpu> {
        Arc::new(Self::assemble(adapter, device, queue, tier, None))
    }

    fn assemble(
        adapter: &wgpu::Adapter,
        device: wgpu::Device,
        queue: wgpu::Queue,
        tier: Option<Tier>,
        stated_memory: Option<u64>,
    ) -> Gpu {
        let info = adapter.get_info();
        let tier = tier.unwrap_or(if is_software(&info) { Tier::Cpu } else { Tier::Gpu });
        let failures = Arc::new(Mutex::new(Failures::default()));
        let slot = failures.clone();
        device.on_uncaptured_error(Arc::new(move |error: wgpu::Error| {
            let mut slot = slot.lock().unwrap_or_else(PoisonError::into_inner);
            slot.count += 1;
            slot.first.get_or_insert_with(|| error.to_string().lines().take(14).collect::<Vec<_>>().join(" "));
        }));
        let limits = device.limits();
        Gpu { device, queue, info, limits, tier, stated_memory, pipelines: Mutex::default(), failures }
    }

    /// Bytes that a model may take on this device, where that is known: what was stated ([`DeviceOptions::memory`], `ADMIX_DEVICE_MEMORY` in
    /// MB), else on a software adapter the machine's free memory and the `own` bytes that the model has already. WebGPU tells nothing of a
    /// graphics card's.
    pub fn memory(&self, own: u64) -> Option<u64> {
        if self.stated_memory.is_some() {
            return self.stated_memory;
        }
        #[cfg(not(target_arch = "wasm32"))]
        {
            let stated = std::env::var("ADMIX_DEVICE_MEMORY").ok().and_then(|mb| mb.trim().parse::<u64>().ok());
            if let Some(mb) = stated {
                return Some(mb << 20);
            }
            if is_software(&self.info) {
                let text = std::fs::read_to_string("/proc/meminfo").ok()?;
                let line = text.lines().find_map(|l| l.strip_prefix("MemAvailable:"))?;
                let free = line.trim().trim_end_matches("kB").trim().parse::<u64>().ok()?;
                return Some((free << 10) + own);
            }
        }
        #[cfg(target_arch = "wasm32")]
        let _ = own;
        None
    }

    /// A line that names the device for reports: adapter and backend.
    pub fn name(&self) -> String {
        // Browsers keep the name of the graphics card to themselves.
        match self.info.name.as_str() {
            "" => "WebGPU".into(),
            name => format!("{name} ({})", self.info.backend),
        }
    }

    /// The first error the device reported since the last call, if any.
    pub fn take_failure(&self) -> Result<(), TensorError> {
        match self.failures.lock().unwrap_or_else(PoisonError::into_inner).first.take() {
            Some(text) => Err(TensorError::Device(text)),
            None => Ok(()),
        }
    }

    /// How many errors the device has reported. What was written before the count rose may have come to nothing: who keeps buffers from one piece of
    /// work to the next compares.
    pub fn failures(&self) -> u64 {
        self.failures.lock().unwrap_or_else(PoisonError::into_inner).count
    }

    /// The pipeline of a shader variant, compiled at first use. `reads` and `writes` count its storage buffers: binding 0 is the uniform
    /// block, then the read-only buffers, then the read-write ones.
    pub fn pipeline(
        &self,
        name: &str,
        defines: &[(&'static str, u32)],
        reads: usize,
        writes: usize,
    ) -> Result<Arc<Pipeline>, TensorError> {
        let key = (name.to_string(), defines.to_vec(), reads, writes);
        let mut cache = self.pipelines.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(found) = cache.get(&key) {
            return Ok(found.clone());
        }
        #[cfg(not(target_arch = "wasm32"))]
        shader::note(name, defines);
        let source = wgpu::ShaderSource::Wgsl(shader::resolve(name, defines)?.into());
        let descriptor = wgpu::ShaderModuleDescriptor { label: Some(name), source };
        let module = create_module(&self.device, descriptor);
        let entry = |binding: u32, ty: wgpu::BufferBindingType| wgpu::BindGroupLayoutEntry {
            binding,
            visibility: wgpu::ShaderStages::COMPUTE,
            ty: wgpu::BindingType::Buffer { ty, has_dynamic_offset: false, min_binding_size: None },
            count: None,
        };
        let mut entries = vec![entry(0, wgpu::BufferBindingType::Uniform)];
        for i in 0..reads + writes {
            entries.push(entry(1 + i as u32, wgpu::BufferBindingType::Storage { read_only: i < reads }));
        }
        let layout = self
            .device
            .create_bind_group_layout(&wgpu::BindGroupLayoutDescriptor { label: Some(name), entries: &entries });
        let pipeline_layout = self.device.create_pipeline_layout(&wgpu::PipelineLayoutDescriptor {
            label: Some(name),
            bind_group_layouts: &[Some(&layout)],
            ..Default::default()
        });
        let pipeline = self.device.create_compute_pipeline(&wgpu::ComputePipelineDescriptor {
            label: Some(name),
            layout: Some(&pipeline_layout),
            module: &module,
            entry_point: Some("main"),
            compilation_options: wgpu::PipelineCompilationOptions {
                // Kernels write every element of workgroup memory they read.
                zero_initialize_workgroup_memory: false,
                ..Default::default()
            },
            cache: None,
        });
        let made = Arc::new(Pipeline { pipeline, layout });
        cache.insert(key, made.clone());
        Ok(made)
    }

    /// A storage buffer of at least `bytes` (rounded up to 16), with unspecified contents.
    pub fn create_buffer(&self, what: &str, bytes: u64) -> Result<wgpu::Buffer, TensorError> {
        self.buffer_up_to(self.limits.max_storage_buffer_binding_size, what, bytes)
    }

    /// The same for a buffer that may be larger than one binding: whoever binds it does so in parts.
    pub(crate) fn create_wide_buffer(&self, what: &str, bytes: u64) -> Result<wgpu::Buffer, TensorError> {
        self.buffer_up_to(u64::MAX, what, bytes)
    }

    fn buffer_up_to(&self, most: u64, what: &str, bytes: u64) -> Result<wgpu::Buffer, TensorError> {
        let size = bytes.max(16).next_multiple_of(16);
        let limit = self.limits.max_buffer_size.min(most);
        if size > limit {
            return Err(TensorError::TooLarge { what: what.into(), needed: size, limit });
        }
        Ok(self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some(what),
            size,
            usage: wgpu::BufferUsages::STORAGE | wgpu::BufferUsages::COPY_SRC | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        }))
    }

    /// Runs `allocate`; false beside its result when the device had not enough memory for what it made, which then cannot be used.
    pub async fn with_room<T>(&self, allocate: impl FnOnce() -> T) -> (T, bool) {
        let scope = self.device.push_error_scope(wgpu::ErrorFilter::OutOfMemory);
        let made = allocate();
        let failed = scope.pop();
        (made, failed.await.is_none())
    }

    /// Waits until everything submitted so far is done. Natively blocks; on the web it awaits the queue.
    pub async fn finished(&self) -> Result<(), TensorError> {
        #[cfg(not(target_arch = "wasm32"))]
        {
            self.device.poll(wgpu::PollType::wait_indefinitely()).map_err(|e| TensorError::Device(e.to_string()))?;
        }
        #[cfg(target_arch = "wasm32")]
        {
            let (sender, receiver) = futures_channel::oneshot::channel();
            // Nobody listens any more if this fails.
            self.queue.on_submitted_work_done(move || sender.send(()).unwrap_or_default());
            receiver.await.map_err(|_| TensorError::Device("the queue was dropped".into()))?;
        }
        self.take_failure()
    }

    /// Reads `bytes` from `buffer` at `offset` (both multiples of 4). Never blocks on the web.
    pub async fn read_bytes(&self, buffer: &wgpu::Buffer, offset: u64, bytes: u64) -> Result<Vec<u8>, TensorError> {
        self.read_all(&[(buffer, offset, bytes)]).await
    }

    /// Waits once for parts of several buffers, (buffer, offset, bytes) each, one after another: a wait costs a browser as much as many
    /// megabytes. Offsets and sizes are multiples of 4.
    ///
    /// # Errors
    /// A device that is lost or has no memory for all of them at once.
    pub async fn read_all(&self, parts: &[(&wgpu::Buffer, u64, u64)]) -> Result<Vec<u8>, TensorError> {
        let bytes: u64 = parts.iter().map(|p| p.2).sum();
        let staging = self.device.create_buffer(&wgpu::BufferDescriptor {
            label: Some("read back"),
            size: bytes.max(4),
            usage: wgpu::BufferUsages::MAP_READ | wgpu::BufferUsages::COPY_DST,
            mapped_at_creation: false,
        });
        let mut encoder = self.device.create_command_encoder(&Default::default());
        let mut at = 0;
        for (buffer, offset, size) in parts {
            encoder.copy_buffer_to_buffer(buffer, *offset, &staging, at, *size);
            at += size;
        }
        self.queue.submit([encoder.finish()]);
        let (sender, receiver) = futures_channel::oneshot::channel();
        staging.slice(..).map_async(wgpu::MapMode::Read, move |result| drop(sender.send(result)));
        #[cfg(not(target_arch = "wasm32"))]
        self.device.poll(wgpu::PollType::wait_indefinitely()).map_err(|e| TensorError::Device(e.to_string()))?;
        receiver
            .await
            .map_err(|_| TensorError::Device("the read-back was dropped".into()))?
            .map_err(|e| TensorError::Device(e.to_string()))?;
        self.take_failure()?;
        let view = staging.slice(..).get_mapped_range().map_err(|e| TensorError::Device(e.to_string()))?;
        let out = view.to_vec();
        drop(view);
        staging.unmap();
        Ok(out)
    }
}

/// Compiles without run-time index clamps and loop counters: they cost up to half the speed of the inner loops on software adapters.
/// Sound because every shader's indices derive from sizes set by this crate, and every kernel is tested at awkward sizes with guard bands.
#[allow(unsafe_code)]
fn create_module(device: &wgpu::Device, descriptor: wgpu::ShaderModuleDescriptor<'_>) -> wgpu::ShaderModule {
    // SAFETY: no shader in shaders/ indexes a buffer outside the bounds its host code sized (see the kernels' tests).
    unsafe { device.create_shader_module_trusted(descriptor, wgpu::ShaderRuntimeChecks::unchecked()) }
}
