import fc from "fast-check";
import { beforeAll, describe, expect, it } from "vitest";
import { Pacer } from "../../src/backends/cpu/pacer.ts";
import { readCsv } from "../../src/datasets/csv.ts";
import { factDataset } from "../../src/datasets/facts.ts";
import { nameKey, NameFinder, readPeople, type Person } from "../../src/datasets/people.ts";
import { EmptyDataError, FormatError, OptionError, SparseProbeError } from "../../src/errors.ts";
import type { Tokenizer } from "../../src/model/tokenizer.ts";
import { bundledTokenizer, documents, readText, threeTokenizers } from "./text-corpora.ts";

describe("readCsv", () => {
  it("reads what RFC 4180 describes", () => {
    const text = '\uFEFFname,fact\r\n"Verrin, Oda","says ""hm"""\r\n\r\n"two\nlines",\r\nIlmar, a ';
    expect(readCsv(text)).toEqual({
      header: ["name", "fact"],
      rows: [
        { line: 2, fields: ["Verrin, Oda", 'says "hm"'] },
        { line: 4, fields: ["two\nlines", ""] },
        { line: 6, fields: ["Ilmar", " a "] },
      ],
    });
  });

  it.each([
    ["", /empty/],
    ["a,a\n", /two columns are named "a"/],
    ["a,\n", /column 2 has no name/],
    ["a,b\n1,2\n1,2,3\n", /Line 3 has 3 fields under 2 columns/],
    ["a,b\n1\n", /Line 2 has 1 field under 2/],
    ['a,b\n1,x"y\n', /Line 2: a quote stands inside/],
    ['a,b\n"1"x,2\n', /Line 2: something other than a comma/],
    ['a,b\n1,2\n"3,4\n5,6\n', /Line 3: a quote is never closed/],
    ['a,b\n"x\ny",2\n"z', /Line 4: a quote is never closed/],
  ])("says where %j is wrong", (text, message) => {
    expect(() => readCsv(text)).toThrow(message);
    expect(() => readCsv(text)).toThrow(FormatError);
  });

  it("reads back any table, and nothing else than typed errors come of other text", () => {
    const field = fc.string({
      unit: fc.constantFrom("a", "b", ",", '"', "\n", "\r", " ", "é", "😀"),
      maxLength: 6,
    });
    fc.assert(
      fc.property(
        fc.array(fc.tuple(field, field), { maxLength: 8 }),
        fc.constantFrom("\n", "\r\n"),
        (rows, end) => {
          const quoted = (text: string): string => `"${text.replaceAll('"', '""')}"`;
          const text = [["h", "k"], ...rows].map((row) => row.map(quoted).join(",")).join(end);
          expect(readCsv(text).rows.map(({ fields }) => fields)).toEqual(rows);
        },
      ),
    );
    fc.assert(
      fc.property(field, (text) => {
        try {
          readCsv(`a,b\n${text}`);
        } catch (error) {
          expect(error).toBeInstanceOf(SparseProbeError);
        }
      }),
    );
  });
});

describe("readPeople", () => {
  it("reads names, surnames and facts", () => {
    expect(
      readPeople(
        "name,surname,occupation,is_alive\nOda van Verrin,van Verrin,writer,\n Bo Li ,,athlete,true\n",
      ),
    ).toEqual([
      { name: "Oda van Verrin", surname: "van Verrin", facts: { occupation: "writer" } },
      { name: "Bo Li", facts: { occupation: "athlete", is_alive: "true" } },
    ]);
  });

  it.each([
    ["who,occupation\na,b\n", /named "name"/],
    ["name\na\n", /at least one of facts/],
    ["name,x\n,b\n", /Line 2 has no name/],
    ["name,surname,x\nOda Verrin,Verri,b\n", /Line 2: the name "Oda Verrin" does not end/],
  ])("says what is wrong with %j", (csv, message) => {
    expect(() => readPeople(csv)).toThrow(message);
  });

  it("refuses an empty list", () => {
    expect(() => readPeople("name,x\n")).toThrow(EmptyDataError);
  });
});

