// Draws the charts of a report from the JSON beside them, and enlarges pictures.
"use strict";
const dark = matchMedia("(prefers-color-scheme: dark)");
// on a touch screen a drag scrolls the page, and the buttons above a chart zoom
const touch = matchMedia("(pointer: coarse)").matches;
const charts = [...document.querySelectorAll(".chart")];
// the width between the margins of A4 and US letter, in pixels
const paper = 660;

// The printed width of a chart: the whole, half of it where two stand side by side, or what the column of items leaves;
// 24 and 205 pixels are the gaps and that column in page.html.
function printedWidth(chart) {
  if (chart.closest(".figures > figure:not(:only-child)")) return (paper - 24) / 2;
  return chart.closest(".made + figure") ? paper - 205 : paper;
}

function ink(printed) {
  return dark.matches && !printed ? "#e8e9eb" : "#1c1e21";
}

for (const chart of charts) {
  const figure = JSON.parse(chart.nextElementSibling.textContent);
  figure.layout.font.color = ink(false);
  if (touch) figure.layout.dragmode = false;
  // a row for each name would leave the curves no room; a tap names them
  if (chart.clientWidth < 500 && figure.data.length > 6) figure.layout.showlegend = false;
  Plotly.newPlot(chart, figure.data, figure.layout, {
    responsive: true,
    displaylogo: false,
    // no button that uploads a chart to plotly's server
    showSendToCloud: false,
    plotlyServerURL: "",
    displayModeBar: touch || "hover",
    modeBarButtonsToRemove: ["select2d", "lasso2d", "autoScale2d"],
  });
}

function redraw(printed) {
  for (const chart of charts) {
    const width = printed ? { width: printedWidth(chart) } : { width: null, autosize: true };
    Plotly.relayout(chart, { "font.color": ink(printed), ...width });
  }
}

dark.addEventListener("change", () => redraw(false));
addEventListener("beforeprint", () => redraw(true));
addEventListener("afterprint", () => redraw(false));

// a picture takes the whole window, where it can be scrolled, and returns at the next click or Escape
function enlarge(picture, large) {
  picture.classList.toggle("large", large);
  picture.setAttribute("aria-expanded", large);
  document.body.classList.toggle("covered", large);
}

for (const picture of document.querySelectorAll(".picture")) {
  const toggle = () => enlarge(picture, !picture.classList.contains("large"));
  picture.addEventListener("click", toggle);
  picture.addEventListener("keydown", (event) => {
    if (event.key === "Enter") toggle();
    if (event.key === "Escape") enlarge(picture, false);
  });
}
