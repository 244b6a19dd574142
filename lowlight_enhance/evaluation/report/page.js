"use strict";
(() => {
  const style = () => getComputedStyle(document.documentElement);
  const isTouched = matchMedia("(pointer: coarse)").matches;

  // The range input holds the position of the line between two pictures. A drag anywhere on the picture moves it.
  for (const sample of document.querySelectorAll(".sample")) {
    const frame = sample.querySelector(".compare");
    const range = frame.querySelector("input");
    const move = () => {
      frame.style.setProperty("--split", `${range.value}%`);
      const [left, right] = [...frame.querySelectorAll(".tag")].map((tag) => tag.textContent);
      range.setAttribute("aria-valuetext", `${left} ${range.value} %, ${right} ${100 - range.value} %`);
    };
    const follow = (event) => {
      const box = frame.getBoundingClientRect();
      range.value = Math.round((100 * (event.clientX - box.left)) / box.width);
      move();
    };
    range.addEventListener("input", move);
    range.addEventListener("pointerdown", (event) => {
      if (event.button !== 0) return;
      event.preventDefault();
      range.focus({ preventScroll: true });
      range.setPointerCapture(event.pointerId);
      follow(event);
    });
    range.addEventListener("pointermove", (event) => {
      if (range.hasPointerCapture(event.pointerId)) follow(event);
    });
    for (const choice of sample.querySelectorAll("input[type=radio]")) {
      choice.addEventListener("change", () => {
        const { left, right } = choice.dataset;
        for (const picture of frame.querySelectorAll("img")) {
          picture.className = { [left]: "left", [right]: "right" }[picture.dataset.is] ?? "";
        }
        frame.querySelector(".at-left").textContent = left;
        frame.querySelector(".at-right").textContent = right;
        move();
      });
    }
    move();
  }

  // Plots use the names of CSS variables as colours; replace them by the values of the current colour scheme.
  const plots = JSON.parse(document.getElementById("plots").textContent);
  const coloured = (value) => {
    if (typeof value === "string") return value.startsWith("--") ? style().getPropertyValue(value).trim() : value;
    if (Array.isArray(value)) return value.map(coloured);
    if (value && typeof value === "object") {
      return Object.fromEntries(Object.entries(value).map(([name, part]) => [name, coloured(part)]));
    }
    return value;
  };
  const axis = (own) => ({
    gridcolor: "--grid", zerolinecolor: "--grid", linecolor: "--grid", automargin: true, ...own,
    title: { ...own.title, standoff: 8, font: { size: 12, color: "--soft" } },
  });
  const layout = (own) => {
    const axes = Object.keys(own).filter((name) => /^[xy]axis\d*$/.test(name));
    return coloured({
      margin: { l: 8, r: 12, t: 8, b: 8 }, paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: style().getPropertyValue("font-family") || "system-ui, sans-serif", size: 12, color: "--soft" },
      legend: { orientation: "h", x: 0, y: 1.02, xanchor: "left", yanchor: "bottom" },
      hoverlabel: { bgcolor: "--card", bordercolor: "--grid", font: { color: "--ink" } },
      dragmode: isTouched ? false : "zoom",
      ...own, ...Object.fromEntries(axes.map((name) => [name, axis(own[name])])),
    });
  };
  const config = {
    responsive: true, displaylogo: false, displayModeBar: isTouched ? true : "hover",
    modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d", ...(isTouched ? ["zoom2d"] : [])],
  };
  const drawn = new Set();
  const draw = (name) => {
    drawn.add(name);
    Plotly.react(name, coloured(plots[name].data), layout(plots[name].layout), config);
  };
  // Draw a plot only when it is scrolled near, so that a page with many cameras opens quickly.
  const near = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      near.unobserve(target);
      draw(target.id);
    }
  }, { rootMargin: "400px" });
  for (const name of Object.keys(plots)) near.observe(document.getElementById(name));
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => drawn.forEach(draw));
  addEventListener("beforeprint", () => {
    near.disconnect();
    Object.keys(plots).filter((name) => !drawn.has(name)).forEach(draw);
    for (const details of document.querySelectorAll("details")) details.open = true;
  });
})();
