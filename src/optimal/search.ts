/**
 * Branch and bound over supports of one size: a node has decided some candidates in and some out, its bound is that of the
 * relaxation over the rest or of any cut so far, and nodes are opened lowest bound first.
 */
import { FREE, IN, largestSum, OUT, type Cut } from "./cuts.ts";
import { relax, Workspace, type Point, type Relaxation } from "./relaxation.ts";
import type { SupportProblem } from "./support-problem.ts";

/** One support with its fit. */
export interface FittedSupport {
  /** Candidates, ascending. */
  readonly support: readonly number[];
  /** Primal value of the fit: c(S) to its tolerance. */
  readonly objective: number;
  /** The fit's own lower bound of c(S). */
  readonly bound: number;
  readonly point: Point;
  /** ‖β − γ·Xᵀu‖ for the dual point of the bound: 0 at the optimum. */
  readonly residual: number;
  readonly separated: boolean;
  readonly steps: number;
  readonly cut: Cut;
  /** v = ω·λ of the cut. */
  readonly dual: Float64Array;
}

/** A dual point, to be looked at from neurons outside of the candidates. */
export interface DualPoint {
  readonly cut: Cut;
  /** v = ω·λ by row. */
  readonly v: Float64Array;
}

/** What a search shares between its sizes: data, buffers, cuts that hold everywhere, and counts. */
export class SearchState {
  readonly problem: SupportProblem;
  readonly work: Workspace;
  /** Cuts with q of every candidate, for every size. */
  cuts: Cut[] = [];
  /** Cuts without those that the search of one size has dropped. */
  partial: Cut[] = [];
  /** 1 for candidates that no support as good as the incumbent contains, for the size that is searched. */
  dropped: Uint8Array;
  readonly fitted: Map<string, FittedSupport> = new Map<string, FittedSupport>();
  evaluations = 0;
  cutCount = 0;

  constructor(problem: SupportProblem) {
    this.problem = problem;
    this.work = new Workspace(problem);
    this.dropped = new Uint8Array(problem.columns.length);
  }

  /** Fits a support unless it cannot have an objective below `objective`. */
  *fitBelow(
    support: readonly number[],
    objective: number,
    start?: Point,
  ): Generator<undefined, FittedSupport | undefined, undefined> {
    if (this.#boundByCuts(support) >= objective) return undefined;
    const fit = yield* this.fit(support, start, objective);
    return fit.objective < objective ? fit : undefined;
  }

  /**
   * Fits one support, or returns the earlier fit; its cut joins the pool.
   * @param enough objective below which it has to come to be of interest
   */
  *fit(
    support: readonly number[],
    start?: Point,
    enough: number = Infinity,
  ): Generator<undefined, FittedSupport, undefined> {
    const sorted = [...support].sort((a, b) => a - b);
    const key = sorted.join(" ");
    const known = this.fitted.get(key);
    if (known) return known;
    const { problem, work } = this;
    const state = new Uint8Array(problem.columns.length).fill(OUT);
    for (const j of sorted) state[j] = IN;
    const result = yield* relax(problem, work, state, 0, {
      start,
      tolerance: FIT_TOLERANCE,
      dropped: this.dropped,
      keepDual: true,
      stop: (_, bound) => bound >= enough,
    });
    this.evaluations++;
    this.addCut(result.cut);
    const fit: FittedSupport = {
      support: sorted,
      objective: result.objective,
      bound: result.bound,
      point: result.point,
      residual: result.residual,
      separated: result.separated,
      cut: result.cut,
      dual: result.dual!,
      steps: result.steps,
    };
    if (result.solved || !(result.bound >= enough)) {
      const [oldest] = this.fitted.keys();
      if (this.fitted.size === MAX_FITTED) this.fitted.delete(oldest);
      this.fitted.set(key, fit);
    }
    return fit;
  }

  /** Lower bound of a support's objective: that of its fit, or of an earlier cut or iterate once it has reached `enough`. */
  *boundOf(
    support: readonly number[],
    enough: number,
    start?: Point,
  ): Generator<undefined, number, undefined> {
    const { problem, work } = this;
    const known = this.#boundByCuts(support);
    if (known >= enough) return known;
    const state = new Uint8Array(problem.columns.length).fill(OUT);
    const others = new Uint8Array(state.length).fill(1);
    for (const j of support) {
      state[j] = IN;
      others[j] = 0;
    }
    const { bound } = yield* relax(problem, work, state, 0, {
      start,
      tolerance: FIT_TOLERANCE,
      dropped: others,
      stop: (_, reached) => reached >= enough,
    });
    this.evaluations++;
    return Math.max(known, bound);
  }

  #boundByCuts(support: readonly number[]): number {
    const half = 0.5 * this.problem.gamma;
    let best = -Infinity;
    for (const pool of [this.partial, this.cuts]) {
      for (const { constant, q } of pool) {
        best = Math.max(best, constant - half * support.reduce((sum, j) => sum + q[j], 0));
      }
    }
    return best;
  }

