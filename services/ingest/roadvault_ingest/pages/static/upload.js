"use strict";
// The queue of uploads. Each file goes by tus, which goes on where it stopped, after a lost connection by itself, after
// a reload once the same file is chosen again. A file is known by path, size and time of change, so none is sent twice.
const form = byId("upload");
const { endpoint, largest } = queue.dataset;
const AT_ONCE = 3;
const TICK_SECONDS = 0.5;
const STALLED_SECONDS = 60;
const DELAYS = [0, 500, 1000, 2000, ...Array(100_000).fill(4000)];
const UNDER_WAY = new Set(["queued", "sending", "waiting", "checking"]);
const hasher = new Worker(queue.dataset.worker);
let numbers = 0;

// --- what is chosen ---

function add(file, path) {
  const key = `${path}\n${file.size}\n${file.lastModified}`;
  if (items.has(key)) return void announce(fill(says.up_twice, file.name));
  const row = byId("item").content.firstElementChild.cloneNode(true);
  const item = { id: ++numbers, key, file, row, state: "ready", sent: 0, before: 0, rate: 0, anew: 0, moved: Date.now() };
  row.querySelector(".name bdi").textContent = file.name;
  row.querySelector(".size").textContent = size(file.size);
  row.querySelector("[data-act=turn]").addEventListener("click", () => turn(item));
  row.querySelector("[data-act=cancel]").addEventListener("click", () => cancel(item));
  items.set(key, item);
  queue.querySelector("ul").append(row);
  if (!file.size) fail(item, says.up_empty);
  else if (file.size > largest) fail(item, fill(says.up_large, size(+largest)));
  else show(item);
}

function addAll(files) {
  for (const file of files) {
    const path = file.webkitRelativePath || file.name;
    if (!file.webkitRelativePath || !file.name.startsWith(".")) add(file, path);
  }
  summarise();
}

async function addDropped(transfer) {
  const entries = [...transfer.items].map((one) => one.webkitGetAsEntry()).filter(Boolean);
  for (const entry of entries) await walk(entry, entry.isFile);
  summarise();
}

async function walk(entry, named) {
  if (entry.isFile) {
    if (!named && entry.name.startsWith(".")) return; // what systems leave in folders
    try {
      add(await new Promise((found, lost) => entry.file(found, lost)), named ? entry.name : entry.fullPath.slice(1));
    } catch { /* it went away in the meantime */ }
    return;
  }
  const reader = entry.createReader();
  for (;;) {
    const inside = await new Promise((found) => reader.readEntries(found, () => found([]))); // a hundred at a time
    if (!inside.length) return;
    for (const one of inside) await walk(one, false);
  }
}

// --- one file ---

function begin(item, facts) {
  item.facts = facts;
  item.state = "queued";
  show(item);
}

async function send(item) {
  set(item, "sending");
  const { file, facts } = item;
  const metadata = { filename: file.name, filetype: file.type || "application/octet-stream", ...facts };
  const key = new Sha256().update(new TextEncoder().encode(`${item.key}\n${item.anew}\n${JSON.stringify(metadata)}`)).hex();
  const upload = new tus.Upload(file, {
    endpoint,
    metadata,
    headers: { "Idempotency-Key": key }, // an answer that got lost begins no second one
    retryDelays: DELAYS,
    fingerprint: async () => `roadvault\n${item.key}`,
    removeFingerprintOnSuccess: true,
    onProgress: (sent) => { item.sent = sent; item.moved = Date.now(); if (item.state === "waiting") set(item, "sending"); },
    onAfterResponse: (_, response) => {
      item.fileId = response.getHeader("RoadVault-File-ID") ?? item.fileId;
      item.digest = response.getHeader("Repr-Digest") ?? item.digest;
    },
    onShouldRetry: (error) => again(item, error),
    onError: (error) => refused(item, error),
    onSuccess: () => { item.sent = file.size; set(item, "checking"); compare(item); next(); },
  });
  item.upload = upload;
  if (!item.sha256 && !item.hashing) {
    item.hashing = true;
    hasher.postMessage({ id: item.id, file });
  }
  for (const found of await upload.findPreviousUploads()) {
    const same = ["camera", "recordedAt", "tags"].every((name) => (found.metadata[name] ?? "") === (facts[name] ?? ""));
    if (same || !Object.keys(facts).length) upload.resumeFromPreviousUpload(found);
    else forget(found);
  }
  if (item.upload === upload && item.state === "sending") upload.start();
}

// What does not depend on the file is tried again for as long as the page is open.
function again(item, error) {
  const status = error.originalResponse?.getStatus() ?? 0;
  if (status >= 400 && status < 500 && ![409, 423, 429].includes(status)) return false;
  item.why = { 507: says.up_waiting_full, 503: says.up_waiting_busy, 429: says.up_waiting_busy, 423: says.up_waiting_busy }[status];
  if (item.state === "sending" && status !== 409) set(item, "waiting");
  item.file.slice(0, 1).arrayBuffer().catch(() => { unread(item); });
  return true;
}

function refused(item, error) {
  const status = error.originalResponse?.getStatus() ?? 0;
  const words = { 401: says.up_login, 403: says.up_forbidden, 413: fill(says.up_large, size(+largest)) }[status];
  if (status === 404 || status === 410) item.anew++; // that one is lost
  let raw = error.message;
  try { raw = JSON.parse(error.originalResponse.getBody()).message; } catch { /* it is no answer of ours */ }
  fail(item, words ?? says.up_refused, raw);
  next();
}

function unread(item) {
  if (items.get(item.key) !== item) return;
  item.upload?.abort();
  fail(item, says.up_unread);
  next();
}

