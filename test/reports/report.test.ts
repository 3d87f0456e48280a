/** The page as text: what it holds, what it chooses, that it is valid HTML and stays small. */
import fc from "fast-check";
import { HtmlValidate } from "html-validate";
import { beforeAll, describe, expect, it } from "vitest";
import { EmptyDataError, OptionError } from "../../src/errors.ts";
import { chooseBest } from "../../src/reports/page/best-probes.ts";
import { unsqueeze } from "../../src/reports/page/client/unsqueeze.ts";
import { escapeHtml, html, visible } from "../../src/reports/page/html.ts";
import type { NeuronPage } from "../../src/reports/page/neuron-section.ts";
import { pack, unpack } from "../../src/reports/page/packed.ts";
import { joinParts, levelOf } from "../../src/reports/page/passage.ts";
import { squeeze } from "../../src/reports/page/squeezed.ts";
import { numberColumn, openColumn, sortRows, wordColumn } from "../../src/reports/page/table-data.ts";
import { metricByKPicture } from "../../src/reports/pictures/metric-by-k.ts";
import { htmlReport } from "../../src/reports/report.ts";
import { studyPictures } from "../../src/reports/study-pictures.ts";
import { mergeSchemes } from "../../src/reports/svg-markup.ts";
import { HOSTILE, neuronPages } from "./evidence.ts";
import { metrics, sweepRow, syntheticRows } from "./rows.ts";

let neurons: NeuronPage[];
beforeAll(async () => {
  neurons = await neuronPages();
});

const small = syntheticRows({ features: 8, layers: 2, ks: [1, 4, 16] });

describe("htmlReport", () => {
  it("takes under 2 MB for as many rows as a study of all categories has", async () => {
    const rows = syntheticRows({
      features: 141,
      layers: 6,
      ks: [1, 2, 3, 4, 5, 6, 8, 12, 16, 24, 32, 64, 96, 128, 256],
      methods: ["mean-difference", "adaptive", "chance"],
    });
    expect(rows.length).toBe(76_140);
    const page = await htmlReport({ title: "A study", rows, neurons, pictures: studyPictures(rows) });
    expect(Buffer.byteLength(page)).toBeLessThan(2e6);
  });

  it("counts the time of a probe once, though both its rows have it", async () => {
    const rows = (["validation", "test"] as const).flatMap((split) => [
      sweepRow({ split, seconds: 20 }),
      sweepRow({ split, seconds: 25, k: 4, support: [0, 1, 2, 3], coefficients: [1, 1, 1, 1] }),
    ]);
    const page = await htmlReport({ title: "A study", rows });
    expect(/Time to rank and fit<\/dt>\s*<dd>([^<]*)</.exec(page)![1]).toBe("45.0 s");
  });

  it("counts a probe once, though both its rows say how its fit went", async () => {
    const rows = (["validation", "test"] as const).flatMap((split) => [
      sweepRow({ split, separated: true }),
      sweepRow({ split, k: 2, support: [0, 1], coefficients: [1, 1], converged: false }),
      sweepRow({ split, k: 3, support: [0, 1, 2], coefficients: [1, 1, 1] }),
    ]);
    const page = await htmlReport({ title: "A study", rows });
    expect(page).toContain("1 fit of 3 did not converge");
    expect(page).toContain("In 1 fit of 3 the training rows are separable");
  });

  it("does not take a feature of two seeds for two features", async () => {
    const rows = [0, 1].flatMap((seed) =>
      (["validation", "test"] as const).map((split) => sweepRow({ seed, split })),
    );
    const finding = async (some: typeof rows): Promise<string> =>
      (await htmlReport({ title: "A study", rows: some })).replace(/\s+/g, " ");
    expect(await finding(rows)).toContain("Over 2 pairs of feature and seed the best single neuron");
    expect(await finding(rows.slice(0, 2))).toContain("Over 1 feature the best single neuron");
  });

  it("gives equal pages for equal content, and names a date only when there is one", async () => {
    const content = { title: "A study", rows: small, neurons };
    const page = await htmlReport(content);
    expect(await htmlReport(structuredClone(content))).toBe(page);
    expect(await htmlReport(content, { date: "3 March 2031" })).toContain("3 March 2031");
    expect(page).not.toMatch(/20\d\d-\d\d-\d\d/);
  });

  it("tells how many pictures are drawn, and stops between two of them", async () => {
    const content = { title: "A study", rows: small, pictures: studyPictures(small).slice(0, 3) };
    const seen: number[] = [];
    await htmlReport(content, { onProgress: (done, total) => seen.push(done, total) });
    expect(seen).toEqual([1, 3, 2, 3, 3, 3]);
    const controller = new AbortController();
    const stopped = htmlReport(content, {
      signal: controller.signal,
      onProgress: (done) => (done === 2 ? controller.abort(new Error("enough")) : undefined),
    });
    await expect(stopped).rejects.toThrow("enough");
  });

  it("is valid HTML, with every part and with few", async () => {
    const validator = new HtmlValidate({ extends: ["html-validate:recommended"] });
    const pictured = small.filter(
      ({ feature, method }) => feature === small[0].feature && method === "adaptive",
    );
    const hostile = HOSTILE.map((text) =>
      sweepRow({ feature: text, dataset: text, status: "failed", reason: text }),
    );
    for (const content of [
      { title: "T", rows: small.slice(0, 2) },
      { title: `Neurons alone ${"and more ".repeat(20)}`, rows: [], neurons },
      {
        title: HOSTILE[0],
        rows: [...small, ...hostile],
        neurons,
        pictures: [metricByKPicture(pictured)],
        notes: HOSTILE,
      },
    ]) {
      const report = await validator.validateString(await htmlReport(content));
      const problems = report.results.flatMap(({ messages }) =>
        messages.map(({ ruleId, message, line, column }) => `${line}:${column} ${ruleId}: ${message}`),
      );
      expect(problems).toEqual([]);
    }
  });

  it("says what failed, what did not converge, and which parts there are", async () => {
    const rows = [
      ...small,
      sweepRow({ status: "failed", reason: "no positive row", metrics: null, support: [] }),
      sweepRow({ k: 2, support: [1, 2], converged: false }),
    ];
    const page = await htmlReport({ title: "A study", rows });
    expect(page).toContain("no positive row");
    expect(page).toMatch(/\d+ fits? of [\d,]+ did not converge/);
    const onlyTest = rows.filter(({ split }) => split === "test");
    expect(await htmlReport({ title: "A study", rows: onlyTest })).toContain("have no validation rows");
    const onlyValidation = rows.filter(({ split }) => split === "validation");
    expect(await htmlReport({ title: "A study", rows: onlyValidation })).toContain("have no test rows");
  });

  it("refuses what does not fit", async () => {
    const [first] = neurons;
    const refused = (content: object, options = {}): Promise<string> =>
      htmlReport({ title: "T", rows: small, ...content }, options);
    await expect(refused({ rows: [] })).rejects.toThrow(EmptyDataError);
    await expect(refused({}, { pageSize: 0 })).rejects.toThrow(OptionError);
    await expect(refused({}, { metric: "f3" })).rejects.toThrow(OptionError);
    const wrong: Partial<NeuronPage>[] = [
      { logits: { ...first.logits!, neuron: 1 } },
      { weights: { ...first.weights!, layer: 1 } },
      { ablations: [{ ...first.ablations![0], neurons: [3] }] },
    ];
    for (const part of wrong) {
      await expect(refused({ neurons: [{ ...first, ...part }] })).rejects.toThrow(OptionError);
    }
  });
});

