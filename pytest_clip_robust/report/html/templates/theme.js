"use strict";
(() => {
  const root = document.documentElement;

  // A page opened as a file may have no storage; the theme is then kept until the page is closed.
  const stored = (value) => {
    try {
      if (value !== undefined) localStorage.setItem("clip-robust-theme", value);
      return localStorage.getItem("clip-robust-theme");
    } catch {
      return null;
    }
  };
  const themes = ["system", "light", "dark"];
  const button = document.getElementById("theme");
  let theme = themes.includes(stored()) ? stored() : "system";
  const paint = () => {
    if (theme === "system") delete root.dataset.theme;
    else root.dataset.theme = theme;
    button.textContent = `Theme: ${theme}`;
  };
  button.hidden = false;
  button.addEventListener("click", () => {
    theme = themes[(themes.indexOf(theme) + 1) % themes.length];
    stored(theme);
    paint();
  });
  paint();
})();
