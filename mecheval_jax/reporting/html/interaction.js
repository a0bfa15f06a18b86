// What a page can do besides being read: sort and filter tables, pick runs, show what marks stand
// for. Everything stands on the page without it; texts enter the page as text alone.
"use strict";

const all = (selector, root = document) => [...root.querySelectorAll(selector)];
const make = (tag, properties) => Object.assign(document.createElement(tag), properties);

// ---- Notes: on hover, and with the arrow keys inside a figure or a document ------------------

const tip = make("div", { id: "tip", hidden: true });
tip.setAttribute("role", "status");
document.body.append(tip);
let marked = null;

function show(mark) {
  hide();
  marked = mark;
  mark.classList.add("on");
  tip.textContent = mark.dataset.note;
  tip.hidden = false;
  const [box, own] = [mark.getBoundingClientRect(), tip.getBoundingClientRect()];
  const left = Math.min(Math.max(4, box.left + box.width / 2), innerWidth - own.width - 8);
  const below = box.bottom + 8 + own.height < innerHeight;
  tip.style.left = `${Math.max(4, left)}px`;
  tip.style.top = `${below ? box.bottom + 8 : box.top - own.height - 8}px`;
}

function hide() {
  if (marked) marked.classList.remove("on");
  marked = null;
  tip.hidden = true;
}

function step(notes, key) {
  const [at, last] = [notes.indexOf(marked), notes.length - 1]; // -1 where none is marked
  const next = { ArrowRight: at + 1, ArrowLeft: at < 0 ? last : at - 1, Home: 0, End: last }[key];
  const mark = notes[(next + notes.length) % notes.length];
  mark.scrollIntoView({ block: "nearest", inline: "center" }); // one that is out of sight to a side
  show(mark);
}

function noted(place) {
  const notes = all("[data-note]", place);
  if (!notes.length) return;
  all("title", place).forEach((title) => title.remove()); // the browser would show both
  notes.forEach((note) => note.removeAttribute("title"));
  place.tabIndex = 0;
  place.addEventListener("keydown", (event) => {
    if (event.key === "Escape") hide();
    if (!["ArrowRight", "ArrowLeft", "Home", "End"].includes(event.key)) return;
    event.preventDefault();
    step(notes, event.key);
  });
  place.addEventListener("blur", hide);
}

document.addEventListener("pointerover", (event) => {
  const mark = event.target.closest("[data-note]");
  if (mark) show(mark);
  else hide();
});
// A note goes with its mark: to tab to a figure scrolls the page, at times after the first arrow.
// Captured, since that of a table, figure or document that scrolls by itself does not bubble.
document.addEventListener("scroll", () => marked && show(marked), { passive: true, capture: true });
all("figure, .document").forEach(noted);

// ---- Tables: a button above each column sorts, a field above the table filters ---------------

const valueOf = (cell) => cell.dataset.v ?? cell.innerText.trim();
const absent = (text) => text === "" || text === "-";

function compare(one, other) {
  const numbers = [Number(one), Number(other)];
  if (!numbers.some(Number.isNaN)) return numbers[0] - numbers[1];
  return one.localeCompare(other, undefined, { numeric: true });
}

function sort(head) {
  const column = head.cellIndex;
  const order = head.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending";
  all("th", head.parentElement).forEach((other) => other.removeAttribute("aria-sort"));
  head.setAttribute("aria-sort", order);
  const body = head.closest("table").tBodies[0];
  const keyed = [...body.rows].map((row) => [valueOf(row.cells[column]), row]);
  keyed.sort(([one], [other]) => {
    if (absent(one) || absent(other)) return absent(one) - absent(other); // always at the end
    return order === "ascending" ? compare(one, other) : compare(other, one);
  });
  body.append(...keyed.map(([, row]) => row));
}

function sortable(table) {
  all("thead th", table).forEach((head) => {
    const button = make("button", { type: "button", textContent: head.textContent });
    head.replaceChildren(button);
    button.addEventListener("click", () => sort(head));
  });
}

const FILTERED_FROM = 6;

function filterable(table) {
  const rows = [...table.tBodies[0].rows];
  if (rows.length < FILTERED_FROM) return;
  const field = make("input", { type: "search" });
  const count = make("span", { className: "soft" });
  count.setAttribute("role", "status");
  const label = make("label", { className: "filter" });
  label.append("rows with ", field, count);
  table.parentElement.before(label);
  field.addEventListener("input", () => {
    const wanted = field.value.toLowerCase().split(/\s+/);
    let left = 0;
    rows.forEach((row) => {
      const text = row.textContent.toLowerCase();
      const fits = wanted.every((word) => text.includes(word));
      row.classList.toggle("filtered", !fits);
      left += fits;
    });
    count.textContent = field.value ? `${left} of ${rows.length}` : "";
  });
}

all("table.data").forEach((table) => {
  sortable(table);
  filterable(table);
});

// ---- Picker: which runs tables and sections show ---------------------------------------------

const picker = document.getElementById("picker");

function pick() {
  const boxes = all("[data-pick]", picker);
  const chosen = new Set(boxes.filter((box) => box.checked).map((box) => box.dataset.pick));
  const known = new Set(boxes.map((box) => box.dataset.pick));
  all("[data-of]").forEach((part) => {
    const hidden = known.has(part.dataset.of) && !chosen.has(part.dataset.of);
    part.classList.toggle("unpicked", hidden);
  });
}

if (picker) {
  picker.hidden = false;
  picker.addEventListener("change", pick);
  all("button", picker).forEach((button) =>
    button.addEventListener("click", () => {
      all("li:not(.filtered) [data-pick]", picker).forEach((box) => {
        box.checked = button.dataset.all === "yes";
      });
      pick();
    }),
  );
  const search = picker.querySelector("[type=search]");
  search.addEventListener("input", (event) => {
    event.stopPropagation();
    const wanted = search.value.toLowerCase();
    all("li", picker).forEach((item) =>
      item.classList.toggle("filtered", !item.textContent.toLowerCase().includes(wanted)),
    );
  });
  // A link to a run that was not picked picks it.
  addEventListener("hashchange", () => {
    const target = document.getElementById(decodeURIComponent(location.hash.slice(1)));
    const box = all("[data-pick]", picker).find((one) => one.dataset.pick === target?.dataset.of);
    if (!box || box.checked) return;
    box.checked = true;
    pick();
    target.scrollIntoView();
  });
}

// ---- Print: what is folded is unfolded --------------------------------------------------------

addEventListener("beforeprint", () => all("details:not([open])").forEach((one) => {
  one.open = true;
  one.dataset.folded = "yes";
}));
addEventListener("afterprint", () => all("details[data-folded]").forEach((one) => {
  one.open = false;
  delete one.dataset.folded;
}));
