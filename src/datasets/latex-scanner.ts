/** Finds fractions, formulas, titles and references in LaTeX sources, by the characters that they span. */

/** The twelve LaTeX features of Gurnee et al. (2023). */
export const LATEX_FEATURES = [
  "frac",
  "numerator",
  "denominator",
  "title",
  "abstract",
  "author",
  "subscript",
  "superscript",
  "reference",
  "math",
  "inline_math",
  "display_math",
] as const;

export type LatexFeature = (typeof LATEX_FEATURES)[number];

/**
 * What a span is: a feature; `"text"`, words inside a formula (`\text{…}`), which are not mathematics; or `"skipped"`, what is not
 * read as the document's text: comments, verbatim text, definitions of commands and what follows the document's end.
 */
export type LatexSpanKind = LatexFeature | "text" | "skipped";

/** The characters [start, end) of a source, in UTF-16 units. Spans are nested or apart, never crossing. */
export interface LatexSpan {
  readonly kind: LatexSpanKind;
  readonly start: number;
  readonly end: number;
}

const DISPLAY_ENVIRONMENTS = new Set(
  [
    "equation",
    "align",
    "gather",
    "multline",
    "eqnarray",
    "flalign",
    "alignat",
    "xalignat",
    "displaymath",
  ].flatMap((name) => [name, `${name}*`]),
);
const VERBATIM_ENVIRONMENTS = new Set(
  ["verbatim", "Verbatim", "lstlisting", "minted", "comment", "filecontents"].flatMap((name) => [
    name,
    `${name}*`,
  ]),
);
const FRACTIONS = new Set(["frac", "dfrac", "tfrac", "cfrac", "sfrac", "nicefrac"]);
const TEXT_COMMANDS = new Set(
  "text textrm textbf textit textsf texttt textnormal textup textmd mbox hbox intertext shortintertext".split(
    " ",
  ),
);
/** Commands that take one argument, so that `x^\mathrm{T}` and `x_\hat{a}` end after it. */
const ONE_ARGUMENT = new Set(
  (
    "mathrm mathbf mathit mathsf mathtt mathcal mathbb mathfrak mathscr mathbin mathrel mathop boldsymbol bm pmb " +
    "operatorname sqrt hat widehat tilde widetilde bar overline underline vec dot ddot check breve acute grave"
  ).split(" "),
);
const REFERENCE =
  /^(?:ref|eqref|pageref|autoref|nameref|vref|[cC]ref|(?:paren|text|foot|auto|no|[Cc])?cite[a-z]*)$/;
/** Commands that define others. */
const DEFINITIONS: ReadonlyMap<string, Arguments> = new Map([
  ...["newcommand", "renewcommand", "providecommand", "DeclareRobustCommand", "DeclareMathOperator"].map(
    (name) => [name, definition(2)] as const,
  ),
  ["newtheorem", definition(2)],
  ["newenvironment", definition(3)],
  ["renewenvironment", definition(3)],
]);
const PRIMITIVE_DEFINITIONS = new Set(["def", "edef", "gdef", "xdef"]);

/** How characters are read: as words, as a formula, or (names, keys, bodies of definitions) not at all but for braces. */
type Mode = "text" | "math" | "raw";

/** A command that waits for its arguments. */
interface Arguments {
  /** What each argument is; undefined: nothing of interest. */
  readonly kinds: readonly (LatexSpanKind | undefined)[];
  /** What the command together with its arguments is. */
  readonly whole?: LatexSpanKind;
  /** Mode inside the arguments. Default: as around. */
  readonly mode?: Mode;
  /** What is made of an argument without braces (`\frac12`): it counts, it ends the command, or it is passed over. */
  readonly bare: "counts" | "ends" | "passed";
  /** Whether [ … ] may stand before an argument. */
  readonly optional?: boolean;
}

/** Something that was opened and must be closed. */
interface Frame {
  readonly type: "group" | "optional" | "arguments" | "environment" | "formula";
  /** Where its inside begins; for arguments, where the command begins. */
  readonly start: number;
  /** What its inside is. */
  readonly kinds: readonly LatexSpanKind[];
  /** The name of an environment; for a formula, what closes it. */
  readonly name: string;
  readonly arguments?: Arguments;
  /** Arguments read so far. */
  done: number;
  /** Number of spans when it was opened. */
  readonly spans: number;
  /** The mode around it. */
  readonly outer: Mode;
  /** Whether words turn into a formula here: the end of a paragraph ends it. */
  readonly formula: boolean;
}

