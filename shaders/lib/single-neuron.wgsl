// One logistic probe for every neuron: a weight, an intercept, and nothing else.

struct NeuronProbe {
  problem: Problem,
  // Accepted parameters, doubles once float32 has finished.
  weight: f32,
  intercept: f32,
  weight_low: f32,
  intercept_low: f32,
  trial_weight: f32,
  trial_intercept: f32,
  step_weight: f32,
  step_intercept: f32,
  // Factor of the Hessian with the intercept eliminated: Σh, Σh·x̃/Σh and what is left for the weight.
  pivot_intercept: f32,
  ratio: f32,
  pivot_weight: f32,
  // A labelled row is not finite.
  spoilt: u32,
  // x̃ = (x − center)·inverse_scale, doubles.
  center: f32,
  inverse_scale: f32,
  center_low: f32,
  inverse_scale_low: f32,
}
