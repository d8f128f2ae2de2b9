// The page of `pixelrnn serve`: no library, no build step, no request to another host.

const $ = (id) => document.getElementById(id);
const visitor = Array.from(crypto.getRandomValues(new Uint32Array(4)), (part) => part.toString(16)).join("");
let models = [];
let card = null; // of the chosen model

// ---------------------------------------------------------------- talking to the server

async function ask(path, body, type = "application/json") {
  const response = await fetch(path, {
    method: "POST",
    headers: { "Content-Type": type, "X-Visitor": visitor },
    body: type === "application/json" ? JSON.stringify(body) : body,
  });
  const told = await response.json().catch(() => ({ detail: response.statusText }));
  if (!response.ok) throw new Error(told.detail);
  return told;
}

// Open a socket for one walk; closing it stops the walk.
function walk(request, { onBegin, onPixels, onEnd, onError }) {
  const socket = new WebSocket(`${location.origin.replace(/^http/, "ws")}/walk?visitor=${visitor}`);
  let head = null, ended = false;
  const finish = (call, what) => { if (!ended) { ended = true; call(what); socket.close(); } };
  socket.binaryType = "arraybuffer";
  socket.onopen = () => socket.send(JSON.stringify(request));
  socket.onmessage = ({ data }) => {
    if (typeof data !== "string") return onPixels(unpacked(data, head.channels), head);
    const told = JSON.parse(data);
    if (told.begin) { head = told.begin; onBegin(head); }
    else if (told.error) finish(onError, told.error);
    else finish(onEnd, told.seconds);
  };
  socket.onclose = () => finish(onError, "The connection ended before the images did. Is the server still running?");
  return () => { ended = true; socket.close(); };
}

function unpacked(buffer, channels) {
  const count = new DataView(buffer).getUint32(0, true);
  const numbers = new Uint16Array(buffer, 4, 3 * count);
  const values = new Uint8Array(buffer, 4 + 6 * count);
  return Array.from({ length: count }, (_, at) => ({
    image: numbers[at], row: numbers[count + at], column: numbers[2 * count + at],
    values: values.subarray(at * channels, (at + 1) * channels),
  }));
}

const toBase64 = (bytes) => {
  let text = "";
  for (let at = 0; at < bytes.length; at += 8192) text += String.fromCharCode(...bytes.subarray(at, at + 8192));
  return btoa(text);
};
const fromBase64 = (text) => Uint8Array.from(atob(text), (letter) => letter.charCodeAt(0));

function say(problem) {
  $("message").hidden = !problem;
  $("message").textContent = problem ? String(problem.message ?? problem) : "";
}

// ---------------------------------------------------------------- images

// Some images on one canvas, in rows; every pixel of the canvas is a pixel of an image or of the gap between two.
class Sheet {
  constructor(canvas, head, side) {
    Object.assign(this, { canvas, head });
    this.columns = head.columns || Math.ceil(Math.sqrt(head.images));
    this.rows = Math.ceil(head.images / this.columns);
    canvas.width = this.columns * (head.width + 1) - 1;
    canvas.height = this.rows * (head.height + 1) - 1;
    canvas.style.width = `${canvas.width * Math.max(1, Math.floor(side / canvas.width))}px`;
    this.context = canvas.getContext("2d");
    this.pixels = this.context.createImageData(canvas.width, canvas.height);
    this.values = Array.from({ length: head.images }, () => new Uint8Array(head.height * head.width * head.channels));
    this.draw();
  }
  place(image) {
    return [Math.floor(image / this.columns) * (this.head.height + 1), (image % this.columns) * (this.head.width + 1)];
  }
  put({ image, row, column, values }) {
    const { width, channels, levels } = this.head;
    const [top, left] = this.place(image);
    const at = 4 * ((top + row) * this.canvas.width + left + column);
    for (let colour = 0; colour < 3; colour++) {
      this.pixels.data[at + colour] = Math.round((values[channels === 3 ? colour : 0] * 255) / (levels - 1));
    }
    this.pixels.data[at + 3] = 255;
    this.values[image].set(values, (row * width + column) * channels);
  }
  draw() { this.context.putImageData(this.pixels, 0, 0); }
  mark(image) { // for the keyboard
    this.draw();
    const [top, left] = this.place(image);
    this.context.strokeStyle = getComputedStyle(document.documentElement).getPropertyValue("--mark");
    this.context.strokeRect(left + 0.5, top + 0.5, this.head.width - 1, this.head.height - 1);
  }
  imageAt(event) { // which image is under the pointer
    const box = this.canvas.getBoundingClientRect();
    const row = Math.floor(((event.clientY - box.top) / box.height) * this.rows);
    return row * this.columns + Math.floor(((event.clientX - box.left) / box.width) * this.columns);
  }
  bytes(image) { // (H, W, C), 0..255
    return this.values[image].map((value) => Math.round((value * 255) / (this.head.levels - 1)));
  }
}