const INLINE: readonly LatexSpanKind[] = ["math", "inline_math"];
const DISPLAY: readonly LatexSpanKind[] = ["math", "display_math"];
const FRACTION: Arguments = {
  kinds: ["numerator", "denominator"],
  whole: "frac",
  mode: "math",
  bare: "counts",
  optional: true,
};
const SCRIPTS: Readonly<Record<"_" | "^", Arguments>> = {
  _: { kinds: ["subscript"], bare: "counts" },
  "^": { kinds: ["superscript"], bare: "counts" },
};
const FRONT_MATTER: ReadonlyMap<string, Arguments> = new Map(
  (["title", "author", "abstract"] as const).map((kind) => [
    kind,
    { kinds: [kind], bare: "ends", optional: true },
  ]),
);
const REFERENCES: Arguments = { kinds: ["reference"], mode: "raw", bare: "ends", optional: true };
/** An argument that is a name, whose underscores are no subscripts. */
const NAMES: Arguments = { kinds: [undefined], mode: "raw", bare: "ends", optional: true };
const WORDS: Arguments = { kinds: ["text"], mode: "text", bare: "counts" };
const PLAIN: Arguments = { kinds: [undefined], bare: "counts", optional: true };
const PRIMITIVE_DEFINITION: Arguments = { kinds: [undefined], whole: "skipped", mode: "raw", bare: "passed" };

/**
 * Scans one source from left to right, without recursion and in a time that grows with its length alone (and the sorting of
 * the spans found). It never throws: what TeX would refuse is recovered from. A formula that does not end in its paragraph
 * was none; `}` without `{` and `\end` without `\begin` are passed over; what an `\end` finds open in its environment is given up.
 */
export class LatexScanner {
  readonly #source: string;
  readonly #stack: Frame[] = [];
  readonly #spans: LatexSpan[] = [];
  readonly #skipped: LatexSpan[] = [];
  /** Frames of the stack at which words turn into a formula. */
  readonly #formulas: Frame[] = [];
  /** How often each environment is open. */
  readonly #open = new Map<string, number>();
  #groups = 0;
  #mode: Mode = "text";
  #at = 0;

  constructor(source: string) {
    this.#source = source;
  }

  get done(): boolean {
    return this.#at >= this.#source.length;
  }

  /** Reads on for some characters, so that other work can come between. */
  advance(characters: number): void {
    const until = Math.min(this.#source.length, this.#at + characters);
    while (this.#at < until) this.#step();
  }

  /** The spans of what was read, by start, outer ones first. */
  spans(): LatexSpan[] {
    while (this.#stack.length > 0) this.#giveUp();
    return [...this.#spans, ...this.#skipped].sort((a, b) => a.start - b.start || b.end - a.end);
  }

  #step(): void {
    const c = this.#source[this.#at];
    switch (c) {
      case "\\":
        this.#controlSequence();
        break;
      case "%":
        this.#comment();
        break;
      case "\n":
        this.#at++;
        this.#startLine();
        break;
      case " ":
      case "\t":
      case "\r":
        this.#at++;
        break;
      case "{":
        this.#openGroup();
        break;
      case "}":
        this.#closeGroup();
        break;
      case "[":
        if (this.#waiting?.optional) this.#push({ type: "optional", start: ++this.#at });
        else this.#bareArgument(this.#at + 1);
        break;
      case "]":
        if (this.#top?.type === "optional") this.#close(this.#at++);
        else this.#bareArgument(this.#at + 1);
        break;
      case "$":
        if (this.#mode === "raw") this.#bareArgument(this.#at + 1);
        else this.#dollar();
        break;
      case "_":
      case "^":
        if (this.#mode === "math") {
          this.#dropArguments();
          this.#await(SCRIPTS[c], this.#at++);
        } else this.#bareArgument(this.#at + 1);
        break;
      case "&":
        this.#dropArguments();
        this.#at++;
        break;
      default:
        this.#bareArgument(this.#at + (this.#source.codePointAt(this.#at)! > 0xffff ? 2 : 1));
    }
  }

  get #top(): Frame | undefined {
    return this.#stack.at(-1);
  }

  /** The arguments that the innermost frame waits for. */
  get #waiting(): Arguments | undefined {
    return this.#stack.at(-1)?.arguments;
  }

  #emit(kind: LatexSpanKind, start: number, end: number): void {
    if (end > start) (kind === "skipped" ? this.#skipped : this.#spans).push({ kind, start, end });
  }

  // Frames

  #push(frame: Pick<Frame, "type" | "start"> & Partial<Frame>, mode?: Mode): void {
    const outer = this.#mode;
    const inner = outer === "raw" ? outer : (mode ?? outer);
    const full: Frame = {
      kinds: [],
      name: "",
      done: 0,
      ...frame,
      spans: this.#spans.length,
      outer,
      formula: outer === "text" && inner === "math",
    };
    this.#mode = inner;
    this.#stack.push(full);
    if (full.formula) this.#formulas.push(full);
    if (full.type === "group") this.#groups++;
    if (full.type === "environment") this.#open.set(full.name, (this.#open.get(full.name) ?? 0) + 1);
  }

  #pop(): Frame {
    const frame = this.#stack.pop()!;
    this.#mode = frame.outer;
    if (frame.formula) this.#formulas.pop();
    if (frame.type === "group") this.#groups--;
    if (frame.type === "environment") this.#open.set(frame.name, this.#open.get(frame.name)! - 1);
    return frame;
  }

  /** Takes the innermost frame off unrecorded, and what was found in it if it was taken for a formula. */
  #giveUp(): void {
    const frame = this.#pop();
    if (frame.formula) this.#spans.length = frame.spans;
  }

  #giveUpDownTo(frame: Frame): void {
    while (this.#top !== frame) this.#giveUp();
  }

  /** Takes the innermost frame off, its inside ending at `end`. */
  #close(end: number): void {
    const frame = this.#pop();
    for (const kind of frame.kinds) this.#emit(kind, frame.start, end);
  }

