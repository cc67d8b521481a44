// Tables that sort and filter, the choice of light or dark, and the way into the reader's language. Every page is
// whole without this file.
"use strict";

const root = document.documentElement;

function stored(name, value) {
  try { // storage may be forbidden
    if (value === undefined) return localStorage.getItem(name);
    localStorage.setItem(name, value);
  } catch { return null; }
}

function themes() {
  const chosen = stored("diptych-theme");
  if (chosen === "light" || chosen === "dark") root.dataset.theme = chosen;
  document.getElementById("theme")?.addEventListener("click", () => {
    const dark = root.dataset.theme ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
    root.dataset.theme = dark ? "light" : "dark";
    stored("diptych-theme", root.dataset.theme);
  });
}

function entrance() {
  if ("entrance" in document.body.dataset) {
    location.replace((navigator.language || "").startsWith("zh") ? "zh/index.html" : "en/index.html");
  }
}

const key = (row, column) => {
  const cell = row.cells[column];
  return cell.dataset.sort ?? cell.textContent.trim();
};

function sorting(table) {
  table.querySelectorAll("thead button").forEach((button, column) => {
    button.addEventListener("click", () => {
      const head = button.parentElement, body = table.tBodies[0], rows = [...body.rows];
      const numbers = rows.every((row) => row.cells[column].dataset.sort !== undefined);
      // Numbers begin with the largest, words with the first; another click turns the order.
      const before = head.ariaSort, down = before ? before === "ascending" : numbers;
      const compare = numbers ? (a, b) => a - b : (a, b) => a.localeCompare(b, root.lang, { numeric: true });
      rows.sort((a, b) => (down ? -1 : 1) * compare(key(a, column), key(b, column)));
      table.querySelectorAll("th").forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      body.append(...rows);
    });
  });
}

const bare = (text) => text.normalize("NFKD").replace(/\p{M}/gu, "").toLowerCase();

function filtering(form) {
  const search = form.querySelector("#search"), here = form.querySelector("#here");
  const selects = [...form.querySelectorAll("select")], rows = [...document.querySelectorAll("#records tbody tr")];
  const texts = new Map(rows.map((row) => [row, bare(`${row.textContent} ${row.dataset.text}`)]));

  function read() { // what the address asks for, such as #paradigm=hybrid&here=yes
    const asked = new URLSearchParams(location.hash.slice(1));
    selects.forEach((select) => { select.value = asked.get(select.dataset.filter) ?? ""; });
    selects.filter((select) => select.selectedIndex < 0).forEach((select) => { select.value = ""; });
    search.value = asked.get("search") ?? "";
    if (here) here.checked = asked.has("here");
  }

  function apply() {
    const words = bare(search.value).split(/\s+/).filter(Boolean);
    const chosen = selects.filter((select) => select.value);
    let count = 0;
    for (const row of rows) {
      const fits = words.every((word) => texts.get(row).includes(word)) && (!here?.checked || "here" in row.dataset)
        && chosen.every((select) => row.dataset[select.dataset.filter].split(" ").includes(select.value));
      row.hidden = !fits;
      count += fits;
    }
    form.querySelector("#count").textContent = count;
    const asked = new URLSearchParams(chosen.map((select) => [select.dataset.filter, select.value]));
    if (search.value.trim()) asked.set("search", search.value.trim());
    if (here?.checked) asked.set("here", "yes");
    history.replaceState(null, "", asked.size ? `#${asked}` : location.pathname);
  }

  form.addEventListener("input", apply);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.addEventListener("reset", () => setTimeout(apply));
  addEventListener("hashchange", () => { read(); apply(); });
  read();
  apply();
}

function finding(form) {
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    location.href = `${form.getAttribute("action")}#${new URLSearchParams(new FormData(form))}`;
  });
}

themes();
entrance();
document.querySelectorAll("table.sortable").forEach(sorting);
const filters = document.getElementById("filters"), find = document.getElementById("find");
if (filters) filtering(filters);
if (find) finding(find);
