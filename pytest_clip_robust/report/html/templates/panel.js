"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const table = document.querySelector(".models");
  const body = table.tBodies[0];
  const rows = [...body.rows];
  const texts = rows.map((row) => row.textContent.toLowerCase());

  const apply = () => {
    const words = byId("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    let shown = 0;
    rows.forEach((row, place) => {
      row.hidden = !words.every((word) => texts[place].includes(word));
      shown += !row.hidden;
    });
    byId("shown").textContent = `${shown} of ${rows.length} shown`;
  };
  const form = document.querySelector(".filters");
  form.hidden = false;
  form.addEventListener("input", apply);
  form.addEventListener("submit", (event) => event.preventDefault());
  apply();

  // Numbers are compared as numbers, and what is unknown comes last in both directions.
  const compare = (one, other, sign) => {
    if (one === "" || other === "") return (one === "") - (other === "");
    const [a, b] = [Number(one), Number(other)];
    return sign * (Number.isNaN(a) || Number.isNaN(b) ? one.localeCompare(other) : a - b);
  };
  const heads = [...table.tHead.rows[0].cells];
  const sortBy = (column, sign) => {
    const key = (row) => row.cells[column].dataset.key;
    body.append(...[...rows].sort((one, other) => compare(key(one), key(other), sign)));
    heads.forEach((head) => head.removeAttribute("aria-sort"));
    table.classList.toggle("sorted", column > 0);
    if (column > 0) heads[column].setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
  };
  heads.forEach((head, column) => {
    if (column === 0) return;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    // Values are sorted with the largest first, and words by the alphabet.
    const first = head.classList.contains("n") ? -1 : 1;
    const toggled = { ascending: -1, descending: 1 };
    button.addEventListener("click", () => sortBy(column, toggled[head.getAttribute("aria-sort")] ?? first));
  });
  byId("as-families").addEventListener("click", () => sortBy(0, 1));

  // A model that is pointed at stands out in all figures, and its mark's title is shown where a finger can read it.
  const told = byId("told");
  let pinned = null;
  const light = (found) => {
    document.querySelectorAll(".lit").forEach((one) => one.classList.remove("lit"));
    document.documentElement.classList.toggle("lighting", found !== null);
    const title = found && found.querySelector("title");
    told.hidden = !title;
    told.textContent = title ? title.textContent : "";
    if (found) document.querySelectorAll(`[data-m="${found.dataset.m}"]`).forEach((one) => one.classList.add("lit"));
  };
  const of = (event) => (event.target instanceof Element ? event.target.closest("[data-m]") : null);
  document.addEventListener("pointerover", (event) => {
    if (event.pointerType === "mouse") light(of(event) ?? pinned);
  });
  document.addEventListener("click", (event) => {
    const found = of(event);
    pinned = found && found.matches(".model") && found !== pinned ? found : null;
    light(pinned ?? (event.pointerType === "mouse" ? found : null));
  });
})();