  // Groups and arguments

  #openGroup(): void {
    const waiting = this.#waiting;
    const kind = waiting?.kinds[this.#top!.done];
    this.#push({ type: "group", start: ++this.#at, kinds: kind ? [kind] : [] }, waiting?.mode);
  }

  #closeGroup(): void {
    this.#dropArguments();
    const end = this.#at++;
    if (this.#groups === 0) return;
    while (this.#top!.type !== "group") this.#giveUp();
    this.#close(end);
    // A group right above a command is its argument, recorded as the group's inside.
    const command = this.#top;
    if (command?.arguments) this.#countArgument(command);
  }

  /** A command at `start` waits for its arguments from here on. */
  #await(args: Arguments, start: number): void {
    this.#push({ type: "arguments", start, arguments: args }, args.mode === "raw" ? "raw" : undefined);
  }

  /** Passes on to `end`. What lies before is an argument, if one without braces may stand here. */
  #bareArgument(end: number): void {
    const start = this.#at;
    this.#at = end;
    const waiting = this.#waiting;
    if (!waiting || waiting.bare === "passed") return;
    if (waiting.bare === "ends") {
      this.#dropArguments();
      return;
    }
    const kind = waiting.kinds[this.#top!.done];
    if (kind) this.#emit(kind, start, end);
    this.#countArgument(this.#top!);
  }