// An image of a sheet is chosen by a click, or by the arrow keys and Enter; `sheet` gives null while it is drawn.
function choosable(id, sheet, choose) {
  let at = 0; // the image that the keyboard is at
  $(id).addEventListener("click", (event) => {
    const image = sheet()?.imageAt(event);
    if (image < sheet()?.head.images) choose(sheet(), image);
  });
  $(id).addEventListener("keydown", (event) => {
    const found = sheet();
    if (!found) return;
    const moves = { ArrowLeft: -1, ArrowRight: 1, ArrowUp: -found.columns, ArrowDown: found.columns };
    at = Math.min(at, found.head.images - 1);
    if (event.key === "Enter") {
      choose(found, at);
      $("picture").focus();
    } else if (moves[event.key]) {
      at = Math.max(0, Math.min(found.head.images - 1, at + moves[event.key]));
      found.mark(at);
      $(id).setAttribute("aria-label", `Image ${at + 1} of ${found.head.images}`);
    } else return;
    event.preventDefault();
  });
  $(id).addEventListener("focus", () => { at = 0; });
  $(id).addEventListener("blur", () => sheet()?.draw());
}

// Shows pixels in the order in which they became final, at a speed; the walk itself is not slowed down.
class Player {
  constructor(onProgress) { Object.assign(this, { onProgress, queue: [], shown: 0, paused: false, owed: 0, last: 0 }); }
  begin(sheet) {
    Object.assign(this, { sheet, queue: [], shown: 0, owed: 0, ended: false });
    this.total = sheet.head.images * sheet.head.height * sheet.head.width;
    cancelAnimationFrame(this.frame);
    this.last = performance.now();
    this.frame = requestAnimationFrame((now) => this.tick(now));
  }
  tick(now) {
    const rate = [20, 80, 300, 1200, 5000, 25000, 1e12][$("speed").value]; // pixels a second
    if (!this.paused) this.owed = Math.min(this.owed + (rate * (now - this.last)) / 1000, this.queue.length);
    this.last = now;
    this.show(Math.floor(this.owed));
    if (this.shown < this.total && !this.ended) this.frame = requestAnimationFrame((later) => this.tick(later));
  }
  step() { this.owed = 0; this.show(1); }
  show(count) {
    if (!this.sheet) return;
    for (const pixel of this.queue.splice(0, count)) { this.sheet.put(pixel); this.shown += 1; }
    this.owed = Math.max(0, this.owed - count);
    if (count) this.sheet.draw();
    this.onProgress(this.shown, this.total);
  }
  stop() { this.ended = true; this.queue = []; }
  clear() {
    this.stop();
    this.sheet = null;
    Object.assign($("sheet"), { width: 0, height: 0 });
    $("sheet").setAttribute("aria-label", "No images are drawn yet");
  }
}

// Bytes of a picture file, cropped around its centre and resized to the model's size.
async function bytesOf(file, { width, height, channels }) {
  const picture = await createImageBitmap(file).catch(() => { throw new Error(`${file.name} is no picture that this browser can read.`); });
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  const context = canvas.getContext("2d", { willReadFrequently: true });
  const share = Math.min(picture.width / width, picture.height / height);
  const [w, h] = [width * share, height * share];
  Object.assign(context, { imageSmoothingQuality: "high", fillStyle: "white" });
  context.fillRect(0, 0, width, height);
  context.drawImage(picture, (picture.width - w) / 2, (picture.height - h) / 2, w, h, 0, 0, width, height);
  const { data } = context.getImageData(0, 0, width, height);
  const found = new Uint8Array(width * height * channels);
  for (let at = 0; at < width * height; at++) {
    const [red, green, blue] = data.subarray(4 * at, 4 * at + 3);
    if (channels === 3) found.set([red, green, blue], 3 * at);
    else found.fill(Math.round(0.299 * red + 0.587 * green + 0.114 * blue), channels * at, channels * (at + 1));
  }
  return found;
}