describe("NameFinder", () => {
  const person = (name: string, surname?: string): Person => ({ name, surname, facts: {} });
  const find = async (names: readonly Person[], text: string): Promise<string[]> => {
    const found = await new NameFinder(names).find(text, new Pacer(undefined));
    return found.map(({ name, surname, end }) => `${names[name].name}: ${text.slice(surname, end)}`);
  };

  it.each([
    ["Oda Verrin", "Yes, Oda Verrin came.", ["Oda Verrin: Verrin"]],
    ["Oda Verrin", "Yoda Verrin and Oda Verrins and oda verrin", []],
    ["Oda Verrin", "Oda\n Verrin, Oda Verrin", ["Oda Verrin: Verrin", "Oda Verrin: Verrin"]],
    ["Oda Verrin", "Oda Oda Verrin", ["Oda Verrin: Verrin"]],
    ["Oda Verrin Jr.", "then Oda Verrin Jr. left", ["Oda Verrin Jr.: Verrin Jr."]],
    ["Quent O'Hara-Lund", "by Quent O'Hara-Lund.", ["Quent O'Hara-Lund: O'Hara-Lund"]],
    ["Re\u0301mi Élan", "by R\u00e9mi E\u0301lan.", ["Re\u0301mi Élan: E\u0301lan"]],
    ["Pelé", "and Pelé's ball", ["Pelé: Pelé"]],
    ["李 明", "见到李 明。 李 明 说", ["李 明: 明"]],
  ])("finds %j in %j", async (name, text, expected) => {
    expect(await find([person(name)], text)).toEqual(expected);
  });

  it("takes the longest name, and none inside another", async () => {
    const names = [person("Ana Maria"), person("Ana Maria Lund"), person("Maria Lund"), person("Lund Ana")];
    expect(await find(names, "Ana Maria Lund Ana Maria. Maria Lund")).toEqual([
      "Ana Maria Lund: Lund",
      "Ana Maria: Maria",
      "Maria Lund: Lund",
    ]);
  });

  it("finds what looking for every name by itself finds", async () => {
    const word = fc.constantFrom("a", "b", "ab", "c");
    const name = fc.array(word, { minLength: 1, maxLength: 3 }).map((words) => words.join(" "));
    const text = fc.array(fc.tuple(word, fc.constantFrom(" ", "  ", ", ", "-")), { maxLength: 30 });
    await fc.assert(
      fc.asyncProperty(fc.uniqueArray(name, { minLength: 1, maxLength: 5 }), text, async (names, parts) => {
        const corpus = parts.flat().join("");
        const found = await new NameFinder(names.map((n) => person(n))).find(corpus, new Pacer(undefined));
        // Brute force: from left to right, the longest name at each word's beginning.
        const expected: [string, number][] = [];
        for (let at = 0; at < corpus.length;) {
          const begins = /\w/.test(corpus[at]) && !/\w/.test(corpus[at - 1] ?? "");
          const here = names
            .map((n) => ({
              n,
              match: new RegExp(`^${n.replaceAll(" ", "\\s+")}(?!\\w)`).exec(corpus.slice(at)),
            }))
            .filter(({ match }) => begins && match)
            .sort((a, b) => b.n.split(" ").length - a.n.split(" ").length);
          if (here.length > 0) {
            at += here[0].match![0].length;
            expected.push([here[0].n, at]);
          } else at++;
        }
        expect(found.map(({ name: n, end }) => [names[n], end])).toEqual(expected);
      }),
    );
  });

  it("takes no longer for ten thousand names", async () => {
    const names = Array.from({ length: 10_000 }, (_, i) => person(`Ana${i % 100} Lund${i}`));
    const text = Array.from({ length: 20_000 }, (_, i) => `Ana${i % 100} Lund${i}`).join(" and ");
    const started = performance.now();
    expect(await find(names, text)).toHaveLength(10_000);
    // Ten thousand searches of this text would take minutes.
    expect(performance.now() - started).toBeLessThan(5000);
  });
});

