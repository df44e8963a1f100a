// Token-by-token maps: a wall of small ones to choose from, and the chosen one as a table.

/** A token as its label, with its position where there is more than one like it. */
function labelOf(token, tokens) {
  const same = tokens.filter((other) => other.text === token.text).length;
  return same > 1 ? `${token.text} @${token.position}` : token.text;
}

/** The colour of a value on whatever the ground is. */
function tint(value, alpha) {
  return `rgb(${(value >= 0 ? PLUS : MINUS).join(" ")} / ${alpha.toFixed(3)})`;
}

/** A map as a table, in which arrow keys move from cell to cell. */
class Grid {
  constructor(table, readout, rows, columns, walked) {
    this.readout = readout;
    this.cells = [];
    const head = document.createElement("tr");
    head.append(document.createElement("td"));
    columns.forEach((label, number) => head.append(this.header(label, "col", number === walked)));
    const body = document.createElement("tbody");
    rows.forEach((label, number) => {
      const line = document.createElement("tr");
      line.append(this.header(label, "row", number === walked));
      this.cells.push(columns.map(() => line.appendChild(document.createElement("td"))));
      body.append(line);
    });
    const top = document.createElement("thead");
    top.append(head);
    table.replaceChildren(top, body);
    this.cells.forEach((line, row) => line.forEach((cell, column) => {
      cell.tabIndex = row || column ? -1 : 0;
      cell.addEventListener("pointerenter", () => this.read(row, column));
      cell.addEventListener("focus", () => this.read(row, column));
      cell.addEventListener("keydown", (event) => this.key(event, row, column));
    }));
  }

  header(label, scope, isWalked) {
    const cell = document.createElement("th");
    cell.scope = scope;
    cell.title = label;
    const text = document.createElement("bdi");
    text.textContent = label;
    const span = document.createElement("span");
    span.append(text);
    cell.append(span);
    cell.classList.toggle("walked", isWalked);
    return cell;
  }

  /** Fill in the values; `describe(row, column)` says what a cell is. */
  show(value, alpha, describe) {
    this.describe = describe;
    const isSmall = this.cells[0].length <= 14;
    this.cells.forEach((line, row) => line.forEach((cell, column) => {
      const number = value(row, column);
      cell.style.backgroundColor = tint(number, alpha(number));
      cell.textContent = isSmall ? number.toFixed(2).replace(/^(-?)0\./, "$1.") : "";
      cell.setAttribute("aria-label", number.toPrecision(3));
    }));
  }

  read(row, column) {
    say(this.readout, this.describe(row, column));
  }

  key(event, row, column) {
    const steps = {
      ArrowUp: [row - 1, column], ArrowDown: [row + 1, column],
      ArrowLeft: [row, column - 1], ArrowRight: [row, column + 1],
      Home: [row, 0], End: [row, this.cells[row].length - 1],
    };
    const to = steps[event.key];
    const next = to && this.cells[to[0]] && this.cells[to[0]][to[1]];
    if (!next) return;
    event.preventDefault();
    event.currentTarget.tabIndex = -1;
    next.tabIndex = 0;
    next.focus();
  }
}

/** A wall of small maps; one is chosen, by a click or the arrow keys. */
class Wall {
  constructor(place, { count, columns, rowName, columnName, label, values, alpha, choose }) {
    this.choose = choose;
    this.columns = columns;
    this.buttons = [];
    place.style.gridTemplateColumns = `${rowName ? "auto " : ""}repeat(${columns}, minmax(0, 1fr))`;
    if (rowName) {
      place.append(this.text("", ""));
      for (let column = 0; column < columns; column += 1) {
        place.append(this.text(columnName(column), "head"));
      }
    }
    for (let number = 0; number < count; number += 1) {
      if (rowName && number % columns === 0) place.append(this.text(rowName(number / columns), ""));
      place.append(this.button(number, label(number), values(number), alpha));
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

  button(number, label, rows, alpha) {
    const button = document.createElement("button");
    button.type = "button";
    button.setAttribute("role", "radio");
    button.setAttribute("aria-label", label);
    button.title = label;
    const canvas = document.createElement("canvas");
    const faded = rows.map((values) => Float64Array.from(values, (x) => Math.sign(x) * alpha(x)));
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
    if (isFocused) this.buttons[number].focus();
    this.choose(number);
  }

  key(event, number) {
    const steps = { ArrowUp: -this.columns, ArrowDown: this.columns, ArrowLeft: -1, ArrowRight: 1 };
    const next = number + steps[event.key];
    if (!this.buttons[next]) return;
    event.preventDefault();
    this.pick(next, true);
  }
}