// ---------------------------------------------------------------- new images

const player = new Player((shown, total) => {
  $("progress").textContent = `${shown.toLocaleString()} of ${total.toLocaleString()} pixels`;
  $("sheet-hint").hidden = shown < total;
  $("sheet").dataset.shown = shown;
});
let stopSampling = () => {};

async function sample(event) {
  event?.preventDefault();
  say("");
  pause(false);
  const form = new FormData($("sample"));
  const label = form.get("label");
  const [photograph] = card.encodes ? $("like").files : [];
  const like = photograph && await bytesOf(photograph, picture.size).catch(say);
  if (photograph && !like) return;
  const conditioned = (card.classes.length && label !== "") || like;
  const request = {
    do: "sample", model: card.name, n: +form.get("n"), seed: +form.get("seed"), temperature: +form.get("temperature"),
    guidance: conditioned ? +form.get("guidance") : 1,
    ...(card.classes.length && label !== "" ? { label: +label } : {}),
    ...(like ? { like: asJson(like) } : {}),
  };
  stopSampling();
  $("sheet").setAttribute("aria-label", "Images are being drawn");
  $("sheet").dataset.state = "drawing";
  stopSampling = walk(request, {
    onBegin: (head) => {
      player.begin(Object.assign(new Sheet($("sheet"), head, 560), { label }));
      $("command").textContent = head.command;
      $("copy").hidden = !head.command;
    },
    onPixels: (pixels) => { for (const pixel of pixels) player.queue.push(pixel); },
    onEnd: (seconds) => {
      $("sheet").dataset.state = "drawn";
      $("sheet").setAttribute("aria-label", `${request.n} images by ${card.name}, drawn in ${seconds} seconds`);
    },
    onError: (problem) => { player.stop(); $("sheet").dataset.state = "failed"; say(problem); },
  });
}

$("sample").addEventListener("submit", sample);
$("sample").addEventListener("invalid", () => say(""), true); // the browser says what is wrong
$("dice").addEventListener("click", () => { $("sample").seed.value = Math.floor(Math.random() * 1e6); sample(); });
$("stop").addEventListener("click", () => { stopSampling(); player.stop(); });
$("step").addEventListener("click", () => { pause(true); player.step(); });
$("pause").addEventListener("click", () => pause(!player.paused));
$("copy").addEventListener("click", async () => {
  await navigator.clipboard.writeText($("command").textContent);
  $("copy").textContent = "Copied";
  setTimeout(() => { $("copy").textContent = "Copy"; }, 1500);
});
choosable("sheet", () => (player.shown === player.total ? player.sheet : null), lookInto);

function pause(wanted) {
  player.paused = wanted;
  $("pause").setAttribute("aria-pressed", String(wanted));
  $("pause").textContent = wanted ? "Go on" : "Pause";
}

function lookInto(sheet, image) {
  picture.set(sheet.bytes(image));
  $("picture-label").value = sheet.label; // the class that it was drawn as
  select($("tab-picture"));
}

// ---------------------------------------------------------------- a picture: look, hide, complete

