// Token-by-token maps: a wall of small ones to choose from, and the chosen one as a table.

/** Text that runs its own way, whatever stands around it. */
const isolated = (text) => `\u2066${text}\u2069`;

/** A token as its label, with its position where there is more than one like it. */
function labelOf(token, tokens) {
  const same = tokens.filter((other) => other.text === token.text).length;
  return isolated(token.text) + (same > 1 ? ` @${token.position}` : "");
}

/** A token within a sentence. */
const quotedLabel = (label) => `“${label}”`;

/** Say which cell of a row of numbers keys lead to; undefined for any other key. */
function stepsTo(key, row, column, last) {
  return {
    ArrowUp: [row - 1, column], ArrowDown: [row + 1, column],
    ArrowLeft: [row, column - 1], ArrowRight: [row, column + 1],
    Home: [row, 0], End: [row, last],
  }[key];
}

/** A map as a table, in which arrow keys move from cell to cell. */
class Grid {
  constructor(table, readout, rows, columns, walked) {
    this.readout = readout;
    this.cells = [];
    const head = document.createElement("tr");
    head.append(document.createElement("td"));
    this.columns = columns.map((label, number) => this.header(label, "col", number === walked));
    head.append(...this.columns);
    const body = document.createElement("tbody");
    this.rows = rows.map((label, number) => this.header(label, "row", number === walked));
    this.rows.forEach((header) => {
      const line = document.createElement("tr");
      line.append(header);
      this.cells.push(columns.map(() => line.appendChild(document.createElement("td"))));
      body.append(line);
    });
    const top = document.createElement("thead");
    top.append(head);
    table.replaceChildren(top, body);
    this.cells.forEach((line, row) => line.forEach((cell, column) => {
      cell.tabIndex = row || column ? -1 : 0;
      cell.addEventListener("pointermove", () => this.read(row, column));
      cell.addEventListener("focus", () => this.read(row, column));
      cell.addEventListener("keydown", (event) => this.key(event, row, column));
    }));
  }

  header(label, scope, isWalked) {
    const cell = document.createElement("th");
    cell.scope = scope;
    cell.title = label;
    const text = document.createElement("span");
    text.textContent = label;
    cell.append(text);
    cell.classList.toggle("walked", isWalked);
    return cell;
  }

  /** Fill in the values; `describe(row, column)` says what a cell is. */
  show(value, strength, describe) {
    this.describe = describe;
    const isSmall = this.cells[0].length <= 14;
    this.cells.forEach((line, row) => line.forEach((cell, column) => {
      const number = value(row, column);
      const colour = (number >= 0 ? PLUS : MINUS).join(" ");
      const alpha = strength(number);
      cell.style.backgroundColor = `rgb(${colour} / ${alpha.toFixed(3)})`;
      cell.classList.toggle("strong", alpha > 0.9);
      cell.textContent = isSmall ? number.toFixed(2).replace(/^(-?)0\./, "$1.") : "";
      cell.setAttribute("aria-label", number.toPrecision(3));
    }));
    if (this.at) this.read(...this.at);
  }

  read(row, column) {
    this.at = [row, column];
    this.rows.forEach((header, number) => header.classList.toggle("read", number === row));
    this.columns.forEach((header, number) => header.classList.toggle("read", number === column));
    say(this.readout, this.describe(row, column));
  }

  key(event, row, column) {
    const to = stepsTo(event.key, row, column, this.cells[row].length - 1);
    if (!to) return;
    event.preventDefault();
    const next = this.cells[to[0]] && this.cells[to[0]][to[1]];
    if (!next) return;
    event.currentTarget.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  }
}

/** A wall of small maps; one is chosen, by a click or the arrow keys. */
class Wall {
  constructor(place, { count, columns, rowName, columnName, caption, label, values, strength, choose }) {
    this.choose = choose;
    this.columns = columns;
    this.isWrapped = !rowName; // one row that goes on in the next line
    this.buttons = [];
    const names = rowName ? "max-content " : "";
    place.style.gridTemplateColumns = `${names}repeat(${columns}, minmax(1.5rem, 6rem))`;
    if (rowName) {
      place.append(this.text("", ""));
      for (let column = 0; column < columns; column += 1) {
        place.append(this.text(columnName(column), "head"));
      }
    }
    for (let number = 0; number < count; number += 1) {
      if (rowName && number % columns === 0) place.append(this.text(rowName(number / columns), ""));
      const button = this.button(number, label(number), values(number), strength);
      if (caption) button.append(this.text(caption(number), "head"));
      place.append(button);
    }
    this.pick(0, false);
  }

  text(words, name) {
    const span = document.createElement("span");
    span.textContent = words;
    span.className = name;
    span.setAttribute("aria-hidden", "true");
    return span;
  }

  button(number, label, rows, strength) {
    const button = document.createElement("button");
    button.type = "button";
    button.setAttribute("role", "radio");
    button.setAttribute("aria-label", label);
    button.title = label;
    const canvas = document.createElement("canvas");
    const faded = rows.map((row) => Float64Array.from(row, (x) => Math.sign(x) * strength(x)));
    paint(canvas, faded, rows.map(() => 1), { wide: 1, high: 1, gap: 0 });
    button.append(canvas);
    button.addEventListener("click", () => this.pick(number, true));
    button.addEventListener("keydown", (event) => this.key(event, number));
    this.buttons.push(button);
    return button;
  }

  pick(number, isFocused) {
    this.buttons.forEach((button, other) => {
      button.setAttribute("aria-checked", String(other === number));
      button.tabIndex = other === number ? 0 : -1;
    });
    if (isFocused) {
      this.buttons[number].focus();
      this.buttons[number].scrollIntoView({ block: "nearest", inline: "nearest" });
    }
    this.choose(number);
  }

  key(event, number) {
    const row = Math.floor(number / this.columns);
    const last = Math.min(this.columns, this.buttons.length - row * this.columns) - 1;
    const to = stepsTo(event.key, row, number % this.columns, last);
    if (!to) return;
    event.preventDefault();
    const next = to[0] * this.columns + to[1];
    const isInRow = to[1] >= 0 && to[1] < this.columns;
    if ((isInRow || this.isWrapped) && this.buttons[next]) this.pick(next, true);
  }
}
