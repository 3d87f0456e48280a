/**
 * Whole logistic fits: Newton steps on a subset of the rows, then quasi-Newton steps on all of them in f32, then in f64.
 *
 * The factor of the subset's Hessian starts an L-BFGS update (Nocedal and Wright, Numerical Optimization, section 7.2), so
 * that a step on all rows needs their gradient alone; a Hessian of all rows costs m/4 gradients. The last steps have their
 * gradients in f64, from the columns as they are stored, and the last of them is the certificate. The solver is a state that
 * asks for one pass after the other ({@link advance}): whoever holds the state gives it the passes, over all chunks in one
 * item of work or spread over many.
 *
 * The objective is convex along a step, so its slope says what its value would: where the slope at the end of a step is
 * positive and not much smaller than at its start, the step was too long.
 */
import { addScaled, choleskyFactor, choleskySolve, dot } from "./cholesky";
import {
  accumulatorBytes, addEvaluation, addGradient, addMoments, clearEvaluation, CONSTANT_BYTES, EVALUATION, evaluationBytes, hessianRows,
  mergeEvaluation, momentCount, momentWorkBytes, MOST_MOMENTS, weighMoments, writeConstants,
} from "./logistic-passes";

// Arguments of a batch, words.
const PROBLEMS: usize = 0; // records of 8 words
const POOL: usize = 4; // the first column
const RAW: usize = 8; // what added to a pointer into the pool leads to the same value as it is stored
const STRIDE: usize = 12; // bytes from column to column
const PILOTS: usize = 16; // f64 per column: what was subtracted
const CHUNKS: usize = 20; // a word per chunk, see logistic-passes
const COUNT: usize = 24; // chunks
const OPTIONS: usize = 28; // f64: weight of positives and of negatives, 2·C·Σω, tolerance; of a sample: weights, chunks or 0
const SCRATCH: usize = 32; // per thread
const SCRATCH_BYTES: usize = 36;
const ADVANCE: usize = 40; // bytes from chunk to chunk
const ITEMS: usize = 44; // first problem of each item, and the end of the last
// Of one fit that is spread over items.
const STATE: usize = 48;
const ITEM_CHUNKS: usize = 52;
const PARTS: usize = 56; // f64[m + 7] of each item
const PANELS: usize = 60; // first row of the Hessian of each item, and the end of the last

// Words of a problem's record.
const SIZE: usize = 0; // m: support and intercept
const PLACES: usize = 4; // u32[m]: columns of the pool, the column of ones last
const RIDGE: usize = 8; // f64[m]
const START: usize = 12; // f64[m]
const RESULT: usize = 16; // f64[2m + 7 + 8]: θ, evaluation, and what reportResult writes
const SUBSET: usize = 20; // chunks of the subset; 0: none
const SUBSET_WEIGHTS: usize = 24; // f64: weight of positives and of negatives within it
const MOST_STEPS: usize = 28; // on all rows

// The state: counters and pointers in words, then numbers in f64, then arrays.
const ARGS: usize = 0;
const PROBLEM: usize = 4;
const TASK: usize = 8;
const LEVEL: usize = 12;
const PAIRS: usize = 16;
const MOVED: usize = 20;
const FRESH: usize = 24;
const STEPS: usize = 28;
const OVERSHOTS: usize = 32;
const HESSIAN_CHUNKS: usize = 36;
const KNOWN: usize = 40; // curvature is known at θ
const SUMMED: usize = 76; // the Hessian has been summed with the gradient at θ
const STATUS: usize = 44;
const LEVEL_STEPS: usize = 48;
const AGE: usize = 52; // steps since the factor was made
const GRADIENTS: usize = 56;
const SUBSET_GRADIENTS: usize = 60;
const HESSIANS: usize = 64;
const EVALUATIONS: usize = 68;
const LAST: usize = 72;
const COLUMNS: usize = 80; // pointers to arrays
const THETA: usize = 84;
const GRADIENT: usize = 88;
const PREVIOUS: usize = 92;
const MOVE: usize = 96;
const DIRECTION: usize = 100;
const WEIGHTS: usize = 104;
const HISTORY: usize = 108;
const HESSIAN: usize = 112;
const CURVATURE: usize = 116;
const SUMS: usize = 120;
const EVALUATED: usize = 124;
const RAW_COLUMNS: usize = 160;
const OWN_ADVANCE: usize = 164;
const CONSTANTS: usize = 168;
const SLOPE: usize = 128;
const DECREMENT: usize = 136; // λ²
const BEFORE: usize = 144; // λ² one step before
const MOMENTS: usize = 172; // f64[2][m + m²]: a pass's sums by class; then the sample's gradient and Hessian
const SAMPLED: usize = 176; // the sample's sums are those at θ minus the last move
const ARRAYS: usize = 192;

