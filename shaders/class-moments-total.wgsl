// Adds the blocks' shifted sums to those of their row set.
//
//   total[s, q, j] += Σ_{b in first[s] .. first[s+1]) ∩ this batch} partial[b − first_block, q, j],  q = 0, 1
//
// first    [sets + 1] first block of each set
// partial  [blocks of the batch × 2 × neurons]
// total    [sets × 2 × neurons]; zero before the first batch

@group(0) @binding(0) var<storage, read> first: array<u32>;
@group(0) @binding(1) var<storage, read> partial: array<f32>;
@group(0) @binding(2) var<storage, read_write> total: array<f32>;

struct Params {
  neurons: u32,
  sets: u32,
  first_block: u32,
  block_count: u32,
}
@group(0) @binding(3) var<uniform> params: Params;

override workgroup_size: u32 = 64u;

@compute @workgroup_size(workgroup_size)
fn class_moments_total(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let width = 2u * params.neurons;
  let tiles = (width + workgroup_size - 1u) / workgroup_size;
  let tile = linear_workgroup(group, grid);
  let row_set = tile / tiles;
  let column = (tile % tiles) * workgroup_size + lane;
  if (row_set >= params.sets || column >= width) {
    return;
  }
  let start = max(first[row_set], params.first_block);
  let end = min(first[row_set + 1u], params.first_block + params.block_count);
  if (start >= end) {
    return;
  }
  var sums = vec4<f32>();
  for (var b = start; b < end; b++) {
    // Four interleaved chains: a quarter of the depth.
    let value = partial[(b - params.first_block) * width + column];
    let lane_of_four = (b - start) & 3u;
    sums += select(vec4<f32>(), vec4<f32>(value), vec4<u32>(0u, 1u, 2u, 3u) == vec4<u32>(lane_of_four));
  }
  total[row_set * width + column] += (sums.x + sums.y) + (sums.z + sums.w);
}
