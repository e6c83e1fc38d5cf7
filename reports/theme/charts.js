// Draws the figures of a page in the page's colours, and turns the page light or dark. Fetches nothing.
"use strict";
(function () {
  const root = document.documentElement;
  const KEY = "hindcast-theme";

  function resolved(value, style) {
    if (Array.isArray(value)) return value.map((one) => resolved(one, style));
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([key, one]) => [key, resolved(one, style)]));
    }
    if (typeof value === "string" && value.startsWith("var(--")) {
      return style.getPropertyValue(value.slice(4, -1)).trim();
    }
    return value;
  }

  function draw(figure) {
    const target = figure.querySelector(".plot");
    const source = figure.querySelector("script[type='application/json']");
    if (!window.Plotly) {
      figure.classList.add("no-plot");
      target.textContent = target.getAttribute("aria-label");
      return;
    }
    const spec = resolved(JSON.parse(source.textContent), getComputedStyle(root));
    const meta = spec.layout.meta || {};
    const isNarrow = window.innerWidth < 640;
    if (isNarrow && meta.narrow) {
      for (const [path, value] of Object.entries(meta.narrow)) assign(spec.layout, path, value);
    }
    target.style.height = isNarrow && meta.extra ? `calc(var(--height) + ${meta.extra}px)` : "";
    const config = { responsive: true, displaylogo: false, displayModeBar: false, scrollZoom: false };
    window.Plotly.react(target, spec.data, spec.layout, config);
    if (!target.dataset.bound) {
      target.dataset.bound = "yes";
      target.on("plotly_click", (event) => {
        const link = event.points[0] && event.points[0].customdata;
        // Only pages of this site: a name, perhaps in a folder beside.
        if (typeof link === "string" && /^(\.\.\/)?(\w+\/)?[\w-]+\.html$/.test(link)) window.location.href = link;
      });
    }
  }

  function assign(layout, path, value) {
    const keys = path.split(".");
    const last = keys.pop();
    keys.reduce((part, key) => (part[key] = part[key] || {}), layout)[last] = value;
  }

  function drawAll() {
    document.querySelectorAll("figure.chart").forEach(draw);
  }

  function isDark() {
    const chosen = root.dataset.theme;
    return chosen ? chosen === "dark" : window.matchMedia("(prefers-color-scheme: dark)").matches;
  }

  const asked = new URLSearchParams(window.location.search).get("theme");
  let stored = null;
  try { stored = window.localStorage.getItem(KEY); } catch { stored = null; }
  const chosen = asked || stored;
  if (chosen === "light" || chosen === "dark") root.dataset.theme = chosen;

  document.addEventListener("DOMContentLoaded", () => {
    drawAll();
    const button = document.querySelector(".theme");
    if (button) {
      button.hidden = false;
      button.addEventListener("click", () => {
        root.dataset.theme = isDark() ? "light" : "dark";
        try { window.localStorage.setItem(KEY, root.dataset.theme); } catch { /* a private window keeps nothing */ }
        drawAll();
      });
    }
    window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", drawAll);
    const current = document.querySelector(".bar [aria-current]");
    if (current) current.scrollIntoView({ block: "nearest", inline: "center" });
  });

  // Paper is white and of another width.
  let before = null;
  window.addEventListener("beforeprint", () => {
    before = root.dataset.theme || "";
    root.dataset.theme = "light";
    drawAll();
  });
  window.addEventListener("afterprint", () => {
    if (before) root.dataset.theme = before; else delete root.dataset.theme;
    drawAll();
  });
})();
