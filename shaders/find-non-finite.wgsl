// Finds a value that is not finite.
//
//   first[0] = min(first[0], min {i : values[i] is NaN or infinite})
//
// Values are compared by their bits: float comparisons with them mean nothing in WGSL.
//
// values  [count] bits of float32
// first   [1] large before the first dispatch

@group(0) @binding(0) var<storage, read> values: array<u32>;
@group(0) @binding(1) var<storage, read_write> first: array<atomic<u32>>;

struct Params {
  count: u32,
  // Threads of the dispatch: each looks at every threads-th value.
  threads: u32,
}
@group(0) @binding(2) var<uniform> params: Params;

override workgroup_size: u32 = 64u;

@compute @workgroup_size(workgroup_size)
fn find_non_finite(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let start = linear_workgroup(group, grid) * workgroup_size + lane;
  if (start >= params.threads) {
    return;
  }
  for (var i = start; i < params.count; i += params.threads) {
    if ((values[i] & 0x7f800000u) == 0x7f800000u) {
      atomicMin(&first[0], i);
      return;
    }
  }
}
