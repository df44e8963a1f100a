"use strict";
// Arrays, and rows of numbers drawn as strips of colour on a canvas.

const PLUS = [217, 84, 30];
const MINUS = [47, 127, 214];

/** Turn packed base64 into {shape, values}; quantized values are multiplied by their scale. */
function unpack(packed) {
  const bytes = Uint8Array.from(atob(packed.base64), (letter) => letter.charCodeAt(0));
  const kinds = { float32: Float32Array, float64: Float64Array, int16: Int16Array };
  const raw = new kinds[packed.dtype](bytes.buffer);
  const values = packed.scale === undefined ? raw : Float64Array.from(raw, (x) => x * packed.scale);
  return { shape: packed.shape, values, dtype: packed.dtype, step: packed.scale };
}

/** Return the last axis of an array at an index of the axes before it. */
function rowOf(array, ...index) {
  const length = array.shape[array.shape.length - 1];
  let place = 0;
  index.forEach((number, axis) => { place = place * array.shape[axis] + number; });
  return array.values.subarray(place * length, (place + 1) * length);
}

/** The size that all but one of a hundred values stay within. */
function scaleOf(...rows) {
  const sizes = Float64Array.from(rows.flatMap((row) => Array.from(row, Math.abs))).sort();
  return sizes[Math.ceil((sizes.length - 1) * 0.99)] || sizes[sizes.length - 1] || 1;
}

/** A number with the digits that its array has: all of its dtype's, or what a step can tell. */
function written(value, { dtype, step }) {
  if (step === undefined) return String(Number(value.toPrecision(dtype === "float32" ? 9 : 17)));
  return value.toFixed(Math.min(Math.max(Math.floor(-Math.log10(step)), 0), 20));
}

/** Put a value's words where they are read, in sight until another place is read. */
function say(readout, words) {
  document.querySelectorAll(".live").forEach((other) => other.classList.remove("live"));
  readout.textContent = words;
  readout.classList.add("live");
}

/** Paint rows of cells into a canvas, each `wide` and `high` pixels large, with a gap below. */
function paint(canvas, rows, scales, { wide = 1, high = 12, gap = 2 } = {}) {
  const columns = rows[0].length;
  canvas.width = columns * wide;
  canvas.height = rows.length * (high + gap);
  const image = new ImageData(canvas.width, canvas.height);
  rows.forEach((row, number) => {
    for (let column = 0; column < columns; column += 1) {
      const value = row[column];
      const alpha = Math.round(255 * Math.min(Math.abs(value) / scales[number], 1));
      const pixel = [...(value >= 0 ? PLUS : MINUS), alpha];
      for (let y = number * (high + gap); y < number * (high + gap) + high; y += 1) {
        for (let x = column * wide; x < (column + 1) * wide; x += 1) {
          image.data.set(pixel, 4 * (y * canvas.width + x));
        }
      }
    }
  });
  canvas.getContext("2d").putImageData(image, 0, 0);
}

/** Strips of colour with a cursor that the mouse and the arrow keys move. */
class Strips {
  constructor(place, readout, label) {
    this.readout = readout;
    this.canvas = document.createElement("canvas");
    this.canvas.tabIndex = 0;
    this.canvas.setAttribute("role", "application");
    this.canvas.setAttribute("aria-roledescription", "strips of colour");
    this.canvas.setAttribute("aria-label", `${label}. Arrow keys move from value to value.`);
    this.cursor = document.createElement("span");
    this.cursor.className = "cursor";
    this.cursor.hidden = true;
    this.frame = document.createElement("div");
    this.frame.append(this.canvas, this.cursor);
    place.replaceChildren(this.frame);
    this.at = [0, 0];
    this.canvas.addEventListener("pointermove", (event) => this.point(event));
    this.canvas.addEventListener("pointerdown", (event) => this.point(event));
    this.canvas.addEventListener("pointerleave", () => this.leave());
    this.canvas.addEventListener("focus", () => this.move(this.at));
    this.canvas.addEventListener("blur", () => this.leave());
    this.canvas.addEventListener("keydown", (event) => this.key(event));
  }

  /** Draw rows; `describe(row, column)` says what a cell is. What was being read is read anew. */
  draw(rows, scales, describe) {
    const columns = rows[0].length;
    this.size = [rows.length, columns];
    this.describe = describe;
    this.high = rows.length > 1 ? 14 : 30;
    paint(this.canvas, rows, scales, {
      wide: Math.max(1, Math.floor(1200 / columns)), high: this.high - 2,
    });
    this.canvas.style.height = `${rows.length * this.high}px`;
    this.frame.style.minWidth = `${Math.min(columns, 1024)}px`;
    if (this.readout.source === this) say(this.readout, this.describe(...this.at));
  }

  point(event) {
    const box = this.canvas.getBoundingClientRect();
    const [rows, columns] = this.size;
    this.move([
      Math.floor(((event.clientY - box.top) / box.height) * rows),
      Math.floor(((event.clientX - box.left) / box.width) * columns),
    ]);
  }

  key(event) {
    const [row, column] = this.at;
    const steps = {
      ArrowUp: [row - 1, column], ArrowDown: [row + 1, column],
      ArrowLeft: [row, column - 1], ArrowRight: [row, column + 1],
      PageUp: [row, column - 10], PageDown: [row, column + 10],
      Home: [row, 0], End: [row, this.size[1] - 1],
    };
    const next = steps[event.key];
    if (next === undefined) return;
    event.preventDefault();
    if (next[0] < 0 && this.before) this.before.enter(this.before.size[0] - 1, column);
    else if (next[0] >= this.size[0] && this.after) this.after.enter(0, column);
    else this.move(next);
    this.cursor.scrollIntoView({ block: "nearest", inline: "nearest" });
  }

  /** Take the focus from a neighbour; of all of them one can be reached by Tab. */
  enter(row, column) {
    this.at = [row, column];
    this.canvas.focus();
  }

  move([row, column]) {
    const [rows, columns] = this.size;
    this.at = [Math.min(Math.max(row, 0), rows - 1), Math.min(Math.max(column, 0), columns - 1)];
    this.readout.source = this;
    say(this.readout, this.describe(...this.at));
    Object.assign(this.cursor.style, {
      left: `${(100 * this.at[1]) / columns}%`, width: `${100 / columns}%`,
      top: `${this.at[0] * this.high - 1}px`, height: `${this.high}px`,
    });
    this.cursor.hidden = false;
  }

  leave() {
    if (document.activeElement !== this.canvas) this.cursor.hidden = true;
  }
}

/** Make a column of strips one stop of the Tab key: the arrows lead from one to the next. */
function chain(strips) {
  strips.forEach((one, number) => {
    one.before = strips[number - 1];
    one.after = strips[number + 1];
    one.canvas.tabIndex = number ? -1 : 0;
    one.canvas.addEventListener("focus", () => strips.forEach((other) => {
      other.canvas.tabIndex = other === one ? 0 : -1;
    }));
  });
}
