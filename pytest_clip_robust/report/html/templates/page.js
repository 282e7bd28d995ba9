"use strict";
(() => {
  const byId = (id) => document.getElementById(id);
  const form = document.querySelector(".filters");
  const rows = [...document.querySelectorAll(".all tbody tr")];
  const texts = rows.map((row) => row.textContent.toLowerCase());
  const apply = () => {
    const words = byId("search").value.toLowerCase().split(/\s+/).filter(Boolean);
    const aspect = byId("aspect").value;
    const model = byId("model") ? byId("model").value : "";
    const verdicts = new Set([...form.querySelectorAll("[name=verdict]:checked")].map((box) => box.value));
    const headlines = byId("headlines").checked;
    let shown = 0;
    rows.forEach((row, place) => {
      const data = row.dataset;
      const fits =
        verdicts.has(data.verdict) &&
        (!aspect || data.aspect === aspect) &&
        (!model || data.model === model) &&
        (!headlines || "headline" in data) &&
        words.every((word) => texts[place].includes(word));
      row.hidden = !fits;
      shown += fits;
    });
    byId("shown").textContent = `${shown} of ${rows.length} shown`;
  };
  const clear = () => {
    form.reset();
    apply();
  };
  form.hidden = false;
  form.addEventListener("input", apply);
  form.addEventListener("submit", (event) => event.preventDefault());
  apply();

  document.querySelectorAll("a.filter").forEach((link) =>
    link.addEventListener("click", () => {
      form.reset();
      byId("aspect").value = link.dataset.aspect;
      apply();
    }),
  );

  // A link to a gate opens its details, also where the filter has hidden it.
  const reveal = () => {
    const row = location.hash.startsWith("#gate-") ? byId(location.hash.slice(1)) : null;
    if (!row) return;
    if (row.hidden) clear();
    const details = row.querySelector("details");
    if (details) details.open = true;
    row.scrollIntoView({ block: "center" });
  };
  addEventListener("hashchange", reveal);
  reveal();
})();
