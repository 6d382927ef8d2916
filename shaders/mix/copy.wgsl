// dst = src: the yardstick of merges. GROUPS vec4 a lane, WG lanes.
struct Params { groups: u32, row_groups: u32, pad0: u32, pad1: u32 }
@group(0) @binding(0) var<uniform> p: Params;
@group(0) @binding(1) var<storage, read> src: array<vec4<u32>>;
@group(0) @binding(2) var<storage, read_write> dst: array<vec4<u32>>;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let first = (wg.y * p.row_groups + wg.x) * GROUPS * WG + lane;
#for i GROUPS
  let g$i = min(first + $iu * WG, p.groups - 1u);
  dst[g$i] = src[g$i];
#end
}
