/**
 * Writes compound-words.jsonl, latex.jsonl, people.csv and people.jsonl next to this file: sentences put together from phrases
 * that were written for it, and people who do not exist. Run `npx tsx examples/data/make-corpora.ts`; the result is always the same.
 */
import { writeFileSync } from "node:fs";
import { join } from "node:path";

/** A small generator of our own, so that the files do not change with the library. */
let state = 20_230_502;
function below(n: number): number {
  state = (state + 0x6d2b79f5) >>> 0;
  let t = Math.imul(state ^ (state >>> 15), 1 | state);
  t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
  return Math.floor((((t ^ (t >>> 14)) >>> 0) / 2 ** 32) * n);
}
const pick = <T>(list: readonly T[]): T => list[below(list.length)];
function shuffled<T>(list: readonly T[]): T[] {
  const out = [...list];
  for (let i = out.length - 1; i > 0; i--) {
    const j = below(i + 1);
    [out[i], out[j]] = [out[j], out[i]];
  }
  return out;
}
const words = (list: string): string[] => list.split(" ");
const capital = (text: string): string => text[0].toUpperCase() + text.slice(1);
function write(name: string, content: string): void {
  writeFileSync(join(import.meta.dirname, name), content);
}
const jsonLines = (lines: readonly object[]): string => lines.map((line) => `${JSON.stringify(line)}\n`).join("");

// Compound words

/** Pair; what else comes before the second word; what else follows the first word; how many of each. */
const PAIRS: readonly (readonly [pair: string, before: string, after: string, times: number])[] = [
  ["high school", "old village music primary night language riding", "wall tide price mountain shelf wind tower", 64],
  ["social security", "airport network home border extra better", "club life worker gathering duty circle evening", 64],
  ["credit card", "birthday library paper post playing greeting", "union note limit rating agreement report check", 64],
  ["blood pressure", "water air tyre public steady oil", "test sample donor orange bank stain sugar", 64],
  ["social media", "printed local foreign mass digital national", "change habit group visit custom housing event", 64],
  ["human rights", "water film equal voting mining grazing", "voice body error skeleton nature memory hand", 64],
  ["living room", "waiting dressing empty narrow store guest", "coral tissue language tradition hedge memory", 16],
  ["prime factors", "many risk several common growth weather", "cause number target minister example location", 16],
  ["gene expression", "facial artistic strange regular free odd", "pool therapy bank variant map sequence", 16],
  ["control group", "small walking rock youth reading steering", "panel tower desk valve unit room", 16],
  ["magnetic field", "wheat open football gravel corn muddy", "tape needle strip clasp compass storm", 16],
  ["cell lines", "railway straight power bus phone chalk", "wall phone door block membrane battery", 16],
  ["trial court", "tennis royal appeal stone food squash", "run period version lawyer flight match", 16],
  ["second derivative", "first partial simple known useful plain", "chapter floor glance helping violin letter", 16],
  ["north america", "young rural modern early wild all", "wind wall pole coast gate entrance", 16],
  ["side effects", "sound visible lasting special light odd", "door street table road pocket entrance", 16],
  ["public health", "good poor failing animal perfect lasting", "park library holiday debate square notice", 16],
  ["federal government", "local former weak town new elected", "judge road budget highway agent bank", 16],
  ["third party", "garden birthday ruling winning search small", "floor edition row prize attempt week", 16],
  ["clinical trials", "speed field sheepdog fair long murder", "nurse tone manner method report record", 16],
  ["mental health", "good poor failing animal perfect lasting", "picture note image effort list habit", 16],
];

const LEADS = [
  "Nobody in the valley had expected much from that week, and most people stayed at home because of the rain.",
  "The meeting began late, as it always did, and the chairwoman read the notes of the last one without hurry.",
  "For a long time the newspaper had printed only short reports, and readers had begun to write letters about it.",
  "When the boat finally arrived, the visitors carried their bags up the hill and asked for something warm to eat.",
  "The archive keeps thousands of folders, and every one of them has a number, a date and a thin grey ribbon.",
  "My aunt used to say that a town shows what it cares for by what it repairs first after a storm.",
  "Early in the morning the square is empty, apart from two bakers who talk about the price of flour.",
  "The survey was sent to nine hundred households, and a little more than half of them returned it in time.",
];
const SUBJECTS = [
  "the committee", "a teacher from the coast", "her brother", "the report", "an old friend", "the new mayor", "the nurse",
  "our neighbour", "the radio programme", "a student", "the engineer", "his letter", "the lawyer", "the audience",
];
const VERBS = [
  "talked about", "wanted to hear more about", "had read something on", "was asked about", "kept notes on", "knew little of",
  "complained about", "wrote two pages about", "explained", "did not mention", "made a drawing of", "remembered",
];
const SECONDS = [
  "before turning to", "but had no opinion on", "and then moved on to", "rather than", "together with", "as well as",
  "and, after a pause,", "instead of",
];
const ENDINGS = ["on Monday", "again", "over lunch", "without much success", "in the evening", "for nearly an hour", "at the end", "last year"];
const DETERMINERS = ["the", "their", "her own", "a letter about the", "the story of the", "the state of the"];

