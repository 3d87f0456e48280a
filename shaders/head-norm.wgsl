// RMS norm of every head of queries, or of keys, in place; one workgroup per token and head.
//
//   x[j] ← x[j]/√(mean of x² + epsilon)·gain[j],   x a head of a token
//
// x     [rows × row_stride]; a row's heads follow one another from first_column on
// gain  [width]

@group(0) @binding(0) var<storage, read_write> x: array<f32>;
@group(0) @binding(1) var<storage, read> gain: array<f32>;

struct Params {
  rows: u32,
  row_stride: u32,
  first_column: u32,
  heads: u32,
  width: u32,
  epsilon: f32,
}
@group(0) @binding(2) var<uniform> params: Params;

@compute @workgroup_size(workgroup_size)
fn head_norm(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let item = linear_workgroup(group, grid);
  let row = item / params.heads;
  if (row >= params.rows) {
    return;
  }
  let width = params.width;
  let at = row * params.row_stride + params.first_column + item % params.heads * width;
  var squares = 0.0;
  for (var j = lane; j < width; j += workgroup_size) {
    squares = fma(x[at + j], x[at + j], squares);
  }
  let scale = 1.0 / sqrt(workgroup_sum(squares, lane) / f32(width) + params.epsilon);
  for (var j = lane; j < width; j += workgroup_size) {
    x[at + j] = x[at + j] * scale * gain[j];
  }
}
