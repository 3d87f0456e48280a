// Shifted sums of every neuron over blocks of rows that have the same labels.
//
//   v = x[i, j] − pivots[set(b), j]
//   partial[b, 0, j] = Σ_{i in block b} v      partial[b, 1, j] = Σ_{i in block b} v²
//
// One read of x serves every label set: rows with the same labels in all of them form one set, and the host adds sets
// to classes. Four rows at a time keep loads in flight and the sums' depth at a quarter of the block. Neighbouring threads
// read neighbouring words; where rows are whole words, a thread takes all values of its word.
//
// x        [chunk rows × neurons] values in their storage type (lib/storage.wgsl)
// code     [2 × neurons] scales, then offsets; read with unsigned bytes only
// members  rows of the chunk, set after set
// blocks   (first member, one past the last member, set, 0) of each block
// pivots   [sets × neurons]
// partial  [blocks of this dispatch × 2 × neurons]

@group(0) @binding(0) var<storage, read> x: array<u32>;
@group(0) @binding(1) var<storage, read> code: array<f32>;
@group(0) @binding(2) var<storage, read> members: array<u32>;
@group(0) @binding(3) var<storage, read> blocks: array<vec4<u32>>;
@group(0) @binding(4) var<storage, read> pivots: array<f32>;
@group(0) @binding(5) var<storage, read_write> partial: array<f32>;

struct Params {
  neurons: u32,
  // Blocks [first_block, first_block + block_count) are summed.
  first_block: u32,
  block_count: u32,
}
@group(0) @binding(6) var<uniform> params: Params;

override workgroup_size: u32 = 64u;
// 1: rows are whole words, and a thread takes the 2^storage_type neurons of one; 0: one neuron.
override whole_words: u32 = 1u;

/// The stored values of a word, or the one value at an index.
fn values_of(word: u32, index: u32) -> vec4<f32> {
  if (whole_words == 0u || storage_type == 0u) {
    return vec4<f32>(decode(word, index), 0.0, 0.0, 0.0);
  }
  if (storage_type == 1u) {
    return vec4<f32>(unpack2x16float(word), 0.0, 0.0);
  }
  return vec4<f32>((vec4<u32>(word) >> vec4<u32>(0u, 8u, 16u, 24u)) & vec4<u32>(0xffu));
}

@compute @workgroup_size(workgroup_size)
fn class_moments(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let d = params.neurons;
  let per_thread = select(1u, 1u << storage_type, whole_words == 1u);
  let columns = d / per_thread;
  let tiles = (columns + workgroup_size - 1u) / workgroup_size;
  let tile = linear_workgroup(group, grid);
  let b = tile / tiles;
  let column = (tile % tiles) * workgroup_size + lane;
  if (b >= params.block_count || column >= columns) {
    return;
  }
  let j = column * per_thread;
  let chunk = blocks[params.first_block + b];
  var scale = vec4<f32>(1.0);
  var offset = vec4<f32>();
  var pivot = vec4<f32>();
  for (var c = 0u; c < per_thread; c++) {
    pivot[c] = pivots[chunk.z * d + j + c];
    if (storage_type == 2u) {
      scale[c] = code[j + c];
      offset[c] = code[d + j + c];
    }
  }
  var sums_0 = vec4<f32>();
  var sums_1 = vec4<f32>();
  var sums_2 = vec4<f32>();
  var sums_3 = vec4<f32>();
  var squares_0 = vec4<f32>();
  var squares_1 = vec4<f32>();
  var squares_2 = vec4<f32>();
  var squares_3 = vec4<f32>();
  var m = chunk.x;
  for (; m + 4u <= chunk.y; m += 4u) {
    let index = vec4<u32>(members[m], members[m + 1u], members[m + 2u], members[m + 3u]) * d + j;
    let words = vec4<u32>(
      x[word_of(index.x)],
      x[word_of(index.y)],
      x[word_of(index.z)],
      x[word_of(index.w)],
    );
    let v_0 = fma(scale, values_of(words.x, index.x), offset) - pivot;
    let v_1 = fma(scale, values_of(words.y, index.y), offset) - pivot;
    let v_2 = fma(scale, values_of(words.z, index.z), offset) - pivot;
    let v_3 = fma(scale, values_of(words.w, index.w), offset) - pivot;
    sums_0 += v_0;
    sums_1 += v_1;
    sums_2 += v_2;
    sums_3 += v_3;
    squares_0 += v_0 * v_0;
    squares_1 += v_1 * v_1;
    squares_2 += v_2 * v_2;
    squares_3 += v_3 * v_3;
  }
  for (; m < chunk.y; m++) {
    let index = members[m] * d + j;
    let v = fma(scale, values_of(x[word_of(index)], index), offset) - pivot;
    sums_0 += v;
    squares_0 += v * v;
  }
  let sums = (sums_0 + sums_1) + (sums_2 + sums_3);
  let squares = (squares_0 + squares_1) + (squares_2 + squares_3);
  for (var c = 0u; c < per_thread; c++) {
    partial[2u * b * d + j + c] = sums[c];
    partial[(2u * b + 1u) * d + j + c] = squares[c];
  }
}
