/** The page as readers meet it: in a browser, offline, by mouse and keyboard, on a phone, without scripts. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import type { Browser, BrowserContextOptions, Page } from "playwright";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { visible } from "../../src/reports/page/html.ts";
import { metricByKPicture } from "../../src/reports/pictures/metric-by-k.ts";
import { htmlReport } from "../../src/reports/report.ts";
import { openChromium } from "../support/chromium.ts";
import { HOSTILE, neuronPages } from "./evidence.ts";
import { sweepRow, syntheticRows } from "./rows.ts";

const TITLE = `A study of ${HOSTILE[0]}`;
const ROWS = [
  ...syntheticRows({ features: 12, layers: 6 }),
  sweepRow({ layer: 4, k: 1, support: [765], metrics: { ...sweepRow().metrics!, f1: 0.99 } }),
  ...HOSTILE.map((text) =>
    sweepRow({ feature: text, dataset: text, status: "failed", reason: text, support: [] }),
  ),
];

let browser: Browser;
let folder: string;
let address: string;

beforeAll(async () => {
  folder = mkdtempSync(join(tmpdir(), "sparseprobe-report-"));
  const path = join(folder, "report.html");
  const [{ feature }] = ROWS;
  const pictured = ROWS.filter((row) => row.feature === feature && row.method === "adaptive");
  const page = await htmlReport({
    title: TITLE,
    rows: ROWS,
    neurons: await neuronPages(),
    pictures: [metricByKPicture(pictured)],
    notes: HOSTILE,
  });
  writeFileSync(path, page);
  address = pathToFileURL(path).href;
  browser = await openChromium();
});

afterAll(async () => {
  await browser.close();
  rmSync(folder, { recursive: true });
});

/** Opens the page; what it asks the network for and what the browser complains of is gathered. */
async function open(
  hash = "",
  options: BrowserContextOptions = {},
): Promise<{ page: Page; problems: string[] }> {
  const context = await browser.newContext({ viewport: { width: 1280, height: 900 }, ...options });
  const page = await context.newPage();
  const problems: string[] = [];
  page.on("console", (message) => problems.push(`${message.type()}: ${message.text()}`));
  page.on("pageerror", (error) => problems.push(error.message));
  page.on("request", (request) => {
    const url = request.url();
    if (!url.startsWith("data:") && url.split("#")[0] !== address) problems.push(`request: ${url}`);
  });
  await page.goto(address + hash);
  return { page, problems };
}

/** Texts of a column of the shown rows. */
const column = (page: Page, table: string, title: string): Promise<string[]> =>
  page.locator(`[data-table=${table}]`).evaluate((root, name) => {
    const heads = [...root.querySelectorAll("thead th")].map((head) => head.textContent);
    return [...root.querySelectorAll("tbody tr")].map((row) => row.children[heads.indexOf(name)].textContent);
  }, title);

const shown = (page: Page, table: string): Promise<string | null> =>
  page.locator(`[data-table=${table}] .shown`).textContent();

