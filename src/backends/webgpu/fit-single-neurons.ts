/**
 * One logistic probe of every neuron for every feature, on the GPU: a thread per feature and neuron, so that rows of X are
 * read as they lie. Newton steps in float32, then certificates in double arithmetic as for other fits (see certificates.ts);
 * several rounds of both go into one submission, and what comes back is as long as there are neurons.
 */
import gridSource from "#shaders/lib/grid.wgsl";
import doubleSource from "#shaders/lib/double.wgsl";
import doubleLogisticSource from "#shaders/lib/double-logistic.wgsl";
import logisticSource from "#shaders/lib/logistic.wgsl";
import newtonSource from "#shaders/lib/newton.wgsl";
import singleNeuronSource from "#shaders/lib/single-neuron.wgsl";
import storageSource from "#shaders/lib/storage.wgsl";
import certificateSource from "#shaders/single-neuron-certificate.wgsl";
import stepSource from "#shaders/single-neuron-step.wgsl";
import sumsSource from "#shaders/single-neuron-sums.wgsl";
import verdictSource from "#shaders/single-neuron-verdict.wgsl";
import type { Activations } from "../../data/activations.ts";
import { UNLABELLED, type LabelMatrix } from "../../data/labels.ts";
import { OptionError, ShapeError } from "../../errors.ts";
import type { SingleNeuronFits, SingleNeuronOptions } from "../backend.ts";
import { certifyFit } from "../cpu/reference/certify-fit.ts";
import { assertProblems } from "../cpu/reference/fit-logistic.ts";
import { classWeights, LogisticLoss } from "../cpu/reference/logistic-loss.ts";
import { Pacer } from "../cpu/pacer.ts";
import { together, type CommandBatch, type ComputeBuffer, type ComputeDevice } from "./device.ts";
import type { FitLimits } from "./fit-logistic.ts";
import { gatherColumns } from "./gather-columns.ts";
import { defineKernel, type Kernel } from "./kernel.ts";
import { lowPart, NEURON_WORDS, NeuronWord, startProblem } from "./logistic-layout.ts";
import { bindingOf, STORAGE_CODE, type RowChunk, type WebGpuActivations } from "./webgpu-activations.ts";

const probeSource = gridSource + storageSource + logisticSource + newtonSource + singleNeuronSource;

const sumsKernel = defineKernel({
  label: "single-neuron-sums",
  source: probeSource + sumsSource,
  entryPoint: "single_neuron_sums",
  bindings: {
    x: "storage-read",
    code: "storage-read",
    labels: "storage-read",
    probes: "storage-read",
    sums: "storage-read-write",
    params: "uniform",
  },
  params: {
    rows: "u32",
    neurons: "u32",
    features: "u32",
    first_neuron: "u32",
    last_neuron: "u32",
    label_words: "u32",
    slices: "u32",
    all_slices: "u32",
    first_slice: "u32",
    slice_rows: "u32",
  },
  overrides: { storage_type: 0, workgroup_size: 64 },
});

const stepKernel = defineKernel({
  label: "single-neuron-step",
  source: probeSource + stepSource,
  entryPoint: "single_neuron_step",
  bindings: { probes: "storage-read-write", sums: "storage-read", params: "uniform" },
  params: { neurons: "u32", features: "u32", slices: "u32", most_iterations: "u32", tolerance: "f32" },
  overrides: { storage_type: 0, workgroup_size: 64 },
});

const certificateKernel = defineKernel({
  label: "single-neuron-certificate",
  source: probeSource + doubleSource + doubleLogisticSource + certificateSource,
  entryPoint: "single_neuron_certificate",
  bindings: {
    x: "storage-read",
    code: "storage-read",
    labels: "storage-read",
    probes: "storage-read",
    sums: "storage-read-write",
    params: "uniform",
  },
  params: {
    rows: "u32",
    neurons: "u32",
    features: "u32",
    first_neuron: "u32",
    last_neuron: "u32",
    label_words: "u32",
    slices: "u32",
    all_slices: "u32",
    first_slice: "u32",
    slice_rows: "u32",
    zero: "u32",
  },
  overrides: { storage_type: 0, workgroup_size: 64 },
});

