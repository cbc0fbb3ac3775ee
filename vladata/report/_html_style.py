"""The page's one style sheet and one script; the page's policy allows them by their digests and nothing else."""

import base64
import hashlib

__all__ = ["POLICY", "SCRIPT", "STYLE"]

STYLE = """
:root { color-scheme: light dark; --back: #fff; --text: #1a1d21; --quiet: #5a636e; --rule: #d8dde3; --card: #f6f7f9;
  --link: #005a9c; --line: #0072b2; --limit: #b84a00; --shade: #e69f00; --grid: #e3e7eb;
  --error: #b84a00; --on-error: #fff; --warning: #f0b429; --on-warning: #2a1e00; --info: #3f7cac; --on-info: #fff; }
@media (prefers-color-scheme: dark) {
  :root { --back: #14171a; --text: #e4e7ea; --quiet: #9aa4ae; --rule: #343a41; --card: #1c2024; --link: #6cb6ee;
    --line: #56b4e9; --limit: #ff8c42; --shade: #e69f00; --grid: #2a3036;
    --error: #e8692c; --on-error: #14171a; --warning: #e0a82e; --on-warning: #14171a; --info: #5b9bc9;
    --on-info: #14171a; } }
* { box-sizing: border-box; }
html { scroll-behavior: auto; scroll-padding-top: 1rem; }
body { margin: 0 auto; padding: 1.25rem 1rem 4rem; max-width: 66rem; background: var(--back); color: var(--text);
  font: 15px/1.5 system-ui, -apple-system, "Segoe UI", Roboto, "Helvetica Neue", Arial, sans-serif; }
h1 { font-size: 1.6rem; line-height: 1.25; margin: 0 0 .25rem; overflow-wrap: anywhere; }
h2 { font-size: 1.2rem; margin: 2.75rem 0 .75rem; padding-bottom: .3rem; border-bottom: 1px solid var(--rule); }
h3 { font-size: 1.02rem; margin: 2rem 0 .2rem; overflow-wrap: anywhere; }
p { margin: .4rem 0; }
a { color: var(--link); text-underline-offset: 2px; }
code, .mono { font-family: ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace;
  font-size: .88em; overflow-wrap: anywhere; }
.quiet { color: var(--quiet); }
.verdict { font-size: 1.05rem; margin: .2rem 0 .3rem; }
.tiles { display: flex; flex-wrap: wrap; gap: .6rem; margin: 1rem 0; padding: 0; list-style: none; }
.tiles li { flex: 1 1 7.5rem; padding: .55rem .8rem; background: var(--card); border: 1px solid var(--rule);
  border-left-width: 5px; border-radius: 6px; }
.tiles b { display: block; font-size: 1.5rem; line-height: 1.2; font-variant-numeric: tabular-nums; }
.tiles .error { border-left-color: var(--error); } .tiles .warning { border-left-color: var(--warning); }
.tiles .info { border-left-color: var(--info); }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .25rem 1.1rem; margin: 1rem 0; }
dt { color: var(--quiet); } dd { margin: 0; overflow-wrap: anywhere; min-width: 0; }
.scroll { overflow-x: auto; -webkit-overflow-scrolling: touch; }
table { border-collapse: collapse; width: 100%; font-size: .93rem; }
th, td { padding: .38rem .7rem .38rem 0; text-align: left; vertical-align: top; border-bottom: 1px solid var(--rule); }
th { font-weight: 600; color: var(--quiet); white-space: nowrap; }
th button { all: unset; cursor: pointer; } th button:focus-visible { outline: 2px solid var(--link); }
td.n, th.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
td.wide { min-width: 14rem; overflow-wrap: anywhere; } td.name { white-space: nowrap; }
td.place { min-width: 14rem; overflow-wrap: anywhere; }
.badge { display: inline-block; min-width: 4.6em; padding: 0 .5em; border-radius: 4px; font-size: .82em;
  font-weight: 600; text-align: center; }
.badge.error { background: var(--error); color: var(--on-error); }
.badge.warning { background: var(--warning); color: var(--on-warning); }
.badge.info { background: var(--info); color: var(--on-info); }
.rule { color: var(--quiet); margin-top: 0; }
article { margin: .8rem 0; padding: .7rem .9rem .8rem; background: var(--card); border: 1px solid var(--rule);
  border-left: 5px solid var(--info); border-radius: 6px; break-inside: avoid; }
article.error { border-left-color: var(--error); } article.warning { border-left-color: var(--warning); }
article:target, tr:target td, li:target { outline: 2px solid var(--link); outline-offset: -1px; }
article p { overflow-wrap: anywhere; } article .head { margin: 0; font-size: .9rem; color: var(--quiet); }
article .said { margin: .15rem 0 .5rem; }
figure { margin: .6rem 0 0; } figcaption { font-size: .85rem; color: var(--quiet); overflow-wrap: anywhere; }
.evidence { display: flex; flex-wrap: wrap; gap: .4rem 1.1rem; align-items: flex-start; }
.evidence .curves { flex: 1 1 34rem; min-width: 0; max-width: 46rem; }
.evidence .frame { flex: 0 1 auto; max-width: 17.75rem; min-width: 6rem; }
.evidence img { display: block; max-width: 100%; height: auto; border-radius: 3px; }
.none { padding: .4rem .6rem; border: 1px dashed var(--rule); max-width: 22rem; }
details { margin: .6rem 0; } summary { cursor: pointer; color: var(--quiet); }
details li { overflow-wrap: anywhere; margin: .2rem 0; }
svg { display: block; max-width: 100%; height: auto; } svg.plot { min-width: 34rem; }
svg.row { min-width: 120px; margin-top: .45em; }
svg text { fill: var(--quiet); font: 11px system-ui, -apple-system, "Segoe UI", Roboto, Arial, sans-serif; }
svg .name { fill: var(--text); font-size: 12px; font-weight: 600; }
svg .frame { fill: var(--back); stroke: var(--rule); } svg .grid { stroke: var(--grid); fill: none; }
svg .line { fill: none; stroke: var(--line); stroke-width: 1.4; stroke-linejoin: round; }
svg .dots { fill: none; stroke: var(--line); stroke-width: 3.6; stroke-linecap: round; }
svg .limit { fill: none; stroke: var(--limit); stroke-width: 1.2; stroke-dasharray: 6 4; }
svg .lost { fill: none; stroke: var(--limit); stroke-width: 1.6; opacity: .45; }
svg .shade { fill: var(--shade); opacity: .28; } svg .bar { fill: var(--line); }
svg .error { fill: var(--error); } svg .warning { fill: var(--warning); }
.charts { display: flex; flex-wrap: wrap; gap: 1.2rem 2rem; } .charts > div { flex: 1 1 22rem; min-width: 0; }
input { font: inherit; padding: .3rem .6rem; width: min(100%, 24rem); margin-bottom: .6rem; color: inherit;
  background: var(--card); border: 1px solid var(--rule); border-radius: 5px; }
footer { margin-top: 3rem; font-size: .88rem; color: var(--quiet); }
@media (max-width: 52rem) { .stack thead { display: none; } .stack tr { display: flex; flex-wrap: wrap;
  gap: .1rem .8rem; padding: .55rem 0; border-bottom: 1px solid var(--rule); }
  .stack tr[hidden] { display: none; } .stack td { padding: 0; border: 0; white-space: normal; }
  .stack td:empty { display: none; }
  .stack td[data-unit]::after { content: "\\00a0" attr(data-unit); color: var(--quiet); }
  .stack td.wide, .stack td.place { min-width: 0; flex: 1 1 100%; } .stack td.place { flex: 1 1 40%; } }
@media (max-width: 40rem) { dl { grid-template-columns: 1fr; gap: 0; } dd { margin-bottom: .5rem; }
  body { padding: .9rem .7rem 3rem; } article { padding: .6rem .65rem; } }
@media print { :root { --back: #fff; --text: #000; --card: #fff; --quiet: #444; --rule: #bbb; --grid: #e3e7eb;
    --line: #0072b2; --limit: #b84a00; }
  body { max-width: none; font-size: 10pt; padding: 0; } a { color: inherit; text-decoration: none; }
  input { display: none; } h2, h3, .rule { break-after: avoid; } h2 { margin-top: 1.5rem; } h3 { margin-top: 1rem; }
  svg.plot { min-width: 0; } .evidence { flex-wrap: nowrap; } .evidence .curves { flex: 3 1 0; }
  .evidence .frame { flex: 1 1 0; } .charts > div { break-inside: avoid; } tr, article { break-inside: avoid; }
  .scroll { overflow: visible; } * { print-color-adjust: exact; } }
"""

