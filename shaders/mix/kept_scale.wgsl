// scale[i] = sum |change| / sum |kept change|, 1 where either is below 1e-7 (mergekit's rescaled_masked_tensor with the L1 norm).
struct Params { models: u32, pad0: u32, pad1: u32, pad2: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> totals: array<f32>;
@group(0) @binding(2) var<storage, read_write> scale: array<f32>;

@compute @workgroup_size(8)
fn main(@builtin(local_invocation_index) i: u32) {
  if (i >= p.models) { return; }
  let before = totals[2u * i];
  let after = totals[2u * i + 1u];
  scale[i] = select(before / after, 1.0, before < 1e-7 || after < 1e-7);
}