const TO_DO_NOTHING: i32 = 0;
const TO_SUM_GRADIENT: i32 = 1;
const TO_SUM_HESSIAN: i32 = 2;
const TO_SUM_CURVATURE: i32 = 3; // and then the Hessian
const TO_EVALUATE: i32 = 4;
const TO_CORRECT: i32 = 5;

const ON_SUBSET: i32 = 0;
const ON_ALL: i32 = 1;
const IN_F64: i32 = 2;

const CONVERGED: i32 = 1;
const GAVE_UP: i32 = 2;

/** Pairs of the L-BFGS update. */
const MEMORY: i32 = 8;
/** Steps on the subset at most. */
const SUBSET_STEPS: i32 = 12;
/** Size from which a fit has its columns copied chunk by chunk: more streams than that are not fetched ahead of their use. */
const COPY_FROM: usize = 41;
/** Rows of the Hessian that are summed together. */
const PANEL: usize = 32;
/** Size up to which the Hessian of all rows costs little more than a gradient. */
const SMALL: usize = 6;
/** λ²/(2·C·Σω) at which f32 gradients are no longer worth having, and at which they are not to be judged by. */
const FLOOR: f64 = 1e-14;
const NOISE: f64 = 1e-12;
const LEAST_PIVOT: f64 = 1e-7;
const MOST_EVALUATIONS: i32 = 12;
/** Chunks times columns below which an evaluation costs next to nothing. */
const FEW_VALUES: usize = 256;
const MOST_OVERSHOTS: i32 = 12;
/** Share of a correction's decrement that it leaves: what a sample does not see of the third derivatives. */
const UNSEEN: f64 = 4e-3;

@inline
function word(s: usize, at: usize): usize {
  return <usize>load<u32>(s + at);
}

@inline
function setWord(s: usize, at: usize, value: usize): void {
  store<u32>(s + at, <u32>value);
}

@inline
function count(s: usize, at: usize): i32 {
  return load<i32>(s + at);
}

@inline
function setCount(s: usize, at: usize, value: i32): void {
  store<i32>(s + at, value);
}

@inline
function increment(s: usize, at: usize): i32 {
  const value = load<i32>(s + at) + 1;
  store<i32>(s + at, value);
  return value;
}

@inline
function sizeOf(s: usize): usize {
  return word(word(s, PROBLEM), SIZE);
}

/** Numbers of the batch by index: weight of positives and negatives, 2·C·Σω, tolerance. */
@inline
function option(s: usize, index: usize): f64 {
  return load<f64>(word(word(s, ARGS), OPTIONS) + (index << 3));
}

@inline
function chunkCount(s: usize): i32 {
  return <i32>word(word(s, ARGS), COUNT);
}

@inline
function aligned(bytes: usize): usize {
  return (bytes + 15) & ~(<usize>15);
}

/** Bytes of a state; `copies`: with room for the problem's columns. */
export function fitStateBytes(m: usize, chunks: usize, copies: bool): usize {
  return (
    ARRAYS + 2 * aligned((m + 2) << 2) + CONSTANT_BYTES + 6 * aligned(m << 3) + aligned(m << 3) + 16 +
    <usize>MEMORY * (2 * aligned(m << 3) + 16) + aligned((m * m) << 3) + (chunks << 8) + accumulatorBytes(m) +
    aligned((m + EVALUATION) << 3) + momentBytes(m) + (copies && m >= COPY_FROM ? (chunks * m) << 8 : 0)
  );
}

/** Bytes of scratch of a pass; a gradient's are fewer. */
@inline
function workOfPass(m: usize): usize {
  return max(aligned(evaluationBytes(m)), m <= MOST_MOMENTS ? momentWorkBytes(m) : 0);
}

/** Bytes of a state's {@link MOMENTS}. */
@inline
function momentBytes(m: usize): usize {
  return m <= MOST_MOMENTS ? aligned((3 * momentCount(m)) << 3) : 0;
}

/** Bytes of scratch of one thread beside states. */
export function fitWorkBytes(m: usize): usize {
  return workOfPass(m) + ((m + 2) << 8);
}

