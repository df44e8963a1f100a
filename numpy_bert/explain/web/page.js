// The panels: each is filled from the data that the page carries.

const data = JSON.parse(document.getElementById("data").textContent);
const tokens = data.tokens;
const labels = tokens.map((token) => labelOf(token, tokens));
const embeddings = Object.fromEntries(
  Object.entries(data.embeddings).map(([name, packed]) => [name, unpack(packed)]));
const layers = data.layers.map((layer) => ({
  probs: unpack(layer.probs),
  rest: unpack(layer.rest),
  walk: Object.fromEntries(
    Object.entries(layer.walk).map(([name, packed]) => [name, unpack(packed)])),
}));
const similarity = unpack(data.similarity);
const byId = (id) => document.getElementById(id);
const OTHERS = "(all others)";

/** Strength of a share's colour: its square root, so that small ones are seen. */
const shareStrength = (share) => Math.sqrt(Math.max(share, 0));

function showEmbeddings() {
  const parts = [
    ...data.parts.map(({ name, step, rows }) => [name, step, rows]),
    ["sum", "embeddings.sum"],
    ["LayerNorm", "embeddings.LayerNorm"],
  ];
  const { sum: sums, LayerNorm: norms } = data.scales;
  byId("lookups-scale").textContent =
    `Full colour at ${sums.toPrecision(2)} and beyond, of LayerNorm at ${norms.toPrecision(2)}.`;
  const places = [...document.querySelectorAll("#lookups .strips")];
  chain(places.map((place, number) => {
    const token = tokens[number];
    const title = `The rows of ${quotedLabel(token.text)}, position ${token.position}`;
    const strips = new Strips(place, byId("lookups-readout"), title);
    const rows = parts.map(([, name]) => rowOf(embeddings[name], number));
    const scales = parts.map(([name]) => (name === "LayerNorm" ? norms : sums));
    strips.draw(rows, scales, (row, column) => {
      const [, name, picked] = parts[row];
      const value = written(rows[row][column], embeddings[name]);
      const where = picked ? `, row ${picked[number]} of its table` : "";
      return `${quotedLabel(isolated(token.text))} (position ${token.position}, id ${token.id}): `
        + `${name}${where}, feature ${column}: ${value}`;
    });
    return strips;
  }));
}

/** Return x after dropout by numpy_bert.ops.dropout.dropout, in the model's own dtype. */
function dropped(x, draws, p, round) {
  const scale = round(1 / round(1 - p));
  return x.map((value, feature) => round(value * (draws[feature] >= Math.fround(p) ? scale : 0)));
}

function showDropout() {
  const x = rowOf(embeddings["embeddings.LayerNorm"], data.walked);
  const dtype = embeddings["embeddings.LayerNorm"].dtype;
  const round = dtype === "float32" ? Math.fround : (value) => value;
  const draws = unpack(data.draws);
  const seeds = draws.shape[0];
  const strips = new Strips(
    document.querySelector("#dropout .strips"), byId("dropout-readout"), "Dropout on one vector");
  const mean = (row) => row.reduce((sum, value) => sum + value, 0) / row.length;
  const seedOf = () => Math.min(Math.max(Math.round(Number(byId("seed").value)) || 0, 0), seeds - 1);
  const update = () => {
    const p = Number(byId("p").value);
    const row = rowOf(draws, seedOf());
    const keep = Float64Array.from(row, (draw) => Number(draw >= Math.fround(p)));
    const after = dropped(x, row, p, round);
    const every = Array.from({ length: seeds }, (_, seed) => dropped(x, rowOf(draws, seed), p, round));
    const average = Float64Array.from(x, (_, feature) => mean(every.map((one) => one[feature])));
    const kept = keep.reduce((sum, value) => sum + value, 0);
    byId("p-value").textContent = p.toFixed(2);
    byId("dropout-figures").textContent =
      `Kept: ${kept} of ${x.length} features (${((100 * kept) / x.length).toFixed(1)} %; `
      + `1 − p is ${(100 * (1 - p)).toFixed(0)} %). Scale: ${(1 / (1 - p)).toPrecision(5)}. `
      + `Mean of the vector: ${mean(x).toPrecision(3)}; after this mask ${mean(after).toPrecision(3)}; `
      + `over the masks of all ${seeds} seeds ${mean(average).toPrecision(3)}.`;
    const scale = data.scales.LayerNorm;
    const exact = (value) => written(value, { dtype });
    const rows = [
      { name: "LayerNorm's output", values: x, scale, write: exact },
      { name: "the mask", values: keep, scale: 2, write: (kept) => (kept ? "kept" : "dropped") },
      { name: "after dropout", values: after, scale, write: exact },
      { name: `mean of ${seeds} seeds`, values: average, scale, write: (value) => value.toFixed(6) },
    ];
    strips.draw(rows.map((row) => row.values), rows.map((row) => row.scale), (which, column) => {
      const { name, values, write } = rows[which];
      return `${quotedLabel(labels[data.walked])}: ${name}, feature ${column}: `
        + write(values[column]);
    });
  };
  byId("p").addEventListener("input", update);
  byId("seed").addEventListener("input", update);
  byId("seed").addEventListener("change", () => {
    byId("seed").value = seedOf();
    update();
  });
  update();
}

