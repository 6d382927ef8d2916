// Fused attention: softmax(scale q k^T) v by online softmax over blocks of four keys; scores never reach memory. Mirrors kernels/attention.rs.
// DV = head size in vec4, rounded up; ALIGNED: head size and offsets are multiples of 4. QB queries a thread share each key they load.
// SHARED: keys and values pass through workgroup memory in blocks of KB (hardware adapters).
struct Params {
  tq: u32, tk: u32, heads: u32, d: u32,
  ldq: u32, ldk: u32, ldv: u32, ldo: u32,
  q_at: u32, k_at: u32, v_at: u32, causal: u32,
  scale: f32, pad0: u32, pad1: u32, pad2: u32,
}
@group(0) @binding(0) var<uniform> p: Params;
#if ALIGNED
@group(0) @binding(1) var<storage, read> q: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> k: array<vec4<f32>>;
@group(0) @binding(3) var<storage, read> v: array<vec4<f32>>;
fn load_q(at: u32, i: u32) -> vec4<f32> { return q[at / 4u + i]; }
fn load_k(at: u32, i: u32) -> vec4<f32> { return k[at / 4u + i]; }
fn load_v(at: u32, i: u32) -> vec4<f32> { return v[at / 4u + i]; }
#else
@group(0) @binding(1) var<storage, read> q: array<f32>;
@group(0) @binding(2) var<storage, read> k: array<f32>;
@group(0) @binding(3) var<storage, read> v: array<f32>;
fn load_q(at: u32, i: u32) -> vec4<f32> {
  let o = i * 4u;
  let last = p.d - 1u;
  let raw = vec4<f32>(q[at + o], q[at + min(o + 1u, last)], q[at + min(o + 2u, last)], q[at + min(o + 3u, last)]);
  return select(vec4<f32>(0.0), raw, vec4<u32>(o, o + 1u, o + 2u, o + 3u) < vec4<u32>(p.d));
}
fn load_k(at: u32, i: u32) -> vec4<f32> {
  let o = i * 4u;
  let last = p.d - 1u;
  let raw = vec4<f32>(k[at + o], k[at + min(o + 1u, last)], k[at + min(o + 2u, last)], k[at + min(o + 3u, last)]);
  return select(vec4<f32>(0.0), raw, vec4<u32>(o, o + 1u, o + 2u, o + 3u) < vec4<u32>(p.d));
}
fn load_v(at: u32, i: u32) -> vec4<f32> {
  let o = i * 4u;
  let last = p.d - 1u;
  let raw = vec4<f32>(v[at + o], v[at + min(o + 1u, last)], v[at + min(o + 2u, last)], v[at + min(o + 3u, last)]);
  return select(vec4<f32>(0.0), raw, vec4<u32>(o, o + 1u, o + 2u, o + 3u) < vec4<u32>(p.d));
}
#endif
@group(0) @binding(4) var<storage, read_write> out: array<f32>;

const LOW: f32 = -3.0e38;

#if SHARED
var<workgroup> block_k: array<vec4<f32>, KB * DV>;
var<workgroup> block_v: array<vec4<f32>, KB * DV>;
#endif

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) wg: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
  let head = wg.y % p.heads;
  let sample = wg.y / p.heads;
  let first = (wg.x * WG + lane) * QB;
#if !SHARED
  if (first >= p.tq) { return; }
#endif
  let k_start = sample * p.tk * p.ldk + p.k_at + head * p.d;
  let v_start = sample * p.tk * p.ldv + p.v_at + head * p.d;
#for b QB
  let t$b = min(first + $bu, p.tq - 1u);
  let q_start$b = (sample * p.tq + t$b) * p.ldq + p.q_at + head * p.d;
#for i DV
  let q$b_$i = load_q(q_start$b, $iu) * p.scale;
  var o$b_$i = vec4<f32>(0.0);
#end
  var top$b = LOW;
  var sum$b = 0.0;
#end
#if SHARED
  for (var block = 0u; block < p.tk; block += KB) {
    for (var i = lane; i < KB * DV; i += WG) {
      let key = min(block + i / DV, p.tk - 1u);
      block_k[i] = load_k(k_start + key * p.ldk, i % DV);
      block_v[i] = load_v(v_start + key * p.ldv, i % DV);
    }
    workgroupBarrier();
    for (var j = block; j < block + KB; j += 4u) {
#else
    for (var j = 0u; j < p.tk; j += 4u) {
#endif
#for b QB
      var s$b = vec4<f32>(0.0);
#end
#for i DV
      {
#for n 4
#if SHARED
        let key$n = block_k[(j - block + $nu) * DV + $iu];
#else
        let key$n = load_k(k_start + min(j + $nu, p.tk - 1u) * p.ldk, $iu);
#endif
#end
#for b QB
        s$b += vec4<f32>(dot(q$b_$i, key0), dot(q$b_$i, key1), dot(q$b_$i, key2), dot(q$b_$i, key3));
#end
      }
#end
#for b QB
      let limit$b = select(p.tk, min(p.tk, t$b + 1u), p.causal != 0u);
      s$b = select(vec4<f32>(LOW), s$b, vec4<u32>(j, j + 1u, j + 2u, j + 3u) < vec4<u32>(limit$b));
      let peak$b = max(max(top$b, max(s$b.x, s$b.y)), max(s$b.z, s$b.w));
      let fade$b = exp(top$b - peak$b);
      // Masked scores stay exactly 0 even in a block that is masked throughout.
      let e$b = select(vec4<f32>(0.0), exp(s$b - peak$b), s$b > vec4<f32>(LOW));
      sum$b = sum$b * fade$b + (e$b.x + e$b.y) + (e$b.z + e$b.w);
      top$b = peak$b;
#end
#for i DV
      {
#for n 4
#if SHARED
        let val$n = block_v[(j - block + $nu) * DV + $iu];
#else
        let val$n = load_v(v_start + min(j + $nu, p.tk - 1u) * p.ldv, $iu);
#endif
#end
#for b QB
        o$b_$i = o$b_$i * fade$b + e$b.x * val0 + e$b.y * val1 + e$b.z * val2 + e$b.w * val3;
#end
      }
#end
    }
#if SHARED
    workgroupBarrier();
  }
#endif
#for b QB
  if (first + $bu < p.tq) {
    let at = (sample * p.tq + first + $bu) * p.ldo + head * p.d;
    let inv = 1.0 / sum$b;
#for i DV
    {
      let r = o$b_$i * inv;
      let left = p.d - min(p.d, $iu * 4u);
      if (left > 0u) { out[at + $iu * 4u] = r.x; }
      if (left > 1u) { out[at + $iu * 4u + 1u] = r.y; }
      if (left > 2u) { out[at + $iu * 4u + 2u] = r.z; }
      if (left > 3u) { out[at + $iu * 4u + 3u] = r.w; }
    }
#end
  }
#end
}
