"use strict";
// What the queue of uploads shows.
const queue = document.getElementById("queue");
const says = JSON.parse(queue.dataset.words);
const TONES = { queued: "amber", sending: "amber", waiting: "amber", paused: "amber", checking: "amber", done: "green", failed: "red" };
const items = new Map();
const title = document.title;
const byId = (id) => document.getElementById(id);
const fill = (text, ...values) => text.replace(/\{\}/g, () => values.shift());
const some = (text, count, ...values) => fill(text.split("|")[count === 1 ? 0 : text.split("|").length - 1], count, ...values);
const size = (bytes) => forms.bytes(bytes);

function span(seconds) {
  if (seconds < 60) return fill(says.span_s, Math.max(1, Math.round(seconds)));
  return seconds < 5400 ? fill(says.span_min, Math.round(seconds / 60)) : fill(says.span_h, (seconds / 3600).toFixed(1));
}

// Bytes a second, and how long the rest takes at that.
function pace(rate, rest) {
  return rate > 1000 ? `${(rate / 1e6).toFixed(1)} MB/s · ${fill(says.up_left, span(rest / rate))}` : "";
}

function show(item) {
  const { row, state } = item;
  const at = (selector) => row.querySelector(selector);
  row.className = `is-${state}`;
  at("progress").value = item.sent / (item.file.size || 1);
  at(".badge").className = `badge ${TONES[state] ?? ""}`;
  at(".badge").textContent = item.why ?? says[`up_${state}`];
  const moving = item.sent && state !== "done" && state !== "failed";
  at(".numbers").textContent = [moving && `${fill(says.up_of, size(item.sent), size(item.file.size))} · ${Math.floor((item.sent / item.file.size) * 100)} %`, pace(item.rate, item.file.size - item.sent)].filter(Boolean).join(" · ");
  at(".sum").hidden = !item.sha256;
  at("code").textContent = item.sha256 ?? "";
  at("details").hidden = !item.raw;
  at("details p").textContent = item.raw ?? "";
  const link = at("a");
  link.hidden = !item.fileId;
  if (item.fileId) Object.assign(link, { href: `/file/${item.fileId}`, textContent: fill(says.up_is_file, item.fileId) });
  const [act, away] = [at("[data-act=turn]"), at("[data-act=cancel]")];
  act.hidden = ["ready", "checking", "done"].includes(state) || (state === "failed" && (!item.facts || item.fileId));
  act.textContent = { paused: says.up_go_on, failed: says.up_again }[state] ?? says.up_pause;
  away.hidden = state === "checking";
  away.textContent = ["ready", "done", "failed"].includes(state) ? says.up_remove : says.up_cancel;
  for (const button of [act, away]) button.setAttribute("aria-label", `${button.textContent}: ${item.file.name}`);
}

function summarise() {
  const all = [...items.values()];
  const of = (...states) => all.filter(({ state }) => states.includes(state));
  const bytes = (those) => those.reduce((sum, { file }) => sum + file.size, 0);
  const ready = of("ready");
  const begun = all.filter(({ facts }) => facts);
  const [sent, whole] = [begun.reduce((sum, item) => sum + item.sent, 0), bytes(begun)];
  const rate = all.reduce((sum, item) => sum + item.rate, 0);
  queue.hidden = !all.length;
  byId("send").disabled = !ready.length;
  byId("send").textContent = ready.length ? some(says.up_start, ready.length, size(bytes(ready))) : says.up_send;
  byId("sum").textContent = [
    fill(says.up_all, of("done").length, all.length),
    whole && sent < whole && fill(says.up_of, size(sent), size(whole)),
    pace(rate, whole - sent),
  ].filter(Boolean).join(" · ");
  const moving = of("queued", "sending", "waiting").length;
  byId("pause").hidden = !moving && !of("paused").length;
  byId("pause").textContent = moving ? says.up_pause_all : says.up_go_on_all;
  byId("clear").hidden = !of("done").length;
  document.title = (moving && whole ? `${Math.floor((sent / whole) * 100)} % · ` : "") + title;
}

function announce(words) {
  byId("told").textContent = words;
}
