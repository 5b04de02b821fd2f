"use strict";
// Draws the picture of an image file. The data is JSON in the element "data"; all
// texts in it come from Go, ready to be shown, and become text, never markup.

const data = JSON.parse(document.getElementById("data").textContent);
const square = BigInt(data.square), from = BigInt(data.from), fileSize = BigInt(data.fileSize);
const byId = id => document.getElementById(id);
const map = byId("map"), scatter = byId("scatter"), info = byId("info");
const looks = new Map([...data.classes, ...data.levels].map(look => [look.letter, look]));
const kinds = new Map(data.classes.map(look => [look.key, look]));

let colours;      // of the letters, as the page has them now
let grid;         // how the squares of the map lie
let chosen = -1;  // the square that was clicked

// element returns a new element with a class and children, which are elements or
// texts.
function element(tag, name, ...children) {
  const e = document.createElement(tag);
  if (name) e.className = name;
  e.append(...children);
  return e;
}

// swatch returns a box of the colour of a look.
function swatch(look) { return element("span", "swatch shade-" + look.key); }

function size(bytes) {
  let n = Number(bytes), unit = 0;
  for (; n >= 1024 && unit < 6; unit++) n /= 1024;
  const digits = unit === 0 || n === Math.round(n) ? 0 : n >= 100 ? 1 : 2;
  return n.toFixed(digits) + " " + ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"][unit];
}

const hex = n => "0x" + n.toString(16);
const count = (n, one, many) => n + " " + (n === 1 ? one : many);

// letters returns the letters of the squares: by need or by runs.
const byRuns = () => document.querySelector("input[name=by]:checked").value === "runs";
const letters = () => byRuns() ? data.runs : data.need;

// lookUpColours asks the page for the colours, which depend on light and dark.
function lookUpColours() {
  colours = new Map();
  for (const [letter, look] of looks) {
    const probe = element("i", "shade-" + look.key);
    document.body.append(probe);
    colours.set(letter, getComputedStyle(probe).backgroundColor);
    probe.remove();
  }
}

// canvasOf returns the drawing context of a canvas of a size in pixels of the page.
function canvasOf(canvas, width, height) {
  const scale = window.devicePixelRatio || 1;
  canvas.width = Math.round(width * scale);
  canvas.height = Math.round(height * scale);
  canvas.style.height = height + "px";
  const context = canvas.getContext("2d");
  context.scale(scale, scale);
  return context;
}

// layOut decides how large squares are, and how many are in a line.
function layOut() {
  const width = map.clientWidth, axis = 80, n = Math.max(data.need.length, 1);
  const step = Math.min(Math.max(Math.floor(Math.sqrt((width - axis) * width * 0.42 / n)), 2), 14);
  let columns = Math.max(Math.floor((width - axis) / step), 1);
  if (columns >= 32) columns -= columns % 16; // so that lines begin at round addresses
  grid = { axis, step, columns, rows: Math.ceil(n / columns), gap: step >= 4 ? 1 : 0 };
}

function drawMap() {
  layOut();
  const { axis, step, columns, rows, gap } = grid;
  const context = canvasOf(map, map.clientWidth, rows * step + 6);
  const style = getComputedStyle(document.body);
  context.font = "12px " + style.fontFamily;
  context.fillStyle = style.color;
  context.textAlign = "right";
  const every = Math.max(Math.ceil(40 / step), 1);
  for (let row = 0; row < rows; row += every) {
    context.fillText(size(from + square * BigInt(row * columns)), axis - 8, row * step + Math.max(step, 10));
  }
  const text = letters();
  for (let i = 0; i < text.length; i++) {
    context.fillStyle = colours.get(text[i]);
    context.fillRect(axis + i % columns * step, Math.floor(i / columns) * step, step - gap, step - gap);
  }
  if (chosen >= 0) {
    context.strokeStyle = style.color;
    context.lineWidth = 2;
    context.strokeRect(axis + chosen % columns * step - 1, Math.floor(chosen / columns) * step, step + 1, step + 1);
  }
  byId("scale").textContent = "one square = " + (square === BigInt(data.clusterSize) ? "one cluster of " + size(square)
    : count(Number(square / BigInt(data.clusterSize)), "cluster", "clusters") + ", " + size(square)) + ", one line = " + size(square * BigInt(columns));
}

