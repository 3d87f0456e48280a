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
}

/** What a search shares between its sizes: data, buffers, cuts that hold everywhere, and counts. */
export class SearchState {
  readonly problem: SupportProblem;
  readonly work: Workspace;
  /** Cuts with q of every candidate, for every size. */
  readonly cuts: Cut[] = [];
  readonly fitted = new Map<string, FittedSupport>();
  evaluations = 0;
  cutCount = 0;

  constructor(problem: SupportProblem) {
    this.problem = problem;
    this.work = new Workspace(problem);
  }

  /** Fits one support, or returns the earlier fit; its cut joins the pool. */
  *fit(support: readonly number[], start?: Point): Generator<undefined, FittedSupport, undefined> {
    const sorted = [...support].sort((a, b) => a - b);
    const key = sorted.join(" ");
    const known = this.fitted.get(key);
    if (known) return known;
    const { problem, work } = this;
    const state = new Uint8Array(problem.columns.length).fill(OUT);
    for (const j of sorted) state[j] = IN;
    const result = yield* relax(problem, work, state, 0, { start, tolerance: FIT_TOLERANCE });
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
      steps: result.steps,
    };
    this.fitted.set(key, fit);
    return fit;
  }

  addCut(cut: Cut): void {
    this.cutCount++;
    this.cuts.push(cut);
    if (this.cuts.length > MAX_CUTS) this.cuts.splice(MAX_CUTS >> 2, 1);
  }
}

/** Relative gap of a fit between its primal and dual value. */
const FIT_TOLERANCE = 1e-10;
const MAX_CUTS = 400;

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
    for (const cut of shared.cuts) {
      const value = cut.constant - 0.5 * problem.gamma * largestSum(cut.q, state, slots, scratch).sum;
      if (value > best) best = value;
      if (best >= least) break;
    }
    return Math.max(best, from);
  };

  const heap = new NodeHeap();
  heap.push({
    state: new Uint8Array(p),
    slots: size,
    bound: poolBound(new Uint8Array(p), size, 0),
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
      width: Math.min(1, node.width * 10),
      tolerance: Math.min(1e-8, 0.1 * options.relativeGap),
      stop: (objective, bound) => bound >= threshold() || objective < threshold() || options.expired(),
    });
    shared.evaluations++;
    shared.addCut(relaxed.cut);
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
    offer(yield* shared.fit(rounded, relaxed.point));
    if (node.bound >= threshold()) {
      closed = Math.min(closed, node.bound);
      continue;
    }
    // Branch on the share that is furthest from 0 and 1.
    let branch = -1;
    let best = -1;
    for (const { j, share } of order) {
      if (node.state[j] !== FREE) continue;
      const score = Math.min(share, 1 - share);
      if (score > best) {
        best = score;
        branch = j;
      }
    }
    if (branch < 0) branch = free[0];
    for (const decision of [IN, OUT]) {
      const state = Uint8Array.from(node.state);
      state[branch] = decision;
      const slots = node.slots - (decision === IN ? 1 : 0);
      const bound = poolBound(state, slots, node.bound);
      if (bound >= threshold()) closed = Math.min(closed, bound);
      else heap.push({ state, slots, bound, start: relaxed.point, width: relaxed.width });
    }
  }
  settle(Infinity);
  const { objective } = report.incumbent;
  report.proved = objective - report.bound <= options.relativeGap * Math.abs(objective) * (1 + 1e-9);
  return report;
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