const picture = {
  bytes: null, known: null, at: null, seen: null, map: null,
  get size() { return { width: card.width, height: card.height, channels: card.channels }; },
  set(bytes, known) {
    this.bytes = bytes;
    this.known = known ?? new Uint8Array(card.width * card.height).fill(1);
    Object.assign(this, { at: null, seen: null, map: null });
    $("bits").checked = false;
    $("completions").hidden = true;
    $("of-image").textContent = $("completed").textContent = "";
    $("pixel").replaceChildren(Object.assign(document.createElement("p"), { className: "hint", textContent: HINT }));
    this.draw();
  },
  level(at, colour) { // what the model sees, as a byte
    const { levels, channels } = card;
    const value = this.bytes[at * channels + (channels === 3 ? colour : 0)];
    const level = levels === 2 ? +(value > 127) : Math.floor((value * levels) / 256);
    return Math.round((level * 255) / (levels - 1));
  },
  draw() {
    const { width, height } = this.size;
    const canvas = $("picture");
    Object.assign(canvas, { width, height });
    canvas.style.width = `${width * Math.max(1, Math.floor(336 / width))}px`;
    const shown = new ImageData(width, height);
    for (let at = 0; at < width * height; at++) {
      let colour = [0, 1, 2].map((each) => this.level(at, each));
      if (this.map) colour = heat((this.map.bits[at] - this.map.low) / (this.map.high - this.map.low));
      if (!this.known[at]) colour = ((at % width) + Math.floor(at / width)) % 2 ? [110, 130, 160] : [135, 155, 185];
      if (this.seen?.has(at) && !this.map) colour = colour.map((each, index) => 0.6 * each + 0.4 * [90, 160, 255][index]);
      if (this.at === at) colour = [220, 50, 70];
      shown.data.set([...colour, 255], 4 * at);
    }
    canvas.getContext("2d").putImageData(shown, 0, 0);
    const hidden = this.known.filter((each) => !each).length;
    $("complete").disabled = !hidden;
    $("scale").hidden = !this.map;
    $("unseen").textContent = hidden && !card.any_order ? unseen(this.known, card.name) : "";
  },
  json() { return asJson(this.bytes); },
};
const asJson = (bytes) => ({ height: card.height, width: card.width, pixels: toBase64(bytes) });
const HINT = $("pixel").textContent.trim();

function unseen(known, name) {
  const first = known.indexOf(0);
  const later = known.filter((each, at) => each && at > first).length;
  if (!later) return "";
  const other = models.find((each) => each.any_order && each.levels === card.levels && each.width === card.width);
  return `${name} draws in raster order: ${later} known pixels come after a hidden one. They are kept, but what is ` +
    `drawn before them does not see them.${other ? ` ${other.name} sees all known pixels.` : ""}`;
}

function heat(share) { // dark blue over red to light yellow
  const stops = [[10, 10, 60], [110, 25, 110], [215, 60, 70], [250, 150, 40], [252, 250, 170]];
  const at = Math.max(0, Math.min(0.9999, share)) * (stops.length - 1);
  const [low, high] = [stops[Math.floor(at)], stops[Math.floor(at) + 1]];
  return low.map((each, index) => each + (high[index] - each) * (at % 1));
}

const tool = () => document.querySelector("input[name=tool]:checked").value;
const labelOf = (id) => (card.classes.length && $(id).value !== "" ? { label: +$(id).value } : {});

function brush(row, column) {
  const radius = (+$("brush").value - 1) / 2;
  const { width, height, channels } = picture.size;
  for (let y = Math.max(0, row - radius); y <= Math.min(height - 1, row + radius); y++) {
    for (let x = Math.max(0, column - radius); x <= Math.min(width - 1, column + radius); x++) {
      const at = y * width + x;
      if (tool() === "hide") picture.known[at] = 0;
      if (tool() === "show") picture.known[at] = 1;
      if (tool() === "light") picture.bytes.fill(255, at * channels, (at + 1) * channels);
      if (tool() === "dark") picture.bytes.fill(0, at * channels, (at + 1) * channels);
    }
  }
  Object.assign(picture, { seen: null, at: null, map: null });
  $("bits").checked = false;
  picture.draw();
}

let looking = false, next = null; // one pixel is asked for at a time; of those that follow, the last
async function lookAt(row, column) {
  Object.assign(picture, { at: row * card.width + column, seen: null });
  picture.draw();
  next = [row, column];
  if (looking) return;
  looking = true;
  while (next) {
    const [place, bytes] = [next, picture.bytes];
    next = null;
    const request = { model: card.name, picture: picture.json(), row: place[0], column: place[1], ...labelOf("picture-label") };
    const found = await ask("api/look-at", request).catch(say);
    if (!found || next || bytes !== picture.bytes) continue; // the pointer has moved on
    picture.seen = new Set(found.seen);
    picture.draw();
    showPixel(...place, found);
  }
  looking = false;
}