  addCut(cut: Cut): void {
    this.cutCount++;
    const pool = this.dropped.includes(1) ? this.partial : this.cuts;
    pool.push(cut);
    // The first ones, near the root, are the most general.
    if (pool.length > MAX_CUTS) pool.splice(MAX_CUTS >> 2, 1);
  }
}

/** Relative gap of a fit between its primal and dual value. */
const FIT_TOLERANCE = 1e-10;
/** A relaxation that cannot close its node is solved to this share of what is missing; the first, which others are cut by, further. */
const SHARE = 1;
const ROOT_SHARE = 0.05;
/** How much wider than its parent's a node rounds the hinge off to start with. */
const WIDEN = 10;
const MAX_CUTS = 200;
/** Fits that are remembered: each holds a number per row. */
const MAX_FITTED = 500;

interface Node {
  readonly state: Uint8Array;
  readonly slots: number;
  bound: number;
  readonly start: Point | undefined;
  readonly width: number;
}

export interface SearchReport {
  incumbent: FittedSupport;
  bound: number;
  nodes: number;
  proved: boolean;
  expired: boolean;
  /** Dual point of the first relaxation. */
  root: DualPoint | undefined;
}

export interface SearchOptions {
  readonly relativeGap: number;
  /** True once time is up. */
  readonly expired: () => boolean;
  /** Called when the incumbent or the bound has improved. */
  readonly onImprovement: (report: Readonly<SearchReport>) => void;
}