/** Sets a state up for a problem, before its first pass. */
export function startFit(s: usize, args: usize, index: i32): void {
  const problem = word(args, PROBLEMS) + (<usize>index << 5);
  const m = word(problem, SIZE);
  memory.fill(s, 0, ARRAYS);
  setWord(s, ARGS, args);
  setWord(s, PROBLEM, problem);
  const vector = aligned(m << 3);
  let at = s + ARRAYS;
  setWord(s, COLUMNS, at);
  at += aligned((m + 2) << 2);
  setWord(s, RAW_COLUMNS, at);
  at += aligned((m + 2) << 2);
  setWord(s, CONSTANTS, at);
  writeConstants(at);
  at += CONSTANT_BYTES;
  for (let p = THETA; p <= DIRECTION; p += 4) {
    setWord(s, p, at);
    at += vector;
  }
  setWord(s, WEIGHTS, at);
  at += vector + vector + 16;
  setWord(s, HISTORY, at);
  at += <usize>MEMORY * (2 * vector + 16);
  setWord(s, HESSIAN, at);
  at += aligned((m * m) << 3);
  setWord(s, CURVATURE, at);
  at += word(args, COUNT) << 8;
  setWord(s, SUMS, at);
  at += accumulatorBytes(m);
  setWord(s, EVALUATED, at);
  at += aligned((m + EVALUATION) << 3);
  setWord(s, MOMENTS, at);
  setColumns(s, m, at + momentBytes(m));
  memory.copy(word(s, THETA), word(problem, START), m << 3);
  const subset = count(problem, SUBSET);
  setCount(s, LEVEL, subset ? ON_SUBSET : ON_ALL);
  setCount(s, HESSIAN_CHUNKS, subset && m > SMALL ? subset : chunkCount(s));
  store<f64>(s + BEFORE, Infinity);
  ask(s, TO_SUM_GRADIENT);
}

/** Pointers to the problem's columns, or to a copy of them at `copy`. */
function setColumns(s: usize, m: usize, copy: usize): void {
  const args = word(s, ARGS);
  const places = word(word(s, PROBLEM), PLACES);
  const advance = word(args, ADVANCE);
  const copied = m >= COPY_FROM && advance == 256;
  const columns = word(s, COLUMNS);
  const raw = word(s, RAW_COLUMNS);
  const same = word(args, RAW) == 0;
  setWord(s, OWN_ADVANCE, copied ? m << 8 : advance);
  for (let j: usize = 0; j < m + 2; j++) {
    const place = min(j, m - 1);
    const from = word(args, POOL) + word(places, place << 2) * word(args, STRIDE);
    setWord(columns, j << 2, copied ? copy + (place << 8) : from);
    setWord(raw, j << 2, copied && same ? copy + (place << 8) : from + word(args, RAW));
    if (copied && j < m) {
      let to = copy + (place << 8);
      for (let p = from, end = from + (word(args, COUNT) << 8); p < end; p += 256) {
        for (let i: usize = 0; i < 256; i += 64) {
          v128.store(to + i, v128.load(p + i));
          v128.store(to + i, v128.load(p + i, 16), 16);
          v128.store(to + i, v128.load(p + i, 32), 32);
          v128.store(to + i, v128.load(p + i, 48), 48);
        }
        to += m << 8;
      }
    }
  }
}

/** Chunks that the pass asked for goes over. */
export function chunksOfPass(s: usize): i32 {
  const task = count(s, TASK);
  if (task == TO_CORRECT) return <i32>option(s, 6);
  if (task == TO_SUM_GRADIENT && count(s, LEVEL) == ON_SUBSET) return count(word(s, PROBLEM), SUBSET);
  return task == TO_SUM_CURVATURE || task == TO_SUM_HESSIAN ? hessianChunks(s) : chunkCount(s);
}

/** The subset's Hessian is made of the subset; the small problem's one of whatever rows it is on. */
@inline
function hessianChunks(s: usize): i32 {
  if (count(s, LEVEL) != ON_SUBSET) return count(s, HESSIAN_CHUNKS);
  const subset = count(word(s, PROBLEM), SUBSET);
  // The first one only shows the way to the subset's optimum.
  return count(s, HESSIANS) == 0 ? (subset + 2) / 3 : subset;
}