describe("the report in a browser", () => {
  it("complains of nothing and asks for nothing, whatever is done with it", async () => {
    const { page, problems } = await open();
    await page.locator("[data-table=rows] thead button").first().click();
    await page.locator("[data-table=rows] input[type=search]").fill("adaptive");
    await page.goto(`${address}#neuron-haystack-4m-L4-N765`);
    await page.locator(".open .values input").check();
    await page.emulateMedia({ media: "print", colorScheme: "dark" });
    await page.pdf();
    expect(problems).toEqual([]);
    expect(await page.evaluate(() => "hacked" in globalThis)).toBe(false);
    await page.context().close();
  });

  it("its policy stops what would be put into it", async () => {
    const { page, problems } = await open();
    const blocked = await page.evaluate(async () => {
      const script = document.createElement("script");
      let written = true;
      try {
        script.text = "globalThis.hacked = true";
      } catch {
        written = false;
      }
      document.body.append(script);
      const image = new Image();
      const failed = new Promise((resolve) => image.addEventListener("error", () => resolve(true)));
      image.src = "https://example.org/x.png";
      return { written, image: await failed, hacked: "hacked" in globalThis };
    });
    expect(blocked).toEqual({ written: false, image: true, hacked: false });
    expect(problems.some((problem) => problem.includes("Content Security Policy"))).toBe(true);
    await page.context().close();
  });

  it("shows hostile text as text", async () => {
    const { page } = await open();
    const body = await page.locator("main").evaluate((main) => (main as HTMLElement).textContent);
    for (const text of HOSTILE) expect(body).toContain(visible(text));
    expect(await page.locator("h1").textContent()).toBe(TITLE);
    await page.locator("[data-table=rows] input[type=search]").fill("onerror");
    expect(await column(page, "rows", "feature")).toEqual([visible(HOSTILE[1])]);
    // Passages, with tokens marked: the examples read as the texts.
    await page.goto(`${address}#neuron-L3-N609`);
    const passages = await page.locator(".open .passage").allTextContents();
    expect(passages.some((passage) => passage.includes("\u{1F44D}\u{1F3FD}"))).toBe(true);
    expect(passages.some((passage) => passage.includes("<script>globalThis.hacked"))).toBe(true);
    expect(passages.some((passage) => passage.includes("⟨U+202E⟩txet⟨U+202C⟩"))).toBe(true);
    expect(passages.join("")).not.toMatch(/[\0\u202E\u2066]/);
    await page.context().close();
  });

  it("sorts by a click or a key, and says so", async () => {
    const { page } = await open();
    const head = page.locator("[data-table=rows] thead th", { hasText: /^F1$/ });
    await head.locator("button").focus();
    await page.keyboard.press("Enter");
    expect(await head.getAttribute("aria-sort")).toBe("descending");
    const values = (await column(page, "rows", "F1")).map((text) => Number.parseFloat(text));
    expect(values[0]).toBe(Math.max(...ROWS.map((row) => Number((row.metrics?.f1 ?? 0).toFixed(3)))));
    expect(values).toEqual([...values].sort((a, b) => b - a));
    await page.keyboard.press("Space");
    expect(await head.getAttribute("aria-sort")).toBe("ascending");
    expect(await page.locator("[data-table=rows] [aria-sort]").count()).toBe(1);
    const least = (await column(page, "rows", "F1")).map((text) => Number.parseFloat(text));
    expect(least).toEqual([...least].sort((a, b) => a - b));
    await page.context().close();
  });

  it("starts with the rows that the page has without scripts", async () => {
    const { page } = await open();
    const { page: bare } = await open("", { javaScriptEnabled: false });
    const cells = (of: Page): Promise<string[]> =>
      of.locator("[data-table] tbody :is(th, td)").allTextContents();
    expect(await cells(page)).toEqual(await cells(bare));
    const chosen = (await column(page, "best", "F1, validation")).map(Number);
    expect(chosen).toEqual([...chosen].sort((a, b) => b - a));
    await page.context().close();
    await bare.context().close();
  });

  it("filters by words, neurons and choices, and turns pages", async () => {
    const { page } = await open();
    const table = page.locator("[data-table=rows]");
    expect(await shown(page, "rows")).toBe(`1–50 of ${ROWS.length.toLocaleString("en")} rows`);
    await table.getByRole("button", { name: "Last" }).click();
    expect(await shown(page, "rows")).toContain(`–${ROWS.length.toLocaleString("en")} of`);
    expect(await table.getByRole("button", { name: "Next" }).getAttribute("aria-disabled")).toBe("true");

    await table.getByLabel("Search").fill("adaptive part-of-speech");
    await table.getByLabel("layer", { exact: true }).selectOption("3");
    await table.getByLabel("part", { exact: true }).selectOption("test");
    const expected = ROWS.filter(
      (row) =>
        row.method === "adaptive" &&
        row.dataset === "part-of-speech" &&
        row.layer === 3 &&
        row.split === "test",
    );
    expect(expected.length).toBeGreaterThan(0);
    expect(await shown(page, "rows")).toContain(`${expected.length} rows that match`);
    expect(new Set(await column(page, "rows", "layer"))).toEqual(new Set(["3"]));

    await table.getByRole("button", { name: "Clear" }).click();
    expect(await shown(page, "rows")).toBe(`1–50 of ${ROWS.length.toLocaleString("en")} rows`);
    await table.getByLabel("Search").fill("n765");
    const lists = await column(page, "rows", "neurons");
    expect(lists.length).toBeGreaterThan(0);
    for (const list of lists) expect(list.split(/[, ]+/)).toContain("765");
    await table.getByLabel("Search").fill("no such thing");
    expect(await shown(page, "rows")).toBe("No rows match.");
    await page.context().close();
  });

  it("shows one neuron at a time, by address, link, history and keyboard", async () => {
    const { page } = await open();
    const [study, neurons] = [page.locator(".study"), page.locator(".neuron")];
    expect(await study.isVisible()).toBe(true);
    expect(await neurons.first().isVisible()).toBe(false);
    const link = page.locator("[data-table=best] a").first();
    await link.focus();
    const before = await page.evaluate(() => window.scrollY);
    await page.keyboard.press("Enter");
    await page.waitForFunction(() => document.activeElement?.tagName === "H2");
    expect(await page.evaluate(() => document.activeElement?.textContent)).toBe("L4 N765");
    expect(await page.title()).toContain("L4 N765");
    expect(await study.isVisible()).toBe(false);
    expect(await page.locator(".neuron:visible").count()).toBe(1);
    await page.goBack();
    await page.waitForFunction(() => !document.documentElement.classList.contains("at-neuron"));
    expect(await page.evaluate(() => window.scrollY)).toBe(before);
    expect(await page.title()).not.toContain("N765");

    await page.goto(`${address}#neuron-L3-N609`);
    expect(await page.locator(".neuron:visible h2").textContent()).toBe("L3 N609");
    await page.getByRole("link", { name: "All neurons" }).locator("visible=true").click();
    await page.waitForFunction(() => !document.documentElement.classList.contains("at-neuron"));
    expect(await page.locator("#neurons").isVisible()).toBe(true);
    await page.context().close();
  });

  it("starts with a link that skips to the content, and shows where the focus is", async () => {
    const { page } = await open();
    await page.keyboard.press("Tab");
    expect(await page.evaluate(() => document.activeElement?.textContent)).toBe("Skip to the content");
    const box = await page.locator(".skip").boundingBox();
    expect(box!.x).toBeGreaterThanOrEqual(0);
    await page.keyboard.press("Enter");
    await page.waitForFunction(() => document.activeElement?.tagName === "MAIN");
    await page.keyboard.press("Tab");
    const outline = await page.evaluate(() => getComputedStyle(document.activeElement!).outlineStyle);
    expect(outline).toBe("solid");
    await page.context().close();
  });

  it("has headings in order, tables with headers, pictures with words, names for what can be used", async () => {
    const { page } = await open();
    const found = await page.evaluate(() => {
      const levels = [...document.querySelectorAll("h1, h2, h3, h4")].map((head) => Number(head.tagName[1]));
      const all = (selector: string): Element[] => [...document.querySelectorAll(selector)];
      return {
        tops: levels.filter((level) => level === 1).length,
        jumps: levels.filter((level, i) => i > 0 && level > levels[i - 1] + 1).length,
        headless: all("th:not([scope])").length + all("table:not(:has(caption))").length,
        silent: all("img:not([alt]), img[alt='']").length,
        nameless: all("input, select").filter((field) => !(field as HTMLInputElement).labels?.length).length,
        landmarks: all("main, nav, header, footer").length,
        twice: all("[id]").length - new Set(all("[id]").map(({ id }) => id)).size,
        lost: all("[aria-labelledby]").filter(
          (element) => !document.getElementById(element.getAttribute("aria-labelledby")!),
        ).length,
      };
    });
    expect(found).toEqual({
      tops: 1,
      jumps: 0,
      headless: 0,
      silent: 0,
      nameless: 0,
      landmarks: 4,
      twice: 0,
      lost: 0,
    });
    await page.context().close();
  });

  it.each(["light", "dark"] as const)(
    "fits a phone, in the %s scheme, with text that stands out",
    async (colorScheme) => {
      for (const hash of ["", "#neuron-haystack-4m-L4-N765", "#neuron-L3-N609"]) {
        const { page, problems } = await open(hash, { viewport: { width: 360, height: 740 }, colorScheme });
        const [inner, whole] = await page.evaluate(() => {
          const { clientWidth, scrollWidth } = document.documentElement;
          return [clientWidth, scrollWidth];
        });
        expect(whole).toBe(inner);
        expect(problems).toEqual([]);
        // WCAG's contrast of text, 4.5, for the page's colours; marks are checked at their strongest.
        const ratios = await page.evaluate(() => {
          const probe = document.createElement("span");
          document.body.append(probe);
          const canvas = new OffscreenCanvas(1, 1).getContext("2d")!;
          const light = (...layers: string[]): number => {
            canvas.clearRect(0, 0, 1, 1);
            for (const colour of layers) {
              probe.style.setProperty("color", colour);
              canvas.fillStyle = getComputedStyle(probe).color;
              canvas.fillRect(0, 0, 1, 1);
            }
            const [r, g, b] = [...canvas.getImageData(0, 0, 1, 1).data].map((value) => {
              const share = value / 255;
              return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
            });
            return 0.2126 * r + 0.7152 * g + 0.0722 * b;
          };
          const contrast = (a: number, b: number): number =>
            (Math.max(a, b) + 0.05) / (Math.min(a, b) + 0.05);
          const [page, text] = [light("var(--page)"), light("var(--text)")];
          const marks = [
            light("var(--page)", "hsl(var(--up) / 0.48)"),
            light("var(--page)", "hsl(var(--down) / 0.4)"),
          ];
          return [
            contrast(page, text),
            contrast(page, light("var(--faint)")),
            contrast(page, light("var(--link)")),
            ...marks.map((mark) => contrast(mark, text)),
          ];
        });
        for (const ratio of ratios) expect(ratio).toBeGreaterThan(4.5);
        await page.context().close();
      }
    },
  );

  it("shows summary, first pages and neurons without scripts", async () => {
    const { page, problems } = await open("", { javaScriptEnabled: false });
    expect(problems).toEqual([]);
    expect(await page.locator("#summary").isVisible()).toBe(true);
    expect(await page.locator("[data-table=rows] tbody tr").count()).toBe(50);
    expect(await page.locator(".neuron").first().isVisible()).toBe(true);
    expect(await page.locator("button").count()).toBe(0);
    await page.context().close();
  });

  it("draws pictures in the colours of the scheme", async () => {
    const inks: string[] = [];
    for (const colorScheme of ["light", "dark"] as const) {
      const { page } = await open("", { colorScheme });
      const image = page.locator("figure img");
      await image.scrollIntoViewIfNeeded();
      expect(await image.evaluate((img) => (img as HTMLImageElement).naturalWidth)).toBeGreaterThan(300);
      inks.push((await image.screenshot()).toString("base64"));
      await page.context().close();
    }
    expect(inks[0]).not.toBe(inks[1]);
  });
});
