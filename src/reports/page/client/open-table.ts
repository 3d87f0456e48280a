/** A table that sorts, filters and turns pages. What it shows without a script is its first page. */
import { count } from "../format.ts";
import { visible } from "../html.ts";
import {
  cellClass,
  isNumeric,
  openColumn,
  sortRows,
  type OpenColumn,
  type TableData,
} from "../table-data.ts";
import { element } from "./element.ts";
import { search } from "./search.ts";
import { unsqueeze } from "./unsqueeze.ts";

/** More words than this are looked for, not chosen from a list. */
const MOST_CHOICES = 200;

export async function openTable(container: HTMLElement): Promise<void> {
  const source = container.querySelector("script.data")!;
  const data = JSON.parse(await unsqueeze(source.textContent)) as TableData;
  const columns = data.columns.map(openColumn);
  const body = container.querySelector("tbody")!;
  const heads = [...container.querySelectorAll<HTMLTableCellElement>("thead th")];
  const status = container.querySelector(".shown")!;
  status.setAttribute("role", "status");

  const all = Array.from({ length: data.rows }, (_, row) => row);
  let order = all;
  let shown = all;
  let sorted = data.sorted;
  let page = 0;
  let query = "";
  const chosen = new Map<OpenColumn, number | null>();

  const resort = (): void => {
    order = sorted ? sortRows(all, columns[sorted.column], sorted.descending) : all;
  };
  const refilter = (): void => {
    const tests = [...chosen].map(
      ([column, key]) =>
        (row: number) =>
          column.key(row) === key,
    );
    const found = search(columns, query);
    shown = order.filter((row) => tests.every((test) => test(row)) && found(row));
    page = 0;
  };
  const draw = (): void => {
    const from = page * data.pageSize;
    const rows = shown.slice(from, from + data.pageSize);
    body.replaceChildren(...rows.map((row) => rowElement(columns, row)));
    const to = from + rows.length;
    const of =
      shown.length === data.rows
        ? `${count(data.rows)} ${data.unit}`
        : `${count(shown.length)} ${data.unit} that match, ${count(data.rows)} in all`;
    status.textContent =
      rows.length === 0
        ? `No ${data.unit} match.`
        : rows.length === data.rows
          ? of
          : `${count(from + 1)}–${count(to)} of ${of}`;
    const last = Math.max(0, Math.ceil(shown.length / data.pageSize) - 1);
    for (const [button, target] of turns) {
      button.setAttribute("aria-disabled", String(target(page, last) === page));
    }
    pager.hidden = last === 0;
    for (const [i, head] of heads.entries()) {
      if (sorted?.column === i)
        head.setAttribute("aria-sort", sorted.descending ? "descending" : "ascending");
      else head.removeAttribute("aria-sort");
    }
  };

  for (const [i, head] of heads.entries()) {
    const button = element("button", { type: "button" }, head.textContent);
    if (head.title) button.title = head.title;
    head.removeAttribute("title");
    button.addEventListener("click", () => {
      // Numbers are looked at from the largest first, words from A.
      const first = isNumeric(columns[i].head);
      sorted = { column: i, descending: sorted?.column === i ? !sorted.descending : first };
      resort();
      refilter();
      draw();
    });
    head.replaceChildren(button);
  }

  const turns = new Map<HTMLButtonElement, (page: number, last: number) => number>();
  const pager = element("div", { class: "pager", role: "group", "aria-label": `Pages of ${data.unit}` });
  for (const [label, target] of [
    ["First", () => 0],
    ["Previous", (at: number) => Math.max(0, at - 1)],
    ["Next", (at: number, last: number) => Math.min(last, at + 1)],
    ["Last", (_: number, last: number) => last],
  ] as const) {
    const button = element("button", { type: "button" }, label);
    button.addEventListener("click", () => {
      page = target(page, Math.max(0, Math.ceil(shown.length / data.pageSize) - 1));
      draw();
    });
    turns.set(button, target);
    pager.append(button);
  }
  container.append(element("div", { class: "foot" }, status, pager));

  const changed = (): void => {
    refilter();
    draw();
  };
  container.prepend(
    filters(data, columns, {
      search: (text) => {
        query = text;
        changed();
      },
      choose: (column, key) => {
        if (key === undefined) chosen.delete(column);
        else chosen.set(column, key);
        changed();
      },
    }),
  );
  resort();
  refilter();
  draw();
}

function rowElement(columns: readonly OpenColumn[], row: number): HTMLTableRowElement {
  const line = element("tr");
  for (const { head, cell } of columns) {
    const content = cell(row);
    const { text, aside, link } = content;
    const at = head.heads ? element("th", { scope: "row" }) : element("td");
    const name = cellClass(head, content);
    if (name !== null) at.className = name;
    at.append(link === undefined ? visible(text) : element("a", { href: link }, visible(text)));
    if (aside !== undefined) at.append(" ", element("small", {}, aside));
    line.append(at);
  }
  return line;
}

interface FilterEvents {
  search(text: string): void;
  choose(column: OpenColumn, key: number | null | undefined): void;
}

function filters(data: TableData, columns: readonly OpenColumn[], events: FilterEvents): HTMLElement {
  const bar = element("div", { class: "filters", role: "group", "aria-label": `Filter ${data.unit}` });
  const find = element("input", { type: "search", autocomplete: "off", spellcheck: "false" });
  find.addEventListener("input", () => events.search(find.value));
  const field = (title: string, control: HTMLElement): void => {
    control.id = `${data.id}-field-${bar.childElementCount}`;
    bar.append(element("div", {}, element("label", { for: control.id }, title), control));
  };
  field("Search", find);
  const selects: HTMLSelectElement[] = [];
  for (const column of columns) {
    const choices = choicesOf(column, data.rows);
    if (choices.length < 2 || choices.length > MOST_CHOICES) continue;
    const select = element("select", {}, element("option", { value: "" }, "all"));
    for (const [i, { text }] of choices.entries()) {
      select.append(element("option", { value: String(i) }, visible(text)));
    }
    select.addEventListener("change", () =>
      events.choose(column, select.value === "" ? undefined : choices[Number(select.value)].key),
    );
    selects.push(select);
    field(column.head.title, select);
  }
  const clear = element("button", { type: "button" }, "Clear");
  clear.addEventListener("click", () => {
    find.value = "";
    for (const select of selects) {
      if (select.value === "") continue;
      select.value = "";
      select.dispatchEvent(new Event("change"));
    }
    events.search("");
  });
  bar.append(clear);
  return bar;
}

/** The different values of a column that may be filtered by, in order. */
function choicesOf(
  column: OpenColumn,
  rows: number,
): { readonly key: number | null; readonly text: string }[] {
  if (!column.head.filter) return [];
  const texts = new Map<number | null, string>();
  for (let row = 0; row < rows; row++) {
    const key = column.key(row);
    if (!texts.has(key)) texts.set(key, column.cell(row).text);
  }
  return [...texts]
    .map(([key, text]) => ({ key, text }))
    .sort((a, b) => Number(a.key === null) - Number(b.key === null) || (a.key ?? 0) - (b.key ?? 0));
}