function showPixel(row, column, { values, bits, pmf, seen }) {
  const make = (tag, properties) => Object.assign(document.createElement(tag), properties);
  const names = card.channels === 3 ? ["red", "green", "blue"] : card.channels === 1 ? ["level"] : values.map((_, at) => `channel ${at}`);
  const parts = [make("h2", { textContent: `Row ${row}, column ${column}` })];
  pmf.forEach((levels, colour) => {
    const canvas = make("canvas", { width: Math.max(levels.length * 2, 256), height: 96 });
    bars(canvas, levels, values[colour]);
    const chance = levels[values[colour]];
    const text = `${names[colour]} ${values[colour]}: probability ${chance < 0.001 ? chance.toExponential(1) : chance.toFixed(3)}, ${bits[colour].toFixed(2)} bits`;
    canvas.setAttribute("role", "img");
    canvas.setAttribute("aria-label", `Probabilities of the levels 0 to ${levels.length - 1}`);
    const axis = make("p", { className: "scale" });
    const most = `the probability of each level, up to ${Math.max(...levels).toFixed(3)}`;
    axis.append(...["0", most, levels.length - 1].map((each) => make("span", { textContent: each })));
    parts.push(make("p", { textContent: text, className: "hint" }), canvas, axis);
  });
  parts.push(make("p", { className: "hint", textContent: `It depends on ${seen.length} earlier pixels (blue).` }));
  $("pixel").replaceChildren(...parts);
}

function bars(canvas, levels, value) {
  const context = canvas.getContext("2d");
  const style = getComputedStyle(document.documentElement);
  const wide = canvas.width / levels.length, most = Math.max(...levels);
  levels.forEach((chance, level) => {
    context.fillStyle = style.getPropertyValue(level === value ? "--mark" : "--accent");
    const high = Math.max(1, (chance / most) * canvas.height);
    context.fillRect(level * wide, canvas.height - high, Math.max(1, wide - (wide > 3 ? 1 : 0)), high);
  });
}

function showScale({ low, high }) {
  const context = $("scale-colours").getContext("2d");
  const colours = new ImageData(128, 1);
  for (let at = 0; at < 128; at++) colours.data.set([...heat(at / 127), 255], 4 * at);
  context.putImageData(colours, 0, 0);
  $("scale-low").textContent = `${low.toFixed(2)} bits`;
  $("scale-high").textContent = `${high.toFixed(2)} bits`;
}

async function showBits() {
  picture.map = null;
  if ($("bits").checked) {
    const request = { model: card.name, picture: picture.json(), ...labelOf("picture-label") };
    const found = await ask("api/look", request).catch(say);
    if (!found) { $("bits").checked = false; return; }
    const bits = new Float32Array(fromBase64(found.bits).buffer);
    const sorted = Float32Array.from(bits).sort();
    picture.map = { bits, low: sorted[0], high: Math.max(sorted[Math.floor(0.995 * (sorted.length - 1))], sorted[0] + 1e-6) };
    const label = $("picture-label").selectedOptions[0]?.textContent;
    const given = card.classes.length ? `, given ${label === "any" ? "no class" : `the class ${label}`}` : "";
    const hidden = picture.known.every(Boolean) ? "" : ", what is hidden included";
    $("of-image").textContent = `The image takes ${found.total.toFixed(1)} bits${given}${hidden}: ${found.per_dimension.toFixed(4)} ` +
      "bits/dim. The map shows the bits per dimension of each pixel.";
    showScale(picture.map);
  } else $("of-image").textContent = "";
  picture.draw();
}

