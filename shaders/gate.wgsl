// The neurons of a gated MLP, in place of its gate: y = activated(y)·x over the first count values.
//
// x  [count or more]
// y  [count or more]

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read_write> y: array<f32>;

struct Params {
  count: u32,
  // Number of the non-linearity, see lib/mlp-activation.wgsl.
  activation: u32,
}
@group(0) @binding(2) var<uniform> params: Params;

override workgroup_size: u32 = 64u;

@compute @workgroup_size(workgroup_size)
fn gate(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let i = linear_workgroup(group, grid) * workgroup_size + lane;
  if (i < params.count) {
    y[i] = activated(y[i], params.activation) * x[i];
  }
}
