// A linear map of some rows, with what follows it: the non-linearity, or the addition to the residual stream.
//
//   y[m, first_output + n] = activated(Σ_k x[m, k]·weight[n, k] + bias[first_output + n])   (+ its old value)
//
// A weight in several parts takes one dispatch per part. A workgroup computes a tile of y: the rows and outputs that
// thread (row, column) owns are rows_per_thread and columns_per_thread apart by the workgroup's height and width, so
// that neighbouring threads store neighbouring values. Tiles of x and weight pass through workgroup memory with one
// unused vector per row, which keeps the reads of neighbouring threads in different banks.
//
// x       [rows × inputs] vectors of four values
// weight  [outputs × inputs] vectors of four values
// bias    [all outputs]
// y       [rows × y_stride]

@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> weight: array<vec4<f32>>;
@group(0) @binding(2) var<storage, read> bias: array<f32>;
@group(0) @binding(3) var<storage, read_write> y: array<f32>;

struct Params {
  rows: u32,
  // Vectors of four values: the last one is filled up with zeros in x and weight.
  inputs: u32,
  // Rows of this part of the weight.
  outputs: u32,
  // Number of rows in the parts before.
  first_output: u32,
  y_stride: u32,
  // Number of the non-linearity, see lib/mlp-activation.wgsl.
  activation: u32,
  // 1: add to y.
  accumulate: u32,
}
@group(0) @binding(4) var<uniform> params: Params;

override workgroup_size: u32 = 256u;
// Threads of a workgroup side by side; its height is workgroup_size / workgroup_columns.
override workgroup_columns: u32 = 16u;
// At most 8 each.
override rows_per_thread: u32 = 4u;
override columns_per_thread: u32 = 4u;
// Vectors of inputs that a tile holds.
override tile_inputs: u32 = 4u;

var<workgroup> x_tile: array<
  vec4<f32>,
  rows_per_thread * (workgroup_size / workgroup_columns) * (tile_inputs + 1u)
>;
var<workgroup> weight_tile: array<vec4<f32>, columns_per_thread * workgroup_columns * (tile_inputs + 1u)>;

@compute @workgroup_size(workgroup_size)
fn linear(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let height = workgroup_size / workgroup_columns;
  let thread_row = lane / workgroup_columns;
  let thread_column = lane % workgroup_columns;
  let tile_rows = rows_per_thread * height;
  let tile_columns = columns_per_thread * workgroup_columns;
  let first_row = group.y * tile_rows;
  let first_column = group.x * tile_columns;
  let stride = tile_inputs + 1u;

  var sums: array<f32, 64>;
  for (var start = 0u; start < params.inputs; start += tile_inputs) {
    for (var e = lane; e < tile_rows * tile_inputs; e += workgroup_size) {
      let m = e / tile_inputs;
      let k = e % tile_inputs;
      var value = vec4<f32>();
      if (first_row + m < params.rows && start + k < params.inputs) {
        value = x[(first_row + m) * params.inputs + start + k];
      }
      x_tile[m * stride + k] = value;
    }
    for (var e = lane; e < tile_columns * tile_inputs; e += workgroup_size) {
      let n = e / tile_inputs;
      let k = e % tile_inputs;
      var value = vec4<f32>();
      if (first_column + n < params.outputs && start + k < params.inputs) {
        value = weight[(first_column + n) * params.inputs + start + k];
      }
      weight_tile[n * stride + k] = value;
    }
    workgroupBarrier();
    for (var k = 0u; k < tile_inputs; k++) {
      var a: array<vec4<f32>, 8>;
      for (var i = 0u; i < rows_per_thread; i++) {
        a[i] = x_tile[(thread_row + i * height) * stride + k];
      }
      for (var j = 0u; j < columns_per_thread; j++) {
        let b = weight_tile[(thread_column + j * workgroup_columns) * stride + k];
        for (var i = 0u; i < rows_per_thread; i++) {
          var sum = sums[i * 8u + j];
          sum = fma(a[i].x, b.x, sum);
          sum = fma(a[i].y, b.y, sum);
          sum = fma(a[i].z, b.z, sum);
          sums[i * 8u + j] = fma(a[i].w, b.w, sum);
        }
      }
    }
    workgroupBarrier();
  }

  for (var i = 0u; i < rows_per_thread; i++) {
    let m = first_row + thread_row + i * height;
    for (var j = 0u; j < columns_per_thread; j++) {
      let n = first_column + thread_column + j * workgroup_columns;
      if (m < params.rows && n < params.outputs) {
        let output = params.first_output + n;
        let place = m * params.y_stride + output;
        var value = activated(sums[i * 8u + j] + bias[output], params.activation);
        if (params.accumulate == 1u) {
          value += y[place];
        }
        y[place] = value;
      }
    }
  }
}