describe("the best neuron", () => {
  const probe = (
    layer: number,
    validation: number,
    test: number,
    changes = {},
  ): ReturnType<typeof sweepRow>[] =>
    (["validation", "test"] as const).map((split) =>
      sweepRow({
        layer,
        split,
        support: [10 * layer],
        metrics: metrics(split === "test" ? test : validation),
        ...changes,
      }),
    );

  it("is chosen on validation rows, whatever the test rows say", () => {
    const [{ validation, test }] = chooseBest([...probe(0, 0.6, 0.99), ...probe(1, 0.7, 0.2)], "f1");
    expect([validation.layer, test?.layer, test?.metrics.f1]).toEqual([1, 1, 0.2]);
  });

  it("is the one with the smallest log-loss, and of equals the first", () => {
    const rows = [...probe(0, 0.6, 0.5), ...probe(1, 0.4, 0.5), ...probe(2, 0.4, 0.5)];
    expect(chooseBest(rows, "logLoss")[0].validation.layer).toBe(1);
  });

  it("is another for each seed and model; failed and undefined rows are no candidates", () => {
    const rows = [
      ...probe(0, 0.6, 0.5),
      ...probe(1, 0.9, 0.5, { seed: 1 }),
      ...probe(2, 0.9, 0.5, { model: "other" }),
      ...probe(3, 1, 1, { status: "failed", reason: "x", metrics: null }),
      ...probe(4, 1, 1, { metrics: { ...metrics(1), f1: null } }),
    ];
    expect(chooseBest(rows, "f1").map(({ validation }) => validation.layer)).toEqual([0, 1, 2]);
  });

  it("links to its section", async () => {
    const rows = probe(4, 0.9, 0.8, { support: [765] });
    const page = await htmlReport({ title: "A study", rows, neurons });
    expect(page).toContain('<a href="#neuron-haystack-4m-L4-N765">L4 N765</a>');
    expect(page).toContain('id="neuron-haystack-4m-L4-N765"');
  });
});