  /** One more argument of the innermost frame has ended here. */
  #countArgument(frame: Frame): void {
    let command: Frame | undefined = frame;
    while (command?.arguments && ++command.done === command.arguments.kinds.length) {
      this.#pop();
      if (command.arguments.whole) this.#emit(command.arguments.whole, command.start, this.#at);
      // The command may be an argument without braces itself, as in x^\frac12.
      const outer = this.#top;
      const kind = outer?.arguments?.kinds[outer.done];
      if (kind) this.#emit(kind, command.start, this.#at);
      command = outer;
    }
  }

  /** Something follows that cannot be an argument. */
  #dropArguments(): void {
    while (this.#waiting) this.#giveUp();
  }

  // Formulas

  #dollar(): void {
    this.#dropArguments();
    const double = this.#source[this.#at + 1] === "$";
    if (this.#mode === "text") {
      const name = double ? "$$" : "$";
      this.#at += name.length;
      this.#push({ type: "formula", start: this.#at, name, kinds: double ? DISPLAY : INLINE }, "math");
      return;
    }
    const name = this.#formulas.at(-1)?.name;
    const end = this.#at;
    this.#at++;
    if (name === "$" || (name === "$$" && double)) {
      this.#at = end + name.length;
      this.#closeFormula(end);
    }
  }

  #closeFormula(end: number): void {
    this.#giveUpDownTo(this.#formulas.at(-1)!);
    this.#close(end);
  }

  // Lines and comments

  /** After a line break: an empty line ends the paragraph, its formulas, and the wait for arguments. */
  #startLine(): void {
    const source = this.#source;
    while (source[this.#at] === " " || source[this.#at] === "\t" || source[this.#at] === "\r") this.#at++;
    if (source[this.#at] !== "\n") return;
    if (this.#formulas.length > 0) {
      this.#giveUpDownTo(this.#formulas[0]);
      this.#giveUp();
    }
    while (this.#waiting || this.#top?.type === "optional") this.#giveUp();
  }

  #comment(): void {
    const start = this.#at;
    const line = this.#source.indexOf("\n", start);
    this.#at = line < 0 ? this.#source.length : line;
    this.#emit("skipped", start, this.#at);
    if (line < 0) return;
    this.#at++;
    this.#startLine();
  }

  // Commands

  #controlSequence(): void {
    const source = this.#source;
    const start = this.#at;
    let end = start + 1;
    while (end < source.length && isLetter(source.charCodeAt(end))) end++;
    if (end === start + 1) this.#controlSymbol(source[end]);
    else this.#named(source.slice(start + 1, end), end);
  }

  #controlSymbol(symbol: string | undefined): void {
    const start = this.#at;
    const end = Math.min(this.#source.length, start + 2);
    if (this.#mode === "raw") this.#bareArgument(end);
    else if (symbol === "(" || symbol === "[") {
      this.#dropArguments();
      this.#at = end;
      if (this.#mode !== "text") return;
      const inline = symbol === "(";
      const name = inline ? "\\)" : "\\]";
      this.#push({ type: "formula", start: end, name, kinds: inline ? INLINE : DISPLAY }, "math");
    } else if (symbol === ")" || symbol === "]") {
      this.#dropArguments();
      this.#at = end;
      if (this.#formulas.at(-1)?.name === `\\${symbol}`) this.#closeFormula(start);
    } else if (symbol === "\\") {
      this.#dropArguments();
      this.#at = end;
    } else this.#bareArgument(end);
  }

  #named(name: string, end: number): void {
    const start = this.#at;
    if (name === "begin" && this.#begin(end)) return;
    if (this.#mode === "raw") {
      this.#bareArgument(end);
      return;
    }
    if (name === "end" && this.#end(end)) return;
    if (name === "verb" || name === "lstinline") {
      this.#verbatimText(end);
      return;
    }
    if (name === "let") {
      this.#at = endOf(ALIAS, this.#source, end);
      this.#emit("skipped", start, this.#at);
      return;
    }
    if (name === "url") {
      this.#at = endOf(ADDRESS, this.#source, end);
      return;
    }
    const args = this.#argumentsOf(name);
    if (!args) {
      this.#bareArgument(end);
      return;
    }
    if (this.#waiting?.bare === "ends") this.#dropArguments();
    this.#at = this.#source[end] === "*" ? end + 1 : end;
    this.#await(args, start);
  }

  #argumentsOf(name: string): Arguments | undefined {
    if (FRACTIONS.has(name)) return FRACTION;
    if (this.#mode === "math" && TEXT_COMMANDS.has(name)) return WORDS;
    if (this.#mode === "math" && ONE_ARGUMENT.has(name)) return PLAIN;
    if (name === "label") return NAMES;
    if (REFERENCE.test(name)) return REFERENCES;
    if (PRIMITIVE_DEFINITIONS.has(name)) return PRIMITIVE_DEFINITION;
    return FRONT_MATTER.get(name) ?? DEFINITIONS.get(name);
  }

  /** `\begin{name}`; false when no name follows. */
  #begin(end: number): boolean {
    const name = environmentName(this.#source, end);
    if (name === undefined) return false;
    const start = this.#at;
    const after = this.#source.indexOf("}", end) + 1;
    if (name === "document") {
      while (this.#stack.length > 0) this.#giveUp();
      this.#at = after;
      return true;
    }
    if (this.#mode === "raw") return false;
    this.#dropArguments();
    this.#at = after;
    if (VERBATIM_ENVIRONMENTS.has(name)) {
      const closing = `\\end{${name}}`;
      const found = this.#source.indexOf(closing, after);
      this.#at = found < 0 ? this.#source.length : found + closing.length;
      this.#emit("skipped", start, this.#at);
      return true;
    }
    const opensFormula = this.#mode === "text" && (DISPLAY_ENVIRONMENTS.has(name) || name === "math");
    if (opensFormula && /^x?alignat/.test(name)) this.#at = endOf(COLUMNS, this.#source, after);
    const kinds = opensFormula ? (name === "math" ? INLINE : DISPLAY) : name === "abstract" ? ABSTRACT : [];
    this.#push({ type: "environment", start: this.#at, name, kinds }, opensFormula ? "math" : undefined);
    return true;
  }

  /** `\end{name}`; false when no name follows. */
  #end(end: number): boolean {
    const name = environmentName(this.#source, end);
    if (name === undefined) return false;
    this.#dropArguments();
    const start = this.#at;
    this.#at = this.#source.indexOf("}", end) + 1;
    const formula = this.#formulas.at(-1);
    if (name === "document") {
      while (this.#stack.length > 0) this.#giveUp();
      this.#emit("skipped", this.#at, this.#source.length);
      this.#at = this.#source.length;
    } else if ((this.#open.get(name) ?? 0) > 0) {
      while (this.#top!.type !== "environment" || this.#top!.name !== name) this.#giveUp();
      this.#close(start);
    } else if (formula?.type === "environment" && DISPLAY_ENVIRONMENTS.has(name)) {
      // \begin{equation} … \end{equation*}
      this.#closeFormula(start);
    }
    return true;
  }

  /** `\verb|…|`: to the same character again, at most to the end of the line. */
  #verbatimText(end: number): void {
    const source = this.#source;
    const start = this.#at;
    this.#dropArguments();
    const open = source[end] === "*" ? end + 1 : end;
    const line = source.indexOf("\n", open);
    const last = line < 0 ? source.length : line;
    const close = source[open] === "{" ? "}" : source[open];
    let at = Math.min(open + 1, last);
    while (at < last && source[at] !== close) at++;
    this.#at = Math.min(at + 1, last);
    this.#emit("skipped", start, this.#at);
  }
}

/**
 * The spans of a LaTeX source for the twelve features, by start, outer ones first: the contents of arguments, formulas and
 * environments, without the braces and delimiters around them; for `frac` the whole command. Formulas are `$…$`, `$$…$$`,
 * `\(…\)`, `\[…\]` and the display environments of LaTeX and amsmath, starred or not. Subscripts and superscripts count in formulas
 * only.
 *
 * @example
 * scanLatex("$x^2$");
 * // [{ kind: "math", start: 1, end: 4 }, { kind: "inline_math", start: 1, end: 4 }, { kind: "superscript", start: 3, end: 4 }]
 */
export function scanLatex(source: string): LatexSpan[] {
  const scanner = new LatexScanner(source);
  scanner.advance(source.length);
  return scanner.spans();
}

const ABSTRACT: readonly LatexSpanKind[] = ["abstract"];

/** What follows `\let`: a command and what it shall mean. */
const ALIAS = /[ \t]*\\(?:[A-Za-z@]+|[^])[ \t]*=?[ \t]*(?:\\(?:[A-Za-z@]+|[^])|[^\s{}])/y;
const ADDRESS = /[ \t]*\{[^{}\n]*\}/y;
const COLUMNS = /[ \t]*\{\d*\}/y;
const ENVIRONMENT = /[ \t]*\{([A-Za-z@]{1,64}\*?)\}/y;

/** Where a match at `at` ends; `at` itself when there is none. */
function endOf(pattern: RegExp, source: string, at: number): number {
  pattern.lastIndex = at;
  return pattern.test(source) ? pattern.lastIndex : at;
}

function environmentName(source: string, at: number): string | undefined {
  ENVIRONMENT.lastIndex = at;
  return ENVIRONMENT.exec(source)?.[1];
}

function definition(count: number): Arguments {
  const kinds = Array.from({ length: count }, () => undefined);
  return { kinds, whole: "skipped", mode: "raw", bare: "counts", optional: true };
}

/** A letter of a command's name; @ counts, as in packages. */
function isLetter(code: number): boolean {
  return (code >= 65 && code <= 90) || (code >= 97 && code <= 122) || code === 64;
}