function ask(s: usize, task: i32): void {
  setCount(s, TASK, task);
  const m = sizeOf(s);
  const theta = word(s, THETA);
  const weights = word(s, WEIGHTS);
  if (task == TO_EVALUATE) {
    // In terms of the columns as they are stored.
    const pilots = word(word(s, ARGS), PILOTS);
    const places = word(word(s, PROBLEM), PLACES);
    let intercept: f64 = load<f64>(theta + ((m - 1) << 3));
    for (let j: usize = 0; j < m - 1; j++) {
      intercept -= load<f64>(theta + (j << 3)) * load<f64>(pilots + (word(places, j << 2) << 3));
    }
    const negative = weights + aligned(m << 3);
    for (let j: usize = 0; j < m; j++) {
      const w = (j == m - 1 ? intercept : load<f64>(theta + (j << 3))) * 1.4426950408889634;
      store<f64>(weights + (j << 3), -w);
      store<f64>(negative + (j << 3), w);
    }
    clearEvaluation(word(s, EVALUATED), m);
  } else if (task != TO_SUM_HESSIAN) {
    const stride = aligned(m << 2);
    for (let j: usize = 0; j < m; j++) {
      const w = <f32>(load<f64>(theta + (j << 3)) * 1.4426950408889634);
      store<f32>(weights + (j << 2), w);
      store<f32>(weights + stride + (j << 2), -w);
    }
    memory.fill(word(s, task == TO_SUM_CURVATURE ? DIRECTION : GRADIENT), 0, m << 3);
  }
}

/** Adds chunks from … to − 1 of the pass asked for to `out`: f64[m], of an evaluation f64[m + 7]. */
function addPass(s: usize, from: i32, to: i32, work: usize, out: usize): void {
  const args = word(s, ARGS);
  const problem = word(s, PROBLEM);
  const task = count(s, TASK);
  const m = word(problem, SIZE);
  if (task == TO_EVALUATE) {
    addEvaluation(
      word(s, RAW_COLUMNS), word(args, RAW) ? word(args, ADVANCE) : word(s, OWN_ADVANCE), m, word(args, CHUNKS), from, to,
      word(s, WEIGHTS), aligned(m << 3), option(s, 0), option(s, 1), word(s, CONSTANTS), work, out,
    );
    return;
  }
  const weights = weightsOfPass(s);
  addGradient(
    word(s, COLUMNS), word(s, OWN_ADVANCE), m, word(args, CHUNKS), from, to, word(s, WEIGHTS), aligned(m << 2),
    <f32>load<f64>(weights), <f32>load<f64>(weights, 8), keepsCurvature(s) ? word(s, CURVATURE) : 0, word(s, CONSTANTS), work, out,
  );
}

@inline
function keepsCurvature(s: usize): bool {
  if (count(s, TASK) == TO_SUM_CURVATURE || count(s, LEVEL) == ON_SUBSET) return true;
  return count(word(s, PROBLEM), SUBSET) == 0 || (count(s, LEVEL_STEPS) == 0 && sizeOf(s) <= SMALL);
}

/** Weights of a positive and of a negative row in a pass: a row of a part stands for those that were left out. */
@inline
function weightsOfPass(s: usize): usize {
  const args = word(s, ARGS);
  if (count(s, TASK) == TO_CORRECT) return word(args, OPTIONS) + 32;
  return chunksOfPass(s) < chunkCount(s) ? word(word(s, PROBLEM), SUBSET_WEIGHTS) : word(args, OPTIONS);
}

/** Sums the gradient and the Hessian together; on all rows, also those of the sample. */
function addBoth(s: usize, work: usize): void {
  const args = word(s, ARGS);
  const m = sizeOf(s);
  const moments = word(s, MOMENTS);
  const sample = count(s, LEVEL) == ON_ALL ? <i32>option(s, 6) : 0;
  memory.fill(moments, 0, momentCount(m) << 4);
  if (sample) {
    addMomentsOf(s, 0, sample, work);
    const seen = moments + (momentCount(m) << 4);
    weighMoments(m, moments, option(s, 4), option(s, 5), seen, seen + (m << 3));
  }
  addMomentsOf(s, sample, chunksOfPass(s), work);
  const weights = weightsOfPass(s);
  weighMoments(m, moments, load<f64>(weights), load<f64>(weights, 8), word(s, GRADIENT), word(s, HESSIAN));
  setCount(s, SUMMED, 1);
  setCount(s, SAMPLED, sample ? 1 : 0);
}

function addMomentsOf(s: usize, from: i32, to: i32, work: usize): void {
  const m = sizeOf(s);
  addMoments(
    word(s, COLUMNS), word(s, OWN_ADVANCE), m, word(word(s, ARGS), CHUNKS), from, to, word(s, WEIGHTS), aligned(m << 2),
    word(s, CONSTANTS), work, word(s, MOMENTS),
  );
}