describe("parts of the page", () => {
  it("text comes out as text, with signs for what has no picture", () => {
    expect(escapeHtml(`<a href='x' b="y">&`)).toBe("&lt;a href=&#39;x&#39; b=&quot;y&quot;&gt;&amp;");
    expect(visible("a\0b\u202Ec\ud800d\u{1F44D}\n\te\u0085\ufffe")).toBe(
      "a␀b⟨U+202E⟩c⟨U+D800⟩d\u{1F44D}\n\te⟨U+0085⟩⟨U+FFFE⟩",
    );
    expect(html`<p>${"<b>"} ${html`<i>${1}</i>`} ${null}</p>`.text).toBe("<p>&lt;b&gt; <i>1</i> </p>");
  });

  it("data comes back, and cannot end its script", async () => {
    await fc.assert(
      fc.asyncProperty(fc.oneof(fc.jsonValue(), fc.constantFrom(...HOSTILE)), async (value) => {
        const text = squeeze(JSON.stringify(value));
        expect(text).toMatch(/^[A-Za-z\d+/]+=*$/);
        expect(JSON.parse(await unsqueeze(text))).toEqual(JSON.parse(JSON.stringify(value)));
      }),
    );
    const long = JSON.stringify(Array.from({ length: 1e5 }, (_, i) => (i * 7919) % 10007));
    expect(squeeze(long).length).toBeLessThan(long.length);
    expect(await unsqueeze(squeeze(long))).toBe(long);
  });

  it("packed numbers come back", () => {
    const whole = fc.option(fc.integer({ min: -1e9, max: 1e9 }));
    fc.assert(
      fc.property(fc.array(whole), (values) => {
        expect(unpack(pack(values))).toEqual(values);
      }),
    );
  });

  it("rows sort by numbers and by words as people sort them, empty ones last", () => {
    const numbers = openColumn(numberColumn({ title: "n", digits: 2 }, [0.5, null, -1, 0.25]));
    expect(sortRows([0, 1, 2, 3], numbers, false)).toEqual([2, 3, 0, 1]);
    expect(sortRows([0, 1, 2, 3], numbers, true)).toEqual([0, 3, 2, 1]);
    expect(numbers.cell(2).text).toBe("\u22121.00");
    const words = openColumn(wordColumn({ title: "w" }, ["L10 N2", "L2 N10", null, "L2 N9"]));
    expect(sortRows([0, 1, 2, 3], words, false)).toEqual([3, 1, 0, 2]);
  });

  it("tokens that are parts of a character are shown as the character", () => {
    const example = {
      ...neurons[0].evidence.top[0],
      first: 10,
      position: 12,
      tokens: ["hi ", "\ufffd\ufffd", "\ufffd", "!", "\ufffd", "\ufffd"],
      activations: [0.1, 0.5, -2, 0.2, 1, 0.5],
      passage: "hi \u{1F44D}!\u00e9",
    };
    expect(joinParts(example)).toEqual([
      { text: "hi ", activation: 0.1, marked: false },
      { text: "\u{1F44D}", activation: -2, marked: true },
      { text: "!", activation: 0.2, marked: false },
      { text: "\u00e9", activation: 1, marked: false },
    ]);
    const unlike = { ...example, passage: "something else" };
    expect(joinParts(unlike).map(({ text }) => text)).toEqual(example.tokens);
  });

  it("every example of the model's texts reads as its passage", () => {
    for (const { evidence } of neurons) {
      for (const example of evidence.top) {
        expect(
          joinParts(example)
            .map(({ text }) => text)
            .join(""),
        ).toBe(example.passage);
      }
    }
  });

  it("marks grow with activations", () => {
    expect([-1, -0.5, -0.01, 0, 0.01, 0.3, 0.5, 1].map((value) => levelOf(value, 1))).toEqual([
      -5, -3, -0, 0, 0, 1, 3, 5,
    ]);
    expect(levelOf(0, 0)).toBe(0);
  });

  it("two drawings become one whose colours follow the reader's scheme on screens", () => {
    const drawing = (line: string, text: string): string =>
      `<svg><title>a</title><desc>b</desc><path stroke="${line}" fill="none"/><path fill="${text}" stroke="${line}"/>` +
      `<path stroke="${line}"/><text fill="red">a</text></svg>`;
    const merged = mergeSchemes(drawing("#123456", "#000"), drawing("#fff", "#eee"));
    const scope = /class="(p\w+)-0"/.exec(merged)![1];
    expect(merged).toBe(
      "<svg><title>a</title><desc>b</desc><style>@media screen and (prefers-color-scheme:dark)" +
        `{.${scope}-0{stroke:#fff}.${scope}-1{fill:#eee;stroke:#fff}}</style>` +
        `<path stroke="#123456" fill="none" class="${scope}-0"/>` +
        `<path fill="#000" stroke="#123456" class="${scope}-1"/>` +
        `<path stroke="#123456" class="${scope}-0"/><text fill="red">a</text></svg>`,
    );
    expect(mergeSchemes(drawing("#123456", "#111"), drawing("#fff", "#eee"))).not.toContain(scope);
  });
});