// squareAt returns the square at a point of the map, -1 if there is none.
function squareAt(event) {
  const box = map.getBoundingClientRect(), { axis, step, columns } = grid;
  const column = Math.floor((event.clientX - box.left - axis) / step);
  const i = Math.floor((event.clientY - box.top) / step) * columns + column;
  return column >= 0 && column < columns && i >= 0 && i < data.need.length ? i : -1;
}

// rangeAt returns the range of host clusters that a square of one cluster is in.
function rangeAt(i) {
  let low = 0, high = data.ranges.length - 1;
  while (low < high) {
    const middle = low + high + 1 >> 1;
    if (data.ranges[middle].first <= i) low = middle; else high = middle - 1;
  }
  return data.ranges[low];
}

// describe returns what a square holds: in one line, and more below.
function describe(i, start, length) {
  const first = start / BigInt(data.clusterSize);
  if (!data.ranges) {
    const [runs, longest, ...parts] = data.squares[i];
    const last = (start + length - 1n) / BigInt(data.clusterSize);
    const shares = [];
    for (let k = 0; k < parts.length; k += 2) shares.push([data.classes[parts[k]], parts[k + 1]]);
    return {
      line: hex(start) + " (#" + first + "–#" + last + "), " + size(length),
      more: shares.map(([look, bytes]) => [swatch(look), look.title + " " + size(bytes) + "  "]).flat(),
      end: count(runs, "run begins", "runs begin") + " here; the longest that touches it has " + size(longest),
    };
  }
  const range = rangeAt(i), at = i - range.first, look = looks.get(data.need[i]), words = [];
  if (range.index !== undefined) words.push("index " + (range.index + at));
  if (range.guest) words.push("guest " + hex(BigInt(range.guest) + BigInt(at) * BigInt(data.clusterSize)));
  if (range.owner) words.push(range.owner);
  words.push(count(range.references, "reference", "references"));
  if (range.refcount !== undefined) words.push("refcount " + range.refcount);
  if (range.problems) words.push(range.problems);
  return {
    line: hex(start) + " (#" + first + "): " + range.kind,
    more: [swatch(look), look.title + " · " + words.join(" · ")],
    end: range.run === 1 ? "a run of one cluster" : "cluster " + (at + 1) + " of a run of " + range.run,
  };
}

// command returns what to type to learn more of a square.
function command(start, length) {
  const where = data.ranges ? "--at " + hex(start) : "--offset " + hex(start) + " --length " + hex(length);
  return "qinspect host " + where + " " + data.file;
}

// show tells what a square holds; with the command once it is chosen.
function show(i, withCommand) {
  const start = from + square * BigInt(i);
  const length = start + square > fileSize ? fileSize - start : square;
  const words = describe(i, start, length);
  const lines = [element("div", "", element("strong", "", words.line)), element("div", "", ...words.more), element("div", "faint", words.end)];
  if (withCommand) {
    const code = element("code", "", command(start, length)), button = element("button", "", "Copy");
    button.type = "button";
    button.addEventListener("click", () => copy(code, button));
    lines.push(element("div", "", code, button));
  }
  info.replaceChildren(...lines);
}

// copy puts a command into the clipboard, or where the page may not, selects it.
async function copy(code, button) {
  try {
    await navigator.clipboard.writeText(code.textContent);
    button.textContent = "Copied";
  } catch {
    getSelection().selectAllChildren(code);
    button.textContent = "Selected: copy it";
  }
}

function choose(i) {
  chosen = i;
  drawMap();
  if (i < 0) info.replaceChildren(info.dataset.hint); else show(i, true);
}

// steps are how far a key moves on the map, in squares and in lines.
const steps = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1], PageUp: [0, -10], PageDown: [0, 10] };

function pressed(event) {
  const last = data.need.length - 1;
  let to = { Home: 0, End: last }[event.key];
  if (steps[event.key]) {
    const [squares, lines] = steps[event.key];
    to = chosen < 0 ? 0 : chosen + squares + lines * grid.columns;
  }
  if (event.key === "Escape") choose(-1);
  if (to === undefined || last < 0) return;
  event.preventDefault();
  choose(Math.min(Math.max(to, 0), last));
}

