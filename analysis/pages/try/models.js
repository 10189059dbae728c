// The study's models side by side: their probabilities for one image, and their latency in this browser.

let sessions = null;

/** An inference session of every model, made at the first call. */
function allSessions(models) {
  sessions ??= (async () => {
    const ort = await runtime();
    return Promise.all(models.map(async ({ part: name }) => ort.InferenceSession.create(await part(name))));
  })().catch((error) => {
    sessions = null;
    throw error;
  });
  return sessions;
}

/** A function that runs one model on one image, giving the probabilities as numbers. */
async function caller(session, pixels, shape) {
  const { Tensor } = await runtime();
  const feeds = { [session.inputNames[0]]: new Tensor("float32", pixels, [1, ...shape]) };
  return async () => (await session.run(feeds))[session.outputNames[0]].data;
}

/** A table with a row for each class and a column for each model, empty until `fill`. */
function probabilityTable(table, models, classes) {
  const head = table.createTHead().insertRow();
  for (const [i, text] of ["class", ...models.map((model) => model.name)].entries()) {
    const cell = Object.assign(document.createElement("th"), { scope: "col", textContent: text });
    if (i) cell.title = `seed ${models[i - 1].seed}, test error ${(100 * models[i - 1].testError).toFixed(2)} %`;
    head.append(cell);
  }
  const body = table.createTBody();
  const rows = [...classes, "latency here"].map((name) => {
    const row = body.insertRow();
    row.append(Object.assign(document.createElement("th"), { scope: "row", textContent: name }));
    return models.map(() => row.insertCell());
  });
  const times = rows.pop();
  return {
    fill(column, probabilities) {
      const highest = probabilities.indexOf(Math.max(...probabilities));
      rows.forEach((cells, i) => {
        const cell = cells[column];
        cell.textContent = probabilities[i].toFixed(3);
        cell.dataset.value = String(probabilities[i]);
        cell.className = i === highest ? "bar highest" : "bar";
        cell.style.setProperty("--share", `${100 * probabilities[i]}%`);
      });
    },
    time(column, text, title = "") {
      Object.assign(times[column], { textContent: text, title });
    },
  };
}
