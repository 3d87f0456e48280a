/** The bar: when it is drawn, how wide it is, what it says; and what a log gets instead. */
import { describe, expect, it } from "vitest";
import { duration, Progress } from "../../src/cli/progress.ts";
import { widthOf } from "../../src/cli/table.ts";

class FakeStream {
  readonly isTTY: boolean;
  columns: number;
  written: string[] = [];

  constructor(isTTY: boolean, columns = 80) {
    this.isTTY = isTTY;
    this.columns = columns;
  }

  write(text: string): boolean {
    this.written.push(text);
    return true;
  }

  /** What a terminal shows: the sequences that are used move to the line's start and clear it. */
  shown(): string[] {
    const lines = [""];
    const text = this.written.join("").replaceAll("\x1b[2m", "").replaceAll("\x1b[22m", "");
    for (const part of text.split(/(\r.\[2K|\n)/)) {
      if (part === "\n") lines.push("");
      else if (part === "\r\x1b[2K") lines[lines.length - 1] = "";
      else lines[lines.length - 1] += part;
    }
    return lines;
  }
}

function start(isTTY: boolean, env: Record<string, string> = {}, columns = 80, quiet = false) {
  const stream = new FakeStream(isTTY, columns);
  const clock = { now: 0 };
  const progress = new Progress({ stream, env, quiet, now: () => clock.now });
  return { stream, clock, progress };
}

describe("a bar on a terminal", () => {
  it("says what is done, how fast, and how long it still takes", () => {
    const { stream, clock, progress } = start(true);
    progress.show("capture", 0, 1000, "tokens");
    clock.now = 10_000;
    progress.show("capture", 250, 1000, "tokens");
    // 25 tokens a second, and 750 are left.
    expect(stream.shown()).toEqual([
      expect.stringMatching(/^capture {2}█+░+ {2}25 % {2}250 of 1,000 tokens {2}25\/s {2}30 s left$/),
    ]);
    const [bar] = /█+░+/.exec(stream.shown()[0])!;
    expect(bar.replaceAll("░", "").length / bar.length).toBeCloseTo(0.25, 1);
  });

  it("is redrawn ten times a second at most", () => {
    const { stream, clock, progress } = start(true);
    for (let i = 0; i <= 1000; i++) {
      clock.now = i;
      progress.show("capture", i, 1000, "tokens");
    }
    expect(stream.written.length).toBeGreaterThanOrEqual(9);
    expect(stream.written.length).toBeLessThanOrEqual(11);
  });

  it("goes when something else is said, and leaves nothing behind", () => {
    const { stream, clock, progress } = start(true);
    progress.show("capture", 1, 10, "tokens");
    progress.note("Written: a.json");
    clock.now = 5;
    progress.show("capture", 2, 10, "tokens");
    progress.clear();
    progress.clear();
    expect(stream.shown()).toEqual(["Written: a.json", ""]);
  });

  it.each([200, 80, 60, 40, 25, 12, 1])("stays within a window of %d columns", (columns) => {
    const { stream, clock, progress } = start(true, {}, columns);
    clock.now = 2000;
    progress.show("a stage with a long name", 123_456, 9_876_543, "tokens");
    clock.now = 4000;
    progress.show("a stage with a long name", 223_456, 9_876_543, "tokens");
    const [line] = stream.shown();
    expect(widthOf(line)).toBeLessThan(Math.max(1, columns));
    if (columns >= 25) expect(line).toContain("a stage");
  });

  it("follows a window that changes its width", () => {
    const { stream, clock, progress } = start(true, {}, 100);
    progress.show("capture", 1, 10, "tokens");
    const wide = widthOf(stream.shown()[0]);
    stream.columns = 30;
    clock.now = 1000;
    progress.show("capture", 2, 10, "tokens");
    expect(widthOf(stream.shown()[0])).toBeLessThan(Math.min(30, wide));
  });

  it("has no colours where NO_COLOR is set, and is none on a dumb terminal", () => {
    const coloured = start(true);
    coloured.progress.show("capture", 1, 10, "tokens");
    expect(coloured.stream.written.join("")).toContain("\x1b[2m");
    const plain = start(true, { NO_COLOR: "1" });
    plain.progress.show("capture", 1, 10, "tokens");
    expect(plain.stream.written.join("").replaceAll("\r\x1b[2K", "")).not.toContain("\x1b");
    const dumb = start(true, { TERM: "dumb" });
    dumb.progress.show("capture", 1, 10, "tokens");
    expect(dumb.stream.written).toEqual([]);
  });

  it("reckons the rate from where a run was taken up again", () => {
    const { stream, clock, progress } = start(true);
    progress.show("sweep", 900, 1000, "units");
    clock.now = 10_000;
    progress.show("sweep", 950, 1000, "units");
    expect(stream.shown()[0]).toContain("5.0/s  10 s left");
  });

  it("says what is under way where there is room for it", () => {
    for (const columns of [120, 60]) {
      const { stream, progress } = start(true, {}, columns);
      progress.show("sweep", 1, 6, "hook points", "haystack-4m languages: fit 45 %");
      const [line] = stream.shown();
      expect(line.endsWith("haystack-4m languages: fit 45 %")).toBe(columns === 120);
      expect(line).toMatch(/^sweep {2}█+░+ {2}16 %/);
    }
  });

  it("shows bytes as megabytes", () => {
    const { stream, clock, progress } = start(true);
    progress.show("download", 0, 50e6, "bytes");
    clock.now = 1000;
    progress.show("download", 10e6, 50e6, "bytes");
    expect(stream.shown()[0]).toContain("10.0 of 50.0 MB  10.0 MB/s  4 s left");
  });

  it("knows no total of zero", () => {
    const { stream, progress } = start(true);
    progress.show("capture", 0, 0, "tokens");
    expect(stream.shown()[0]).toContain("100 %");
  });
});

describe("a log", () => {
  it("gets a plain line every ten seconds, and none of what is over sooner", () => {
    const { stream, clock, progress } = start(false);
    for (let second = 0; second <= 25; second++) {
      clock.now = 1000 * second;
      progress.show("capture", second, 100, "tokens");
    }
    clock.now = 26_000;
    progress.show("fit", 0, 10, "probes");
    clock.now = 30_000;
    progress.show("fit", 9, 10, "probes");
    expect(stream.written).toEqual([
      "capture: 10 %, 10 of 100 tokens, 1.0/s, 90 s left\n".replace("90 s", "1 min 30 s"),
      "capture: 20 %, 20 of 100 tokens, 1.0/s, 1 min 20 s left\n",
    ]);
  });

  it("has a rate per minute, or per hour, where there is little in a second", () => {
    const { clock, stream, progress } = start(false);
    progress.show("sweep", 0, 10, "hook points");
    clock.now = 40_000;
    progress.show("sweep", 1, 10, "hook points");
    clock.now = 4_000_000;
    progress.show("sweep", 2, 10, "hook points");
    expect(stream.written).toEqual([
      "sweep: 10 %, 1 of 10 hook points, 1.5/min, 6 min 0 s left\n",
      "sweep: 20 %, 2 of 10 hook points, 1.8/h, 4 h 26 min left\n",
    ]);
  });

  it("gets notes, without escape sequences", () => {
    const { stream, progress } = start(false);
    progress.note("Written: a.json");
    progress.clear();
    expect(stream.written).toEqual(["Written: a.json\n"]);
  });
});

it("writes nothing at all when quiet", () => {
  for (const terminal of [true, false]) {
    const { stream, clock, progress } = start(terminal, {}, 80, true);
    progress.note("Computing");
    for (const second of [0, 20, 40]) {
      clock.now = 1000 * second;
      progress.show("capture", second, 100, "tokens");
    }
    progress.clear();
    expect(stream.written).toEqual([]);
  }
});

it.each([
  [0.2, "1 s"],
  [59.2, "1 min 0 s"],
  [200, "3 min 20 s"],
  [7500, "2 h 5 min"],
])("says %d seconds as %s", (seconds, text) => {
  expect(duration(seconds)).toBe(text);
});