const where = (event) => {
  const box = $("picture").getBoundingClientRect();
  const place = (share, length) => Math.max(0, Math.min(length - 1, Math.floor(share * length)));
  return [place((event.clientY - box.top) / box.height, card.height), place((event.clientX - box.left) / box.width, card.width)];
};
let painting = false, waiting = null;
$("picture").addEventListener("pointerdown", (event) => {
  painting = tool() !== "look";
  if (painting) { $("picture").setPointerCapture(event.pointerId); brush(...where(event)); } else lookAt(...where(event));
});
$("picture").addEventListener("pointermove", (event) => {
  if (painting) return brush(...where(event));
  if (tool() !== "look" || event.pointerType === "touch") return;
  clearTimeout(waiting);
  const place = where(event);
  waiting = setTimeout(() => lookAt(...place), 60);
});
for (const end of ["pointerup", "pointercancel"]) $("picture").addEventListener(end, () => { painting = false; });
$("picture").addEventListener("pointerleave", () => {
  clearTimeout(waiting);
  if (picture.seen) { picture.seen = null; picture.draw(); }
});
$("picture").addEventListener("keydown", (event) => {
  const moves = { ArrowUp: [-1, 0], ArrowDown: [1, 0], ArrowLeft: [0, -1], ArrowRight: [0, 1] };
  const at = picture.at ?? 0;
  const [row, column] = [Math.floor(at / card.width), at % card.width];
  if (event.key === " " && tool() !== "look") { brush(row, column); picture.at = at; picture.draw(); }
  else if (moves[event.key]) {
    const place = [row + moves[event.key][0], column + moves[event.key][1]];
    if (place[0] < 0 || place[1] < 0 || place[0] >= card.height || place[1] >= card.width) return;
    if (tool() === "look") lookAt(...place);
    else { picture.at = place[0] * card.width + place[1]; picture.draw(); }
  } else return;
  event.preventDefault();
});

$("upload").addEventListener("change", async () => {
  say("");
  const [file] = $("upload").files;
  if (file) await bytesOf(file, picture.size).then((bytes) => picture.set(bytes)).catch(say);
  $("upload").value = ""; // so that the same file can be chosen again
});
const hideRows = (wanted) => {
  picture.known = picture.known.map((_, at) => +!wanted(Math.floor(at / card.width)));
  picture.draw();
};
$("hide-top").addEventListener("click", () => hideRows((row) => row < card.height / 2));
$("hide-bottom").addEventListener("click", () => hideRows((row) => row >= card.height / 2));
$("show-all").addEventListener("click", () => hideRows(() => false));
$("clear").addEventListener("click", () => picture.set(new Uint8Array(card.width * card.height * card.channels)));
$("bits").addEventListener("change", showBits);
$("picture-label").addEventListener("change", () => {
  if ($("bits").checked) showBits();
  if (picture.at !== null) lookAt(Math.floor(picture.at / card.width), picture.at % card.width);
});

let stopCompleting = () => {};
let completions = null; // the sheet of them, once all are drawn
choosable("completions", () => completions, (sheet, image) => picture.set(sheet.bytes(image)));
$("complete").addEventListener("click", () => {
  say("");
  if (!$("picture-seed").reportValidity()) return;
  stopCompleting();
  const request = {
    do: "complete", model: card.name, picture: picture.json(), known: toBase64(picture.known), n: 4,
    seed: +$("picture-seed").value, ...labelOf("picture-label"),
  };
  let sheet = null;
  completions = null;
  $("completions").dataset.state = "drawing";
  stopCompleting = walk(request, {
    onBegin: (head) => { $("completions").hidden = false; sheet = new Sheet($("completions"), head, 336); },
    onPixels: (pixels) => { pixels.forEach((pixel) => sheet.put(pixel)); sheet.draw(); },
    onEnd: (seconds) => {
      $("completions").dataset.state = "drawn";
      $("completions").setAttribute("aria-label", "Four completions of the picture");
      $("completed").textContent = `Four completions, ${seconds} s. Click on one to take it as the picture.`;
      completions = sheet;
    },
    onError: say,
  });
});

// ---------------------------------------------------------------- compress

async function takeFile(file) {
  say("");
  for (const id of ["sizes", "download", "restored"]) $(id).hidden = true;
  if (file.size > 5 * 2 ** 20) return say(`${file.name} has more than 5 MB. Use:  pixelrnn compress`);
  const archive = file.name.endsWith(".prnn");
  $("compressing").textContent = archive ? "Restoring ..." : "Reading the picture ...";
  try {
    if (archive) await restore(file); else await compress(file);
  } catch (problem) { $("compressing").textContent = ""; say(problem); }
}

