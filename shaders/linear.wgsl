// A linear map of some rows, with what follows it: the non-linearity, the addition to the residual stream, the product with
// what a gate lets through.
//
//   y[m, first_column + n] = activated(Σ_k x[m, k]·weight[n, k] + bias[first_output + n])   (+ or · its old value)
//
// A weight in several parts takes one dispatch per part. A workgroup computes a tile of y: the rows and outputs that
// thread (row, column) owns, rows_per_thread and four of them, are apart by the workgroup's height and width, so that
// neighbouring threads store neighbouring values; the four sums of a row are a vector of their own, which stays in
// registers. Tiles of x and weight pass through workgroup memory with one unused vector per row, which keeps the reads of
// neighbouring threads in different banks.
//
// x       [rows × inputs] vectors of four values
// weight  [outputs × words] of 16 bytes: four values, or eight of 16 bits (lib/weights.wgsl)
// bias    [all outputs]
// y       [rows × y_stride]

@group(0) @binding(0) var<storage, read> x: array<vec4<f32>>;
@group(0) @binding(1) var<storage, read> weight: array<vec4<u32>>;
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
  // Where its outputs go in a row of y.
  first_column: u32,
  y_stride: u32,
  // Number of the non-linearity, see lib/mlp-activation.wgsl.
  activation: u32,
  // 0: overwrite y; 1: add to it; 2: multiply it.
  combine: u32,
}
@group(0) @binding(4) var<uniform> params: Params;

override workgroup_size: u32 = 256u;
// Threads of a workgroup side by side; its height is workgroup_size / workgroup_columns.
override workgroup_columns: u32 = 16u;
// 1, 4 or 8.
override rows_per_thread: u32 = 4u;
// Vectors of inputs that a tile holds; an even number where weights have 16 bits.
override tile_inputs: u32 = 4u;

var<workgroup> x_tile: array<
  vec4<f32>,
  rows_per_thread * (workgroup_size / workgroup_columns) * (tile_inputs + 1u)
>;
var<workgroup> weight_tile: array<vec4<f32>, 4u * workgroup_columns * (tile_inputs + 1u)>;

/// Four inputs of a row of x, times those of four outputs, `b` by input, added to their sums.
fn accumulated(sums: vec4<f32>, at: u32, b: mat4x4<f32>) -> vec4<f32> {
  let a = x_tile[at];
  return fma(vec4<f32>(a.w), b[3], fma(vec4<f32>(a.z), b[2], fma(vec4<f32>(a.y), b[1], fma(vec4<f32>(a.x), b[0], sums))));
}

/// Finishes the four values of a row, `apart` columns apart, and stores them.
fn finish(sums: vec4<f32>, row: u32, column: u32, apart: u32) {
  if (row >= params.rows) {
    return;
  }
  for (var j = 0u; j < 4u; j++) {
    let n = column + j * apart;
    if (n < params.outputs) {
      let place = row * params.y_stride + params.first_column + n;
      var value = activated(sums[j] + bias[params.first_output + n], params.activation);
      if (params.combine == 1u) {
        value += y[place];
      } else if (params.combine == 2u) {
        value *= y[place];
      }
      y[place] = value;
    }
  }
}

@compute @workgroup_size(workgroup_size)
fn linear(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let height = workgroup_size / workgroup_columns;
  let thread_row = lane / workgroup_columns;
  let thread_column = lane % workgroup_columns;
  let tile_rows = rows_per_thread * height;
  let tile_columns = 4u * workgroup_columns;
  let first_row = group.y * tile_rows;
  let first_column = group.x * tile_columns;
  let stride = tile_inputs + 1u;
  // Vectors of inputs in a word of weights; words in a row, and in a row of the tile.
  let per_word = select(2u, 1u, weight_type == 0u);
  let words = (params.inputs + per_word - 1u) / per_word;
  let tile_words = tile_inputs / per_word;

  var sums_0 = vec4<f32>();
  var sums_1 = vec4<f32>();
  var sums_2 = vec4<f32>();
  var sums_3 = vec4<f32>();
  var sums_4 = vec4<f32>();
  var sums_5 = vec4<f32>();
  var sums_6 = vec4<f32>();
  var sums_7 = vec4<f32>();
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
    for (var e = lane; e < tile_columns * tile_words; e += workgroup_size) {
      let n = e / tile_words;
      let k = e % tile_words;
      var word = vec4<u32>();
      if (first_column + n < params.outputs && start / per_word + k < words) {
        word = weight[(first_column + n) * words + start / per_word + k];
      }
      if (weight_type == 0u) {
        weight_tile[n * stride + k] = bitcast<vec4<f32>>(word);
      } else {
        weight_tile[n * stride + 2u * k] = weight_values(word.xy);
        weight_tile[n * stride + 2u * k + 1u] = weight_values(word.zw);
      }
    }
    workgroupBarrier();
    for (var k = 0u; k < tile_inputs; k++) {
      let apart = workgroup_columns * stride;
      let at_weight = thread_column * stride + k;
      let b = transpose(mat4x4<f32>(
        weight_tile[at_weight],
        weight_tile[at_weight + apart],
        weight_tile[at_weight + 2u * apart],
        weight_tile[at_weight + 3u * apart],
      ));
      let at = thread_row * stride + k;
      let below = height * stride;
      sums_0 = accumulated(sums_0, at, b);
      if (rows_per_thread > 1u) {
        sums_1 = accumulated(sums_1, at + below, b);
        sums_2 = accumulated(sums_2, at + 2u * below, b);
        sums_3 = accumulated(sums_3, at + 3u * below, b);
      }
      if (rows_per_thread > 4u) {
        sums_4 = accumulated(sums_4, at + 4u * below, b);
        sums_5 = accumulated(sums_5, at + 5u * below, b);
        sums_6 = accumulated(sums_6, at + 6u * below, b);
        sums_7 = accumulated(sums_7, at + 7u * below, b);
      }
    }
    workgroupBarrier();
  }

  let row = first_row + thread_row;
  let column = first_column + thread_column;
  finish(sums_0, row, column, workgroup_columns);
  if (rows_per_thread > 1u) {
    finish(sums_1, row + height, column, workgroup_columns);
    finish(sums_2, row + 2u * height, column, workgroup_columns);
    finish(sums_3, row + 3u * height, column, workgroup_columns);
  }
  if (rows_per_thread > 4u) {
    finish(sums_4, row + 4u * height, column, workgroup_columns);
    finish(sums_5, row + 5u * height, column, workgroup_columns);
    finish(sums_6, row + 6u * height, column, workgroup_columns);
    finish(sums_7, row + 7u * height, column, workgroup_columns);
  }
}
