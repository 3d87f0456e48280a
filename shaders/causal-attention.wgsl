// Causal self-attention of packed sequences. A workgroup takes one head and a block of consecutive queries of one
// sequence, and goes over the keys before them tile by tile with an online softmax (Milakov and Gimelshein, "Online
// normalizer calculation for softmax", 2018), so that no matrix of scores exists outside the tile.
//
//   z[q] = Σ_k exp(s_qk)·value[k] / Σ_k exp(s_qk),   s_qk = scale·query[q]·key[k],   q − window < k ≤ q
//
// Where softcap is not 0, softcap·tanh(s_qk/softcap) takes the place of s_qk. Consecutive heads of queries share a head of
// keys and values.
//
// Thread (row, column) owns queries row + i·height, scores of keys column + j·width, and vectors column + v·width of
// the result. Keys and values take turns in one tile; its rows have one vector to spare, as in linear.wgsl.
//
// qkv     [tokens × (heads + 2·kv_heads) × head_width]: queries, keys, values
// blocks  [blocks × 3]: first token of the sequence, its end, first query of the block
// z       [tokens × z_stride]: heads side by side

@group(0) @binding(0) var<storage, read> qkv: array<f32>;
@group(0) @binding(1) var<storage, read> blocks: array<u32>;
@group(0) @binding(2) var<storage, read_write> z: array<f32>;

struct Params {
  block_count: u32,
  heads: u32,
  kv_heads: u32,
  head_width: u32,
  z_stride: u32,
  scale: f32,
  // 0: none.
  softcap: f32,
  // Keys that a query sees, itself included.
  window: u32,
}
@group(0) @binding(3) var<uniform> params: Params;

override workgroup_size: u32 = 256u;
// Threads of a workgroup side by side; its height is workgroup_size / workgroup_columns.
override workgroup_columns: u32 = 16u;
// At most 4; times ⌈head_vectors / workgroup_columns⌉, at most 16.
override queries_per_thread: u32 = 1u;
// At most 4.
override keys_per_thread: u32 = 1u;
// ⌈head_width / 4⌉.
override head_vectors: u32 = 16u;

var<workgroup> query_tile: array<
  vec4<f32>,
  queries_per_thread * (workgroup_size / workgroup_columns) * (head_vectors + 1u)
>;
var<workgroup> tile: array<vec4<f32>, keys_per_thread * workgroup_columns * (head_vectors + 1u)>;
var<workgroup> shares: array<
  f32,
  queries_per_thread * (workgroup_size / workgroup_columns) * (keys_per_thread * workgroup_columns + 1u)
>;
var<workgroup> maxima: array<
  f32,
  queries_per_thread * (workgroup_size / workgroup_columns) * workgroup_columns
>;

// Below every score of a finite model.
const LOWEST: f32 = -1e30;

/// Four values of one of a token's heads, counted through queries, keys and values; zeros past its width and the sequence.
fn load(token: u32, end: u32, head: u32, vector: u32) -> vec4<f32> {
  var value = vec4<f32>();
  if (token >= end) {
    return value;
  }
  let at = (token * (params.heads + 2u * params.kv_heads) + head) * params.head_width;
  let i = 4u * vector;
  if (i < params.head_width) {
    value.x = qkv[at + i];
  }
  if (i + 1u < params.head_width) {
    value.y = qkv[at + i + 1u];
  }
  if (i + 2u < params.head_width) {
    value.z = qkv[at + i + 2u];
  }
  if (i + 3u < params.head_width) {
    value.w = qkv[at + i + 3u];
  }
  return value;
}

fn seen(key: u32, query: u32) -> bool {
  return key <= query && query - key < params.window;
}

