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

/** Opacity of a share: its square root, so that small ones are seen. */
const shareAlpha = (share) => Math.sqrt(Math.max(share, 0));

function showEmbeddings() {
  const parts = [
    ["word", "embeddings.word_embeddings", (token) => token.id],
    ["segment", "embeddings.token_type_embeddings", (token) => token.segment],
    ["position", "embeddings.position_embeddings", (token) => token.position],
    ["sum", "embeddings.sum"],
    ["LayerNorm", "embeddings.LayerNorm"],
  ];
  const sums = scaleOf(...parts.slice(0, 4).map(([, name]) => embeddings[name].values));
  const scales = [sums, sums, sums, sums, scaleOf(embeddings["embeddings.LayerNorm"].values)];
  document.querySelectorAll("#lookups .strips").forEach((place, number) => {
    const token = tokens[number];
    const strips = new Strips(place, byId("lookups-readout"), `The rows of ${token.text}`);
    const rows = parts.map(([, name]) => rowOf(embeddings[name], number));
    strips.draw(rows, scales, (row, column) => {
      const [, name, pick] = parts[row];
      const value = written(rows[row][column], embeddings[name].dtype);
      const where = pick ? `, row ${pick(token)} of its table` : "";
      return `${token.text} (position ${token.position}, id ${token.id}): ${name}${where}, `
        + `feature ${column}: ${value}`;
    });
  });
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
  const update = () => {
    const p = Math.min(Math.max(Number(byId("p").value), 0), 0.95);
    const seed = Math.min(Math.max(Math.round(Number(byId("seed").value)) || 0, 0), seeds - 1);
    const row = rowOf(draws, seed);
    const keep = Float64Array.from(row, (draw) => Number(draw >= Math.fround(p)));
    const after = dropped(x, row, p, round);
    const every = Array.from({ length: seeds }, (_, other) => dropped(x, rowOf(draws, other), p, round));
    const average = Float64Array.from(x, (_, feature) => mean(every.map((one) => one[feature])));
    const kept = keep.reduce((sum, value) => sum + value, 0);
    byId("p-value").textContent = p.toFixed(2);
    byId("dropout-figures").textContent =
      `Kept: ${kept} of ${x.length} features (${((100 * kept) / x.length).toFixed(1)} %; `
      + `1 − p is ${(100 * (1 - p)).toFixed(0)} %). Scale: ${(1 / (1 - p)).toPrecision(5)}. `
      + `Mean of the vector: ${mean(x).toPrecision(3)}; after this mask ${mean(after).toPrecision(3)}; `
      + `over the masks of all ${seeds} seeds ${mean(average).toPrecision(3)}.`;
    const scale = scaleOf(x);
    const rows = [x, keep, after, average];
    const names = ["LayerNorm's output", "keep", "after dropout", `mean over ${seeds} seeds`];
    strips.draw(rows, [scale, 2, scale, scale], (which, column) => {
      const number = written(rows[which][column], which % 2 ? "float16" : dtype);
      return `${tokens[data.walked].text}: ${names[which]}, feature ${column}: ${number}`;
    });
  };
  byId("p").addEventListener("input", update);
  byId("seed").addEventListener("input", update);
  update();
}

function showAttention() {
  const columns = data.isPartial ? [...labels, "(all others)"] : labels;
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
    alpha: shareAlpha,
    choose: (number) => {
      const head = number % heads;
      const layer = Math.floor(number / heads);
      const { probs, rest } = layers[layer];
      const value = (row, column) => (column < tokens.length
        ? rowOf(probs, head, row)[column] : rowOf(rest, head)[row]);
      byId("attention-which").textContent = `Layer ${layer}, head ${head}`;
      grid.show(value, shareAlpha, (row, column) => `Layer ${layer}, head ${head}: `
        + `${labels[row]} takes ${(100 * value(row, column)).toPrecision(4)} % from ${columns[column]}`);
    },
  });
}

function showWalk() {
  const places = [...document.querySelectorAll("#walk .strips")];
  const token = labels[data.walked];
  const strips = places.map((place) => new Strips(place, byId("walk-readout"), place.dataset.step));
  const update = () => {
    const number = Number(byId("layer").value);
    byId("layer-value").textContent = number;
    places.forEach((place, index) => {
      const name = place.dataset.step;
      const array = layers[number].walk[name];
      const isByHead = array.shape.length === 2;
      const rows = isByHead ? Array.from({ length: array.shape[0] }, (_, head) => rowOf(array, head))
        : [array.values];
      const scale = name === "attention.self.probs" ? 1 : scaleOf(...rows);
      const drawn = name === "attention.self.probs" ? rows.map((row) => row.map(shareAlpha)) : rows;
      strips[index].draw(drawn, rows.map(() => scale), (row, column) => {
        const where = isByHead ? `head ${row}, from ${labels[column]}` : `feature ${column}`;
        return `${token}: encoder.layer.${number}.${name}, ${where}: `
          + written(rows[row][column], array.dtype);
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
    label: name,
    values: (state) => tokens.map((_, one) => rowOf(similarity, state, one)),
    alpha: Math.abs,
    choose: (state) => {
      byId("similarity-which").textContent = `After ${name(state)}`;
      const value = (one, other) => rowOf(similarity, state, one)[other];
      grid.show(value, Math.abs, (one, other) => `After ${name(state)}: the cosine between `
        + `${labels[one]} and ${labels[other]} is ${value(one, other).toPrecision(4)}`);
    },
  });
}

showEmbeddings();
showDropout();
if (layers.length) {
  showAttention();
  showWalk();
}
showSimilarity();
document.documentElement.dataset.drawn = "true";
