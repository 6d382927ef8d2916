//! The pool of un-merged adapters: their factors stay on the device, in pages, for as long as there is room.
//!
//! Pages have one size and lie in slabs, so that adapters of any ranks come and go without leaving holes that nothing fits into (S-LoRA's unified
//! paging, arXiv 2311.03285). An adapter that is used again costs neither a file nor an upload; those that were used longest ago make room.

use std::collections::HashMap;
use std::sync::Arc;

use admix_mix::low_rank::LowRank;
use admix_tensor::kernels::Pack;
use admix_tensor::kernels::adapter_bank::{PAGE, Paged};
use admix_tensor::kernels::pack::pack_reference;
use admix_tensor::{Gpu, Tensor, TensorError};

/// Bytes of a slab at most: below WebGPU's default limit of a binding. Devices that bind less have smaller ones.
const SLAB: usize = 32 << 20;
/// Bytes of a page.
const PAGE_BYTES: usize = 4 * PAGE;

struct Slab {
    data: Tensor,
    free: Vec<u32>,
}

/// Where a pair of factors lies.
struct Held {
    rank: usize,
    down: Run,
    up: Run,
}

/// A factor's pages: entries of its adapter's table.
struct Run {
    slab: usize,
    at: usize,
    len: usize,
}

struct Resident {
    table: Tensor,
    held: HashMap<String, Held>,
    /// Slab and number of every page.
    pages: Vec<(usize, u32)>,
    used: u64,
}

/// Adapters on the device, by the checksum of their files.
pub(crate) struct Pool {
    gpu: Arc<Gpu>,
    slabs: Vec<Slab>,
    residents: HashMap<String, Resident>,
    clock: u64,
    /// Bytes of slabs at most, but for what one recipe needs.
    budget: usize,
}

/// What a layer's packing has to do with an adapter's factors.
#[derive(Clone, Copy)]
pub(crate) struct Form {
    /// Output features of the adapted part.
    pub out: usize,
    /// Input features of the layer.
    pub inp: usize,
    /// Its kernel's edge.
    pub kernel: usize,
    /// Values and gates interleaved.
    pub glu: bool,
}

impl Pool {
    /// An empty pool: an eighth of the memory the device says it has, 256 MiB at least and where it does not say, 2 GiB at most.
    pub fn new(gpu: &Arc<Gpu>) -> Pool {
        let budget = gpu.memory(0).map_or(256 << 20, |free| (free / 8).clamp(256 << 20, 2 << 30)) as usize;
        Pool { gpu: gpu.clone(), slabs: Vec::new(), residents: HashMap::new(), clock: 0, budget }
    }

    /// A recipe begins: what it holds is not thrown out for it.
    pub fn begin(&mut self) {
        self.clock += 1;
    }

    /// Adapters that are resident: for the bench.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn len(&self) -> usize {
        self.residents.len()
    }

    /// Bytes of pages that are in use: for the bench.
    #[cfg(not(target_arch = "wasm32"))]
    pub fn bytes(&self) -> usize {
        self.residents.values().map(|r| r.pages.len() * PAGE_BYTES).sum()
    }

    /// Makes an adapter resident: `factors` by tensor; `form` tells the layer a tensor belongs to, if any. Uploads only what is not there.
    pub fn hold(
        &mut self,
        key: &str,
        factors: &[(&str, &LowRank)],
        form: impl Fn(&str) -> Option<Form>,
    ) -> Result<(), TensorError> {
        let clock = self.clock;
        if let Some(resident) = self.residents.get_mut(key) {
            resident.used = clock;
            return Ok(());
        }
        let (mut table, mut held, mut pages) = (Vec::new(), HashMap::new(), Vec::new());
        let mut placed = Ok(());
        for (name, factor) in factors {
            let Some(form) = form(name) else { continue };
            let [down, up] = [down_lines(factor, form), up_lines(factor, form)];
            let mut run = |lines: &[f32]| {
                let len = lines.len() / factor.rank.max(1);
                let (slab, at) = (self.place(lines, &mut pages)?, table.len());
                table.extend(pages[pages.len() - Paged::pages(factor.rank, len)..].iter().map(|p| f32::from_bits(p.1)));
                Ok(Run { slab, at, len })
            };
            match run(&down).and_then(|down| Ok((down, run(&up)?))) {
                Ok((down, up)) => held.insert((*name).to_string(), Held { rank: factor.rank, down, up }),
                Err(e) => {
                    placed = Err(e);
                    break;
                }
            };
        }
        let table = placed.and_then(|()| {
            table.resize(table.len().max(4), 0.0);
            Tensor::upload(&self.gpu, "adapter pages", &table, 1, table.len())
        });
        match table {
            Ok(table) => {
                self.residents.insert(key.into(), Resident { table, held, pages, used: clock });
                Ok(())
            }
            Err(e) => {
                self.give_back(pages);
                Err(e)
            }
        }
    }

    /// A resident adapter's factors of a tensor: rank, down, up.
    pub fn get(&self, key: &str, name: &str) -> Option<(usize, Paged<'_>, Paged<'_>)> {
        let resident = self.residents.get(key)?;
        let held = resident.held.get(name)?;
        let paged = |run: &Run| Paged {
            slab: &self.slabs[run.slab].data,
            table: &resident.table,
            at: run.at,
            lines: held.rank,
            len: run.len,
        };
        Some((held.rank, paged(&held.down), paged(&held.up)))
    }

    /// Writes a factor into pages of one slab; gives the slab.
    fn place(&mut self, words: &[f32], pages: &mut Vec<(usize, u32)>) -> Result<usize, TensorError> {
        let count = words.len().div_ceil(PAGE);
        let slab = self.room(count)?;
        let Slab { data, free } = &mut self.slabs[slab];
        let taken = free.split_off(free.len() - count);
        for (page, chunk) in taken.iter().rev().zip(words.chunks(PAGE)) {
            let at = *page as u64 * PAGE_BYTES as u64;
            self.gpu.queue.write_buffer(data.buffer(), data.offset + at, bytemuck::cast_slice(chunk));
            pages.push((slab, *page));
        }
        Ok(slab)
    }

    /// A slab with `count` free pages: one that is there, one made free by what was used longest ago, or a new one.
    fn room(&mut self, count: usize) -> Result<usize, TensorError> {
        let fits = |slabs: &[Slab]| slabs.iter().position(|s| s.free.len() >= count);
        let binding = self.gpu.limits.max_storage_buffer_binding_size as usize / PAGE_BYTES * PAGE_BYTES;
        let size = SLAB.min(binding).max(count * PAGE_BYTES);
        while fits(&self.slabs).is_none() && (self.slabs.len() + 1) * size > self.budget {
            let clock = self.clock;
            let idle = self.residents.iter().filter(|(_, r)| r.used < clock).min_by_key(|(_, r)| r.used);
            let Some(oldest) = idle.map(|(key, _)| key.clone()) else { break };
            if let Some(resident) = self.residents.remove(&oldest) {
                self.give_back(resident.pages);
            }
        }
        if let Some(slab) = fits(&self.slabs) {
            return Ok(slab);
        }
        let data = Tensor::empty(&self.gpu, "adapter slab", 1, size / 4)?;
        // The last number is taken first: pages fill from the front.
        let free = (0..(size / PAGE_BYTES) as u32).rev().collect();
        self.slabs.push(Slab { data, free });
        Ok(self.slabs.len() - 1)
    }

    fn give_back(&mut self, pages: Vec<(usize, u32)>) {
        for (slab, page) in pages {
            self.slabs[slab].free.push(page);
        }
    }
}