const phrases = shuffled(
  PAIRS.flatMap(([pair, before, after, times]) => {
    const [first, second] = pair.split(" ");
    const styles = [
      (phrase: string) => phrase,
      (phrase: string) => phrase,
      (phrase: string) => phrase,
      (phrase: string) => phrase.replace(/\b[a-z]/g, (letter) => letter.toUpperCase()),
    ];
    const phrase = (text: string): string => `${pick(DETERMINERS)} ${pick(styles)(text)}`;
    return Array.from({ length: times }, () => [
      phrase(pair),
      phrase(`${pick(words(before))} ${second}`),
      phrase(`${pick(words(before))} ${second}`),
      phrase(`${first} ${pick(words(after))}`),
      phrase(`${first} ${pick(words(after))}`),
    ]).flat();
  }),
);
const sentences: string[] = [];
for (let i = 0; i + 1 < phrases.length; i += 2) {
  sentences.push(
    `${capital(pick(SUBJECTS))} ${pick(VERBS)} ${phrases[i]} ${pick(SECONDS)} ${phrases[i + 1]} ${pick(ENDINGS)}.`,
  );
}
const stories: object[] = [];
for (let i = 0; i < sentences.length; i += 10) {
  const doc = `story-${String(stories.length + 1).padStart(3, "0")}`;
  stories.push({ text: `${pick(LEADS)} ${sentences.slice(i, i + 10).join(" ")}`, doc });
}
write("compound-words.jsonl", jsonLines(stories));

// LaTeX

const TOPICS = [
  ["heat", "rod", "temperature", "u"], ["growth", "colony", "population", "n"], ["motion", "pendulum", "angle", "\\theta"],
  ["flow", "channel", "velocity", "v"], ["charge", "capacitor", "voltage", "q"], ["sound", "string", "displacement", "w"],
  ["light", "lens", "intensity", "I"], ["decay", "sample", "activity", "a"], ["traffic", "road", "density", "\\rho"],
  ["wear", "bearing", "depth", "h"], ["cooling", "cup", "temperature", "T"], ["price", "market", "demand", "d"],
];
const PLACES = ["a thin plate", "a long cylinder", "two rings", "the half line", "a closed loop", "small networks"];
const VARIABLES = ["x", "y", "t", "s", "k", "m", "r", "z"];
const GREEK = ["\\alpha", "\\beta", "\\gamma", "\\lambda", "\\mu", "\\sigma", "\\tau"];
const AUTHORS = [
  "Ilmar Tessaly", "Oda Verrin", "Quent Halbrook", "Sorrel Amadine", "Perrin Ostvale", "Lune Carravik", "Bastel Wynn", "Edda Fenmoor",
];

function formula(u: string): string {
  const [x, y] = shuffled(VARIABLES);
  const [a, b] = shuffled(GREEK);
  const n = 1 + below(9);
  return pick([
    `${u}_{${n}} = ${a} ${x}^{2} + ${b}`,
    `${u}(${x}) = e^{-${a} ${x}}`,
    `\\frac{${u}_${n}}{${x} + ${y}} = ${a}`,
    `${a} = \\frac{${x}^2 - ${n}}{2 ${b}}`,
    `${x}_{i+1} = ${x}_i + ${a} ${y}_i`,
    `\\frac{d ${u}}{d ${x}} = -${a} ${u}^{${n}}`,
    `\\sum_{i=1}^{${y}} ${x}_i^2 \\le ${b}`,
    `\\lim_{${x} \\to 0} \\frac{${u}(${x}) - ${u}(0)}{${x}} = ${b}`,
    `${u} = \\sqrt{${x}^2 + ${y}^2}`,
    `\\frac{1}{${a}} + \\frac{1}{${b}} = \\frac{${n}}{${x}_0}`,
  ]);
}