const verdictKernel = defineKernel({
  label: "single-neuron-verdict",
  source: probeSource + doubleSource + verdictSource,
  entryPoint: "single_neuron_verdict",
  bindings: {
    probes: "storage-read-write",
    sums: "storage-read",
    results: "storage-read-write",
    waiting: "storage-read-write",
    params: "uniform",
  },
  params: {
    neurons: "u32",
    features: "u32",
    slices: "u32",
    most_iterations: "u32",
    tolerance: "f32",
    count: "u32",
    zero: "u32",
  },
  overrides: { storage_type: 0, workgroup_size: 64 },
});

/** The kernels of this file, for the tests that check every kernel. */
export const singleNeuronKernels: readonly Kernel[] = [
  sumsKernel,
  stepKernel,
  certificateKernel,
  verdictKernel,
];

/** Values of a slice, and of a result. */
const SUMS = 7;
const RESULTS = 8;
/** What became of a probe, as the results say. */
const CERTIFIED = 1;
const SPOILT = 3;

/** Decrement at which float32 hands over. */
const HANDOVER = 1e-9;
/** Threads that fill a large GPU. */
const WANTED_THREADS = 262_144;
const LEAST_SLICE_ROWS = 64;
/** Rounds of a submission. */
const NEWTON_ROUNDS = 6;
const CERTIFICATE_ROUNDS = 3;
/** Float32 operations per value of a pass, and what one submission should not exceed: no driver takes it for a hang. */
const NEWTON_OPERATIONS = 60;
const CERTIFICATE_OPERATIONS = 800;
const MOST_OPERATIONS = 8e10;

/**
 * Fits one probe of every neuron for every feature.
 *
 * A probe whose certificate was refused is finished in float64 on the host; one probe of every group of features is
 * checked there, and if that fails, all of the group are finished there.
 *
 * @throws ShapeError | OptionError when labels, centres or scales do not fit the data
 * @throws OneClassError when a label set lacks a class
 */
export async function fitSingleNeurons(
  device: ComputeDevice,
  x: WebGpuActivations,
  labels: LabelMatrix,
  options: SingleNeuronOptions,
  limits: FitLimits,
): Promise<SingleNeuronFits> {
  const features = labels.features.length;
  const neurons = x.neurons;
  const size = features * neurons;
  assertProblems(
    x,
    labels,
    labels.features.map((_, feature) => ({ feature, support: Uint32Array.of(0) })),
    options,
  );
  const { center, scale, signal } = options;
  if ((center && center.length !== size) || (scale && scale.length !== size)) {
    throw new ShapeError(
      `center or scale does not have ${features} × ${neurons} values.`,
      "Give one value per feature and neuron, feature after feature.",
    );
  }
  if (scale?.includes(0)) {
    throw new OptionError("A scale is zero.", "Give 1 for neurons that are not to be scaled.");
  }
  const fits = {
    features,
    neurons,
    coefficients: new Float64Array(size).fill(NaN),
    intercepts: new Float64Array(size).fill(NaN),
    objectives: new Float64Array(size).fill(NaN),
    newtonDecrements: new Float64Array(size).fill(NaN),
    converged: new Uint8Array(size),
  };
  const pacer = new Pacer(signal);
  const slices = Math.max(
    1,
    Math.min(
      Math.ceil(WANTED_THREADS / size),
      ...x.chunks.map(({ rows }) => Math.ceil(rows / LEAST_SLICE_ROWS)),
    ),
  );
  const bytes = Math.min(limits.maxBindingBytes, limits.workBytes);
  const perFeature = 4 * neurons * Math.max(NEURON_WORDS, SUMS * slices * x.chunks.length);
  const groupSize = Math.max(1, Math.floor(bytes / perFeature));
  for (let first = 0; first < features; first += groupSize) {
    const group = { first, count: Math.min(groupSize, features - first), slices };
    const open = await runGroup(device, x, labels, group, options, fits, limits.maxBindingBytes, signal);
    await finishOnHost(device, x, labels, open, options, limits, fits, pacer);
    if (pacer.due) await pacer.turn();
    options.onProgress?.((first + group.count) * neurons, size);
  }
  return fits;
}