/** Proves a support of `size` candidates optimal, or goes as far as time allows. */
export function* search(
  shared: SearchState,
  size: number,
  first: FittedSupport,
  options: SearchOptions,
): Generator<undefined, SearchReport, undefined> {
  const { problem, work } = shared;
  const p = problem.columns.length;
  const scratch = work.sorted;
  const report: SearchReport = {
    incumbent: first,
    bound: -Infinity,
    nodes: 0,
    proved: false,
    expired: false,
    root: undefined,
  };
  /** Lowest bound of the nodes that were closed. */
  let closed = Infinity;
  const threshold = (): number =>
    report.incumbent.objective - options.relativeGap * Math.abs(report.incumbent.objective);
  const offer = (fit: FittedSupport): void => {
    if (fit.objective < report.incumbent.objective) {
      report.incumbent = fit;
      options.onImprovement(report);
    }
  };
  const poolBound = (state: Uint8Array, slots: number, from: number): number => {
    let best = -Infinity;
    const least = threshold();
    for (const pool of [shared.partial, shared.cuts]) {
      for (let c = pool.length - 1; c >= 0 && best < least; c--) {
        const { constant, q } = pool[c];
        best = Math.max(best, constant - 0.5 * problem.gamma * largestSum(q, state, slots, scratch).sum);
      }
    }
    return Math.max(best, from);
  };

  /** Decides the free candidates whose other choice a cut rules out, in place; returns the slots left. */
  const decide = (state: Uint8Array, slots: number, cuts: readonly Cut[]): number => {
    const half = 0.5 * problem.gamma;
    const least = threshold();
    for (const { constant, q } of cuts) {
      const { sum, last, next } = largestSum(q, state, slots, scratch);
      if (slots === 0) break;
      for (let j = 0; j < p; j++) {
        if (state[j] !== FREE) continue;
        if (q[j] <= next) {
          // It would push out the weakest of those that the bound counts.
          const bound = constant - half * (sum - last + q[j]);
          if (bound < least) continue;
          state[j] = OUT;
          closed = Math.min(closed, bound);
        } else if (q[j] >= last && q[j] > next) {
          const bound = constant - half * (sum - q[j] + next);
          if (bound < least) continue;
          // The sums above count it either way.
          state[j] = IN;
          slots--;
          closed = Math.min(closed, bound);
        }
      }
    }
    return slots;
  };

  const heap = new NodeHeap();
  shared.partial = [];
  shared.dropped.fill(0);
  const whole = new Uint8Array(p);
  const slotsLeft = decide(whole, size, shared.cuts);
  heap.push({
    state: whole,
    slots: slotsLeft,
    bound: poolBound(whole, slotsLeft, 0),
    start: first.point,
    width: 1,
  });
  const settle = (current: number): void => {
    const bound = Math.min(report.incumbent.objective, closed, heap.least, current);
    if (bound > report.bound) {
      report.bound = bound;
      options.onImprovement(report);
    }
  };
  settle(Infinity);

  for (;;) {
    const node = heap.pop();
    if (!node) break;
    settle(node.bound);
    if (options.expired()) {
      report.expired = true;
      closed = Math.min(closed, node.bound);
      break;
    }
    if (node.bound < threshold()) node.bound = poolBound(node.state, node.slots, node.bound);
    if (node.bound >= threshold()) {
      closed = Math.min(closed, node.bound);
      continue;
    }
    report.nodes++;
    yield;
    const free: number[] = [];
    const inside: number[] = [];
    for (let j = 0; j < p; j++) {
      if (node.state[j] === FREE) free.push(j);
      else if (node.state[j] === IN) inside.push(j);
    }
    if (node.slots === 0 || free.length <= node.slots) {
      const fit = yield* shared.fit([...inside, ...(node.slots === 0 ? [] : free)], node.start);
      offer(fit);
      closed = Math.min(closed, Math.max(fit.bound, node.bound));
      continue;
    }
    const relaxed: Relaxation = yield* relax(problem, work, node.state, node.slots, {
      start: node.start,
      width: Math.min(1, node.width * WIDEN),
      dropped: shared.dropped,
      keepDual: !report.root,
      tolerance: Math.min(1e-8, 0.1 * options.relativeGap),
      stop: (objective, bound) =>
        bound >= threshold() ||
        objective - bound <= (report.nodes === 1 ? ROOT_SHARE : SHARE) * (threshold() - objective) ||
        options.expired(),
    });
    shared.evaluations++;
    shared.addCut(relaxed.cut);
    if (relaxed.dual) report.root = { cut: relaxed.cut, v: relaxed.dual };
    node.bound = Math.max(node.bound, relaxed.bound);
    // Rounding the shares gives a support to try.
    const order = relaxed.point.candidates
      .map((j, a) => ({
        j,
        share: node.state[j] === IN ? 2 : relaxed.shares[a],
        size: Math.abs(relaxed.point.beta[a]),
      }))
      .sort((a, b) => b.share - a.share || b.size - a.size);
    const rounded = order.slice(0, size).map(({ j }) => j);
    for (const j of free) {
      if (rounded.length >= size) break;
      if (!rounded.includes(j)) rounded.push(j);
    }
    const fit = yield* shared.fitBelow(rounded, report.incumbent.objective, relaxed.point);
    if (fit) offer(fit);
    if (node.bound >= threshold()) {
      closed = Math.min(closed, node.bound);
      continue;
    }
    const state = Uint8Array.from(node.state);
    const slots = decide(
      state,
      node.slots,
      report.nodes === 1 ? [...shared.cuts, relaxed.cut] : [relaxed.cut],
    );
    if (report.nodes === 1) for (let j = 0; j < p; j++) shared.dropped[j] = state[j] === OUT ? 1 : 0;
    if (slots === 1) {
      // One neuron is left to choose: trying them one by one needs no relaxation of what is left after each.
      const chosen = [...state.keys()].filter((j) => state[j] === IN);
      const { q } = relaxed.cut;
      const last = [...state.keys()].filter((j) => state[j] === FREE).sort((a, b) => q[b] - q[a] || a - b);
      for (const j of last) {
        const support = [...chosen, j];
        let bound = options.expired()
          ? node.bound
          : yield* shared.boundOf(support, threshold(), relaxed.point);
        if (bound < threshold() && !options.expired()) {
          const better = yield* shared.fit(support, relaxed.point);
          offer(better);
          bound = Math.max(bound, better.bound);
        }
        closed = Math.min(closed, bound);
      }
      continue;
    }
    const children: { state: Uint8Array; slots: number }[] = [];
    const branch = slots === 0 ? -1 : branchingCandidate(state, slots, order);
    if (branch < 0) children.push({ state, slots });
    else {
      for (const decision of [IN, OUT]) {
        const child = Uint8Array.from(state);
        child[branch] = decision;
        children.push({ state: child, slots: slots - (decision === IN ? 1 : 0) });
      }
    }
    for (const child of children) {
      const bound = poolBound(child.state, child.slots, node.bound);
      if (bound >= threshold()) closed = Math.min(closed, bound);
      else heap.push({ ...child, bound, start: relaxed.point, width: relaxed.width });
    }
  }
  // Those cuts hold for this size alone.
  shared.partial = [];
  shared.dropped.fill(0);
  settle(Infinity);
  const { objective } = report.incumbent;
  report.proved = objective - report.bound <= options.relativeGap * Math.abs(objective) * (1 + 1e-9);
  return report;
}

