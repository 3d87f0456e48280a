// Decides about every neuron's own probe and takes a step with the factor that float32 left: one thread per feature and
// neuron. The conditions are those of certificate_step.
//
//   g_b = G_c,  g_w = (G_v − center·G_c)·inverse_scale + w;   decrement = gᵀ(L·Lᵀ)⁻¹g/(2·C·Σω)
//
// probes   [features × neurons]
// sums     [features × slices × 6 × neurons] of single_neuron_certificate
// results  [8 × features × neurons] weight, intercept and objective as doubles, decrement, and what became of the probe:
//          1 certified, 2 left to the host, 3 not finite
// waiting  [1] number of probes that are neither certified nor refused

@group(0) @binding(0) var<storage, read_write> probes: array<NeuronProbe>;
@group(0) @binding(1) var<storage, read> sums: array<f32>;
@group(0) @binding(2) var<storage, read_write> results: array<f32>;
@group(0) @binding(3) var<storage, read_write> waiting: array<atomic<u32>>;

struct Params {
  neurons: u32,
  features: u32,
  slices: u32,
  most_iterations: u32,
  tolerance: f32,
  // 1: count those that wait; the last verdict of a submission.
  count: u32,
  // 0; see lib/double.wgsl.
  zero: u32,
}
@group(0) @binding(4) var<uniform> params: Params;

override workgroup_size: u32 = 64u;

const LEAST_PIVOT: f32 = 1e-3;
const MOST_ROUNDS: u32 = 7u;
// A point whose decrement is this multiple of the tolerance's square needs no further step.
const PLENTY: f32 = 1e6;

@compute @workgroup_size(workgroup_size)
fn single_neuron_verdict(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  double_zero = params.zero;
  let d = params.neurons;
  let place = linear_workgroup(group, grid) * workgroup_size + lane;
  let all = params.features * d;
  if (place >= all) {
    return;
  }
  var probe = probes[place];
  if (probe.problem.status == FINISHED || probe.problem.status == LAST) {
    let feature = place / d;
    var loss = vec2<f32>();
    var by_constant = vec2<f32>();
    var by_value = vec2<f32>();
    for (var slice = 0u; slice < params.slices; slice++) {
      let at = (feature * params.slices + slice) * 6u * d + place % d;
      loss = double_add(loss, vec2<f32>(sums[at], sums[at + d]));
      by_constant = double_add(by_constant, vec2<f32>(sums[at + 2u * d], sums[at + 3u * d]));
      by_value = double_add(by_value, vec2<f32>(sums[at + 4u * d], sums[at + 5u * d]));
    }
    let w = vec2<f32>(probe.weight, probe.weight_low);
    let b = vec2<f32>(probe.intercept, probe.intercept_low);
    let centred = double_add(by_value, -double_multiply(by_constant, vec2<f32>(probe.center, probe.center_low)));
    let scaled = double_multiply(centred, vec2<f32>(probe.inverse_scale, probe.inverse_scale_low));
    let g_w = double_add(scaled, w).x;
    let g_b = by_constant.x;
    let objective = double_add(loss, 0.5 * double_multiply(w, w));

    let left = g_w - probe.ratio * g_b;
    let squared = g_b * g_b / probe.pivot_intercept + left * left / probe.pivot_weight;
    let decrement = squared / (2.0 * probe.problem.total_weight);
    let before = probe.problem;
    // The weight's own curvature, before the intercept was eliminated.
    let own = probe.pivot_weight + probe.ratio * probe.ratio * probe.pivot_intercept;
    let sound = probe.pivot_weight >= LEAST_PIVOT * own;
    let fell = decrement <= 0.25 * before.decrement;
    let reached = decrement <= 0.5 * params.tolerance;
    var status = before.status;
    if (before.status == LAST) {
      status = select(REFUSED, CERTIFIED, reached);
    } else if (!sound || (!fell && before.rounds > 0u)) {
      status = REFUSED;
    } else if (fell && reached) {
      status = select(LAST, CERTIFIED, decrement <= PLENTY * params.tolerance * params.tolerance);
    } else if (
      before.rounds + 1u >= MOST_ROUNDS || before.iterations >= params.most_iterations || !(decrement < HUGE)
    ) {
      status = REFUSED;
    }
    probe.problem.status = status;
    probe.problem.rounds = before.rounds + 1u;
    probe.problem.decrement = decrement;
    if (status < CERTIFIED) {
      probe.problem.iterations++;
      let step_weight = -left / probe.pivot_weight;
      let step_intercept = -g_b / probe.pivot_intercept - probe.ratio * step_weight;
      let new_weight = double_add(w, vec2<f32>(step_weight, 0.0));
      let new_intercept = double_add(b, vec2<f32>(step_intercept, 0.0));
      probe.weight = new_weight.x;
      probe.weight_low = new_weight.y;
      probe.intercept = new_intercept.x;
      probe.intercept_low = new_intercept.y;
    }
    probes[place] = probe;
    results[place] = probe.weight;
    results[all + place] = probe.weight_low;
    results[2u * all + place] = probe.intercept;
    results[3u * all + place] = probe.intercept_low;
    results[4u * all + place] = objective.x;
    results[5u * all + place] = objective.y;
    results[6u * all + place] = decrement;
  }
  results[7u * all + place] = select(select(2.0, 1.0, probe.problem.status == CERTIFIED), 3.0, probe.spoilt == 1u);
  if (params.count == 1u && probe.problem.status < CERTIFIED) {
    atomicAdd(&waiting[0], 1u);
  }
}