/** Features fitted together. */
interface FeatureGroup {
  readonly first: number;
  readonly count: number;
  /** Slices of every chunk of rows. */
  readonly slices: number;
}

type MutableFits = { [Name in keyof SingleNeuronFits]: SingleNeuronFits[Name] };

/** Fits a group on the GPU, and returns the places in `fits` of what is left to the host. */
async function runGroup(
  device: ComputeDevice,
  x: WebGpuActivations,
  labels: LabelMatrix,
  { first, count, slices }: FeatureGroup,
  options: SingleNeuronOptions,
  fits: MutableFits,
  maxBindingBytes: number,
  signal: AbortSignal | undefined,
): Promise<number[]> {
  const d = x.neurons;
  const size = count * d;
  const scope = device.scope();
  try {
    const allSlices = slices * x.chunks.length;
    const storage = { storage_type: STORAGE_CODE[x.dtype] };
    const compiled = device.prepare(singleNeuronKernels.map((kernel) => [kernel, storage]));
    // Buffers are filled while kernels compile; a failure of either is reported below.
    compiled.catch(() => undefined);
    const [probes, sums, results, waiting, ...packed] = await together([
      scope.allocateFrom("single-neuron probes", startingProbes(labels, first, count, d, options), signal),
      scope.allocate("single-neuron sums", size * SUMS * allSlices * 4),
      scope.allocate("single-neuron results", size * RESULTS * 4),
      scope.allocate("probes waiting", 4),
      ...x.chunks.map((chunk) =>
        scope.allocateFrom("labels", packedLabels(labels, first, count, chunk), signal),
      ),
    ]);
    await compiled;
    const overrides = storage;
    const newton = { most_iterations: options.maxIterations };
    const each = Math.ceil(size / stepKernel.overrides.workgroup_size);
    const pass = (batch: CommandBatch, kernel: "sums" | "certificate"): void => {
      recordPass(batch, kernel, x, packed, { count, slices }, probes, sums);
    };
    // A rejected step costs a round without being a step.
    const mostRounds = 2 * options.maxIterations + 20 + NEWTON_ROUNDS;
    for (let round = 0; round < mostRounds; round += NEWTON_ROUNDS) {
      signal?.throwIfAborted();
      const batch = device.batch("single neurons");
      for (let r = 0; r < NEWTON_ROUNDS; r++) {
        pass(batch, "sums");
        batch.dispatch(stepKernel, {
          bindings: { probes, sums },
          params: { neurons: d, features: count, slices: allSlices, ...newton, tolerance: HANDOVER },
          overrides,
          workgroups: each,
        });
      }
      batch.clear(waiting);
      for (let r = 0; r < CERTIFICATE_ROUNDS; r++) {
        pass(batch, "certificate");
        batch.dispatch(verdictKernel, {
          bindings: { probes, sums, results, waiting },
          params: {
            neurons: d,
            features: count,
            slices: allSlices,
            ...newton,
            tolerance: options.tolerance,
            count: r + 1 < CERTIFICATE_ROUNDS ? 0 : 1,
            zero: 0,
          },
          overrides,
          workgroups: each,
        });
      }
      batch.submit();
      const [left] = new Uint32Array(await device.read(waiting, { signal }));
      if (left === 0) break;
    }
    const values = await device.readFloats(results, { signal });
    const open: number[] = [];
    let checked: number | undefined;
    for (let at = 0; at < size; at++) {
      const place = first * d + at;
      const verdict = values[7 * size + at];
      const standardised = Number.isFinite((options.center?.[place] ?? 0) + (options.scale?.[place] ?? 1));
      if (verdict === SPOILT || !standardised) continue;
      fits.coefficients[place] = values[at] + values[size + at];
      fits.intercepts[place] = values[2 * size + at] + values[3 * size + at];
      fits.objectives[place] = values[4 * size + at] + values[5 * size + at];
      fits.newtonDecrements[place] = values[6 * size + at];
      if (verdict === CERTIFIED) {
        checked ??= place;
        fits.converged[place] = 1;
      } else open.push(place);
    }
    if (checked === undefined) return open;
    if (await certificateHolds(device, x, labels, checked, options, fits, maxBindingBytes)) return open;
    for (let place = first * d; place < first * d + size; place++)
      if (fits.converged[place]) open.push(place);
    return open;
  } finally {
    scope.dispose();
  }
}

