"use strict";
// All of this only adds: without it every page shows the same and every act is a form or a link.

// The reader's time zone goes to the server as a cookie; the first page, made before that is known, is mended here.
const zone = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";
const known = document.cookie.includes(`zone=${encodeURIComponent(zone)}`);
document.cookie = `zone=${encodeURIComponent(zone)};path=/;max-age=31536000;samesite=lax`;
const [stamp, exact] = ["short", "medium"].map((timeStyle) => new Intl.DateTimeFormat("sv-SE", { dateStyle: "short", timeStyle, timeZone: zone }));

function mendTimes(root) {
  if (known) return;
  for (const time of root.querySelectorAll("time")) {
    time.textContent = (/:\d\d:/.test(time.textContent) ? exact : stamp).format(new Date(time.dateTime));
  }
  const shown = document.querySelector(".zone");
  if (shown) shown.textContent = zone;
}

// Plots are drawn from the tables that stand below them.
const colour = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();
const drawn = new Map();
const forms = {
  bytes: (value) => {
    const units = ["B", "KB", "MB", "GB", "TB", "PB"];
    let unit = 0;
    while (value >= 1000 && unit < units.length - 1) [value, unit] = [value / 1000, unit + 1];
    return `${+value.toPrecision(3)} ${units[unit]}`;
  },
  count: (value) => value.toLocaleString("en"),
  cru: (value) => `${+value.toPrecision(3)} CRU`,
};

function draw(figure) {
  const table = figure.querySelector("table");
  const canvas = figure.querySelector(".canvas");
  if (!window.uPlot || !table || !canvas) return;
  const rows = [...table.tBodies[0].rows].map((row) => [...row.cells].map((cell) => (cell.dataset.value === "" ? null : +cell.dataset.value)));
  const width = canvas.clientWidth;
  const state = `${width} ${colour("--card")} ${JSON.stringify(rows)}`;
  if (rows.length < 2 || drawn.get(canvas)?.state === state) return;
  drawn.get(canvas)?.plot.destroy();
  const names = [...table.tHead.rows[0].cells].map((cell) => cell.textContent);
  const form = forms[figure.dataset.form];
  const strokes = [colour("--accent"), colour("--faint")];
  const axis = { stroke: colour("--faint"), font: `11px ${colour("--sans")}`, grid: { stroke: colour("--line"), width: 1 }, ticks: { show: false } };
  const whole = rows.every(([at]) => at % 86400 === 0);
  const day = (at) => (whole ? new Date(at * 1000).toISOString().slice(0, 10) : stamp.format(new Date(at * 1000)));
  const long = rows.at(-1)[0] - rows[0][0];
  const near = long < 4 * 86400;
  const at = (tick) => (long < 3600 && !whole ? exact.format(new Date(tick * 1000)).slice(11) : day(tick).slice(5, near && !whole ? 16 : 10));
  const plot = new window.uPlot(
    {
      width,
      height: canvas.clientHeight,
      padding: [8, near ? 40 : 4, 0, 0],
      cursor: { y: false, points: { size: 6 } },
      legend: { show: false },
      scales: { y: { range: (_, low, high) => [Math.min(low, 0), high > 0 ? high * 1.08 : 1] } },
      axes: [
        { ...axis, size: 24, grid: { show: false }, space: near ? 100 : 70, values: (_, ticks) => ticks.map(at) },
        { ...axis, size: figure.dataset.form === "cru" ? 84 : 62, space: 36, values: (_, ticks) => ticks.map((tick) => (figure.dataset.form === "cru" || Number.isInteger(tick) ? form(tick) : "")) },
      ],
      tzDate: (tick) => window.uPlot.tzDate(new Date(tick * 1000), "UTC"),
      series: [{}, ...names.slice(1).map((label, place) => ({ label, stroke: strokes[place], width: place ? 1.5 : 2, points: { show: rows.filter((row) => row[place + 1] !== null).length < 3 }, fill: place ? undefined : `${strokes[0]}1a` }))],
      hooks: { setCursor: [(self) => tell(figure, rows, day, form, self.cursor.idx)] },
    },
    names.map((_, place) => rows.map((row) => row[place])),
    canvas,
  );
  drawn.set(canvas, { plot, state });
}

// Below a plot stands what the day under the pointer, or else the newest one, has.
function tell(figure, rows, day, form, at) {
  const row = rows[at ?? rows.length - 1];
  const [when, ...values] = figure.querySelectorAll(".legend [data-shown]");
  if (!row || !when) return;
  when.textContent = day(row[0]);
  values.forEach((value, place) => { value.textContent = row[place + 1] === null ? "–" : form(row[place + 1]); });
}

function enhance(root) {
  mendTimes(root);
  for (const figure of root.querySelectorAll("figure.plot")) draw(figure);
}

// The living part of a page is asked for again, but not while nobody looks, nor under somebody's hands.
const live = document.getElementById("live");
const stale = document.querySelector(".stale");
const SECONDS = 5;

function inHand() {
  const at = document.activeElement;
  const selection = document.getSelection();
  const typing = live.contains(at) && at.matches("input, select, textarea, video");
  return typing || (!selection.isCollapsed && live.contains(selection.anchorNode)) || live.querySelector("video");
}

function renew() {
  if (window.htmx && !document.hidden && !inHand()) window.htmx.trigger(live, "renew");
}

if (live && live.dataset.still === undefined) {
  setInterval(renew, SECONDS * 1000);
  document.addEventListener("visibilitychange", renew);
  let seen = new Date();
  const statusOf = (event) => event.detail?.ctx?.response?.status ?? event.detail?.ctx?.response?.raw?.status ?? 0;
  document.addEventListener("htmx:after:swap", (event) => {
    if (statusOf(event) >= 400) return; // nothing was swapped: what is there stays
    seen = new Date();
    stale.hidden = true;
    enhance(live);
  });
  const failed = (event) => {
    if (statusOf(event) === 401) location.reload(); // it leads to the log-in
    stale.textContent = stale.dataset.words.replace("{}", stamp.format(seen));
    stale.hidden = false;
  };
  document.addEventListener("htmx:error", failed);
  document.addEventListener("htmx:response:error", failed);
}

// In the place of a player that can play nothing stands why.
for (const words of document.querySelectorAll("[data-unplayed]")) {
  const video = words.previousElementSibling;
  const instead = () => { [video.hidden, words.hidden] = [true, false]; };
  if (video.error) instead();
  else video.addEventListener("error", instead);
}

// Where a clip begins and ends is taken from where the video plays.
const video = document.querySelector("video");
for (const take of video ? document.querySelectorAll("[data-takes]") : []) {
  take.hidden = false;
  take.addEventListener("click", () => { take.form.elements[take.dataset.takes].value = video.currentTime.toFixed(1); });
}

enhance(document);
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => enhance(document));
let resized;
addEventListener("resize", () => { clearTimeout(resized); resized = setTimeout(() => enhance(document), 150); });

// One press, one act.
document.addEventListener("submit", (event) => {
  if (event.defaultPrevented || event.target.method !== "post") return;
  setTimeout(() => { for (const button of event.target.querySelectorAll("button")) button.disabled = true; });
});
addEventListener("pageshow", (event) => {
  if (event.persisted) for (const button of document.querySelectorAll("button:disabled")) button.disabled = false;
});
