// Puts the page together.

const study = JSON.parse(document.getElementById("study").textContent);
const element = (id) => document.getElementById(id);
const status = element("status");

function say(text, isError = false) {
  status.textContent = shown(text, 500);
  status.classList.toggle("error", isError);
}
const complain = (error) => say(error.message, true);

function tryModels({ models, images }) {
  const { shape, classes } = images;
  const table = probabilityTable(element("probabilities"), models, classes);
  const measure = element("measure");
  let image = null, turn = 0;

  async function classify() {
    if (!image) return;
    const mine = ++turn, { pixels, name } = image;
    const opened = await allSessions(models);
    await inTurn(async () => {
      for (const [column, session] of opened.entries()) {
        if (mine !== turn) return; // another image was chosen meanwhile
        table.fill(column, [...(await (await caller(session, pixels, shape))())]);
      }
      paint(element("chosen"), pixels, shape);
      element("chosen-name").textContent = name;
      measure.disabled = false;
      document.body.dataset.shown = name;
    });
  }
  const choose = (pixels, name) => {
    image = { pixels, name };
    classify().catch(complain);
  };
  async function start() {
    say("starting the runtime ...");
    await allSessions(models);
    say("");
    element("try").hidden = false;
    const first = document.querySelector('input[name="image"]');
    if (first && !image) first.click();
  }

  measure.addEventListener("click", async () => {
    measure.disabled = true;
    try {
      const opened = await allSessions(models);
      const calls = await Promise.all(opened.map((session) => caller(session, image.pixels, shape)));
      const found = await inTurn(() => timed(calls, say));
      found.forEach((one, column) => table.time(column, milliseconds(one.ms), howTimed(one)));
      say(`Latency of one image: median of ${BLOCKS} blocks of calls, in which the models take turns; one thread of WebAssembly in this browser.`);
    } catch (error) {
      complain(error);
    }
    measure.disabled = false;
  });
  const clear = drawable(element("drawing"), shape, choose);
  element("clear").addEventListener("click", clear);
  async function begin() {
    element("start").hidden = true;
    try {
      if (images.count && !element("images").childElementCount) await showTestImages(element("images"), images, choose);
      await start();
    } catch (error) {
      element("start").hidden = false;
      complain(error);
    }
  }
  element("start").addEventListener("click", begin);
  if (!EMBEDDED) begin();
}

function takeFiles() {
  const place = element("file"), zone = element("drop");
  const open = (file) => file && showFile(file, place, say).catch(complain);
  element("chooser").addEventListener("change", (event) => open(event.target.files[0]));
  for (const kind of ["dragover", "drop"]) document.addEventListener(kind, (event) => event.preventDefault());
  zone.addEventListener("dragover", () => zone.classList.add("over"));
  for (const kind of ["dragleave", "drop"]) zone.addEventListener(kind, () => zone.classList.remove("over"));
  document.addEventListener("drop", (event) => open(event.dataTransfer.files[0]));
}

if (study.models.length && study.images) tryModels(study);
takeFiles();