@compute @workgroup_size(workgroup_size)
fn causal_attention(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let item = linear_workgroup(group, grid);
  let at_block = item / params.heads;
  if (at_block >= params.block_count) {
    return;
  }
  let head = item % params.heads;
  let key_head = params.heads + head / (params.heads / params.kv_heads);
  let start = blocks[3u * at_block];
  let end = blocks[3u * at_block + 1u];
  let first_query = blocks[3u * at_block + 2u];

  let height = workgroup_size / workgroup_columns;
  let row = lane / workgroup_columns;
  let column = lane % workgroup_columns;
  let queries = queries_per_thread * height;
  let keys = keys_per_thread * workgroup_columns;
  let stride = head_vectors + 1u;
  let vectors_per_thread = (head_vectors + workgroup_columns - 1u) / workgroup_columns;

  for (var e = lane; e < queries * head_vectors; e += workgroup_size) {
    let q = e / head_vectors;
    let v = e % head_vectors;
    query_tile[q * stride + v] = params.scale * load(first_query + q, end, head, v);
  }

  var highest: array<f32, 4>;
  var total: array<f32, 4>;
  var sums: array<vec4<f32>, 16>;
  for (var i = 0u; i < queries_per_thread; i++) {
    highest[i] = LOWEST;
  }

  let last = min(end, first_query + queries);
  let oldest = max(start + params.window, first_query + 1u) - params.window;
  for (var first_key = oldest; first_key < last; first_key += keys) {
    for (var e = lane; e < keys * head_vectors; e += workgroup_size) {
      let k = e / head_vectors;
      let v = e % head_vectors;
      tile[k * stride + v] = load(first_key + k, end, key_head, v);
    }
    workgroupBarrier();

    // The zeros are spelt out: Dawn 0.6 sets a variable without an initial value once, not in every round of a loop.
    var scores = array<f32, 16>();
    for (var v = 0u; v < head_vectors; v++) {
      for (var i = 0u; i < queries_per_thread; i++) {
        let a = query_tile[(row + i * height) * stride + v];
        for (var j = 0u; j < keys_per_thread; j++) {
          let b = tile[(column + j * workgroup_columns) * stride + v];
          var sum = scores[i * 4u + j];
          sum = fma(a.x, b.x, sum);
          sum = fma(a.y, b.y, sum);
          sum = fma(a.z, b.z, sum);
          scores[i * 4u + j] = fma(a.w, b.w, sum);
        }
      }
    }
    for (var i = 0u; i < queries_per_thread; i++) {
      let q = row + i * height;
      var own = LOWEST;
      for (var j = 0u; j < keys_per_thread; j++) {
        if (params.softcap > 0.0) {
          scores[i * 4u + j] = capped(scores[i * 4u + j], params.softcap);
        }
        if (seen(first_key + column + j * workgroup_columns, first_query + q)) {
          own = max(own, scores[i * 4u + j]);
        }
      }
      maxima[q * workgroup_columns + column] = own;
    }
    workgroupBarrier();

    // The scores are done with the keys: the values take their place.
    for (var e = lane; e < keys * head_vectors; e += workgroup_size) {
      let k = e / head_vectors;
      let v = e % head_vectors;
      tile[k * stride + v] = load(first_key + k, end, key_head + params.kv_heads, v);
    }
    for (var i = 0u; i < queries_per_thread; i++) {
      let q = row + i * height;
      var new_highest = highest[i];
      for (var c = 0u; c < workgroup_columns; c++) {
        new_highest = max(new_highest, maxima[q * workgroup_columns + c]);
      }
      let shrink = exp(highest[i] - new_highest);
      highest[i] = new_highest;
      total[i] *= shrink;
      for (var v = 0u; v < vectors_per_thread; v++) {
        sums[i * vectors_per_thread + v] *= shrink;
      }
      for (var j = 0u; j < keys_per_thread; j++) {
        let k = column + j * workgroup_columns;
        let share = exp(min(scores[i * 4u + j] - new_highest, 0.0));
        shares[q * (keys + 1u) + k] = select(0.0, share, seen(first_key + k, first_query + q));
      }
    }
    workgroupBarrier();

    for (var k = 0u; k < keys; k++) {
      for (var i = 0u; i < queries_per_thread; i++) {
        let share = shares[(row + i * height) * (keys + 1u) + k];
        total[i] += share;
        for (var v = 0u; v < vectors_per_thread; v++) {
          // Threads past the last vector read the spare one.
          let value = tile[k * stride + min(column + v * workgroup_columns, head_vectors)];
          sums[i * vectors_per_thread + v] = fma(vec4<f32>(share), value, sums[i * vectors_per_thread + v]);
        }
      }
    }
    workgroupBarrier();
  }

  for (var i = 0u; i < queries_per_thread; i++) {
    let token = first_query + row + i * height;
    if (token >= end) {
      continue;
    }
    for (var v = 0u; v < vectors_per_thread; v++) {
      let first = 4u * (column + v * workgroup_columns);
      let value = sums[i * vectors_per_thread + v] / total[i];
      let at = token * params.z_stride + head * params.head_width + first;
      for (var c = 0u; c < 4u; c++) {
        if (first + c < params.head_width) {
          z[at + c] = value[c];
        }
      }
    }
  }
}
