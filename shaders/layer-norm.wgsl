// Layer norm or RMS norm of each row; one workgroup per row.
//
//   y[r, j] = (x[r, j] − mean_r)/√(variance_r + epsilon)·gain[j] + bias[j],   variance_r = mean of (x[r, j] − mean_r)²
//
// An RMS norm takes 0 for the mean.
//
// x     [rows × width]
// gain  [width]
// bias  [width]
// y     [rows × y_stride]; columns from width on are left alone

@group(0) @binding(0) var<storage, read> x: array<f32>;
@group(0) @binding(1) var<storage, read> gain: array<f32>;
@group(0) @binding(2) var<storage, read> bias: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

struct Params {
  rows: u32,
  width: u32,
  y_stride: u32,
  epsilon: f32,
  // 0: RMS norm.
  centred: u32,
}
@group(0) @binding(4) var<uniform> params: Params;

@compute @workgroup_size(workgroup_size)
fn layer_norm(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let row = linear_workgroup(group, grid);
  if (row >= params.rows) {
    return;
  }
  let width = params.width;
  var mean = 0.0;
  if (params.centred == 1u) {
    var sum = 0.0;
    for (var j = lane; j < width; j += workgroup_size) {
      sum += x[row * width + j];
    }
    mean = workgroup_sum(sum, lane) / f32(width);
  }
  var squares = 0.0;
  for (var j = lane; j < width; j += workgroup_size) {
    let centred = x[row * width + j] - mean;
    squares = fma(centred, centred, squares);
  }
  let scale = 1.0 / sqrt(workgroup_sum(squares, lane) / f32(width) + params.epsilon);
  for (var j = lane; j < width; j += workgroup_size) {
    y[row * params.y_stride + j] = fma((x[row * width + j] - mean) * scale, gain[j], bias[j]);
  }
}