/** Rows first … end − 1 of the Hessian's sums over the pass's chunks. */
function addHessianRows(s: usize, first: usize, end: usize, work: usize): void {
  const m = sizeOf(s);
  const scaled = work + workOfPass(m);
  hessianRows(
    word(s, COLUMNS), word(s, OWN_ADVANCE), m, first, end, chunksOfPass(s), word(s, CURVATURE), scaled, word(s, SUMS), word(s, HESSIAN),
  );
}

/** Gives the passes of one problem, all in this thread. */
function solve(s: usize, work: usize): void {
  const m = sizeOf(s);
  for (;;) {
    const task = count(s, TASK);
    if (task == TO_DO_NOTHING) return;
    if (task == TO_SUM_GRADIENT && m <= MOST_MOMENTS && keepsCurvature(s)) {
      addBoth(s, work);
    } else if (task != TO_SUM_HESSIAN) {
      const out = word(s, task == TO_EVALUATE ? EVALUATED : task == TO_SUM_CURVATURE ? DIRECTION : GRADIENT);
      addPass(s, 0, chunksOfPass(s), work, out);
    }
    if (task == TO_SUM_HESSIAN || task == TO_SUM_CURVATURE) {
      // Rows whose sums stay in the cache.
      for (let first: usize = 0; first < m; first += PANEL) addHessianRows(s, first, min(first + PANEL, m), work);
    }
    advance(s);
  }
}

/** Takes what the pass has summed, and asks for the next one. */
export function advance(s: usize): void {
  const m = sizeOf(s);
  const task = count(s, TASK);
  const theta = word(s, THETA);
  const gradient = word(s, GRADIENT);
  const ridge = word(word(s, PROBLEM), RIDGE);
  if (task == TO_SUM_HESSIAN || task == TO_SUM_CURVATURE) {
    if (count(s, LEVEL) == ON_SUBSET && count(s, HESSIANS) == 0) {
      const hessian = word(s, HESSIAN);
      const share = <f64>count(word(s, PROBLEM), SUBSET) / <f64>hessianChunks(s);
      for (let p = hessian, end = hessian + ((m * m) << 3); p < end; p += 8) store<f64>(p, share * load<f64>(p));
    }
    factorise(s, m);
  } else if (task == TO_CORRECT) {
    correct(s, m);
    return;
  } else {
    if (task == TO_EVALUATE) takeEvaluation(s, m, gradient);
    increment(s, task == TO_EVALUATE ? EVALUATIONS : count(s, LEVEL) == ON_SUBSET ? SUBSET_GRADIENTS : GRADIENTS);
    for (let j: usize = 0; j < m << 3; j += 8) {
      store<f64>(gradient + j, load<f64>(gradient + j) + load<f64>(ridge + j) * load<f64>(theta + j));
    }
    setCount(s, KNOWN, keepsCurvature(s) && task == TO_SUM_GRADIENT ? 1 : 0);
    const summed = count(s, SUMMED);
    setCount(s, SUMMED, 0);
    if (count(s, MOVED) && !takeMove(s, m)) return;
    setCount(s, FRESH, 0);
    if (summed) {
      factorise(s, m);
    } else if (count(s, HESSIANS) == 0 || (m <= SMALL && count(s, LEVEL) == ON_ALL && count(s, LEVEL_STEPS) == 0)) {
      askForHessian(s);
      return;
    }
  }
  findDirection(s, m);
  decide(s, m);
}

/**
 * Bends a Newton step by what it has left of the gradient, seen on a sample. There the gradient after the step differs from the
 * quadratic model's by the third derivatives' part; of all rows the model's is zero. An estimate of that part that is off by a few
 * hundredths leaves their square of its decrement.
 */
function correct(s: usize, m: usize): void {
  const gradient = word(s, GRADIENT);
  const move = word(s, MOVE);
  const seen = word(s, MOMENTS) + (momentCount(m) << 4);
  const hessian = seen + (m << 3);
  for (let i: usize = 0; i < m; i++) {
    let model = load<f64>(seen + (i << 3));
    for (let j: usize = 0; j < m; j++) {
      model += load<f64>(hessian + ((max(i, j) * m + min(i, j)) << 3)) * load<f64>(move + (j << 3));
    }
    store<f64>(gradient + (i << 3), load<f64>(gradient + (i << 3)) - model);
  }
  findDirection(s, m);
  const decrement = load<f64>(s + DECREMENT);
  setCount(s, SAMPLED, 0);
  // A correction that is no small part of its step means nothing.
  if (decrement >= 0 && decrement <= 0.1 * load<f64>(s + BEFORE)) {
    const direction = word(s, DIRECTION);
    addScaled(move, -1, direction, m);
    addScaled(word(s, THETA), -1, direction, m);
    store<f64>(s + SLOPE, dot(word(s, PREVIOUS), move, m));
    if (UNSEEN * decrement <= 0.3 * option(s, 3) * option(s, 2)) setCount(s, LEVEL, IN_F64);
  }
  ask(s, count(s, LEVEL) == IN_F64 ? TO_EVALUATE : TO_SUM_GRADIENT);
}

