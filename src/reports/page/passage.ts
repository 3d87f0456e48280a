/** Tokens of a passage with their activations, without relying on colour. */
import type { ActivationExample } from "../../evidence/collect-evidence.ts";
import { fixed } from "./format.ts";
import { escapeHtml, html, Html } from "./html.ts";

/** Steps of the marks: of the background's strength and of the line's thickness. */
export const LEVELS = 5;

export interface PassageToken {
  readonly text: string;
  readonly activation: number;
  /** Whether it holds the row's token. */
  readonly marked: boolean;
}

/**
 * Tokens that are parts of a character are joined, so that the character shows: they are found in the passage that all tokens
 * decode to together. The joined token has the activation that is furthest from 0.
 */
export function joinParts(example: ActivationExample): PassageToken[] {
  const { tokens, activations, passage, first, position } = example;
  const single = tokens.map((text, i) => ({
    text,
    activation: activations[i],
    marked: first + i === position,
  }));
  const joined: PassageToken[] = [];
  let at = 0;
  for (let i = 0; i < single.length;) {
    if (!single[i].text.includes(PART)) {
      if (!passage.startsWith(single[i].text, at)) return single;
      joined.push(single[i]);
      at += single[i++].text.length;
      continue;
    }
    let end = i;
    while (end < single.length && single[end].text.includes(PART)) end++;
    let next = end;
    while (next < single.length && !single[next].text.includes(PART)) next++;
    const following = tokens.slice(end, next).join("");
    const until = following === "" ? passage.length : passage.indexOf(following, at + 1);
    if (until < 0) return single;
    const parts = single.slice(i, end);
    joined.push({
      text: passage.slice(at, until),
      activation: parts.reduce(
        (most, { activation }) => (Math.abs(activation) > Math.abs(most) ? activation : most),
        0,
      ),
      marked: parts.some(({ marked }) => marked),
    });
    [at, i] = [until, end];
  }
  return at === passage.length ? joined : single;
}

const PART = "\ufffd";

/** From −LEVELS to LEVELS: how an activation stands to the largest. */
export function levelOf(activation: number, largest: number): number {
  if (!(largest > 0)) return 0;
  const level = Math.min(LEVELS, Math.floor((Math.abs(activation) / largest) * (LEVELS + 0.5) + 0.25));
  return activation < 0 ? -level : level;
}

/** @param largest absolute activation that gets the strongest mark */
export function passageHtml(example: ActivationExample, largest: number): Html {
  const tokens = joinParts(example);
  return html`<bdi class="passage"
    >${tokens.map(({ text, activation, marked }) => {
      const level = levelOf(activation, largest);
      const shown = tokenText(text);
      if (level === 0 && !marked) return shown;
      const mark = `t ${level < 0 ? "d" : "u"}${Math.abs(level)}`;
      const value = fixed(activation, 1);
      return marked
        ? html`<mark class="${mark}" data-a="${value}">${shown}</mark>`
        : html`<span class="${mark}" data-a="${value}">${shown}</span>`;
    })}</bdi
  >`;
}

/** A token within its passage: spaces stay, line breaks and tabs show as signs. */
function tokenText(text: string): Html {
  return withSigns(text, /[\n\t]/g);
}

/** A token on its own: spaces show too. */
export function tokenHtml(token: string): Html {
  return html`<bdi class="token">${withSigns(token, /[ \n\t]/g)}</bdi>`;
}

const SIGNS: Readonly<Record<string, string>> = { " ": "␣", "\n": "↵", "\t": "⇥" };

function withSigns(text: string, hidden: RegExp): Html {
  const escaped = escapeHtml(text);
  return new Html(escaped.replaceAll(hidden, (sign) => `<span class="sign">${SIGNS[sign]}</span>`));
}