hasher.onmessage = ({ data: { id, sha256, unread: lost } }) => {
  const item = [...items.values()].find((one) => one.id === id);
  if (!item) return;
  item.hashing = false;
  if (lost) return unread(item);
  item.sha256 = sha256;
  compare(item);
};

function compare(item) {
  if (item.state !== "checking" || !item.sha256) return show(item);
  const digest = /sha-256=:([^:]+):/.exec(item.digest ?? "")?.[1] ?? "";
  const theirs = Array.from(atob(digest), (letter) => letter.charCodeAt(0).toString(16).padStart(2, "0")).join("");
  if (theirs === item.sha256) set(item, "done");
  else fail(item, says.up_differs, `${theirs || "?"} ≠ ${item.sha256}`);
  if ([...items.values()].every(({ state }) => state === "done")) announce(fill(says.up_all_done, items.size));
}

function turn(item) {
  if (item.state === "paused" || item.state === "failed") {
    item.why = item.raw = undefined;
    begin(item, item.facts ?? facts());
    next();
  } else if (item.state === "ready") {
    begin(item, facts());
    next();
  } else {
    pause(item);
    next();
  }
}

function pause(item) {
  item.upload?.abort();
  set(item, "paused");
}

async function cancel(item) {
  items.delete(item.key);
  item.row.remove();
  hasher.postMessage({ id: item.id });
  const under = item.state !== "ready" && item.state !== "failed" && item.state !== "done" && item.upload;
  item.state = "gone";
  summarise();
  next();
  try {
    if (under) await under.abort(true);
  } catch (error) {
    if (error.originalResponse?.getStatus() !== 403) return;
    items.set(item.key, item); // it was whole by then, and files are kept
    queue.querySelector("ul").append(item.row);
    begin(item, item.facts);
    next();
  }
}

function fail(item, why, raw) {
  Object.assign(item, { why, raw, rate: 0 });
  set(item, "failed");
  announce(`${item.file.name}: ${why}`);
}

function set(item, state) {
  item.state = state;
  if (state !== "waiting" && state !== "failed") item.why = undefined;
  if (state !== "sending") item.rate = 0;
  item.moved = Date.now();
  item.before = item.sent;
  show(item);
}

function next() {
  const all = [...items.values()];
  let free = AT_ONCE - all.filter(({ state }) => state === "sending" || state === "waiting").length;
  for (const item of all) if (free > 0 && item.state === "queued") { free--; send(item); }
  summarise();
}

// --- the page ---

function tick() {
  const now = Date.now();
  for (const item of items.values()) {
    if (item.state !== "sending") continue;
    const rate = (item.sent - item.before) / TICK_SECONDS;
    item.rate = item.rate ? item.rate * 0.8 + Math.max(0, rate) * 0.2 : Math.max(0, rate);
    item.before = item.sent;
    show(item);
    if (now - item.moved > STALLED_SECONDS * 1000 && item.sent < item.file.size) {
      item.upload.abort().then(() => { item.moved = Date.now(); item.upload.start(); });
    }
  }
  summarise();
}

// --- what was left unfinished before ---

async function forget(found) {
  tus.defaultOptions.urlStorage.removeUpload(found.urlStorageKey);
  await tus.Upload.terminate(found.uploadUrl, { retryDelays: [0, 1000, 3000] }).catch(() => {}); // it expires by itself
}

async function unfinished() {
  const found = await tus.defaultOptions.urlStorage.findAllUploads();
  byId("before").hidden = !found.length;
  byId("before").firstElementChild.textContent = some(says.up_before, found.length);
  return found;
}

function facts() {
  const given = Object.fromEntries(["camera", "recordedAt", "tags"].map((name) => [name, form.elements[name].value.trim()]));
  if (given.recordedAt) given.recordedAt = new Date(given.recordedAt).toISOString();
  return Object.fromEntries(Object.entries(given).filter(([, value]) => value));
}

const chosen = form.elements.file;
const folder = Object.assign(document.createElement("input"), { type: "file", webkitdirectory: true, hidden: true });
folder.id = "folder-chosen";
chosen.after(folder);
for (const one of document.querySelectorAll("[data-scripted]")) one.hidden = false;
chosen.multiple = true;
chosen.required = false;
chosen.closest("label").hidden = true;
byId("send").disabled = true;
byId("files").addEventListener("click", () => chosen.click());
byId("folder").addEventListener("click", () => folder.click());
for (const input of [chosen, folder]) input.addEventListener("change", () => { addAll([...input.files]); input.value = ""; });
form.addEventListener("submit", (event) => {
  event.preventDefault();
  const given = facts();
  for (const item of items.values()) if (item.state === "ready") begin(item, given);
  byId("before").hidden = true;
  next();
});
const drop = byId("drop");
for (const name of ["dragover", "dragleave", "drop"]) {
  addEventListener(name, (event) => {
    event.preventDefault(); // a file that misses the place is not opened instead of the page
    drop.classList.toggle("over", name === "dragover");
    if (name === "drop") addDropped(event.dataTransfer);
  });
}
byId("pause").addEventListener("click", () => {
  const moving = [...items.values()].filter(({ state }) => ["queued", "sending", "waiting"].includes(state));
  for (const item of moving) pause(item);
  if (!moving.length) for (const item of items.values()) if (item.state === "paused") begin(item, item.facts);
  next();
});
byId("clear").addEventListener("click", () => {
  for (const item of items.values()) if (item.state === "done") cancel(item);
});
byId("before").lastElementChild.addEventListener("click", async () => {
  for (const found of await unfinished()) forget(found);
  byId("before").hidden = true;
});
addEventListener("beforeunload", (event) => {
  if ([...items.values()].some(({ state }) => UNDER_WAY.has(state))) event.preventDefault();
});
setInterval(tick, TICK_SECONDS * 1000);
unfinished();