async function compress(file) {
  const bitmap = await createImageBitmap(file).catch(() => null);
  const gray = bitmap && isGray(bitmap);
  const exact = models.filter((each) => each.compresses && each.levels === 256);
  const used = exact.find((each) => each.channels === (gray ? 1 : 3)) ?? exact[0];
  if (!used) throw new Error("None of these models compresses: start the page with  pixelrnn serve photo photo-gray");
  const other = exact.find((each) => each.channels !== used.channels);
  const by = (model) => {
    const pixels = bitmap ? `${bitmap.width} x ${bitmap.height} pixels ` : "";
    $("compressing").textContent = `${model.name} compresses ${pixels}and checks the result ...`;
    const [used, name] = [model.name, file.name.slice(-255)].map(encodeURIComponent);
    return ask(`api/compress?model=${used}&name=${name}`, file, "image/*");
  };
  let [found, model] = [null, used];
  try { found = await by(used); }
  catch (problem) { // a gray picture that is stored as colours, or the other way round
    if (!other || !/Choose another model/.test(problem.message)) throw problem;
    [found, model] = [await by(other), other];
  }
  const most = Math.max(...Object.values(found.sizes));
  $("sizes").tBodies[0].replaceChildren(...Object.entries(found.sizes).map(([name, bytes]) => {
    const row = document.createElement("tr");
    const bar = Object.assign(document.createElement("span"), { className: "size" });
    bar.style.width = `${(100 * bytes) / most}%`;
    for (const cell of [name, bytes.toLocaleString(), bar]) row.insertCell().append(cell);
    return row;
  }));
  $("compressing").textContent = `By the model ${model.name}. Decompressed and compared: every pixel is the same.`;
  offer(fromBase64(found.data), `${file.name.replace(/\.[^.]*$/, "")}.prnn`, "application/octet-stream");
  $("sizes").hidden = false;
}

function isGray(bitmap) {
  const canvas = Object.assign(document.createElement("canvas"), { width: 64, height: 64 });
  const context = canvas.getContext("2d");
  context.drawImage(bitmap, 0, 0, 64, 64);
  const { data } = context.getImageData(0, 0, 64, 64);
  for (let at = 0; at < data.length; at += 4) if (data[at] !== data[at + 1] || data[at] !== data[at + 2]) return false;
  return true;
}

async function restore(file) {
  const found = await ask("api/decompress", file, "application/octet-stream");
  const bytes = fromBase64(found.png);
  offer(bytes, found.name.endsWith(".png") ? found.name.split("/").pop() : `${found.name}.png`, "image/png");
  $("restored").src = $("download").href;
  $("restored").alt = `The picture ${found.name}`;
  $("restored").hidden = false;
  $("compressing").textContent = found.images > 1 ? `The first of ${found.images} pictures.` : "Restored exactly.";
}

function offer(bytes, name, type) {
  URL.revokeObjectURL($("download").href);
  Object.assign($("download"), { href: URL.createObjectURL(new Blob([bytes], { type })), download: name, hidden: false });
  $("download").textContent = `Download ${name} (${bytes.length.toLocaleString()} bytes)`;
}

$("file").addEventListener("change", async () => {
  if ($("file").files[0]) await takeFile($("file").files[0]);
  $("file").value = "";
});
for (const kind of ["dragover", "dragleave", "drop"]) {
  $("drop").addEventListener(kind, (event) => {
    event.preventDefault();
    $("drop").classList.toggle("over", kind === "dragover");
    if (kind === "drop" && event.dataTransfer.files[0]) takeFile(event.dataTransfer.files[0]);
  });
}

// ---------------------------------------------------------------- between two

let stopBetween = () => {};
$("interpolate").addEventListener("click", async () => {
  say("");
  if (!$("between-seed").reportValidity()) return;
  const end = async (id) => {
    const [file] = $(id).files;
    if (!card.encodes) return +$(`${id}-label`).value;
    if (!file) throw new Error("Choose two pictures first.");
    return asJson(await bytesOf(file, picture.size));
  };
  try {
    const [first, last] = await Promise.all(["first", "last"].map(end));
    stopBetween();
    let sheet = null;
    const request = { do: "interpolate", model: card.name, first, last, seed: +$("between-seed").value };
    stopBetween = walk(request, {
      onBegin: (head) => { $("between").hidden = false; sheet = new Sheet($("between"), head, 640); },
      onPixels: (pixels) => { pixels.forEach((pixel) => sheet.put(pixel)); sheet.draw(); },
      onEnd: (seconds) => {
        $("between").setAttribute("aria-label", "Samples from the first to the last, left to right");
        $("between").dataset.state = "drawn";
        $("between-hint").textContent = `From the first, left, to the last, right; each row has its own random numbers. ${seconds} s.`;
      },
      onError: say,
    });
  } catch (problem) { say(problem); }
});

