// Shifted sums of every neuron over blocks of rows that have the same labels.
//
//   v = x[i, j] − pivots[set(b), j]
//   partial[b, 0, j] = Σ_{i in block b} v      partial[b, 1, j] = Σ_{i in block b} v²
//
// One read of x serves every label set: rows with the same labels in all of them form one set, and the host adds sets
// to classes. Four accumulators a thread keep loads in flight and the sums' depth at a quarter of the block.
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

@compute @workgroup_size(workgroup_size)
fn class_moments(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let d = params.neurons;
  let tiles = (d + workgroup_size - 1u) / workgroup_size;
  let tile = linear_workgroup(group, grid);
  let b = tile / tiles;
  let j = (tile % tiles) * workgroup_size + lane;
  if (b >= params.block_count || j >= d) {
    return;
  }
  let chunk = blocks[params.first_block + b];
  var scale = 1.0;
  var offset = 0.0;
  if (storage_type == 2u) {
    scale = code[j];
    offset = code[d + j];
  }
  let pivot = pivots[chunk.z * d + j];
  var sums = vec4<f32>();
  var squares = vec4<f32>();
  var m = chunk.x;
  for (; m + 4u <= chunk.y; m += 4u) {
    let index = vec4<u32>(members[m], members[m + 1u], members[m + 2u], members[m + 3u]) * d + j;
    let stored = vec4<f32>(
      decode(x[word_of(index.x)], index.x),
      decode(x[word_of(index.y)], index.y),
      decode(x[word_of(index.z)], index.z),
      decode(x[word_of(index.w)], index.w),
    );
    let v = fma(vec4<f32>(scale), stored, vec4<f32>(offset)) - pivot;
    sums += v;
    squares += v * v;
  }
  for (; m < chunk.y; m++) {
    let index = members[m] * d + j;
    let v = fma(scale, decode(x[word_of(index)], index), offset) - pivot;
    sums.x += v;
    squares.x += v * v;
  }
  partial[2u * b * d + j] = (sums.x + sums.y) + (sums.z + sums.w);
  partial[(2u * b + 1u) * d + j] = (squares.x + squares.y) + (squares.z + squares.w);
}