/** Makes the sums of a Hessian the factor that directions come from. */
function factorise(s: usize, m: usize): void {
  const hessian = word(s, HESSIAN);
  const ridge = word(word(s, PROBLEM), RIDGE);
  for (let j: usize = 0; j < m; j++) {
    const at = hessian + ((j * m + j) << 3);
    store<f64>(at, load<f64>(at) + load<f64>(ridge + (j << 3)));
  }
  choleskyFactor(hessian, m, LEAST_PIVOT);
  increment(s, HESSIANS);
  setCount(s, PAIRS, 0);
  setCount(s, FRESH, 1);
  setCount(s, AGE, 0);
}

/** The gradient in terms of the pool's columns. */
function takeEvaluation(s: usize, m: usize, gradient: usize): void {
  const evaluated = word(s, EVALUATED);
  const pilots = word(word(s, ARGS), PILOTS);
  const places = word(word(s, PROBLEM), PLACES);
  const intercept = load<f64>(evaluated + ((m - 1) << 3));
  for (let j: usize = 0; j < m; j++) {
    const pilot = load<f64>(pilots + (word(places, j << 2) << 3));
    store<f64>(gradient + (j << 3), load<f64>(evaluated + (j << 3)) - pilot * intercept);
  }
}

/** Judges the step that led here; false when a shorter one has been asked for, or the fit given up. */
function takeMove(s: usize, m: usize): bool {
  const gradient = word(s, GRADIENT);
  const move = word(s, MOVE);
  const before = load<f64>(s + SLOPE);
  const after = dot(gradient, move, m);
  setCount(s, MOVED, 0);
  // Where a step's gain is near the noise of f32, so are its slope and the change of the gradient.
  const fromF32 = count(s, LEVEL) == ON_ALL || count(s, EVALUATIONS) == 1;
  if (fromF32 && -before < NOISE * option(s, 2) && after < Infinity) return true;
  if (!(after <= -0.9 * before) && count(s, LAST) == 0) {
    if (increment(s, OVERSHOTS) > MOST_OVERSHOTS) {
      finish(s, GAVE_UP);
      return false;
    }
    // The secant's zero of the slope.
    const share = after < Infinity ? max(0.1, before / (before - after)) : 0.1;
    addScaled(word(s, THETA), share - 1, move, m);
    for (let j: usize = 0; j < m << 3; j += 8) store<f64>(move + j, share * load<f64>(move + j));
    store<f64>(s + SLOPE, share * before);
    setCount(s, MOVED, 1);
    ask(s, count(s, TASK));
    return false;
  }
  const curve = after - before;
  if (curve > -1e-9 * before) {
    const vector = aligned(m << 3);
    const pair = word(s, HISTORY) + <usize>(count(s, PAIRS) % MEMORY) * (2 * vector + 16);
    const previous = word(s, PREVIOUS);
    store<f64>(pair, 1 / curve);
    memory.copy(pair + 16, move, m << 3);
    for (let j: usize = 0; j < m << 3; j += 8) {
      store<f64>(pair + 16 + vector + j, load<f64>(gradient + j) - load<f64>(previous + j));
    }
    increment(s, PAIRS);
  }
  return true;
}

/** The inverse Hessian's estimate times the gradient, and λ² from it. */
function findDirection(s: usize, m: usize): void {
  const vector = aligned(m << 3);
  const history = word(s, HISTORY);
  const bytes = 2 * vector + 16;
  const direction = word(s, DIRECTION);
  const pairs = count(s, PAIRS);
  const first = max(0, pairs - MEMORY);
  memory.copy(direction, word(s, GRADIENT), m << 3);
  for (let p = pairs - 1; p >= first; p--) {
    const pair = history + <usize>(p % MEMORY) * bytes;
    const alpha = load<f64>(pair) * dot(pair + 16, direction, m);
    store<f64>(pair, alpha, 8);
    addScaled(direction, -alpha, pair + 16 + vector, m);
  }
  choleskySolve(word(s, HESSIAN), m, direction);
  for (let p = first; p < pairs; p++) {
    const pair = history + <usize>(p % MEMORY) * bytes;
    const beta = load<f64>(pair) * dot(pair + 16 + vector, direction, m);
    addScaled(direction, load<f64>(pair, 8) - beta, pair + 16, m);
  }
  store<f64>(s + DECREMENT, dot(word(s, GRADIENT), direction, m));
}