SCRIPT = """
(() => {
  const table = document.getElementById("episodes-table");
  if (!table) return;
  const body = table.tBodies[0], rows = Array.from(body.rows);
  const field = document.createElement("input");
  field.type = "search";
  field.placeholder = "filter: a place, a word, a check";
  field.setAttribute("aria-label", "filter episodes");
  field.addEventListener("input", () => {
    const words = field.value.toLowerCase().split(/\\s+/).filter(Boolean);
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
    }
  });
  table.parentElement.before(field);
  Array.from(table.tHead.rows[0].cells).forEach((cell, k) => {
    const button = document.createElement("button");
    button.textContent = cell.textContent;
    button.title = "sort";
    cell.replaceChildren(button);
    let down = !cell.classList.contains("n");
    button.addEventListener("click", () => {
      down = !down;
      const key = (row) => row.cells[k].dataset.value ?? row.cells[k].textContent;
      const compare = (a, b) => cell.classList.contains("n") ? Number(key(a)) - Number(key(b))
        : key(a).localeCompare(key(b), undefined, { numeric: true });
      rows.sort((a, b) => down ? compare(b, a) : compare(a, b));
      body.append(...rows);
      for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
      cell.setAttribute("aria-sort", down ? "descending" : "ascending");
    });
  });
})();
"""


def _digest(text: str) -> str:
    return "'sha256-" + base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() + "'"


POLICY = (
    f"default-src 'none'; style-src {_digest(STYLE)}; script-src {_digest(SCRIPT)}; img-src data:; base-uri 'none'; "
    "form-action 'none'"
)
"""Content security policy: no request leaves the page, whatever text is in it."""
