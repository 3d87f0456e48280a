/** A table's first page as HTML, and all of it as data for the script. */
import { count } from "./format.ts";
import { html, type Html } from "./html.ts";
import { squeeze } from "./squeezed.ts";
import {
  cellClass,
  isNumeric,
  openColumn,
  sortRows,
  type Cell,
  type TableColumn,
  type TableData,
} from "./table-data.ts";

export function tableHtml(data: TableData, caption: string): Html {
  const columns = data.columns.map(openColumn);
  const all = Array.from({ length: data.rows }, (_, row) => row);
  const order = data.sorted ? sortRows(all, columns[data.sorted.column], data.sorted.descending) : all;
  const shown = order.slice(0, data.pageSize);
  const label = `${data.id}-caption`;
  return html`<div class="table" data-table="${data.id}">
    <div class="scroll" role="group" aria-labelledby="${label}" tabindex="0">
      <table>
        <caption id="${label}">
          ${caption}
        </caption>
        <thead>
          <tr>
            ${data.columns.map((column, i) => headHtml(column, data.sorted?.column === i ? data.sorted.descending : null))}
          </tr>
        </thead>
        <tbody>
          ${shown.map(
            (row) =>
              html`<tr>
                ${columns.map((column) => cellHtml(column.head, column.cell(row)))}
              </tr>`,
          )}
        </tbody>
      </table>
    </div>
    <p class="shown">
      ${shown.length < data.rows ? `The first ${count(shown.length)} of ${count(data.rows)} ${data.unit}; the others need scripts to be on.` : null}
    </p>
    <script type="application/octet-stream" class="data">
      ${squeeze(JSON.stringify(data))}
    </script>
  </div>`;
}

function headHtml(column: TableColumn, descending: boolean | null): Html {
  const order = descending === null ? null : html` aria-sort="${descending ? "descending" : "ascending"}"`;
  const hint = column.hint === undefined ? null : html` title="${column.hint}"`;
  const attributes = [isNumeric(column) ? html` class="n"` : null, order, hint];
  return html`<th scope="col" ${attributes}>${column.title}</th>`;
}

function cellHtml(column: TableColumn, cell: Cell): Html {
  const { text, aside, link } = cell;
  const name = cellClass(column, cell);
  const attribute = name === null ? null : html` class="${name}"`;
  const word = link === undefined ? html`${text}` : html`<a href="${link}">${text}</a>`;
  const content = html`${word}${aside === undefined ? null : html` <small>${aside}</small>`}`;
  return column.heads
    ? html`<th scope="row" ${attribute}>${content}</th>`
    : html`<td${attribute}>${content}</td>`;
}