/** The free candidate whose share is furthest from 0 and 1; −1 where all that are free fit. */
function branchingCandidate(
  state: Uint8Array,
  slots: number,
  shares: readonly { readonly j: number; readonly share: number }[],
): number {
  let free = 0;
  let branch = -1;
  for (let j = 0; j < state.length; j++) {
    if (state[j] !== FREE) continue;
    free++;
    if (branch < 0) branch = j;
  }
  if (free <= slots) return -1;
  let best = -1;
  for (const { j, share } of shares) {
    const score = Math.min(share, 1 - share);
    if (state[j] !== FREE || score <= best) continue;
    best = score;
    branch = j;
  }
  return branch;
}

/** Nodes, lowest bound first. */
class NodeHeap {
  readonly #nodes: Node[] = [];

  get least(): number {
    return this.#nodes.length > 0 ? this.#nodes[0].bound : Infinity;
  }

  push(node: Node): void {
    const nodes = this.#nodes;
    let at = nodes.length;
    nodes.push(node);
    while (at > 0) {
      const up = (at - 1) >> 1;
      if (nodes[up].bound <= node.bound) break;
      nodes[at] = nodes[up];
      at = up;
    }
    nodes[at] = node;
  }

  pop(): Node | undefined {
    const nodes = this.#nodes;
    const first = nodes.at(0);
    const last = nodes.pop();
    if (!last || nodes.length === 0) return first;
    let at = 0;
    for (;;) {
      let child = 2 * at + 1;
      if (child >= nodes.length) break;
      if (child + 1 < nodes.length && nodes[child + 1].bound < nodes[child].bound) child++;
      if (nodes[child].bound >= last.bound) break;
      nodes[at] = nodes[child];
      at = child;
    }
    nodes[at] = last;
    return first;
  }
}