describe("factDataset", () => {
  let tokenizer: Tokenizer;
  beforeAll(async () => {
    tokenizer = await bundledTokenizer();
  });
  const ALL = { positiveShare: 0.999, leastRows: 1 } as const;
  const PEOPLE = readPeople(
    "name,occupation,is_alive\nOda Verrin,writer,true\nIlmar Tessaly,athlete,\nBo Karrlund,athlete,false\n" +
      "Ann Same,writer,true\nAnn  Same,actor,true\nEdda Twice,writer,true\nEdda Twice,writer,true\nNo Body,actor,true\n",
  );
  const TEXTS = [
    "Early on, Oda Verrin met Ilmar Tessaly at the sea.",
    "Bo Karrlund, who knew Oda Verrin, and Ann Same and Edda Twice.",
  ];

  it("labels a hand-made corpus as its key says", async () => {
    const { passages, rows, labels, report, aggregation } = await factDataset(TEXTS, PEOPLE, tokenizer, {
      sampling: ALL,
    });
    expect(aggregation).toBe("max");
    expect(passages.map(({ text, group }) => [text, group])).toEqual([
      ["Early on, Oda Verrin", "Oda Verrin"],
      ["Early on, Oda Verrin met Ilmar Tessaly", "Ilmar Tessaly"],
      ["Bo Karrlund", "Bo Karrlund"],
      ["Bo Karrlund, who knew Oda Verrin", "Oda Verrin"],
      ["Bo Karrlund, who knew Oda Verrin, and Ann Same and Edda Twice", "Edda Twice"],
    ]);
    const spelt = [...passages.keys()].map((row) =>
      tokenizer.decode(
        rows.positions.slice(rows.offsets[row], rows.offsets[row + 1]).map((i) => passages[row].tokens[i]),
      ),
    );
    expect(spelt).toEqual([" Verrin", " Tessaly", " Karrlund", " Verrin", " Twice"]);
    const key: Record<string, number[]> = {
      "occupation=athlete": [0, 1, 1, 0, 0],
      "occupation=writer": [1, 0, 0, 1, 1],
      "is_alive=false": [0, 255, 1, 0, 0],
      "is_alive=true": [1, 255, 0, 1, 1],
    };
    expect(Object.fromEntries(labels.features.map((feature, f) => [feature, [...labels.of(f)]]))).toEqual(
      key,
    );
    expect(report.missing.map(({ feature }) => feature)).toEqual(["occupation=actor"]);
    expect(report.dropped).toEqual({
      "people of one name whose facts differ": 2,
      "people whom no text names": 1,
    });
  });

  it("ends passages at the name under three tokenizers, in long texts too", async () => {
    const text = `${"the brown dog counts ".repeat(500)}Oda Verrin ${"and the fox ".repeat(300)}Bo Karrlund came.`;
    for (const [name, own] of await threeTokenizers()) {
      const { passages } = await factDataset([text], PEOPLE, own, { sampling: ALL, window: 16 });
      expect(passages.map(({ tokens }) => tokens.length)).toEqual([16, 16]);
      for (const [p, end] of ["Oda Verrin", "Bo Karrlund"].entries()) {
        const whole = own.encode(text.slice(0, text.indexOf(end) + end.length));
        expect([...passages[p].tokens], name).toEqual([...whole.slice(-16)]);
        expect(passages[p].text.endsWith(end)).toBe(true);
      }
    }
  });

  it("keeps some mentions of each person, drawn by seed", async () => {
    const people = readPeople(readText("examples/data/people.csv"));
    const { texts } = documents("people.jsonl");
    const build = (seed: number): ReturnType<typeof factDataset> =>
      factDataset(texts, people, tokenizer, {
        mentionsPerPerson: 2,
        columns: ["occupation"],
        sampling: { seed, positiveShare: 0.5 },
      });
    const dataset = await build(0);
    const mentions = countsOf(dataset.passages.map(({ group }) => String(group)));
    expect([...mentions.values()].every((count) => count === 2)).toBe(true);
    expect(mentions.size).toBe(158);
    expect(dataset.report.dropped["mentions beyond those kept of a person"]).toBe(158 * 2);
    expect(await build(0)).toEqual(dataset);
    expect((await build(1)).passages).not.toEqual(dataset.passages);
  });

  it("refuses what it cannot read, and stops when asked to", async () => {
    await expect(factDataset(TEXTS, [], tokenizer)).rejects.toThrow(EmptyDataError);
    await expect(factDataset(["nobody"], PEOPLE, tokenizer)).rejects.toThrow(/None of the names/);
    await expect(factDataset(TEXTS, PEOPLE, tokenizer, { columns: ["age"] })).rejects.toThrow(OptionError);
    await expect(factDataset(TEXTS, [{ name: "?", facts: {} }], tokenizer)).rejects.toThrow(OptionError);
    await expect(factDataset(TEXTS, PEOPLE, tokenizer, { window: 1.5 })).rejects.toThrow(OptionError);
    const stop = new Error("enough");
    await expect(factDataset(TEXTS, PEOPLE, tokenizer, { signal: AbortSignal.abort(stop) })).rejects.toBe(
      stop,
    );
  });

  it("writes names alike", () => {
    expect(nameKey(" Oda \n Verrin")).toBe("Oda Verrin");
  });
});

function countsOf(keys: readonly string[]): Map<string, number> {
  const counts = new Map<string, number>();
  for (const key of keys) counts.set(key, (counts.get(key) ?? 0) + 1);
  return counts;
}