function paper(n: number): string {
  const [what, where, value, u] = TOPICS[n % TOPICS.length];
  const other = pick(PLACES);
  const [one, two] = shuffled(AUTHORS);
  const display = (label: string): string =>
    pick([
      `\\begin{equation}\\label{eq:${label}}\n  ${formula(u)}\n\\end{equation}`,
      `\\[\n  ${formula(u)} .\n\\]`,
      `$$ ${formula(u)} $$`,
      `\\begin{align*}\n  ${formula(u)} , \\\\\n  ${formula(u)} \\quad\\text{for large } ${pick(VARIABLES)} .\n\\end{align*}`,
    ]);
  const paragraph = (label: string): string =>
    [
      pick([
        `We write $${formula(u)}$ for the ${value} of the ${where} and recall the bound of~\\cite{${pick(["verrin", "wynn", "fenmoor"])}${1990 + n}}.`,
        `Let $${pick(VARIABLES)}_0$ be given, and suppose that $${formula(u)}$ holds on ${other}.`,
        `The ${value} is small when $${formula(u)}$, as was observed in Section~\\ref{sec:${label}}.`,
      ]),
      `It follows that\n${display(label)}\n${pick(["where", "in which", "and here"])} $${pick(GREEK)}_{${below(9)}}$ does not depend on the ${where}.`,
      pick([
        `By~\\eqref{eq:${label}}, the ${what} is slow unless $${formula(u)}$.`,
        `Compare with \\cite[Chapter~${1 + below(9)}]{${pick(["amadine", "ostvale", "halbrook"])}${1980 + n}}, where ${other} was studied.`,
        `A short computation with $${formula(u)}$ ends the proof, see \\ref{sec:${label}}. % checked twice`,
      ]),
    ].join("\n");
  return [
    "\\documentclass{article}",
    "\\usepackage{amsmath}",
    `\\newcommand{\\vect}[1]{\\boldsymbol{#1}}`,
    "\\begin{document}",
    `\\title{${pick(["On the", "A note on the", "Remarks about the"])} ${what} of a ${where} with ${pick(["variable", "bounded", "random"])} ${value} on ${other}}`,
    `\\author{${one} and ${two}}`,
    "\\maketitle",
    "\\begin{abstract}",
    `We study the ${what} of a ${where} whose ${value} varies slowly on ${other}. ${pick([
      "A simple bound is shown to be sharp.",
      "Two examples show that the result cannot be improved.",
      "The proof is short and uses only elementary steps.",
    ])} ${pick(["Numerical results agree with it.", "Open questions are listed at the end.", "An older claim is corrected."])}`,
    "\\end{abstract}",
    `\\section{The ${what}}\\label{sec:first}`,
    paragraph("first"),
    "",
    paragraph("second"),
    "",
    paragraph("third"),
    "",
    `\\section{The ${value}}\\label{sec:second}`,
    paragraph("fourth"),
    "",
    paragraph("fifth"),
    "\\end{document}",
    "",
  ].join("\n");
}
write(
  "latex.jsonl",
  jsonLines(Array.from({ length: 36 }, (_, n) => ({ text: paper(n), doc: `paper-${String(n + 1).padStart(2, "0")}` }))),
);

// People who do not exist

const FEMALE = words("Ilvara Sorrel Maredith Oda Tamsine Wrenna Elowin Brisel Yandra Corinth Fenella Isaura");
const MALE = words("Ilmar Quent Bastel Perrin Orrick Tobrin Halden Jorvik Lanric Emeric Wystan Caspor");
const STARTS = words("Vel Tam Ost Karr Brin Hal Mer Dun Sev Wex Farr Lun Pol Gris Thal Yor Ned Zem");
const MIDDLES = words("o a e i u ar en il");
const ENDS = words("rane sik wick morrow tane lund brooke dell vik mond stry field");

