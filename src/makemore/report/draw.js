// Draws the charts of a report. Their data stand beside them as JSON.
"use strict";
const dark = matchMedia("(prefers-color-scheme: dark)");
// a finger scrolls the page; the bar above a chart zooms for it
const touched = matchMedia("(pointer: coarse)").matches;
const charts = [...document.querySelectorAll(".chart")];
// what A4 and US letter have room for between their margins, in pixels
const paper = 660;

function ink(printed) {
  return dark.matches && !printed ? "#e8e9eb" : "#1c1e21";
}

for (const chart of charts) {
  const figure = JSON.parse(chart.nextElementSibling.textContent);
  figure.layout.font.color = ink(false);
  if (touched) figure.layout.dragmode = false;
  Plotly.newPlot(chart, figure.data, figure.layout, {
    responsive: true,
    displaylogo: false,
    // no button that sends a chart to plotly's makers
    showSendToCloud: false,
    plotlyServerURL: "",
    displayModeBar: touched || "hover",
    modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
  });
}

function redraw(printed) {
  for (const chart of charts) {
    const width = printed ? { width: paper } : { width: null, autosize: true };
    Plotly.relayout(chart, { "font.color": ink(printed), ...width });
  }
}

dark.addEventListener("change", () => redraw(false));
addEventListener("beforeprint", () => redraw(true));
addEventListener("afterprint", () => redraw(false));
