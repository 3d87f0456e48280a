/** What a model knows of people: labels of names by facts. */
import { Pacer } from "../backends/cpu/pacer.ts";
import { UNLABELLED } from "../data/labels.ts";
import { EmptyDataError, OptionError } from "../errors.ts";
import type { Tokenizer } from "../model/tokenizer.ts";
import { Random } from "../random.ts";
import { assembleDataset, type CandidateRow } from "./assemble-dataset.ts";
import type { FeatureDataset, Passage } from "./feature-dataset.ts";
import { nameKey, NameFinder, surnameStart, type Person } from "./people.ts";
import { assertTexts, counted, wholeNumber, type TextDatasetOptions } from "./text-options.ts";
import { textOf, tokensUpTo } from "./text-windows.ts";

export interface FactOptions extends TextDatasetOptions {
  /** Columns of facts that make features. Default: all. */
  readonly columns?: readonly string[] | undefined;
  /** Tokens that the model reads for a row, the name's the last. Default 64. */
  readonly window?: number | undefined;
  /** Mentions of one person that are kept, drawn by seed. Default 20. */
  readonly mentionsPerPerson?: number | undefined;
}

/**
 * Mentions of people in texts, labelled by facts: a feature `column=value` for every value, such as `occupation=athlete`; negatives are the
 * people with another value in that column. A person without a value there has no label.
 *
 * A row is a mention: the model reads the text up to the end of the name and no further, and the row is the maximum over the
 * surname's tokens. Names are found whole, in one pass for all of them. Rows of one person are one group, so that
 * a person is on one side of a split. People of one name are left out when anything known of them differs, and counted.
 *
 * @param people e.g. from `readPeople`
 *
 * @example
 * const people = readPeople(await readFile("people.csv", "utf8"));
 * const dataset = await factDataset(texts, people, model.tokenizer);
 * dataset.labels.features; // ["is_alive=true", "occupation=athlete", …]
 *
 * @throws EmptyDataError when there are no texts, people, mentions, or no feature with enough rows
 * @throws OptionError when an option is out of its range, nobody has one of the columns, or a name does not end in its surname
 */
export async function factDataset(
  texts: readonly string[],
  people: readonly Person[],
  tokenizer: Tokenizer,
  options: FactOptions = {},
): Promise<FeatureDataset> {
  const { name = "facts", sampling, signal, onProgress } = options;
  const window = wholeNumber("window", options.window ?? 64, 1);
  const perPerson = wholeNumber("mentionsPerPerson", options.mentionsPerPerson ?? 20, 1);
  assertTexts(texts);
  const { known, ambiguous } = distinctPeople(people);
  const columns = options.columns ?? columnsOf(known);
  for (const column of columns) {
    if (known.some(({ facts }) => column in facts)) continue;
    throw new OptionError(`Nobody has a fact "${column}".`, `There are: ${columnsOf(known).join(", ")}.`);
  }
  const pacer = new Pacer(signal);
  const finder = new NameFinder(known);
  const mentions: {
    readonly text: number;
    readonly person: number;
    readonly surname: number;
    readonly end: number;
  }[] = [];
  const byPerson = known.map((): number[] => []);
  for (const [t, text] of texts.entries()) {
    for (const { name: person, surname, end } of await finder.find(text, pacer)) {
      byPerson[person].push(mentions.length);
      mentions.push({ text: t, person, surname, end });
    }
    if (pacer.due) await pacer.turn();
    onProgress?.(t + 1, texts.length);
  }
  const chosen = new Uint8Array(mentions.length);
  for (const [p, list] of byPerson.entries()) {
    const random = new Random(sampling?.seed ?? 0, `mentions of ${known[p].name}`);
    for (const mention of list.length > perPerson ? random.shuffle(list).slice(0, perPerson) : list) {
      chosen[mention] = 1;
    }
    if (pacer.due) await pacer.turn();
  }

  const passages: Passage[] = [];
  const candidates: CandidateRow[] = [];
  const personOf: number[] = [];
  let untraceable = 0;
  for (const [m, { text: t, person, surname, end }] of mentions.entries()) {
    if (pacer.due) await pacer.turn();
    if (!chosen[m]) continue;
    const tokens = tokensUpTo(texts[t], end, window, tokenizer);
    if (!tokens) {
      untraceable++;
      continue;
    }
    const positions = [...tokens.ids.keys()].filter((i) => tokens.ends[i] > surname);
    candidates.push({ passage: passages.length, positions });
    passages.push({ tokens: tokens.ids, text: textOf(texts[t], tokens), group: nameKey(known[person].name) });
    personOf.push(person);
  }
  if (passages.length === 0) {
    throw new EmptyDataError(
      "None of the names is in the texts.",
      "Give texts that hold the names as written.",
    );
  }
  const labels = new Map<string, Uint8Array>();
  for (const column of columns) {
    const values = [
      ...new Set(known.flatMap(({ facts }) => (column in facts ? [facts[column]] : []))),
    ].sort();
    for (const value of values) {
      const of = (person: number): number => {
        const { facts } = known[person];
        return column in facts ? Number(facts[column] === value) : UNLABELLED;
      };
      labels.set(`${column}=${value}`, Uint8Array.from(personOf, of));
      if (pacer.due) await pacer.turn();
    }
  }
  return assembleDataset(
    {
      name,
      category: "facts",
      tokenizer,
      aggregation: "max",
      passages,
      candidates,
      labels,
      sampling,
      dropped: counted({
        "people of one name whose facts differ": ambiguous,
        "people whom no text names": byPerson.filter((list) => list.length === 0).length,
        "mentions beyond those kept of a person": byPerson.reduce(
          (sum, { length }) => sum + Math.max(0, length - perPerson),
          0,
        ),
        "mentions in text that the tokenizer alters": untraceable,
      }),
    },
    { signal },
  );
}

function columnsOf(people: readonly Person[]): string[] {
  return [...new Set(people.flatMap(({ facts }) => Object.keys(facts)))];
}

/**
 * One of everybody, without those whose name says too little.
 * @throws OptionError when a name is empty or does not end in its surname
 * @throws EmptyDataError when nobody is left
 */
function distinctPeople(people: readonly Person[]): { known: Person[]; ambiguous: number } {
  const byName = new Map<string, Person[]>();
  for (const person of people) {
    if (surnameStart(person) === undefined) {
      throw new OptionError(
        `The name "${person.name}" does not end in a surname${person.surname === undefined ? "" : ` "${person.surname}"`}.`,
        "Give a name with at least one word, and the surname as the name has it.",
      );
    }
    const key = nameKey(person.name);
    const same = byName.get(key);
    if (same) same.push(person);
    else byName.set(key, [person]);
  }
  const known: Person[] = [];
  let ambiguous = 0;
  for (const same of byName.values()) {
    if (new Set(same.map(factsKey)).size === 1) known.push(same[0]);
    else ambiguous += same.length;
  }
  if (known.length === 0) {
    throw new EmptyDataError(
      ambiguous > 0 ? `All ${ambiguous} people share a name with somebody else.` : "There are no people.",
      "Give people whose names tell them apart.",
    );
  }
  return { known, ambiguous };
}

function factsKey({ surname, facts }: Person): string {
  const sorted = Object.entries(facts).sort(([a], [b]) => (a < b ? -1 : Number(a > b)));
  return JSON.stringify([surname ?? null, sorted]);
}