function drawScatter() {
  const { columns, rows, classes, density } = data.scatter, width = scatter.clientWidth, height = Math.round(width * rows / Math.max(columns, 1));
  const context = canvasOf(scatter, width, height);
  const dx = width / columns, dy = height / rows;
  for (let row = 0; row < rows; row++) {
    for (let column = 0; column < columns; column++) {
      const letter = classes[row][column];
      if (letter === " ") continue;
      context.globalAlpha = 0.4 + 0.6 * Number(density[row][column]) / 9;
      context.fillStyle = colours.get(letter);
      context.fillRect(column * dx, row * dy, Math.max(dx, 1.5), Math.max(dy, 1.5));
    }
  }
}

function draw() {
  lookUpColours();
  drawMap();
  if (data.scatter.columns) drawScatter();
}

// measure returns a bar of parts, each a share of the widest of its list.
function measure(parts, most) {
  return element("span", "measure", ...parts.map(([key, n]) => {
    const part = element("span", "shade-" + key);
    part.style.width = 100 * n / Math.max(most, 1) + "%";
    return part;
  }));
}

function fillBarAndLegend() {
  const all = data.classes.reduce((sum, look) => sum + look.bytes, 0);
  for (const look of data.classes.filter(look => look.bytes > 0)) {
    const part = element("span", "shade-" + look.key);
    part.style.width = 100 * look.bytes / all + "%";
    part.title = look.title;
    byId("bar").append(part);
    byId("need").append(element("li", "", swatch(look), look.title + " ", element("span", "faint", size(look.bytes) + " · " + look.share)));
  }
  for (const look of data.levels) byId("lengths").append(element("li", "", swatch(look), look.title));
}

function fillLists() {
  const widest = Math.max(...data.owners.map(o => o.exclusive + o.shared), 1);
  for (const o of data.owners) {
    byId("owners").append(element("span", "name", o.name), measure([[o.look, o.exclusive], ["shared", o.shared]], widest),
      element("span", "faint", size(o.exclusive) + " only here, " + size(o.shared) + " shared"));
  }
  const largest = Math.max(...data.gaps.map(g => g.bytes), 1);
  for (const g of data.gaps) {
    byId("gaps").append(element("span", "", "from " + size(g.min)), measure([["free", g.bytes]], largest),
      element("span", "faint", count(g.runs, "gap", "gaps") + ", " + size(g.bytes)));
  }
  for (const p of data.problems) byId("problems").append(element("li", "", p));
  for (const [id, list] of [["owners", data.owners], ["gaps", data.gaps]]) {
    if (list.length === 0) byId(id).closest("section").hidden = true;
  }
  byId("problems").hidden = data.problems.length === 0;
  if (!data.scatter.columns) scatter.closest("section").hidden = true;
  byId("axes").textContent = "Across: the disk, 0 to " + size(data.scatter.guestSize) + ". Down: the file, 0 to " + size(fileSize) + ".";
}

// changed follows a choice of what colours the squares.
function changed() {
  byId("lengths").hidden = !byRuns();
  drawMap();
}

fillBarAndLegend();
fillLists();
info.dataset.hint = info.textContent;
for (const input of document.querySelectorAll("input[name=by]")) input.addEventListener("change", changed);
map.addEventListener("click", event => { const i = squareAt(event); if (i >= 0) choose(i); });
map.addEventListener("mousemove", event => { const i = squareAt(event); if (i >= 0 && chosen < 0) show(i, false); });
map.addEventListener("keydown", pressed);
scatter.addEventListener("click", event => {
  const box = scatter.getBoundingClientRect();
  const at = BigInt(Math.floor((event.clientY - box.top) / box.height * 1e6)) * fileSize / 1000000n;
  if (at >= from) choose(Math.min(Number((at - from) / square), data.need.length - 1));
});
matchMedia("(prefers-color-scheme: dark)").addEventListener("change", draw);
let waiting;
addEventListener("resize", () => { clearTimeout(waiting); waiting = setTimeout(draw, 100); });
draw();
document.documentElement.dataset.ready = "true";