/** Records one pass over X for every neuron, submitted in parts of bounded work. */
function recordPass(
  batch: CommandBatch,
  which: "sums" | "certificate",
  x: WebGpuActivations,
  labels: readonly ComputeBuffer[],
  { count, slices }: Pick<FeatureGroup, "count" | "slices">,
  probes: ComputeBuffer,
  sums: ComputeBuffer,
): void {
  const d = x.neurons;
  const { workgroup_size } = sumsKernel.overrides;
  const perValue = which === "sums" ? NEWTON_OPERATIONS : CERTIFICATE_OPERATIONS;
  for (const [c, chunk] of x.chunks.entries()) {
    const affordable = Math.floor(MOST_OPERATIONS / (perValue * chunk.rows * count));
    const width = Math.max(1, Math.floor(Math.min(affordable, d) / workgroup_size)) * workgroup_size;
    const sliceRows = 4 * Math.ceil(chunk.rows / (4 * slices));
    for (let start = 0; start < d; start += width) {
      const end = Math.min(start + width, d);
      const bindings = { x: bindingOf(chunk), code: x.codeBinding, labels: labels[c], probes, sums };
      const params = {
        rows: chunk.rows,
        neurons: d,
        features: count,
        first_neuron: start,
        last_neuron: end,
        label_words: Math.ceil(chunk.rows / 4),
        slices,
        all_slices: slices * x.chunks.length,
        first_slice: slices * c,
        slice_rows: sliceRows,
      };
      const overrides = { storage_type: STORAGE_CODE[x.dtype] };
      const workgroups = Math.ceil((end - start) / workgroup_size) * slices * count;
      if (which === "sums") batch.dispatch(sumsKernel, { bindings, params, overrides, workgroups });
      else {
        batch.dispatch(certificateKernel, {
          bindings,
          params: { ...params, zero: 0 },
          overrides,
          workgroups,
        });
      }
      if (width < d) batch.submit();
    }
  }
}

/** Probes at weight 0 and the best intercept for it, as the kernels see them. */
function startingProbes(
  labels: LabelMatrix,
  first: number,
  count: number,
  d: number,
  { C, balanced, center, scale }: SingleNeuronOptions,
): Float32Array {
  const probes = new Float32Array(count * d * NEURON_WORDS);
  for (let f = 0; f < count; f++) {
    const feature = first + f;
    const { weights, intercept } = weightsOf(labels, feature, C, balanced);
    for (let j = 0; j < d; j++) {
      const at = (f * d + j) * NEURON_WORDS;
      const place = feature * d + j;
      const middle = center?.[place] ?? 0;
      const inverse = 1 / (scale?.[place] ?? 1);
      startProblem(probes, at + NeuronWord.problem, weights);
      probes[at + NeuronWord.trial_intercept] = intercept;
      probes[at + NeuronWord.center] = middle;
      probes[at + NeuronWord.inverse_scale] = inverse;
      probes[at + NeuronWord.center_low] = lowPart(middle);
      probes[at + NeuronWord.inverse_scale_low] = lowPart(inverse);
    }
  }
  return probes;
}

/** C·ω of either class, C·Σω, and the weighted log odds. */
function weightsOf(
  labels: LabelMatrix,
  feature: number,
  C: number,
  balanced: boolean,
): { weights: [negative: number, positive: number, total: number]; intercept: number } {
  const y = labels.of(feature);
  const weights = classWeights(y, balanced);
  const [negatives, positives] = labels.counts(feature);
  const negative = C * weights[y.indexOf(0)];
  const positive = C * weights[y.indexOf(1)];
  const total = negatives * negative + positives * positive;
  const intercept = Math.log((positives * positive) / (negatives * negative));
  return { weights: [negative, positive, total], intercept };
}