/** What to do with a direction. */
function decide(s: usize, m: usize): void {
  const level = count(s, LEVEL);
  const fresh = count(s, FRESH) == 1;
  const decrement = load<f64>(s + DECREMENT);
  const before = load<f64>(s + BEFORE);
  const ratio = before < Infinity ? decrement / before : 0.1;
  const unit = option(s, 2);
  const tolerance = option(s, 3);
  if (!(decrement >= 0 && decrement < Infinity)) {
    if (fresh) finish(s, GAVE_UP);
    else askForHessian(s);
    return;
  }
  if (level == ON_SUBSET) {
    const subset = count(word(s, PROBLEM), SUBSET);
    // A subset's optimum lies √(m·n/subset) standard errors from that of all rows: closer is of no use.
    const near = 0.1 * <f64>m * <f64>chunkCount(s) / <f64>subset;
    const end = decrement <= near || count(s, LEVEL_STEPS) >= SUBSET_STEPS;
    if (!fresh && ((end && m > SMALL) || (!end && count(s, AGE) > 1 && isSlow(s, m, ratio, near)))) {
      askForHessian(s);
      return;
    }
    step(s, m);
    if (end) {
      setCount(s, LEVEL, ON_ALL);
      setCount(s, LEVEL_STEPS, 0);
      setCount(s, PAIRS, 0);
      setCount(s, MOVED, 0);
      store<f64>(s + BEFORE, Infinity);
    }
    ask(s, TO_SUM_GRADIENT);
    return;
  }
  const target = tolerance * unit;
  if (level == IN_F64) {
    if (count(s, LAST) || (decrement <= 0.5 * target && ratio <= 0.25)) {
      if (tolerance >= 1e-12 || count(s, LAST) == (<usize>chunkCount(s) * m > FEW_VALUES ? 1 : 3)) {
        finish(s, decrement <= 0.5 * target ? CONVERGED : GAVE_UP);
        return;
      }
      // The decrement bounds the objective; the coefficients' error goes with its root. One step more gives them the digits
      // of a solver that works in f64 throughout; a small problem gets all that there are.
      increment(s, LAST);
    } else if (count(s, EVALUATIONS) >= MOST_EVALUATIONS || count(s, STEPS) >= count(word(s, PROBLEM), MOST_STEPS)) {
      finish(s, decrement <= 0.5 * target && ratio <= 0.25 ? CONVERGED : GAVE_UP);
      return;
    }
  } else if (count(s, STEPS) >= count(word(s, PROBLEM), MOST_STEPS)) {
    setCount(s, LEVEL, IN_F64);
    ask(s, TO_EVALUATE);
    return;
  }
  if (!fresh && count(s, AGE) > 1 && !count(s, LAST)) {
    if (isSlow(s, m, ratio, target) && !(level == ON_ALL && decrement < FLOOR * 100 * unit)) {
      setCount(s, HESSIAN_CHUNKS, chunkCount(s));
      askForHessian(s);
      return;
    }
  }
  if (level == ON_ALL) {
    const next = fresh ? decrement * min(1, 4 * decrement / unit) : decrement * min(ratio, 1);
    if (next <= max(0.4 * target, FLOOR * unit) || (ratio > 0.5 && decrement < 1e-11 * unit)) setCount(s, LEVEL, IN_F64);
  }
  step(s, m);
  if (count(s, LEVEL) == IN_F64) ask(s, TO_EVALUATE);
  else ask(s, count(s, SAMPLED) ? TO_CORRECT : TO_SUM_GRADIENT);
}

/** Whether the passes that are left to `target` at the present pace cost more than a new Hessian. */
function isSlow(s: usize, m: usize, ratio: f64, target: f64): bool {
  const chunks = count(s, LEVEL) == ON_SUBSET ? hessianChunks(s) : chunkCount(s);
  const passes = <f64>m * (0.2 + <f64>m / <f64>(chunks << 8));
  return log(load<f64>(s + DECREMENT) / target) > (3 + passes) * -log(min(ratio, 0.99));
}

