/** What a sweep keeps of finished work, so that it can go on after an interruption. */
import { SparseProbeError } from "../errors.ts";
import type { SweepRow } from "./sweep-row.ts";

/**
 * - `"study"`: the journal is of another study
 * - `"locked"`: another process writes to it
 * - `"storage"`: it cannot be read or written: no right, no space, no folder
 * - `"damaged"`: a finished part of it is not what was written
 */
export type JournalFailure = "study" | "locked" | "storage" | "damaged";

/** A journal cannot be used; what was finished before is still in it. */
export class JournalError extends SparseProbeError {
  readonly code = "journal";
  readonly reason: JournalFailure;

  constructor(reason: JournalFailure, problem: string, remedy: string, options?: { cause?: unknown }) {
    super(problem, remedy, options);
    this.reason = reason;
  }
}

/** What a journal knows of a finished unit without its rows. */
export interface JournalUnit {
  /** Model, revision, dataset and hook point as a JSON list. */
  readonly key: string;
  /** The model and dataset that it belongs to, and all hook points that are probed there. */
  readonly group: string;
  readonly hookPoints: readonly string[];
  /** Digest of the dataset. */
  readonly dataset: string;
  readonly rows: number;
}

/** What a journal is recognised by. */
export interface JournalHeader {
  /** Digest of the study: two studies with the same one have the same rows. */
  readonly digest: string;
  /** The study in words, for people. */
  readonly study: unknown;
}

/**
 * Finished units and their rows. A unit is kept as a whole or not at all. Calls do not overlap.
 */
export interface SweepJournal {
  /**
   * Says which study is to be kept; the first call.
   * @returns the units that are finished already
   * @throws JournalError when the journal is of another study
   */
  open(header: JournalHeader): Promise<readonly JournalUnit[]>;
  /** Rows of a finished unit, in their order. */
  read(key: string): AsyncIterable<SweepRow> | Iterable<SweepRow>;
  /** Keeps a unit; when this has returned, it survives the process. */
  append(unit: Omit<JournalUnit, "rows">, rows: readonly SweepRow[]): Promise<void>;
}

/** A journal in memory: lets a sweep that was stopped go on in the same process. */
export class MemoryJournal implements SweepJournal {
  #header: JournalHeader | undefined;
  readonly #units = new Map<string, { unit: JournalUnit; rows: readonly SweepRow[] }>();

  open(header: JournalHeader): Promise<readonly JournalUnit[]> {
    this.#header ??= header;
    if (this.#header.digest !== header.digest) {
      return Promise.reject(
        new JournalError(
          "study",
          "The journal is of another study.",
          "Give each study a journal of its own.",
        ),
      );
    }
    return Promise.resolve(Array.from(this.#units.values(), ({ unit }) => unit));
  }

  read(key: string): Iterable<SweepRow> {
    return this.#units.get(key)?.rows ?? [];
  }

  append(unit: Omit<JournalUnit, "rows">, rows: readonly SweepRow[]): Promise<void> {
    this.#units.set(unit.key, { unit: { ...unit, rows: rows.length }, rows: [...rows] });
    return Promise.resolve();
  }
}
