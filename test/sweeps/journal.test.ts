/** Sweeps that are stopped, and journals that are damaged, full, locked or of another study. */
import { spawn, type ChildProcess } from "node:child_process";
import { once } from "node:events";
import { chmod, mkdtemp, open, readdir, readFile, rm, stat, utimes, writeFile } from "node:fs/promises";
import { hostname, tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { FileJournal, openSweepJournal, type JournalFile } from "../../src/node/sweep-journal.ts";
import { Random } from "../../src/random.ts";
import {
  JournalError,
  MemoryJournal,
  type JournalFailure,
  type SweepJournal,
} from "../../src/sweeps/journal.ts";
import { readRows } from "../../src/sweeps/rows-jsonl.ts";
import type { SweepRow } from "../../src/sweeps/sweep-row.ts";
import type { SweepStudy } from "../../src/sweeps/sweep-study.ts";
import { sweep } from "../../src/sweeps/sweep.ts";
import { journalStudy } from "./journal-study.ts";
import { collect, sweepAll, timeless } from "./studies.ts";

let study: SweepStudy;
let uninterrupted: SweepRow[];
let folder: string;
let path: string;

beforeAll(async () => {
  study = journalStudy();
  uninterrupted = await sweepAll(study);
});

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), "sweep-journal-"));
  path = join(folder, "journal.jsonl");
});

afterEach(async () => {
  await chmod(folder, 0o755);
  await rm(folder, { recursive: true });
});

/** Units of the study. */
const UNITS = 8;

async function withJournal(at: string = path): Promise<SweepRow[]> {
  const journal = await openSweepJournal(at);
  try {
    return await sweepAll(study, { journal });
  } finally {
    await journal.close();
  }
}

function child(at: string = path): ChildProcess {
  return spawn(process.execPath, ["--import", "tsx", join(import.meta.dirname, "sweep-in-child.ts"), at], {
    cwd: resolve(import.meta.dirname, "../.."),
    stdio: ["ignore", "pipe", "inherit"],
  });
}

async function failureOf(promise: Promise<unknown>): Promise<JournalError> {
  const error = await promise.then(
    () => undefined,
    (reason: unknown) => reason,
  );
  expect(error).toBeInstanceOf(JournalError);
  return error as JournalError;
}

async function expectFailure(promise: Promise<unknown>, reason: JournalFailure): Promise<void> {
  expect((await failureOf(promise)).reason).toBe(reason);
}

