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
    if (root.classList.contains("on-paper")) {
      // Nothing is measured again once the paper is laid out.
      Object.assign(spec.layout, { width: target.clientWidth, height: target.clientHeight });
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

  // A page may hold fifty figures: each is drawn when it comes near the window, and again when it was drawn before.
  const near = "IntersectionObserver" in window
    ? new IntersectionObserver((seen) => {
      for (const one of seen.filter((each) => each.isIntersecting)) {
        near.unobserve(one.target);
        drawOnce(one.target);
      }
    }, { rootMargin: "1200px 0px" })
    : null;

  function drawOnce(figure) {
    figure.dataset.drawn = "yes";
    draw(figure);
  }

  function drawAll(isEveryOne) {
    document.querySelectorAll("figure.chart").forEach((figure) => {
      if (!near || isEveryOne === true || figure.dataset.drawn) drawOnce(figure);
      else near.observe(figure);
    });
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
    window.matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => drawAll());
    const current = document.querySelector(".bar [aria-current]");
    if (current) current.scrollIntoView({ block: "nearest", inline: "center" });
  });

  // Paper is white and of another width, and nobody unfolds anything on it.
  let before = null;
  let folded = [];
  window.addEventListener("beforeprint", () => {
    if (before !== null) return;
    before = root.dataset.theme || "";
    root.dataset.theme = "light";
    root.classList.add("on-paper");
    folded = [...document.querySelectorAll("details:not([open])")];
    for (const one of folded) one.open = true;
    drawAll(true);
  });
  window.addEventListener("afterprint", () => {
    if (before) root.dataset.theme = before; else delete root.dataset.theme;
    before = null;
    root.classList.remove("on-paper");
    for (const one of folded) one.open = false;
    drawAll();
  });
})();
