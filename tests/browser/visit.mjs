// Opens one page in a real browser, does what a test asks for, and prints what it saw as JSON.
//
//   node visit.mjs BROWSER EXECUTABLE TASK URL [JSON]
//
// BROWSER is chrome or firefox; TASK is one of those at the end; JSON has its settings.

import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import puppeteer from "puppeteer-core";

const [kind, executablePath, task, url, settings = "{}"] = process.argv.slice(2);
const options = JSON.parse(settings);
const MINUTE = 60_000;

async function launched(preferences = {}) {
  return puppeteer.launch({
    browser: kind,
    executablePath,
    headless: kind === "chrome" ? "shell" : true,
    args: kind === "chrome" ? ["--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage"] : [],
    extraPrefsFirefox: preferences,
    protocolTimeout: 3 * MINUTE,
  });
}

/** A page of this width, and what went wrong on it. */
async function opened(browser, { width = 1280, dark = false } = {}) {
  const page = await browser.newPage();
  const seen = { errors: [], requests: [] };
  page.on("console", (message) => message.type() === "error" && seen.errors.push(message.text()));
  page.on("pageerror", (error) => seen.errors.push(String(error.message ?? error)));
  page.on("request", (request) => {
    if (request.url() !== url && !/^(data|blob):/.test(request.url())) seen.requests.push(request.url());
  });
  await page.setViewport({ width, height: 900 });
  if (dark && kind === "chrome") await page.emulateMediaFeatures([{ name: "prefers-color-scheme", value: "dark" }]);
  await page.goto(url, { waitUntil: "load", timeout: MINUTE });
  return [page, seen];
}