// ---------------------------------------------------------------- models, tabs, theme

function choose(name) {
  card = models.find((each) => each.name === name);
  const of = `${card.height}x${card.width}, ${card.channels === 3 ? "RGB" : card.channels === 1 ? "gray" : `${card.channels} channels`}`;
  const figures = card.figures.length ? `; ${card.figures.slice(-2).join(", ")}` : "";
  $("card").textContent = `${card.summary} — ${card.network}, ${of}, ${card.levels} levels, ` +
    `${card.parameters.toLocaleString()} parameters${card.any_order ? ", any generation order" : ""}${figures}`;
  for (const select of [$("sample").label, $("picture-label")]) {
    select.replaceChildren(new Option("any", ""), ...card.classes.map((each, number) => new Option(each, number)));
  }
  for (const id of ["first-label", "last-label"]) {
    $(id).replaceChildren(...card.classes.map((each, number) => new Option(each, number)));
    $(id).value = id === "first-label" ? 0 : card.classes.length - 1;
  }
  for (const each of document.querySelectorAll("[data-for=classes]")) each.hidden = !card.classes.length;
  for (const each of document.querySelectorAll("[data-for=codes]")) each.hidden = !card.encodes;
  for (const each of document.querySelectorAll("[data-for=conditions]")) each.hidden = !card.classes.length && !card.encodes;
  $("like").value = "";
  const between = (each) => each.encodes || each.classes.length > 1;
  $("tab-between").hidden = !models.some(between);
  $("interpolate").disabled = !between(card);
  const others = models.filter(between).map((each) => each.name).join(", ");
  $("between-hint").textContent = between(card) ? "" : `${card.name} has neither classes nor codes of pictures. Choose ${others} above.`;
  stopSampling(); stopCompleting(); stopBetween(); player.clear();
  for (const id of ["completions", "between", "copy", "sheet-hint"]) $(id).hidden = true;
  for (const id of ["command", "progress", "completed"]) $(id).textContent = "";
  if (picture.bytes?.length === card.width * card.height * card.channels && picture.known.length === card.width * card.height) {
    picture.set(picture.bytes, picture.known); // the same picture, seen by another model
  } else {
    const drawn = picture.bytes?.some(Boolean);
    picture.set(new Uint8Array(card.width * card.height * card.channels));
    if (drawn) $("of-image").textContent = `The picture before was of another size or colour than those of ${card.name}.`;
  }
  say("");
}
$("model").addEventListener("change", () => choose($("model").value));

const tabs = [...document.querySelectorAll("[role=tab]")];
function select(tab) {
  for (const each of tabs) {
    each.setAttribute("aria-selected", String(each === tab));
    each.tabIndex = each === tab ? 0 : -1;
    $(each.getAttribute("aria-controls")).hidden = each !== tab;
  }
}
for (const tab of tabs) {
  tab.addEventListener("click", () => select(tab));
  tab.addEventListener("keydown", (event) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (!step) return;
    const shown = tabs.filter((each) => !each.hidden);
    const next = shown[(shown.indexOf(tab) + step + shown.length) % shown.length];
    select(next);
    next.focus();
  });
}

const dark = matchMedia("(prefers-color-scheme: dark)");
const setTheme = (theme) => { document.documentElement.dataset.theme = theme; };
setTheme(localStorage.getItem("theme") ?? (dark.matches ? "dark" : "light"));
dark.addEventListener("change", () => setTheme(dark.matches ? "dark" : "light"));
$("theme").addEventListener("click", () => {
  setTheme(document.documentElement.dataset.theme === "dark" ? "light" : "dark");
  localStorage.setItem("theme", document.documentElement.dataset.theme);
});

fetch("api/models").then((response) => response.json()).then((found) => {
  models = found;
  $("model").replaceChildren(...models.map((each) => new Option(each.name, each.name)));
  choose(models[0].name);
  document.body.dataset.ready = "true";
}).catch(() => say("The server does not answer. Is it still running?"));