function showAttention() {
  const columns = data.isPartial ? [...labels, OTHERS] : labels;
  const grid = new Grid(byId("attention-map"), byId("attention-readout"), labels, columns, data.walked);
  const heads = layers[0].probs.shape[0];
  new Wall(byId("attention-wall"), {
    count: layers.length * heads,
    columns: heads,
    rowName: (layer) => `layer ${layer}`,
    columnName: String,
    label: (number) => `layer ${Math.floor(number / heads)}, head ${number % heads}`,
    values: (number) => tokens.map(
      (_, row) => rowOf(layers[Math.floor(number / heads)].probs, number % heads, row)),
    strength: shareStrength,
    choose: (number) => {
      const head = number % heads;
      const layer = Math.floor(number / heads);
      const { probs, rest } = layers[layer];
      const value = (row, column) => (column < tokens.length
        ? rowOf(probs, head, row)[column] : rowOf(rest, head)[row]);
      byId("attention-which").textContent = `Layer ${layer}, head ${head}`;
      grid.show(value, shareStrength, (row, column) => `Layer ${layer}, head ${head}: `
        + `${quotedLabel(labels[row])} attends by ${(100 * value(row, column)).toFixed(2)} % to `
        + `${quotedLabel(columns[column])}`);
    },
  });
}

/** The rows of a step of the walked token: one, or of scores and shares one a head. */
function walkRows(layer, name) {
  const array = layer.walk[name];
  if (array.shape.length === 1) return [array.values];
  return Array.from({ length: array.shape[0] }, (_, head) => {
    const row = rowOf(array, head);
    const isWhole = name !== "attention.self.probs" || !data.isPartial;
    return isWhole ? row : Float64Array.of(...row, rowOf(layer.rest, head)[data.walked]);
  });
}

function showWalk() {
  const places = [...document.querySelectorAll("#walk .strips")];
  const heads = layers[0].probs.shape[0];
  const size = data.features / heads;
  const strips = places.map((place) => new Strips(place, byId("walk-readout"), place.dataset.step));
  document.querySelectorAll("#walk .columns").forEach((columns) => {
    const isWhole = columns.dataset.of !== "attention.self.probs" || !data.isPartial;
    const names = isWhole ? labels : [...labels, OTHERS];
    columns.style.gridTemplateColumns = `repeat(${names.length}, minmax(0, 1fr))`;
    columns.classList.toggle("many", names.length > 12);
    columns.classList.toggle("crowd", names.length > 24);
    columns.append(...names.map((name) => {
      const text = document.createElement("bdi");
      text.textContent = name;
      return text;
    }));
  });
  const update = () => {
    const number = Number(byId("layer").value);
    byId("layer-value").textContent = number;
    places.forEach((place, index) => {
      const name = place.dataset.step;
      const rows = walkRows(layers[number], name);
      const isShare = name === "attention.self.probs";
      const isByHead = rows.length > 1 || layers[number].walk[name].shape.length > 1;
      const scale = isShare ? 1 : scaleOf(...rows);
      byId(`scale-${name}`).textContent = `full colour at ${scale.toPrecision(2)}`;
      const drawn = isShare ? rows.map((row) => row.map(shareStrength)) : rows;
      strips[index].draw(drawn, rows.map(() => scale), (row, column) => {
        let where = `feature ${column}`;
        if (isByHead) where = `head ${row}, to ${quotedLabel(labels[column] || OTHERS)}`;
        else if (/^attention\.self/.test(name)) where += ` (of head ${Math.floor(column / size)})`;
        return `${quotedLabel(labels[data.walked])}: encoder.layer.${number}.${name}, ${where}: `
          + written(rows[row][column], layers[number].walk[name]);
      });
    });
  };
  byId("layer").addEventListener("input", update);
  update();
}

function showSimilarity() {
  const grid = new Grid(
    byId("similarity-map"), byId("similarity-readout"), labels, labels, data.walked);
  const states = similarity.shape[0];
  const name = (state) => (state ? `encoder.layer.${state - 1}` : "embeddings");
  new Wall(byId("similarity-wall"), {
    count: states,
    columns: Math.min(states, 5),
    caption: (state) => (state ? String(state - 1) : "emb."),
    label: name,
    values: (state) => tokens.map((_, one) => rowOf(similarity, state, one)),
    strength: Math.abs,
    choose: (state) => {
      byId("similarity-which").textContent = `After ${state ? name(state) : "the embedding"}`;
      const value = (one, other) => rowOf(similarity, state, one)[other];
      grid.show(value, Math.abs, (one, other) => `After ${name(state)}: the cosine between `
        + `${quotedLabel(labels[one])} and ${quotedLabel(labels[other])} is `
        + `${value(one, other).toFixed(4)}`);
    },
  });
}

document.querySelectorAll(".maps").forEach((maps) => {
  maps.classList.toggle("stacked", tokens.length > 20);
});
showEmbeddings();
showDropout();
showAttention();
showWalk();
showSimilarity();
document.documentElement.dataset.drawn = "true";