/** The faults that axe-core calls serious or critical. */
async function faults(page) {
  await page.evaluate(readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8")); // past its policy
  const { violations } = await page.evaluate(() => globalThis.axe.run({ resultTypes: ["violations"] }));
  return violations
    .filter(({ impact }) => ["serious", "critical"].includes(impact))
    .map(({ id, help, nodes }) => `${id}: ${help}: ${nodes.slice(0, 3).map((node) => node.html.slice(0, 200)).join(" ")}`);
}

/** The text of every cell, by the label of the table's region. */
const tables = (page) =>
  page.evaluate(() =>
    [...document.querySelectorAll("table")].map((table) => ({
      label: table.parentElement.getAttribute("aria-label"),
      rows: [...table.rows].map((row) => [...row.cells].map((cell) => cell.textContent.trim().replace(/\s+/g, " "))),
    })),
  );

/**
 * Pictures that cannot be drawn, those further down too, which are not loaded yet; how far the page is too wide; and the
 * size in pixels of the smallest text of a picture, whose letters are outlines of 100 units.
 */
const layout = (page) =>
  page.evaluate(async () => {
    const images = [...document.images];
    images.forEach((image) => (image.loading = "eager"));
    await Promise.allSettled(images.map((image) => image.decode()));
    const drawn = images.filter((image) => image.src.startsWith("data:image/svg"));
    const letters = drawn.flatMap((image) => {
      const svg = atob(image.src.split(",")[1]);
      const width = image.clientWidth - 2 * parseFloat(getComputedStyle(image).paddingLeft);
      const pixels = width / Number(/viewBox="0 0 ([\d.]+)/.exec(svg)[1]);
      return [...svg.matchAll(/scale\(([\d.]+) -/g)].map(([, scale]) => 100 * scale * pixels);
    });
    return {
      letters: letters.length && Math.min(...letters),
      broken: images.filter((image) => !image.complete || !image.naturalWidth).map((image) => image.alt),
      overflow: document.documentElement.scrollWidth - document.documentElement.clientWidth,
    };
  });

async function report(browser) {
  const [page, seen] = await opened(browser, options);
  await page.evaluate(() => document.querySelectorAll("details").forEach((one) => (one.open = true)));
  const found = { ...seen, ...(await layout(page)), tables: await tables(page), faults: await faults(page) };
  found.interactive = await page.evaluate(() => performance.getEntriesByType("navigation")[0].domContentLoadedEventEnd);
  return found;
}

/** The rows of a table after each of two clicks on one of its headings. */
async function sorted(browser) {
  const [page, seen] = await opened(browser);
  const { region, heading } = options;
  const found = [];
  for (let click = 0; click < 2; click++) {
    await page.evaluate((name, text) => {
      const table = document.querySelector(`[aria-label="${name}"] table`);
      [...table.tHead.rows[0].cells].find((cell) => cell.textContent.trim() === text).querySelector("button").click();
    }, region, heading);
    found.push((await tables(page)).find(({ label }) => label === region).rows.slice(1));
  }
  return { ...seen, found };
}

/** Prints the page with its scripts, after the rows of one table are there so many times. */
async function printed(browser) {
  const [page, seen] = await opened(browser);
  await page.evaluate(({ region, times }) => {
    const body = document.querySelector(`[aria-label="${region}"] table`).tBodies[0];
    const rows = [...body.rows];
    for (let i = 1; i < times; i++) body.append(...rows.map((row) => row.cloneNode(true)));
  }, options);
  await page.pdf({ path: options.pdf, preferCSSPageSize: true });
  return seen;
}

async function withoutScripts() {
  const browser = await launched({ "javascript.enabled": false });
  try {
    const page = await browser.newPage();
    if (kind === "chrome") await page.setJavaScriptEnabled(false);
    await page.goto(url, { waitUntil: "load", timeout: MINUTE });
    const pdf = await page.pdf({ path: options.pdf, preferCSSPageSize: true, printBackground: true });
    return { bytes: pdf.length };
  } finally {
    await browser.close();
  }
}

/** What the page of the models says: probabilities of the first images, latencies, and what is in the given files. */
async function models(browser) {
  const [page, seen] = await opened(browser, options);
  await page.evaluate(() => document.querySelector("#start:not([hidden])")?.click());
  await page.waitForFunction(() => document.body.dataset.shown || document.querySelector("#status.error"), { timeout: MINUTE });
  const found = { ...seen, probabilities: [], files: [], status: await text(page, "#status") };
  for (let i = 0; i < options.images; i++) {
    await page.evaluate((number) => document.querySelector(`input[value="${number}"]`).click(), i);
    await page.waitForFunction((start) => document.body.dataset.shown.startsWith(start), { timeout: MINUTE }, `test image ${i}:`);
    found.probabilities.push(
      await page.evaluate(() => {
        const rows = [...document.querySelector("#probabilities").tBodies[0].rows].slice(0, -1);
        return rows[0] && [...rows[0].cells].slice(1).map((_, model) => rows.map((row) => Number(row.cells[model + 1].dataset.value)));
      }),
    );
  }
  if (options.measure) {
    await page.focus("#drawing");
    for (const key of [" ", "ArrowRight", " ", "ArrowDown", " "]) await page.keyboard.press(key);
    await page.waitForFunction(() => document.body.dataset.shown === "your drawing", { timeout: MINUTE });
    await page.click("#measure");
    await page.waitForFunction(() => document.querySelector("#status").textContent.startsWith("Latency"), { timeout: MINUTE });
    found.latencies = (await tables(page))[0].rows.at(-1).slice(1);
  }
  for (const file of options.files) found.files.push(await dropped(page, file));
  return { ...found, ...(await layout(page)), faults: await faults(page) };
}

/** The first image, once its part, which failed at the first time, has been asked for again. */
async function startedAgain(browser) {
  const page = await browser.newPage();
  await page.evaluateOnNewDocument(() => {
    const { fetch } = globalThis;
    let failed = false;
    globalThis.fetch = async (name) => {
      if (name !== "parts/images" || failed) return fetch(name);
      failed = true;
      throw new Error("the server has gone");
    };
  });
  await page.goto(url, { waitUntil: "load", timeout: MINUTE });
  await page.waitForSelector("#status.error", { timeout: MINUTE });
  const status = await text(page, "#status");
  await page.click("#start");
  await page.waitForFunction(() => document.body.dataset.shown, { timeout: MINUTE });
  return { status, shown: await text(page, "#chosen-name"), after: await text(page, "#status") };
}

/** What is said of two files, the first of which is still measured, or still read, when the second one is opened. */
async function twoFiles(browser) {
  const [page, seen] = await opened(browser);
  const wait = (condition) => page.waitForFunction(condition, { timeout: MINUTE });
  await dropped(page, options.files[0]);
  await page.evaluate(() => document.querySelector("#file button").click());
  await (await page.$("#chooser")).uploadFile(options.files[1]);
  await wait(() => document.querySelector("#file h3").textContent.startsWith("second"));
  await page.evaluate(() => document.querySelector("#file button").click());
  await wait(() => document.querySelector("#file output").textContent);
  return { ...seen, title: await text(page, "#file h3"), latency: await text(page, "#file output") };
}

/** What is said of an endless file that the reader stops, and of one without a sign for half a minute, here three seconds. */
async function endless(browser) {
  const [page, seen] = await opened(browser);
  const [file] = options.files;
  await (await page.$("#chooser")).uploadFile(file);
  await page.waitForFunction(() => !document.querySelector("#file").hidden, { timeout: MINUTE });
  const start = () => page.evaluate(() => document.querySelector("#file button").click());
  const ended = async () => {
    await page.waitForFunction(() => !document.querySelector("#file button").disabled, { timeout: MINUTE });
    return text(page, "#status");
  };
  await start();
  await page.waitForFunction(() => document.querySelector("#status").textContent.startsWith("warming up"), { timeout: MINUTE });
  await page.evaluate(() => document.querySelector("#file button + button").click());
  const byHand = await ended();
  await page.evaluate(() => {
    const { setTimeout } = globalThis;
    globalThis.setTimeout = (task, ms) => setTimeout(task, ms === 30_000 ? 3000 : ms);
  });
  await start();
  return { ...seen, byHand, byItself: await ended() };
}

const text = (page, selector) => page.$eval(selector, (element) => element.textContent.trim());

async function dropped(page, file) {
  await page.evaluate(() => (document.querySelector("#file").hidden = true));
  await (await page.$("#chooser")).uploadFile(file);
  await page.waitForFunction(() => !document.querySelector("#file").hidden || document.querySelector("#status.error"), { timeout: MINUTE });
  const status = await text(page, "#status");
  if (status) return { status };
  const rows = (await tables(page)).at(-1).rows.slice(1);
  await page.evaluate(() => document.querySelector("#file button").click());
  await page.waitForFunction(() => !document.querySelector("#file button").disabled, { timeout: MINUTE });
  return { rows, title: await text(page, "#file h3"), facts: await text(page, "#file dl"), latency: await text(page, "#file output"), status: await text(page, "#status") };
}

const tasks = { report, sorted, printed, models, startedAgain, twoFiles, endless };
if (task === "without-scripts") {
  console.log(JSON.stringify(await withoutScripts()));
} else {
  const browser = await launched({ "layout.css.prefers-color-scheme.content-override": options.dark ? 0 : 1 });
  try {
    console.log(JSON.stringify(await tasks[task](browser)));
  } finally {
    await browser.close();
  }
}
