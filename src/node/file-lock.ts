/** One process at a time: a lock file that a crash does not leave stuck. */
import { randomUUID } from "node:crypto";
import { link, open, readFile, rename, rm, stat, utimes } from "node:fs/promises";
import { hostname } from "node:os";

/** Who holds a lock. */
export interface LockOwner {
  readonly pid: number;
  readonly host: string;
  /** When the process began, so that another one with its number is told apart; null where that is not known. */
  readonly began: string | null;
  /** Of this lock alone. */
  readonly token: string;
}

export interface FileLock {
  /** Whether the lock is still this one's: someone may have taken it for left behind. */
  held(): Promise<boolean>;
  release(): Promise<void>;
}

/** Milliseconds between signs of life, and without one after which a process elsewhere counts as gone. */
const BEAT = 15_000;
const GONE = 60_000;

/** Milliseconds that a process may take from creating the file to writing it. */
const UNWRITTEN = 5_000;

/** Locks of this process. */
const mine = new Set<string>();

/**
 * Takes the lock at `path`.
 * @returns the lock, or its owner where someone has it; undefined for an owner that has not written its name yet
 */
export async function lockFile(path: string): Promise<FileLock | { readonly owner: LockOwner | undefined }> {
  const self: LockOwner = {
    pid: process.pid,
    host: hostname(),
    began: await beginOf(process.pid),
    token: randomUUID(),
  };
  for (;;) {
    if (await create(path, self)) return heldLock(path, self);
    const found = await ownerOf(path);
    if (found === "released") continue;
    if (await lives(found)) return { owner: found.owner };
    if (!(await removeStale(path, found.owner, self.token))) return { owner: undefined };
  }
}

async function create(path: string, self: LockOwner): Promise<boolean> {
  let file;
  try {
    file = await open(path, "wx");
  } catch (error) {
    if (codeOf(error) === "EEXIST") return false;
    throw error;
  }
  try {
    await file.writeFile(JSON.stringify(self));
  } catch (error) {
    await rm(path, { force: true });
    throw error;
  } finally {
    await file.close();
  }
  mine.add(self.token);
  return true;
}

function heldLock(path: string, self: LockOwner): FileLock {
  const beat = setInterval(() => {
    const now = new Date();
    // A sign that did not get through is made up for by the next.
    utimes(path, now, now).catch(() => undefined);
  }, BEAT);
  beat.unref();
  const held = async (): Promise<boolean> => {
    const found = await ownerOf(path);
    return found !== "released" && found.owner?.token === self.token;
  };
  return {
    held,
    async release() {
      clearInterval(beat);
      if (!mine.delete(self.token)) return;
      if (await held()) await rm(path, { force: true });
    },
  };
}

interface Found {
  /** Undefined where the file does not say. */
  readonly owner: LockOwner | undefined;
  /** Milliseconds since its last sign of life. */
  readonly age: number;
}

async function ownerOf(path: string): Promise<Found | "released"> {
  try {
    const text = await readFile(path, "utf8");
    const age = Date.now() - (await stat(path)).mtimeMs;
    return { owner: parseOwner(text), age };
  } catch (error) {
    if (codeOf(error) === "ENOENT") return "released";
    throw error;
  }
}

function parseOwner(text: string): LockOwner | undefined {
  try {
    const { pid, host, began, token } = JSON.parse(text) as Partial<LockOwner>;
    if (typeof pid !== "number" || typeof host !== "string" || typeof token !== "string") return undefined;
    return { pid, host, began: began ?? null, token };
  } catch {
    return undefined;
  }
}

async function lives({ owner, age }: Found): Promise<boolean> {
  if (!owner) return age < UNWRITTEN;
  if (owner.host !== hostname()) return age < GONE;
  if (owner.pid === process.pid) return mine.has(owner.token);
  try {
    process.kill(owner.pid, 0);
  } catch (error) {
    // No right to signal it: it is there.
    return codeOf(error) === "EPERM";
  }
  const began = await beginOf(owner.pid);
  return began === null || owner.began === null || began === owner.began;
}

/**
 * Takes away a lock whose owner is gone. Several may try: it is moved aside first, and put back if it turns out to be another.
 * @returns false where someone else has taken the lock meanwhile
 */
async function removeStale(path: string, stale: LockOwner | undefined, token: string): Promise<boolean> {
  const aside = `${path}.${token}`;
  try {
    await rename(path, aside);
  } catch (error) {
    if (codeOf(error) === "ENOENT") return true;
    throw error;
  }
  try {
    const found = await ownerOf(aside);
    if (found === "released" || found.owner?.token === stale?.token) return true;
    // Where a third one was quicker, the owner of this lock finds out before it writes.
    await link(aside, path).catch(() => undefined);
    return false;
  } finally {
    await rm(aside, { force: true });
  }
}

/** When a process began, in words of the system; null where it does not say. */
async function beginOf(pid: number): Promise<string | null> {
  try {
    const [boot, status] = await Promise.all([
      readFile("/proc/sys/kernel/random/boot_id", "utf8"),
      readFile(`/proc/${pid}/stat`, "utf8"),
    ]);
    // The name, second and in brackets, may hold anything; the start is the twentieth field behind it.
    return `${boot.trim()} ${status.slice(status.lastIndexOf(")") + 2).split(" ")[19]}`;
  } catch {
    return null;
  }
}

export function codeOf(error: unknown): string | undefined {
  return error instanceof Error ? (error as NodeJS.ErrnoException).code : undefined;
}
