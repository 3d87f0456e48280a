// Rotary position embedding of queries and keys, in place: value i of a head is paired with value i + half.
//
//   (a, b) → (a·cos − b·sin, b·cos + a·sin),   angle = position·frequency_i
//
// Cosines and sines come from a table, because those of WGSL are exact to 2^−11 only.
//
// qkv        [tokens × row_stride]: heads of head_width, of which the first `heads` are queries and keys
// turns      [positions × 2 × half]: cosines, then sines
// positions  [tokens] in the token's own sequence

@group(0) @binding(0) var<storage, read_write> qkv: array<f32>;
@group(0) @binding(1) var<storage, read> turns: array<f32>;
@group(0) @binding(2) var<storage, read> positions: array<u32>;

struct Params {
  tokens: u32,
  row_stride: u32,
  heads: u32,
  head_width: u32,
  half: u32,
}
@group(0) @binding(3) var<uniform> params: Params;

override workgroup_size: u32 = 64u;

@compute @workgroup_size(workgroup_size)
fn rotary(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let half = params.half;
  let item = linear_workgroup(group, grid) * workgroup_size + lane;
  if (item >= params.tokens * params.heads * half) {
    return;
  }
  let i = item % half;
  let part = item / half;
  let token = part / params.heads;
  let at = token * params.row_stride + part % params.heads * params.head_width + i;
  let turn = positions[token] * 2u * half + i;
  let cosine = turns[turn];
  let sine = turns[turn + half];
  let a = qkv[at];
  let b = qkv[at + half];
  qkv[at] = a * cosine - b * sine;
  qkv[at + half] = b * cosine + a * sine;
}