/// Lines of `down`, one a rank, in the order of the layer's packed rows.
fn down_lines(factor: &LowRank, form: Form) -> Vec<f32> {
    let pack = Pack { out: factor.rank, inp: form.inp, kernel: form.kernel, glu: false };
    let packed = pack_reference(&factor.down, pack);
    let width = packed.len() / pack.rows();
    (0..factor.rank).flat_map(|r| packed.iter().skip(r).step_by(width).copied()).collect()
}

/// Lines of `up`, one a rank, in the order of the layer's packed columns.
fn up_lines(factor: &LowRank, form: Form) -> Vec<f32> {
    let pack = Pack { glu: form.glu, ..Pack::linear(form.out, factor.rank) };
    let mut packed = pack_reference(&factor.up, pack);
    packed.truncate(packed.len() / pack.rows() * factor.rank);
    packed
}

/// One number for each output of a part, in the order of the layer's packed columns.
pub(crate) fn line(values: &[f32], form: Form) -> Vec<f32> {
    let pack = Pack { glu: form.glu, ..Pack::linear(form.out, 1) };
    let mut packed = pack_reference(values, pack);
    packed.truncate(packed.len() / pack.rows());
    packed
}

#[cfg(test)]
mod tests {
    use super::*;
    use admix_tensor::DeviceOptions;

    /// Sixty-four adapters of different ranks stay; beyond the budget the one used longest ago goes, and its pages serve the next.
    #[test]
    fn pages_are_used_again() {
        let gpu = pollster::block_on(Gpu::open(&DeviceOptions::default())).expect("a Vulkan driver is installed");
        let mut pool = Pool { budget: SLAB, ..Pool::new(&gpu) };
        let form = |_: &str| Some(Form { out: 640, inp: 640, kernel: 1, glu: false });
        let factor =
            |rank: usize| LowRank::new(vec![1.0; 640 * rank], vec![1.0; 640 * rank], 640, rank, 1.0).expect("fits");
        let hold = |pool: &mut Pool, i: usize| {
            pool.begin();
            let factor = factor(4 + i % 13);
            let factors: Vec<(&str, &LowRank)> = ["a", "b", "c"].iter().map(|n| (*n, &factor)).collect();
            pool.hold(&i.to_string(), &factors, form).expect("there is room");
        };
        for i in 0..64 {
            hold(&mut pool, i);
        }
        assert_eq!((pool.len(), pool.slabs.len()), (64, 1));
        let mut all: Vec<(usize, u32)> = pool.residents.values().flat_map(|r| r.pages.clone()).collect();
        let count = all.len();
        all.sort_unstable();
        all.dedup();
        assert_eq!(all.len(), count, "no page has two owners");
        assert!(pool.get("7", "b").is_some_and(|(rank, down, up)| rank == 11 && down.len == 640 && up.lines == 11));
        let mut next = 64;
        while pool.residents.contains_key("0") {
            hold(&mut pool, 1);
            hold(&mut pool, next);
            next += 1;
        }
        assert!(pool.residents.contains_key("1") && pool.slabs.len() == 1);
        assert_eq!(pool.bytes() / PAGE_BYTES + pool.slabs[0].free.len(), SLAB / PAGE_BYTES);
    }
}
