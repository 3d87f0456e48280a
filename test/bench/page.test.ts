/** docs/benchmarks.md is what the committed results give, and says what it must. */
import { readFile } from "node:fs/promises";
import { describe, expect, it } from "vitest";
import { benchmarksPage, readAllResults, readNotes } from "../../bench/docs.ts";
import { renderMarkdown, staleNotes } from "../../bench/table.ts";

describe("docs/benchmarks.md", () => {
  it("equals what `npm run bench:docs` writes", async () => {
    const page = await readFile(new URL("../../docs/benchmarks.md", import.meta.url), "utf8");
    expect(page).toBe(await benchmarksPage());
  });

  it("says that a real GPU is unmeasured until one is measured, and shows missed goals", async () => {
    const page = await benchmarksPage();
    const all = await readAllResults();
    const measured = [...all.values()].some(({ machine }) => machine.gpu?.software === false);
    expect(page.includes("The speed on a real GPU is unmeasured")).toBe(!measured);
    const missed = [...all.values()].some(({ tasks }) =>
      tasks.some(({ goals }) => goals.some(({ met }) => !met)),
    );
    expect(page.includes("**missed**")).toBe(missed);
  });

  it("holds no figures of a GPU that is emulated in software", async () => {
    for (const { machine } of (await readAllResults()).values()) {
      expect(machine.gpu?.software ?? false).toBe(false);
    }
  });
});

describe("bench/notes.json", () => {
  it("speaks of results that are there, and of goals that are still missed", async () => {
    const all = await readAllResults();
    for (const [name, tried] of Object.entries(await readNotes())) {
      expect([...all.keys()]).toContain(name);
      expect(staleNotes(all.get(name)!, tried!)).toEqual([]);
    }
  });

  it("is found stale for a goal that is met and a task that is unknown, and else shown with the profile", async () => {
    const [[name, results]] = await readAllResults();
    const goal = { text: "at least 2 × NumPy", threads: 1, reached: 1, unit: "×" as const };
    const profiles = [{ threads: 1, parts: [{ name: "loop", share: 0.75 }], waiting: 0.1 }];
    const base = { ...results.tasks[0], job: "J0", profiles };
    const tasks = [
      { ...base, task: "missed", goals: [{ ...goal, met: false }] },
      { ...base, task: "met", goals: [{ ...goal, met: true }] },
    ];
    const notes = { "J0 missed": "Tried everything.", "J0 met": "", "J9 unknown": "" };
    expect(staleNotes({ ...results, tasks }, notes)).toEqual(["J0 met", "J9 unknown"]);
    const page = renderMarkdown(new Map([[name, { ...results, tasks }]]), { [name]: notes });
    expect(page).toContain("- 1 thread: loop 75 %; the main thread waits 10 % of the time.");
    expect(page).toContain("- Tried everything.");
  });
});