const HINTS: Readonly<Record<string, readonly string[]>> = {
  football: ["The goalkeepers could only watch when the ball reached", "Two goals before half-time were scored by"],
  swimming: ["The fastest lane of the pool belonged to", "After two hundred metres of butterfly the wall was touched by"],
  tennis: ["The second set and the match went to", "With a serve that nobody could return, the court belonged to"],
  cycling: ["On the last climb the whole peloton was left behind by", "The yellow jersey and the bicycle of"],
  rowing: ["At the regatta the single sculls were won by", "With forty strokes a minute the boat was moved by"],
  politician: ["Parliament voted on the amendment that was tabled by", "The election campaign was opened with a speech by"],
  writer: ["The publisher printed a second edition of the novel by", "In the bookshop everybody asked for the new stories by"],
  scientist: ["The laboratory published the measurements of", "The experiment was repeated with the instruments of"],
  musician: ["The orchestra rehearsed the second symphony of", "The concert ended with a song on the guitar by"],
  actor: ["On the stage of the old theatre the leading part was played by", "The film was shot in one summer, with a difficult role for"],
};
const TITLES: Readonly<Record<string, readonly string[]>> = {
  football: ["the goalkeeper", "the footballer"],
  swimming: ["the swimmer"],
  tennis: ["the tennis player"],
  cycling: ["the cyclist", "the racing cyclist"],
  rowing: ["the rower", "the sculler"],
  politician: ["the minister", "the senator"],
  writer: ["the novelist", "the poet"],
  scientist: ["the physicist", "the botanist"],
  musician: ["the pianist", "the singer"],
  actor: ["the actor", "the film star"],
};
const BEFORE = [
  "The local paper gave it half a page.", "It was a cold day.", "There were pictures in every window.", "Few had come.",
  "The evening began quietly.", "That was the talk of the town.",
];
const AFTER = ["to long applause", "in the spring", "without a word", "as everybody had hoped", "for the third time", "after a long pause"];

interface Invented {
  readonly name: string;
  readonly female: boolean;
  readonly alive: boolean;
  readonly occupation: string;
  readonly sport: string;
  readonly party: string;
}
const names = new Set<string>();
const surnames = new Set<string>();
function invented(i: number, occupation: string, sport: string): Invented {
  const female = below(2) === 0;
  for (;;) {
    const surname = pick(STARTS) + pick(MIDDLES) + pick(ENDS);
    const name = `${pick(female ? FEMALE : MALE)} ${surname}`;
    if (names.has(name) || surnames.has(surname)) continue;
    names.add(name);
    surnames.add(surname);
    const party = occupation === "politician" ? ["Harbour Party", "Orchard Party"][i % 2] : "";
    return { name, female, alive: below(3) > 0, occupation, sport, party };
  }
}
const SPORTS = words("football swimming tennis cycling rowing");
const people = [
  ...Array.from({ length: 50 }, (_, i) => invented(i, "athlete", SPORTS[i % 5])),
  ...Array.from({ length: 36 }, (_, i) => invented(i, "politician", "")),
  ...["writer", "scientist", "musician", "actor"].flatMap((occupation) =>
    Array.from({ length: 18 }, (_, i) => invented(i, occupation, "")),
  ),
];

function mention({ name, female, alive, occupation, sport, party }: Invented): string {
  const life = pick(
    alive
      ? ["As every week these days,", "This year, once more,", "In an interview this morning,"]
      : ["Long ago, in another century,", "Before the old bridge burned down,", "As the memorial plaque recalls,"],
  );
  const kin = pick(
    female
      ? ["people spoke of her sister", "everybody praised her mother", "the lady had let her friends know of it"]
      : ["people spoke of his brother", "everybody praised his father", "the gentleman had let his friends know of it"],
  );
  const member = party === "" ? "" : `, and the ${party} was full of hope`;
  const field = sport === "" ? occupation : sport;
  const titles = [pick(TITLES[field]), pick(TITLES[field]), female ? "Mrs" : "Mr", ""];
  if (!alive) titles.push("the late", "the late");
  const who = `${pick(titles)} ${name}`.trim();
  return `${pick(BEFORE)} ${life} ${kin}${member}. ${pick(HINTS[field])} ${who} ${pick(AFTER)}.`;
}
const mentions = shuffled(people.flatMap((person) => Array.from({ length: 4 }, () => mention(person))));
const pages: object[] = [];
for (let i = 0; i < mentions.length; i += 4) {
  pages.push({ text: mentions.slice(i, i + 4).join(" "), doc: `page-${String(pages.length + 1).padStart(3, "0")}` });
}
write("people.jsonl", jsonLines(pages));
write(
  "people.csv",
  ["name,sex_or_gender,is_alive,political_party,occupation,sport"]
    .concat(
      people.map(({ name, female, alive, party, occupation, sport }) =>
        [name, female ? "female" : "male", alive, party, occupation, sport].join(","),
      ),
    )
    .join("\n") + "\n",
);