describe("a sweep with a journal", () => {
  it("gives the rows of one without, and gives them again without computing", async () => {
    const first = await withJournal();
    expect(timeless(first)).toEqual(timeless(uninterrupted));
    // The very same rows, times included.
    expect(await withJournal()).toEqual(first);
  });

  it("that is left early goes on behind what was finished", async () => {
    const journal = new MemoryJournal();
    const seen: SweepRow[] = [];
    for await (const row of sweep(study, { journal })) {
      seen.push(row);
      if (seen.length > uninterrupted.length / 2) break;
    }
    const again = await sweepAll(study, { journal });
    expect(again.slice(0, seen.length)).toEqual(seen);
    expect(timeless(again)).toEqual(timeless(uninterrupted));
  });

  it("stops for a signal, and goes on", async () => {
    const journal = new MemoryJournal();
    const controller = new AbortController();
    const reason = new Error("enough");
    const run = collect(
      sweep(study, {
        journal,
        signal: controller.signal,
        onProgress: ({ done }) => {
          if (done >= 2) controller.abort(reason);
        },
      }),
    ).then(
      () => undefined,
      (error: unknown) => error,
    );
    expect(await run).toBe(reason);
    expect(await sweepAll(study, { journal })).toHaveLength(uninterrupted.length);
  });

  it("killed at 25 random moments has the rows of an uninterrupted one", async () => {
    // How long two processes at once take from when they are ready, on this machine and with what else it does.
    const spans = [0, 1].map(async (lane) => {
      const process = child(join(folder, `whole-${lane}.jsonl`));
      const exited = once(process, "exit");
      await once(process.stdout!, "data");
      const start = performance.now();
      await once(process.stdout!, "data");
      const span = performance.now() - start;
      await exited;
      return span;
    });
    const span = Math.min(...(await Promise.all(spans)));
    const random = new Random(0, "moments");
    const moments = Array.from({ length: 25 }, () => random.uniform() * span);
    let stopped = 0;
    let kept = 0;
    const trial = async (moment: number, at: string): Promise<void> => {
      const process = child(at);
      const exited = once(process, "exit");
      await once(process.stdout!, "data");
      await sleep(moment);
      process.kill("SIGKILL");
      const [, signal] = (await exited) as [number | null, string | null];
      if (signal === "SIGKILL") stopped++;
      kept += (await readFile(at, "utf8")).split('{"finished":').length - 1;
      expect(timeless(await withJournal(at))).toEqual(timeless(uninterrupted));
    };
    // One process starts while the rows of another are made up for.
    await Promise.all(
      [0, 1].map(async (lane) => {
        for (const [t, moment] of moments.entries()) {
          if (t % 2 === lane) await trial(moment, join(folder, `${t}.jsonl`));
        }
      }),
    );
    // Otherwise these were no moments: all before the first unit, or behind the last.
    expect(stopped).toBeGreaterThan(12);
    expect(kept).toBeGreaterThan(0);
    expect(kept).toBeLessThan(25 * UNITS);
  });

  it("cut off at any byte has the rows of an uninterrupted one", async () => {
    const rows = await withJournal();
    const whole = await readFile(path);
    const random = new Random(1, "bytes");
    const units = [...whole.toString("latin1").matchAll(/\n\{"unit":/g)].map(({ index }) => index + 1);
    const cuts = [0, 1, 40, units[0], units[0] + 1, units[1], whole.length - 1, whole.length];
    while (cuts.length < 30) cuts.push(random.below(whole.length));
    for (const cut of cuts) {
      await writeFile(path, whole.subarray(0, cut));
      const again = await withJournal();
      expect(timeless(again)).toEqual(timeless(rows));
      const lines = (await readFile(path, "utf8")).trimEnd().split("\n");
      expect(lines.filter((line) => line.startsWith('{"finished":'))).toHaveLength(units.length);
    }
  });

  it("of which the last unit is garbage does that unit again", async () => {
    const rows = await withJournal();
    const whole = await readFile(path);
    const last = whole.lastIndexOf('{"unit":');
    // What a crash of the machine may leave: the size is there, the bytes are not.
    whole.fill(0, last + 100, last + 400);
    await writeFile(path, whole);
    expect(timeless(await withJournal())).toEqual(timeless(rows));
  });
});

describe("a journal", () => {
  it("of another study is refused, and left as it is", async () => {
    await withJournal();
    const before = await readFile(path);
    const others: SweepStudy[] = [
      { ...study, ks: [1] },
      { ...study, seeds: [1] },
      { ...study, methods: ["mean-difference", "adaptive", "f"] },
      { ...study, fractions: { train: 0.5, validation: 0.25, test: 0.25 } },
      { ...study, activations: journalStudy().activations!.slice(1) },
      { ...study, probe: { C: 2 } },
    ];
    for (const other of others) {
      const journal = await openSweepJournal(path);
      await expectFailure(sweepAll(other, { journal }), "study");
      await journal.close();
    }
    const [first, second] = journalStudy().activations!;
    const [[point, values]] = first.activations;
    if ("data" in values) values.data[7] += 1;
    const journal = await openSweepJournal(path);
    await expectFailure(sweepAll({ ...study, activations: [first, second] }, { journal }), "study");
    await journal.close();
    expect(point).toBe("blocks.0.mlp.hook_post");
    expect(await readFile(path)).toEqual(before);
    const memory = new MemoryJournal();
    await sweepAll(study, { journal: memory });
    await expectFailure(sweepAll({ ...study, ks: [3] }, { journal: memory }), "study");
  });

  it("with a changed unit before the last is refused, and left as it is", async () => {
    await withJournal();
    const text = await readFile(path, "utf8");
    const at = text.indexOf('"f1":') + 5;
    const changed = `${text.slice(0, at)}9${text.slice(at + 1)}`;
    await writeFile(path, changed);
    await expectFailure(openSweepJournal(path), "damaged");
    expect(await readFile(path, "utf8")).toBe(changed);
  });

  it("is never made of a file that is something else", async () => {
    for (const text of [
      "notes",
      "notes\n",
      '{"model":"m"}\n',
      '{"schema":"sparseprobe/sweep-journal","version":2,"digest":"x"}\n',
      "\n",
    ]) {
      await writeFile(path, text);
      await expectFailure(openSweepJournal(path), "damaged");
      expect(await readFile(path, "utf8")).toBe(text);
    }
    await expectFailure(openSweepJournal(folder), "storage");
    await expectFailure(openSweepJournal(join(folder, "none", "journal.jsonl")), "storage");
  });

  it("in a folder that cannot be written to is refused", async () => {
    await chmod(folder, 0o555);
    // The superuser may write anywhere.
    const superuser = process.geteuid?.() === 0;
    if (superuser) process.seteuid!(65534);
    try {
      await expectFailure(openSweepJournal(path), "storage");
    } finally {
      if (superuser) process.seteuid!(0);
    }
    expect(await readdir(folder)).toEqual([]);
  });

  it("that is read-only itself is refused", async () => {
    await withJournal();
    const before = await readFile(path);
    await chmod(path, 0o444);
    await chmod(folder, 0o777);
    const superuser = process.geteuid?.() === 0;
    if (superuser) process.seteuid!(65534);
    try {
      await expectFailure(openSweepJournal(path), "storage");
    } finally {
      if (superuser) process.seteuid!(0);
    }
    expect(await readFile(path)).toEqual(before);
    expect(await readdir(folder)).toEqual(["journal.jsonl"]);
  });
});

describe("a full disk", () => {
  /** A file in memory on a disk with so much room. */
  function fileOn(disk: { room: number; bytes: Buffer; broken?: boolean }): JournalFile {
    return {
      size: () => Promise.resolve(disk.bytes.length),
      read: (into, at) => Promise.resolve(disk.bytes.copy(into, 0, at)),
      write(bytes, at) {
        const fitting = Math.min(bytes.length, disk.room - at);
        if (fitting <= 0)
          return Promise.reject(
            Object.assign(new Error("ENOSPC: no space left on device, write"), { code: "ENOSPC" }),
          );
        disk.bytes = Buffer.concat([disk.bytes.subarray(0, at), bytes.subarray(0, fitting)]);
        return Promise.resolve(fitting);
      },
      truncate(size) {
        if (disk.broken) return Promise.reject(new Error("EIO"));
        disk.bytes = disk.bytes.subarray(0, size);
        return Promise.resolve();
      },
      sync: () => Promise.resolve(),
      close: () => Promise.resolve(),
    };
  }

  async function journalOn(disk: Parameters<typeof fileOn>[0]): Promise<SweepJournal> {
    const lock = { held: () => Promise.resolve(true), release: () => Promise.resolve() };
    const journal = new FileJournal("journal", fileOn(disk), lock);
    await journal.readIndex();
    return journal;
  }

  it.each([false, true])("ends the sweep and loses nothing (truncation fails: %s)", async (broken) => {
    await withJournal();
    const whole = await readFile(path);
    for (const share of [0.0001, 0.3, 0.75, 0.999]) {
      const disk = { room: Math.floor(share * whole.length), bytes: Buffer.alloc(0), broken };
      const error = await failureOf(sweepAll(study, { journal: await journalOn(disk) }));
      expect(error.reason).toBe("storage");
      expect(error.message).toContain("ENOSPC");
      const kept = disk.bytes
        .toString("utf8")
        .split(/^\{"finished":.*\n/m)
        .slice(0, -1)
        .flatMap((part) => readRows(part.slice(part.indexOf('{"model":'))));
      if (!broken) expect(disk.bytes.toString("utf8").endsWith("\n") || disk.bytes.length === 0).toBe(true);
      disk.room = Infinity;
      disk.broken = false;
      const rows = await sweepAll(study, { journal: await journalOn(disk) });
      expect(timeless(rows)).toEqual(timeless(uninterrupted));
      // Those that were kept are not had again: they would have taken another time.
      expect(rows.slice(0, kept.length)).toEqual(kept);
      if (share > 0.5) expect(kept.length).toBeGreaterThan(uninterrupted.length / 2);
    }
  });

  it.runIf(process.platform === "linux")("of the system is told apart too", async () => {
    const handle = await open("/dev/full", "r+");
    try {
      const file: JournalFile = {
        ...fileOn({ room: Infinity, bytes: Buffer.alloc(0) }),
        write: async (bytes, at) => (await handle.write(bytes, 0, bytes.length, at)).bytesWritten,
        sync: () => handle.datasync(),
      };
      const lock = { held: () => Promise.resolve(true), release: () => Promise.resolve() };
      const error = await failureOf(sweepAll(study, { journal: new FileJournal("journal", file, lock) }));
      expect(error.reason).toBe("storage");
      expect(error.cause).toMatchObject({ code: "ENOSPC" });
    } finally {
      await handle.close();
    }
  });
});

describe("a lock", () => {
  const lockPath = (): string => `${path}.lock-another`;
  const owner = (change: object): string =>
    JSON.stringify({ pid: process.pid, host: hostname(), began: null, ...change });

  it("lets one journal at a time be open, by whatever name", async () => {
    const first = await openSweepJournal(path);
    await expectFailure(openSweepJournal(path), "locked");
    await expectFailure(
      openSweepJournal(join(folder, ".", "..", folder.split("/").at(-1)!, "journal.jsonl")),
      "locked",
    );
    await first.close();
    await first.close();
    const second = await openSweepJournal(path);
    await second.close();
    expect(await readdir(folder)).toEqual(["journal.jsonl"]);
  });

  it("of a process that runs holds, and of one that was killed does not", async () => {
    const process = child();
    const exited = once(process, "exit");
    await once(process.stdout!, "data");
    const error = await failureOf(openSweepJournal(path));
    expect(error.reason).toBe("locked");
    expect(error.message).toContain(`process ${process.pid}`);
    process.kill("SIGKILL");
    await exited;
    expect((await readdir(folder)).filter((name) => name.includes(".lock-"))).toHaveLength(1);
    const journal = await openSweepJournal(path);
    await journal.close();
  });

  it.each([
    ["a process that is no more", { pid: 2 ** 22 + 1 }, 0],
    ["another process with this one's number", {}, 0],
    ["a process elsewhere without a sign of life", { host: "elsewhere" }, 120],
  ])("of %s is taken over", async (_name, change, age) => {
    await writeFile(lockPath(), owner(change));
    const then = new Date(Date.now() - age * 1000);
    await utimes(lockPath(), then, then);
    const journal = await openSweepJournal(path);
    await journal.close();
    expect(await readdir(folder)).toEqual(["journal.jsonl"]);
  });

  it.runIf(process.platform === "linux")(
    "of a killed process that nobody has taken note of is taken over",
    async () => {
      // The shell becomes a program that does not ask after the child that it inherits.
      const parent = spawn("sh", ["-c", "sleep 0 & echo $!; exec sleep 60"], {
        stdio: ["ignore", "pipe", "ignore"],
      });
      const exited = once(parent, "exit");
      try {
        const [line] = (await once(parent.stdout, "data")) as [Buffer];
        const pid = Number(line.toString());
        const state = async (): Promise<string> =>
          / ([A-Z]) /.exec(await readFile(`/proc/${pid}/stat`, "utf8"))![1];
        while ((await state()) !== "Z") await sleep(5);
        await writeFile(lockPath(), owner({ pid, began: null }));
        await (await openSweepJournal(path)).close();
      } finally {
        parent.kill("SIGKILL");
        await exited;
      }
    },
  );

  it("of a process elsewhere holds, and one that is being written", async () => {
    for (const text of [owner({ host: "elsewhere" }), ""]) {
      await writeFile(lockPath(), text);
      await expectFailure(openSweepJournal(path), "locked");
      expect(await readFile(lockPath(), "utf8")).toBe(text);
    }
    const then = new Date(Date.now() - 60_000);
    await utimes(lockPath(), then, then);
    await (await openSweepJournal(path)).close();
  });

  it("that was taken over stops its first owner before it writes", async () => {
    const journal = await openSweepJournal(path);
    const [claim] = (await readdir(folder)).filter((name) => name.includes(".lock-"));
    await rm(join(folder, claim));
    await expectFailure(sweepAll(study, { journal }), "locked");
    await journal.close();
    expect((await stat(path)).size).toBe(0);
  });

  it("is never taken by two of several", async () => {
    await writeFile(lockPath(), owner({}));
    const tries = await Promise.allSettled(Array.from({ length: 8 }, () => openSweepJournal(path)));
    const opened = tries.flatMap((one) => (one.status === "fulfilled" ? [one.value] : []));
    expect(opened.length).toBeLessThanOrEqual(1);
    for (const one of tries)
      if (one.status === "rejected") expect((one.reason as JournalError).reason).toBe("locked");
    for (const one of opened) await one.close();
    await (await openSweepJournal(path)).close();
    expect(await readdir(folder)).toEqual(["journal.jsonl"]);
  });
});
