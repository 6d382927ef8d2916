// Factors of an adapter from their pages into a bank: the factors of everything that runs beside a layer, side by side, as the products read
// them. Mirrors kernels/adapter_bank.rs.
//
// A factor is `lines` lines of `len` words, one a rank, cut into pages of PAGE words that lie anywhere in `slab`; `table` says where.
// UP 0: lines become columns of `dst` from `first` on (down: [inputs, all ranks]). UP 1: lines become rows from `first` on, at `column` of rows that
// are zero elsewhere, times `scale` (up: [all ranks, outputs]). Ranks are padded to fours with zeros.
struct Params {
  table_at: u32, len: u32, lines: u32, first: u32,
  ld: u32, column: u32, padded: u32, total: u32,
  scale: f32, row_groups: u32, pad0: u32, pad1: u32,
}
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> slab: array<f32>;
@group(0) @binding(2) var<storage, read> table: array<u32>;
@group(0) @binding(3) var<storage, read_write> dst: array<f32>;

fn fetch(line: u32, i: u32) -> f32 {
  if (line >= p.lines || i >= p.len) { return 0.0; }
  let at = line * p.len + i;
  return slab[table[p.table_at + at / PAGE] * PAGE + at % PAGE];
}

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let at = (wg.y * p.row_groups + wg.x) * 64u + lane;
  if (at >= p.total) { return; }
#if UP
  let line = at / p.ld;
  let column = at - line * p.ld;
  // Columns before the part wrap around to numbers beyond every line.
  dst[(p.first + line) * p.ld + column] = p.scale * fetch(line, column - p.column);
#else
  let row = at / p.padded;
  let line = at - row * p.padded;
  dst[row * p.ld + p.first + line] = fetch(line, row);
#endif
}