/** θ −= direction. */
function step(s: usize, m: usize): void {
  const move = word(s, MOVE);
  const direction = word(s, DIRECTION);
  for (let j: usize = 0; j < m << 3; j += 8) store<f64>(move + j, -load<f64>(direction + j));
  memory.copy(word(s, PREVIOUS), word(s, GRADIENT), m << 3);
  addScaled(word(s, THETA), 1, move, m);
  const decrement = load<f64>(s + DECREMENT);
  store<f64>(s + SLOPE, -decrement);
  store<f64>(s + BEFORE, decrement);
  setCount(s, MOVED, 1);
  setCount(s, OVERSHOTS, 0);
  setCount(s, KNOWN, 0);
  increment(s, AGE);
  increment(s, LEVEL_STEPS);
  if (count(s, LEVEL) != ON_SUBSET) increment(s, STEPS);
}

function askForHessian(s: usize): void {
  ask(s, count(s, KNOWN) ? TO_SUM_HESSIAN : TO_SUM_CURVATURE);
}

/** Natural logarithm of a positive number, to three digits: it only weighs costs. */
function log(x: f64): f64 {
  const bits = reinterpret<u64>(max(x, 1e-300));
  const f = reinterpret<f64>((bits & 0x000fffffffffffff) | 0x3ff0000000000000) - 1;
  return (<f64>(<i32>(bits >> 52) - 1023) + f * (1.3465 - 0.3465 * f)) * 0.6931471805599453;
}

/** Writes the result: θ f64[m], the evaluation f64[m + 7], λ²/(2·C·Σω), status, steps, and passes of each kind. */
function finish(s: usize, status: i32): void {
  const m = sizeOf(s);
  const result = word(word(s, PROBLEM), RESULT);
  memory.copy(result, word(s, THETA), m << 3);
  memory.copy(result + (m << 3), word(s, EVALUATED), (m + EVALUATION) << 3);
  const report = result + ((2 * m + EVALUATION) << 3);
  store<f64>(report, load<f64>(s + DECREMENT) / option(s, 2));
  store<f64>(report, <f64>status, 8);
  store<f64>(report, <f64>count(s, STEPS), 16);
  store<f64>(report, <f64>count(s, SUBSET_GRADIENTS), 24);
  store<f64>(report, <f64>count(s, HESSIANS), 32);
  store<f64>(report, <f64>count(s, GRADIENTS), 40);
  store<f64>(report, <f64>count(s, EVALUATIONS), 48);
  setCount(s, TASK, TO_DO_NOTHING);
}

/** Item: the problems items[item] … items[item + 1] − 1. Words: see above. */
export function fitSupports(item: i32, args: usize, thread: i32): void {
  const s = word(args, SCRATCH) + <usize>thread * word(args, SCRATCH_BYTES);
  const items = word(args, ITEMS) + (<usize>item << 2);
  for (let p = count(items, 0), end = count(items, 4); p < end; p++) {
    startFit(s, args, p);
    const m = sizeOf(s);
    solve(s, s + aligned(fitStateBytes(m, word(args, COUNT), word(args, ADVANCE) == 256)));
  }
}

/** Item: some chunks of the pass that a state asks for. */
export function addChunksOfPass(item: i32, args: usize, thread: i32): void {
  const s = word(args, STATE);
  const m = sizeOf(s);
  const chunks = count(args, ITEM_CHUNKS);
  const out = word(args, PARTS) + ((<usize>item * (m + EVALUATION)) << 3);
  const from = item * chunks;
  clearEvaluation(out, m);
  addPass(s, from, min(from + chunks, chunksOfPass(s)), word(args, SCRATCH) + <usize>thread * word(args, SCRATCH_BYTES), out);
}

/** Item: some rows of the Hessian that a state asks for. */
export function addPanelOfHessian(item: i32, args: usize, thread: i32): void {
  const panel = word(args, PANELS) + (<usize>item << 2);
  const work = word(args, SCRATCH) + <usize>thread * word(args, SCRATCH_BYTES);
  addHessianRows(word(args, STATE), word(panel, 0), word(panel, 4), work);
}

/** Adds up what the items of {@link addChunksOfPass} have left. */
export function mergePass(args: usize, items: i32): void {
  const s = word(args, STATE);
  const task = count(s, TASK);
  const m = sizeOf(s);
  for (let i = 0; i < items; i++) {
    const part = word(args, PARTS) + ((<usize>i * (m + EVALUATION)) << 3);
    if (task == TO_EVALUATE) mergeEvaluation(word(s, EVALUATED), part, m);
    else addScaled(word(s, task == TO_SUM_CURVATURE ? DIRECTION : GRADIENT), 1, part, m);
  }
}
