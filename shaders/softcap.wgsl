// Limits logits in place: y = cap·tanh(y/cap) over the first count values.
//
// y  [count or more]

@group(0) @binding(0) var<storage, read_write> y: array<f32>;

struct Params {
  count: u32,
  cap: f32,
}
@group(0) @binding(1) var<uniform> params: Params;

override workgroup_size: u32 = 64u;

@compute @workgroup_size(workgroup_size)
fn softcap(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = linear_workgroup(group, grid) * workgroup_size + lane;
  if (i < params.count) {
    y[i] = capped(y[i], params.cap);
  }
}