/** Labels of a chunk's rows, four bytes a word, feature after feature. */
function packedLabels(
  labels: LabelMatrix,
  first: number,
  count: number,
  { firstRow, rows }: RowChunk,
): Uint8Array {
  const stride = 4 * Math.ceil(rows / 4);
  const packed = new Uint8Array(count * stride).fill(UNLABELLED);
  for (let f = 0; f < count; f++) {
    packed.set(labels.of(first + f).subarray(firstRow, firstRow + rows), f * stride);
  }
  return packed;
}

/** The loss of one probe in float64, over the rows that its feature labels. */
function lossOf(
  x: Activations,
  column: number,
  labels: LabelMatrix,
  place: number,
  { C, balanced, center, scale }: SingleNeuronOptions,
  neurons: number,
): LogisticLoss {
  const values = labels.of(Math.floor(place / neurons));
  const rows: number[] = [];
  for (let i = 0; i < values.length; i++) if (values[i] !== UNLABELLED) rows.push(i);
  const y = Uint8Array.from(rows, (i) => values[i]);
  return new LogisticLoss({
    columns: [Float32Array.from(rows, (i) => x.data[i * x.neurons + column])],
    labels: y,
    weights: classWeights(y, balanced),
    C,
    center: center?.slice(place, place + 1),
    scale: scale?.slice(place, place + 1),
  });
}

/** Checks one certificate in float64: a device whose double arithmetic is not what it should be fails. */
async function certificateHolds(
  device: ComputeDevice,
  x: WebGpuActivations,
  labels: LabelMatrix,
  place: number,
  options: SingleNeuronOptions,
  { coefficients, intercepts }: MutableFits,
  maxBindingBytes: number,
): Promise<boolean> {
  const column = Uint32Array.of(place % x.neurons);
  const host = await gatherColumns(device, x, column, maxBindingBytes, options.signal);
  const loss = lossOf(host, 0, labels, place, options, x.neurons);
  const theta = Float64Array.of(coefficients[place], intercepts[place]);
  const z = loss.decision(theta);
  const [g, h] = loss.gradient(theta, z);
  const [a, b, , c] = [...symmetric(loss.hessian(loss.curvature(z)))];
  const squared = (c * g * g - 2 * b * g * h + a * h * h) / (a * c - b * b);
  return squared / (2 * loss.totalWeight) <= options.tolerance;
}

/** A 2 × 2 matrix from its lower triangle. */
function symmetric([a, , b, c]: Float64Array): [number, number, number, number] {
  return [a, b, b, c];
}

/** Fits in float64 what the GPU left over. */
async function finishOnHost(
  device: ComputeDevice,
  x: WebGpuActivations,
  labels: LabelMatrix,
  open: readonly number[],
  options: SingleNeuronOptions,
  { maxBindingBytes, workBytes }: FitLimits,
  fits: MutableFits,
  pacer: Pacer,
): Promise<void> {
  const perRead = Math.max(1, Math.floor(workBytes / (4 * x.rows)));
  const neurons = [...new Set(open.map((place) => place % x.neurons))];
  for (let first = 0; first < neurons.length; first += perRead) {
    const columns = Uint32Array.from(neurons.slice(first, first + perRead));
    const host = await gatherColumns(device, x, columns, maxBindingBytes, options.signal);
    for (const place of open) {
      const column = columns.indexOf(place % x.neurons);
      if (column < 0) continue;
      const loss = lossOf(host, column, labels, place, options, x.neurons);
      const start = Float64Array.of(fits.coefficients[place], fits.intercepts[place]);
      const { theta, convergence } = await certifyFit(loss, start, new Float32Array(4), 0, options, pacer);
      fits.coefficients[place] = theta[0];
      fits.intercepts[place] = theta[1];
      fits.objectives[place] = convergence.objective;
      fits.newtonDecrements[place] = convergence.newtonDecrement;
      fits.converged[place] = convergence.converged ? 1 : 0;
      if (pacer.due) await pacer.turn();
    }
  }
}
