// A Newton step of every neuron's own probe: one thread per feature and neuron.
//
//   f = Σ loss + ½w²,  judged as lib/newton.wgsl says;   H = Σ h·(x̃, 1)(x̃, 1)ᵀ + diag(1, 0),  step = −H⁻¹g
//
// probes  [features × neurons]
// sums      [features × slices × 7 × neurons] of single_neuron_sums

@group(0) @binding(0) var<storage, read_write> probes: array<NeuronProbe>;
@group(0) @binding(1) var<storage, read> sums: array<f32>;

struct Params {
  neurons: u32,
  features: u32,
  slices: u32,
  most_iterations: u32,
  // Decrement at which float32 stops.
  tolerance: f32,
}
@group(0) @binding(2) var<uniform> params: Params;

override workgroup_size: u32 = 64u;

@compute @workgroup_size(workgroup_size)
fn single_neuron_step(
  @builtin(workgroup_id) group: vec3<u32>,
  @builtin(num_workgroups) grid: vec3<u32>,
  @builtin(local_invocation_index) lane: u32,
) {
  let d = params.neurons;
  let place = linear_workgroup(group, grid) * workgroup_size + lane;
  if (place >= params.features * d) {
    return;
  }
  var probe = probes[place];
  if (probe.problem.status != TRIAL) {
    return;
  }
  let feature = place / d;
  var total: array<f32, 7>;
  for (var slice = 0u; slice < params.slices; slice++) {
    let at = (feature * params.slices + slice) * 7u * d + place % d;
    for (var q = 0u; q < 7u; q++) {
      total[q] += sums[at + q * d];
    }
  }
  if (total[6] > 0.0) {
    probes[place].spoilt = 1u;
    probes[place].problem.status = REFUSED;
    return;
  }
  probe.problem = judged(probe.problem, total[0] + 0.5 * probe.trial_weight * probe.trial_weight);
  if (probe.problem.status != ACCEPTED) {
    let share = probe.problem.step_length;
    probe.trial_weight = fma(share, probe.step_weight, probe.weight);
    probe.trial_intercept = fma(share, probe.step_intercept, probe.intercept);
    probes[place] = probe;
    return;
  }
  probe.weight = probe.trial_weight;
  probe.intercept = probe.trial_intercept;
  let g_w = total[2] + probe.weight;
  let g_b = total[1];
  probe.pivot_intercept = max(total[3], TINY);
  probe.ratio = total[4] / probe.pivot_intercept;
  // What the elimination leaves; never below the rounding of what it took away, nor the penalty's 1.
  let left = total[5] - probe.ratio * total[4];
  probe.pivot_weight = 1.0 + max(left, 2.0 * EPSILON * total[5]);
  probe.step_weight = -(g_w - probe.ratio * g_b) / probe.pivot_weight;
  probe.step_intercept = -g_b / probe.pivot_intercept - probe.ratio * probe.step_weight;
  let slope = -(g_w * probe.step_weight + g_b * probe.step_intercept);
  probe.problem = advanced(probe.problem, slope, params.tolerance, params.most_iterations);
  probe.trial_weight = probe.weight + probe.step_weight;
  probe.trial_intercept = probe.intercept + probe.step_intercept;
  if (takes_last_step(probe.problem)) {
    probe.weight = probe.trial_weight;
    probe.intercept = probe.trial_intercept;
  }
  probes[place] = probe;
}
